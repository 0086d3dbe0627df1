//! What the lines of a transcript add up to: which steps were tried, and what came of them.

use crate::audit::{Hash, sealed};
use crate::ceremony::entry::{Decision, Entry, Fact, Outcome};
use crate::ceremony::format;
use crate::ceremony::line::Line;
use crate::ceremony::name::Name;
use crate::ceremony::step::StepId;
use std::collections::BTreeMap;

/// What has been done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    steps: BTreeMap<StepId, Vec<Attempt>>,
    /// The step whose intent has no outcome yet.
    open: Option<StepId>,
    /// The steps at which a deviation was accepted.
    accepted: Vec<StepId>,
    /// The time of the last line.
    time: Option<String>,
    begun: bool,
    stopped: bool,
    closed: bool,
}

/// One attempt at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The number of the line with its intent.
    pub line: u64,
    /// When that was.
    pub time: String,
    /// Who confirmed it.
    pub confirmed_by: Name,
    /// How it ended; none where nobody said, as after a loss of power. It may have been done.
    pub outcome: Option<Outcome>,
    /// The number of the line that says so.
    pub ended_line: Option<u64>,
    /// What was seen.
    pub facts: Vec<Fact>,
}

impl Progress {
    /// Takes in the next line, or says why it cannot be the next.
    pub(crate) fn take(&mut self, line: &Line) -> Result<(), String> {
        self.check(&line.time, &line.entry)?;
        match &line.entry {
            Entry::Begun { .. } => self.begun = true,
            Entry::Intent { step, confirmed_by } => {
                let attempt = Attempt {
                    line: line.seq,
                    time: line.time.clone(),
                    confirmed_by: confirmed_by.clone(),
                    outcome: None,
                    ended_line: None,
                    facts: Vec::new(),
                };
                self.steps.entry(step.clone()).or_default().push(attempt);
                self.open = Some(step.clone());
            }
            Entry::Outcome { step, outcome, facts, .. } => {
                self.open = None;
                if let Some(last) = self.steps.get_mut(step).and_then(|all| all.last_mut()) {
                    last.outcome = Some(*outcome);
                    last.ended_line = Some(line.seq);
                    last.facts.clone_from(facts);
                }
            }
            Entry::Exception { step, decision, .. } => match decision {
                Decision::Accepted => self.accepted.extend(step.clone()),
                Decision::Stopped => self.stopped = true,
                Decision::Again => {}
            },
            Entry::Closed {} => self.closed = true,
            // Nobody says any more how it ended: it is begun anew, after whatever it needs is there again.
            Entry::Resumed { .. } => self.open = None,
            Entry::Unlocked { .. } | Entry::Clock { .. } => {}
        }
        self.time = Some(line.time.clone());
        Ok(())
    }

    /// Whether an entry of this time may be the next. The writer asks before, the reader afterwards.
    pub(crate) fn check(&self, time: &str, entry: &Entry) -> Result<(), String> {
        if matches!(entry, Entry::Begun { .. }) == self.begun {
            return Err(match self.begun {
                true => "a transcript begins once".into(),
                false => "a transcript begins with what is run".into(),
            });
        }
        if self.closed {
            return Err("the transcript is closed before it".into());
        }
        if self.stopped {
            return Err("it was decided before it that the ceremony ends".into());
        }
        self.check_clock(time, entry)?;
        match entry {
            Entry::Begun { format, .. } if !format::is_known(*format) => {
                Err(format!("the format {format} is not known"))
            }
            Entry::Intent { step, .. } => match &self.open {
                Some(open) => Err(format!("step {step} begins before {open} has ended")),
                None => Ok(()),
            },
            Entry::Outcome { step, .. } if self.open.as_ref() != Some(step) => {
                Err(format!("step {step} ends without having begun"))
            }
            Entry::Closed {} if self.open.is_some() => Err("it is closed before a step has ended".into()),
            _ => Ok(()),
        }
    }

    /// Time does not go backwards, but where people said that it does.
    fn check_clock(&self, time: &str, entry: &Entry) -> Result<(), String> {
        let Some(before) = &self.time else { return Ok(()) };
        if let Entry::Clock { was, .. } = entry {
            return if was == before {
                Ok(())
            } else {
                Err("it names another time than that of the line before".into())
            };
        }
        if self.is_backwards(time) { Err("the clock went backwards before it".into()) } else { Ok(()) }
    }

    /// Whether this time is before that of the last line.
    pub(crate) fn is_backwards(&self, time: &str) -> bool {
        let (Some(before), now) = (self.time.as_deref().and_then(sealed::parse_time), sealed::parse_time(time)) else {
            return false;
        };
        now.is_none_or(|now| now < before)
    }

    /// The time of the last line.
    pub(crate) fn time(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// The attempts at a step, in order.
    #[must_use]
    pub fn attempts(&self, step: &StepId) -> &[Attempt] {
        self.steps.get(step).map_or(&[], Vec::as_slice)
    }

    /// The last attempt at a step, where it was done.
    #[must_use]
    pub fn done(&self, step: &StepId) -> Option<&Attempt> {
        self.attempts(step).last().filter(|last| last.outcome == Some(Outcome::Ok))
    }

    /// The step whose intent has no outcome: it may have been done or not.
    #[must_use]
    pub fn open(&self) -> Option<&StepId> {
        self.open.as_ref()
    }

    /// Whether people accepted that something at this step differs from the plan.
    #[must_use]
    pub fn is_accepted(&self, step: &StepId) -> bool {
        self.accepted.contains(step)
    }

    /// The ids of all steps that were tried.
    pub fn tried(&self) -> impl Iterator<Item = &StepId> {
        self.steps.keys()
    }

    /// Whether people decided that the ceremony ends before its last step.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the last line is the one that closes the transcript.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The digests of the shares of a token's PIN, of the steps with these ids, as they were last handed out.
    #[must_use]
    pub fn share_digests(&self, steps: &[StepId]) -> Vec<Hash> {
        let facts = steps.iter().filter_map(|step| self.done(step)).flat_map(|attempt| &attempt.facts);
        facts.filter_map(|fact| if let Fact::Share { digest, .. } = fact { Some(*digest) } else { None }).collect()
    }
}
