//! What was checked: one line a check while it runs, the failures again at the end, and the closing line.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// The checks so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: u64,
    failures: Vec<String>,
}

impl Report {
    /// Run a check that returns a remark, and print its outcome and how long it took.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) -> bool {
        let began = Instant::now();
        let outcome = check();
        let took = began.elapsed().as_secs_f64();
        match outcome {
            Ok(remark) if remark.is_empty() => println!("ok    {name} ({took:.1} s)"),
            Ok(remark) => println!("ok    {name} ({took:.1} s): {remark}"),
            Err(error) => {
                println!("FAIL  {name} ({took:.1} s): {error:#}");
                self.failures.push(format!("{name}: {error:#}"));
                return false;
            }
        }
        self.passed += 1;
        true
    }

    /// Count checks that were printed elsewhere.
    pub(crate) fn count(&mut self, passed: u64, failures: impl IntoIterator<Item = String>) {
        self.passed += passed;
        self.failures.extend(failures);
    }

    /// Print the failures again, then the closing line; nothing when nothing was checked.
    pub(crate) fn close(self) -> ExitCode {
        if self.passed == 0 && self.failures.is_empty() {
            return ExitCode::SUCCESS;
        }
        if !self.failures.is_empty() {
            println!("\nfailures:");
        }
        for failure in &self.failures {
            println!("  {failure}");
        }
        println!("\n{} passed, {} failed", self.passed, self.failures.len());
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
