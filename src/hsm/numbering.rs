//! The numbers of a key's versions, none of which is used twice.
//!
//! One rule decides for every operation that makes a version: a number is free if it is higher than every number that
//! the token knows of the name. The token knows them from the versions that are there, from the records of versions,
//! which also carry the highest number of the key, and from the tombstone.
//!
//! The rule holds although hosts work at once and processes die, because of the order of the steps:
//!
//! - A host that destroys the highest version writes the tombstone before.
//! - A host that makes a version reads the numbers while its own key is the only pending one of the name ([`create`]).
//! - A tombstone is removed only by the maker of a higher version, after that is finished. Until then it stays, also
//!   beside older versions, whose records carry the number as well.
//! - Versions are read before what is written about them. One that was destroyed before it was read left a tombstone,
//!   and only the maker of a higher version can have removed that. The higher version is read, or left its own.
//!
//! [`create`]: super::create

use super::lookup;
use super::object::{MasterKey, parse_label};
use super::record::{KeyMetadata, Record, data_objects, merge_history, now};
use super::tombstone::{self, Tombstone};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DestroyedVersion, KekId, KeyName, KeyVersion};
use crate::token::{ObjectHandle, Session};

/// What a token knows of the versions of one name.
#[derive(Debug)]
pub(super) struct Numbers {
    name: KeyName,
    /// The versions that are there, pending ones too, by version.
    pub(super) versions: Vec<MasterKey>,
    /// The highest number in records and tombstones.
    recorded: Option<KeyVersion>,
    /// What is known of destroyed versions, merged from these objects.
    tombstone: Option<Tombstone>,
    merged: Vec<ObjectHandle>,
}

impl Numbers {
    /// Reads what the token knows.
    ///
    /// # Errors
    /// `KeyAttributes` if a record or a tombstone of the name cannot be read, because it may know of more; and those
    /// of the token.
    pub(super) fn read(session: &Session<'_>, name: &KeyName) -> Result<Self> {
        Self::beside(session, name, lookup::versions(session, name)?)
    }

    /// Reads what is written about versions that were found just before.
    pub(super) fn beside(session: &Session<'_>, name: &KeyName, versions: Vec<MasterKey>) -> Result<Self> {
        let mut objects = data_objects(session, None)?;
        objects.retain(|object| tombstone::is_of(object, name) || labelled(&object.label, name).is_some());
        let tombstones = tombstone::readable(objects.iter())?;
        let mut recorded = None;
        for object in &objects {
            let Some(version) = labelled(&object.label, name) else { continue };
            let Some(record) = object.record() else { continue };
            let record = record.map_err(|why| why.refuse(&format!("the record of key '{name}:{version}'")))?;
            // The record of a key that is not finished claims no number.
            if record.canary.is_some() {
                recorded = recorded.max(Some(version.max(record.key.highest_version)));
            }
        }
        let merged = tombstones.iter().map(|(handle, _)| *handle).collect();
        let tombstone = tombstones.into_iter().map(|(_, tombstone)| tombstone).reduce(|mut all, one| {
            all.merge(&one);
            all
        });
        recorded = recorded.max(tombstone.as_ref().map(|tombstone| tombstone.highest_version));
        Ok(Self { name: name.clone(), versions, recorded, tombstone, merged })
    }

    /// The highest number that was ever used.
    fn highest(&self) -> Option<KeyVersion> {
        self.finished().map(|key| key.description.version).max().max(self.recorded)
    }

    pub(super) fn name(&self) -> &KeyName {
        &self.name
    }

    /// The finished versions, by version.
    pub(super) fn finished(&self) -> impl DoubleEndedIterator<Item = &MasterKey> {
        self.versions.iter().filter(|key| !key.is_pending())
    }

    /// Whether no version of the name ever had this number, or a higher one.
    pub(super) fn is_free(&self, version: KeyVersion) -> bool {
        self.highest().is_none_or(|highest| version > highest)
    }

    /// Whether a key that another tool made has the number of a version that was destroyed, as far as that can be
    /// known: a number below a version that is there may have been its own all along.
    pub(super) fn is_spent(&self, version: KeyVersion, kek_id: KekId) -> bool {
        let newest = self.others(kek_id).next_back().map(|key| key.description.version);
        Some(version) <= self.recorded && newest < Some(version)
    }

    /// Returns the number of the next version.
    ///
    /// # Errors
    /// `LimitExceeded` if there is none.
    pub(super) fn next(&self) -> Result<KeyVersion> {
        let last = || Error::new(ErrorKind::LimitExceeded, format!("key '{}' has had its last version", self.name));
        self.highest().map_or(Ok(KeyVersion::FIRST), |highest| highest.next().ok_or_else(last))
    }

    /// Returns the metadata of a version that is to be made: that of the newest version that has a record, or that of
    /// a new key.
    pub(super) fn metadata(&self, session: &Session<'_>, version: KeyVersion) -> Result<KeyMetadata> {
        let mut metadata = match self.finished().rev().find_map(MasterKey::record) {
            Some(record) => record.key.clone(),
            None => KeyMetadata::new(session, version)?,
        };
        metadata.highest_version = metadata.highest_version.max(version).max(self.highest().unwrap_or(version));
        if let Some(tombstone) = &self.tombstone {
            merge_history(&mut metadata.destroyed, &tombstone.destroyed);
        }
        Ok(metadata)
    }

