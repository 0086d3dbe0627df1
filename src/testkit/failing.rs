//! A provider that fails when a test says so.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    Adoption, AlgorithmChoice, DataKey, DataKeyLength, DestroyedKey, EncryptionContext, KeyAdmin, KeyDescription,
    KeyName, KeyProvider, KeyRef, KeyVersion, Origin, PublicKey, UnwrappedKey, UsedNumbers, VersionReuse, WrappedKeys,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A provider, or one that administers, whose calls fail from when a test says so: what a program does while its token
/// is away, its PIN locked, or a policy against it.
///
/// A call that fails is not made: the provider inside does not hear of it.
///
/// ```
/// use keyward::testkit::{Failing, MemoryProvider};
/// use keyward::{AlgorithmChoice, Encryptor, ErrorKind, KeyAdmin, KeyName};
///
/// let key: KeyName = "records".parse()?;
/// let keys = Failing::new(MemoryProvider::new());
/// keys.create_key(&key, AlgorithmChoice::Auto)?;
///
/// keys.fail_after(1, ErrorKind::TokenUnavailable);
/// Encryptor::new(&keys, &key).encrypt(b"the last one")?;
/// let refused = Encryptor::new(&keys, &key).encrypt(b"hello").unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::TokenUnavailable);
///
/// keys.recover();
/// Encryptor::new(&keys, &key).encrypt(b"hello again")?;
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug)]
pub struct Failing<P> {
    inner: P,
    plan: Mutex<Option<Plan>>,
}

/// So many calls are still made, and then fail in this way.
#[derive(Debug)]
struct Plan {
    calls: usize,
    kind: ErrorKind,
}

impl<P> Failing<P> {
    /// `inner`, which works so far.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// Every call fails with an error of this kind from now on.
    pub fn fail(&self, kind: ErrorKind) {
        self.fail_after(0, kind);
    }

    /// The same, after so many calls more.
    pub fn fail_after(&self, calls: usize, kind: ErrorKind) {
        *self.plan() = Some(Plan { calls, kind });
    }

    /// Calls are made again.
    pub fn recover(&self) {
        *self.plan() = None;
    }

    /// The provider inside, which does not fail.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    fn plan(&self) -> MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> Result<&P> {
        match &mut *self.plan() {
            Some(Plan { calls: 0, kind }) => Err(Error::new(*kind, "the test kit was told to fail")),
            Some(Plan { calls, .. }) => {
                *calls -= 1;
                Ok(&self.inner)
            }
            None => Ok(&self.inner),
        }
    }
}

impl<P: KeyProvider> KeyProvider for Failing<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.call()?.describe_key(key)
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.call()?.generate_data_key(key, context, length)
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.call()?.data_key_for_message(key, context, length, message_len)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.call()?.wrap_data_key(key, context, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        self.call()?.unwrap_data_key(wrapped, context)
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        self.call()?.rewrap_data_key(wrapped, context, to, origin)
    }
}

impl<P: KeyAdmin> KeyAdmin for Failing<P> {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        self.call()?.create_key(name, algorithm)
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        self.call()?.list_keys()
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        self.call()?.list_destroyed_keys()
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.call()?.rotate_key(name, made_before)
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.call()?.disable_key(name, version)
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.call()?.enable_key(name, version)
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.call()?.destroy_key(name, version, reuse)
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        self.call()?.schedule_destruction(name, version, not_before)
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.call()?.expire_key(name, version, now)
    }

    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        self.call()?.adopt_key(label)
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.call()?.public_key(name)
    }
}
