//! What changes that were interrupted left on the token, and how it is repaired.
//!
//! Keys are made, rotated and destroyed in steps, and a process may die between any two. The order of the
//! steps is such that nothing which is left is ever used, or in the way: it is untidy, not dangerous.

use super::claim::{self, Abandoned};
use super::numbering::bury;
use super::object::{MasterKey, parse_label};
use super::record::{DataObject, Place, Record, RecordLookup, Unreadable, data_objects};
use super::rotate::retire;
use super::tombstone::{self, Tombstone};
use super::{HsmProvider, create, lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyName, KeyState, Operation};
use crate::token::{Repeat, Session};
use std::fmt;
use std::thread;
use std::time::{Duration, SystemTime};

/// How long somebody who is at work is given to finish. Some HSMs take long to generate RSA keys.
const PATIENCE: Duration = create::PATIENCE;
const PATIENCE_WITH_RSA: Duration = Duration::from_secs(120);
/// What is older than this, nobody is at work with.
const OLD: Duration = Duration::from_secs(60 * 60);

/// Something that an interrupted change left on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leftover {
    /// A key that was not finished, or is just being made. Nobody uses it.
    Unfinished(KeyDescription),
    /// An older version that may still protect: a rotation ended before it was retired. Nobody protects
    /// with it, because a newer one is there.
    StillActive(KeyDescription),
    /// A record whose key is not there.
    Orphan {
        /// The label of the key that it is about.
        label: String,
        /// The id of that key.
        kek_id: KekId,
    },
    /// More than one record beside one key.
    Records {
        /// The label of the key.
        label: String,
        /// The id of the key.
        kek_id: KekId,
    },
    /// A claim on a key: a host that took the key for abandoned died before it had destroyed or released it. The key is not
    /// used while the claim is there.
    Claim {
        /// The label of the key.
        label: String,
        /// The id of the key.
        kek_id: KekId,
    },
    /// A tombstone of a key that has a higher version: the maker of that was interrupted.
    Tombstone {
        /// The name of the key.
        name: KeyName,
    },
    /// A record or tombstone that cannot be read. It is left alone, and the keys that it may be about are refused.
    Unreadable {
        /// Its label.
        label: String,
        /// Whether a newer Keyward wrote it; else it is damaged.
        newer: bool,
    },
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished(key) => {
                write!(f, "key '{}' with KEK id {} was not finished, or is just being made", key.label(), key.kek_id)
            }
            Self::StillActive(key) => {
                write!(f, "key '{}' is still active although there is a newer version", key.label())
            }
            Self::Orphan { label, kek_id } => {
                write!(f, "a record of key '{label}' with KEK id {kek_id}, which is not there")
            }
            Self::Records { label, kek_id } => {
                write!(f, "more than one record of key '{label}' with KEK id {kek_id}")
            }
            Self::Claim { label, kek_id } => {
                write!(f, "a claim on key '{label}' with KEK id {kek_id}, which keeps it from being used")
            }
            Self::Tombstone { name } => write!(f, "a tombstone of key '{name}', which has a higher version"),
            Self::Unreadable { label, newer: true } => {
                write!(f, "a record labelled '{label}' that was written by a newer Keyward")
            }
            Self::Unreadable { label, newer: false } => write!(f, "a record labelled '{label}' that is damaged"),
        }
    }
}

impl Leftover {
    /// Returns the operation that a repair is, as policies and the audit log name it, or `None` if it is left alone.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Unfinished(_) | Self::Orphan { .. } | Self::Records { .. } => Some(Operation::DestroyKey),
            Self::StillActive(_) | Self::Tombstone { .. } => Some(Operation::RotateKey),
            Self::Claim { .. } => Some(Operation::EnableKey),
            Self::Unreadable { .. } => None,
        }
    }

    /// Returns the name of the key that it is about.
    ///
    /// # Errors
    /// `InvalidArgument` if it is labelled with what is no key's name.
    pub fn key_name(&self) -> Result<KeyName> {
        match self {
            Self::Unfinished(key) | Self::StillActive(key) => Ok(key.name.clone()),
            Self::Tombstone { name } => Ok(name.clone()),
            Self::Orphan { label, .. }
            | Self::Records { label, .. }
            | Self::Claim { label, .. }
            | Self::Unreadable { label, .. } => label.rsplit_once(':').map_or(label.as_str(), |(name, _)| name).parse(),
        }
    }
}

/// What came of repairing one leftover.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// What was listed.
    pub leftover: Leftover,
    /// Whether it was repaired: `KeyState` if it is not there any more or has changed, so that nothing was done.
    pub outcome: Result<()>,
}

