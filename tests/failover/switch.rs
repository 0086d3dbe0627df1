//! A provider that can be turned off, made to hang, and asked how often it was called.

use keyward::key::{Adoption, DestroyedKey, KeyDescription, PublicKey, UsedNumbers, VersionReuse};
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, Error, ErrorKind, KekId, KeyAdmin, KeyName,
    KeyProvider, KeyRef, KeyVersion, Result, WrappedKeys,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::SystemTime;

pub(crate) struct Switch<P> {
    inner: P,
    /// Whether a probe panics, once.
    panics: AtomicBool,
    /// What it answers to everything; nothing: it is on.
    says: Mutex<Option<ErrorKind>>,
    hangs: Mutex<bool>,
    released: Condvar,
    calls: AtomicUsize,
    probes: AtomicUsize,
}

impl<P> Switch<P> {
    pub(crate) fn new(inner: P) -> Self {
        Self {
            inner,
            panics: AtomicBool::new(false),
            says: Mutex::default(),
            hangs: Mutex::default(),
            released: Condvar::new(),
            calls: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
        }
    }

    /// What is behind the switch.
    pub(crate) fn inner(&self) -> &P {
        &self.inner
    }

    pub(crate) fn off(&self) {
        self.say(ErrorKind::TokenUnavailable);
    }

    pub(crate) fn say(&self, kind: ErrorKind) {
        *self.says.lock().unwrap() = Some(kind);
    }

    pub(crate) fn on(&self) {
        *self.says.lock().unwrap() = None;
    }

    /// From now on every call hangs, until it is told to go on.
    pub(crate) fn hang(&self) {
        *self.hangs.lock().unwrap() = true;
    }

    /// The next probe panics.
    pub(crate) fn panic(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_panicked(&self) -> bool {
        !self.panics.load(Ordering::SeqCst)
    }

    pub(crate) fn go_on(&self) {
        *self.hangs.lock().unwrap() = false;
        self.released.notify_all();
    }

    /// How many calls reached it that were not probes.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn probes(&self) -> usize {
        self.probes.load(Ordering::SeqCst)
    }

    fn pass<T>(&self, counter: &AtomicUsize, call: impl FnOnce(&P) -> Result<T>) -> Result<T> {
        counter.fetch_add(1, Ordering::SeqCst);
        drop(self.released.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        let says = *self.says.lock().unwrap();
        match says {
            Some(kind) => Err(Error::new(kind, format!("switched to {kind:?}"))),
            None => call(&self.inner),
        }
    }

    /// What an opening behind the switch gives.
    pub(crate) fn open<T>(&self, opened: impl FnOnce() -> T) -> Result<T> {
        self.ask(|_| Ok(opened()))
    }

    fn ask<T>(&self, call: impl FnOnce(&P) -> Result<T>) -> Result<T> {
        self.pass(&self.calls, call)
    }
}

impl<P: KeyProvider> KeyProvider for Switch<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        let is_probe = key == KeyRef::Kek(KekId::from_bytes([0; 16]));
        assert!(!is_probe || !self.panics.swap(false, Ordering::SeqCst), "a panic that is part of the test");
        self.pass(if is_probe { &self.probes } else { &self.calls }, |inner| inner.describe_key(key))
    }
    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.ask(|inner| inner.generate_data_key(key, context, length))
    }
    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.ask(|inner| inner.data_key_for_message(key, context, length, message_len))
    }
    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.ask(|inner| inner.wrap_data_key(key, context, data_key))
    }
    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<keyward::UnwrappedKey> {
        self.ask(|inner| inner.unwrap_data_key(wrapped, context))
    }
    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: keyward::Origin,
    ) -> Result<WrappedKeys> {
        self.ask(|inner| inner.rewrap_data_key(wrapped, context, to, origin))
    }
}

impl<P: KeyAdmin> KeyAdmin for Switch<P> {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        self.ask(|inner| inner.create_key(name, algorithm))
    }
    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        self.ask(|inner| inner.list_keys())
    }
    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        self.ask(|inner| inner.list_destroyed_keys())
    }
    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.ask(|inner| inner.rotate_key(name, made_before))
    }
    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.ask(|inner| inner.disable_key(name, version))
    }
    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.ask(|inner| inner.enable_key(name, version))
    }
    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.ask(|inner| inner.destroy_key(name, version, reuse))
    }
    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        self.ask(|inner| inner.schedule_destruction(name, version, not_before))
    }
    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.ask(|inner| inner.expire_key(name, version, now))
    }
    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        self.ask(|inner| inner.adopt_key(label))
    }
    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.ask(|inner| inner.public_key(name))
    }
}
