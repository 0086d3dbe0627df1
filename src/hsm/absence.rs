//! The proof that a key is gone: searches that find nothing, as data that can be kept.

use super::record::Record;
use super::{HsmProvider, destroy};
use crate::error::Result;
use crate::key::{KekId, KeyName, KeyVersion, VersionReuse};
use crate::token::{Attribute, ObjectClass, Repeat, Session};

/// A search and how many objects it found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "governed", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Search {
    /// What class of objects was searched.
    pub class: &'static str,
    /// By what: `CKA_ID`, `CKA_LABEL`, or `record`, the id in our own records.
    pub by: &'static str,
    /// How many were found.
    pub found: usize,
}

/// What was searched for a key, and what was found: nothing, where it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Absence {
    /// Its label: `NAME:VERSION`.
    pub label: String,
    /// Its id.
    pub kek_id: KekId,
    /// Every search: private and public objects, those of the token and those of sessions.
    pub searches: Vec<Search>,
}

impl Absence {
    /// Whether every search found nothing.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.searches.iter().all(|search| search.found == 0)
    }
}

const KEYS: [(ObjectClass, &str); 3] = [
    (ObjectClass::SECRET_KEY, "secret keys"),
    (ObjectClass::PRIVATE_KEY, "private keys"),
    (ObjectClass::PUBLIC_KEY, "public keys"),
];

impl HsmProvider {
    /// Destroys a key version, and tells with which searches nothing of it was found afterwards.
    ///
    /// Somebody without a login may have planted a public object of the same label; it is found, and
    /// [`Absence::is_proven`] is false then.
    ///
    /// # Errors
    /// As [`KeyAdmin::destroy_key`](crate::KeyAdmin::destroy_key).
    pub fn destroy_with_proof(&self, name: &KeyName, version: KeyVersion) -> Result<Absence> {
        self.change_key(name, |session| {
            let (kek_id, _) = destroy::destroy(session, name, version, VersionReuse::Refuse, |_| Ok(()))?;
            search(session, &format!("{name}:{version}"), kek_id)
        })
    }

    /// Searches for a key that is not to be there any more, or not yet.
    ///
    /// # Errors
    /// Those of the token.
    pub fn prove_absence(&self, name: &KeyName, version: KeyVersion, kek_id: KekId) -> Result<Absence> {
        self.token.run(Repeat::Once, |session| search(session, &format!("{name}:{version}"), kek_id))
    }
}

pub(super) fn search(session: &Session<'_>, label: &str, kek_id: KekId) -> Result<Absence> {
    let mut searches = Vec::new();
    let labelled = |class| vec![Attribute::Class(class), Attribute::Label(label.as_bytes().to_vec())];
    for (class, name) in KEYS {
        let by_id = session.find(&[Attribute::Class(class), Attribute::Id(kek_id.as_bytes().to_vec())])?;
        searches.push(Search { class: name, by: "CKA_ID", found: by_id.len() });
        searches.push(Search { class: name, by: "CKA_LABEL", found: session.find(&labelled(class))?.len() });
    }
    let data = session.find(&labelled(ObjectClass::DATA))?;
    searches.push(Search { class: "data objects", by: "CKA_LABEL", found: data.len() });
    let records = Record::all(session)?;
    let of_it = records.iter().filter(|place| place.record.as_ref().is_ok_and(|record| record.kek_id == kek_id));
    searches.push(Search { class: "data objects", by: "record", found: of_it.count() });
    Ok(Absence { label: label.to_owned(), kek_id, searches })
}