    /// The refusal of a number that is not free.
    pub(super) fn refusal(&self, version: KeyVersion) -> Error {
        let name = &self.name;
        let error = Error::new(
            ErrorKind::VersionReuse,
            format!("cannot make key '{name}:{version}': that number, or a higher one, was used before"),
        );
        match self.next() {
            Ok(next) => error.with_hint(format!("the next version of '{name}' is {next}")),
            Err(_) => error,
        }
    }

    /// The answer if no finished version is there.
    pub(super) fn not_found(&self) -> Error {
        let name = &self.name;
        match (&self.tombstone, self.next()) {
            (Some(tombstone), Ok(next)) => {
                let highest = tombstone.highest_version;
                Error::new(ErrorKind::KeyNotFound, format!("key '{name}' is destroyed; its last version was {highest}"))
                    .with_hint(format!("`keyward key create {name}` makes version {next}"))
            }
            _ => Error::key_not_found(crate::key::KeyRef::Name(name)),
        }
    }

    /// Whether the number of this version is the highest one, and no version that stays carries it.
    pub(super) fn would_forget(&self, kek_id: KekId) -> bool {
        let newest = self.others(kek_id).next_back().map(|key| key.description.version);
        newest < self.highest()
    }

    /// The finished versions other than the one with this id.
    pub(super) fn others(&self, kek_id: KekId) -> impl DoubleEndedIterator<Item = &MasterKey> {
        self.finished().filter(move |key| key.description.kek_id != kek_id)
    }

    /// Writes down that a version is going to be destroyed: in a tombstone if its number would be forgotten, and in
    /// the record of the newest version that stays, which also gets what belongs to the whole key.
    ///
    /// # Errors
    /// `LimitExceeded` if the token is full, `Unsupported` if it keeps no data objects, and those of the token. Then
    /// nothing may be destroyed.
    pub(super) fn record_destruction(
        &self,
        session: &Session<'_>,
        gone: &DestroyedVersion,
        record: Option<&Record>,
    ) -> Result<()> {
        let highest = self.highest().map_or(gone.version, |highest| highest.max(gone.version));
        let mut history = record.map_or_else(Vec::new, |record| record.key.destroyed.clone());
        merge_history(&mut history, std::slice::from_ref(gone));
        let would_forget = self.would_forget(gone.kek_id);
        if would_forget {
            let mut whole = Tombstone::new(self.name.clone(), highest, history.clone());
            self.tombstone.iter().for_each(|known| whole.merge(known));
            whole.replace(session, &self.merged)?;
        }
        let Some(heir) = self.others(gone.kek_id).rev().find(|key| key.record().is_some()) else { return Ok(()) };
        let (version, label) = (heir.description.version, heir.description.label());
        // Once more: what others have written meanwhile counts.
        let Some(mut of_heir) = Record::find(session, heir.description.kek_id, &label)? else { return Ok(()) };
        if let Some(record) = record.filter(|_| gone.version > version) {
            of_heir.key.follow(&record.key);
        }
        of_heir.key.highest_version = of_heir.key.highest_version.max(highest);
        merge_history(&mut of_heir.key.destroyed, &history);
        of_heir.shorten_history(&label);
        match of_heir.write(session, &label) {
            // The number is safe, and an old version can be destroyed to make room.
            Err(error) if error.kind() == ErrorKind::LimitExceeded && !would_forget => {
                tracing::warn!(label, %error, "that another version is destroyed is not recorded");
                Ok(())
            }
            answer => answer,
        }
    }
}

/// The version in the label of a key or record of this name.
fn labelled(label: &str, name: &KeyName) -> Option<KeyVersion> {
    parse_label(label.as_bytes()).filter(|(own, _)| own == name).map(|(_, version)| version)
}

/// Writes into the record of a new version what was changed in that of the one before while it was made.
pub(super) fn follow_changes(session: &Session<'_>, before: &MasterKey, made: &MasterKey) -> Result<()> {
    let Some(copied) = before.record() else { return Ok(()) };
    let label = before.description.label();
    let Some(now) = Record::find(session, before.description.kek_id, &label)? else { return Ok(()) };
    if now.key == copied.key {
        return Ok(());
    }
    let label = made.description.label();
    let Some(mut record) = Record::find(session, made.description.kek_id, &label)? else { return Ok(()) };
    record.key.follow(&now.key);
    record.write(session, &label)
}

/// Writes a tombstone for a version whose record is all that is left of it, if its number would be forgotten.
pub(super) fn bury(session: &Session<'_>, name: &KeyName, version: KeyVersion, record: &Record) -> Result<()> {
    let numbers = Numbers::read(session, name)?;
    let gone = DestroyedVersion { version, kek_id: record.kek_id, destroyed: now() };
    numbers.record_destruction(session, &gone, Some(record))
}
