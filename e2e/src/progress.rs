//! Shows that work goes on: a line a step, with the time so far and the last line of what it says.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write, stderr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A piece of work that the user waits for. On a terminal one line is rewritten; elsewhere a line appears every ten seconds.
#[derive(Debug)]
pub(crate) struct Step {
    label: String,
    began: Instant,
    shown: Instant,
    terminal: bool,
}

impl Step {
    /// Announce the work.
    pub(crate) fn start(label: impl Into<String>) -> Self {
        let (began, terminal) = (Instant::now(), stderr().is_terminal());
        let step = Self { label: label.into(), began, shown: began, terminal };
        if !step.terminal {
            eprintln!("{} ...", step.label);
        }
        step
    }

    /// Show how far it is.
    pub(crate) fn note(&mut self, state: &str) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let state: String = state.trim().chars().take(90).collect();
        let seconds = self.began.elapsed().as_secs();
        if self.terminal {
            eprint!("\r\x1b[K{} {seconds} s  {state}", self.label);
            let _ = stderr().flush();
        } else {
            eprintln!("{} ... {seconds} s  {state}", self.label);
        }
    }

    /// Close it with a remark.
    pub(crate) fn done(self, remark: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let separator = if remark.is_empty() { "" } else { ": " };
        eprintln!("{clear}{} ({:.1} s){separator}{remark}", self.label, self.began.elapsed().as_secs_f64());
    }
}

/// Run a command with its output in a log file, showing the last line of it. On failure the end of the log is in the error.
pub(crate) fn run_logged(label: &str, command: &mut Command, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let out = File::create(log).with_context(|| format!("write {}", log.display()))?;
    let mut step = Step::start(label);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(100));
        step.note(end_of(log, 1).unwrap_or_default().trim());
    };
    if !status.success() {
        bail!("{label}: {status}; the end of {}:\n{}", log.display(), end_of(log, 30)?);
    }
    step.done("");
    Ok(())
}

/// The last lines of a text file.
pub(crate) fn end_of(path: &Path, lines: usize) -> Result<String> {
    const WINDOW: u64 = 16 << 10;
    let mut file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(WINDOW)))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

/// Run a command and return what it prints. On failure its own message is in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let answer = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if !answer.status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&answer.stderr);
        bail!("{name} {}: {}: {}", arguments.join(" "), answer.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}
