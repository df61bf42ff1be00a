//! `storage.trace.s3`.

use anyhow::{bail, ensure};
use tracing_core::store::{Access, Backend, Encryption, S3Login, S3Options, S3Style, Tls};
use vivace_config::{S3, S3Sse};

use super::{Keys, UrlPath, plain, text};

const KEYS: Keys = Keys("s3");

/// S3 takes so many tags of an object.
const MAX_TAGS: usize = 10;

pub(super) fn options(config: &S3) -> anyhow::Result<(Backend, Access)> {
    let bucket = KEYS.required("bucket", config.bucket.as_ref(), "the bucket's name")?;
    let endpoint = KEYS.endpoint(config.endpoint.as_ref(), UrlPath::Refused)?;
    let insecure = insecure(config, &endpoint)?;
    ensure!(
        config.signature_v2 != Some(true),
        "{}: expected false, only version 4 is served",
        KEYS.name("signature_v2")
    );
    let tags = KEYS.map("tags", &config.tags)?;
    ensure!(
        tags.len() <= MAX_TAGS,
        "{}: expected at most {MAX_TAGS}, found {}",
        KEYS.name("tags"),
        tags.len()
    );
    let storage_class = text(config.storage_class.as_ref());
    ensure!(plain(storage_class), "{}: expected a name such as STANDARD_IA", KEYS.name("storage_class"));
    let region = text(config.region.as_ref());
    ensure!(plain(region), "{}: expected a name such as eu-west-1, found `{region}`", KEYS.name("region"));
    let options = S3Options {
        bucket,
        prefix: KEYS.prefix(config.prefix.as_ref())?,
        endpoint,
        region: region.to_owned(),
        login: login(config)?,
        insecure,
        style: style(config)?,
        dual_stack: config.enable_dual_stack.unwrap_or(false),
        tls: tls(config, insecure)?,
        encryption: encryption(&config.sse, insecure)?,
        tags,
        metadata: KEYS.map("metadata", &config.metadata)?,
        storage_class: storage_class.to_owned(),
    };
    Ok((Backend::S3(Box::new(options)), access(config)?))
}

/// Whether http is spoken.
fn insecure(config: &S3, endpoint: &str) -> anyhow::Result<bool> {
    let asked = config.insecure.unwrap_or(false);
    let https = endpoint.starts_with("https://");
    ensure!(!(asked && https), "{}: expected false with an endpoint of https://", KEYS.name("insecure"));
    Ok(asked || endpoint.starts_with("http://"))
}

fn login(config: &S3) -> anyhow::Result<S3Login> {
    let access_key = KEYS.secret("access_key", config.access_key.as_ref())?;
    let secret_key = KEYS.secret("secret_key", config.secret_key.as_ref())?;
    let session_token = KEYS.secret("session_token", config.session_token.as_ref())?;
    let beside = |missing: &str, given: &str| {
        format!("{}: expected one beside {given}, found nothing", KEYS.name(missing))
    };
    match (access_key.is_empty(), secret_key.is_empty()) {
        (true, true) => {
            ensure!(session_token.is_empty(), beside("access_key", "session_token"));
            Ok(S3Login::Chain)
        }
        (true, false) => bail!(beside("access_key", "secret_key")),
        (false, true) => bail!(beside("secret_key", "access_key")),
        (false, false) => Ok(S3Login::Keys { access_key, secret_key, session_token }),
    }
}

fn style(config: &S3) -> anyhow::Result<S3Style> {
    let path = config.forcepathstyle.unwrap_or(false);
    match config.bucket_lookup_type.unwrap_or(0) {
        0 if path => Ok(S3Style::Path),
        0 => Ok(S3Style::Auto),
        1 if path => bail!(
            "{}: expected 0 or 2 with forcepathstyle, found 1 (virtual-hosted)",
            KEYS.name("bucket_lookup_type")
        ),
        1 => Ok(S3Style::Virtual),
        2 => Ok(S3Style::Path),
        n => bail!(
            "{}: expected 0 (auto), 1 (virtual-hosted) or 2 (path), found {n}",
            KEYS.name("bucket_lookup_type")
        ),
    }
}

