//! The chain of lines, as a writer follows it: where it ends, and what has been counted up to there.

use super::hash::{Hash, Id};
use super::head::{Anchor, Link};
use super::line::{Entry, FORMAT, Line};
use super::name::LogName;
use std::collections::BTreeMap;

/// Which log a file belongs to, as its first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) log: Id,
    pub(super) name: LogName,
    /// The anchor with which the log before it was retired.
    pub(super) retired: Option<Box<Anchor>>,
}

/// The last signed head in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastSigned {
    /// The lines before the first that was read are not known.
    Unknown,
    None,
    At(Link),
}

/// Where a chain ends.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) identity: Identity,
    /// The number of the last line.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
    /// The AES-GCM wraps so far.
    pub(super) wraps: BTreeMap<Id, u64>,
    pub(super) signed: LastSigned,
    /// The last line that is not about the log itself.
    last_other: u64,
    /// The lines since the last signed head; 0 where all of them are about the log itself.
    pub(super) unsigned: u64,
    /// The same since the last head, signed or not.
    pub(super) since_head: u64,
}

/// What stands at the end of a file after its last good line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Clean,
    /// A line of this length, which is whole and lacks its newline. It is not taken in yet.
    NoNewline(u64),
    /// Something else: a writer was killed, or the power went.
    Torn(Torn),
}

/// Bytes at the end of a file that are no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) length: u64,
    pub(super) sha256: Hash,
    /// Whether a newline follows already, which is not counted.
    pub(super) has_newline: bool,
}

impl Torn {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (bytes, has_newline) = bytes.strip_suffix(b"\n").map_or((bytes, false), |bytes| (bytes, true));
        Self { length: bytes.len() as u64, sha256: Hash::of(&[bytes]), has_newline }
    }

    /// Whether this line closes it.
    pub(super) fn is_closed_by(&self, line: &Line) -> bool {
        line.entry == Entry::Torn { length: self.length, sha256: self.sha256 }
    }
}

impl Identity {
    /// The identity that this line, the first of a file, gives; none if it is not the first of any.
    pub(super) fn of_first(line: &Line) -> Option<Self> {
        let (log, name, retired) = match &line.entry {
            Entry::Begin { format: FORMAT, log, name, retired } if line.seq == 1 && line.prev == Hash::ZERO => {
                (log, name, retired)
            }
            Entry::Continued { log, name, retired, .. } if line.seq > 1 => (log, name, retired),
            _ => return None,
        };
        let retired = match retired {
            Some(text) => Some(Box::new(Anchor::parse(text).filter(|anchor| anchor.is_retired())?)),
            None => None,
        };
        Some(Self { log: *log, name: name.clone(), retired })
    }
}

impl LastSigned {
    pub(super) fn link(self) -> Option<Link> {
        match self {
            Self::At(link) => Some(link),
            Self::Unknown | Self::None => None,
        }
    }
}

impl Chain {
    /// The chain that this line, the first of a file, begins; none if it begins none.
    pub(super) fn of_first(line: &Line) -> Option<Self> {
        let (wraps, signed) = match &line.entry {
            Entry::Continued { wraps, .. } => (wraps.clone(), LastSigned::Unknown),
            _ => (BTreeMap::new(), LastSigned::None),
        };
        Some(Self {
            identity: Identity::of_first(line)?,
            seq: line.seq,
            hash: line.hash,
            wraps,
            signed,
            last_other: line.seq,
            unsigned: 1,
            since_head: 1,
        })
    }

    /// The chain up to the line that a head is of; none if the line is no head.
    pub(super) fn of_head(identity: Identity, line: &Line) -> Option<Self> {
        let Entry::Head { count, head, wraps, previous, signature, .. } = &line.entry else { return None };
        let signed = match (previous, signature) {
            (Some(link), _) => LastSigned::At(*link),
            (None, Some(_)) => LastSigned::None,
            (None, None) => LastSigned::Unknown,
        };
        let (seq, hash, wraps) = (*count, *head, wraps.clone());
        Some(Self { identity, seq, hash, wraps, signed, last_other: 0, unsigned: 0, since_head: 0 })
    }

    /// The last line.
    pub(super) fn end(&self) -> Link {
        Link { count: self.seq, head: self.hash }
    }

    /// Whether a signed head may be the next line: it names the signed head before it, and a line between.
    pub(super) fn is_linked(&self, line: &Line) -> bool {
        let Entry::Head { count, previous, signature: Some(_), .. } = &line.entry else { return true };
        let follows = match self.signed {
            LastSigned::Unknown => true,
            LastSigned::None => previous.is_none(),
            LastSigned::At(link) => *previous == Some(link),
        };
        follows && *count <= self.seq && previous.is_none_or(|previous| previous.count < *count)
    }

    /// Takes in the next line, or says that it is not the next.
    pub(super) fn follow(&mut self, line: &Line) -> bool {
        if line.seq != self.seq + 1 || line.prev != self.hash {
            return false;
        }
        self.unsigned += 1;
        self.since_head += 1;
        match &line.entry {
            Entry::Intent { wraps, .. } => {
                for id in wraps {
                    *self.wraps.entry(*id).or_default() += 1;
                }
                self.last_other = line.seq;
            }
            Entry::Head { count, head, signature, .. } => {
                // A head covers nothing of itself, and alone it is not worth another.
                self.since_head = if self.last_other > *count { self.seq.saturating_sub(*count) } else { 0 };
                if signature.is_some() {
                    self.unsigned = self.since_head;
                    self.signed = LastSigned::At(Link { count: *count, head: *head });
                } else {
                    self.unsigned -= 1;
                }
            }
            _ => self.last_other = line.seq,
        }
        self.seq = line.seq;
        self.hash = line.hash;
        true
    }

    /// Takes in what others wrote, after `look` has seen each line. Returns how many bytes are good and what is after
    /// them, or a phrase that says what is wrong.
    pub(super) fn catch_up(
        &mut self,
        bytes: &[u8],
        look: &mut dyn FnMut(&Self, &Line) -> Result<(), String>,
    ) -> Result<(usize, End), String> {
        let mut good = 0;
        let mut at = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            at += piece.len();
            let Some(line) = piece.strip_suffix(b"\n").and_then(Line::parse) else { continue };
            let before = &bytes[good..at - piece.len()];
            if !before.is_empty() && !Torn::of(before).is_closed_by(&line) {
                return Err(format!("is not in order before entry {}", line.seq));
            }
            if !self.is_linked(&line) {
                return Err(format!("has a head at entry {} that does not name the signed head before it", line.seq));
            }
            look(self, &line)?;
            if !self.follow(&line) {
                return Err(format!("does not go on after entry {}", self.seq));
            }
            good = at;
        }
        let end = match &bytes[good..] {
            [] => End::Clean,
            whole if Line::parse(whole).is_some() => End::NoNewline(whole.len() as u64),
            torn => End::Torn(Torn::of(torn)),
        };
        Ok((good, end))
    }
}
