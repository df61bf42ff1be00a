//! TLS between clients, roles and gossip, and certificates that change while all of it runs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vivace::{
    app::App,
    membership::{Role, State},
};

use crate::{
    authority::{Authority, Mount, Signed, point},
    cluster::traces,
    process::{Process, config},
    secure::Caller,
};

/// What members are called.
const NAMES: [&str; 2] = ["member.test", "ingester.test"];
const VERIFIED: &str = "client_auth_type: RequireAndVerifyClientCert";

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "{what}");
}

fn active(process: &Process, role: Role) -> usize {
    let view = process.app.membership().watch().borrow().clone();
    view.members(role).iter().filter(|member| member.state == State::Active).count()
}

/// A member whose gossip and gRPC show and ask for certificates.
fn member(name: &str, target: &str, seed: SocketAddr, mount: &Mount) -> String {
    format!(
        "target: {target}\nmemberlist: {{node_name: {name}, bind_port: 0, bind_addr: [127.0.0.1], advertise_addr: \
         127.0.0.1, join_members: ['{seed}'], {gossip}}}\ningester_client: {{grpc_client_config: {{{ingester}}}}}\n\
         internal_server: {{enable: true, http_listen_address: 127.0.0.1, http_listen_port: 0, http_tls_config: \
         {{{own}}}}}\n",
        gossip = mount.client("member.test"),
        ingester = mount.client("ingester.test"),
        own = mount.listener().split(", client_ca_file").next().expect("its own certificate"),
    )
}

fn server(http: &str, mount: &Mount) -> String {
    format!(
        "server: {{graceful_shutdown_timeout: 5s, tls_min_version: VersionTLS13, tls_cipher_suites: \
         'TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384', {http} grpc_tls_config: {{{}, {VERIFIED}}}}}\n",
        mount.listener()
    )
}

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

fn gossip(process: &Process) -> SocketAddr {
    process.app.membership().gossip_address().expect("gossip runs")
}

fn der(signed: &Signed) -> Vec<u8> {
    CertificateDer::from_pem_slice(signed.cert.as_bytes()).expect("a certificate").to_vec()
}

