//! One line of a transcript: what it says, and its place in the chain.

use super::entry::Entry;
use crate::audit::{Hash, sealed};
use serde::{Deserialize, Serialize};

/// What a line's hash begins with, so that it is no hash of anything else.
const DOMAIN: &[u8] = b"keyward.ceremony.v1\0";
/// The longest line, in bytes.
pub(super) const MAX_LEN: usize = 1 << 20;

/// A line of a transcript.
///
/// It is built as those of the audit log are: compact JSON with its fields in this order, the last of them the hash of
/// all bytes before it, and one line has one spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When it came to be, in UTC with microseconds: `2026-01-31T08:15:00.123456Z`.
    pub time: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// The name of the host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The hash of the line before it; zeros in the first.
    pub prev: Hash,
    /// The hash of this line: of all its bytes before this field.
    pub hash: Hash,
}

impl Line {
    /// A line after the one with the number `seq - 1` and the hash `prev`.
    pub(super) fn new(seq: u64, time: String, entry: Entry, host: String, pid: u32, prev: Hash) -> Self {
        let mut line = Self { seq, time, entry, host, pid, prev, hash: Hash::ZERO };
        line.hash = sealed::own_hash(DOMAIN, &line.to_bytes()).unwrap_or(Hash::ZERO);
        line
    }

    /// The line without its newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps with keys that are strings: nothing that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The line that these bytes are, without their newline. `None` where they are none, are not spelt as
    /// [`to_bytes`](Self::to_bytes) spells them, or do not have the hash that the line says.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let line: Self = serde_json::from_slice(bytes).ok()?;
        let own = sealed::own_hash(DOMAIN, bytes)?;
        // Another spelling, an unknown field, a field twice: the same line in other words is another line.
        (line.hash == own && line.to_bytes() == bytes && sealed::parse_time(&line.time).is_some()).then_some(line)
    }
}