impl HsmProvider {
    /// Returns what interrupted changes left on the token. Something may also be there because a change is made at
    /// this moment.
    ///
    /// # Errors
    /// As [`list_keys`](crate::KeyAdmin::list_keys).
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let found = self.token.run(Repeat::Once, find)?;
        Ok(found.into_iter().map(|found| found.what).collect())
    }

    /// Repairs what [`leftovers`](Self::leftovers) listed, and nothing else: unfinished keys and records without a key are
    /// destroyed, older versions retired. It touches no key that anybody uses. Returns the outcome for each, in order.
    ///
    /// If another process may be at work with something that was listed, it waits first: 10 seconds, with RSA keys two
    /// minutes. What is still there then was given up.
    ///
    /// # Errors
    /// As [`leftovers`](Self::leftovers), before anything is repaired.
    pub fn repair(&self, listed: &[Leftover]) -> Result<Vec<Repair>> {
        self.repair_each(listed, |_, work| work())
    }

    /// Repairs as [`repair`](Self::repair) does, each through `supervise`, which decides and records.
    pub(crate) fn repair_each(
        &self,
        listed: &[Leftover],
        supervise: impl Fn(&Leftover, &dyn Fn() -> Result<()>) -> Result<()>,
    ) -> Result<Vec<Repair>> {
        let seen = self.token.run(Repeat::Once, find)?;
        let patience = seen.iter().filter(|one| listed.contains(&one.what)).filter_map(Found::patience).max();
        let mut there: Vec<_> = seen.into_iter().map(|one| one.what).collect();
        if let Some(patience) = patience {
            thread::sleep(patience);
            let now = self.leftovers()?;
            // What was finished meanwhile is not touched.
            there.retain(|one| now.contains(one));
        }
        let repair_one = |one: &Leftover| {
            let name = one.key_name()?;
            self.check_named(&name)?;
            match there.contains(one) {
                true => supervise(one, &|| self.change_key(&name, |session| repair(session, one))),
                false => Err(changed(one)),
            }
        };
        Ok(listed.iter().map(|one| Repair { leftover: one.clone(), outcome: repair_one(one) }).collect())
    }
}

fn changed(what: &Leftover) -> Error {
    Error::new(ErrorKind::KeyState, format!("nothing is done about {what}: it is not as it was listed"))
}

struct Found {
    what: Leftover,
    since: Option<SystemTime>,
    rsa: bool,
}

impl Found {
    /// How long it is to be left alone, because somebody may be at work with it.
    fn patience(&self) -> Option<Duration> {
        let old = self.since.and_then(|since| since.elapsed().ok()).is_some_and(|age| age > OLD);
        match self.what {
            Leftover::StillActive(_) | Leftover::Tombstone { .. } | Leftover::Unreadable { .. } => None,
            _ if old => None,
            _ if self.rsa => Some(PATIENCE_WITH_RSA),
            _ => Some(PATIENCE),
        }
    }
}

fn find(session: &Session<'_>) -> Result<Vec<Found>> {
    // Records before keys: a record is written before its key is made, so each record that is seen here has
    // its key by the time when keys are looked at, or is just waiting for it.
    let objects = data_objects(session, None)?;
    let keys = lookup::all(session)?;
    let mut found = Vec::new();
    for object in &objects {
        let claim = object.claim().and_then(|claim| claim.ok());
        if let Some(kek_id) = claim.filter(|id| !keys.iter().any(|key| key.description.kek_id == *id)) {
            let what = Leftover::Claim { label: object.label.clone(), kek_id };
            found.push(Found { what, since: None, rsa: false });
            continue;
        }
        let what = match Tombstone::read(object) {
            Some(Ok(tombstone)) if is_superfluous(&tombstone, &keys) => Leftover::Tombstone { name: tombstone.name },
            Some(Err(why)) => {
                found.push(unreadable(object.label.clone(), why));
                continue;
            }
            _ => continue,
        };
        found.push(Found { what, since: None, rsa: false });
    }
    let records: Vec<_> = objects.into_iter().filter_map(DataObject::into_place).collect();
    for key in &keys {
        let KeyDescription { state, created, algorithm, .. } = &key.description;
        let what = match state {
            // Finished, and claimed.
            KeyState::Pending if key.canary().is_some() => {
                Leftover::Claim { label: key.description.label(), kek_id: key.description.kek_id }
            }
            KeyState::Pending => Leftover::Unfinished(key.description.clone()),
            KeyState::Active if superseded(key, &keys) => Leftover::StillActive(key.description.clone()),
            _ => continue,
        };
        found.push(Found { what, since: *created, rsa: algorithm.is_rsa() });
    }
    let mut told = Vec::new();
    for Place { label, record } in &records {
        let label = label.clone();
        let Record { kek_id, created, algorithm, .. } = match record {
            Ok(record) => record,
            Err(why) => {
                found.push(unreadable(label, *why));
                continue;
            }
        };
        let same =
            |other: &Place| other.label == label && other.record.as_ref().is_ok_and(|other| other.kek_id == *kek_id);
        let what = match keys.iter().find(|key| key.description.kek_id == *kek_id) {
            None => Leftover::Orphan { label, kek_id: *kek_id },
            Some(key) if !key.is_pending() && records.iter().filter(|other| same(other)).count() > 1 => {
                Leftover::Records { label, kek_id: *kek_id }
            }
            Some(_) => continue,
        };
        if !told.contains(&what) {
            told.push(what.clone());
            found.push(Found { what, since: Some(*created), rsa: algorithm.is_rsa() });
        }
    }
    Ok(found)
}

