//! What witnesses sign: a few lines of text that hold the whole bundle down, or the transcript up to a pause.

use super::entry::Entry;
use super::transcript::Transcript;
use crate::audit::Hash;
use std::fmt;

/// What a witness signs.
///
/// The head of the transcript stands for every line of it; the plan's hash and the report's for the bytes of these
/// files; and the digests of the public keys are in the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// Which transcript it is about: all of its lines.
    pub transcript: InterimStatement,
    /// The hash of the bytes of `report.md`.
    pub report: Hash,
}

impl Statement {
    /// Returns the statement about a transcript and the bytes of its report, or `None` if the transcript is empty.
    #[must_use]
    pub fn new(transcript: &Transcript, report: &[u8]) -> Option<Self> {
        Some(Self { transcript: InterimStatement::new(transcript)?, report: Hash::of(&[report]) })
    }
}

/// The very bytes that are signed.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "keyward ceremony statement 1")?;
        self.transcript.write_lines(f)?;
        writeln!(f, "report {}", self.report)
    }
}

/// What a witness signs at a pause: the transcript up to there. A run that goes on with another beginning is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterimStatement {
    /// What the ceremony is called.
    pub ceremony: String,
    /// The run's id.
    pub run: super::RunId,
    /// Whether it is a rehearsal.
    pub rehearsal: bool,
    /// The hash of the plan.
    pub plan: Hash,
    /// How many lines the transcript has.
    pub entries: u64,
    /// The hash of the last of them.
    pub head: Hash,
}

impl InterimStatement {
    /// Returns the statement about the lines so far, or `None` if the transcript is empty.
    #[must_use]
    pub fn new(transcript: &Transcript) -> Option<Self> {
        Self::at(transcript, transcript.lines().last()?.seq)
    }

    /// Returns the statement about the first `entries` lines, or `None` if there are fewer.
    #[must_use]
    pub fn at(transcript: &Transcript, entries: u64) -> Option<Self> {
        let last = transcript.lines().iter().find(|line| line.seq == entries)?;
        let Entry::Begun { ceremony, plan, run, rehearsal, .. } = transcript.begun()? else { return None };
        Some(Self {
            ceremony: ceremony.to_string(),
            run: *run,
            rehearsal: *rehearsal,
            plan: *plan,
            entries,
            head: last.hash,
        })
    }

    fn write_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ceremony, run, rehearsal, plan, entries, head } = self;
        writeln!(f, "ceremony {ceremony}")?;
        writeln!(f, "run {run}")?;
        writeln!(f, "rehearsal {}", if *rehearsal { "yes" } else { "no" })?;
        writeln!(f, "plan {plan}")?;
        writeln!(f, "entries {entries}")?;
        writeln!(f, "head {head}")
    }
}

/// The very bytes that are signed.
impl fmt::Display for InterimStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "keyward ceremony interim statement 1")?;
        self.write_lines(f)
    }
}
