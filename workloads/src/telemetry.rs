//! Logs: one line an event, logfmt or JSON, on standard error.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};
use vivace_config::Server;

/// A log setting that is none of those there are.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `server.log_level`
    #[error("server.log_level: expected debug, info, warn or error, found `{0}`")]
    Level(String),
    /// `server.log_format`
    #[error("server.log_format: expected logfmt or json, found `{0}`")]
    Format(String),
}

/// Starts logging for the process. A second call, as in tests, changes nothing.
///
/// # Errors
/// A level or format that does not exist.
pub fn start(server: &Server) -> Result<(), TelemetryError> {
    let level = match server.log_level.as_deref().unwrap_or("info") {
        level @ ("trace" | "debug" | "info" | "warn" | "error") => level,
        other => return Err(TelemetryError::Level(other.to_owned())),
    };
    // The gossip library logs each heartbeat.
    let filter = EnvFilter::new(format!("{level},chitchat=error,h2=info,hyper=info,tower=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match server.log_format.as_deref().unwrap_or("logfmt") {
        "logfmt" => builder.event_format(Logfmt).try_init(),
        "json" => builder.json().flatten_event(true).try_init(),
        other => return Err(TelemetryError::Format(other.to_owned())),
    };
    drop(started);
    Ok(())
}

/// `level=info ts=… msg="…" key=value`, as Go's services write it.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::now().round(jiff::Unit::Millisecond).map_err(|_| fmt::Error)?;
        write!(writer, "level={level} ts={now} target={}", event.metadata().target())?;
        write!(writer, " msg={}{}", Quoted(&fields.message), fields.rest)?;
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn put(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.rest, " {}={}", field.name(), Quoted(text));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// A value, in quotes where logfmt needs them.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !(c.is_whitespace() || c.is_control() || c == '"' || c == '=');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_break_the_line_are_quoted() {
        assert_eq!(Quoted("plain:1").to_string(), "plain:1");
        assert_eq!(Quoted("two words").to_string(), "\"two words\"");
        assert_eq!(Quoted("a\n\"b\"").to_string(), "\"a\\n\\\"b\\\"\"");
        assert_eq!(Quoted("").to_string(), "\"\"");
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused_by_name() {
        let server = Server { log_level: Some("loud".to_owned()), ..Server::default() };
        assert_eq!(
            start(&server).unwrap_err().to_string(),
            "server.log_level: expected debug, info, warn or error, found `loud`"
        );
    }
}
