//! Reading a transcript, and what it says has been done.

mod progress;

pub use progress::{Attempt, Progress};

use super::entry::Entry;
use super::line::{Line, MAX_LEN};
use crate::audit::Hash;
use std::fmt;

/// The longest transcript, in bytes.
pub(super) const MAX_TRANSCRIPT: u64 = 64 << 20;

/// The lines of a transcript whose chain is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    lines: Vec<Line>,
    progress: Progress,
    /// How many bytes the lines are.
    len: u64,
    end: End,
}

/// What stands after the last good line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Clean,
    /// The last line is whole and lacks its newline; it is among the lines.
    NoNewline,
    /// A writer was killed, or the power went.
    Torn(Torn),
}

/// Bytes at the end of a transcript that are no line, left by a run that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// How many.
    pub length: u64,
    /// Their hash.
    pub sha256: Hash,
}

/// The first line that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u64,
    pub(super) what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Transcript {
    /// The transcript that these bytes are.
    ///
    /// The chain must be whole, and what the lines say must be possible in their order. A torn end is no error here:
    /// it is told by [`torn`](Self::torn).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let pieces: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let mut transcript = Self { lines: Vec::new(), progress: Progress::default(), len: 0, end: End::Clean };
        for (at, piece) in pieces.iter().enumerate() {
            let number = at as u64 + 1;
            let broken = |what: String| Broken { line: number, what };
            let (text, ended) = piece.strip_suffix(b"\n").map_or((*piece, false), |text| (text, true));
            let Some(line) = Line::parse(text) else {
                if at + 1 == pieces.len() && !ended {
                    transcript.end = End::Torn(Torn { length: piece.len() as u64, sha256: Hash::of(&[piece]) });
                    break;
                }
                let what =
                    if text.len() > MAX_LEN { "is too long" } else { "changed: its hash is not that of its bytes" };
                return Err(broken(what.into()));
            };
            transcript.check_place(&line, &pieces[at..]).map_err(broken)?;
            transcript.progress.take(&line).map_err(broken)?;
            transcript.lines.push(line);
            transcript.len += piece.len() as u64;
            if !ended {
                transcript.end = End::NoNewline;
            }
        }
        Ok(transcript)
    }

    /// Whether a line with a hash of its own that is right is the next one.
    fn check_place(&self, line: &Line, rest: &[&[u8]]) -> Result<(), String> {
        let (seq, prev) = self.lines.last().map_or((1, Hash::ZERO), |last| (last.seq + 1, last.hash));
        if line.seq < seq {
            return Err(format!("inserted: another line before it has the number {}", line.seq));
        }
        if line.seq > seq {
            let later = rest.iter().any(|piece| {
                Line::parse(piece.strip_suffix(b"\n").unwrap_or(piece)).is_some_and(|other| other.seq == seq)
            });
            return Err(match later {
                true => format!("reordered: line {seq} should be here and comes later"),
                false => format!("removed: line {seq} should be here and is nowhere"),
            });
        }
        if line.prev != prev {
            return Err("changed: it does not follow the line before it; one of the two was written anew".into());
        }
        Ok(())
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the hash of the last line, or `None` if there is none.
    #[must_use]
    pub fn head(&self) -> Option<Hash> {
        self.lines.last().map(|line| line.hash)
    }

    /// What has been done.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether it is that of a rehearsal.
    #[must_use]
    pub fn is_rehearsal(&self) -> bool {
        matches!(self.begun(), Some(Entry::Begun { rehearsal: true, .. }))
    }

    /// What stands after the last line and is none.
    #[must_use]
    pub fn torn(&self) -> Option<Torn> {
        match self.end {
            End::Torn(torn) => Some(torn),
            _ => None,
        }
    }

    /// Whether the last line is the one that closes it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.progress.is_closed()
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The run's id, and what else the first line says.
    pub(super) fn begun(&self) -> Option<&Entry> {
        self.lines.first().map(|line| &line.entry)
    }

    /// One that was just written.
    pub(super) fn of_written(lines: Vec<Line>, progress: Progress, len: u64) -> Self {
        Self { lines, progress, len, end: End::Clean }
    }

    pub(super) fn into_parts(self) -> (Vec<Line>, Progress) {
        (self.lines, self.progress)
    }
}
