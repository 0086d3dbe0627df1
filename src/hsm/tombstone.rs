//! What remains of a key whose versions were destroyed: which numbers were used, so that none is used twice.
//!
//! A tombstone is a private data object, `keyward tombstone NAME`. The host that destroys the highest version of a
//! name writes it first. The host that makes a higher version removes it, once the record of the new version has the
//! number. In between several may be there, written by hosts that destroyed at once: together they count as one.
//!
//! ```text
//! keyward-key-tombstone 1
//! name payments
//! highest-version 3
//! destroyed 3:000102030405060708090a0b0c0d0e0f:1767225600
//! ```

use super::record::{
    DataObject, Fields, Unreadable, data_objects, destroy_object, format_history, merge_history, parse_history,
    write_object,
};
use crate::error::Result;
use crate::key::{DestroyedKey, DestroyedVersion, KeyName, KeyVersion};
use crate::token::{ObjectHandle, Session};

const KIND: &str = "keyward-key-tombstone";
const VERSION: u32 = 1;
/// What stands before the name in its label. With a blank, it is no key's name.
pub(crate) const LABEL: &str = "keyward tombstone ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) name: KeyName,
    /// The highest version number that was ever used.
    pub(super) highest_version: KeyVersion,
    /// The versions that were destroyed, as far as they are known.
    pub(super) destroyed: Vec<DestroyedVersion>,
    /// Fields that this Keyward does not know.
    kept: Vec<(String, String)>,
}

impl Tombstone {
    pub(super) fn new(name: KeyName, highest_version: KeyVersion, destroyed: Vec<DestroyedVersion>) -> Self {
        Self { name, highest_version, destroyed, kept: Vec::new() }
    }

    /// Adds what another one of the same name knows.
    pub(super) fn merge(&mut self, other: &Self) {
        self.highest_version = self.highest_version.max(other.highest_version);
        merge_history(&mut self.destroyed, &other.destroyed);
        for field in &other.kept {
            if !self.kept.iter().any(|(name, _)| *name == field.0) {
                self.kept.push(field.clone());
            }
        }
    }

    fn to_text(&self) -> String {
        let Self { name, highest_version, destroyed, kept } = self;
        let mut text = format!("{KIND} {VERSION}\nname {name}\nhighest-version {highest_version}\n");
        if !destroyed.is_empty() {
            text.push_str(&format!("destroyed {}\n", format_history(destroyed)));
        }
        kept.iter().for_each(|(name, value)| text.push_str(&format!("{name} {value}\n")));
        text
    }

    fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields::parse(KIND, VERSION, text)?;
        let mut parse = || -> Option<(KeyName, KeyVersion, Vec<DestroyedVersion>)> {
            let name = fields.take("name")?.parse().ok()?;
            let highest_version = fields.take("highest-version")?.parse().ok()?;
            let destroyed = match fields.take("destroyed") {
                Some(history) => parse_history(&history)?,
                None => Vec::new(),
            };
            Some((name, highest_version, destroyed))
        };
        let (name, highest_version, destroyed) = parse().ok_or(Unreadable::Damaged)?;
        Ok(Self { name, highest_version, destroyed, kept: fields.rest() })
    }

    /// Returns the tombstone in a data object, or `None` if the object is not labelled as one.
    pub(super) fn read(object: &DataObject) -> Option<Result<Self, Unreadable>> {
        let name = object.label.strip_prefix(LABEL)?;
        let read = Self::parse(&object.value);
        // Under another name it would speak of the wrong key.
        Some(read.and_then(|read| if read.name.as_str() == name { Ok(read) } else { Err(Unreadable::Damaged) }))
    }

    /// Writes it, and then removes those that it was merged from.
    pub(super) fn replace(&self, session: &Session<'_>, merged: &[ObjectHandle]) -> Result<()> {
        write_object(session, &label(&self.name), self.to_text())?;
        remove(session, &self.name, merged);
        Ok(())
    }
}

/// Returns the tombstones of one name, each with the object that holds it.
///
/// # Errors
/// `KeyAttributes` if one cannot be read, and those of the token.
pub(super) fn of_name(session: &Session<'_>, name: &KeyName) -> Result<Vec<(ObjectHandle, Tombstone)>> {
    readable(data_objects(session, Some(&label(name)))?.iter())
}

