//! The operations that a log tells of, each with its outcome.

use super::files::Snapshot;
use super::hash::Id;
use super::line::{Ended, Entry, Line, LineKey};
use super::walk::{Position, Step, Walk};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a log tells, and whether it is in order.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// The operations, in the order in which they were begun.
    pub operations: Vec<Record>,
    /// The first place where the chain is broken: nothing after it can be relied on. Whether signatures
    /// are good is not looked at.
    pub broken: Option<(PathBuf, u64)>,
}

/// One operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The number of the line that began it.
    pub seq: u64,
    /// When, as the line has it.
    pub time: String,
    /// The id that joins intent and outcome.
    pub request: Id,
    /// Who asked.
    pub principal: String,
    /// For what.
    pub operation: String,
    /// Of which keys: those that the outcome names, else those of the intent.
    pub keys: Vec<LineKey>,
    /// Under which encryption context.
    pub context: BTreeMap<String, String>,
    /// How it ended.
    pub result: RecordResult,
    /// The kind of error.
    pub error: Option<String>,
    /// The name of the host.
    pub host: String,
    /// The process.
    pub pid: u32,
}

/// How a recorded operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// A policy did not let it through.
    Refused,
    /// As its outcome says; unknown where there is no outcome.
    Ended(Ended),
}

impl RecordResult {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Ended(ended) => ended.name(),
        }
    }
}

/// Which operations are wanted: those to which every part that is given applies.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Filter {
    /// Of this key, by name.
    pub key: Option<String>,
    /// Asked for by this principal.
    pub principal: Option<String>,
    /// This operation.
    pub operation: Option<String>,
    /// With this result, as its word.
    pub result: Option<String>,
    /// Begun at this time or later.
    pub since: Option<SystemTime>,
    /// Begun before this time.
    pub until: Option<SystemTime>,
}

impl Filter {
    fn wants(&self, record: &Record, time: Option<SystemTime>) -> bool {
        let is = |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|wanted| wanted == there);
        let key = |wanted: &String| record.keys.iter().any(|key| key.name.as_ref() == Some(wanted));
        is(&self.principal, &record.principal)
            && is(&self.operation, &record.operation)
            && is(&self.result, record.result.name())
            && self.key.as_ref().is_none_or(key)
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until))
    }
}

/// Reads the operations out of a log, all its files, as it is now. Nothing of it is verified but the chain.
///
/// # Errors
/// `Io` where it cannot be read.
pub fn history(path: &Path, filter: &Filter) -> Result<History> {
    let snapshot = Snapshot::take(path)?;
    if !snapshot.has_current() {
        return Err(Error::new(ErrorKind::Io, format!("there is no audit log '{}'", path.display())));
    }
    let paths = snapshot.paths();
    let mut walk = Some(Walk::default());
    let mut broken = None;
    let mut found: Vec<(Record, Option<SystemTime>)> = Vec::new();
    let mut open: HashMap<Id, usize> = HashMap::new();
    for piece in snapshot.pieces() {
        let piece = piece?;
        let line = match walk.as_mut().map(|walk| walk.take(&piece)) {
            Some(Step::Next(line)) => Some(*line),
            Some(Step::Held) => None,
            Some(Step::Broken(position)) => {
                broken = Some(position);
                walk = None;
                Line::parse(&piece.bytes)
            }
            None => Line::parse(&piece.bytes),
        };
        if let Some(line) = line {
            take(line, &mut found, &mut open);
        }
    }
    if let Some((position, false)) = walk.as_ref().and_then(Walk::left) {
        broken = Some(position);
    }
    found.retain(|(record, time)| filter.wants(record, *time));
    let operations = found.into_iter().map(|(record, _)| record).collect();
    let broken = broken.and_then(|Position { file, number }| Some((paths.get(file)?.clone(), number)));
    Ok(History { operations, broken })
}

fn take(line: Line, found: &mut Vec<(Record, Option<SystemTime>)>, open: &mut HashMap<Id, usize>) {
    let at = line.timestamp();
    let Line { seq, time, entry, host, pid, .. } = line;
    match entry {
        Entry::Intent { request, principal, operation, keys, context, .. } => {
            let result = RecordResult::Ended(Ended::Unknown);
            let error = None;
            open.insert(request, found.len());
            let record = Record { seq, time, request, principal, operation, keys, context, result, error, host, pid };
            found.push((record, at));
        }
        Entry::Refused { request, principal, operation, keys, context, error } => {
            let (result, error) = (RecordResult::Refused, Some(error));
            let record = Record { seq, time, request, principal, operation, keys, context, result, error, host, pid };
            found.push((record, at));
        }
        Entry::Outcome { request, outcome, error, keys } => {
            if let Some((record, _)) = open.remove(&request).and_then(|index| found.get_mut(index)) {
                record.result = RecordResult::Ended(outcome);
                record.error = error;
                if !keys.is_empty() {
                    record.keys = keys;
                }
            }
        }
        _ => {}
    }
}