fn unreadable(label: String, why: Unreadable) -> Found {
    Found { what: Leftover::Unreadable { label, newer: why == Unreadable::Newer }, since: None, rsa: false }
}

/// Whether a finished version, whose record has its number, is higher than all that a tombstone knows of.
fn is_superfluous(tombstone: &Tombstone, keys: &[MasterKey]) -> bool {
    keys.iter().any(|key| {
        let KeyDescription { name, version, .. } = &key.description;
        *name == tombstone.name && *version > tombstone.highest_version && key.canary().is_some()
    })
}

fn superseded(key: &MasterKey, all: &[MasterKey]) -> bool {
    let KeyDescription { name, version, .. } = &key.description;
    all.iter()
        .any(|other| other.description.name == *name && other.description.version > *version && !other.is_pending())
}

/// Looks once more, because it may have changed just now, and repairs it.
fn repair(session: &Session<'_>, what: &Leftover) -> Result<()> {
    let done = match what {
        Leftover::Unfinished(found) => match by_kek_id(session, found.kek_id)? {
            Some(key) if key.is_pending() && key.description.label() == found.label() => {
                claim::destroy_abandoned(session, &key)? == Abandoned::Destroyed
            }
            _ => false,
        },
        Leftover::StillActive(found) => {
            let versions = lookup::versions(session, &found.name)?;
            let same =
                |key: &&MasterKey| key.description.kek_id == found.kek_id && key.description.label() == found.label();
            match versions.iter().find(same) {
                Some(key) if superseded(key, &versions) => retire(session, std::iter::once(key)).map(|()| true)?,
                _ => false,
            }
        }
        Leftover::Orphan { label, kek_id } => match by_kek_id(session, *kek_id)? {
            None => remove_orphan(session, *kek_id, label)?,
            Some(_) => false,
        },
        Leftover::Records { label, kek_id } => match Record::look_up(session, *kek_id, label)? {
            // Written once more, the one that counts is the only one.
            RecordLookup::Found(record) if parse_label(label.as_bytes()).is_some() => {
                record.write(session, label).map(|()| true)?
            }
            _ => false,
        },
        Leftover::Claim { label, kek_id } => match by_kek_id(session, *kek_id)? {
            Some(key) if key.canary().is_none() || key.description.label() != *label => false,
            _ => Record::destroy_claims(session, *kek_id, label)?,
        },
        Leftover::Tombstone { name } => {
            let newest = lookup::versions(session, name)?.into_iter().rev().find(|key| key.canary().is_some());
            newest.map_or(Ok(false), |key| tombstone::remove_below(session, name, key.description.version))?
        }
        Leftover::Unreadable { .. } => {
            return Err(Error::new(ErrorKind::KeyAttributes, format!("{what} is left alone")));
        }
    };
    if done { Ok(()) } else { Err(changed(what)) }
}

fn by_kek_id(session: &Session<'_>, kek_id: KekId) -> Result<Option<MasterKey>> {
    match lookup::by_kek_id(session, kek_id) {
        Err(error) if error.kind() == ErrorKind::KeyNotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Removes a record without a key. If the key was in use, another tool destroyed it, and its number stays used.
fn remove_orphan(session: &Session<'_>, kek_id: KekId, label: &str) -> Result<bool> {
    let RecordLookup::Found(record) = Record::look_up(session, kek_id, label)? else { return Ok(false) };
    if let Some((name, version)) = parse_label(label.as_bytes())
        && record.canary.is_some()
    {
        bury(session, &name, version, &record)?;
    }
    Record::destroy(session, kek_id, label).map(|()| true)
}
