//! The seam: who protects data keys, and who administers master keys.

use super::{
    DataKey, DataKeyLength, DestroyedKey, EncryptionContext, KekId, KeyName, KeyVersion, Origin, Provenance, PublicKey,
    UnwrappedKey, UsedNumbers, VersionReuse, WrappedKeys, WrappingAlgorithm,
};
use crate::error::{Error, Result};
use std::fmt;
use std::time::SystemTime;

/// A master key, by name (its current version) or by the id of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRef<'a> {
    /// The current version of the named key.
    Name(&'a KeyName),
    /// The version with this id.
    Kek(KekId),
}

impl fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "key '{name}'"),
            Self::Kek(id) => write!(f, "the key with KEK id {id}"),
        }
    }
}

/// What a version of a master key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Being made: not yet proven, may do nothing.
    Pending,
    /// May protect and recover.
    Active,
    /// Recovers only: a newer version has taken its place.
    Retired,
    /// May do nothing until it is enabled again.
    Disabled,
}

impl KeyState {
    /// The state as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One version of a master key, as its token shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyDescription {
    /// The name.
    pub name: KeyName,
    /// The version.
    pub version: KeyVersion,
    /// The id that wrapped keys carry.
    pub kek_id: KekId,
    /// What is protected with this key by name is wrapped under these as well: those of its siblings on
    /// other tokens ([`Failover`](crate::provider::Failover)).
    pub also: Vec<KekId>,
    /// Whether a sibling could not say which its key is: then [`also`](Self::also) lacks it, and a wrapped key may not
    /// be removed because it is under none of these.
    pub siblings_unknown: bool,
    /// What it wraps with.
    pub algorithm: WrappingAlgorithm,
    /// What it may do.
    pub state: KeyState,
    /// Whether the token itself refuses what the state forbids. RSA wrapping happens on the host
    /// with the public key, so no token can refuse it.
    pub enforced_by_token: bool,
    /// Where it came from.
    pub provenance: Provenance,
    /// When it was made or adopted, where that is recorded.
    pub created: Option<SystemTime>,
    /// When it may be destroyed, where that is scheduled ([`KeyAdmin::schedule_destruction`]).
    pub destroy_after: Option<SystemTime>,
    /// What is not as it should be, each a sentence. A key with any is not used for anything.
    pub problems: Vec<String>,
}

impl KeyDescription {
    /// A description without record or problems.
    #[must_use]
    pub fn new(
        name: KeyName,
        version: KeyVersion,
        kek_id: KekId,
        algorithm: WrappingAlgorithm,
        state: KeyState,
    ) -> Self {
        Self {
            name,
            version,
            kek_id,
            also: Vec::new(),
            siblings_unknown: false,
            algorithm,
            state,
            enforced_by_token: !algorithm.is_rsa(),
            provenance: Provenance::Foreign,
            created: None,
            destroy_after: None,
            problems: Vec::new(),
        }
    }

    /// Whether its scheduled destruction is due at `now`. One that may do anything is never destroyed by
    /// a schedule.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.state == KeyState::Disabled && self.destroy_after.is_some_and(|date| date <= now)
    }

    /// `NAME:VERSION`, as labels on the token have it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

/// The algorithm of a key that is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlgorithmChoice {
    /// AES-GCM where the token has it, else AES-KW.
    #[default]
    Auto,
    /// This one or none.
    Exactly(WrappingAlgorithm),
}

/// What [`KeyAdmin::adopt_key`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adoption {
    /// The key, as it is now.
    pub key: KeyDescription,
    /// What was changed, each a sentence.
    pub changes: Vec<String>,
    /// What is not as it should be and could not be changed, each a sentence.
    pub warnings: Vec<String>,
}

impl Adoption {
    /// An adoption of `key` that changed and found this.
    #[must_use]
    pub fn new(key: KeyDescription, changes: Vec<String>, warnings: Vec<String>) -> Self {
        Self { key, changes, warnings }
    }
}

