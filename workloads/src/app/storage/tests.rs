use super::*;

fn open_yaml(yaml: &str) -> anyhow::Result<Arc<Store>> {
    let loaded = vivace_config::load(&format!("storage: {{trace: {yaml}}}"), &[]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    open(&loaded.config.storage.trace)
}

fn refusal(yaml: &str) -> String {
    format!("{:#}", open_yaml(yaml).expect_err(yaml))
}

fn s3(keys: &str) -> String {
    refusal(&format!("{{backend: s3, s3: {{bucket: b, {keys}}}}}"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one line a key")]
fn a_key_of_s3_that_is_missing_malformed_or_contradictory_is_named_with_what_was_expected() {
    let long_key = "0123456789abcdef0123456789abcdefX";
    for (keys, expected) in [
        ("access_key: a", "secret_key: expected one beside access_key, found nothing"),
        ("secret_key: s", "access_key: expected one beside secret_key, found nothing"),
        ("session_token: t", "access_key: expected one beside session_token, found nothing"),
        ("access_key: a, secret_key: \"two\\nlines\"", "secret_key: expected printable characters"),
        ("endpoint: 'ftp://x'", "endpoint: expected host[:port]"),
        ("endpoint: 'minio:port'", "endpoint: expected host[:port]"),
        ("endpoint: 'https://minio/bucket'", "endpoint: expected host[:port]"),
        ("endpoint: 'user@minio'", "endpoint: expected host[:port]"),
        (
            "endpoint: 'https://minio', insecure: true",
            "insecure: expected false with an endpoint of https://",
        ),
        (
            "endpoint: 'http://minio', tls_ca_path: /ca",
            "tls_ca_path: expected none for an endpoint of plain http",
        ),
        (
            "insecure: true, tls_server_name: n",
            "tls_server_name: expected none for an endpoint of plain http",
        ),
        ("tls_cert_path: /cert", "tls_key_path: expected one beside tls_cert_path"),
        ("tls_key_path: /key", "tls_cert_path: expected one beside tls_key_path"),
        ("tls_ca_path: /not/there", "tls_ca_path: /not/there: "),
        ("tls_min_version: TLS1.2", "tls_min_version: expected VersionTLS10"),
        ("bucket_lookup_type: 3", "bucket_lookup_type: expected 0 (auto)"),
        (
            "bucket_lookup_type: 1, forcepathstyle: true",
            "bucket_lookup_type: expected 0 or 2 with forcepathstyle",
        ),
        ("signature_v2: true", "signature_v2: expected false"),
        ("part_size: 1000", "part_size: expected 5242880 to 5368709120 bytes, found 1000"),
        ("hedge_requests_at: 1s, hedge_requests_up_to: 100", "hedge_requests_up_to: expected at most 10"),
        ("retry_backoff_initial: 2s, retry_backoff_max: 1s", "retry_backoff_initial: expected at most"),
        ("tags: [a]", "tags: expected a map of strings"),
        ("metadata: {a: {b: c}}", "metadata.a: expected a string"),
        ("prefix: a//b", "prefix: expected segments joined by /"),
        ("sse: {type: SSE-X}", "sse.type: expected SSE-S3, SSE-KMS or SSE-C, found `SSE-X`"),
        ("sse: {type: SSE-C}", "sse.encryption_key: expected a key of 32 bytes, found 0"),
        (
            &format!("sse: {{type: SSE-C, encryption_key: {long_key}}}"),
            "sse.encryption_key: expected a key of 32 bytes, found 33",
        ),
        ("sse: {kms_key_id: k}", "sse.kms_key_id: expected none unless sse.type is SSE-KMS, which is ``"),
        (
            "sse: {type: SSE-S3, encryption_key: k}",
            "sse.encryption_key: expected none unless sse.type is SSE-C",
        ),
        (
            "sse: {type: SSE-KMS, kms_encryption_context: x}",
            "sse.kms_encryption_context: expected a JSON object",
        ),
    ] {
        let found = s3(keys);
        assert!(found.starts_with(&format!("storage.trace.s3.{expected}")), "{keys}: {found}");
        assert!(!found.contains(long_key), "{found}");
    }
    assert_eq!(
        refusal("{backend: s3}"),
        "storage.trace.s3.bucket: expected the bucket's name, found nothing"
    );
}

#[test]
fn files_of_tls_that_hold_something_else_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.pem");
    std::fs::write(&path, "not PEM").unwrap();
    let path = path.display();
    let ca = s3(&format!("tls_ca_path: {path}"));
    assert!(ca.contains("s3.tls_ca_path: expected certificates in PEM"), "{ca}");
    let cert = s3(&format!("tls_cert_path: {path}, tls_key_path: {path}"));
    assert!(cert.contains("s3.tls_cert_path: expected certificates in PEM"), "{cert}");
}

#[test]
fn a_key_of_gcs_or_azure_that_is_missing_malformed_or_contradictory_is_named() {
    for (yaml, expected) in [
        ("{backend: gcs}", "gcs.bucket_name: expected the bucket's name, found nothing"),
        ("{backend: gcs, gcs: {bucket_name: b, endpoint: 'ftp://x'}}", "gcs.endpoint: expected host[:port]"),
        ("{backend: gcs, gcs: {bucket_name: a/b}}", "gcs.bucket_name: expected the bucket's name, without"),
        (
            "{backend: azure, azure: {container_name: c}}",
            "azure.storage_account_name: expected the account's name",
        ),
        (
            "{backend: azure, azure: {storage_account_name: a}}",
            "azure.container_name: expected the container's name",
        ),
        (
            "{backend: azure, azure: {storage_account_name: a, container_name: c, storage_account_key: 'not base64'}}",
            "azure.storage_account_key: expected printable",
        ),
        (
            "{backend: azure, azure: {storage_account_name: a, container_name: c, storage_account_key: 'a-b'}}",
            "azure.storage_account_key: expected base64",
        ),
        (
            "{backend: azure, azure: {storage_account_name: a, container_name: c, storage_account_key: YQ==, use_managed_identity: true}}",
            "azure.storage_account_key: expected none with use_managed_identity",
        ),
        (
            "{backend: azure, azure: {storage_account_name: a, container_name: c, use_federated_token: true, user_assigned_id: x}}",
            "azure.use_federated_token: expected false with a managed identity",
        ),
        ("{backend: tape}", "backend: expected local, s3, gcs or azure, found `tape`"),
    ] {
        let found = refusal(yaml);
        assert!(found.starts_with(&format!("storage.trace.{expected}")), "{yaml}: {found}");
    }
}

#[test]
fn what_tempo_accepts_is_accepted() {
    for yaml in [
        "{backend: s3, s3: {bucket: b, endpoint: 'minio:9000', insecure: true, access_key: a, secret_key: s, \
          tags: {team: a, n: 1}, metadata: {k: v}, storage_class: STANDARD_IA, part_size: 16777216, \
          sse: {type: SSE-KMS, kms_key_id: 'arn:aws:kms:eu:1:key/2', kms_encryption_context: '{\"a\":\"b\"}'}, \
          hedge_requests_at: 400ms, hedge_requests_up_to: 3, list_blocks_concurrency: 9, native_aws_auth_enabled: true, \
          checksum_type: CRC32C, tls_min_version: VersionTLS12, enable_dual_stack: true, bucket_lookup_type: 2}}",
        "{backend: s3, s3: {bucket: b, sse: {type: SSE-C, encryption_key: 0123456789abcdef0123456789abcdef}}}",
        "{backend: s3, s3: {bucket: b, sse: {type: SSE-S3}, tls_server_name: other, tls_min_version: VersionTLS13}}",
        "{backend: gcs, gcs: {bucket_name: b, insecure: true, endpoint: 'http://127.0.0.1:1/storage/v1/', \
          object_metadata: {a: b}, object_cache_control: no-store, chunk_buffer_size: 10485760, max_retries: 3}}",
        "{backend: azure, azure: {storage_account_name: a, container_name: c, storage_account_key: YQ==, \
          endpoint_suffix: '127.0.0.1:10000', max_buffers: 4, buffer_size: 3145728}}",
        "{backend: azure, azure: {storage_account_name: a, container_name: c, user_assigned_id: x}}",
    ] {
        open_yaml(yaml).unwrap();
    }
}

#[test]
fn no_credential_stands_in_what_is_printed_of_the_configuration_or_the_store() {
    let yaml = "storage: {trace: {backend: s3, s3: {bucket: b, access_key: AKIASECRET, secret_key: hushhush, \
                session_token: psst, sse: {type: SSE-C, encryption_key: 0123456789abcdef0123456789abcdef}}}}";
    let config = vivace_config::load(yaml, &[]).unwrap().config;
    let printed = format!("{:?} {:?}", config.storage.trace, open(&config.storage.trace).unwrap());
    for secret in ["AKIASECRET", "hushhush", "psst", "0123456789abcdef"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
