//! Administering keys under policies and a log.

use super::Governed;
use super::asked::Asked;
use crate::audit::EventKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    Adoption, AlgorithmChoice, DestroyedKey, KeyAdmin, KeyDescription, KeyName, KeyProvider, KeyRef, KeyVersion,
    Operation, PublicKey, UsedNumbers, VersionReuse,
};
use crate::policy::Resource;
use std::time::SystemTime;

impl<P: KeyProvider + KeyAdmin> KeyAdmin for Governed<P> {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        let asked = Asked::of(Operation::CreateKey);
        self.decide(asked, Resource::New { name, algorithm })
            .map_err(|error| self.refused(asked, [name.into()], error))?;
        self.recorded(asked, vec![name.into()], &[], || self.inner.create_key(name, algorithm), one)
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        let asked = Asked::of(Operation::ListKeys);
        self.decide(asked, Resource::All).map_err(|error| self.refused(asked, [], error))?;
        self.recorded(asked, Vec::new(), &[], || self.inner.list_keys(), |_| Vec::new())
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        let asked = Asked::of(Operation::ListKeys);
        self.decide(asked, Resource::All).map_err(|error| self.refused(asked, [], error))?;
        self.recorded(asked, Vec::new(), &[], || self.inner.list_destroyed_keys(), |_| Vec::new())
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        let rotate = || self.inner.rotate_key(name, made_before);
        self.on_current(Operation::RotateKey, name, rotate, one)
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.on_version(Operation::DisableKey, name, version, || self.inner.disable_key(name, version))
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.on_version(Operation::EnableKey, name, version, || self.inner.enable_key(name, version))
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.on_version(Operation::DestroyKey, name, version, || self.inner.destroy_key(name, version, reuse))
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        let schedule = || self.inner.schedule_destruction(name, version, not_before);
        self.on_version(Operation::DestroyKey, name, version, schedule)
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.on_version(Operation::DestroyKey, name, version, || self.inner.expire_key(name, version, now))
    }

    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        // Policies speak of names. A label that is none could be allowed by nobody.
        let (name, version) = match label.rsplit_once(':') {
            Some((name, version)) => (name.parse::<KeyName>()?, version.parse()?),
            None => (label.parse()?, KeyVersion::FIRST),
        };
        self.on_version(Operation::AdoptKey, &name, version, || self.inner.adopt_key(label))
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.on_current(Operation::GetPublicKey, name, || self.inner.public_key(name), |_| Vec::new())
    }
}

impl<P: KeyProvider + KeyAdmin> Governed<P> {
    /// What is asked of the current version of a key.
    fn on_current<T>(
        &self,
        operation: Operation,
        name: &KeyName,
        work: impl FnOnce() -> Result<T>,
        about: impl FnOnce(&T) -> Vec<EventKey>,
    ) -> Result<T> {
        let asked = Asked::of(operation);
        let decided = || {
            let key = match self.decide(asked, Resource::Named(name))? {
                true if self.log.is_none() => return Ok(EventKey::from(name)),
                true => self.inner.describe_key(KeyRef::Name(name))?,
                false => {
                    let key = self.inner.describe_key(KeyRef::Name(name))?;
                    self.decide(asked, Resource::Key(&key))?;
                    key
                }
            };
            Ok(EventKey::from(&key))
        };
        let key = decided().map_err(|error| self.refused(asked, [name.into()], error))?;
        self.recorded(asked, vec![key], &[], work, about)
    }

    /// What is asked of one version of a key; of all siblings' of that version.
    fn on_version<T>(
        &self,
        operation: Operation,
        name: &KeyName,
        version: KeyVersion,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let asked = Asked::of(operation);
        let unknown = || EventKey::new(None, Some(name), Some(version));
        let decided = || {
            let by_version = !self.decide(asked, Resource::Named(name))?;
            if !by_version && self.log.is_none() {
                return Ok(vec![unknown()]);
            }
            let mut keys = self.inner.list_keys()?;
            keys.retain(|key| key.name == *name && key.version == version);
            if keys.is_empty() {
                return Err(Error::new(ErrorKind::KeyNotFound, format!("there is no key '{name}:{version}'")));
            }
            if by_version {
                for key in &keys {
                    self.decide(asked, Resource::Key(key))?;
                }
            }
            Ok(keys.iter().map(EventKey::from).collect())
        };
        let keys = decided().map_err(|error| self.refused(asked, [unknown()], error))?;
        self.recorded(asked, keys, &[], work, |_| Vec::new())
    }
}

/// The key that came of it.
fn one(key: &KeyDescription) -> Vec<EventKey> {
    vec![key.into()]
}
