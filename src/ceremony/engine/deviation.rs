//! What is not as it should be: people decide, and what they decide is recorded.

use super::Engine;
use crate::ceremony::entry::Decision;
use crate::ceremony::journal::Journal;
use crate::ceremony::name::Name;
use crate::ceremony::plan::secrets;
use crate::ceremony::room::{News, Ruling, Trouble};
use crate::ceremony::step::{Step, StepId, StepKind};
use crate::error::{Error, ErrorKind, Result};
use std::error::Error as _;

/// The longest text of ours in an exception, in bytes.
const MAX_TEXT: usize = 1000;

/// What kind of failure it is that something is not as planned.
pub(super) fn kind(step: &Step) -> ErrorKind {
    match step.kind {
        StepKind::CheckHost => ErrorKind::ModuleUnavailable,
        StepKind::IdentifyToken { .. } | StepKind::InitializeToken { .. } => ErrorKind::TokenNotFound,
        _ => ErrorKind::KeyAttributes,
    }
}

/// A message and its cause, for people.
pub(super) fn with_causes(error: &Error) -> String {
    match error.source() {
        Some(cause) if error.kind() == ErrorKind::Io => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

impl Engine<'_> {
    /// Has people decide on something that is not as planned and that they may accept. `None`: they have, and it is
    /// recorded.
    pub(super) fn accept(&mut self, step: &Step, problem: &Error) -> Result<Option<Ruling>> {
        let expected = step.expect.join("; ");
        loop {
            let ruling = self.room.decide(&Trouble {
                step: Some(step),
                expected: expected.clone(),
                happened: problem.to_string(),
                hint: None,
                may_accept: true,
                may_stop: true,
            })?;
            let Ruling::Accept { by, reason } = ruling else { return Ok(Some(ruling)) };
            match self.exception(&step.id, &expected, problem, Decision::Accepted, (&reason, &by)) {
                Ok(()) => return Ok(None),
                // What they said looks like a secret.
                Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                    self.room.tell(&News::Refused(&error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn exception(
        &mut self,
        step: &StepId,
        expected: &str,
        happened: &Error,
        decision: Decision,
        (reason, by): (&str, &Name),
    ) -> Result<()> {
        let expected = recordable(expected).unwrap_or_else(|| "as the plan says".into());
        // A message may hold what a token said of itself.
        let happened = recordable(&happened.to_string()).unwrap_or_else(|| format!("{:?}", happened.kind()));
        self.record(|journal| journal.exception(Some(step), [&expected, &happened, reason], decision, by))
    }

    /// Writes into the transcript. Where the disk is full or the clock went backwards, people mend that, or know of it.
    ///
    /// # Errors
    /// What could not be recorded, where people leave because of it.
    pub(super) fn record<T>(&mut self, mut write: impl FnMut(&mut Journal) -> Result<T>) -> Result<T> {
        loop {
            let error = match write(&mut self.journal) {
                Err(error) if error.kind() == ErrorKind::Io => error,
                answer => return answer,
            };
            let clock = self.journal.is_clock_backwards();
            let expected = if clock { "time goes on" } else { "the transcript can be written" };
            let ruling = self.room.decide(&Trouble {
                step: None,
                expected: expected.into(),
                happened: with_causes(&error),
                hint: error.hint().map(ToOwned::to_owned),
                may_accept: clock,
                may_stop: false,
            })?;
            match ruling {
                Ruling::Again => {}
                Ruling::Accept { by, reason } if clock => match self.journal.clock(&reason, &by) {
                    Ok(()) => {}
                    Err(error) => self.room.tell(&News::Refused(&with_causes(&error))),
                },
                _ => return Err(error),
            }
        }
    }
}

/// A text of ours as it may stand in a transcript; none where it looks like a secret, wherever that came from.
fn recordable(text: &str) -> Option<String> {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while line.len() > MAX_TEXT {
        line.pop();
    }
    (!line.is_empty() && secrets::in_line(&line).is_none()).then_some(line)
}
