//! A provider that counts what is asked of it, and does something first where a test wants that. It stands where a
//! token would: what it was not asked for, no token was.

use keyward::key::{Adoption, DestroyedKey, KeyDescription, PublicKey, UsedNumbers, VersionReuse};
use keyward::testkit::MemoryProvider;
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, KeyAdmin, KeyName, KeyProvider, KeyRef, KeyVersion,
    Result, WrappedKeys,
};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

type Hook = Arc<dyn Fn(&MemoryProvider) -> Result<()> + Send + Sync>;
type Once = Box<dyn FnOnce(&MemoryProvider) + Send>;

#[derive(Default)]
pub(crate) struct Spy {
    pub(crate) keys: MemoryProvider,
    asked: Mutex<Vec<&'static str>>,
    generating: Mutex<Option<Once>>,
    answering: Mutex<Option<Hook>>,
}

impl Spy {
    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Done once, just before the next data key is generated.
    pub(crate) fn before_generating(&self, hook: impl FnOnce(&MemoryProvider) + Send + 'static) {
        *self.generating.lock().unwrap() = Some(Box::new(hook));
    }

    /// Done after each answer that is asked for from now on is known, and before it is given.
    pub(crate) fn before_answering(&self, hook: impl Fn(&MemoryProvider) -> Result<()> + Send + Sync + 'static) {
        *self.answering.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Nothing is done before an answer is given.
    pub(crate) fn answer_at_once(&self) {
        *self.answering.lock().unwrap() = None;
    }

    fn ask<T>(&self, what: &'static str, answer: impl FnOnce(&MemoryProvider) -> Result<T>) -> Result<T> {
        self.asked.lock().unwrap().push(what);
        if what == "generate"
            && let Some(hook) = self.generating.lock().unwrap().take()
        {
            hook(&self.keys);
        }
        let answer = answer(&self.keys);
        let hook = self.answering.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(&self.keys))?;
        answer
    }
}

impl KeyProvider for Spy {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.ask("describe", |keys| keys.describe_key(key))
    }
    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.ask("generate", |keys| keys.generate_data_key(key, context, length))
    }
    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.ask("message", |keys| keys.data_key_for_message(key, context, length, message_len))
    }
    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.ask("wrap", |keys| keys.wrap_data_key(key, context, data_key))
    }
    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<keyward::UnwrappedKey> {
        self.ask("unwrap", |keys| keys.unwrap_data_key(wrapped, context))
    }
    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: keyward::Origin,
    ) -> Result<WrappedKeys> {
        self.ask("rewrap", |keys| keys.rewrap_data_key(wrapped, context, to, origin))
    }
}

impl KeyAdmin for Spy {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        self.ask("create", |keys| keys.create_key(name, algorithm))
    }
    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        self.ask("list", |keys| keys.list_keys())
    }
    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        self.ask("list destroyed", |keys| keys.list_destroyed_keys())
    }
    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.ask("rotate", |keys| keys.rotate_key(name, made_before))
    }
    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.ask("disable", |keys| keys.disable_key(name, version))
    }
    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.ask("enable", |keys| keys.enable_key(name, version))
    }
    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.ask("destroy", |keys| keys.destroy_key(name, version, reuse))
    }
    fn schedule_destruction(&self, name: &KeyName, version: KeyVersion, at: SystemTime) -> Result<KeyDescription> {
        self.ask("schedule", |keys| keys.schedule_destruction(name, version, at))
    }
    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.ask("expire", |keys| keys.expire_key(name, version, now))
    }
    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        self.ask("adopt", |keys| keys.adopt_key(label))
    }
    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.ask("public", |keys| keys.public_key(name))
    }
}
