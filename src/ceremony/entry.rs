//! What the lines of a transcript say.

use super::name::Name;
use super::step::StepId;
use crate::audit::{Hash, Id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a line of a transcript says. No secret is ever part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Entry {
    /// The first line: which plan is run by what.
    Begun {
        /// The version of the format, that of the plan.
        format: u32,
        /// What the plan calls the ceremony.
        ceremony: Name,
        /// The SHA-256 hash of the plan's text.
        plan: Hash,
        /// The run's id, which is random.
        run: Id,
        /// The version of the program.
        tool: String,
        /// Whether it is a rehearsal: its keys are worth nothing.
        rehearsal: bool,
    },
    /// A step is about to be done. This was on the disk before it was.
    Intent {
        /// Which.
        step: StepId,
        /// Who confirmed it.
        confirmed_by: Name,
    },
    /// What came of it.
    Outcome {
        /// Of which step.
        step: StepId,
        /// How it ended.
        outcome: Outcome,
        /// The kind of error, where it failed. Never the message: what is in it is not ours to vouch for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// What was seen.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        facts: Vec<Fact>,
    },
    /// Something was not as expected, and people decided what to do.
    Exception {
        /// At which step, where it was at one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// What was expected.
        expected: String,
        /// What happened.
        happened: String,
        /// What was decided.
        decision: Decision,
        /// Why.
        reason: String,
        /// By whom.
        by: Name,
    },
    /// Custodians put the PIN of a token together again.
    Unlocked {
        /// The token.
        token: Name,
        /// Who.
        custodians: Vec<Name>,
        /// The digests of their shares.
        digests: Vec<Hash>,
    },
    /// The run was interrupted, and goes on.
    Resumed {
        /// The version of the program.
        tool: String,
        /// What the interrupted run had begun to write, which was cut off: how many bytes.
        #[serde(default, skip_serializing_if = "is_zero")]
        torn_bytes: u64,
        /// Their hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        torn_sha256: Option<Hash>,
    },
    /// The clock of the host went backwards, and people decided that the run goes on.
    Clock {
        /// The time of the line before.
        was: String,
        /// Why.
        reason: String,
        /// By whom.
        by: Name,
    },
    /// The last line: every step is done.
    Closed {},
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It failed.
    Failed,
}

impl Outcome {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// What people decide where something is not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Decision {
    /// The step is done again.
    Again,
    /// What differs from the plan is accepted. It says so in every report, and `verify` lists it.
    Accepted,
    /// The ceremony ends here.
    Stopped,
}

impl Decision {
    /// As a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Accepted => "accepted",
            Self::Stopped => "stopped",
        }
    }
}

/// Something that was seen in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fact {
    /// The host.
    Host {
        /// The SHA-256 hash of the running program.
        tool_sha256: Hash,
        /// The modules.
        modules: Vec<ModuleFact>,
        /// Whether memory may be swapped out to a disk.
        swap: bool,
        /// Whether a crash may leave a core dump.
        core_dumps: bool,
        /// Whether a network interface is up.
        network: bool,
    },
    /// The libraries that are mapped into the program, and were not recorded before. From format 2 on.
    Libraries {
        /// Their files.
        files: Vec<ModuleFact>,
    },
    /// A token, as it describes itself.
    Token {
        /// What the plan calls it.
        token: Name,
        /// The serial number.
        serial: String,
        /// The label.
        label: String,
        /// The manufacturer.
        manufacturer: String,
        /// The model.
        model: String,
        /// The version of the firmware.
        firmware: String,
        /// Bytes of the token's generator, on which the ids of its keys depend; of a token that is initialized later,
        /// none. From format 2 on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        random: Option<Id>,
    },
    /// A share of a PIN that was handed out and typed back.
    Share {
        /// Which one, from 1.
        index: u8,
        /// How many open the PIN together.
        threshold: u8,
        /// How many there are.
        shares: u8,
        /// Its digest, which says nothing about the PIN ([`shares::Share::digest`](super::shares::Share::digest)).
        digest: Hash,
    },
    /// The PIN was put together from shares before it was set.
    Recombined {
        /// The digests of the shares.
        digests: Vec<Hash>,
    },
    /// A component of a key that was typed.
    Component {
        /// Which one, from 1.
        index: u8,
        /// Its check value, in hexadecimal digits.
        check_value: String,
    },
    /// A key, as its token shows it.
    Key {
        /// The token.
        token: Name,
        /// Its label.
        label: String,
        /// Its `CKA_ID`.
        id: Id,
        /// What it wraps with.
        algorithm: String,
        /// Its attributes that are true or false, by their names in the standard: `CKA_SENSITIVE`.
        attributes: BTreeMap<String, bool>,
        /// Its check value, in hexadecimal digits, where the token has one. It may be too short to tell keys apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check_value: Option<String>,
        /// The SHA-256 hash of its public half in PEM, a file in `keys/`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<Hash>,
    },
    /// A key was wrapped on its token for another one, which unwrapped it.
    Exported {
        /// The token that it came to.
        token: Name,
        /// The `CKA_ID` that it has on both.
        id: Id,
        /// What it was wrapped with.
        mechanism: String,
        /// The fingerprint of the key under which it was wrapped, whose private half is on that token: SHA-256 of its
        /// `SubjectPublicKeyInfo`.
        fingerprint: String,
        /// The security officer who said that this is the one.
        trusted_by: Name,
    },
    /// A data key that a key wrapped and unwrapped again.
    Canary {
        /// The token.
        token: Name,
        /// The key's `CKA_ID`.
        id: Id,
        /// The wrapped data key, in hexadecimal digits.
        wrapped: String,
        /// A hash of the data key, which is used for nothing else.
        digest: Hash,
    },
    /// The data key of the canary, as the second token opened it alone.
    Restored {
        /// The second token.
        token: Name,
        /// The `CKA_ID` of the key that opened it.
        id: Id,
        /// A hash of what came out.
        digest: Hash,
    },
    /// A key that was destroyed.
    Destroyed {
        /// The token.
        token: Name,
        /// The key's label.
        label: String,
        /// Its `CKA_ID`.
        id: Id,
        /// How many objects the search for its label and id found afterwards.
        found: u32,
    },
    /// All objects that a user sees on a token.
    Inventory {
        /// The token.
        token: Name,
        /// They.
        objects: Vec<ObjectFact>,
    },
    /// Anything else worth telling.
    Note {
        /// A sentence.
        text: String,
    },
}

/// A file with code: a module, or a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleFact {
    /// Where it is.
    pub path: String,
    /// Its SHA-256 hash.
    pub sha256: Hash,
}

impl ModuleFact {
    /// Returns the fact that a file has this hash.
    #[must_use]
    pub fn new(path: impl Into<String>, sha256: Hash) -> Self {
        Self { path: path.into(), sha256 }
    }
}

/// An object on a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectFact {
    /// Its class: `secret-key`, `private-key`, `public-key`, `certificate`, `data` or `other`.
    pub class: String,
    /// Its label; what is not text in it is replaced.
    pub label: String,
    /// Its `CKA_ID`, in hexadecimal digits; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Whether it is a key that could leave the token, or of which the token does not say that it cannot.
    #[serde(default, skip_serializing_if = "is_false")]
    pub extractable: bool,
}

impl ObjectFact {
    /// Returns an object without a `CKA_ID` that cannot leave the token.
    #[must_use]
    pub fn new(class: impl Into<String>, label: impl Into<String>) -> Self {
        Self { class: class.into(), label: label.into(), id: String::new(), extractable: false }
    }
}