/// Protects and recovers data keys under master keys.
///
/// The HSM implements it; governing, caching and failover wrap it; envelopes and every integration
/// consume it. Calls block; asynchronous callers use their runtime's `spawn_blocking`.
///
/// There are no default bodies, so that a new method cannot slip past a wrapper that decides and records:
///
/// ```compile_fail,E0046
/// struct Bypass;
/// impl keyward::KeyProvider for Bypass {}
/// ```
///
/// # Errors
/// Every method fails with `KeyNotFound` for a key that is not there or not this provider's to use,
/// `KeyState` where its state forbids the use, `KeyAttributes` where the token shows it unprotected,
/// `NotAuthentic` for each and every failed unwrapping, and the `Token…`, `Timeout` and `Pin…` kinds
/// where the token does not serve.
#[allow(clippy::missing_errors_doc, reason = "stated once, for all methods")]
pub trait KeyProvider: Send + Sync {
    /// What the provider knows of a master key.
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription>;

    /// A fresh data key and the same wrapped under the current version of `key`.
    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)>;

    /// A data key for one message of at most `message_len` bytes, and the same wrapped under `key`. Unlike that of
    /// [`generate_data_key`](Self::generate_data_key) it need not be fresh: a provider that keeps data keys
    /// ([`Cached`](crate::provider::Cached)) gives one to many messages under the same key and context. All others
    /// make a fresh one.
    ///
    /// So it is for messages that may share a data key, and for nothing else: each must be encrypted under a key of
    /// its own that is derived from the data key and from something random in the message, as envelopes do.
    /// Whoever cannot say how long the message will be asks for a fresh key instead.
    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)>;

    /// Wraps a data key that exists under the current version of `key`.
    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys>;

    /// Unwraps the first of `wrapped` that this provider can and may unwrap, symmetric ones first, and returns the data
    /// key with the facts of what opened.
    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey>;

    /// Unwraps the data key, wraps it under the current version of `to`, and returns all wrapped keys with the new ones
    /// in the place of those that opened to this data key. Those that did not open stay.
    ///
    /// What an RSA key opened goes under a symmetric key only if the caller asserts its [`Origin`]; else the answer is
    /// `OriginUnverified`.
    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys>;
}

/// Administers master keys. As with [`KeyProvider`] there are no default bodies:
///
/// ```compile_fail,E0046
/// struct Bypass;
/// impl keyward::KeyAdmin for Bypass {}
/// ```
///
/// # Errors
/// As [`KeyProvider`], and `KeyExists`, `DuplicateKey` and `Unsupported`.
#[allow(clippy::missing_errors_doc, reason = "stated once, for all methods")]
pub trait KeyAdmin: Send + Sync {
    /// Makes the first version of a key: version 1, or the number after the highest that a destroyed key of this
    /// name had. If many do it at once, one succeeds and the others get `KeyExists`.
    ///
    /// `Unsupported` also if the token keeps no data objects and its objects do not show the algorithm: then keys are
    /// for AES-GCM or RSA-OAEP with SHA-256.
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription>;

    /// All versions of all keys, by name and version.
    fn list_keys(&self) -> Result<Vec<KeyDescription>>;

    /// Returns the keys whose versions were all destroyed, by name.
    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>>;

    /// Makes the next version, of the same algorithm, and retires the others. With `made_before`: only
    /// where the current version was made before that time, and `KeyExists` where it was not, so that of
    /// many who ask at once or one after the other one makes a version. Where nothing is recorded of when
    /// it was made, that is `Unsupported`.
    ///
    /// Also without `made_before`, `KeyExists` says that another made the same version at the same moment.
    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription>;

    /// Forbids a version every use.
    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription>;

    /// Allows a version again what it may do: everything for the newest, recovering for the others. A
    /// scheduled destruction is cancelled.
    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription>;

    /// Destroys a version permanently and proves that it is gone. Data that only it protects is lost.
    ///
    /// Its number is not used again: before the version is destroyed, its token records the highest number. A token
    /// that cannot record it, because it keeps no data objects or is full, gives `VersionReuse` or `LimitExceeded`,
    /// and nothing is destroyed, unless `reuse` allows it. The last version on a token without data objects is
    /// destroyed in any case, and the answer is [`UsedNumbers::Forgotten`].
    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers>;

    /// Disables a version now, and records that [`expire_key`](Self::expire_key) may destroy it from
    /// `not_before` on. `Unsupported` where there is no record of the key to write that into.
    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription>;

