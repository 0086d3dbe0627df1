//! `keyward key expire`: what is scheduled is destroyed when it is time.

use super::listing::date;
use crate::app::{App, Keys};
use crate::args::Format;
use crate::output::{one_line, print_json, print_line, say};
use crate::report;
use clap::Args;
use keyward::key::{KeyDescription, KeyState};
use keyward::{Error, ErrorKind, KeyAdmin};
use serde::Serialize;
use std::time::SystemTime;

/// Destroy every version whose scheduled destruction is due, by the clock of this host
///
/// For a timer, once a day. `keyward key destroy NAME:VERSION --after TIME` schedules it. A version that was enabled
/// again is never destroyed. Where one cannot be destroyed the others are, and the exit status is 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key expire --dry-run
  keyward key expire")]
pub(crate) struct Expire {
    /// Only tell what is due
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

impl Expire {
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let provider = app.provider()?;
        let now = SystemTime::now();
        let keys = provider.list_keys()?;
        check_clock(&keys, now)?;
        let dated = keys.iter().filter(|key| key.destroy_after.is_some());
        // Of several siblings the last date counts.
        let is_due = |key: &&KeyDescription| {
            keys.iter().filter(|other| other.label() == key.label()).all(|other| other.destroy_after <= Some(now))
        };
        let (mut due, later): (Vec<_>, Vec<_>) = dated.partition(is_due);
        // Each of several siblings lists its own; they are destroyed together.
        due.dedup_by(|one, other| one.name == other.name && one.version == other.version);

        let mut status = 0;
        let mut outcomes = Vec::with_capacity(due.len());
        for key in due {
            let same = keys.iter().filter(|other| other.label() == key.label());
            let outcome = self.expire(&*provider, key, same, now);
            status = status.max(u8::from(outcome.error.is_some()));
            if !self.format.json {
                outcome.print()?;
            }
            outcomes.push(outcome);
        }
        if self.format.json {
            print_json(&outcomes)?;
        } else if outcomes.is_empty() {
            let next = later.iter().min_by_key(|key| key.destroy_after);
            let next =
                next.and_then(|key| Some(format!("; next is {} after {}", key.label(), date(key.destroy_after?)?)));
            print_line(&format!("nothing is due{}", next.unwrap_or_default()))?;
        }
        Ok(status)
    }

    fn expire<'a>(
        &self,
        provider: &dyn Keys,
        key: &KeyDescription,
        mut same: impl Iterator<Item = &'a KeyDescription>,
        now: SystemTime,
    ) -> Outcome {
        // Of siblings, none is destroyed before all are due. Each token asks again, where it counts.
        let result = match same.find(|key| !key.is_expired(now)) {
            Some(other) if other.state == KeyState::Disabled => Err(kept(other, "not scheduled")),
            Some(other) => Err(kept(other, other.state.name())),
            None if self.dry_run => Ok(()),
            None => provider.expire_key(&key.name, key.version, now),
        };
        Outcome {
            key: key.label(),
            kek_id: key.kek_id.to_string(),
            destroy_after: key.destroy_after.and_then(date),
            outcome: match (&result, self.dry_run) {
                (Err(_), _) => "failed",
                (Ok(()), true) => "due",
                (Ok(()), false) => "destroyed",
            },
            error: result.err().map(|error| report::message(&error.into())),
        }
    }
}

#[derive(Serialize)]
struct Outcome {
    key: String,
    kek_id: String,
    destroy_after: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Outcome {
    fn print(&self) -> anyhow::Result<()> {
        if let Some(error) = &self.error {
            say("error", &one_line(error));
            return Ok(());
        }
        let since = self.destroy_after.as_deref().unwrap_or("-");
        let word = if self.outcome == "due" { "would destroy" } else { self.outcome };
        Ok(print_line(&format!("{word} {} (KEK id {}), due since {since}", self.key, self.kek_id))?)
    }
}

fn kept(key: &KeyDescription, why: &str) -> Error {
    let (label, kek_id) = (key.label(), key.kek_id);
    Error::new(ErrorKind::KeyState, format!("key '{label}' is not destroyed: that with KEK id {kek_id} is {why}"))
}

/// A clock that stands before the token's own records is wrong, and then dates mean nothing.
fn check_clock(keys: &[KeyDescription], now: SystemTime) -> keyward::Result<()> {
    let Some(newest) = keys.iter().max_by_key(|key| key.created) else { return Ok(()) };
    match newest.created {
        Some(created) if created > now => Err(Error::new(
            ErrorKind::KeyState,
            format!(
                "nothing is destroyed: by the clock of this host it is {}, and key '{}' was made later, {}",
                date(now).unwrap_or_default(),
                newest.label(),
                date(created).unwrap_or_default()
            ),
        )
        .with_hint("set the clock, and try again")),
        _ => Ok(()),
    }
}
