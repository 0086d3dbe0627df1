//! The head of a log: what is signed, and what is kept on the token.

use super::hash::{Hash, Id};
use super::line;
use super::name::LogName;
use super::verifying::HeadKey;
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What the signed bytes begin with, so that no signature of a head is one of anything else.
const HEAD_DOMAIN: &[u8] = b"keyward.audit-head.v1\0";
const RETIRED_DOMAIN: &[u8] = b"keyward.audit-retired.v1\0";
const WRAPS_DOMAIN: &[u8] = b"keyward.audit-wraps.v1\0";
const NAME_DOMAIN: &[u8] = b"keyward.audit-name.v1\0";
const FIRST_LINE: &str = "keyward-audit-anchor 1";

/// A line of a log, by its number and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The line's number.
    pub count: u64,
    /// The line's hash.
    pub head: Hash,
}

/// The state of a log after one of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) log: Id,
    pub(super) name: LogName,
    pub(super) at: Link,
    /// The signed head before it.
    pub(super) previous: Option<Link>,
    /// The log's anchor on the token when this was signed.
    pub(super) anchor: Option<Link>,
    /// The hash of the counts of wraps.
    pub(super) wraps: Hash,
}

/// Returns the hash of counts of wraps that heads are signed with.
pub(super) fn hash_of_wraps(wraps: &BTreeMap<Id, u64>) -> Hash {
    let mut bytes = Vec::with_capacity(24 * wraps.len());
    for (id, count) in wraps {
        bytes.extend(id.as_bytes());
        bytes.extend(count.to_be_bytes());
    }
    Hash::of(&[WRAPS_DOMAIN, &bytes])
}

impl Head {
    /// Returns the bytes that are signed.
    pub(super) fn message(&self, state: AnchorState) -> Vec<u8> {
        let domain = match state {
            AnchorState::Live => HEAD_DOMAIN,
            AnchorState::Retired => RETIRED_DOMAIN,
        };
        let name = Hash::of(&[NAME_DOMAIN, self.name.as_str().as_bytes()]);
        let mut bytes = [domain, self.log.as_bytes(), name.as_bytes()].concat();
        for link in [Some(self.at), self.previous, self.anchor] {
            let Link { count, head } = link.unwrap_or(Link { count: 0, head: Hash::ZERO });
            bytes.extend(count.to_be_bytes());
            bytes.extend(head.as_bytes());
        }
        bytes.extend(self.wraps.as_bytes());
        bytes
    }

    /// Whether this text is the signature of this head.
    pub(super) fn is_signed(&self, state: AnchorState, key: &HeadKey, signature: &str) -> bool {
        Base64::decode_vec(signature).is_ok_and(|signature| key.verifies(&self.message(state), &signature))
    }
}

/// Whether a log goes on after an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnchorState {
    Live,
    /// The log has ended, and a successor with the same name may begin.
    Retired,
}

/// A signed head that is kept on the token, out of reach of an attacker who writes the log's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub(super) head: Head,
    pub(super) state: AnchorState,
    time: String,
    key: Id,
    signature: String,
}

impl Anchor {
    pub(super) fn new(head: Head, state: AnchorState, key: Id, signature: String) -> Self {
        Self { head, state, time: line::now(), key, signature }
    }

    /// Returns the log's id.
    #[must_use]
    pub fn log(&self) -> Id {
        self.head.log
    }

