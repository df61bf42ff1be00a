//! Years of a stack's life: certificates and authorities come and go, the operator dies between two writes, Secrets are
//! deleted. Whatever two pods have read, they trust each other.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use super::*;

fn roots(bundle: &ConfigMap) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let text = &bundle.data.as_ref().expect("data")["service-ca.crt"];
    for cert in CertificateDer::pem_slice_iter(text.as_bytes()) {
        roots.add(cert.expect("a certificate")).expect("an authority");
    }
    Arc::new(roots)
}

/// Whether who trusts `bundle` takes `certificate`, from a server and from a client.
fn trusted(certificate: &Secret, bundle: &ConfigMap, component: &Component, now: i64) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pem = &certificate.data.as_ref().expect("data")["tls.crt"].0;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).map(|cert| cert.expect("a certificate")).collect();
    let (first, rest) = chain.split_first().expect("a certificate");
    let moment = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now as u64));
    let server = WebPkiServerVerifier::builder_with_provider(roots(bundle), Arc::clone(&provider)).build();
    let server = server.map_err(|error| error.to_string())?;
    for hostname in &component.hostnames {
        let name = ServerName::try_from(hostname.as_str()).expect("a name");
        let verified = server.verify_server_cert(first, rest, &name, &[], moment);
        verified.map_err(|error| format!("as a server at {now}: {error}"))?;
    }
    let client = WebPkiClientVerifier::builder_with_provider(roots(bundle), provider).build();
    let client = client.map_err(|error| error.to_string())?;
    let verified = client.verify_client_cert(first, rest, moment);
    verified.map(drop).map_err(|error| format!("as a client at {now}: {error}"))
}

pub(super) fn assert_trusted(certificate: &Secret, bundle: &ConfigMap, component: &Component, now: i64) {
    assert_eq!(trusted(certificate, bundle, component, now), Ok(()));
}

/// What the cluster held, and from when on.
struct History<T>(Vec<(i64, T)>);

impl<T: Clone + PartialEq> History<T> {
    fn put(&mut self, now: i64, value: &T) {
        if self.0.last().is_none_or(|(_, last)| last != value) {
            self.0.push((now, value.clone()));
        }
    }

    /// What a pod may have read: the newest of what is old enough to be everywhere, and all that came after.
    fn readable(&self, now: i64, propagation: i64) -> impl Iterator<Item = &T> {
        let everywhere = self.0.iter().rposition(|(since, _)| *since <= now - propagation).unwrap_or(0);
        self.0[everywhere..].iter().map(|(_, value)| value)
    }
}

/// What happens to a stack besides time.
#[derive(Clone, Debug)]
enum Event {
    Nothing,
    /// The operator dies after so many writes, and starts again a minute later.
    Crash(usize),
    CertificateDeleted(usize),
    CertificateGarbled(usize),
    Renamed(usize),
    BundleDeleted,
    AuthorityDeleted,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Nothing),
        2 => (0..4_usize).prop_map(Event::Crash),
        1 => (0..2_usize).prop_map(Event::CertificateDeleted),
        1 => (0..2_usize).prop_map(Event::CertificateGarbled),
        1 => (0..2_usize).prop_map(Event::Renamed),
        1 => Just(Event::BundleDeleted),
        1 => Just(Event::AuthorityDeleted),
    ]
}

struct Stack {
    wanted: Wanted,
    existing: Existing,
    bundles: History<ConfigMap>,
    certificates: Vec<History<Secret>>,
}

impl Stack {
    fn new() -> Self {
        let mut wanted = wanted();
        wanted.components.truncate(2);
        let hours = |hours: u64| Some(vivace_config::Duration::from_secs(hours * 3600));
        wanted.rotation = Rotation::new(hours(100), hours(70), hours(20), hours(15)).expect("they fit");
        let certificates = (0..2).map(|_| History(Vec::new())).collect();
        Self { wanted, existing: Existing::default(), bundles: History(Vec::new()), certificates }
    }

    /// Plans and writes, `writes` objects at most.
    fn reconcile(&mut self, now: i64, writes: usize) -> Plan {
        let plan = at(now, &self.wanted, &self.existing);
        let put = |secrets: &mut Vec<Secret>, new: &Secret| {
            secrets.retain(|old| old.metadata.name != new.metadata.name);
            secrets.push(new.clone());
        };
        if writes > 0 {
            put(&mut self.existing.secrets, &plan.authority);
        }
        if writes > 1 {
            self.existing.config_maps = vec![plan.bundle.clone()];
            self.bundles.put(now, &plan.bundle);
        }
        for (index, certificate) in plan.certificates.iter().enumerate().take(writes.saturating_sub(2)) {
            put(&mut self.existing.secrets, certificate);
            self.certificates[index].put(now, certificate);
        }
        plan
    }