fn tls(config: &S3, insecure: bool) -> anyhow::Result<Tls> {
    let files = [
        ("tls_ca_path", &config.tls_ca_path),
        ("tls_cert_path", &config.tls_cert_path),
        ("tls_key_path", &config.tls_key_path),
        ("tls_server_name", &config.tls_server_name),
    ];
    for (key, value) in files {
        let given = !text(value.as_ref()).is_empty();
        ensure!(!(given && insecure), "{}: expected none for an endpoint of plain http", KEYS.name(key));
    }
    let (cert, key) = (text(config.tls_cert_path.as_ref()), text(config.tls_key_path.as_ref()));
    for (missing, given, name, other) in
        [(cert, key, "tls_cert_path", "tls_key_path"), (key, cert, "tls_key_path", "tls_cert_path")]
    {
        let alone = missing.is_empty() && !given.is_empty();
        ensure!(!alone, "{}: expected one beside {other}, found nothing", KEYS.name(name));
    }
    let only_tls13 = match text(config.tls_min_version.as_ref()) {
        // Below 1.2 nothing is spoken anyway.
        "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => false,
        "VersionTLS13" => true,
        other => bail!(
            "{}: expected VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13, found `{other}`",
            KEYS.name("tls_min_version")
        ),
    };
    Ok(Tls {
        ca_pem: KEYS.file("tls_ca_path", config.tls_ca_path.as_ref())?,
        cert_pem: KEYS.file("tls_cert_path", config.tls_cert_path.as_ref())?,
        key_pem: KEYS.file("tls_key_path", config.tls_key_path.as_ref())?,
        server_name: text(config.tls_server_name.as_ref()).to_owned(),
        insecure_skip_verify: config.tls_insecure_skip_verify.unwrap_or(false),
        only_tls13,
    })
}

fn encryption(config: &S3Sse, insecure: bool) -> anyhow::Result<Encryption> {
    let kind = text(config.r#type.as_ref());
    let key_id = text(config.kms_key_id.as_ref());
    let context = text(config.kms_encryption_context.as_ref());
    let key = config.encryption_key.as_ref().map(vivace_config::Secret::expose).unwrap_or_default();
    for (name, given, of) in [
        ("kms_key_id", !key_id.is_empty(), "SSE-KMS"),
        ("kms_encryption_context", !context.is_empty(), "SSE-KMS"),
        ("encryption_key", !key.is_empty(), "SSE-C"),
    ] {
        let name = KEYS.name(&format!("sse.{name}"));
        ensure!(!given || kind == of, "{name}: expected none unless sse.type is {of}, which is `{kind}`");
    }
    match kind {
        "" => Ok(Encryption::Bucket),
        "SSE-S3" => Ok(Encryption::S3),
        "SSE-KMS" => {
            ensure!(plain_id(key_id), "{}: expected the id or ARN of a key", KEYS.name("sse.kms_key_id"));
            let strings: Result<std::collections::BTreeMap<String, String>, _> =
                serde_json::from_str(context);
            ensure!(
                context.is_empty() || strings.is_ok(),
                "{}: expected a JSON object of strings",
                KEYS.name("sse.kms_encryption_context")
            );
            Ok(Encryption::Kms { key_id: key_id.to_owned(), context: context.to_owned() })
        }
        "SSE-C" => {
            let Ok(bytes) = <[u8; 32]>::try_from(key.as_bytes()) else {
                let found = key.len();
                bail!("{}: expected a key of 32 bytes, found {found}", KEYS.name("sse.encryption_key"));
            };
            ensure!(
                !insecure,
                "{}: expected an endpoint of https for SSE-C, which sends the key along",
                KEYS.name("sse.type")
            );
            Ok(Encryption::Customer(bytes))
        }
        other => bail!("{}: expected SSE-S3, SSE-KMS or SSE-C, found `{other}`", KEYS.name("sse.type")),
    }
}

/// `arn:aws:kms:…:key/…` too.
fn plain_id(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic())
}

fn access(config: &S3) -> anyhow::Result<Access> {
    let default = Access::default();
    let pause = |value: Option<vivace_config::Duration>, default| {
        value.map(vivace_config::Duration::get).filter(|pause| !pause.is_zero()).unwrap_or(default)
    };
    let first_pause = pause(config.retry_backoff_initial, default.first_pause);
    let longest_pause = pause(config.retry_backoff_max, default.longest_pause);
    ensure!(
        first_pause <= longest_pause,
        "{}: expected at most retry_backoff_max, {longest_pause:?}, found {first_pause:?}",
        KEYS.name("retry_backoff_initial")
    );
    Ok(Access {
        hedge: KEYS.hedge(config.hedge_requests_at, config.hedge_requests_up_to)?,
        retries: config.retry_max_attempts.map_or(default.retries, |n| n.clamp(1, 100) as usize - 1),
        first_pause,
        longest_pause,
        part_bytes: KEYS.part("part_size", config.part_size, Access::MIN_PART)?,
    })
}
