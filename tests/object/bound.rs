//! An object is what it says only at its own path, in its own store.

use crate::fixture::{builder, context, in_memory, key, provider, store, ways};
use futures_util::TryStreamExt;
use keyward::envelope::InspectedEntry;
use keyward::object::{EncryptedStore, Encryption, OpenWith, Sse, keyward_error};
use keyward::{EncryptionContext, ErrorKind, KeyProvider, WrappedKeys};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};

#[track_caller]
pub(crate) fn refused_as(answer: object_store::Result<impl Sized>, kind: ErrorKind) {
    let Err(error) = answer else { panic!("not refused") };
    assert_eq!(keyward_error(&error).map(keyward::Error::kind), Some(kind), "{error:?}");
}

pub(crate) fn with(sse: Sse) -> PutOptions {
    let mut options = PutOptions::default();
    options.extensions.insert(sse);
    options
}

pub(crate) fn opening(open: OpenWith) -> GetOptions {
    let mut options = GetOptions::default();
    options.extensions.insert(open);
    options
}

#[tokio::test]
async fn a_swapped_object_is_refused_in_every_mode() {
    for (way, sse) in ways() {
        for detached in [false, true] {
            let inner = in_memory().store;
            let builder = builder(inner.clone(), &provider()).default_sse(sse.clone());
            let store = if detached { builder.detached_slots() } else { builder }.build().unwrap();
            let (a, b) = (Path::from("a"), Path::from("b"));
            store.put(&a, "pay 10".into()).await.unwrap();
            store.put(&b, "pay 99".into()).await.unwrap();
            // Whoever can write to the store inside puts one in the place of the other.
            inner.copy(&b, &a).await.unwrap();
            println!("{way}");
            refused_as(store.get(&a).await, ErrorKind::NotAuthentic);
            refused_as(store.head(&a).await, ErrorKind::NotAuthentic);
            refused_as(store.get_ranges(&a, &[0..1]).await, ErrorKind::NotAuthentic);
            refused_as(store.copy(&a, &Path::from("c")).await, ErrorKind::NotAuthentic);
            assert_eq!(store.get(&b).await.unwrap().bytes().await.unwrap(), "pay 99");
        }
    }
}

/// The header of an object with another path in it, of the same length.
async fn with_another_path(store: &EncryptedStore, inner: &dyn ObjectStore, from: &str, to: &str) {
    store.put(&Path::from(from), "pay 99".into()).await.unwrap();
    let mut bytes = inner.get(&Path::from(from)).await.unwrap().bytes().await.unwrap().to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    inner.put(&Path::from(to), PutPayload::from(bytes)).await.unwrap();
}

#[tokio::test]
async fn a_path_that_is_changed_in_the_header_is_refused_with_bound_and_with_shared_data_keys() {
    for (way, sse) in ways() {
        let inner = in_memory().store;
        let store = builder(inner.clone(), &provider()).default_sse(sse).build().unwrap();
        with_another_path(&store, &*inner, "from-here", "over-here").await;
        println!("{way}");
        store.head(&Path::from("over-here")).await.unwrap();
        refused_as(store.get(&Path::from("over-here")).await, ErrorKind::NotAuthentic);
    }
}

#[tokio::test]
async fn objects_under_one_shared_data_key_cannot_be_swapped() {
    let (inner, provider) = (in_memory().store, provider());
    let store = builder(inner.clone(), &provider).default_sse(Sse::kms(key()).bucket_key(true)).build().unwrap();
    let (a, b) = (Path::from("a"), Path::from("b"));
    for path in [&a, &b] {
        store.put(path, "x".into()).await.unwrap();
        assert_eq!(store.get(path).await.unwrap().bytes().await.unwrap(), "x");
    }
    let wrapped = |bytes: &[u8]| keyward::envelope::inspect(&mut &bytes[..]).unwrap().entries;
    let inside = |path: Path| {
        let inner = inner.clone();
        async move { inner.get(&path).await.unwrap().bytes().await.unwrap() }
    };
    let (in_a, in_b) = (inside(a.clone()).await, inside(b.clone()).await);
    assert_eq!(wrapped(&in_a), wrapped(&in_b), "one data key for both");
    // It is wrapped under the context without the path, which CORE holds.
    let whole = keyward::envelope::inspect(&mut &in_a[..]).unwrap().context;
    assert_eq!(whole.get("keyward:body:path"), Some("a"));
    let [InspectedEntry::Known(entry)] = &wrapped(&in_a)[..] else { panic!("one entry") };
    let unwrap = |context| provider.unwrap_data_key(&WrappedKeys::from(entry.clone()), context);
    assert_eq!(unwrap(&whole).unwrap_err().kind(), ErrorKind::NotAuthentic);
    unwrap(&whole.for_wrapping()).unwrap();
    inner.put(&a, in_b.clone().into()).await.unwrap();
    refused_as(store.get(&a).await, ErrorKind::NotAuthentic);
    // The header of one before the body of the other: the wrapped key fits, the path in CORE does not.
    inner.put(&a, [&in_a[..4096], &in_b[4096..]].concat().into()).await.unwrap();
    refused_as(store.get(&a).await, ErrorKind::NotAuthentic);
}

