//! An object store that encrypts, around any other: [`EncryptedStore`] implements
//! [`object_store::ObjectStore`] and keeps envelopes (`docs/format.md`) in the store inside. With the feature
//! `object-store`. How it is used, and what it does not give, is in `docs/object-store.md`.
//!
//! ```
//! # #[cfg(feature = "testkit")] {
//! use keyward::object::{EncryptedStore, Sse};
//! use keyward::{AlgorithmChoice, KeyAdmin, KeyName};
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use std::sync::Arc;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! // Tests use a provider in memory; programs use `keyward::hsm::HsmProvider`.
//! let provider = Arc::new(keyward::testkit::MemoryProvider::new());
//! let key: KeyName = "payments".parse()?;
//! provider.create_key(&key, AlgorithmChoice::Auto)?;
//!
//! let store = EncryptedStore::builder(Arc::new(InMemory::new()))
//!     .provider(provider)
//!     .default_sse(Sse::kms(key))
//!     .build()?;
//! let path = Path::from("reports/2026.pdf");
//! store.put(&path, "hello".into()).await?;
//! assert_eq!(store.get(&path).await?.bytes().await?, "hello");
//! assert_eq!(store.head(&path).await?.size, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The API in short
//!
//! - [`EncryptedStore::builder`] takes the inner store; [`Builder`] sets the provider, the
//!   [default](Builder::default_sse), what is [demanded](Builder::require) of every write, the
//!   [managed key](Builder::managed_key) of SSE-S3, [bucket keys](Builder::bucket_keys),
//!   [detached slots](Builder::detached_slots), the [header's length](Builder::header_len), a
//!   [name](Builder::name); [`build`](Builder::build) checks it.
//! - [`Sse`] in the `extensions` of a put, multipart put, copy or rename says how that one object is encrypted;
//!   [`OpenWith`] in those of a get, copy or rename with what the source is opened. Without them the store's default
//!   counts; a copy keeps how its source is encrypted.
//! - [`Encryption`] in the `extensions` of a `GetResult` says what the object is encrypted with; so do the attributes
//!   that S3 has for it.
//! - [`EncryptedStore::rewrap`] moves detached slots to current or other keys without reading bodies;
//!   [`EncryptedStore::usage`] counts which versions of keys are needed.
//! - Errors are those of `object_store`. Where Keyward refuses, the source is a [`keyward::Error`](crate::Error): see
//!   [`keyward_error`].

mod blocking;
mod body;
mod builder;
mod copy;
mod error;
mod header;
mod list;
mod mode;
mod multipart;
mod read;
mod rewrap;
mod sealer;
mod sidecar;
mod source;
mod store;
mod usage;
mod write;

pub use builder::Builder;
pub use mode::{Encryption, Mode, OpenWith, Sse};
pub use rewrap::Rewrapped;
pub use usage::{KeyUse, Usage};

use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyName, KeyProvider};
use crate::provider::Cached;
use object_store::ObjectStore;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// An object store whose objects are encrypted in the store inside. Cheap to clone; clones are the same store.
///
/// All objects have a header of one length, so that the sizes in listings follow from the sizes inside without a
/// request for each. An object inside whose size no envelope of this store can have is not the store's: listings leave
/// it out, and a get refuses it.
///
/// Names that begin with `.keyward/` belong to the store itself: they are not listed, not read and not written for
/// callers.
#[derive(Clone)]
pub struct EncryptedStore {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) settings: Arc<Settings>,
}

impl EncryptedStore {
    /// A store around `inner`.
    pub fn builder(inner: Arc<dyn ObjectStore>) -> Builder {
        Builder::new(inner)
    }
}

/// What a builder said.
pub(crate) struct Settings {
    provider: Option<Arc<dyn KeyProvider>>,
    /// The same with data keys kept.
    cached: Option<Arc<Cached<Arc<dyn KeyProvider>>>>,
    managed: Option<Managed>,
    default_sse: Option<Sse>,
    open_with: Option<OpenWith>,
    modes: BTreeSet<Mode>,
    keys: BTreeSet<KeyName>,
    name: Option<String>,
    header_len: u32,
    detached: bool,
    unbound: bool,
    unconditional_rewrap: bool,
    show: bool,
}

/// The key of SSE-S3, made on first use.
struct Managed {
    make: Box<dyn Fn() -> Result<KeyName> + Send + Sync>,
    name: OnceLock<KeyName>,
}

impl Managed {
    /// Blocks.
    fn name(&self) -> Result<KeyName> {
        if let Some(name) = self.name.get() {
            return Ok(name.clone());
        }
        let name = (self.make)()?;
        Ok(self.name.get_or_init(|| name).clone())
    }
}

impl Settings {
    /// The provider, with data keys kept for objects that share them.
    fn provider_for(&self, bucket_key: bool) -> Result<&dyn KeyProvider> {
        if let (Some(cached), true) = (&self.cached, bucket_key) {
            return Ok(&**cached);
        }
        self.provider.as_deref().map(|provider| provider as &dyn KeyProvider).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "the store has no key provider: only a customer's own key opens")
        })
    }
}

/// The error of Keyward in an error of `object_store`, where it was Keyward that refused.
///
/// ```
/// use keyward::{Error, ErrorKind, object::keyward_error};
/// let source = Box::new(Error::new(ErrorKind::NotAuthentic, "altered"));
/// let error = object_store::Error::Generic { store: "keyward", source };
/// assert_eq!(keyward_error(&error).map(Error::kind), Some(ErrorKind::NotAuthentic));
/// ```
#[must_use]
pub fn keyward_error(error: &object_store::Error) -> Option<&Error> {
    std::error::Error::source(error)?.downcast_ref()
}
