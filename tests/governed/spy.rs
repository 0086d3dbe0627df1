//! A provider that counts what is asked of it. It stands where a token would: what it was not asked for, no token was.

use keyward::key::{Adoption, KeyDescription, PublicKey};
use keyward::testkit::MemoryProvider;
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, KeyAdmin, KeyName, KeyProvider, KeyRef, KeyVersion,
    Result, WrappedKeys,
};
use std::sync::Mutex;
use std::time::SystemTime;

type Hook = Box<dyn FnOnce(&MemoryProvider) + Send>;

#[derive(Default)]
pub(crate) struct Spy {
    pub(crate) keys: MemoryProvider,
    asked: Mutex<Vec<&'static str>>,
    /// Done once, just before the next data key is generated.
    before: Mutex<Option<Hook>>,
}

impl Spy {
    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn before_the_next(&self, hook: impl FnOnce(&MemoryProvider) + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(hook));
    }

    fn note(&self, what: &'static str) -> &MemoryProvider {
        self.asked.lock().unwrap().push(what);
        &self.keys
    }
}

impl KeyProvider for Spy {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.note("describe").describe_key(key)
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        if let Some(hook) = self.before.lock().unwrap().take() {
            hook(&self.keys);
        }
        self.note("generate").generate_data_key(key, context, length)
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.note("message").data_key_for_message(key, context, length, message_len)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.note("wrap").wrap_data_key(key, context, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<DataKey> {
        self.note("unwrap").unwrap_data_key(wrapped, context)
    }

    fn rewrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext, to: &KeyName) -> Result<WrappedKeys> {
        self.note("rewrap").rewrap_data_key(wrapped, context, to)
    }
}

impl KeyAdmin for Spy {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        self.note("create").create_key(name, algorithm)
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        self.note("list").list_keys()
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.note("rotate").rotate_key(name, made_before)
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.note("disable").disable_key(name, version)
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.note("enable").enable_key(name, version)
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion) -> Result<()> {
        self.note("destroy").destroy_key(name, version)
    }

    fn schedule_destruction(&self, name: &KeyName, version: KeyVersion, at: SystemTime) -> Result<KeyDescription> {
        self.note("schedule").schedule_destruction(name, version, at)
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.note("expire").expire_key(name, version, now)
    }

    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        self.note("adopt").adopt_key(label)
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.note("public").public_key(name)
    }
}
