//! What became of the files of a run, and how it is told.

use crate::app::App;
use crate::output::{self, one_line, print_json};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// So many files that failed are named at the end.
const NAMED: usize = 20;

/// Why a file is left alone, which is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skip {
    /// An envelope that was to be encrypted.
    Envelope,
    /// Something else that was to be rewrapped or reencrypted.
    NoEnvelope,
    /// A file not called `.kw` that was to be decrypted.
    NoSuffix,
    Link,
    Special,
    Temporary,
}

impl Skip {
    fn noun(self, number: u64) -> &'static str {
        match (self, number) {
            (Self::Envelope, 1) => "envelope already",
            (Self::Envelope, _) => "envelopes already",
            (Self::NoEnvelope, 1) => "not an envelope",
            (Self::NoEnvelope, _) => "not envelopes",
            (Self::NoSuffix, _) => "without .kw",
            (Self::Link, 1) => "symbolic link",
            (Self::Link, _) => "symbolic links",
            (Self::Special, 1) => "device or pipe",
            (Self::Special, _) => "devices and pipes",
            (Self::Temporary, 1) => "temporary file of a run that was cut short",
            (Self::Temporary, _) => "temporary files of runs that were cut short",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::NoEnvelope => "not_an_envelope",
            Self::NoSuffix => "no_suffix",
            Self::Link => "symbolic_link",
            Self::Special => "special",
            Self::Temporary => "temporary",
        }
    }
}

/// How many were left alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skipped(BTreeMap<Skip, u64>);

impl Skipped {
    pub(crate) fn add(&mut self, why: Skip) {
        *self.0.entry(why).or_default() += 1;
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn of(&self, why: Skip) -> u64 {
        self.0.get(&why).copied().unwrap_or_default()
    }
}

/// What became of the files.
#[derive(Default)]
pub(crate) struct Summary {
    pub(super) done: u64,
    pub(super) already: u64,
    pub(super) not_begun: u64,
    pub(super) skipped: Skipped,
    /// How many temporary files of killed runs were removed.
    pub(super) removed: u64,
    pub(super) failures: Vec<(PathBuf, String)>,
    /// The exit status of what ended the run early.
    pub(super) stopped: Option<u8>,
    /// What else a command has to say in JSON.
    pub(super) more: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    done: u64,
    failed: usize,
    already_done: u64,
    not_begun: u64,
    skipped: BTreeMap<&'static str, u64>,
    temporaries_removed: u64,
    failures: Vec<FailureJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    still_needed: Option<&'a serde_json::Value>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    file: String,
    error: &'a str,
}

impl Summary {
    /// Adds what `rewrap` says of the versions that are still needed, for JSON.
    pub(crate) fn with_needs(mut self, needs: serde_json::Value) -> Self {
        self.more = Some(needs);
        self
    }

    /// Tells it, and gives the exit status.
    pub(crate) fn tell(&self, app: &App, json: bool) -> anyhow::Result<u8> {
        if json {
            print_json(&SummaryJson {
                done: self.done,
                failed: self.failures.len(),
                already_done: self.already,
                not_begun: self.not_begun,
                skipped: self.skipped.0.iter().map(|(why, number)| (why.word(), *number)).collect(),
                temporaries_removed: self.removed,
                failures: self
                    .failures
                    .iter()
                    .map(|(path, error)| FailureJson { file: path.display().to_string(), error })
                    .collect(),
                still_needed: self.more.as_ref(),
            })?;
        } else {
            app.note(&self.text());
        }
        if !self.failures.is_empty() {
            let named = self.failures.iter().take(NAMED).map(|(path, _)| one_line(&path.display().to_string()));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = match self.failures.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {} more", grouped(more as u64)),
            };
            output::say("error", &format!("{} failed: {named}{more}", files(self.failures.len() as u64)));
        }
        if self.not_begun > 0 {
            output::say("hint", "the same command again goes on with the rest");
        }
        Ok(self.stopped.unwrap_or(u8::from(!self.failures.is_empty())))
    }

    fn text(&self) -> String {
        let mut parts = vec![format!("{} done", grouped(self.done))];
        let skipped = self.skipped.0.values().sum();
        let others = [
            (self.failures.len() as u64, "failed"),
            (self.already, "already done"),
            (self.not_begun, "not begun"),
            (skipped, "skipped"),
        ];
        parts.extend(
            others
                .iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, what)| format!("{} {what}", grouped(*number))),
        );
        let why = self.skipped.0.iter().map(|(why, number)| format!("{} {}", grouped(*number), why.noun(*number)));
        let why = why.collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let removed = match self.removed {
            0 => String::new(),
            number => format!("; removed {} {}", grouped(number), Skip::Temporary.noun(number)),
        };
        parts.join(", ") + &why + &removed
    }
}

/// `1 file`, `12,345 files`.
pub(crate) fn files(number: u64) -> String {
    format!("{} file{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn what_is_told_leaves_out_what_did_not_happen() {
        let mut summary = Summary { done: 12_345, ..Summary::default() };
        assert_eq!(summary.text(), "12,345 done");
        summary.already = 17;
        summary.failures = vec![("a".into(), "no".into())];
        [Skip::Link, Skip::Link, Skip::Envelope].into_iter().for_each(|why| summary.skipped.add(why));
        assert_eq!(
            summary.text(),
            "12,345 done, 1 failed, 17 already done, 3 skipped (1 envelope already, 2 symbolic links)"
        );
    }
}
