//! What happened to a log, from the lines around the first that does not fit.

use super::files::Piece;
use super::hash::Hash;
use super::line::{Entry, Line};
use super::walk::Position;

/// What was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Diagnosis {
    /// A line is another than it was.
    Changed,
    /// Lines are gone, and later ones are there.
    Removed,
    /// A line is there that does not belong there, such as a copy of another.
    Inserted,
    /// Lines stand in another order.
    Reordered,
    /// The end is gone.
    Cut,
    /// Another log is in its place.
    Replaced,
    /// No head is signed by the key that it was verified with: the whole log could be another's work.
    Unsigned,
}

impl Diagnosis {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
            Self::Replaced => "replaced",
            Self::Unsigned => "unsigned",
        }
    }
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A line of a log, or bytes that are none.
pub(super) struct Item {
    pub(super) position: Position,
    place: Option<Place>,
}

/// A line's place in the chain, as it says itself. Its own hash is right.
#[derive(Clone, Copy)]
struct Place {
    seq: u64,
    prev: Hash,
    hash: Hash,
    /// Whether it tells of bytes before it that are no line.
    is_mark: bool,
}

impl Item {
    pub(super) fn of(piece: &Piece) -> Self {
        let line = Line::parse(&piece.bytes);
        Self {
            position: Position { file: piece.file, number: piece.number },
            place: line.map(|Line { seq, prev, hash, entry, .. }| {
                let is_mark = matches!(entry, Entry::Torn { .. });
                Place { seq, prev, hash, is_mark }
            }),
        }
    }
}

/// A finding before its file has a name.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) position: Position,
    pub(super) seq: Option<u64>,
    pub(super) diagnosis: Diagnosis,
    pub(super) explanation: String,
}

/// What is wrong at `items[at]`, where a line with the number `seq` after one with the hash `prev`
/// should be.
pub(super) fn diagnose(items: &[Item], at: usize, seq: u64, prev: Hash) -> Option<Verdict> {
    let item = items.get(at)?;
    let next = items.get(at + 1).and_then(|item| item.place);
    let before = at.checked_sub(1).and_then(|before| items.get(before));
    let verdict = |item: &Item, seq, diagnosis, explanation: String| {
        Some(Verdict { position: item.position, seq, diagnosis, explanation })
    };
    let Some(place) = item.place else {
        // What follows it follows what is before it.
        let next = next.filter(|next| next.seq == seq && next.prev == prev);
        return if next.is_some_and(|next| next.is_mark) {
            verdict(item, None, Diagnosis::Changed, "it is not what the mark after it tells of".into())
        } else if next.is_some() {
            verdict(item, None, Diagnosis::Inserted, "it is no line of the log".into())
        } else {
            verdict(item, Some(seq), Diagnosis::Changed, "its hash is not that of its bytes".into())
        };
    };
    let is_followed = next.is_some_and(|next| next.seq == place.seq + 1 && next.prev == place.hash);

    if place.seq == seq {
        // One of two was rewritten with a hash of its own: this one, or the one before.
        return match before {
            Some(before) if is_followed || next.is_none() => {
                let explanation = "its own hash is right, and the line after it follows another".into();
                verdict(before, Some(seq - 1), Diagnosis::Changed, explanation)
            }
            _ => verdict(item, Some(seq), Diagnosis::Changed, "it does not follow the line before it".into()),
        };
    }
    if place.seq < seq {
        let original = items[..at].iter().find(|item| item.place.is_some_and(|other| other.seq == place.seq));
        if let Some(original) = original.filter(|o| o.place.is_some_and(|other| other.hash == place.hash)) {
            let explanation = format!("it is a copy of line {}", original.position.number);
            return verdict(item, Some(place.seq), Diagnosis::Inserted, explanation);
        }
        return match before {
            // Two lines claim one number; what follows says which of them was there.
            Some(before) if place.seq + 1 == seq && is_followed => {
                let explanation = "another line has the same number, and the log goes on from that one".into();
                verdict(before, Some(place.seq), Diagnosis::Inserted, explanation)
            }
            _ => {
                let explanation = "another line before it has the same number".into();
                verdict(item, Some(place.seq), Diagnosis::Inserted, explanation)
            }
        };
    }
    if place.prev == prev {
        let explanation = format!("it follows the line before it, whose number is {}", seq - 1);
        return verdict(item, Some(place.seq), Diagnosis::Changed, explanation);
    }
    let gap = seq..place.seq;
    let (lines, later, nowhere) = match gap.end - gap.start {
        1 => (format!("entry {seq}"), "comes later", "is nowhere"),
        _ => (format!("entries {seq} to {}", gap.end - 1), "come later", "are nowhere"),
    };
    if items[at..].iter().any(|item| item.place.is_some_and(|other| gap.contains(&other.seq))) {
        let explanation = format!("{lines} should be before it and {later}");
        return verdict(item, Some(place.seq), Diagnosis::Reordered, explanation);
    }
    verdict(item, Some(place.seq), Diagnosis::Removed, format!("{lines} should be before it and {nowhere}"))
}
