//! Whether the process can take requests, and which of its services runs.

use std::{
    fmt::Write as _,
    sync::{Mutex, OnceLock, PoisonError},
};

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not yet.
    Starting,
    /// Yes.
    Running,
    /// No more.
    Stopping,
}

/// What a service says of itself.
pub(super) type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is to be known of a service that is ready.
pub(super) type Note = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The services of the process, and what each says of itself.
#[derive(Default)]
pub struct Health {
    services: Mutex<Vec<(&'static str, Phase)>>,
    checks: OnceLock<Vec<(&'static str, Check)>>,
    notes: OnceLock<Vec<(&'static str, Note)>>,
    stopping: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("services", &self.services).finish_non_exhaustive()
    }
}

impl Health {
    /// Notes how far a service is.
    pub fn set(&self, service: &'static str, phase: Phase) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        match services.iter_mut().find(|(name, _)| *name == service) {
            Some(entry) => entry.1 = phase,
            None => services.push((service, phase)),
        }
    }

    /// What services say of themselves, asked each time; set once, when all are there.
    pub(super) fn set_checks(&self, checks: Vec<(&'static str, Check)>, notes: Vec<(&'static str, Note)>) {
        let _ = self.notes.set(notes);
        let _ = self.checks.set(checks);
    }

    /// What is to be known of services that are ready, one a line.
    pub fn notes(&self) -> String {
        let notes = self.notes.get().into_iter().flatten();
        notes.filter_map(|(name, note)| Some(format!("{name}: {}\n", note()?))).collect()
    }

    /// From now on the process is not ready.
    pub fn stop(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// `Ok` when the process takes requests.
    ///
    /// # Errors
    /// Why not, in Tempo's words.
    pub fn ready(&self) -> Result<(), String> {
        if self.stopping.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("Application is stopping".to_owned());
        }
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waiting: Vec<_> = services.iter().filter(|(_, phase)| *phase != Phase::Running).collect();
        if !waiting.is_empty() || self.checks.get().is_none() {
            let mut text = "Some services are not Running:\n".to_owned();
            for phase in [Phase::Starting, Phase::Stopping] {
                let names: Vec<_> =
                    waiting.iter().filter(|(_, at)| *at == phase).map(|(name, _)| *name).collect();
                if !names.is_empty() {
                    let _ = writeln!(text, "{phase:?}: [{}]", names.join(" "));
                }
            }
            return Err(text);
        }
        for (name, check) in self.checks.get().into_iter().flatten() {
            check().map_err(|why| format!("{name} not ready: {why}"))?;
        }
        Ok(())
    }

    /// Each service and how far it is, one a line.
    pub fn services(&self) -> String {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = String::new();
        for (name, phase) in services {
            let _ = writeln!(text, "{name:<20} {phase:?}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_names_the_service_that_is_not() {
        let health = Health::default();
        health.set("ingester", Phase::Starting);
        assert_eq!(health.ready().unwrap_err(), "Some services are not Running:\nStarting: [ingester]\n");
        health.set("ingester", Phase::Running);
        let note: Note = Box::new(|| Some("the log is on the local disk".to_owned()));
        health.set_checks(
            vec![("Ingester", Box::new(|| Err("disk is full".to_owned())))],
            vec![("Ingester", note), ("Querier", Box::new(|| None))],
        );
        assert_eq!(health.notes(), "Ingester: the log is on the local disk\n");
        assert_eq!(health.ready().unwrap_err(), "Ingester not ready: disk is full");
        health.stop();
        assert_eq!(health.ready().unwrap_err(), "Application is stopping");
    }
}
