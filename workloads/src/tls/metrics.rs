//! What is known of certificates and handshakes, by the section of the configuration that asks for them.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConfig {
    config: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReload {
    config: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "they are written as they stand")]
enum Outcome {
    reloaded,
    failed,
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Reloads, expiry and failed handshakes.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reloads: Family<OfReload, Counter>,
    expiry: Family<OfConfig, Gauge<f64, AtomicU64>>,
    handshakes: Family<OfConfig, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "times that files of certificates had changed, by whether they could be used";
        registry.register("vivace_tls_reloads", help, metrics.reloads.clone());
        let help = "days until the certificate in use expires; below 0 it has";
        registry.register("vivace_tls_certificate_expires_in_days", help, metrics.expiry.clone());
        let help = "connections that ended in the handshake: no certificate, a wrong one, no TLS";
        registry.register("vivace_tls_handshakes_failed", help, metrics.handshakes.clone());
        metrics
    }

    pub(super) fn reloaded(&self, config: &str) {
        self.reload(config, Outcome::reloaded);
    }

    pub(super) fn not_reloaded(&self, config: &str) {
        self.reload(config, Outcome::failed);
    }

    fn reload(&self, config: &str, outcome: Outcome) {
        self.reloads.get_or_create(&OfReload { config: config.to_owned(), outcome }).inc();
    }

    /// `seconds` until the certificate expires.
    pub(super) fn expires_in(&self, config: &str, seconds: i64) {
        let of = OfConfig { config: config.to_owned() };
        self.expiry.get_or_create(&of).set(seconds as f64 / DAY);
    }

    pub(super) fn handshake_failed(&self, config: &str) {
        self.handshakes.get_or_create(&OfConfig { config: config.to_owned() }).inc();
    }
}
