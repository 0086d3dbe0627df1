//! Warnings and diagnostics on stderr, in the form of every other message: `keyward: warning: …`.

use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// Starts logging, for the rest of the process.
pub(crate) fn start(level: LevelFilter) {
    // What clients of HTTP and TLS trace are whole requests, with what logs in to a store in them.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("object_store", level.min(LevelFilter::DEBUG))
        .with_target("keyward", level);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .event_format(Line)
        .finish()
        .with(filter);
    // It fails only where a subscriber is set already, and then messages have a place to go.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "note",
            _ => "debug",
        };
        let mut fields = FormattedFields::<N>::new(String::new());
        context.format_fields(fields.as_writer(), event)?;
        writeln!(writer, "keyward: {word}: {}", crate::output::one_line(&fields.fields))
    }
}