#[tokio::test]
async fn an_object_of_another_bucket_is_refused() {
    let provider = provider();
    let make = |name: Option<&str>| {
        let inner = in_memory().store;
        let builder = builder(inner.clone(), &provider).default_sse(Sse::kms(key()));
        (
            match name {
                Some(name) => builder.name(name),
                None => builder,
            }
            .build()
            .unwrap(),
            inner,
        )
    };
    let path = Path::from("same/path");
    let ((one, inside_one), (two, inside_two), (unnamed, inside_unnamed)) =
        (make(Some("one")), make(Some("two")), make(None));
    one.put(&path, "hello".into()).await.unwrap();
    let bytes = inside_one.get(&path).await.unwrap().bytes().await.unwrap();
    for (store, inside) in [(two, inside_two), (unnamed, inside_unnamed)] {
        inside.put(&path, bytes.clone().into()).await.unwrap();
        refused_as(store.get(&path).await, ErrorKind::NotAuthentic);
    }
}

#[tokio::test]
async fn without_binding_a_copy_is_the_inner_stores_own() {
    let inner = in_memory().store;
    let watched = std::sync::Arc::new(crate::watched::Watched::new(inner));
    let store = builder(watched.clone(), &provider()).default_sse(Sse::kms(key())).danger_unbound().build().unwrap();
    let (a, b) = (Path::from("a"), Path::from("b"));
    store.put(&a, "hello".into()).await.unwrap();
    watched.requests();
    store.copy(&a, &b).await.unwrap();
    store.rename(&b, &Path::from("c")).await.unwrap();
    use crate::watched::Request;
    let (b, c) = ("b".to_owned(), "c".to_owned());
    assert_eq!(watched.requests(), [Request::Copy("a".into(), b.clone()), Request::Rename(b, c)]);
    assert_eq!(store.get(&Path::from("c")).await.unwrap().bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_context_that_the_request_names_must_be_the_objects() {
    let store = store(&in_memory().store);
    let path = Path::from("a");
    store.put_opts(&path, "hello".into(), with(Sse::kms(key()).context(context()))).await.unwrap();
    let open = |context| store.get_opts(&path, opening(OpenWith::master_key().context(context)));
    assert_eq!(open(context()).await.unwrap().bytes().await.unwrap(), "hello");
    refused_as(open(EncryptionContext::new()).await, ErrorKind::ContextMismatch);
    // As with S3, who names none gets the object, and is told what the context is.
    let answer = store.get(&path).await.unwrap();
    assert_eq!(answer.extensions.get::<Encryption>().unwrap().context, context());
}

#[tokio::test]
async fn what_is_no_object_of_the_store_is_refused_and_not_listed() {
    let inner = in_memory().store;
    let store = store(&inner);
    store.put(&Path::from("ours"), "hello".into()).await.unwrap();
    inner.put(&Path::from("short"), "not an envelope".into()).await.unwrap();
    // One byte too few for the last chunk's tag, which no envelope has.
    inner.put(&Path::from("impossible"), vec![0; 4096 + 56 + 15].into()).await.unwrap();
    inner.put(&Path::from("empty"), PutPayload::default()).await.unwrap();
    // Long enough, but it is no envelope.
    inner.put(&Path::from("zeros"), vec![0; 5000].into()).await.unwrap();
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["ours", "zeros"]);
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(level.objects.len(), 2);
    for path in ["short", "impossible", "zeros"] {
        refused_as(store.get(&Path::from(path)).await, ErrorKind::NotAnEnvelope);
        refused_as(store.head(&Path::from(path)).await, ErrorKind::NotAnEnvelope);
    }
    assert!(store.get(&Path::from("empty")).await.is_err());
    // They can be replaced and deleted all the same.
    let detached = builder(inner, &provider()).default_sse(Sse::kms(key())).detached_slots().build().unwrap();
    for path in ["short", "impossible", "empty", "zeros"].map(Path::from) {
        detached.put(&path, "now ours".into()).await.unwrap();
        assert_eq!(detached.get(&path).await.unwrap().bytes().await.unwrap(), "now ours");
    }
    store.delete(&Path::from("ours")).await.unwrap();
}

#[tokio::test]
async fn an_object_whose_header_is_of_another_length_is_refused() {
    let inner = in_memory().store;
    let provider = provider();
    let other = builder(inner.clone(), &provider).default_sse(Sse::kms(key())).header_len(8192).build().unwrap();
    other.put(&Path::from("a"), "hello".into()).await.unwrap();
    let store = builder(inner, &provider).default_sse(Sse::kms(key())).build().unwrap();
    refused_as(store.get(&Path::from("a")).await, ErrorKind::NotAnEnvelope);
}

#[tokio::test]
async fn a_context_that_does_not_fit_fails_the_put_and_writes_nothing() {
    let inner = in_memory().store;
    let store = store(&inner);
    let long = EncryptionContext::from_pairs([("k", "v".repeat(4096))]).unwrap();
    let path = Path::from("a");
    refused_as(store.put_opts(&path, "x".into(), with(Sse::kms(key()).context(long))).await, ErrorKind::LimitExceeded);
    assert!(inner.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}
