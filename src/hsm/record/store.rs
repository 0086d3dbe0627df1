//! Records on the token: private data objects of the application `keyward`, labelled as their keys.

use super::super::{claim, template};
use super::fields::{MAX_LEN, Unreadable};
use super::{Record, text};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KekId;
use crate::token::{Attribute, AttributeType, ObjectHandle, Session};
use std::time::SystemTime;

/// What the token has beside a key.
#[derive(Debug)]
pub(crate) enum RecordLookup {
    Absent,
    Found(Record),
    /// A record beside which another host has put a claim on the key: whatever it says, the key is pending.
    Claimed(Record),
    /// A record that nothing may be concluded from, not even that there is none.
    Unreadable(Unreadable),
}

impl RecordLookup {
    /// Returns the record, if there is one.
    pub(crate) fn found(&self) -> Option<&Record> {
        match self {
            Self::Found(record) | Self::Claimed(record) => Some(record),
            _ => None,
        }
    }
}

/// A record where it stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) label: String,
    pub(crate) record: Result<Record, Unreadable>,
}

/// A private data object of Keyward.
#[derive(Debug)]
pub(crate) struct DataObject {
    pub(crate) handle: ObjectHandle,
    pub(crate) label: String,
    /// Its value, which is empty if the token does not show it.
    pub(crate) value: Vec<u8>,
}

impl DataObject {
    /// Returns the key that a claim is on, or `None` if the object is of another kind.
    pub(crate) fn claim(&self) -> Option<Result<KekId, Unreadable>> {
        let is_claim = self.value.strip_prefix(claim::KIND.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
        is_claim.then(|| claim::parse(&self.value))
    }

    /// Returns the record, or `None` if the object is of another kind: a tombstone, a claim, or one of the audit log.
    pub(crate) fn record(&self) -> Option<Result<Record, Unreadable>> {
        let of_another_kind = self.value.starts_with(b"keyward-")
            && self.value.strip_prefix(text::KIND.as_bytes()).is_none_or(|rest| !rest.starts_with(b" "));
        (!of_another_kind).then(|| Record::parse(&self.value))
    }
}

impl DataObject {
    /// Returns the record with its label, or `None` if the object is of another kind.
    pub(crate) fn into_place(self) -> Option<Place> {
        Some(Place { record: self.record()?, label: self.label })
    }
}

impl Record {
    /// Writes the record and then destroys those of the same key that were there before.
    ///
    /// # Errors
    /// `LimitExceeded` if it is longer than [`MAX_LEN`], before anything is asked of the token; `KeyAttributes` if a
    /// record that cannot be read has the same label; and those of the token.
    pub(crate) fn write(&self, session: &Session<'_>, label: &str) -> Result<()> {
        let text = self.to_text();
        check_len(&text, label)?;
        let before = records(session, label)?.readable(label)?;
        write_object(session, label, text)?;
        for (old, _) in before.into_iter().filter(|(_, record)| record.kek_id == self.kek_id) {
            // The new one goes before it.
            if let Err(error) = session.destroy_object(old) {
                tracing::warn!(label, %error, "an old record stays on the token beside the new one");
            }
        }
        Ok(())
    }

    /// Fails as [`write`](Self::write) fails if the record is too long.
    pub(crate) fn check_len(&self, label: &str) -> Result<()> {
        check_len(&self.to_text(), label)
    }

    /// Forgets the lowest destroyed versions until the record is short enough to be written.
    pub(crate) fn shorten_history(&mut self, label: &str) {
        while self.check_len(label).is_err() && !self.key.destroyed.is_empty() {
            self.key.destroyed.remove(0);
        }
    }

