//! Logs on standard error, one line per event: logfmt or JSON.

use std::fmt::{self, Debug, Write};
use std::io;
use std::iter::successors;

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::text::is_unprintable;

/// `--log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Details for finding a fault.
    Debug,
    /// Events that an operator wants to see.
    #[default]
    Info,
    /// Problems that the exporter works around.
    Warn,
    /// Failures.
    Error,
}

/// `--log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `ts=… level=info msg="…" key=value`
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Sends all events of this process to standard error. Fails if it was called before.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    tracing::dispatcher::set_global_default(dispatch(level, format, io::stderr))
}

/// Events of this program from `level` on, and of the libraries that it uses from warnings on.
fn dispatch(
    level: LogLevel,
    format: LogFormat,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Dispatch {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let targets =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(env!("CARGO_CRATE_NAME"), level);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Logfmt => registry.with(lines.event_format(Logfmt)).into(),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(json).into()
        }
    }
}

/// `ts=2026-11-22T10:00:00.000000Z level=info msg="listening" address=[::]:9850`, one line whatever a value holds.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = LogFields::default();
        event.record(&mut fields);
        writer.write_str("ts=")?;
        SystemTime.format_time(&mut writer)?;
        writeln!(writer, " level={level} msg={}{}", value(&fields.message), fields.pairs)
    }
}

#[derive(Default)]
struct LogFields {
    message: String,
    pairs: String,
}

impl Visit for LogFields {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message.push_str(text);
        } else {
            let _ = write!(self.pairs, " {}={}", field.name(), value(text));
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        for cause in successors(error.source(), |cause| cause.source()) {
            let _ = write!(text, ": {cause}");
        }
        self.record_str(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A logfmt value: bare where that is unambiguous, otherwise quoted with JSON's escapes.
fn value(text: &str) -> String {
    let bare = |c: char| !c.is_whitespace() && !is_unprintable(c) && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unprintable(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::dispatcher::with_default(&dispatch(level, format, move || writer.clone()), events);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_logfmt_line() {
        let error = io::Error::other("no\nway");
        let text = logged(LogLevel::Info, LogFormat::Logfmt, || {
            tracing::info!(path = "/tmp/a b\u{1b}[31m\nts=0 level=error", pid = 7, error = &error as &dyn std::error::Error, ok = %"x", "found");
        });
        let (ts, rest) = text.split_once(' ').unwrap();
        assert!(ts.starts_with("ts=2") && ts.ends_with('Z'), "{ts}");
        let expected = r#"level=info msg=found path="/tmp/a b\u001b[31m\nts=0 level=error" pid=7 error="no\nway" ok=x"#;
        assert_eq!(rest, format!("{expected}\n"));
    }

    #[test]
    fn a_level_hides_the_ones_below() {
        for (level, expected) in [(LogLevel::Debug, 4), (LogLevel::Info, 3), (LogLevel::Warn, 2), (LogLevel::Error, 1)]
        {
            let text = logged(level, LogFormat::Logfmt, || {
                tracing::debug!("d");
                tracing::info!("i");
                tracing::warn!("w");
                tracing::error!("e");
            });
            assert_eq!(text.lines().count(), expected, "{level:?}");
        }
    }

    #[test]
    fn libraries_log_from_warnings_on() {
        let text = logged(LogLevel::Debug, LogFormat::Logfmt, || {
            tracing::info!(target: "hyper", "i");
            tracing::warn!(target: "hyper", "w");
        });
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = logged(LogLevel::Info, LogFormat::Json, || tracing::warn!(path = "a\n\"b\"", "odd"));
        let json: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            (&json["message"], &json["path"], &json["level"]),
            (&"odd".into(), &"a\n\"b\"".into(), &"WARN".into())
        );
    }

    #[test]
    fn values_are_quoted_where_needed() {
        for (text, expected) in [
            ("plain/path:1", "plain/path:1"),
            ("", "\"\""),
            ("a=b", "\"a=b\""),
            ("back\\slash", "\"back\\\\slash\""),
            ("\u{202e}evil", "\"\\u202eevil\""),
            ("Zoë", "Zoë"),
        ] {
            assert_eq!(value(text), expected);
        }
    }
}