    /// Destroys a version as [`destroy_key`](Self::destroy_key) does with [`VersionReuse::Refuse`], but only if its
    /// destruction is scheduled for `now` or before and it is still disabled; else `KeyState`.
    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()>;

    /// Takes over a key that another tool made, and narrows its usage where the token allows it.
    fn adopt_key(&self, label: &str) -> Result<Adoption>;

    /// The public half of the current version of an RSA key.
    fn public_key(&self, name: &KeyName) -> Result<PublicKey>;
}

macro_rules! forward {
    ($($wrapper:ty),*) => {$(
        impl<P: KeyProvider + ?Sized> KeyProvider for $wrapper {
            fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
                (**self).describe_key(key)
            }
            fn generate_data_key(&self, key: &KeyName, context: &EncryptionContext, length: DataKeyLength) -> Result<(DataKey, WrappedKeys)> {
                (**self).generate_data_key(key, context, length)
            }
            fn data_key_for_message(&self, key: &KeyName, context: &EncryptionContext, length: DataKeyLength, message_len: u64) -> Result<(DataKey, WrappedKeys)> {
                (**self).data_key_for_message(key, context, length, message_len)
            }
            fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
                (**self).wrap_data_key(key, context, data_key)
            }
            fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
                (**self).unwrap_data_key(wrapped, context)
            }
            fn rewrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext, to: &KeyName, origin: Origin) -> Result<WrappedKeys> {
                (**self).rewrap_data_key(wrapped, context, to, origin)
            }
        }
        impl<P: KeyAdmin + ?Sized> KeyAdmin for $wrapper {
            fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
                (**self).create_key(name, algorithm)
            }
            fn list_keys(&self) -> Result<Vec<KeyDescription>> {
                (**self).list_keys()
            }
            fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
                (**self).list_destroyed_keys()
            }
            fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
                (**self).rotate_key(name, made_before)
            }
            fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
                (**self).disable_key(name, version)
            }
            fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
                (**self).enable_key(name, version)
            }
            fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
                (**self).destroy_key(name, version, reuse)
            }
            fn schedule_destruction(&self, name: &KeyName, version: KeyVersion, not_before: SystemTime) -> Result<KeyDescription> {
                (**self).schedule_destruction(name, version, not_before)
            }
            fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
                (**self).expire_key(name, version, now)
            }
            fn adopt_key(&self, label: &str) -> Result<Adoption> {
                (**self).adopt_key(label)
            }
            fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
                (**self).public_key(name)
            }
        }
    )*};
}

forward!(&P, Box<P>, std::sync::Arc<P>);

impl Error {
    /// The answer to a key that is not there, or not this provider's to use.
    pub(crate) fn key_not_found(key: KeyRef<'_>) -> Self {
        Self::new(crate::ErrorKind::KeyNotFound, format!("{key} is not among the keys that may be used here"))
    }

    /// The answer to a rotation that is not due: the current version is no older than was asked.
    pub(crate) fn not_due(current: &KeyDescription) -> Self {
        Self::new(crate::ErrorKind::KeyExists, format!("key '{}' is not old enough to be rotated", current.label()))
    }

    /// The answer to a rotation of keys over a certain age, where nobody knows how old this one is.
    pub(crate) fn of_unknown_age(current: &KeyDescription) -> Self {
        let (label, name) = (current.label(), &current.name);
        Self::new(crate::ErrorKind::Unsupported, format!("when key '{label}' was made is not recorded")).with_hint(
            format!(
                "rotate it whatever its age with `keyward key rotate {name}`; `keyward key adopt` records the keys of other tools"
            ),
        )
    }

    /// The answer to an expiry that is not due.
    pub(crate) fn not_expired(key: &KeyDescription) -> Self {
        let (label, state) = (key.label(), key.state);
        let message = match key.destroy_after {
            None => format!("key '{label}' is not destroyed: no destruction is scheduled for it"),
            Some(_) if state != KeyState::Disabled => format!("key '{label}' is not destroyed: it is {state}"),
            Some(_) => format!("key '{label}' is not destroyed: its time has not come"),
        };
        Self::new(crate::ErrorKind::KeyState, message)
    }
}
