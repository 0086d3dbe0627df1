//! The head of a log: what is signed, and what is kept on the token.

use super::hash::{Hash, Id};
use super::line;
use super::verifying::HeadKey;
use base64ct::{Base64, Encoding};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What the signed bytes begin with, so that no signature of a head is one of anything else.
const DOMAIN: &[u8] = b"keyward.audit-head.v1\0";
const WRAPS_DOMAIN: &[u8] = b"keyward.audit-wraps.v1\0";
const FIRST_LINE: &str = "keyward-audit-anchor 1";

/// The state of a log after one of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) log: Id,
    pub(super) count: u64,
    pub(super) hash: Hash,
    pub(super) wraps: Hash,
}

impl Head {
    pub(super) fn new(log: Id, count: u64, hash: Hash, wraps: &BTreeMap<Id, u64>) -> Self {
        let mut bytes = Vec::with_capacity(24 * wraps.len());
        for (id, count) in wraps {
            bytes.extend(id.as_bytes());
            bytes.extend(count.to_be_bytes());
        }
        Self { log, count, hash, wraps: Hash::of(&[WRAPS_DOMAIN, &bytes]) }
    }

    /// The bytes that are signed.
    pub(super) fn message(&self) -> Vec<u8> {
        let Self { log, count, hash, wraps } = self;
        [DOMAIN, log.as_bytes(), &count.to_be_bytes(), hash.as_bytes(), wraps.as_bytes()].concat()
    }

    /// Whether this text is the signature of this head.
    pub(super) fn is_signed(&self, key: &HeadKey, signature: &str) -> bool {
        Base64::decode_vec(signature).is_ok_and(|signature| key.verifies(&self.message(), &signature))
    }
}

/// A signed head that is kept on the token, where who cuts the file does not reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Anchor {
    /// The log.
    pub log: Id,
    /// The host that wrote it.
    pub host: String,
    /// So many lines the log had.
    pub count: u64,
    /// The hash of the last of them.
    pub hash: Hash,
    wraps: Hash,
    time: String,
    /// The id of the key that signed it.
    pub key: Id,
    signature: String,
}

impl Anchor {
    pub(super) fn new(head: &Head, host: String, key: Id, signature: String) -> Self {
        let Head { log, count, hash, wraps } = head.clone();
        Self { log, host, count, hash, wraps, time: line::now(), key, signature }
    }

    /// When it was put there.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        line::system_time(&self.time)
    }

    /// As lines spell it.
    #[must_use]
    pub fn time_text(&self) -> &str {
        &self.time
    }

    pub(super) fn is_signed(&self, key: &HeadKey) -> bool {
        let Self { log, count, hash, wraps, .. } = self.clone();
        self.key == key.id() && Head { log, count, hash, wraps }.is_signed(key, &self.signature)
    }

    /// As it is kept: text, a line for each field, so that an operator can read it with any tool.
    pub(super) fn to_text(&self) -> String {
        let Self { log, host, count, hash, wraps, time, key, signature } = self;
        format!(
            "{FIRST_LINE}\nlog {log}\nhost {host}\ncount {count}\nhash {hash}\nwraps {wraps}\ntime {time}\nkey {key}\n\
             signature {signature}\n"
        )
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let anchor = Self {
            log: Id::parse(field("log")?)?,
            host: field("host")?.to_owned(),
            count: field("count")?.parse().ok()?,
            hash: Hash::parse(field("hash")?)?,
            wraps: Hash::parse(field("wraps")?)?,
            time: field("time").filter(|time| line::parse_time(time).is_some())?.to_owned(),
            key: Id::parse(field("key")?)?,
            signature: field("signature")?.to_owned(),
        };
        lines.next().is_none().then_some(anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Anchor {
        let head = Head::new(Id::from_bytes([1; 16]), 7, Hash::ZERO, &BTreeMap::from([(Id::from_bytes([2; 16]), 3)]));
        Anchor::new(&head, "db1".into(), Id::from_bytes([3; 16]), "AAAA".into())
    }

    #[test]
    fn an_anchor_comes_back_and_anything_else_is_refused() {
        let good = sample().to_text();
        assert_eq!(
            Anchor::parse(&good),
            Some(sample()).map(|mut same| {
                same.time = Anchor::parse(&good).unwrap().time;
                same
            })
        );
        for bad in ["", &good.replace("anchor 1", "anchor 2"), &good.replace("count 7", "count x"), good.trim_end()] {
            assert_eq!(Anchor::parse(bad), None, "{bad}");
        }
        assert_eq!(Anchor::parse(&format!("{good}more\n")), None);
    }

    #[test]
    fn the_counts_of_wraps_are_part_of_what_is_signed() {
        let head = |wraps: &[(u8, u64)]| {
            let wraps = wraps.iter().map(|(id, count)| (Id::from_bytes([*id; 16]), *count)).collect();
            Head::new(Id::from_bytes([1; 16]), 7, Hash::ZERO, &wraps).message()
        };
        assert_eq!(head(&[]).len(), 22 + 16 + 8 + 32 + 32);
        assert_ne!(head(&[(1, 1)]), head(&[(1, 2)]));
        assert_ne!(head(&[(1, 1)]), head(&[(2, 1)]));
        assert_ne!(head(&[]), head(&[(1, 0)]));
    }
}
