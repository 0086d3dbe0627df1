//! A provider without a token.

use crate::cipher::{Engine, Gcm, NONCE_LEN, TAG_LEN, random};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    Adoption, AlgorithmChoice, DataKey, DataKeyLength, DestroyedKey, DestroyedVersion, EncryptionContext, KekId,
    KeyAdmin, KeyDescription, KeyName, KeyProvider, KeyRef, KeyState, KeyVersion, Origin, Provenance, PublicKey,
    UnwrappedKey, UsedNumbers, VersionReuse, WrapOccasion, WrappedKey, WrappedKeys, WrappingAlgorithm, binding,
    first_that_opens, rewrap,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A provider whose master keys lie **in the memory of this process**: for tests only, where a token
/// is out of reach or beside the point. It protects nothing from anybody.
///
/// It wraps as an HSM does, with AES-GCM in the same format, so that what it makes is well-formed.
pub struct MemoryProvider(Mutex<Keys>);

#[derive(Default)]
struct Keys {
    masters: BTreeMap<(KeyName, KeyVersion), Master>,
    /// The names of which a version was destroyed.
    destroyed: BTreeMap<KeyName, DestroyedKey>,
}

struct Master {
    description: KeyDescription,
    key: Gcm,
}

impl MemoryProvider {
    /// A provider without any key.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: KeyRef<'_>, work: impl FnOnce(&Master) -> Result<T>) -> Result<T> {
        let keys = self.keys();
        let found = keys.masters.values().rev().find(|master| match key {
            KeyRef::Name(name) => master.description.name == *name,
            KeyRef::Kek(id) => master.description.kek_id == id,
        });
        work(found.ok_or_else(|| Error::key_not_found(key))?)
    }

    /// Makes the next version: no number is used twice.
    fn make(keys: &mut Keys, name: &KeyName) -> Result<KeyDescription> {
        let last = || Error::new(ErrorKind::LimitExceeded, format!("key '{name}' has had its last version"));
        let version = match keys.highest_version(name) {
            Some(highest) => highest.next().ok_or_else(last)?,
            None => KeyVersion::FIRST,
        };
        let mut id = [0; 16];
        random(&mut id)?;
        let mut secret = Zeroizing::new([0; 32]);
        random(&mut *secret)?;
        let kek_id = KekId::from_bytes(id);
        let mut description =
            KeyDescription::new(name.clone(), version, kek_id, WrappingAlgorithm::AesGcm, KeyState::Active);
        description.provenance = Provenance::Generated;
        description.created = Some(SystemTime::now());
        let key = Gcm::new(Engine::default(), &secret)?;
        keys.masters.insert((name.clone(), version), Master { description: description.clone(), key });
        Ok(description)
    }

    /// Changes a version; `work` is told whether it is the newest.
    fn change(
        &self,
        name: &KeyName,
        version: KeyVersion,
        work: impl FnOnce(&mut KeyDescription, bool),
    ) -> Result<KeyDescription> {
        let mut keys = self.keys();
        let newest = keys.masters.keys().filter(|(other, _)| other == name).map(|(_, version)| *version).max();
        let master = keys.masters.get_mut(&(name.clone(), version)).ok_or_else(|| no_such_version(name, version))?;
        work(&mut master.description, newest == Some(version));
        Ok(master.description.clone())
    }

    fn wrap(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        data_key: &DataKey,
        occasion: WrapOccasion,
    ) -> Result<WrappedKeys> {
        self.with(KeyRef::Name(key), |master| {
            master.allow(master.description.state == KeyState::Active)?;
            let mut iv = [0; NONCE_LEN];
            random(&mut iv)?;
            let text = data_key.expose_secret();
            let mut sealed = vec![0; text.len() + TAG_LEN];
            let kek_id = master.description.kek_id;
            master.key.seal(iv, &binding(occasion, WrappingAlgorithm::AesGcm, kek_id, context), text, &mut sealed)?;
            Ok(WrappedKey::new(occasion, WrappingAlgorithm::AesGcm, kek_id, iv, sealed)?.into())
        })
    }

    fn unwrap_one(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<UnwrappedKey> {
        self.with(KeyRef::Kek(wrapped.kek_id()), |master| {
            master.allow(matches!(master.description.state, KeyState::Active | KeyState::Retired))?;
            let iv: [u8; NONCE_LEN] = wrapped.parameters().try_into().map_err(|_| Error::not_authentic())?;
            let sealed = wrapped.ciphertext();
            if wrapped.algorithm() != WrappingAlgorithm::AesGcm {
                return Err(Error::not_authentic());
            }
            let len = sealed.len().checked_sub(TAG_LEN).ok_or_else(Error::not_authentic)?;
            let mut text = Zeroizing::new(vec![0; len]);
            let aad = binding(wrapped.occasion(), WrappingAlgorithm::AesGcm, wrapped.kek_id(), context);
            master.key.open(iv, &aad, sealed, &mut text)?;
            Ok(UnwrappedKey::new(DataKey::from_slice(&text)?, wrapped.clone(), master.description.clone()))
        })
    }
}

impl Keys {
    /// The highest version of a name that was ever made.
    fn highest_version(&self, name: &KeyName) -> Option<KeyVersion> {
        let living = self.masters.keys().filter(|(other, _)| other == name).map(|(_, version)| *version);
        living.chain(self.destroyed.get(name).map(|destroyed| destroyed.highest_version)).max()
    }

