//! The chain of lines, as a writer follows it: where it ends, and what has been counted up to there.

use super::hash::{Hash, Id};
use super::line::{Entry, FORMAT, Line};
use std::collections::BTreeMap;

/// Where a chain ends.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) log: Id,
    /// The number of the last line.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
    /// The AES-GCM wraps so far.
    pub(super) wraps: BTreeMap<Id, u64>,
    /// When the log was last anchored, as far as its lines say.
    pub(super) anchored: Option<String>,
    /// The last line that is not about the log itself.
    pub(super) last_other: u64,
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

impl Chain {
    /// The chain that these bytes, the first of a file, begin; none where they do not.
    pub(super) fn of_first(line: &Line) -> Option<Self> {
        let (log, wraps, anchored) = match &line.entry {
            Entry::Begin { format: FORMAT, log } if line.seq == 1 && line.prev == Hash::ZERO => {
                (*log, BTreeMap::new(), None)
            }
            Entry::Continued { log, wraps, anchored, .. } if line.seq > 1 => (*log, wraps.clone(), anchored.clone()),
            _ => return None,
        };
        Some(Self {
            log,
            seq: line.seq,
            hash: line.hash,
            wraps,
            anchored,
            last_other: line.seq,
            unsigned: 1,
            since_head: 1,
        })
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
            Entry::Head { count, anchored, signature, .. } => {
                // A head covers nothing of itself, and alone it is not worth another.
                self.since_head = if self.last_other > *count { self.seq.saturating_sub(*count) } else { 0 };
                if signature.is_some() {
                    self.unsigned = self.since_head;
                } else {
                    self.unsigned -= 1;
                }
                if anchored.is_some() {
                    self.anchored.clone_from(anchored);
                }
            }
            Entry::Anchor { .. } => {
                self.unsigned -= 1;
                self.since_head -= 1;
                self.anchored = Some(line.time.clone());
            }
            _ => self.last_other = line.seq,
        }
        self.seq = line.seq;
        self.hash = line.hash;
        true
    }

    /// Takes in what others wrote. Gives the bytes that are good, and what is after them; none where
    /// the lines are not in order.
    pub(super) fn catch_up(&mut self, bytes: &[u8]) -> Option<(usize, End)> {
        let mut good = 0;
        let mut at = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            at += piece.len();
            let Some(line) = piece.strip_suffix(b"\n").and_then(Line::parse) else { continue };
            let before = &bytes[good..at - piece.len()];
            if !(before.is_empty() || Torn::of(before).is_closed_by(&line)) || !self.follow(&line) {
                return None;
            }
            good = at;
        }
        let end = match &bytes[good..] {
            [] => End::Clean,
            whole if Line::parse(whole).is_some() => End::NoNewline(whole.len() as u64),
            torn => End::Torn(Torn::of(torn)),
        };
        Some((good, end))
    }

    /// The chain at the end of `bytes`, the last of a file, or all of it where `whole`. `None`: these
    /// are not enough to tell, or where they are all, no log.
    pub(super) fn of_tail(bytes: &[u8], whole: bool) -> Option<(Self, usize)> {
        // The first piece begins somewhere in a line.
        let skipped = if whole { 0 } else { bytes.iter().position(|byte| *byte == b'\n')? + 1 };
        let mut starts = Vec::new();
        let mut at = skipped;
        for piece in bytes[skipped..].split_inclusive(|byte| *byte == b'\n') {
            starts.push((at, piece.strip_suffix(b"\n").and_then(Line::parse)));
            at += piece.len();
        }
        // From the last head whose own line after it is here, its counts are carried on.
        let anchored = |line: &Line| match &line.entry {
            Entry::Head { anchored, .. } => anchored.clone(),
            _ => None,
        };
        let base = starts.iter().rev().find_map(|(_, line)| {
            let line = line.as_ref()?;
            let Entry::Head { count, head, wraps, .. } = &line.entry else { return None };
            let (start, _) = starts.iter().find(|(_, line)| line.as_ref().is_some_and(|line| line.seq == count + 1))?;
            let (log, wraps) = (Id::from_bytes([0; 16]), wraps.clone());
            let chain = Self {
                log,
                seq: *count,
                hash: *head,
                wraps,
                anchored: anchored(line),
                last_other: 0,
                unsigned: 0,
                since_head: 0,
            };
            Some((chain, *start))
        });
        let (mut chain, start) = match base {
            Some(base) => base,
            None if whole => {
                let (_, first) = starts.first()?;
                (Self::of_first(first.as_ref()?)?, starts.get(1).map_or(bytes.len(), |(start, _)| *start))
            }
            None => return None,
        };
        let (good, _) = chain.catch_up(&bytes[start..])?;
        Some((chain, start + good))
    }
}