    fn suffer(&mut self, event: &Event) {
        let name = |wanted: &Wanted, index: usize| wanted.components[index].secret.clone();
        let secrets = &mut self.existing.secrets;
        match event {
            Event::Nothing | Event::Crash(_) => {}
            Event::CertificateDeleted(index) => {
                let name = name(&self.wanted, *index);
                secrets.retain(|secret| secret.metadata.name.as_ref() != Some(&name));
            }
            Event::CertificateGarbled(index) => {
                let name = name(&self.wanted, *index);
                put(secret(&mut self.existing, &name), "tls.crt", b"garbage");
            }
            Event::Renamed(index) => {
                let hostnames = &mut self.wanted.components[*index].hostnames;
                let count = hostnames.len();
                hostnames.insert(format!("name-{count}.example.org"));
            }
            Event::BundleDeleted => self.existing.config_maps.clear(),
            Event::AuthorityDeleted => {
                let name = self.wanted.authority.clone();
                secrets.retain(|secret| secret.metadata.name.as_ref() != Some(&name));
            }
        }
    }

    /// Every certificate that a pod may show to every bundle that a pod may trust.
    fn check(&self, now: i64) -> Result<(), String> {
        let propagation = self.wanted.rotation.propagation();
        // Names that are new are in no certificate that is old.
        let component = Component { secret: String::new(), hostnames: ["localhost".to_owned()].into() };
        for bundle in self.bundles.readable(now, propagation) {
            for certificate in self.certificates.iter().flat_map(|of| of.readable(now, propagation)) {
                trusted(certificate, bundle, &component, now)?;
            }
        }
        Ok(())
    }
}

/// A moment between two renewals: soon after the one before, or long after it.
fn wait() -> impl Strategy<Value = i64> {
    prop_oneof![0..600_i64, 0..60_000_i64]
}

impl Stack {
    /// When something was last written.
    fn last_write(&self) -> i64 {
        let bundle = self.bundles.0.last().map(|(since, _)| *since);
        let certificates = self.certificates.iter().filter_map(|of| of.0.last()).map(|(since, _)| *since);
        certificates.chain(bundle).max().expect("something was written")
    }

    /// What is lost twice within the time that pods need cannot be mended without a gap: a bundle right after it was
    /// needed, a certificate right after who signed it.
    fn can_suffer(&self, event: &Event, now: i64, last_loss: i64) -> bool {
        let propagation = self.wanted.rotation.propagation();
        match event {
            Event::Nothing | Event::Crash(_) | Event::AuthorityDeleted => true,
            Event::BundleDeleted => now > self.last_write() + propagation && now > last_loss + propagation,
            Event::CertificateDeleted(_) | Event::CertificateGarbled(_) | Event::Renamed(_) => {
                now > last_loss + propagation
            }
        }
    }

    /// Checks a few moments from `from` until `to`.
    fn check_until(&self, from: i64, to: i64) -> Result<(), String> {
        let propagation = self.wanted.rotation.propagation();
        for moment in [0, 1, propagation - 1, propagation, (to - from) / 2, to - from] {
            if moment <= to - from {
                self.check(from + moment)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_pods_have_read_they_trust_each_other(
        events in prop::collection::vec((event(), wait(), 0..3600_i64), 1..50),
    ) {
        let mut stack = Stack::new();
        let (mut now, mut last_loss) = (BEGIN, i64::MIN / 2);
        let mut plan = stack.reconcile(now, usize::MAX);
        for (event, wait, late) in events {
            let middle = now + wait;
            if middle < plan.next.as_second() && stack.can_suffer(&event, middle, last_loss) {
                prop_assert_eq!(stack.check_until(now, middle), Ok(()), "before {:?}", event);
                now = middle;
                stack.suffer(&event);
                if matches!(event, Event::BundleDeleted | Event::AuthorityDeleted) {
                    last_loss = now;
                }
                plan = stack.reconcile(now, usize::MAX);
            }
            let next = plan.next.as_second() + late;
            prop_assert_eq!(stack.check_until(now, next), Ok(()), "after {:?}", event);
            now = next;
            if let Event::Crash(writes) = event {
                stack.reconcile(now, writes);
                prop_assert_eq!(stack.check_until(now, now + 60), Ok(()), "after a crash");
                now += 60;
            }
            plan = stack.reconcile(now, usize::MAX);
            let again = at(now, &stack.wanted, &stack.existing);
            prop_assert_eq!(said(&again), Vec::<String>::new());
            prop_assert!(again.next.as_second() > now);
        }
        // What was needed for a while goes.
        for _ in 0..12 {
            now = plan.next.as_second();
            plan = stack.reconcile(now, usize::MAX);
            prop_assert_eq!(stack.check(now), Ok(()));
        }
        prop_assert!(count(&plan) <= 2, "the bundle does not grow: {}", count(&plan));
    }
}
