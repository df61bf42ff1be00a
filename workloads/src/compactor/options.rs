//! From the configuration to what the compactor does, with Tempo's defaults.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use jiff::SignedDuration;
use tracing_core::policy::{CompactionLimits, Retention};
use vivace_config::{Config, RetentionRule};

use crate::writing::Writing;

/// Settings of a compactor.
#[derive(Clone, Debug)]
pub struct CompactorOptions {
    /// Of tenants that have no window of their own.
    pub limits: CompactionLimits,
    /// How long traces are kept that no rule names.
    pub retention: Duration,
    /// Of tenants that have no rules of their own: TraceQL, and for how long.
    pub rules: Vec<(String, SignedDuration)>,
    /// How long a marked block stays readable.
    pub grace: Duration,
    /// Blocks that are marked or deleted at once.
    pub concurrency: usize,
    /// How long a tenant is worked for in one cycle.
    pub max_time_per_tenant: Duration,
    /// How often every tenant is looked at.
    pub cycle: Duration,
    /// Where blocks are put together; emptied at the start.
    pub work: PathBuf,
    /// How blocks are written; their format and level are those of what they replace.
    pub write: Writing,
    /// A job's record that is this old is another compactor's who will not finish it.
    pub takeover: Duration,
}

impl CompactorOptions {
    /// Reads the section `compactor.compaction`.
    ///
    /// # Errors
    /// The key, and what was expected of it.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let compaction = &config.compactor.compaction;
        let key = |name: &str| format!("compactor.compaction.{name}");
        let window = compaction.window().get();
        check_window(&key("compaction_window"), window)?;
        let inputs = compaction.max_inputs();
        ensure!(
            inputs >= 2,
            "{}: expected at least 2 blocks, found {inputs}",
            key("max_compaction_input_blocks")
        );
        let objects = compaction.max_objects();
        ensure!(objects > 0, "{}: expected at least 1 trace, found 0", key("max_compaction_objects"));
        let (bytes, work_bytes) = (compaction.max_bytes().0, compaction.work_bytes().0);
        ensure!(bytes > 0, "{}: expected at least 1 byte, found 0", key("max_block_bytes"));
        ensure!(work_bytes > 0, "{}: expected at least 1 byte, found 0", key("max_work_bytes"));
        let concurrency = compaction.retention_concurrency();
        ensure!(concurrency > 0, "{}: expected at least 1 block, found 0", key("retention_concurrency"));
        let rules = rules(&key("retention_rules"), &compaction.retention_rules)?;
        let work = match compaction.work_path.as_deref().filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => Path::new(config.storage.trace.wal_path()).join("compaction"),
        };
        Ok(Self {
            limits: CompactionLimits {
                window: signed(window),
                max_inputs: inputs as usize,
                max_objects: objects,
                // Copies of the inputs, and an output that is as long as they.
                max_bytes: bytes.min(work_bytes / 2),
                max_level: None,
            },
            retention: compaction.retention().get(),
            rules,
            grace: compaction.compacted_retention().get(),
            concurrency: concurrency as usize,
            max_time_per_tenant: compaction.max_time_per_tenant().get(),
            cycle: compaction.cycle().get(),
            work,
            write: Writing::new(&config.storage.trace.block)?,
            takeover: Duration::from_mins(2),
        })
    }
}

/// Rules as the policy takes them.
///
/// # Errors
/// The key of the rule that is wrong, and what is wrong with it.
pub(crate) fn rules(key: &str, rules: &[RetentionRule]) -> anyhow::Result<Vec<(String, SignedDuration)>> {
    let rules: Vec<_> = rules.iter().map(|rule| (rule.r#match.clone(), signed(rule.keep.get()))).collect();
    match Retention::new(SignedDuration::from_hours(1), &rules) {
        Ok(_) => Ok(rules),
        Err(error) => anyhow::bail!("{key}{error}"),
    }
}

/// Windows are told by whole seconds.
pub(crate) fn check_window(key: &str, window: Duration) -> anyhow::Result<()> {
    ensure!(window.as_secs() > 0, "{key}: expected a duration of at least 1s, found {window:?}");
    Ok(())
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    // Ten thousand years, which added to any time of a trace is still a time that can be told.
    const LONGEST: u64 = 3600 * 24 * 365 * 5000;
    SignedDuration::from_secs(duration.as_secs().min(LONGEST).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> anyhow::Result<CompactorOptions> {
        CompactorOptions::of(&vivace_config::load(yaml, &[]).unwrap().config)
    }

    #[test]
    fn without_settings_the_defaults_are_tempos() {
        let options = of("{}").unwrap();
        let CompactionLimits { window, max_inputs, max_objects, max_bytes, max_level } = options.limits;
        assert_eq!((window, max_inputs, max_objects), (SignedDuration::from_hours(1), 4, 6_000_000));
        assert_eq!((max_bytes, max_level), (10 << 30, None), "half of what a merge may take of the disk");
        assert_eq!(options.retention, Duration::from_hours(336));
        assert_eq!((options.grace, options.concurrency), (Duration::from_hours(1), 10));
        assert_eq!(options.max_time_per_tenant, Duration::from_mins(5));
        assert_eq!(options.cycle, Duration::from_secs(30));
        assert!(options.work.ends_with("wal/compaction"), "{}", options.work.display());
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (setting, said) in [
            ("compaction_window: 0s", "compaction_window: expected a duration of at least 1s, found 0ns"),
            (
                "max_compaction_input_blocks: 1",
                "max_compaction_input_blocks: expected at least 2 blocks, found 1",
            ),
            ("max_compaction_objects: 0", "max_compaction_objects: expected at least 1 trace, found 0"),
            ("max_block_bytes: 0", "max_block_bytes: expected at least 1 byte, found 0"),
            ("retention_concurrency: 0", "retention_concurrency: expected at least 1 block, found 0"),
        ] {
            let error = of(&format!("compactor: {{compaction: {{{setting}}}}}")).unwrap_err().to_string();
            assert_eq!(error, format!("compactor.compaction.{said}"));
        }
    }

    #[test]
    fn a_rule_that_is_no_query_is_refused_with_its_key_and_a_caret() {
        let rules = r#"[{match: "{ status = error }", keep: 720h}, {match: "{ status = }", keep: 1h}]"#;
        let error = of(&format!("compactor: {{compaction: {{retention_rules: {rules}}}}}")).unwrap_err();
        let error = error.to_string();
        let expected = "compactor.compaction.retention_rules[1].match: invalid TraceQL query: parse error at";
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("\n  { status = }\n             ^"), "{error}");
        let sound = of(r#"compactor: {compaction: {retention_rules: [{match: "{ }", keep: 2h}]}}"#).unwrap();
        assert_eq!(sound.rules, [("{ }".to_owned(), SignedDuration::from_hours(2))]);
    }
}