    /// Looks up the record of the key with this label: a finished one, if there is one.
    ///
    /// Two are there if a change was interrupted, or two hosts made one at once. Then a destruction is scheduled only
    /// if both say so, and for the later date: what is in doubt is not destroyed. The higher number counts.
    pub(crate) fn look_up(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<RecordLookup> {
        let Records { found, claims, unreadable } = records(session, label)?;
        if let Some(why) = unreadable {
            return Ok(RecordLookup::Unreadable(why));
        }
        let own: Vec<_> =
            found.into_iter().map(|(_, record)| record).filter(|record| record.kek_id == kek_id).collect();
        let Some(mut best) = own.iter().max_by_key(|record| record.weight()).cloned() else {
            return Ok(RecordLookup::Absent);
        };
        own.iter().for_each(|other| best.key.merge_numbers(&other.key));
        Ok(match claims.iter().any(|(_, claimed)| *claimed == kek_id) {
            true => RecordLookup::Claimed(best),
            false => RecordLookup::Found(best),
        })
    }

    /// Returns the record of the key with this label.
    ///
    /// # Errors
    /// `KeyAttributes` if there is one that cannot be read, and those of the token.
    pub(crate) fn find(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<Option<Self>> {
        match Self::look_up(session, kek_id, label)? {
            RecordLookup::Absent => Ok(None),
            RecordLookup::Found(record) | RecordLookup::Claimed(record) => Ok(Some(record)),
            RecordLookup::Unreadable(why) => Err(why.refuse(&format!("the record of key '{label}'"))),
        }
    }

    /// Whether the key has records and none of them is finished, also if it is claimed.
    pub(crate) fn is_pending(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<bool> {
        let mut own = records(session, label)?.readable(label)?;
        own.retain(|(_, record)| record.kek_id == kek_id);
        Ok(!own.is_empty() && own.iter().all(|(_, record)| record.canary.is_none()))
    }

    fn weight(&self) -> (bool, bool, Option<SystemTime>) {
        (self.canary.is_some(), self.destroy_after.is_none(), self.destroy_after)
    }

    /// Destroys what an interrupted change left beside the finished record of a key: that it was not finished.
    pub(crate) fn destroy_pending(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<()> {
        let mut found = records(session, label)?.found;
        found.retain(|(_, record)| record.kek_id == kek_id);
        if !found.iter().any(|(_, record)| record.canary.is_some()) {
            return Ok(());
        }
        found.retain(|(_, record)| record.canary.is_none());
        found.into_iter().try_for_each(|(handle, _)| session.destroy_object(handle))
    }

    /// Returns all records on the token, those that cannot be read as well.
    pub(crate) fn all(session: &Session<'_>) -> Result<Vec<Place>> {
        Ok(data_objects(session, None)?.into_iter().filter_map(DataObject::into_place).collect())
    }

    /// Destroys all records of one key, and then the claims on it.
    pub(crate) fn destroy(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<()> {
        for (handle, _) in records(session, label)?.found.into_iter().filter(|(_, record)| record.kek_id == kek_id) {
            destroy_object(session, handle)?;
        }
        Self::destroy_claims(session, kek_id, label).map(drop)
    }

    /// Destroys the claims on one key. Returns whether there were any.
    pub(crate) fn destroy_claims(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<bool> {
        let mut claims = records(session, label)?.claims;
        claims.retain(|(_, claimed)| *claimed == kek_id);
        claims.iter().try_for_each(|(handle, _)| destroy_object(session, *handle))?;
        Ok(!claims.is_empty())
    }
}

impl Unreadable {
    /// The refusal of whatever depends on `what`.
    pub(crate) fn refuse(self, what: &str) -> Error {
        Error::new(ErrorKind::KeyAttributes, format!("{what} {self}")).with_hint(match self {
            Self::Newer => "use the newer version of Keyward for this key",
            Self::Damaged => "find out what damaged it; the token's own tool can delete the data object",
        })
    }
}

/// The records of one label.
struct Records {
    found: Vec<(ObjectHandle, Record)>,
    /// The claims on keys of the label.
    claims: Vec<(ObjectHandle, KekId)>,
    /// Why one of them is not used, if one is not.
    unreadable: Option<Unreadable>,
}

impl Records {
    fn readable(self, label: &str) -> Result<Vec<(ObjectHandle, Record)>> {
        match self.unreadable {
            None => Ok(self.found),
            Some(why) => Err(why.refuse(&format!("the record of key '{label}'"))),
        }
    }
}

fn records(session: &Session<'_>, label: &str) -> Result<Records> {
    let mut records = Records { found: Vec::new(), claims: Vec::new(), unreadable: None };
    for object in data_objects(session, Some(label))? {
        match object.claim() {
            None => {}
            Some(Ok(kek_id)) => records.claims.push((object.handle, kek_id)),
            Some(Err(why)) => records.unreadable = Some(why),
        }
        match object.record() {
            None => {}
            Some(Ok(record)) => records.found.push((object.handle, record)),
            Some(Err(why)) => records.unreadable = Some(why),
        }
    }
    Ok(records)
}

/// Returns Keyward's data objects: those with this label, or all.
pub(crate) fn data_objects(session: &Session<'_>, label: Option<&str>) -> Result<Vec<DataObject>> {
    // An object that is gone before it was read was just replaced by another, which the search that found the
    // first did not see: without it the key would look as if it had no record at all.
    const ATTEMPTS: u32 = 10;
    for _ in 0..ATTEMPTS {
        let mut objects = Vec::new();
        let mut gone = false;
        for handle in search(session, label)? {
            match session.attributes(handle, &[AttributeType::Label, AttributeType::Value])? {
                None => gone = true,
                Some(shown) => objects.push(DataObject {
                    handle,
                    label: String::from_utf8_lossy(shown.bytes(Attribute::Label).unwrap_or_default()).into_owned(),
                    value: shown.bytes(Attribute::Value).unwrap_or_default().to_vec(),
                }),
            }
        }
        if !gone {
            return Ok(objects);
        }
    }
    let message = "records on the token are replaced faster than they can be read";
    Err(Error::new(ErrorKind::TokenUnavailable, message).with_hint("try again"))
}

fn search(session: &Session<'_>, label: Option<&str>) -> Result<Vec<ObjectHandle>> {
    match session.find(&template::data(label)) {
        // A token that knows no data objects may refuse the question.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Vec::new()),
        answer => answer,
    }
}

/// Writes a data object that is short enough.
pub(crate) fn write_object(session: &Session<'_>, label: &str, text: String) -> Result<ObjectHandle> {
    check_len(&text, label)?;
    let mut template = template::data(Some(label));
    template.push(Attribute::Value(text.into_bytes()));
    session.create_object(template)
}

/// Destroys an object, or finds that another process was faster.
pub(crate) fn destroy_object(session: &Session<'_>, handle: ObjectHandle) -> Result<()> {
    match session.destroy_object(handle) {
        Err(error) if error.kind() == ErrorKind::KeyNotFound => Ok(()),
        answer => answer,
    }
}

fn check_len(text: &str, label: &str) -> Result<()> {
    if text.len() <= MAX_LEN {
        return Ok(());
    }
    let message = format!("cannot write the record '{label}': it has {} bytes, and {MAX_LEN} is the limit", text.len());
    Err(Error::new(ErrorKind::LimitExceeded, message)
        .with_hint("shorten what is recorded of the key: its description, tags, aliases, policy or grants"))
}

/// Whether a write failed because the token keeps no data objects. One that has any of Keyward's keeps them, whatever
/// it answers.
pub(crate) fn keeps_no_records(session: &Session<'_>, error: &Error) -> Result<bool> {
    Ok(error.kind() == ErrorKind::Unsupported && search(session, None)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, KeyMetadata, Purpose};
    use super::*;
    use crate::key::{KeyVersion, Provenance, WrappedKey, WrappingAlgorithm};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn of_two_records_the_one_that_destroys_later_or_never_counts() {
        let kek_id = KekId::from_bytes([3; 16]);
        let key = KeyMetadata {
            uid: [7; 16],
            purpose: Purpose::Envelope,
            highest_version: KeyVersion::FIRST,
            gate: Gate::Enabled,
            destroyed: Vec::new(),
            kept: Vec::new(),
        };
        let pending = Record::new(kek_id, WrappingAlgorithm::AesKw, Provenance::Generated, key);
        let canary =
            WrappedKey::new(crate::WrapOccasion::Generation, WrappingAlgorithm::AesKw, kek_id, vec![], vec![5; 72])
                .unwrap();
        let finished = Record { canary: Some(canary), ..pending.clone() };
        let at =
            |seconds| Record { destroy_after: Some(UNIX_EPOCH + Duration::from_secs(seconds)), ..finished.clone() };
        let order = [pending, at(1), at(2), finished.clone()];
        for pair in order.windows(2) {
            assert!(pair[0].weight() < pair[1].weight(), "{pair:?}");
        }
    }
}
