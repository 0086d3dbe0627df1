//! Which keys open a file after a re-encryption, and whether it needs one.

use crate::envelope::encryptor::Encryptor;
use crate::envelope::inspect::InspectedEntry;
use crate::envelope::opening::Opening;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyName, KeyProvider, KeyRef};
use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

/// The keys that open a file after a re-encryption.
///
/// The entries of a file are no more than the word of everyone who ever had its data key: one of them may have added
/// an entry for a key of their own. So a new data key goes under several keys only if the caller says so.
#[derive(Clone)]
pub enum Recipients<'a> {
    /// The current version of the one key that all entries of the file are under, as its last writer left them: someone
    /// who kept its data key may have replaced them all. A file with entries under several
    /// keys, or under one that the provider does not know, is refused with `RecipientsAmbiguous`.
    SameKey(&'a dyn KeyProvider),
    /// The current versions of all keys that the entries of the file are under, no matter who added them: the caller
    /// trusts everyone who ever opened the file. A file with an entry under a key that the provider does not know is
    /// refused with `KeyNotFound`.
    KeepKeys(&'a dyn KeyProvider),
    /// Those of this encryptor, whose context and length limit do not count. The provider, if any, knows its keys for
    /// [`Freshness`].
    Named(Encryptor<'a>),
}

/// When a data key is fresh enough, so that a file needs no re-encryption.
///
/// Only a symmetric entry that was wrapped when its data key was generated proves how old the data key is, and only once
/// it has opened. File times and generations prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It was made under the current version of its key, and the file has entries under the current versions of the
    /// recipients' keys, and no others.
    CurrentVersion,
    /// It was made under a version that was itself made at this time or later, whatever keys the file has entries
    /// under: a file that is fresh by this rule keeps an entry that someone added who opened it.
    VersionCreatedSince(SystemTime),
}

impl<'a> Recipients<'a> {
    pub(super) fn encryptor(&self, opening: &Opening) -> Result<Encryptor<'a>> {
        match self {
            Self::Named(encryptor) => Ok(encryptor.clone()),
            Self::SameKey(provider) => Ok(Encryptor::new(*provider, &same_key(*provider, opening)?)),
            Self::KeepKeys(provider) => {
                let (names, unknown) = names(*provider, opening)?;
                if let Some(unknown) = unknown {
                    let message = format!("{unknown} is not known here, and could not open the new file");
                    return Err(Error::new(ErrorKind::KeyNotFound, message)
                        .with_hint("name the keys that are to open the new file"));
                }
                let (first, others) = names.split_first().ok_or_else(Error::not_authentic)?;
                let encryptor = Encryptor::new(*provider, first);
                Ok(others.iter().fold(encryptor, |encryptor, name| encryptor.also(*provider, name)))
            }
        }
    }

    /// Returns the keys of the new file, each with the provider that knows it.
    fn keys(&self, opening: &Opening) -> Result<Vec<(&'a dyn KeyProvider, KeyName)>> {
        Ok(self.encryptor(opening)?.master_keys().to_vec())
    }
}

impl Freshness {
    /// Returns whether `opening` proves that the data key is fresh enough.
    pub(super) fn is_proven_by(self, opening: &Opening, recipients: &Recipients<'_>) -> Result<bool> {
        let Some(proven) = opening.entry.proven_generation_key() else { return Ok(false) };
        match self {
            Self::VersionCreatedSince(time) => Ok(proven.created.is_some_and(|created| created >= time)),
            Self::CurrentVersion => {
                let mut allowed = BTreeSet::new();
                let present: BTreeSet<KekId> = match kek_ids(opening) {
                    Some(ids) => ids.collect(),
                    // An entry that this version does not know may be for anyone.
                    None => return Ok(false),
                };
                for (provider, name) in recipients.keys(opening)? {
                    let current = provider.describe_key(KeyRef::Name(&name))?;
                    let ids: BTreeSet<KekId> = current.also.into_iter().chain([current.kek_id]).collect();
                    if ids.is_disjoint(&present) {
                        return Ok(false);
                    }
                    allowed.extend(ids);
                }
                Ok(allowed.contains(&opening.entry.kek_id) && present.is_subset(&allowed))
            }
        }
    }
}

/// Returns the KEK ids of all entries, or `None` if one is of an unknown kind.
fn kek_ids(opening: &Opening) -> Option<impl Iterator<Item = KekId>> {
    let id = |entry: &InspectedEntry| match entry {
        InspectedEntry::Known(key) => Some(key.kek_id()),
        InspectedEntry::Unknown { .. } => None,
    };
    let others: Option<Vec<KekId>> = opening.other_entries.iter().map(id).collect();
    Some(others?.into_iter().chain([opening.entry.kek_id]))
}

/// Returns the names of the keys that the entries are under, that of the entry which opened first, and what is under a
/// key that is not known here: that cannot be kept, and is not dropped in silence either.
fn names(provider: &dyn KeyProvider, opening: &Opening) -> Result<(Vec<KeyName>, Option<String>)> {
    let Some(name) = opening.entry.name() else {
        return Err(Error::new(ErrorKind::InvalidArgument, "this file is encrypted under a customer's own key"));
    };
    let mut names = vec![name.clone()];
    let mut unknown = None;
    for entry in &opening.other_entries {
        let InspectedEntry::Known(key) = entry else {
            unknown = unknown.or(Some("an entry that this version does not know".to_owned()));
            continue;
        };
        match provider.describe_key(KeyRef::Kek(key.kek_id())) {
            Ok(described) if names.contains(&described.name) => {}
            Ok(described) => names.push(described.name),
            Err(error) if matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::PolicyDenied) => {
                unknown = unknown.or(Some(format!("the key with KEK id {}", key.kek_id())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((names, unknown))
}

/// Returns the name of the one key that all entries are under.
///
/// # Errors
/// `RecipientsAmbiguous` if there are several, or one that is not known.
pub(crate) fn same_key(provider: &dyn KeyProvider, opening: &Opening) -> Result<KeyName> {
    let (names, unknown) = names(provider, opening)?;
    match (names.as_slice(), unknown) {
        ([name], None) => Ok(name.clone()),
        (names, unknown) => Err(ambiguous(names, unknown)),
    }
}

/// Refuses to choose. The message names the candidates.
fn ambiguous(names: &[KeyName], unknown: Option<String>) -> Error {
    let named = names.iter().map(|name| format!("'{name}'")).chain(unknown);
    let message = format!(
        "this file has entries under {}: which of them shall open it is for the caller to say",
        named.collect::<Vec<_>>().join(", ")
    );
    Error::new(ErrorKind::RecipientsAmbiguous, message)
}

impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameKey(_) => f.write_str("SameKey"),
            Self::KeepKeys(_) => f.write_str("KeepKeys"),
            Self::Named(encryptor) => f.debug_tuple("Named").field(encryptor).finish(),
        }
    }
}
