//! Putting a store together.

use super::mode::SseKey;
use super::{EncryptedStore, Managed, Mode, OpenWith, Settings, Sse};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyAdmin, KeyName, KeyProvider};
use crate::provider::{CacheLimits, Cached, managed_key};
use object_store::ObjectStore;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The header of a store that says nothing: room for 16 entries of AES, or three of RSA-4096, beside a context of 1 KiB.
const HEADER_LEN: u32 = 4096;
/// CORE without a context, and the shortest SLOTS, with some room for the store's own pairs.
const HEADER_LENS: std::ops::RangeInclusive<u32> = 512..=65536;

/// What an [`EncryptedStore`] is made of.
#[must_use]
pub struct Builder {
    inner: Arc<dyn ObjectStore>,
    limits: Option<CacheLimits>,
    settings: Settings,
}

impl Builder {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        let settings = Settings {
            provider: None,
            cached: None,
            managed: None,
            default_sse: None,
            open_with: None,
            modes: BTreeSet::new(),
            keys: BTreeSet::new(),
            name: None,
            header_len: HEADER_LEN,
            detached: false,
            unbound: false,
            unconditional_rewrap: false,
            show: true,
        };
        Self { inner, limits: None, settings }
    }

    /// Wraps and unwraps data keys. A store whose objects are all under customers' own keys needs none.
    pub fn provider(mut self, provider: Arc<dyn KeyProvider>) -> Self {
        self.settings.provider = Some(provider);
        self
    }

    /// How objects are encrypted whose request says nothing: the default of a bucket. Without it such requests fail.
    /// A customer's own key that is the default opens, too.
    pub fn default_sse(mut self, sse: Sse) -> Self {
        self.settings.default_sse = Some(sse);
        self
    }

    /// With what objects are opened by requests that say nothing.
    pub fn open_with(mut self, open: OpenWith) -> Self {
        self.settings.open_with = Some(open);
        self
    }

    /// Every write is in one of these modes, or is refused with `PolicyDenied` before anything is asked of a key: the
    /// policy of a bucket. Without it all are allowed.
    pub fn require(mut self, modes: impl IntoIterator<Item = Mode>) -> Self {
        self.settings.modes.extend(modes);
        self
    }

    /// Every write that names a master key names one of these, or is refused like that.
    pub fn require_keys(mut self, keys: impl IntoIterator<Item = KeyName>) -> Self {
        self.settings.keys.extend(keys);
        self
    }

    /// Allows SSE-S3, under the managed key `keyward/SUFFIX`, which `admin` makes where it is not there yet. It has to
    /// administer the keys that the [`provider`](Self::provider) uses.
    pub fn managed_key(mut self, admin: impl KeyProvider + KeyAdmin + 'static, suffix: &str) -> Self {
        let suffix = suffix.to_owned();
        let make = Box::new(move || Ok(managed_key(&admin, &suffix)?.name));
        self.settings.managed = Some(Managed { make, name: OnceLock::new() });
        self
    }

    /// Keeps data keys within these limits for objects with a [bucket key](Sse::bucket_key). What is governed is asked
    /// less often then: policies and the audit log see the calls for data keys, not each object. To have them see all,
    /// leave this out and give a [`provider`](Self::provider) that governs a [`Cached`] one.
    pub fn bucket_keys(mut self, limits: CacheLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Keeps the wrapped keys of each object in an object of their own under `.keyward/slots/`, so that
    /// [`rewrap`](EncryptedStore::rewrap) replaces them and never reads bodies. Each put and get is a request more, and
    /// each put and delete looks first at what is there. Not for stores that keep old versions of objects: the wrapped
    /// keys of those go when the object is replaced or deleted.
    pub fn detached_slots(mut self) -> Self {
        self.settings.detached = true;
        self
    }

    /// The length of what precedes each object, 512 to 65536 bytes; 4096 unless said. It must be the same for as long
    /// as the store lives: objects with another one are refused.
    pub fn header_len(mut self, len: u32) -> Self {
        self.settings.header_len = len;
        self
    }

    /// The name of the store, which is bound as the path is: an object from another bucket is then refused even at the
    /// same path. It must stay the same for as long as the store lives.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Does **not** bind the path of an object, so that a copy or rename is the inner store's own, without reading the
    /// object. Whoever can write to the inner store can then put one object in the place of another, unnoticed.
    pub fn danger_unbound(mut self) -> Self {
        self.settings.unbound = true;
        self
    }

    /// Lets [`rewrap`](EncryptedStore::rewrap) replace wrapped keys in inner stores that cannot do it conditionally.
    /// Of two that rewrap the same object at once one is then lost, and with it the entries that only that one added.
    pub fn danger_unconditional_rewrap(mut self) -> Self {
        self.settings.unconditional_rewrap = true;
        self
    }

    /// Whether a get shows what an object is encrypted with among the attributes, as S3 does; it does unless said
    /// otherwise. [`Encryption`](super::Encryption) is in the extensions in any case.
    pub fn encryption_attributes(mut self, show: bool) -> Self {
        self.settings.show = show;
        self
    }

    /// The store.
    ///
    /// # Errors
    /// `InvalidArgument` where the header's length is out of bounds, the default needs a provider or a managed key that
    /// is missing, the default is not one of those that are required, or slots are detached in a store that does not
    /// bind paths: there copies would share them, and the first that is deleted would take the others' keys along.
    pub fn build(mut self) -> Result<EncryptedStore> {
        let refuse = |what: &'static str| Err(Error::new(ErrorKind::InvalidArgument, what));
        let settings = &mut self.settings;
        if !HEADER_LENS.contains(&settings.header_len) {
            return refuse("the header of a store is 512 to 65536 bytes long");
        }
        if settings.detached && settings.unbound {
            return refuse("slots can be detached only where paths are bound");
        }
        match settings.default_sse.as_ref().map(|sse| &sse.key) {
            Some(SseKey::Managed) if settings.managed.is_none() => {
                return refuse("SSE-S3 needs a managed key");
            }
            Some(SseKey::Managed | SseKey::Named(_)) if settings.provider.is_none() => {
                return refuse("a master key needs a provider");
            }
            _ => {}
        }
        if settings.default_sse.is_some() {
            let allowed = settings.choose(None);
            allowed.map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "the store refuses its own default").with_source(error)
            })?;
        }
        if let (Some(limits), Some(provider)) = (self.limits, &settings.provider) {
            settings.cached = Some(Arc::new(Cached::new(Arc::clone(provider), limits)));
        }
        Ok(EncryptedStore { inner: self.inner, settings: Arc::new(self.settings) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("default_sse", &self.default_sse)
            .field("modes", &self.modes)
            .field("keys", &self.keys)
            .field("name", &self.name)
            .field("header_len", &self.header_len)
            .field("detached", &self.detached)
            .field("unbound", &self.unbound)
            .finish_non_exhaustive()
    }
}
