//! How far a ceremony is.

use super::entry::Outcome;
use super::plan::Plan;
use super::script::script;
use super::step::{Step, StepId};
use super::transcript::Transcript;
use crate::audit::Hash;

/// How far a ceremony is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether it is a rehearsal.
    pub rehearsal: bool,
    /// All steps of the plan in order, each with its state.
    pub steps: Vec<(Step, StepStatus)>,
    /// The first step that is not done.
    pub next: Option<StepId>,
    /// Whether the transcript is closed.
    pub closed: bool,
    /// Whether people decided that the ceremony ends before its last step.
    pub stopped: bool,
    /// Whether the end of the transcript is torn: its run was interrupted.
    pub torn: bool,
    /// The hash of the last line of the transcript, which is compared when the run goes on.
    pub head: Option<Hash>,
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepStatus {
    /// Nobody has begun it.
    Waiting,
    /// It was begun, and nobody said how it ended: it may have been done.
    Open,
    /// It failed.
    Failed,
    /// It was done.
    Done,
}

impl StepStatus {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }
}

impl Status {
    /// How far the transcript of this plan's ceremony is.
    #[must_use]
    pub fn of(plan: &Plan, transcript: &Transcript) -> Self {
        let progress = transcript.progress();
        let state = |step: &Step| match progress.attempts(&step.id).last().map(|last| last.outcome) {
            None => StepStatus::Waiting,
            Some(None) => StepStatus::Open,
            Some(Some(Outcome::Failed)) => StepStatus::Failed,
            Some(Some(Outcome::Ok)) => StepStatus::Done,
        };
        let steps: Vec<_> =
            script(plan).into_iter().map(|step| (state(&step), step)).map(|(s, step)| (step, s)).collect();
        let next = steps.iter().find(|(_, state)| *state != StepStatus::Done).map(|(step, _)| step.id.clone());
        Self {
            rehearsal: transcript.is_rehearsal(),
            steps,
            next,
            closed: progress.is_closed(),
            stopped: progress.is_stopped(),
            torn: transcript.torn().is_some(),
            head: transcript.head(),
        }
    }
}
