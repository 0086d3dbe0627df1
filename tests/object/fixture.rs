//! Stores to encrypt into, and the ways to do it.

use keyward::key::CustomerKey;
use keyward::object::{Builder, EncryptedStore, Sse};
use keyward::provider::CacheLimits;
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, EncryptionContext, KeyAdmin, KeyName};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) fn key() -> KeyName {
    "payments".parse().unwrap()
}

/// A provider with a key.
pub(crate) fn provider() -> Arc<MemoryProvider> {
    let provider = Arc::new(MemoryProvider::new());
    provider.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    provider
}

pub(crate) fn customer_key(byte: u8) -> Arc<CustomerKey> {
    Arc::new(CustomerKey::from_slice(&[byte; 32]).unwrap())
}

pub(crate) fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "acme")]).unwrap()
}

pub(crate) fn limits() -> CacheLimits {
    CacheLimits::new(Duration::from_secs(600), 1 << 15, 1000).unwrap()
}

/// A store with everything that a mode may need, and the mode as its default.
pub(crate) fn builder(inner: Arc<dyn ObjectStore>, provider: &Arc<MemoryProvider>) -> Builder {
    EncryptedStore::builder(inner).provider(provider.clone()).managed_key(provider.clone(), "s3").bucket_keys(limits())
}

/// A store under a key, with nothing else about it.
pub(crate) fn store(inner: &Arc<dyn ObjectStore>) -> EncryptedStore {
    builder(inner.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap()
}

/// Each way to encrypt, by name. Detached slots and stores without binding are ways of the store.
pub(crate) fn ways() -> Vec<(&'static str, Sse)> {
    vec![
        ("SSE-KMS", Sse::kms(key()).context(context())),
        ("SSE-KMS with bucket keys", Sse::kms(key()).bucket_key(true)),
        ("SSE-S3", Sse::s3()),
        ("SSE-S3 with bucket keys", Sse::s3().bucket_key(true)),
        ("SSE-C", Sse::customer(customer_key(7))),
        ("client-side", Sse::client(key())),
        ("client-side with a customer's key", Sse::client_with_customer_key(customer_key(8))),
    ]
}

/// A store inside that is made anew, and what keeps it alive.
pub(crate) struct Inner {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whether `PutMode::Update` works.
    pub(crate) updates: bool,
    _directory: Option<TempDir>,
}

pub(crate) fn in_memory() -> Inner {
    Inner { name: "in memory", store: Arc::new(InMemory::new()), updates: true, _directory: None }
}

pub(crate) fn local() -> Inner {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    Inner { name: "local", store: Arc::new(store), updates: false, _directory: Some(directory) }
}

/// One that somebody else keeps alive.
#[cfg(feature = "cli")]
pub(crate) fn elsewhere(name: &'static str, store: Arc<dyn ObjectStore>) -> Inner {
    Inner { name, store, updates: true, _directory: None }
}

/// Every store inside that the suite passes in. Another is plugged in here.
pub(crate) const INNERS: [fn() -> Inner; 2] = [in_memory, local];
