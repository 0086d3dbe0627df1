//! Finding master keys on the token, and remembering them for a while.

use super::FoundKey;
use super::canary;
use super::object::{KeyClass, MasterKey, attributes_of, parse_label};
use super::record::Record;
use super::template;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyName, KeyRef, KeyState, KeyVersion, Provenance, PublicKey};
use crate::token::{Attribute, AttributeType, ObjectHandle, Session};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a key is used before it is looked up again, so that rotation on another host is noticed.
const LIFETIME: Duration = Duration::from_secs(60);

/// The keys that were found lately. Handles are used within the generation of sessions that found
/// them, and no other: after it the same number may be another object.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    generation: u64,
    /// How often all was forgotten: what was searched for before is not remembered after.
    cleared: u64,
    current: HashMap<KeyName, (Instant, FoundKey)>,
    by_id: HashMap<KekId, (Instant, FoundKey)>,
    known: HashMap<KekId, Known>,
}

/// What is known of a key across generations.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The generation in which it recovered its canary.
    proven: Option<u64>,
    public: Option<PublicKey>,
}

impl Cache {
    /// The current version of a key: the highest.
    pub(super) fn current(&self, session: &Session<'_>, name: &KeyName) -> Result<FoundKey> {
        let found = fresh(&self.within(session).current, name);
        session.cache_was_asked(found.is_some());
        if let Some(key) = found {
            return Ok(key);
        }
        let cleared = self.lock().cleared;
        let key = Arc::new(current(session, name)?);
        // What may not be used is looked at again each time: it may be allowed any moment.
        if key.description.state == KeyState::Active && key.check_usable().is_ok() {
            self.check_identity(session, &key)?;
            let mut found = self.within(session);
            if found.cleared == cleared {
                found.current.insert(name.clone(), (Instant::now(), Arc::clone(&key)));
            }
        }
        Ok(key)
    }

    /// The one key with this id.
    pub(super) fn by_kek_id(&self, session: &Session<'_>, id: KekId) -> Result<FoundKey> {
        let found = fresh(&self.within(session).by_id, &id);
        session.cache_was_asked(found.is_some());
        if let Some(key) = found {
            return Ok(key);
        }
        let cleared = self.lock().cleared;
        let key = Arc::new(by_kek_id(session, id)?);
        if matches!(key.description.state, KeyState::Active | KeyState::Retired) && key.check_usable().is_ok() {
            let mut found = self.within(session);
            if found.cleared == cleared {
                found.by_id.insert(id, (Instant::now(), Arc::clone(&key)));
            }
        }
        Ok(key)
    }

    /// Forgets what was found, and what was proven of it.
    pub(super) fn clear(&self) {
        let mut found = self.lock();
        found.current.clear();
        found.by_id.clear();
        found.cleared += 1;
        found.known.values_mut().for_each(|known| known.proven = None);
    }

    /// Before a key protects anything: whether it is the one that it was. Recovering needs no such
    /// question, it authenticates itself.
    fn check_identity(&self, session: &Session<'_>, key: &MasterKey) -> Result<()> {
        let KeyDescription { kek_id, .. } = key.description;
        let known = self.within(session).known.get(&kek_id).cloned().unwrap_or_default();
        if known.public.is_some() && known.public != key.public {
            return Err(Error::new(
                ErrorKind::KeyAttributes,
                format!("key '{}' is not the key that it was: its modulus is another", key.description.label()),
            ));
        }
        if known.proven == Some(session.generation()) {
            return Ok(());
        }
        canary::verify(session, key)?;
        let known = Known { proven: Some(session.generation()), public: key.public.clone() };
        self.within(session).known.insert(kek_id, known);
        Ok(())
    }

