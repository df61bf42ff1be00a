//! How long authorities and certificates last, and how long changes take to reach pods.

use vivace_config::{Duration, DurationError};

use super::Seconds;

const HOUR: u64 = 3600;
/// A pod has read a change after so long: a kubelet's round, its cache, and the workload's look at its files take a
/// minute or two together.
const PROPAGATION: u64 = 300;
/// Certificates are valid from so long before they are made: clocks differ.
const SKEW: u64 = 300;
/// An authority leaves the bundle so many times the propagation after the last certificate of its was replaced.
const LINGER: Seconds = 12;

/// How long things last. By default as with Grafana's operator: an authority for five years, renewed after four; a
/// certificate for 90 days, renewed after 72.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    ca_validity: u64,
    ca_refresh: u64,
    cert_validity: u64,
    cert_refresh: u64,
}

/// The settings, in the order of [`Rotation::new`]: variables of the environment.
const VARIABLES: [&str; 4] = [
    "BUILT_IN_CERT_MANAGEMENT_CA_VALIDITY",
    "BUILT_IN_CERT_MANAGEMENT_CA_REFRESH",
    "BUILT_IN_CERT_MANAGEMENT_CERT_VALIDITY",
    "BUILT_IN_CERT_MANAGEMENT_CERT_REFRESH",
];

/// Times that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Renewed too late.
    #[error("{refresh}: expected less than {validity}, which is {limit}, found {found}")]
    Late {
        /// The setting.
        refresh: &'static str,
        /// The other setting.
        validity: &'static str,
        /// Its value.
        limit: Duration,
        /// What is set.
        found: Duration,
    },
    /// No duration at all.
    #[error("{setting}: {source}")]
    Unreadable {
        /// The variable.
        setting: &'static str,
        /// What was expected, and what was found.
        source: DurationError,
    },
    /// Too short to be spread and used.
    #[error("{setting}: expected at least 10s, found {found}")]
    Short {
        /// The setting.
        setting: &'static str,
        /// What is set.
        found: Duration,
    },
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            ca_validity: 43_830 * HOUR,
            ca_refresh: 35_064 * HOUR,
            cert_validity: 2160 * HOUR,
            cert_refresh: 1728 * HOUR,
        }
    }
}

impl Rotation {
    /// Of an authority, in seconds: how long it is valid, and after how long it is renewed.
    pub(crate) const fn of_authority(&self) -> (u64, u64) {
        (self.ca_validity, self.ca_refresh)
    }

    /// As `of_authority`, of what it signs.
    pub(crate) const fn of_certificate(&self) -> (u64, u64) {
        (self.cert_validity, self.cert_refresh)
    }

    /// Of `builtInCertManagement` in the operator's configuration, or of the variables
    /// `BUILT_IN_CERT_MANAGEMENT_…`; what is not set is the default.
    ///
    /// # Errors
    /// When something would be renewed after it has expired, or lasts too short to be of use.
    pub fn new(
        ca_validity: Option<Duration>,
        ca_refresh: Option<Duration>,
        cert_validity: Option<Duration>,
        cert_refresh: Option<Duration>,
    ) -> Result<Self, RotationError> {
        let default = Self::default();
        let seconds = |value: Option<Duration>, default| value.map_or(default, |value| value.get().as_secs());
        let rotation = Self {
            ca_validity: seconds(ca_validity, default.ca_validity),
            ca_refresh: seconds(ca_refresh, default.ca_refresh),
            cert_validity: seconds(cert_validity, default.cert_validity),
            cert_refresh: seconds(cert_refresh, default.cert_refresh),
        };
        let text = Duration::from_secs;
        for (refresh, at, validity, limit) in [
            ("caRefresh", rotation.ca_refresh, "caValidity", rotation.ca_validity),
            ("certRefresh", rotation.cert_refresh, "certValidity", rotation.cert_validity),
        ] {
            if limit < 10 {
                return Err(RotationError::Short { setting: validity, found: text(limit) });
            }
            if at >= limit {
                return Err(RotationError::Late { refresh, validity, limit: text(limit), found: text(at) });
            }
        }
        Ok(rotation)
    }

    /// Of the environment, where `look_up` finds variables; empty ones are not set.
    ///
    /// # Errors
    /// As [`Rotation::new`], and when something is no duration.
    pub fn of_environment(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, RotationError> {
        let read = |setting: &'static str| match look_up(setting).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|source| RotationError::Unreadable { setting, source })
            }
        };
        let [ca_validity, ca_refresh, cert_validity, cert_refresh] = VARIABLES.map(read);
        Self::new(ca_validity?, ca_refresh?, cert_validity?, cert_refresh?)
    }

    /// Seconds until every pod has read a change. Less than the default where certificates last so short that
    /// there is not that much time.
    pub fn propagation(&self) -> i64 {
        let spare = (self.ca_validity - self.ca_refresh).min(self.cert_validity - self.cert_refresh);
        PROPAGATION.min(spare / 4).max(1) as i64
    }

    pub(super) fn linger(&self) -> Seconds {
        self.propagation() * LINGER
    }

    /// When an authority of this age is due.
    pub(super) fn ca_due(&self, not_before: Seconds, not_after: Seconds) -> Seconds {
        due(self.ca_refresh, not_before, not_after)
    }

    /// When a certificate of this age is due.
    pub(super) fn cert_due(&self, not_before: Seconds, not_after: Seconds) -> Seconds {
        due(self.cert_refresh, not_before, not_after)
    }

    /// From when until when an authority made `now` is valid.
    pub(super) fn ca_life(&self, now: Seconds) -> (Seconds, Seconds) {
        life(self.ca_validity, now)
    }

    /// From when until when a certificate made `now` is valid.
    pub(super) fn cert_life(&self, now: Seconds) -> (Seconds, Seconds) {
        life(self.cert_validity, now)
    }
}

/// After the time that is set, or after four fifths of its life.
fn due(refresh: u64, not_before: Seconds, not_after: Seconds) -> Seconds {
    let life = not_after.saturating_sub(not_before);
    not_before.saturating_add((refresh as i64).min(life / 5 * 4))
}

fn life(validity: u64, now: Seconds) -> (Seconds, Seconds) {
    (now - SKEW.min(validity / 20) as i64, now.saturating_add(validity as i64))
}