    /// Returns the log's name.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.head.name
    }

    /// Returns the number of the line that is anchored: how many lines the log had.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.head.at.count
    }

    /// Returns the hash of that line.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.head.at.head
    }

    /// Whether the log was retired at that line.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.state == AnchorState::Retired
    }

    /// Returns the id of the key that signed it.
    #[must_use]
    pub fn key(&self) -> Id {
        self.key
    }

    /// Returns when it was signed.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        line::system_time(&self.time)
    }

    /// Returns when it was signed, as lines spell it.
    #[must_use]
    pub fn time_text(&self) -> &str {
        &self.time
    }

    /// The same line as the anchor of a log that goes on, without a signature that is good.
    pub(super) fn as_live(&self) -> Self {
        Self { state: AnchorState::Live, ..self.clone() }
    }

    /// Whether one of these keys signed it.
    pub(super) fn is_signed(&self, keys: &[HeadKey]) -> bool {
        keys.iter().any(|key| key.id() == self.key && self.head.is_signed(self.state, key, &self.signature))
    }

    /// Returns it as it is kept: text, a line for each field, so that an operator can read it with any tool.
    pub(super) fn to_text(&self) -> String {
        let Self { head: Head { log, name, at, previous, anchor, wraps }, state, time, key, signature } = self;
        let state = match state {
            AnchorState::Live => "live",
            AnchorState::Retired => "retired",
        };
        let link = |link: &Option<Link>| match link {
            Some(Link { count, head }) => format!("{count} {head}"),
            None => "none".to_owned(),
        };
        let (previous, anchor, Link { count, head }) = (link(previous), link(anchor), at);
        format!(
            "{FIRST_LINE}\nlog {log}\nname {name}\nstate {state}\ncount {count}\nhash {head}\nprevious {previous}\n\
             anchor {anchor}\nwraps {wraps}\ntime {time}\nkey {key}\nsignature {signature}\n"
        )
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let (log, name) = (Id::parse(field("log")?)?, field("name")?.parse().ok()?);
        let state = match field("state")? {
            "live" => AnchorState::Live,
            "retired" => AnchorState::Retired,
            _ => return None,
        };
        let at = Link { count: parse_count(field("count")?)?, head: Hash::parse(field("hash")?)? };
        let (previous, anchor) = (parse_link(field("previous")?)?, parse_link(field("anchor")?)?);
        let head = Head { log, name, at, previous, anchor, wraps: Hash::parse(field("wraps")?)? };
        let anchor = Self {
            head,
            state,
            time: field("time").filter(|time| line::parse_time(time).is_some())?.to_owned(),
            key: Id::parse(field("key")?)?,
            signature: field("signature")?.to_owned(),
        };
        lines.next().is_none().then_some(anchor)
    }
}

fn parse_count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count: &u64| count.to_string() == text)
}

/// Parses a link; the inner `None` is the word for no link.
fn parse_link(text: &str) -> Option<Option<Link>> {
    if text == "none" {
        return Some(None);
    }
    let (count, head) = text.split_once(' ')?;
    Some(Some(Link { count: parse_count(count)?, head: Hash::parse(head)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(count: u64) -> Link {
        Link { count, head: Hash::from_bytes([9; 32]) }
    }

    fn head() -> Head {
        Head {
            log: Id::from_bytes([1; 16]),
            name: "db1".parse().unwrap(),
            at: link(7),
            previous: Some(link(5)),
            anchor: None,
            wraps: hash_of_wraps(&BTreeMap::from([(Id::from_bytes([2; 16]), 3)])),
        }
    }

    #[test]
    fn an_anchor_comes_back_and_anything_else_is_refused() {
        for state in [AnchorState::Live, AnchorState::Retired] {
            let anchor = Anchor::new(head(), state, Id::from_bytes([3; 16]), "AAAA".into());
            let good = anchor.to_text();
            assert_eq!(Anchor::parse(&good), Some(anchor));
            for bad in [
                "",
                &good.replace("anchor 1", "anchor 2"),
                &good.replace("count 7", "count x"),
                &good.replace("count 7", "count 07"),
                &good.replace("anchor none", "anchor 0"),
                &good.replace("state ", "state un"),
                good.trim_end(),
                &format!("{good}more\n"),
            ] {
                assert_eq!(Anchor::parse(bad), None, "{bad}");
            }
        }
    }

    #[test]
    fn every_field_is_part_of_what_is_signed() {
        let message = |change: &dyn Fn(&mut Head)| {
            let mut changed = head();
            change(&mut changed);
            changed.message(AnchorState::Live)
        };
        let same = message(&|_| {});
        assert_eq!(same.len(), 22 + 16 + 32 + 3 * 40 + 32);
        for other in [
            message(&|head| head.log = Id::from_bytes([2; 16])),
            message(&|head| head.name = "db2".parse().unwrap()),
            message(&|head| head.at = link(8)),
            message(&|head| head.previous = None),
            message(&|head| head.anchor = Some(link(5))),
            message(&|head| head.wraps = Hash::ZERO),
            head().message(AnchorState::Retired),
        ] {
            assert_ne!(other, same);
        }
        let counts = |wraps: &[(u8, u64)]| {
            hash_of_wraps(&wraps.iter().map(|(id, count)| (Id::from_bytes([*id; 16]), *count)).collect())
        };
        assert_ne!(counts(&[(1, 1)]), counts(&[(1, 2)]));
        assert_ne!(counts(&[(1, 1)]), counts(&[(2, 1)]));
        assert_ne!(counts(&[]), counts(&[(1, 0)]));
    }
}