/// Whether a data object is labelled as a tombstone of this name.
pub(super) fn is_of(object: &DataObject, name: &KeyName) -> bool {
    object.label.strip_prefix(LABEL) == Some(name.as_str())
}

/// Returns the tombstones among these objects.
///
/// # Errors
/// `KeyAttributes` if one cannot be read.
pub(super) fn readable<'a>(objects: impl Iterator<Item = &'a DataObject>) -> Result<Vec<(ObjectHandle, Tombstone)>> {
    let mut found = Vec::new();
    for object in objects {
        match Tombstone::read(object) {
            None => {}
            Some(Ok(tombstone)) => found.push((object.handle, tombstone)),
            Some(Err(why)) => return Err(why.refuse(&format!("the data object '{}'", object.label))),
        }
    }
    Ok(found)
}

/// Removes the tombstones that a finished version, whose record has its number, makes superfluous.
pub(super) fn remove_below(session: &Session<'_>, name: &KeyName, finished: KeyVersion) -> Result<bool> {
    let mut superfluous = of_name(session, name)?;
    superfluous.retain(|(_, tombstone)| tombstone.highest_version < finished);
    let handles: Vec<_> = superfluous.into_iter().map(|(handle, _)| handle).collect();
    Ok(remove(session, name, &handles))
}

/// Removes objects, or leaves them: one more says nothing wrong. Returns whether any was removed.
fn remove(session: &Session<'_>, name: &KeyName, handles: &[ObjectHandle]) -> bool {
    let mut removed = false;
    for handle in handles {
        match destroy_object(session, *handle) {
            Ok(()) => removed = true,
            Err(error) => tracing::warn!(%name, %error, "a tombstone that is not needed stays on the token"),
        }
    }
    removed
}

/// Merges tombstones by name and returns those of names that no version is left of.
pub(super) fn destroyed_keys(tombstones: Vec<Tombstone>, is_left: impl Fn(&KeyName) -> bool) -> Vec<DestroyedKey> {
    let mut merged: Vec<Tombstone> = Vec::new();
    for tombstone in tombstones.into_iter().filter(|tombstone| !is_left(&tombstone.name)) {
        match merged.iter_mut().find(|known| known.name == tombstone.name) {
            Some(known) => known.merge(&tombstone),
            None => merged.push(tombstone),
        }
    }
    merged.sort_by(|one, other| one.name.cmp(&other.name));
    merged.into_iter().map(|one| DestroyedKey::new(one.name, one.highest_version, one.destroyed)).collect()
}

fn label(name: &KeyName) -> String {
    format!("{LABEL}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KekId;
    use std::time::{Duration, UNIX_EPOCH};

    fn tombstone(highest: &str, of: &[u8]) -> Tombstone {
        let destroyed = |byte: &u8| DestroyedVersion {
            version: byte.to_string().parse().unwrap(),
            kek_id: KekId::from_bytes([*byte; 16]),
            destroyed: UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        };
        Tombstone::new("a".parse().unwrap(), highest.parse().unwrap(), of.iter().map(destroyed).collect())
    }

    #[test]
    fn a_tombstone_comes_back_from_its_text() {
        let mut whole = tombstone("3", &[1, 3]);
        whole.kept.push(("later".to_owned(), "x y".to_owned()));
        for one in [whole, tombstone("4294967295", &[])] {
            assert_eq!(Tombstone::parse(one.to_text().as_bytes()), Ok(one));
        }
    }

    #[test]
    fn what_is_no_tombstone_is_refused() {
        let good = tombstone("3", &[3]).to_text();
        for bad in ["", &good.replace("name a", "name"), &good.replace("version 3", "version 0"), good.trim_end()] {
            assert_eq!(Tombstone::parse(bad.as_bytes()), Err(Unreadable::Damaged), "{bad}");
        }
        let newer = good.replace("tombstone 1", "tombstone 2");
        assert_eq!(Tombstone::parse(newer.as_bytes()), Err(Unreadable::Newer));
    }

    #[test]
    fn merged_tombstones_know_what_each_knew() {
        let merged = destroyed_keys(vec![tombstone("2", &[2]), tombstone("3", &[3, 1])], |_| false);
        let expected = tombstone("3", &[1, 2, 3]);
        assert_eq!(merged, [DestroyedKey::new(expected.name, expected.highest_version, expected.destroyed)]);
        assert_eq!(destroyed_keys(vec![tombstone("2", &[2])], |_| true), []);
    }
}
