use vivace_config::{Config, load};

use super::*;

fn config(text: &str) -> Config {
    load(text, &[]).expect("sound").config
}

fn listener(keys: &str, tls: &str) -> Result<Option<ServerSettings>, SettingError> {
    let config = config(&format!("server: {{{keys} grpc_tls_config: {{{tls}}}}}"));
    ServerSettings::of_listener("server.grpc_tls_config", &config.server, &config.server.grpc_tls_config)
}

fn refusal(keys: &str, tls: &str) -> String {
    listener(keys, tls).expect_err("the keys do not fit").to_string()
}

#[test]
fn a_listener_that_asks_for_something_unclear_is_refused_by_key() {
    assert!(listener("", "").unwrap().is_none());
    for (keys, tls, said) in [
        ("", "cert_file: c", "server.grpc_tls_config.key_file: expected one beside cert_file, found none"),
        (
            "",
            "client_ca_file: a",
            "server.grpc_tls_config.cert_file: expected the listener's own certificate",
        ),
        (
            "",
            "cert_file: c, key_file: k, client_ca_file: a",
            "server.grpc_tls_config.client_auth_type: expected VerifyClientCertIfGiven or \
             RequireAndVerifyClientCert with client_ca_file",
        ),
        (
            "",
            "cert_file: c, key_file: k, client_auth_type: RequireAndVerifyClientCert",
            "server.grpc_tls_config.client_ca_file: expected one for RequireAndVerifyClientCert, found none",
        ),
        (
            "tls_min_version: TLS13,",
            "cert_file: c, key_file: k",
            "server.tls_min_version: expected VersionTLS12 or VersionTLS13, found `TLS13`",
        ),
    ] {
        assert_eq!(refusal(keys, tls), said);
    }
    let said = refusal("tls_cipher_suites: TLS_NONE,", "cert_file: c, key_file: k");
    assert!(said.starts_with("server.tls_cipher_suites: expected some of TLS_AES_256_GCM_SHA384,"), "{said}");
    assert!(said.ends_with("found `TLS_NONE`"), "{said}");
}

#[test]
fn versions_and_suites_are_those_that_are_named_and_old_ones_are_passed_over() {
    let of = |keys: &str| {
        let settings = listener(keys, "cert_file: c, key_file: k").unwrap().unwrap();
        (settings.protocol.versions.len(), settings.protocol.provider.cipher_suites.len())
    };
    assert_eq!(of(""), (2, 9));
    assert_eq!(of("tls_min_version: VersionTLS13,").0, 1);
    assert_eq!(of("tls_min_version: VersionTLS10,").0, 2);
    // As in Go, a list without TLS 1.3 leaves that as it is.
    let one = "tls_cipher_suites: 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA',";
    assert_eq!(of(one), (2, 4));
    assert_eq!(of("tls_cipher_suites: 'TLS_AES_128_GCM_SHA256',"), (1, 1));
    assert_eq!(of("tls_cipher_suites: 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305',"), (2, 4));
}

#[test]
fn a_client_without_tls_enabled_ignores_the_other_keys() {
    let client = |text: &str| {
        let config = config(&format!("ingester_client: {{grpc_client_config: {{{text}}}}}"));
        let (key, client) = config.to_ingesters();
        ClientSettings::of(key, client).map(|settings| settings.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(client("tls_cert_path: c"), Ok(false));
    assert_eq!(client("tls_enabled: true"), Ok(true));
    assert_eq!(
        client("tls_enabled: true, tls_cert_path: c"),
        Err("ingester_client.grpc_client_config.tls_key_path: expected one beside tls_cert_path, found none"
            .into())
    );
    assert_eq!(
        client("tls_enabled: true, tls_server_name: '*'"),
        Err("ingester_client.grpc_client_config.tls_server_name: expected a host name or an address, found `*`"
            .into())
    );
}

#[test]
fn gossip_over_tls_needs_a_certificate_of_its_own() {
    let config = config("memberlist: {tls_enabled: true, tls_ca_path: a}");
    let client = ClientSettings::of("memberlist", &config.memberlist).unwrap().unwrap();
    let said = ServerSettings::of_gossip(&client).unwrap_err().to_string();
    assert!(said.starts_with("memberlist.tls_cert_path: expected a certificate"), "{said}");
}
