//! One line of a log: what it says, and its place in the chain (`docs/audit.md`, "A line").

use super::hash::{Hash, Id};
use super::head::Link;
use super::name::LogName;
use super::sealed::{self, Content};
pub(super) use super::sealed::{now, parse_time, system_time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format, as the first line of a log has it.
pub(super) const FORMAT: u32 = 1;

/// A line of a log.
pub type Line = sealed::Line<Entry>;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Entry {
    /// The first line of a log.
    Begin {
        /// The version of the format.
        format: u32,
        /// The log's id, which is random.
        log: Id,
        /// The log's name.
        name: LogName,
        /// The anchor with which the log before it was retired, if it is the successor of one.
        #[serde(skip_serializing_if = "Option::is_none")]
        retired: Option<String>,
    },
    /// Something is about to be asked of a key. It was on the disk before it was asked.
    Intent {
        /// Joins the outcome to it.
        request: Id,
        /// Who asks.
        principal: String,
        /// For what: the name of an [`Operation`](crate::key::Operation).
        operation: String,
        /// Of which keys.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<LineKey>,
        /// Under which encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, String>,
        /// The KEK ids that this is an AES-GCM wrap under.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wraps: Vec<Id>,
    },
    /// What came of it.
    Outcome {
        /// That of the intent.
        request: Id,
        /// How it ended.
        outcome: Ended,
        /// The kind of error, where it failed. Never the message: what is in it is not ours to vouch for.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The keys that the operation turned out to be about, where the intent could not know them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<LineKey>,
    },
    /// Something that was not let through: nothing was asked of a key.
    Refused {
        /// An id of its own.
        request: Id,
        /// Who asked.
        principal: String,
        /// For what.
        operation: String,
        /// Of which keys.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<LineKey>,
        /// Under which encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, String>,
        /// The kind of error that the refusal was.
        error: String,
    },
    /// The state of the log after some line before this one, and its signature.
    Head {
        /// The line whose state it is.
        count: u64,
        /// That line's hash.
        head: Hash,
        /// The AES-GCM wraps up to there, by KEK id.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        wraps: BTreeMap<Id, u64>,
        /// The signed head before it.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Link>,
        /// The log's anchor on the token when this was signed.
        #[serde(skip_serializing_if = "Option::is_none")]
        anchor: Option<Link>,
        /// The id of the key that signed it; none if no token answered or the log is not signed.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Id>,
        /// The signature, `r ‖ s`, in base64.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// Closes what a process that was killed had begun to write: the bytes before this line.
    Torn {
        /// How many bytes.
        length: u64,
        /// Their hash.
        sha256: Hash,
    },
    /// The first line of a file that is not the first.
    Continued {
        /// The log's id.
        log: Id,
        /// The log's name.
        name: LogName,
        /// The anchor with which the log before it was retired, if it is the successor of one.
        #[serde(skip_serializing_if = "Option::is_none")]
        retired: Option<String>,
        /// The name of the file before.
        file: String,
        /// The AES-GCM wraps up to here, by KEK id.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        wraps: BTreeMap<Id, u64>,
    },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It was done.
    Ok,
    /// It failed.
    Failed,
    /// Whoever did it never said. It may have been done.
    Unknown,
}

impl Ended {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A key in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LineKey {
    /// The KEK id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// The name, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Content for Entry {
    const DOMAIN: &'static [u8] = b"keyward.audit.v1\0";
}

impl Line {
    /// The AES-GCM wraps that it stands for.
    pub(super) fn wraps(&self) -> &[Id] {
        match &self.entry {
            Entry::Intent { wraps, .. } => wraps,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(entry: Entry) -> Line {
        Line::new(7, "2026-01-31T08:15:00.123456Z".into(), entry, "db1".into(), 42, Hash::ZERO)
    }

    fn unsigned_head(count: u64, head: Hash) -> Entry {
        Entry::Head { count, head, wraps: BTreeMap::new(), previous: None, anchor: None, key: None, signature: None }
    }

    #[test]
    fn a_line_is_these_bytes() {
        let begin =
            line(Entry::Begin { format: 1, log: Id::from_bytes([1; 16]), name: "db1".parse().unwrap(), retired: None });
        let text = String::from_utf8(begin.to_bytes()).unwrap();
        let zeros = "0".repeat(64);
        let body = format!(
            "{{\"seq\":7,\"time\":\"2026-01-31T08:15:00.123456Z\",\"kind\":\"begin\",\"format\":1,\
             \"log\":\"01010101010101010101010101010101\",\"name\":\"db1\",\"host\":\"db1\",\"pid\":42,\"prev\":\"{zeros}\""
        );
        let hash = Hash::of(&[b"keyward.audit.v1\0", body.as_bytes()]);
        assert_eq!(text, format!("{body},\"hash\":\"{hash}\"}}"));
        assert_eq!(Line::parse(text.as_bytes()), Some(begin));
    }

    #[test]
    fn every_kind_comes_back() {
        let (id, hash) = (Id::from_bytes([2; 16]), Hash::from_bytes([3; 32]));
        let keys = vec![LineKey { id: Some(id), name: Some("a".into()), version: Some(2) }, LineKey::default()];
        let context = BTreeMap::from([("tenant \"é\"\u{7}".to_owned(), "ac\nme".to_owned())]);
        let wraps = BTreeMap::from([(id, 9)]);
        let text = || "text".to_owned();
        for entry in [
            Entry::Intent {
                request: id,
                principal: text(),
                operation: text(),
                keys: keys.clone(),
                context: context.clone(),
                wraps: vec![id],
            },
            Entry::Outcome { request: id, outcome: Ended::Failed, error: Some(text()), keys: keys.clone() },
            Entry::Outcome { request: id, outcome: Ended::Unknown, error: None, keys: Vec::new() },
            Entry::Refused { request: id, principal: text(), operation: text(), keys, context, error: text() },
            Entry::Head {
                count: 6,
                head: hash,
                wraps: wraps.clone(),
                previous: Some(Link { count: 3, head: hash }),
                anchor: Some(Link { count: u64::MAX, head: hash }),
                key: Some(id),
                signature: Some(text()),
            },
            unsigned_head(6, hash),
            Entry::Begin { format: 1, log: id, name: "db1".parse().unwrap(), retired: Some(text()) },
            Entry::Torn { length: 3, sha256: hash },
            Entry::Continued { log: id, name: "db1".parse().unwrap(), retired: Some(text()), file: text(), wraps },
        ] {
            let line = line(entry);
            assert_eq!(Line::parse(&line.to_bytes()), Some(line));
        }
    }

    #[test]
    fn another_spelling_is_no_line() {
        let good = line(unsigned_head(1, Hash::ZERO)).to_bytes();
        assert!(Line::parse(&good).is_some());
        let good = String::from_utf8(good).unwrap();
        let rehashed = |text: &str| {
            let body = &text.as_bytes()[..text.len() - sealed::TAIL];
            let hash = Hash::of(&[Entry::DOMAIN, body]);
            let text = [body, format!(",\"hash\":\"{hash}\"}}").as_bytes()].concat();
            Line::parse(&text)
        };
        assert!(rehashed(&good).is_some());
        for (from, to) in [
            ("\"pid\":42", "\"pid\": 42"),
            ("\"pid\":42", "\"pid\":42,\"more\":1"),
            ("\"pid\":42", "\"pid\":42,\"pid\":42"),
            ("\"count\":1", "\"count\":1,\"format\":1"),
            ("db1", "\\u0064b1"),
            ("08:15:00.123456Z", "08:15:00.1234560Z"),
            ("08:15:00.123456Z", "08:15:00.123456+00:00"),
            ("\"kind\":\"head\"", "\"kind\":\"HEAD\""),
        ] {
            assert!(good.contains(from));
            assert_eq!(rehashed(&good.replace(from, to)), None, "{to}");
        }
        for cut in 0..good.len() {
            assert_eq!(Line::parse(&good.as_bytes()[..cut]), None);
        }
    }
}
