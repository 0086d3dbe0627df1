//! What a store demands of every write, its default, its managed key, and its cache.

use crate::bound::{refused_as, with};
use crate::fixture::{builder, customer_key, in_memory, key, limits, provider};
use crate::watched::Watched;
use keyward::object::{EncryptedStore, Encryption, Mode, Sse};
use keyward::provider::Cached;
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyName};
use object_store::path::Path;
use object_store::{CopyOptions, ObjectStore, ObjectStoreExt, PutMultipartOptions};
use std::sync::Arc;

#[tokio::test]
async fn a_write_that_the_store_does_not_take_is_refused_before_anything_is_asked_of_anybody() {
    let watched = Arc::new(Watched::new(in_memory().store));
    let provider = provider();
    provider.create_key(&"other".parse().unwrap(), AlgorithmChoice::Auto).unwrap();
    let cached = Arc::new(Cached::new(provider.clone(), limits()));
    let store = EncryptedStore::builder(watched.clone())
        .provider(cached.clone())
        .default_sse(Sse::kms(key()))
        .require([Mode::Kms])
        .require_keys([key()])
        .build()
        .unwrap();
    let path = Path::from("a");
    let refused = [Sse::customer(customer_key(1)), Sse::s3(), Sse::client(key()), Sse::kms("other".parse().unwrap())];
    for sse in &refused {
        let error = store.put_opts(&path, "x".into(), with(sse.clone())).await.unwrap_err();
        assert!(matches!(error, object_store::Error::PermissionDenied { .. }), "{error}");
        refused_as(Err::<(), _>(error), ErrorKind::PolicyDenied);
        let mut options = PutMultipartOptions::default();
        options.extensions.insert(sse.clone());
        refused_as(store.put_multipart_opts(&path, options).await, ErrorKind::PolicyDenied);
    }
    assert!(watched.requests().is_empty());
    assert_eq!(cached.stats().generate_misses, 0);
    store.put(&path, "hello".into()).await.unwrap();
    for sse in refused {
        let mut options = CopyOptions::default();
        options.extensions.insert(sse);
        refused_as(store.copy_opts(&path, &Path::from("b"), options).await, ErrorKind::PolicyDenied);
    }
    assert!(store.head(&Path::from("b")).await.is_err());
}

#[tokio::test]
async fn a_store_without_default_refuses_requests_that_say_nothing() {
    let store = builder(in_memory().store, &provider()).build().unwrap();
    refused_as(store.put(&Path::from("a"), "x".into()).await, ErrorKind::InvalidArgument);
    store.put_opts(&Path::from("a"), "x".into(), with(Sse::s3())).await.unwrap();
    assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), "x");
}

#[tokio::test]
async fn a_store_that_cannot_work_is_not_built() {
    let builder = || builder(in_memory().store, &provider());
    let kind = |builder: keyward::object::Builder| builder.build().unwrap_err().kind();
    for bad in [
        builder().header_len(511),
        builder().header_len(65537),
        builder().detached_slots().danger_unbound(),
        builder().default_sse(Sse::s3()).require([Mode::Kms]),
        EncryptedStore::builder(in_memory().store).default_sse(Sse::kms(key())),
        EncryptedStore::builder(in_memory().store).provider(provider()).default_sse(Sse::s3()),
    ] {
        assert_eq!(kind(bad), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn the_managed_key_is_made_on_first_use_and_by_one_of_many() {
    let provider = Arc::new(MemoryProvider::new());
    let store = builder(in_memory().store, &provider).default_sse(Sse::s3()).build().unwrap();
    assert!(provider.list_keys().unwrap().is_empty(), "not before it is used");
    let puts = (0..20).map(|n| {
        let store = store.clone();
        async move { store.put(&Path::from(format!("{n}")), "hello".into()).await }
    });
    futures_util::future::try_join_all(puts).await.unwrap();
    let keys = provider.list_keys().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].name, "keyward/s3".parse::<KeyName>().unwrap_or_else(|_| KeyName::managed("s3").unwrap()));
}

#[tokio::test]
async fn bucket_keys_serve_many_objects_with_one_data_key() {
    let provider = provider();
    let cached = Arc::new(Cached::new(provider, limits()));
    let store = EncryptedStore::builder(in_memory().store)
        .provider(cached.clone())
        .default_sse(Sse::kms(key()).bucket_key(true))
        .build()
        .unwrap();
    for n in 0..50 {
        store.put(&Path::from(format!("{n}")), "hello".into()).await.unwrap();
    }
    for n in 0..50 {
        let answer = store.get(&Path::from(format!("{n}"))).await.unwrap();
        assert!(answer.extensions.get::<Encryption>().unwrap().bucket_key);
        assert_eq!(answer.bytes().await.unwrap(), "hello");
    }
    let stats = cached.stats();
    assert_eq!((stats.generate_misses, stats.generate_hits), (1, 49));
    assert_eq!((stats.unwrap_misses, stats.unwrap_hits), (1, 49));
    // Without a bucket key each object has its own, also where the provider would share.
    store.put_opts(&Path::from("own"), "hello".into(), with(Sse::kms(key()))).await.unwrap();
    assert_eq!(cached.stats().generate_misses, 1, "a fresh key was asked for, past the cache");
    assert_eq!(cached.stats().generate_hits, 49);
}

#[tokio::test]
async fn names_of_the_store_itself_are_not_for_callers() {
    let inner = in_memory().store;
    let store = builder(inner.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap();
    inner.put(&Path::from(".keyward/slots/x"), vec![0; 5000].into()).await.unwrap();
    store.put(&Path::from("a"), "hello".into()).await.unwrap();
    let hidden = Path::from(".keyward/slots/x");
    let is_missing = |error: object_store::Error| matches!(error, object_store::Error::NotFound { .. });
    assert!(is_missing(store.get(&hidden).await.unwrap_err()));
    assert!(is_missing(store.head(&hidden).await.unwrap_err()));
    assert!(is_missing(store.get_ranges(&hidden, &[0..1]).await.unwrap_err()));
    assert!(is_missing(store.delete(&hidden).await.unwrap_err()));
    assert!(is_missing(store.copy(&hidden, &Path::from("b")).await.unwrap_err()));
    assert!(is_missing(store.rename(&hidden, &Path::from("b")).await.unwrap_err()));
    let is_denied = |error: object_store::Error| matches!(error, object_store::Error::PermissionDenied { .. });
    assert!(is_denied(store.put(&hidden, "x".into()).await.unwrap_err()));
    assert!(is_denied(store.put_multipart(&hidden).await.unwrap_err()));
    assert!(is_denied(store.copy(&Path::from("a"), &hidden).await.unwrap_err()));
    assert!(is_denied(store.rename(&Path::from("a"), &hidden).await.unwrap_err()));
    inner.head(&hidden).await.unwrap();
    let level = store.list_with_delimiter(None).await.unwrap();
    assert!(level.common_prefixes.is_empty(), "{level:?}");
    assert!(store.list_with_delimiter(Some(&Path::from(".keyward/slots"))).await.unwrap().objects.is_empty());
}
