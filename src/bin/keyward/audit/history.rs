//! `keyward audit show`.

use super::{LogPath, parse_time};
use crate::app::App;
use crate::args::Format;
use crate::output::{self, print_json, print_table};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use keyward::KeyName;
use keyward::audit::{Filter, History, LineKey, Record, history};
use keyward::key::Operation;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward audit show --key payments --since 2026-01-31
  keyward audit show --outcome refused --json | jq '.operations[].principal'

Nothing is verified but the chain: `keyward audit verify` does that.")]
pub(crate) struct Show {
    #[command(flatten)]
    log: LogPath,
    /// Only what was asked of this key
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,
    /// Only what this principal asked for
    #[arg(long)]
    principal: Option<String>,
    /// Only what was begun at this time or later, as in 2026-01-31T08:15:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Only what was begun before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Only what ended so
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Only this operation, as in Unwrap
    #[arg(long)]
    operation: Option<Operation>,
    #[command(flatten)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    Ok,
    Refused,
    Failed,
    Unknown,
}

impl Show {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<()> {
        let mut filter = Filter::default();
        filter.key = self.key.as_ref().map(ToString::to_string);
        filter.principal.clone_from(&self.principal);
        filter.operation = self.operation.map(|operation| operation.to_string());
        filter.result = self.outcome.map(|outcome| {
            match outcome {
                Outcome::Ok => "ok",
                Outcome::Refused => "refused",
                Outcome::Failed => "failed",
                Outcome::Unknown => "unknown",
            }
            .to_owned()
        });
        filter.since = self.since.map(TryInto::try_into).transpose()?;
        filter.until = self.until.map(TryInto::try_into).transpose()?;
        let found = history(&self.log.of(app)?, &filter)?;
        if let Some((file, line)) = &found.broken {
            let message = format!(
                "the chain is broken at {}, line {line}: nothing from there on can be relied on",
                file.display()
            );
            output::say("warning", &message);
        }
        if self.format.json {
            return print_json(&HistoryJson::new(&found));
        }
        let rows: Vec<_> = found.operations.iter().map(row).collect();
        Ok(print_table(["TIME", "PRINCIPAL", "OPERATION", "KEY", "CONTEXT", "OUTCOME"], &rows)?)
    }
}

fn row(record: &Record) -> [String; 6] {
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let keys: Vec<_> = record.keys.iter().map(key).collect();
    let context: Vec<_> = record.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let result = record.result.name();
    let outcome = record.error.as_ref().map_or_else(|| result.to_owned(), |error| format!("{result}: {error}"));
    [
        record.time.clone(),
        record.principal.clone(),
        record.operation.clone(),
        or_none(keys.join(" ")),
        or_none(context.join(" ")),
        outcome,
    ]
}

fn key(key: &LineKey) -> String {
    match (&key.name, key.version, key.id) {
        (Some(name), Some(version), _) => format!("{name}:{version}"),
        (Some(name), None, _) => name.clone(),
        (None, _, Some(id)) => id.to_string(),
        (None, ..) => String::new(),
    }
}

#[derive(Serialize)]
struct HistoryJson<'a> {
    in_order: bool,
    operations: Vec<RecordJson<'a>>,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    entry: u64,
    time: &'a str,
    request: String,
    principal: &'a str,
    operation: &'a str,
    keys: &'a [LineKey],
    context: &'a BTreeMap<String, String>,
    outcome: &'static str,
    error: Option<&'a str>,
    host: &'a str,
    pid: u32,
}

impl<'a> HistoryJson<'a> {
    fn new(found: &'a History) -> Self {
        let operations = found.operations.iter().map(|record| RecordJson {
            entry: record.seq,
            time: &record.time,
            request: record.request.to_string(),
            principal: &record.principal,
            operation: &record.operation,
            keys: &record.keys,
            context: &record.context,
            outcome: record.result.name(),
            error: record.error.as_deref(),
            host: &record.host,
            pid: record.pid,
        });
        Self { in_order: found.broken.is_none(), operations: operations.collect() }
    }
}