    /// What was found in the session's generation.
    fn within(&self, session: &Session<'_>) -> MutexGuard<'_, Found> {
        let mut found = self.lock();
        if found.generation != session.generation() {
            found.generation = session.generation();
            found.current.clear();
            found.by_id.clear();
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh<K: Eq + Hash>(map: &HashMap<K, (Instant, FoundKey)>, key: &K) -> Option<FoundKey> {
    map.get(key).filter(|(found, _)| found.elapsed() < LIFETIME).map(|(_, key)| Arc::clone(key))
}

fn current(session: &Session<'_>, name: &KeyName) -> Result<MasterKey> {
    let versions = versions(session, name)?;
    let highest = versions.iter().filter(|key| !key.is_pending()).map(|key| key.description.version).max();
    let highest = highest.ok_or_else(|| Error::key_not_found(KeyRef::Name(name)))?;
    take_exactly_one(name, highest, versions)
}

/// The one object of a version.
///
/// # Errors
/// `KeyNotFound` if there is none, `DuplicateKey` if there are two, and those of the token.
pub(super) fn one_version(session: &Session<'_>, name: &KeyName, version: KeyVersion) -> Result<MasterKey> {
    take_exactly_one(name, version, versions(session, name)?)
}

fn take_exactly_one(name: &KeyName, version: KeyVersion, mut keys: Vec<MasterKey>) -> Result<MasterKey> {
    let handle = exactly_one(name, version, &keys)?.handle;
    keys.retain(|key| key.handle == handle);
    keys.pop().ok_or_else(|| not_found(name, version))
}

/// The one object of a version. The error names two that claim it.
pub(super) fn exactly_one<'a>(name: &KeyName, version: KeyVersion, keys: &'a [MasterKey]) -> Result<&'a MasterKey> {
    let mut claiming = keys.iter().filter(|key| key.description.version == version && !key.is_pending());
    match (claiming.next(), claiming.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(Error::new(
            ErrorKind::DuplicateKey,
            format!(
                "two keys claim to be '{name}:{version}', with the KEK ids {} and {}",
                one.description.kek_id, other.description.kek_id
            ),
        )
        .with_hint("nothing is protected until one is gone or relabelled; recovery still works with both")),
        (None, _) => Err(not_found(name, version)),
    }
}

fn not_found(name: &KeyName, version: KeyVersion) -> Error {
    Error::new(ErrorKind::KeyNotFound, format!("there is no key '{name}:{version}'"))
}

/// The one key with this id, pending or not.
pub(super) fn by_kek_id(session: &Session<'_>, id: KekId) -> Result<MasterKey> {
    let mut found = Vec::new();
    for class in KeyClass::ALL {
        let mut template = template::search(class);
        template.push(Attribute::Id(id.as_bytes().to_vec()));
        for handle in session.find(&template)? {
            found.extend(read(session, handle, class)?);
        }
    }
    if found.is_empty() {
        // A key made elsewhere, whose CKA_ID has another length and is hashed to the KEK id.
        for (handle, class) in handles(session)? {
            let Some(shown) = session.attributes(handle, &[AttributeType::Id])? else { continue };
            let cka_id = shown.bytes(Attribute::Id).unwrap_or_default();
            if cka_id.len() != 16 && KekId::from_cka_id(cka_id) == Some(id) {
                found.extend(read(session, handle, class)?);
            }
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::key_not_found(KeyRef::Kek(id))),
        (Some(one), Some(other)) => Err(Error::new(
            ErrorKind::DuplicateKey,
            format!("two keys have the KEK id {id}: '{}' and '{}'", one.description.label(), other.description.label()),
        )),
    }
}

/// All versions of a key, pending ones too, by version.
pub(super) fn versions(session: &Session<'_>, name: &KeyName) -> Result<Vec<MasterKey>> {
    let mut keys = Vec::new();
    for (handle, class) in handles(session)? {
        let Some(shown) = session.attributes(handle, &[AttributeType::Label])? else { continue };
        let label = shown.bytes(Attribute::Label).and_then(parse_label);
        if label.is_some_and(|(labelled, _)| labelled == *name) {
            keys.extend(read(session, handle, class)?);
        }
    }
    Ok(in_order(keys))
}

/// All master keys, by name and version.
pub(super) fn all(session: &Session<'_>) -> Result<Vec<MasterKey>> {
    let mut keys = Vec::new();
    for (handle, class) in handles(session)? {
        keys.extend(read(session, handle, class)?);
    }
    Ok(in_order(keys))
}

fn in_order(mut keys: Vec<MasterKey>) -> Vec<MasterKey> {
    keys.sort_by(|a, b| {
        let order = |key: &MasterKey| (key.description.name.clone(), key.description.version, key.description.kek_id);
        order(a).cmp(&order(b))
    });
    // Of an RSA key only the newest version protects; no attribute says so.
    for index in 1..keys.len() {
        let (before, after) = keys.split_at_mut(index);
        let (old, new) = (&mut before[index - 1].description, &after[0].description);
        let superseded = old.name == new.name && old.version < new.version && new.state != KeyState::Pending;
        if superseded && old.algorithm.is_rsa() && old.state == KeyState::Active {
            old.state = KeyState::Retired;
        }
    }
    keys
}

fn handles(session: &Session<'_>) -> Result<Vec<(ObjectHandle, KeyClass)>> {
    let mut handles = Vec::new();
    for class in KeyClass::ALL {
        let found = session.find(&template::search(class))?;
        handles.extend(found.into_iter().map(|handle| (handle, class)));
    }
    Ok(handles)
}

/// The master key behind a handle; none where it is gone or no key of ours.
pub(super) fn read(session: &Session<'_>, handle: ObjectHandle, class: KeyClass) -> Result<Option<MasterKey>> {
    let key = read_once(session, handle, class)?;
    // Key and record are two looks, and what others do falls in between. A key that gave way to another is
    // destroyed before its record; it would pass for a key of another tool, which has none. And one that was
    // just enabled and finished would pass for disabled.
    let doubtful = |key: &MasterKey| {
        key.description.provenance == Provenance::Foreign || key.description.state == KeyState::Disabled
    };
    if key.as_ref().is_some_and(doubtful) { read_once(session, handle, class) } else { Ok(key) }
}

fn read_once(session: &Session<'_>, handle: ObjectHandle, class: KeyClass) -> Result<Option<MasterKey>> {
    let Some(shown) = session.attributes(handle, &attributes_of(class))? else { return Ok(None) };
    let Some((name, version)) = shown.bytes(Attribute::Label).and_then(parse_label) else { return Ok(None) };
    let Some(kek_id) = shown.bytes(Attribute::Id).and_then(KekId::from_cka_id) else { return Ok(None) };
    let record = Record::look_up(session, kek_id, &format!("{name}:{version}"))?;
    Ok(MasterKey::from_attributes(handle, class, &shown, record))
}
