//! SSE-C: the key comes with each request, and is nowhere afterwards.

use crate::bound::{opening, refused_as, with};
use crate::fixture::{builder, customer_key, in_memory, key, provider};
use crate::watched::{Request, Watched};
use keyward::ErrorKind;
use keyward::envelope::{InspectedEntry, inspect};
use keyward::key::CustomerKey;
use keyward::object::{EncryptedStore, Encryption, Mode, OpenWith, Sse};
use object_store::path::Path;
use object_store::{Attribute, CopyOptions, ObjectStore, ObjectStoreExt, PutMultipartOptions};
use std::sync::{Arc, Mutex};

const SECRET: [u8; 32] = *b"this-is-the-secret-customer-key!";

fn secret() -> Arc<CustomerKey> {
    Arc::new(CustomerKey::from_slice(&SECRET).unwrap())
}

fn watched() -> (Arc<Watched>, EncryptedStore) {
    let watched = Arc::new(Watched::new(in_memory().store));
    // No provider: nothing but the customer's key is needed.
    let store = EncryptedStore::builder(watched.clone()).build().unwrap();
    (watched, store)
}

#[tokio::test]
async fn two_objects_under_one_key_have_verifiers_of_their_own() {
    let (watched, store) = watched();
    let mut seen = Vec::new();
    for path in ["a", "b"] {
        store.put_opts(&Path::from(path), "hello".into(), with(Sse::customer(secret()))).await.unwrap();
        let bytes = watched.get(&Path::from(path)).await.unwrap().bytes().await.unwrap();
        let entries = inspect(&mut &bytes[..]).unwrap().entries;
        let [InspectedEntry::Known(entry)] = &entries[..] else { panic!("{entries:?}") };
        seen.push((entry.parameters().to_vec(), entry.ciphertext().to_vec()));
    }
    assert_ne!(seen[0].0, seen[1].0, "the salts");
    assert_ne!(seen[0].1, seen[1].1, "the verifiers");
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_nothing_of_the_body_is_asked_for() {
    let (watched, store) = watched();
    let path = Path::from("a");
    store.put_opts(&path, vec![1; 100_000].into(), with(Sse::customer(secret()))).await.unwrap();
    watched.requests();
    watched.bytes();
    let header = Request::Get("a".into(), Some(0..4096 + 56));
    let wrong = || opening(OpenWith::customer_key(customer_key(9)));
    refused_as(store.get_opts(&path, wrong()).await, ErrorKind::NotAuthentic);
    assert_eq!(watched.requests(), std::slice::from_ref(&header));
    assert_eq!(watched.bytes(), 4096 + 56);
    refused_as(store.get_opts(&path, wrong().with_range(Some(5..9))).await, ErrorKind::NotAuthentic);
    refused_as(store.get_opts(&path, wrong().with_head(true)).await, ErrorKind::NotAuthentic);
    assert_eq!(watched.requests(), [header.clone(), header.clone()]);
    // Without a key the store has no way in, and with it the body is asked for.
    refused_as(store.get(&path).await, ErrorKind::InvalidArgument);
    assert_eq!(watched.requests(), [header]);
    let right = opening(OpenWith::customer_key(secret()));
    assert_eq!(store.get_opts(&path, right).await.unwrap().bytes().await.unwrap(), vec![1; 100_000]);
    assert_eq!(watched.requests().len(), 2);
}

#[tokio::test]
async fn the_request_chooses_the_mode_and_never_the_object() {
    let inner = in_memory().store;
    let store = builder(inner, &provider()).build().unwrap();
    let (kms, customers) = (Path::from("kms"), Path::from("customers"));
    store.put_opts(&kms, "1".into(), with(Sse::kms(key()))).await.unwrap();
    store.put_opts(&customers, "2".into(), with(Sse::customer(secret()))).await.unwrap();
    let open = || opening(OpenWith::customer_key(secret()));
    refused_as(store.get_opts(&kms, open()).await, ErrorKind::InvalidArgument);
    refused_as(store.get(&customers).await, ErrorKind::InvalidArgument);
    let answer = store.get_opts(&customers, open()).await.unwrap();
    assert_eq!(answer.extensions.get::<Encryption>().unwrap().mode, Mode::Customer);
    let shown = |name: &'static str| answer.attributes.get(&Attribute::Metadata(name.into())).map(|v| v.to_string());
    assert_eq!(shown("x-amz-server-side-encryption-customer-algorithm").as_deref(), Some("AES256"));
    assert_eq!(shown("x-amz-server-side-encryption"), None);
}

#[tokio::test]
async fn a_copy_takes_its_sources_key_and_another_for_the_target() {
    let (_, store) = watched();
    let (a, b, c) = (Path::from("a"), Path::from("b"), Path::from("c"));
    store.put_opts(&a, "hello".into(), with(Sse::customer(secret()))).await.unwrap();
    let mut options = CopyOptions::default();
    options.extensions.insert(OpenWith::customer_key(secret()));
    store.copy_opts(&a, &b, options.clone()).await.unwrap();
    options.extensions.insert(Sse::customer(customer_key(9)));
    store.copy_opts(&a, &c, options).await.unwrap();
    let open = |path, key| store.get_opts(path, opening(OpenWith::customer_key(key)));
    assert_eq!(open(&b, secret()).await.unwrap().bytes().await.unwrap(), "hello");
    assert_eq!(open(&c, customer_key(9)).await.unwrap().bytes().await.unwrap(), "hello");
    refused_as(open(&c, secret()).await, ErrorKind::NotAuthentic);
}

/// Collects all that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether the key is in there, as bytes or written out in one of the usual ways.
fn holds_the_key(haystack: &[u8]) -> bool {
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = SECRET.map(|byte| byte.to_string()).join(", ");
    [&SECRET[..], hex.as_bytes(), hex.to_uppercase().as_bytes(), decimal.as_bytes()]
        .iter()
        .any(|needle| haystack.windows(needle.len()).any(|window| window == *needle))
}

#[tokio::test]
async fn the_key_is_in_no_log_no_option_of_the_inner_store_and_no_object() {
    assert!(holds_the_key(format!("{SECRET:?}").as_bytes()), "the test finds keys");
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (watched, store) = watched();
    let (a, b, c) = (Path::from("a"), Path::from("b"), Path::from("c"));
    let sse = Sse::customer(secret());
    store.put_opts(&a, "hello".into(), with(sse.clone())).await.unwrap();
    let mut options = PutMultipartOptions::default();
    options.extensions.insert(sse.clone());
    let mut upload = store.put_multipart_opts(&b, options).await.unwrap();
    upload.put_part("hello".into()).await.unwrap();
    upload.complete().await.unwrap();
    let mut options = CopyOptions::default();
    options.extensions.insert(OpenWith::customer_key(secret()));
    store.copy_opts(&a, &c, options).await.unwrap();
    let open = OpenWith::customer_key(secret());
    let answer = store.get_opts(&a, opening(open.clone())).await.unwrap();
    let refused = store.get_opts(&a, opening(OpenWith::customer_key(customer_key(9)))).await.unwrap_err();
    watched.fail(|_| true);
    let failed = store.put_opts(&a, "x".into(), with(sse.clone())).await.unwrap_err();
    watched.heal();
    drop(guard);

    let shown = format!("{sse:?} {open:?} {store:?} {store} {answer:?} {refused:?} {failed:?} {:?}", watched.options());
    assert!(!holds_the_key(shown.as_bytes()), "{shown}");
    assert!(!holds_the_key(&log.0.lock().unwrap()), "the log");
    assert!(watched.options().len() >= 3);
    for path in [&a, &b, &c] {
        let inside = watched.get(path).await.unwrap();
        assert!(!holds_the_key(format!("{:?}", inside.attributes).as_bytes()));
        assert!(!holds_the_key(&inside.bytes().await.unwrap()), "{path}");
    }
}

/// The extensions of a request go on to the store inside, but not the key in them.
#[tokio::test]
async fn the_inner_store_gets_all_extensions_but_the_key() {
    #[derive(Clone)]
    struct Other;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::new(crate::spy::Spy::new(in_memory().store, {
        let seen = Arc::clone(&seen);
        move |extensions| {
            let has_key = extensions.get::<Sse>().is_some() || extensions.get::<OpenWith>().is_some();
            seen.lock().unwrap().push((has_key, extensions.get::<Other>().is_some()));
        }
    }));
    let store = EncryptedStore::builder(inner).build().unwrap();
    let path = Path::from("a");
    let mut put = with(Sse::customer(secret()));
    put.extensions.insert(Other);
    store.put_opts(&path, "hello".into(), put).await.unwrap();
    let mut get = opening(OpenWith::customer_key(secret()));
    get.extensions.insert(Other);
    get.extensions.insert(Sse::customer(secret()));
    store.get_opts(&path, get).await.unwrap().bytes().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "a put, a header, a body");
    assert!(seen.iter().all(|(has_key, has_other)| !has_key && *has_other), "{seen:?}");
}
