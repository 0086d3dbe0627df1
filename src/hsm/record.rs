//! The record beside each key version: a private data object, because PKCS#11 has no creation time
//! and dates on private objects cannot be read back from every token.
//!
//! Its value is text, a line for each field, so that an operator can read it with any tool. `docs/tokens.md` has the
//! table of the fields:
//!
//! ```text
//! keyward-key-record 2
//! kek-id 000102030405060708090a0b0c0d0e0f
//! algorithm aes-gcm
//! usage encrypt-decrypt
//! provenance generated
//! created 1767225600
//! destroy-after 1769817600
//! canary 0101…
//! uid 101112131415161718191a1b1c1d1e1f
//! purpose envelope
//! highest-version 3
//! gate enabled
//! ```
//!
//! A record without a canary is that of a key that is still being made. What belongs to the whole key
//! ([`KeyMetadata`]) stands in the record of its newest version. Changing a record means writing a new one and then
//! destroying the old.

mod fields;
mod history;
mod store;
mod text;

use crate::error::Result;
use crate::key::{DestroyedVersion, KekId, KeyVersion, Provenance, WrappedKey, WrappingAlgorithm};
use crate::token::Session;
pub(super) use fields::{Fields, Unreadable};
pub(super) use history::{format_history, merge_history, parse_history};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
pub(super) use store::{DataObject, Place, RecordLookup, data_objects, destroy_object, keeps_no_records, write_object};

/// What is recorded about one key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kek_id: KekId,
    pub(super) algorithm: WrappingAlgorithm,
    pub(super) provenance: Provenance,
    pub(super) created: SystemTime,
    /// When the key may be destroyed, if that is scheduled.
    pub(super) destroy_after: Option<SystemTime>,
    /// A wrapped key that the key must be able to unwrap; `None` while it is being made.
    pub(super) canary: Option<WrappedKey>,
    /// What belongs to the whole key, as far as this version knows.
    pub(super) key: KeyMetadata,
}

/// What belongs to a whole key. The newest version's record decides; a rotation copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyMetadata {
    /// The identity of the key: random, the same for all versions, and another if the name is used again.
    pub(super) uid: [u8; 16],
    pub(super) purpose: Purpose,
    /// The highest version number that was ever used.
    pub(super) highest_version: KeyVersion,
    pub(super) gate: Gate,
    /// The versions that were destroyed, as far as they are known.
    pub(super) destroyed: Vec<DestroyedVersion>,
    /// Fields that are only kept: `rotate-every`, `description`, `tags`, `aliases`, `policy`, `grants`, and every
    /// field that this Keyward does not know.
    pub(super) kept: Vec<(String, String)>,
}

/// What a key serves. Nothing but envelopes uses keys of the purpose `Envelope`, and envelopes use no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Envelope,
    Xks,
    Mac,
}

/// Whether the whole key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Enabled,
    Disabled,
    PendingDeletion,
}

impl Record {
    /// Returns the record of a key that begins to exist now.
    pub(super) fn new(kek_id: KekId, algorithm: WrappingAlgorithm, provenance: Provenance, key: KeyMetadata) -> Self {
        Self { kek_id, algorithm, provenance, created: now(), destroy_after: None, canary: None, key }
    }
}

impl KeyMetadata {
    /// Returns the metadata of a key that did not exist before.
    pub(super) fn new(session: &Session<'_>, highest_version: KeyVersion) -> Result<Self> {
        let mut uid = [0; 16];
        session.random(&mut uid)?;
        Ok(Self {
            uid,
            purpose: Purpose::Envelope,
            highest_version,
            gate: Gate::Enabled,
            destroyed: Vec::new(),
            kept: Vec::new(),
        })
    }

    /// Takes over from `newer` what an operator changes; numbers and history only grow.
    pub(super) fn follow(&mut self, newer: &Self) {
        let mut followed = newer.clone();
        followed.merge_numbers(self);
        *self = followed;
    }

    /// Adds the numbers and the history that `other` knows.
    pub(super) fn merge_numbers(&mut self, other: &Self) {
        self.highest_version = self.highest_version.max(other.highest_version);
        merge_history(&mut self.destroyed, &other.destroyed);
    }

    /// Returns why envelopes must not use the key, if they must not.
    pub(super) fn problem(&self) -> Option<String> {
        match (self.purpose, self.gate) {
            (Purpose::Envelope, Gate::Enabled) => None,
            (Purpose::Envelope, gate) => Some(format!("its record says that the whole key is {}", gate.name())),
            (purpose, _) => Some(format!("its record says that it is for {}, not for envelopes", purpose.name())),
        }
    }
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Envelope, Self::Xks, Self::Mac];

    fn name(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Xks => "xks",
            Self::Mac => "mac",
        }
    }
}

impl Gate {
    const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::PendingDeletion];

    fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::PendingDeletion => "pending-deletion",
        }
    }
}

/// Returns the current time in whole seconds: what is read back is what was written.
pub(super) fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
