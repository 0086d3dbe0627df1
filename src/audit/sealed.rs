//! What the lines of chained logs have in common: how a line seals itself with a hash, and how it spells time.

use super::hash::Hash;

/// What stands before a line's own hash.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
/// `,"hash":"` and 64 digits and `"}`.
pub(crate) const TAIL: usize = BEFORE_HASH.len() + 64 + 2;

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
