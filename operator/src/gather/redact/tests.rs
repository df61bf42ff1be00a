use proptest::prelude::*;
use serde_json::json;

use super::*;

fn knowing(pairs: &[(&str, &str)]) -> Known {
    let data: Map<String, Value> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
    let mut known = Known::default();
    known.learn(&json!({"kind": "Secret", "data": data}));
    known.prepare().expect("the values can be searched for");
    known
}

#[test]
fn of_a_secret_the_keys_and_sizes_are_left() {
    let secret = json!({
        "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "managedFields": [{}], "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":{\"a\":\"plain\"}}", "other": "stays",
        }},
        "data": {"a": STANDARD.encode("plain"), "bucket": STANDARD.encode("traces")},
        "stringData": {"b": "plain-too"},
    });
    let shown = object(secret, &knowing(&[("a", "plain"), ("b", "plain-too")]));
    assert_eq!(shown["data"], json!({"a": "<5 bytes>", "bucket": "<6 bytes>"}));
    assert_eq!(shown["metadata"], json!({"name": "s", "annotations": {"other": "stays"}}));
    assert!(!shown.to_string().contains("plain"), "{shown}");
}

#[test]
fn names_say_what_is_secret_and_what_only_points_at_it() {
    for name in [
        "password",
        "S3_SECRET_KEY",
        "access_key",
        "accessKeyId",
        "storage-account-key",
        "clientSecret",
        "bearerToken",
        "Authorization",
        "cookie.secret",
        "X-Api-Key",
        "aws_session_token",
    ] {
        assert!(is_secret(name), "{name}");
    }
    for name in [
        "secretName",
        "tokens_file_path",
        "credentialMode",
        "bearer_token_file",
        "name",
        "tls_key_path",
        "bucket",
        "serviceAccountTokenAudience",
        "credential_source_url",
        "secretNamespace",
        "key",
    ] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn variables_arguments_and_configuration_lose_their_secrets_and_nothing_else() {
    let shown = object(
        json!({
            "kind": "Deployment",
            "spec": {"containers": [{
                "args": ["--storage.trace.s3.secret_key=$(S3_SECRET_KEY)", "--proxy-password=hunter22", "-target=ingester"],
                "env": [
                    {"name": "DB_PASSWORD", "value": "hunter22"},
                    {"name": "S3_SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": "bucket-access", "key": "access_key_secret"}}},
                    {"name": "GOMEMLIMIT", "value": "100MiB"},
                ],
                "volumes": [{"secret": {"secretName": "tls"}}],
            }], "extraConfig": {"remote_write": [{"basic_auth": {"username": "u", "password": "hunter22"}}]}, "tokens": ["hunter22", 3]},
        }),
        &Known::default(),
    );
    let container = &shown["spec"]["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "--storage.trace.s3.secret_key=$(S3_SECRET_KEY)",
            format!("--proxy-password={REDACTED}"),
            "-target=ingester"
        ])
    );
    assert_eq!(container["env"][0]["value"], REDACTED);
    assert_eq!(
        container["env"][1]["valueFrom"]["secretKeyRef"],
        json!({"name": "bucket-access", "key": "access_key_secret"})
    );
    assert_eq!(container["env"][2]["value"], "100MiB");
    assert_eq!(container["volumes"][0]["secret"]["secretName"], "tls");
    assert_eq!(
        shown["spec"]["extraConfig"]["remote_write"][0]["basic_auth"],
        json!({"username": "u", "password": REDACTED})
    );
    assert!(!shown.to_string().contains("hunter22"), "{shown}");
}

#[test]
fn files_of_a_config_map_are_redacted_by_structure_or_word_by_word() {
    let map = json!({"kind": "ConfigMap", "data": {
        "tempo.yaml": "storage:\n  trace:\n    s3: {bucket: b, secret_key: hunter22}\n    azure:\n      storage_account_key: |\n        hunter22\n",
        "notes.txt": "password: hunter22, then\nanother line",
        "password": "hunter22",
        "broken.yaml": "a: [b\nsecret_key: 'hunter22'\n",
    }});
    let shown = object(map, &Known::default());
    assert!(!shown.to_string().contains("hunter22"), "{shown}");
    let config: Value =
        serde_yaml::from_str(shown["data"]["tempo.yaml"].as_str().expect("a file")).expect("YAML");
    assert_eq!(config["storage"]["trace"]["s3"]["bucket"], "b");
    assert_eq!(shown["data"]["notes.txt"], format!("password: {REDACTED}, then\nanother line"));
}

