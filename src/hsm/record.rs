//! The record beside each key version: a private data object, because PKCS#11 has no creation time
//! and dates on private objects cannot be read back from every token.
//!
//! Its value is text, a line for each field, so that an operator can read it with any tool:
//!
//! ```text
//! keyward-key-record 1
//! kek-id 000102030405060708090a0b0c0d0e0f
//! algorithm aes-gcm
//! provenance generated
//! created 1767225600
//! destroy-after 1769817600
//! canary 0101…
//! ```
//!
//! The line `destroy-after` is there where a destruction is scheduled. A record without a canary is that of a key that is still being made. Changing a record means
//! writing a new one and then destroying the old.

use super::template;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, Provenance, WrappedKey, WrappingAlgorithm};
use crate::token::{Attribute, AttributeType, ObjectHandle, Session};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is recorded about one key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kek_id: KekId,
    pub(super) algorithm: WrappingAlgorithm,
    pub(super) provenance: Provenance,
    pub(super) created: SystemTime,
    /// When the key may be destroyed, where that is scheduled.
    pub(super) destroy_after: Option<SystemTime>,
    /// A wrapped key that the key must be able to unwrap; none while it is being made.
    pub(super) canary: Option<WrappedKey>,
}

/// A record where it stands.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) label: String,
    pub(super) record: Option<Record>,
}

/// What all versions of a record begin with.
const KIND: &[u8] = b"keyward-key-record ";
const FIRST_LINE: &str = "keyward-key-record 1";

