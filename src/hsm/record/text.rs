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

#[cfg(test)]
mod tests {
    use super::super::merge_history;
    use super::*;
    use crate::key::{DestroyedVersion, KekId, KeyVersion};
    use proptest::prelude::*;

    fn sample() -> Record {
        let kek_id = KekId::from_bytes([3; 16]);
        let canary =
            WrappedKey::new(crate::WrapOccasion::Generation, WrappingAlgorithm::AesKw, kek_id, vec![], vec![5; 72])
                .unwrap();
        let key = KeyMetadata {
            uid: [7; 16],
            purpose: Purpose::Envelope,
            highest_version: KeyVersion::FIRST,
            gate: Gate::Enabled,
            destroyed: Vec::new(),
            kept: Vec::new(),
        };
        let record = Record::new(kek_id, WrappingAlgorithm::AesKw, Provenance::Generated, key);
        Record { canary: Some(canary), ..record }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A version, a `KekId`, and a time.
    fn destroyed() -> impl Strategy<Value = DestroyedVersion> {
        (1..=u32::MAX, any::<[u8; 16]>(), 0..=u64::from(u32::MAX)).prop_map(|(version, id, seconds)| DestroyedVersion {
            version: version.to_string().parse().unwrap(),
            kek_id: KekId::from_bytes(id),
            destroyed: at(seconds),
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        let algorithm = prop::sample::select(vec![
            WrappingAlgorithm::AesGcm,
            WrappingAlgorithm::AesKw,
            WrappingAlgorithm::RsaOaep,
            WrappingAlgorithm::RsaOaepSha1,
        ]);
        let provenance = prop::sample::select(
            Provenance::ALL.into_iter().filter(|one| *one != Provenance::Foreign).collect::<Vec<_>>(),
        );
        // Names of fields that are only kept: no field of this version begins with an x.
        let kept = prop::collection::btree_map("x[a-z0-9-]{0,20}", "[!-~ü]([ -~ü]{0,40}[!-~ü])?", 0..8);
        let dates = (0..=u64::from(u32::MAX), prop::option::of(0..=u64::from(u32::MAX)));
        let whole = (
            any::<[u8; 16]>(),
            prop::sample::select(Purpose::ALL.to_vec()),
            1..=u32::MAX,
            prop::sample::select(Gate::ALL.to_vec()),
            prop::collection::vec(destroyed(), 0..60),
            kept,
        );
        (any::<[u8; 16]>(), algorithm, provenance, dates, any::<bool>(), whole).prop_map(
            |(id, algorithm, provenance, (created, destroy_after), finished, whole)| {
                let (uid, purpose, highest, gate, history, kept) = whole;
                let mut key = KeyMetadata {
                    uid,
                    purpose,
                    highest_version: highest.to_string().parse().unwrap(),
                    gate,
                    destroyed: Vec::new(),
                    kept: kept.into_iter().collect(),
                };
                merge_history(&mut key.destroyed, &history);
                Record {
                    kek_id: KekId::from_bytes(id),
                    algorithm,
                    provenance,
                    created: at(created),
                    destroy_after: destroy_after.map(at),
                    canary: sample().canary.filter(|_| finished),
                    key,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_record_comes_back_from_its_text(record in record()) {
            prop_assert_eq!(Record::parse(record.to_text().as_bytes()), Ok(record));
        }

        #[test]
        fn any_order_of_the_fields_is_one_record(record in record(), seed in any::<u64>()) {
            let text = record.to_text();
            let mut lines: Vec<_> = text.lines().skip(1).collect();
            // Known fields anywhere; those that are kept keep their order.
            lines.sort_by_key(|line| if line.starts_with('x') { 0 } else { seed.rotate_left(line.len() as u32) % 97 + 1 });
            let shuffled = format!("{KIND} {VERSION}\n{}\n", lines.join("\n"));
            prop_assert_eq!(Record::parse(shuffled.as_bytes()), Ok(record));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            record in record(),
            cut in 0..1000_usize,
        ) {
            let _ = Record::parse(&bytes);
            let _ = Record::parse(&[format!("{KIND} {VERSION}\n").as_bytes(), &bytes].concat());
            let mut text = record.to_text().into_bytes();
            let cut = cut % text.len();
            text.splice(cut..cut, bytes.iter().copied().take(3));
            let _ = Record::parse(&text);
            text.truncate(cut);
            // What is cut off is never taken for a whole.
            prop_assert_eq!(Record::parse(text.strip_suffix(b"\n").unwrap_or(&text)), Err(Unreadable::Damaged));
        }
    }

    #[test]
    fn a_record_of_another_version_is_told_apart() {
        let good = sample().to_text();
        let other = |version: &str| Record::parse(good.replace("record 2", version).as_bytes());
        assert_eq!(other("record 3"), Err(Unreadable::Newer));
        assert_eq!(other("record 1"), Err(Unreadable::Damaged));
        assert_eq!(other("record 02"), Err(Unreadable::Damaged));
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sample().to_text();
        assert!(Record::parse(good.as_bytes()).is_ok());
        for bad in [
            String::new(),
            format!("{KIND} {VERSION}\n"),
            good.replace("provenance generated", "provenance foreign"),
            good.replace("aes-kw", "rot13"),
            good.replace("aes-kw", "customer-key"),
            good.replace("usage wrap-unwrap", "usage encrypt-decrypt"),
            good.replace("usage wrap-unwrap\n", ""),
            good.replace("created ", "created -"),
            good.replace("created ", "created +"),
            good.replace("created ", "created 0"),
            good.replace("canary ", "destroy-after never\ncanary "),
            good.replace("canary ", "destroy-after 1\ndestroy-after 1\ncanary "),
            good.replace("canary 01", "canary 0"),
            good.replace("canary 01", "canary zz"),
            good.replace("uid 07", "uid "),
            good.replace("purpose envelope", "purpose other"),
            good.replace("highest-version 1", "highest-version 0"),
            good.replace("gate enabled", "gate Enabled"),
            format!("{good}destroyed 1\n"),
            format!("{good}more\n"),
            good.trim_end().to_owned(),
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), Err(Unreadable::Damaged), "{bad}");
        }
    }

    #[test]
    fn every_field_that_must_be_there_is_missed() {
        let good = sample().to_text();
        for line in good.lines().skip(1).filter(|line| !line.starts_with("canary ")) {
            let without = good.replace(&format!("{line}\n"), "");
            assert_eq!(Record::parse(without.as_bytes()), Err(Unreadable::Damaged), "{line}");
        }
    }
}