    fn destroy(&mut self, name: &KeyName, version: KeyVersion) -> Result<UsedNumbers> {
        let highest = self.highest_version(name).unwrap_or(version);
        let gone = self.masters.remove(&(name.clone(), version)).ok_or_else(|| no_such_version(name, version))?;
        let gone = DestroyedVersion { version, kek_id: gone.description.kek_id, destroyed: SystemTime::now() };
        let destroyed = self.destroyed.entry(name.clone());
        let destroyed = destroyed.or_insert_with(|| DestroyedKey::new(name.clone(), highest, Vec::new()));
        destroyed.highest_version = highest;
        destroyed.versions.push(gone);
        destroyed.versions.sort_by_key(|gone| gone.version);
        Ok(UsedNumbers::Remembered)
    }
}

impl Master {
    fn allow(&self, allowed: bool) -> Result<()> {
        let KeyDescription { name, version, state, .. } = &self.description;
        match allowed {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::KeyState, format!("key '{name}:{version}' is {state}"))),
        }
    }
}

impl KeyProvider for MemoryProvider {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.with(key, |master| Ok(master.description.clone()))
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        let data_key = DataKey::try_fill(length, random)?;
        let wrapped = self.wrap(key, context, &data_key, WrapOccasion::Generation)?;
        Ok((data_key, wrapped))
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        _: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate_data_key(key, context, length)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.wrap(key, context, data_key, WrapOccasion::Later)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        first_that_opens(wrapped, |one| self.unwrap_one(one, context))
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        let unwrap = |these: &WrappedKeys| self.unwrap_data_key(these, context);
        rewrap(wrapped, origin, unwrap, |data_key| self.wrap_data_key(to, context, data_key))
    }
}

impl KeyAdmin for MemoryProvider {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        match algorithm {
            AlgorithmChoice::Auto | AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm) => {}
            AlgorithmChoice::Exactly(other) => return Err(not_in_memory(other.name())),
        }
        let mut keys = self.keys();
        if keys.masters.keys().any(|(other, _)| other == name) {
            return Err(Error::new(ErrorKind::KeyExists, format!("key '{name}' exists already")));
        }
        Self::make(&mut keys, name)
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        Ok(self.keys().masters.values().map(|master| master.description.clone()).collect())
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        let keys = self.keys();
        let is_left = |name: &KeyName| keys.masters.keys().any(|(other, _)| other == name);
        Ok(keys.destroyed.values().filter(|key| !is_left(&key.name)).cloned().collect())
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        let mut keys = self.keys();
        let newest = keys.masters.values().map(|master| &master.description).rfind(|key| key.name == *name);
        let newest = newest.ok_or_else(|| Error::key_not_found(KeyRef::Name(name)))?;
        if made_before.is_some_and(|time| newest.created.is_some_and(|created| created >= time)) {
            return Err(Error::not_due(newest));
        }
        let made = Self::make(&mut keys, name)?;
        for master in keys.masters.values_mut().map(|master| &mut master.description) {
            if master.name == *name && master.version < made.version && master.state == KeyState::Active {
                master.state = KeyState::Retired;
            }
        }
        Ok(made)
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.change(name, version, |key, _| key.state = KeyState::Disabled)
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.change(name, version, |key, newest| {
            key.destroy_after = None;
            key.state = if newest { KeyState::Active } else { KeyState::Retired };
        })
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, _: VersionReuse) -> Result<UsedNumbers> {
        self.keys().destroy(name, version)
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        self.change(name, version, |key, _| {
            key.state = KeyState::Disabled;
            key.destroy_after = Some(not_before);
        })
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        let mut keys = self.keys();
        match keys.masters.get(&(name.clone(), version)) {
            Some(master) if master.description.is_expired(now) => {}
            Some(master) => return Err(Error::not_expired(&master.description)),
            None => return Err(no_such_version(name, version)),
        }
        keys.destroy(name, version).map(drop)
    }

    fn adopt_key(&self, _: &str) -> Result<Adoption> {
        Err(not_in_memory("adopting"))
    }

    fn public_key(&self, _: &KeyName) -> Result<PublicKey> {
        Err(not_in_memory("RSA"))
    }
}

impl Default for MemoryProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys().masters.values().map(|master| master.description.label()).collect();
        f.debug_tuple("MemoryProvider").field(&keys).finish()
    }
}

fn no_such_version(name: &KeyName, version: KeyVersion) -> Error {
    Error::new(ErrorKind::KeyNotFound, format!("there is no key '{name}:{version}'"))
}

fn not_in_memory(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the provider in memory does not do {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice() {
        let (keys, name) = (MemoryProvider::new(), "a".parse::<KeyName>().unwrap());
        let version = |number: u32| number.to_string().parse::<KeyVersion>().unwrap();
        assert_eq!(keys.create_key(&name, AlgorithmChoice::Auto).unwrap().version, version(1));
        assert_eq!(keys.rotate_key(&name, None).unwrap().version, version(2));
        // The highest, while another is there.
        keys.destroy_key(&name, version(2), VersionReuse::Refuse).unwrap();
        assert_eq!(keys.list_destroyed_keys().unwrap(), []);
        assert_eq!(keys.rotate_key(&name, None).unwrap().version, version(3));
        keys.destroy_key(&name, version(3), VersionReuse::Refuse).unwrap();
        // The last, by a schedule.
        let now = SystemTime::now();
        keys.schedule_destruction(&name, version(1), now).unwrap();
        keys.expire_key(&name, version(1), now).unwrap();
        let destroyed = keys.list_destroyed_keys().unwrap().remove(0);
        assert_eq!((destroyed.name, destroyed.highest_version), (name.clone(), version(3)));
        assert_eq!(destroyed.versions.iter().map(|gone| gone.version.get()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(keys.create_key(&name, AlgorithmChoice::Auto).unwrap().version, version(4));
    }
}
