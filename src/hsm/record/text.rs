//! A record as text, and back.

use super::fields::{Fields, Unreadable, decimal};
use super::history::{format_history, parse_history};
use super::{Gate, KeyMetadata, Purpose, Record, from_hex};
use crate::key::{Provenance, WrappedKey, WrappingAlgorithm};
use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the first line of a record begins with.
pub(super) const KIND: &str = "keyward-key-record";
const VERSION: u32 = 2;

impl Record {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{KIND} {VERSION}\n");
        let mut field = |name: &str, value: &dyn Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {value}");
        };
        field("kek-id", &self.kek_id);
        field("algorithm", &self.algorithm);
        field("usage", &usage(self.algorithm));
        field("provenance", &self.provenance);
        field("created", &seconds(self.created));
        if let Some(date) = self.destroy_after {
            field("destroy-after", &seconds(date));
        }
        if let Some(canary) = &self.canary {
            field("canary", &hex(&canary.to_bytes()));
        }
        let KeyMetadata { uid, purpose, highest_version, gate, destroyed, kept } = &self.key;
        field("uid", &hex(uid));
        field("purpose", &purpose.name());
        field("highest-version", highest_version);
        field("gate", &gate.name());
        if !destroyed.is_empty() {
            field("destroyed", &format_history(destroyed));
        }
        kept.iter().for_each(|(name, value)| field(name, value));
        text
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        let fields = Fields::parse(KIND, VERSION, text)?;
        Self::from_fields(fields).ok_or(Unreadable::Damaged)
    }

    fn from_fields(mut fields: Fields) -> Option<Self> {
        let kek_id = fields.take("kek-id")?.parse().ok()?;
        let algorithm: WrappingAlgorithm = fields.take("algorithm")?.parse().ok()?;
        let provenance: Provenance = fields.take("provenance")?.parse().ok()?;
        let is_use_known = algorithm != WrappingAlgorithm::CustomerKey && fields.take("usage")? == usage(algorithm);
        // The record of a key that nothing is recorded about is none.
        if !is_use_known || provenance == Provenance::Foreign {
            return None;
        }
        let created = time(&fields.take("created")?)?;
        let destroy_after = optional(fields.take("destroy-after"), |date| time(&date))?;
        let canary = optional(fields.take("canary"), |canary| WrappedKey::parse(&from_hex(&canary)?).ok())?;
        let uid = from_hex(&fields.take("uid")?)?.try_into().ok()?;
        let name = fields.take("purpose")?;
        let purpose = Purpose::ALL.into_iter().find(|one| one.name() == name)?;
        let highest_version = fields.take("highest-version")?.parse().ok()?;
        let name = fields.take("gate")?;
        let gate = Gate::ALL.into_iter().find(|one| one.name() == name)?;
        let destroyed = optional(fields.take("destroyed"), |history| parse_history(&history))?.unwrap_or_default();
        let key = KeyMetadata { uid, purpose, highest_version, gate, destroyed, kept: fields.rest() };
        Some(Self { kek_id, algorithm, provenance, created, destroy_after, canary, key })
    }
}

/// What a key of this algorithm is for. It is recorded, because the attributes that say so change with the key's state.
fn usage(algorithm: WrappingAlgorithm) -> &'static str {
    match algorithm {
        WrappingAlgorithm::AesGcm => "encrypt-decrypt",
        WrappingAlgorithm::AesKw => "wrap-unwrap",
        // A host encrypts, with the public half.
        WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 | WrappingAlgorithm::CustomerKey => "decrypt",
    }
}

/// The parsed value of a field that need not be there; `None` if it is there and does not parse.
#[allow(clippy::option_option, reason = "absent and wrong are two answers")]
fn optional<T>(value: Option<String>, parse: impl FnOnce(String) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => parse(value).map(Some),
    }
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Parses a time: whole seconds since 1970 as decimal digits.
pub(super) fn time(seconds: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(decimal(seconds)?))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
