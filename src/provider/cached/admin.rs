//! Administering keys: whatever changes one forgets all data keys.

use super::Cached;
use crate::error::Result;
use crate::key::{
    Adoption, AlgorithmChoice, DestroyedKey, KeyAdmin, KeyDescription, KeyName, KeyVersion, PublicKey, UsedNumbers,
    VersionReuse,
};
use std::time::SystemTime;

impl<P> Cached<P> {
    /// Makes a change and forgets everything, also where it fails or panics: it may have been made half way. What is
    /// asked of the token meanwhile, and may be answered as before the change, is not kept.
    fn changing<T>(&self, change: impl FnOnce(&P) -> T) -> T {
        struct Clear<'a, P>(&'a Cached<P>);
        impl<P> Drop for Clear<'_, P> {
            fn drop(&mut self) {
                self.0.clear();
            }
        }
        let _clear = Clear(self);
        change(&self.inner)
    }
}

impl<P: KeyAdmin> KeyAdmin for Cached<P> {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        self.changing(|inner| inner.create_key(name, algorithm))
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        self.inner.list_keys()
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        self.inner.list_destroyed_keys()
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.changing(|inner| inner.rotate_key(name, made_before))
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.changing(|inner| inner.disable_key(name, version))
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.changing(|inner| inner.enable_key(name, version))
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.changing(|inner| inner.destroy_key(name, version, reuse))
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        self.changing(|inner| inner.schedule_destruction(name, version, not_before))
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.changing(|inner| inner.expire_key(name, version, now))
    }

    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        self.changing(|inner| inner.adopt_key(label))
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.inner.public_key(name)
    }
}