/// Every role in a process of its own, frontend first, then querier, ingester and distributor; the files that they
/// read.
async fn stack(authority: &Authority) -> ([Process; 4], Vec<tempfile::TempDir>) {
    let of = |role: &str| Mount::new(&authority.sign(&[role, "member.test"]), &authority.pem);
    let [m_frontend, m_querier, m_ingester, m_distributor] =
        ["frontend.test", "querier.test", "ingester.test", "distributor.test"].map(of);
    let bucket = tempfile::tempdir().expect("a directory");
    let storage = format!(
        "storage: {{trace: {{backend: local, blocklist_poll: 1s, local: {{path: {}}}}}}}\n",
        bucket.path().display()
    );
    let https = |mount: &Mount| format!("http_tls_config: {{{}, {VERIFIED}}},", mount.listener());
    let yaml = member("frontend", "query-frontend", nobody(), &m_frontend)
        + &server(&https(&m_frontend), &m_frontend)
        + &storage;
    let frontend = Process::start(&yaml).await;
    let seed = gossip(&frontend);
    let yaml = member("ingester", "ingester", seed, &m_ingester) + &server("", &m_ingester) + &storage;
    let ingester = Process::start(&yaml).await;
    let yaml = member("querier", "querier", seed, &m_querier)
        + &server("", &m_querier)
        + &storage
        + &format!(
            "querier: {{frontend_worker: {{frontend_address: '{}', grpc_client_config: {{{}}}}}}}\n",
            frontend.app.grpc(),
            m_querier.client("frontend.test")
        );
    let querier = Process::start(&yaml).await;
    let yaml = member("distributor", "distributor", seed, &m_distributor) + &server("", &m_distributor);
    let distributor = Process::start(&yaml).await;
    until("gossip goes over TLS", async || active(&distributor, Role::Ingester) == 1).await;
    until("gossip goes over TLS", async || active(&frontend, Role::Ingester) == 1).await;
    let dirs = [m_frontend, m_querier, m_ingester, m_distributor].map(|mount| mount.dir);
    ([frontend, querier, ingester, distributor], dirs.into_iter().chain([bucket]).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_show_each_other_certificates_and_who_has_none_is_heard_by_nobody() {
    let authority = Authority::new("ca");
    let ([frontend, querier, ingester, distributor], _dirs) = stack(&authority).await;
    let seed = gossip(&frontend);
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = distributor.export(&protobuf, traces(3)).await;
    assert_eq!(answer.code, 200, "{}", answer.text());

    let probe = Caller::new(&authority.pem, None);
    let internal = frontend.app.internal().expect("there is one for probes");
    until("ready", async || probe.get(internal, "/ready").await.unwrap().code == 200).await;
    assert_eq!(probe.get(internal, "/metrics").await.unwrap().code, 404);
    let known = Caller::new(&authority.pem, Some(&authority.sign(&["client.test"])));
    let path = "/api/traces/00000002070707070707070707070707";
    let found = known.get(frontend.app.http(), path).await.unwrap();
    assert_eq!(found.code, 200, "{}", found.body);

    let refused = probe.get(frontend.app.http(), path).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let stranger = Authority::new("ca").sign(&["client.test"]);
    let refused = Caller::new(&authority.pem, Some(&stranger)).get(frontend.app.http(), path).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("alert"), "{refused}");

    // A member without a certificate is not met, and its grpc calls would be refused likewise.
    let plain = format!(
        "target: ingester\nmemberlist: {{node_name: plain, bind_port: 0, bind_addr: [127.0.0.1], advertise_addr: \
         127.0.0.1, join_members: ['{seed}']}}\n"
    );
    let outsider = Process::start(&plain).await;
    until("the outsider is refused", async || {
        let metrics = known.get(frontend.app.http(), "/metrics").await.unwrap().body;
        metrics.contains("vivace_tls_handshakes_failed_total{config=\"memberlist\"}")
    })
    .await;
    assert_eq!(active(&frontend, Role::Ingester), 1);
    for process in [outsider, distributor, querier, ingester, frontend] {
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingester_whose_authority_is_not_trusted_is_given_nothing_and_the_error_says_why() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let members = Mount::new(&ours.sign(&["member.test", "ingester.test"]), &ours.pem);
    let strange = Mount::new(&theirs.sign(&["ingester.test"]), &theirs.pem);
    let yaml = member("distributor", "distributor", nobody(), &members) + &server("", &members);
    let distributor = Process::start(&yaml).await;
    let yaml = member("ingester", "ingester", gossip(&distributor), &members) + &server("", &strange);
    let ingester = Process::start(&yaml).await;
    until("the ingester is met", async || active(&distributor, Role::Ingester) == 1).await;
    let answer = distributor.export(&[("content-type", "application/x-protobuf")], traces(1)).await;
    assert_eq!(answer.code, 503, "{}", answer.text());
    let said = answer.text();
    assert!(
        said.contains("ingester_client.grpc_client_config")
            && said.contains("invalid peer certificate: UnknownIssuer"),
        "{said}"
    );

    // The other way round: we trust the ingester, and it does not trust us.
    strange.write("ca.crt", &theirs.pem);
    members.write("ca.crt", &(ours.pem.clone() + &theirs.pem));
    until("the distributor trusts both", async || {
        let answer = distributor.export(&[("content-type", "application/x-protobuf")], traces(1)).await;
        assert_eq!(answer.code, 503);
        !answer.text().contains("UnknownIssuer") && answer.text().contains("alert")
    })
    .await;
    for process in [ingester, distributor] {
        process.stop().await;
    }
}

/// How often a section of the configuration has reloaded its files, or failed to.
async fn reloads(process: &Process, config: &str, outcome: &str) -> u32 {
    let name = format!("vivace_tls_reloads_total{{config=\"{config}\",outcome=\"{outcome}\"}} ");
    let metrics = process.get("/metrics").await.text();
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Sends over connections of its own until it is told to stop.
async fn load(caller: Caller, to: SocketAddr, stop: Arc<AtomicBool>, sent: Arc<AtomicU32>) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match caller.export(to, &traces(1)).await {
            Ok(answer) if answer.code == 200 => {}
            Ok(answer) => failures.push(format!("{} {}", answer.code, answer.body)),
            Err(error) => failures.push(error.to_string()),
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    failures
}

/// Exchanges bundle, certificate and key of members while spans come in.
async fn exchange(mount: &Mount, [distributor, ingester]: [&Process; 2], old: &Authority, new: &Authority) {
    let receiver = "distributor.receivers.otlp.protocols.http.tls";
    let both = old.pem.clone() + &new.pem;
    let caller = Caller::new(&both, Some(&old.sign(&["client.test"])));
    let (to, stop, sent) = (distributor.otlp("http"), Arc::new(AtomicBool::new(false)), Arc::default());
    let loads: Vec<_> = (0..2)
        .map(|_| tokio::spawn(load(caller.clone(), to, Arc::clone(&stop), Arc::clone(&sent))))
        .collect();
    until("it sends", async || sent.load(Ordering::Relaxed) > 5).await;
    mount.write("ca.crt", &both);
    until("the bundle is read", async || {
        [
            reloads(distributor, receiver, "reloaded").await,
            reloads(distributor, "ingester_client.grpc_client_config", "reloaded").await,
            reloads(ingester, "server.grpc_tls_config", "reloaded").await,
        ] == [1; 3]
    })
    .await;
    let signed = new.sign(&NAMES);
    mount.write("tls.crt", &signed.cert);
    until("a certificate without its key is not used", async || {
        reloads(distributor, receiver, "failed").await == 1
    })
    .await;
    let at = sent.load(Ordering::Relaxed);
    until("the pair before it serves on", async || sent.load(Ordering::Relaxed) > at + 10).await;
    assert_ne!(caller.get(to, "/").await.expect("an answer").certificate, der(&signed));
    mount.write("tls.key", &signed.key);
    until("the new pair is used", async || {
        caller.get(to, "/").await.expect("an answer").certificate == der(&signed)
            && reloads(distributor, "ingester_client.grpc_client_config", "reloaded").await >= 2
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert_eq!(load.await.expect("an answer"), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authorities_change_under_load_and_no_request_fails() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mount = Mount::new(&old.sign(&NAMES), &old.pem);
    let receiver = format!(
        "distributor: {{receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:0', tls: {{{}, min_version: \
         '1.3', reload_interval: 100ms}}}}}}}}}}}}\n",
        mount.listener()
    );
    let yaml = member("distributor", "distributor", nobody(), &mount) + &server("", &mount) + &receiver;
    let distributor = Process::start(&yaml).await;
    let seed = gossip(&distributor);
    let ingester =
        Process::start(&(member("ingester-0", "ingester", seed, &mount) + &server("", &mount))).await;
    until("the ingester is met", async || active(&distributor, Role::Ingester) == 1).await;

    exchange(&mount, [&distributor, &ingester], &old, &new).await;
    let metrics = distributor.get("/metrics").await.text();
    assert!(metrics.contains("vivace_tls_certificate_expires_in_days{config=\"memberlist\"} "), "{metrics}");

    let (to, caller) = (
        distributor.otlp("http"),
        Caller::new(&(old.pem.clone() + &new.pem), Some(&old.sign(&["client.test"]))),
    );
    // The old authority is gone: who starts now knows only the new one, and the distributor calls with it.
    ingester.stop().await;
    until("the ingester is gone", async || active(&distributor, Role::Ingester) == 0).await;
    mount.write("ca.crt", &new.pem);
    until("the old authority is gone", async || caller.export(to, &traces(1)).await.is_err()).await;
    let ingester =
        Process::start(&(member("ingester-1", "ingester", seed, &mount) + &server("", &mount))).await;
    until("the next ingester is met", async || active(&distributor, Role::Ingester) == 1).await;
    let caller = Caller::new(&new.pem, Some(&new.sign(&["client.test"])));
    let answer = caller.export(to, &traces(1)).await.unwrap();
    assert_eq!(answer.code, 200, "{}", answer.body);
    for process in [ingester, distributor] {
        process.stop().await;
    }
}

/// A process of all roles whose HTTP receiver speaks TLS with `keys`.
fn receiving(protocol: &str, keys: &str) -> String {
    format!(
        "distributor: {{receivers: {{otlp: {{protocols: {{{protocol}: {{endpoint: '127.0.0.1:0', tls: {{{keys}}}}}}}}}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_kubernetes_swaps_is_followed() {
    let authority = Authority::new("ca");
    let [first, second] = [0, 1].map(|_| authority.sign(&[]));
    let mounts = [&first, &second].map(|signed| Mount::new(signed, &authority.pem));
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("data");
    point(&link, mounts[0].path("").as_path());
    let keys =
        format!("cert_file: {0}/tls.crt, key_file: {0}/tls.key, reload_interval: 100ms", link.display());
    let process = Process::start(&receiving("http", &keys)).await;
    let caller = Caller::new(&authority.pem, None);
    let to = process.otlp("http");
    assert_eq!(caller.get(to, "/").await.unwrap().certificate, der(&first));
    point(&link, mounts[1].path("").as_path());
    until("the second is shown", async || caller.get(to, "/").await.unwrap().certificate == der(&second))
        .await;
    let metrics = process.get("/metrics").await.text();
    assert!(!metrics.contains("outcome=\"failed\""), "{metrics}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_over_grpc_speaks_tls_and_asks_for_certificates() {
    let authority = Authority::new("ca");
    let mount = Mount::new(&authority.sign(&[]), &authority.pem);
    let process = Process::start(&receiving("grpc", &mount.listener())).await;
    let client = vivace_config::load(
        &format!("ingester_client: {{grpc_client_config: {{{}}}}}", mount.client("localhost")),
        &[],
    );
    let client = client.unwrap().config.ingester_client.grpc_client_config;
    let settings = vivace::tls::ClientSettings::of("client", &client).unwrap().unwrap();
    let connector = vivace::tls::Connector::open(settings, &vivace::tls::Metrics::default()).unwrap();
    let endpoint = format!("http://{}", process.otlp("grpc"));
    let endpoint = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
    let channel = vivace::tls::Connector::lazy(Some(&connector), &endpoint);
    crate::ingest::export_over(channel).await.expect("it is taken");
    let refused = crate::ingest::export_over(endpoint.connect_lazy()).await;
    assert!(refused.is_err(), "plain text is not taken");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_clients_is_what_is_configured() {
    let (authority, strange) = (Authority::new("ca"), Authority::new("strange"));
    let mount = Mount::new(&authority.sign(&[]), &authority.pem);
    let own = mount.listener();
    let without_ca = own.split(", client_ca_file").next().unwrap();
    let with = |signed: &Signed| Caller::new(&authority.pem, Some(signed));
    let callers = [
        Caller::new(&authority.pem, None),
        with(&strange.sign(&["client.test"])),
        with(&authority.sign(&["client.test"])),
    ];
    for (kind, keys, expected) in [
        ("NoClientCert", without_ca, [true, true, true]),
        ("RequestClientCert", without_ca, [true, true, true]),
        ("RequireAnyClientCert", without_ca, [false, true, true]),
        ("VerifyClientCertIfGiven", own.as_str(), [true, false, true]),
        ("RequireAndVerifyClientCert", own.as_str(), [false, false, true]),
    ] {
        let yaml = format!("server: {{http_tls_config: {{{keys}, client_auth_type: {kind}}}}}\n");
        let process = Process::start(&yaml).await;
        for (caller, expected) in callers.iter().zip(expected) {
            let answer = caller.get(process.app.http(), "/status/version").await;
            assert_eq!(answer.is_ok(), expected, "{kind}: {answer:?}");
        }
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_http_where_https_is_spoken_is_told_so() {
    let authority = Authority::new("ca");
    let mount = Mount::new(&authority.sign(&[]), &authority.pem);
    let yaml = format!("server: {{http_tls_config: {{{}, {VERIFIED}}}}}\n", mount.listener());
    let process = Process::start(&yaml).await;
    let mut stream = tokio::net::TcpStream::connect(process.app.http()).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthis port speaks https, not http.\n"), "{answer}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_missing_or_wrong_at_the_start_are_named_with_their_key() {
    let authority = Authority::new("ca");
    let mount = Mount::new(&authority.sign(&[]), &authority.pem);
    let dir = tempfile::tempdir().unwrap();
    let refusal = async |yaml: &str| match App::start(config(dir.path(), yaml)).await {
        Ok(_) => panic!("it starts with {yaml}"),
        Err(error) => format!("{error:#}"),
    };
    let path = |file: &str| mount.path(file).display().to_string();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let listener = |cert: &str, key: &str| {
        format!("server: {{grpc_tls_config: {{cert_file: {cert}, key_file: {key}}}}}")
    };
    let name = "server.grpc_tls_config";
    assert_eq!(
        refusal(&listener("/nowhere/tls.crt", &key)).await,
        format!("{name}.cert_file: /nowhere/tls.crt: No such file or directory (os error 2)")
    );
    assert_eq!(
        refusal(&listener(&cert, &path("ca.crt"))).await,
        format!("{name}.key_file: {}: expected a private key in PEM: no items found", path("ca.crt"))
    );
    mount.write("other.key", &authority.sign(&[]).key);
    let said = refusal(&listener(&cert, &path("other.key"))).await;
    let expected = format!(
        "{name}.key_file: {}: expected the key of the certificate in {name}.cert_file: {cert}",
        path("other.key")
    );
    assert!(said.starts_with(&expected), "{said}");
    mount.write("empty", "");
    let said = refusal(&receiving(
        "http",
        &format!("cert_file: {cert}, key_file: {key}, client_ca_file: {}", path("empty")),
    ))
    .await;
    let receiver = "distributor.receivers.otlp.protocols.http.tls.client_ca_file";
    assert_eq!(said, format!("{receiver}: {}: expected certificates in PEM, found none", path("empty")));
    let client = "target: querier\nquerier: {frontend_worker: {frontend_address: 'a:1', grpc_client_config: \
                  {tls_enabled: true, tls_ca_path: /nowhere/ca}}}";
    let said = refusal(client).await;
    let client = "querier.frontend_worker.grpc_client_config.tls_ca_path";
    assert_eq!(said, format!("{client}: /nowhere/ca: No such file or directory (os error 2)"));
}