#[test]
fn what_a_secret_holds_is_taken_out_wherever_it_turns_up() {
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nVJTUt9Us8cKjMzEfYyjiWA4R4ypbHqGA";
    let cookie = "0123456789abcdef0123456789abcdef";
    let known = knowing(&[
        ("access_key_secret", "minio-secret-key"),
        ("tls.key", key),
        (
            "tenants.yaml",
            &format!("tenants:\n- name: dev\n  cookie: {cookie}\n  host: tempo-sample-gateway-of-a-team\n"),
        ),
        ("endpoint", "http://minio:9000"),
        ("short", "tempo"),
    ]);
    let text = format!(
        "level=error msg=\"signature with minio-secret-key\" endpoint=http://minio:9000 pod=tempo-sample-gateway-of-a-team tenants:\n{}\n{}\n{cookie}\n{}",
        key.lines().next().expect("a line"),
        STANDARD.encode("minio-secret-key"),
        STANDARD.encode(key)
    );
    let shown = log(&text, &known);
    assert_eq!(shown.matches(REDACTED).count(), 5, "{shown}");
    for kept in ["endpoint=http://minio:9000", "pod=tempo-sample-gateway-of-a-team", "tenants:"] {
        assert!(shown.contains(kept), "{kept}: {shown}");
    }
    let event = object(json!({"kind": "Event", "message": "pulled with minio-secret-key"}), &known);
    assert_eq!(event["message"], format!("pulled with {REDACTED}"));
}

#[test]
fn logs_lose_headers_addresses_with_passwords_and_private_keys() {
    for (line, shown) in [
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer <redacted>"),
        ("header Bearer abcdefghij sent", "header Bearer <redacted> sent"),
        ("GET https://user:pass@host/path?x=1", "GET https://<redacted>@host/path?x=1"),
        ("GET https://host:9000/a@b", "GET https://host:9000/a@b"),
        (r#"{"password":"a\u0020b","n":1}"#, r#"{"password":"<redacted>","n":1}"#),
        ("secret_key=abc token = def; next", "secret_key=<redacted> token = <redacted>; next"),
        ("Secret minio lacks access_key_secret", "Secret minio lacks access_key_secret"),
        ("the basic idea, a token of it", "the basic idea, a token of it"),
        (
            "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nrest",
            "-----BEGIN PRIVATE KEY-----<redacted>-----END PRIVATE KEY-----\nrest",
        ),
        ("-----BEGIN EC PRIVATE KEY-----\nabc", "-----BEGIN EC PRIVATE KEY-----<redacted>"),
    ] {
        assert_eq!(log(line, &Known::default()), shown);
    }
}

#[test]
fn a_value_that_looks_like_something_else_goes_as_a_whole_however_it_is_written() {
    let known = knowing(&[("password", "left token=middle https://a:b@right")]);
    let shown = log("it was left token=middle https://a:b@right.", &known);
    assert_eq!(shown, format!("it was {REDACTED}."));
    let known = knowing(&[("password", "correct-horse")]);
    let map = json!({"kind": "ConfigMap", "data": {"a.yaml": r#"note: "correct\x2dhorse""#}});
    let shown = object(map, &known);
    assert_eq!(shown["data"]["a.yaml"], format!("note: {REDACTED}\n"));
}

#[test]
fn a_secret_that_is_no_text_takes_no_character_apart() {
    let mut known = Known::default();
    let bytes = "é".repeat(8).into_bytes();
    known.learn(&json!({"data": {"key": STANDARD.encode(&bytes[1..bytes.len() - 1])}}));
    known.prepare().expect("the values can be searched for");
    let text = format!("{} {}", "é".repeat(20), STANDARD.encode(&bytes[1..bytes.len() - 1]));
    assert_eq!(log(&text, &known), format!("{} {REDACTED}", "é".repeat(20)));
}

proptest! {
    #[test]
    fn whatever_the_text_no_secret_of_the_cluster_is_left(
        secret in "[ -~]{8,40}",
        before in "\\PC{0,40}",
        after in "(=|: |\\\\n|\"|://|Bearer |password=|-----BEGIN PRIVATE KEY-----|\\PC){0,8}",
    ) {
        let secret = secret.trim();
        prop_assume!(secret.len() >= SHORTEST && !REDACTED.contains(secret));
        let known = knowing(&[("password", secret)]);
        prop_assume!(!known.values.is_empty());
        let text = format!("{before}{secret}{after}{secret}");
        prop_assert!(!log(&text, &known).contains(secret));
        let map = json!({"kind": "ConfigMap", "metadata": {"annotations": {"note": text}}, "data": {"file": text}});
        let shown = object(map, &known);
        prop_assert!(!shown["metadata"]["annotations"]["note"].as_str().unwrap_or_default().contains(secret));
        prop_assert!(!shown["data"]["file"].as_str().unwrap_or_default().contains(secret));
    }
}