impl Record {
    /// The record of a key that begins to exist now.
    pub(super) fn new(kek_id: KekId, algorithm: WrappingAlgorithm, provenance: Provenance) -> Self {
        // Whole seconds: what is read back is what was written.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let created = UNIX_EPOCH + Duration::from_secs(now);
        Self { kek_id, algorithm, provenance, created, destroy_after: None, canary: None }
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\nkek-id {}\nalgorithm {}\nprovenance {}\ncreated {}\n",
            self.kek_id,
            self.algorithm,
            self.provenance,
            whole_seconds(self.created)
        );
        if let Some(date) = self.destroy_after {
            let _ = writeln!(text, "destroy-after {}", whole_seconds(date));
        }
        if let Some(canary) = &self.canary {
            text.push_str("canary ");
            for byte in canary.to_bytes() {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let kek_id = field("kek-id")?.parse().ok()?;
        let algorithm = field("algorithm")?.parse().ok()?;
        // A record of a key that nothing is recorded about is none.
        let provenance = field("provenance")?.parse().ok().filter(|known| *known != Provenance::Foreign)?;
        let created = time(field("created")?)?;
        let mut line = lines.next();
        let mut destroy_after = None;
        if let Some(date) = line.and_then(|line| line.strip_prefix("destroy-after ")) {
            destroy_after = Some(time(date)?);
            line = lines.next();
        }
        let canary = match line {
            None => None,
            Some(line) => Some(WrappedKey::parse(&from_hex(line.strip_prefix("canary ")?)?).ok()?),
        };
        lines.next().is_none().then_some(Self { kek_id, algorithm, provenance, created, destroy_after, canary })
    }

    /// Writes the record and then destroys those of the same key that were there before.
    pub(super) fn write(&self, session: &Session<'_>, label: &str) -> Result<()> {
        let before = handles(session, self.kek_id, label)?;
        let mut template = template::data(Some(label));
        template.push(Attribute::Value(self.to_text().into_bytes()));
        session.create_object(template)?;
        for old in before {
            // The new one goes before it.
            if let Err(error) = session.destroy_object(old) {
                tracing::warn!(label, %error, "an old record stays on the token beside the new one");
            }
        }
        Ok(())
    }

    /// The record of the key with this label: a finished one where there is one.
    ///
    /// Two are there where a change was interrupted, or two made one at once. Then a destruction is
    /// scheduled only if both say so, and for the later date: what is in doubt is not destroyed.
    pub(super) fn find(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<Option<Self>> {
        let records = scan(session, label)?.into_iter().map(|(_, record)| record);
        Ok(records.filter(|record| record.kek_id == kek_id).max_by_key(Self::weight))
    }

    /// Destroys what an interrupted change left beside the finished record of a key: that it was not finished.
    pub(super) fn destroy_pending(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<()> {
        let mut records = scan(session, label)?;
        records.retain(|(_, record)| record.kek_id == kek_id);
        if !records.iter().any(|(_, record)| record.canary.is_some()) {
            return Ok(());
        }
        records.retain(|(_, record)| record.canary.is_none());
        records.into_iter().try_for_each(|(handle, _)| session.destroy_object(handle))
    }

    fn weight(&self) -> (bool, bool, Option<SystemTime>) {
        (self.canary.is_some(), self.destroy_after.is_none(), self.destroy_after)
    }

    /// All records on the token; none for one that cannot be read.
    pub(super) fn all(session: &Session<'_>) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for handle in search(session, None)? {
            let Some(shown) = session.attributes(handle, &[AttributeType::Label, AttributeType::Value])? else {
                continue;
            };
            // The audit log's objects say what they are, too.
            let of_another_kind = |value: &[u8]| value.starts_with(b"keyward-") && !value.starts_with(KIND);
            if shown.bytes(Attribute::Value).is_some_and(of_another_kind) {
                continue;
            }
            let label = String::from_utf8_lossy(shown.bytes(Attribute::Label).unwrap_or_default()).into_owned();
            places.push(Place { label, record: shown.bytes(Attribute::Value).and_then(Self::parse) });
        }
        Ok(places)
    }

    /// Destroys all records of one key.
    pub(super) fn destroy(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<()> {
        for handle in handles(session, kek_id, label)? {
            match session.destroy_object(handle) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
                answer => answer?,
            }
        }
        Ok(())
    }
}

fn handles(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<Vec<ObjectHandle>> {
    let mine = scan(session, label)?.into_iter().filter(|(_, record)| record.kek_id == kek_id);
    Ok(mine.map(|(handle, _)| handle).collect())
}

/// The record objects, of one label or of any.
fn search(session: &Session<'_>, label: Option<&str>) -> Result<Vec<ObjectHandle>> {
    match session.find(&template::data(label)) {
        // A token that knows no data objects may refuse the question.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Vec::new()),
        answer => answer,
    }
}

fn scan(session: &Session<'_>, label: &str) -> Result<Vec<(ObjectHandle, Record)>> {
    // A record that is gone before it was read was just replaced by another, which the search that found
    // the first did not see: without it the key would look as if it had no record at all.
    const ATTEMPTS: u32 = 10;
    let mut records = Vec::new();
    for _ in 0..ATTEMPTS {
        records.clear();
        let mut gone = false;
        for handle in search(session, Some(label))? {
            match session.attributes(handle, &[AttributeType::Value])? {
                None => gone = true,
                Some(shown) => match shown.bytes(Attribute::Value).and_then(Record::parse) {
                    Some(record) => records.push((handle, record)),
                    None => tracing::warn!(label, "a record on the token cannot be read; it is passed over"),
                },
            }
        }
        if !gone {
            break;
        }
    }
    Ok(records)
}

/// Whether writing a record failed because the token keeps no data objects.
pub(super) fn no_data_objects(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time in seconds, as it is written: digits alone.
fn time(seconds: &str) -> Option<SystemTime> {
    let digits = seconds.bytes().all(|b| b.is_ascii_digit());
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok().filter(|_| digits)?))
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let kek_id = KekId::from_bytes([3; 16]);
        let canary =
            WrappedKey::new(crate::WrapOccasion::Generation, WrappingAlgorithm::AesKw, kek_id, vec![], vec![5; 72])
                .unwrap();
        let record = Record::new(kek_id, WrappingAlgorithm::AesKw, Provenance::Generated);
        Record { canary: Some(canary), ..record }
    }

    #[test]
    fn a_record_comes_back() {
        let finished = sample();
        assert_eq!(Record::parse(finished.to_text().as_bytes()), Some(finished.clone()));
        let pending = Record { canary: None, ..finished };
        assert_eq!(Record::parse(pending.to_text().as_bytes()), Some(pending));
    }

    #[test]
    fn a_date_of_destruction_comes_back() {
        let dated = Record { destroy_after: Some(UNIX_EPOCH + Duration::from_secs(1_769_817_600)), ..sample() };
        assert!(dated.to_text().contains("\ndestroy-after 1769817600\ncanary "), "{}", dated.to_text());
        assert_eq!(Record::parse(dated.to_text().as_bytes()), Some(dated));
    }

    #[test]
    fn of_two_records_the_one_that_destroys_later_or_never_counts() {
        let at = |seconds| Record { destroy_after: Some(UNIX_EPOCH + Duration::from_secs(seconds)), ..sample() };
        let pending = Record { canary: None, ..sample() };
        let order = [pending, at(1), at(2), sample()];
        for pair in order.windows(2) {
            assert!(pair[0].weight() < pair[1].weight(), "{pair:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sample().to_text();
        for bad in [
            "",
            "keyward-key-record 1\n",
            &good.replace("record 1", "record 2"),
            &good.replace("generated", "foreign"),
            &good.replace("aes-kw", "rot13"),
            &good.replace("created ", "created -"),
            &good.replace("created ", "created +"),
            &good.replace("canary ", "destroy-after\ncanary "),
            &good.replace("canary ", "destroy-after never\ncanary "),
            &good.replace("canary ", "destroy-after 1\ndestroy-after 1\ncanary "),
            &format!("{good}destroy-after 1\n"),
            &good.replace("canary 01", "canary 0"),
            &good.replace("canary 01", "canary zz"),
            &format!("{good}more\n"),
            good.trim_end(),
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
