//! What the lines of chained logs have in common: their fields, how a line seals itself with a hash, and how it spells
//! time.

use super::hash::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What stands before a line's own hash.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
/// `,"hash":"` and 64 digits and `"}`.
pub(crate) const TAIL: usize = BEFORE_HASH.len() + 64 + 2;

/// A line of a chained log: [`audit::Line`](crate::audit::Line), or that of a transcript.
///
/// Its bytes are compact JSON with its fields in this order, the last of them the hash of all bytes before it, and one
/// line has one spelling: what is parsed is written again byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line<E> {
    /// Its number, counted from 1 over all files of a log, without gaps.
    pub seq: u64,
    /// When it came to be, in UTC with microseconds: `2026-01-31T08:15:00.123456Z`.
    pub time: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: E,
    /// The name of the host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The hash of the line before it; zeros in the first.
    pub prev: Hash,
    /// The hash of this line: of all its bytes before this field.
    pub hash: Hash,
}

/// What the lines of one kind of log say.
pub trait Content: Serialize + DeserializeOwned {
    /// What a line's hash begins with, so that it is no hash of anything else.
    const DOMAIN: &'static [u8];
    /// The longest line, in bytes, where there is a limit.
    const MAX_LEN: usize = usize::MAX;
}

impl<E: Content> Line<E> {
    /// A line after the one with the number `seq - 1` and the hash `prev`.
    pub(crate) fn new(seq: u64, time: String, entry: E, host: String, pid: u32, prev: Hash) -> Self {
        let mut line = Self { seq, time, entry, host, pid, prev, hash: Hash::ZERO };
        line.hash = own_hash(E::DOMAIN, &line.to_bytes()).unwrap_or(Hash::ZERO);
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
        if bytes.len() > E::MAX_LEN {
            return None;
        }
        let line: Self = serde_json::from_slice(bytes).ok()?;
        let own = own_hash(E::DOMAIN, bytes)?;
        // Another spelling, an unknown field, a field twice: the same line in other words is another line.
        (line.hash == own && line.to_bytes() == bytes && line.timestamp().is_some()).then_some(line)
    }

    /// When it came to be.
    #[must_use]
    pub fn timestamp(&self) -> Option<std::time::SystemTime> {
        system_time(&self.time)
    }
}

/// The hash that a line of these bytes has in a log of this domain: of all before its field `hash`, which is the last.
/// None where the bytes are too few or end otherwise.
pub(crate) fn own_hash(domain: &[u8], bytes: &[u8]) -> Option<Hash> {
    let (body, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
    tail.starts_with(BEFORE_HASH).then(|| Hash::of(&[domain, body]))
}

/// The time now, as lines have it.
pub(crate) fn now() -> String {
    spell(jiff::Timestamp::now())
}

fn spell(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}

/// The time that a line has, where it is spelt as lines spell it.
pub(crate) fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok().filter(|time| spell(*time) == text)
}

/// The same as the system has it.
pub(crate) fn system_time(text: &str) -> Option<std::time::SystemTime> {
    parse_time(text)?.try_into().ok()
}
