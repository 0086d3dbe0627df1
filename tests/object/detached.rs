//! Wrapped keys beside the objects: rotation replaces them and reads no bodies.

use crate::bound::{refused_as, with};
use crate::fixture::{builder, customer_key, in_memory, key, local, provider, store};
use crate::ranges::sample;
use crate::watched::{Request, Watched};
use futures_util::TryStreamExt;
use keyward::envelope::RewrapOutcome;
use keyward::key::VersionReuse;
use keyward::object::{EncryptedStore, Rewrapped, Sse};
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyVersion};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::sync::Arc;

fn detached(provider: &Arc<MemoryProvider>) -> (Arc<Watched>, EncryptedStore) {
    let watched = Arc::new(Watched::new(in_memory().store));
    let store = builder(watched.clone(), provider).default_sse(Sse::kms(key())).detached_slots().build().unwrap();
    (watched, store)
}

async fn inside(store: &dyn ObjectStore) -> Vec<String> {
    let mut all: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    all.sort();
    all
}

async fn sidecars(store: &dyn ObjectStore) -> usize {
    inside(store).await.iter().filter(|path| path.starts_with(".keyward/slots/")).count()
}

async fn rewrap(store: &EncryptedStore) -> Vec<Rewrapped> {
    store.rewrap(None, None).try_collect().await.unwrap()
}

#[tokio::test]
async fn rotation_rewraps_sidecars_and_never_reads_a_body() {
    let provider = provider();
    let (watched, store) = detached(&provider);
    let paths = ["a", "b/c", "b/d"].map(Path::from);
    for path in &paths {
        store.put(path, sample(100_000).into()).await.unwrap();
    }
    store.put_opts(&Path::from("customers"), "x".into(), with(Sse::customer(customer_key(1)))).await.unwrap();
    let old = store.usage(None).await.unwrap();
    assert_eq!((old.keks.len(), old.customer, old.unknown.len()), (1, 1, 0));
    let newest = provider.rotate_key(&key(), None).unwrap();
    watched.requests();
    watched.bytes();

    let done = rewrap(&store).await;
    assert_eq!(done.len(), 4);
    for one in &done {
        let expected = match one.location.as_ref() {
            "customers" => (RewrapOutcome::Unchanged, vec![]),
            _ => (RewrapOutcome::Rewrapped { generation: 2, entries: 1 }, vec![newest.kek_id]),
        };
        assert_eq!((*one.outcome.as_ref().unwrap(), one.keks.clone()), expected, "{}", one.location);
    }
    for request in watched.requests() {
        match request {
            Request::Get(path, range) if !path.starts_with(".keyward/") => {
                assert_eq!(range, Some(0..4096 + 56), "{path}");
            }
            Request::Put(path) => assert!(path.starts_with(".keyward/slots/"), "{path}"),
            Request::Get(..) | Request::List => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(watched.bytes() < 4 * (4096 + 56 + 500));

    // The old version is needed by nothing any more.
    let usage = store.usage(None).await.unwrap();
    assert_eq!(usage.keks.keys().collect::<Vec<_>>(), [&newest.kek_id]);
    let one = &usage.keks[&newest.kek_id];
    assert_eq!((one.objects, one.key.clone()), (3, Some((key(), newest.version))));
    provider.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    for path in &paths {
        assert!(store.get(path).await.unwrap().bytes().await.unwrap() == sample(100_000));
    }
    // Again it does nothing.
    watched.requests();
    let again = rewrap(&store).await;
    assert!(again.iter().all(|one| *one.outcome.as_ref().unwrap() == RewrapOutcome::Unchanged));
    assert!(!watched.requests().iter().any(|request| matches!(request, Request::Put(_))));
}

#[tokio::test]
async fn objects_move_to_another_key_and_one_that_fails_stops_no_other() {
    let provider = provider();
    let (watched, store) = detached(&provider);
    let other = "other".parse().unwrap();
    let made = provider.create_key(&other, AlgorithmChoice::Auto).unwrap();
    for path in ["a", "b", "c"] {
        store.put(&Path::from(path), "hello".into()).await.unwrap();
    }
    // One that was moved: its wrapped keys are not written for who moved it.
    watched.copy(&Path::from("a"), &Path::from("b")).await.unwrap();
    let done: Vec<_> = store.rewrap(None, Some(&other)).try_collect().await.unwrap();
    for one in done {
        match one.location.as_ref() {
            "b" => refused_as(one.outcome, ErrorKind::NotAuthentic),
            _ => assert_eq!((one.outcome.is_ok(), one.keks), (true, vec![made.kek_id])),
        }
    }
    provider.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn two_that_rewrap_at_once_lose_nothing() {
    let provider = provider();
    let inner = in_memory().store;
    let watched = Arc::new(Watched::new(inner.clone()));
    let around = |inner: Arc<dyn ObjectStore>| {
        builder(inner, &provider).default_sse(Sse::kms(key())).detached_slots().build().unwrap()
    };
    let (store, other) = (around(watched.clone()), around(inner));
    store.put(&Path::from("a"), "hello".into()).await.unwrap();
    let newest = provider.rotate_key(&key(), None).unwrap();
    watched.requests();
    // Another is faster, between reading and writing.
    let mut first = true;
    watched.fail(move |request| {
        if matches!(request, Request::Put(_)) && std::mem::take(&mut first) {
            let other = other.clone();
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { rewrap(&other).await.remove(0).outcome.unwrap() })
            };
            let outcome = std::thread::spawn(run).join().unwrap();
            assert_eq!(outcome, RewrapOutcome::Rewrapped { generation: 2, entries: 1 });
        }
        false
    });
    let done = rewrap(&store).await.remove(0);
    assert_eq!(done.outcome.unwrap(), RewrapOutcome::Unchanged, "what the other wrote is all that there was to do");
    assert_eq!(done.keks, [newest.kek_id]);
    assert_eq!(watched.requests().iter().filter(|request| matches!(request, Request::Put(_))).count(), 1);
    assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_store_inside_without_conditional_updates_is_not_written_to_unless_that_is_allowed() {
    let (provider, inner) = (provider(), local());
    let builder = || builder(inner.store.clone(), &provider).default_sse(Sse::kms(key())).detached_slots();
    let store = builder().build().unwrap();
    store.put(&Path::from("a"), "hello".into()).await.unwrap();
    let newest = provider.rotate_key(&key(), None).unwrap();
    let done = rewrap(&store).await;
    let error = done[0].outcome.as_ref().unwrap_err();
    assert!(matches!(error, object_store::Error::NotSupported { .. }), "{error}");
    let done = rewrap(&builder().danger_unconditional_rewrap().build().unwrap()).await;
    assert_eq!(done[0].keks, [newest.kek_id]);
    provider.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_store_that_keeps_wrapped_keys_in_its_objects_says_what_to_do_instead() {
    let provider = provider();
    let inner = in_memory().store;
    let attached = builder(inner.clone(), &provider).default_sse(Sse::kms(key())).build().unwrap();
    let path = Path::from("a");
    attached.put(&path, "hello".into()).await.unwrap();
    let answer: Result<Vec<_>, _> = attached.rewrap(None, None).try_collect().await;
    assert!(matches!(answer.unwrap_err(), object_store::Error::NotSupported { .. }));
    // A store that has had both: the object says so of itself.
    let detached = builder(inner, &provider).default_sse(Sse::kms(key())).detached_slots().build().unwrap();
    let newest = provider.rotate_key(&key(), None).unwrap();
    let done = rewrap(&detached).await;
    assert!(matches!(done[0].outcome, Err(object_store::Error::NotSupported { .. })));
    // What it says helps.
    attached.copy(&path, &path).await.unwrap();
    assert_eq!(attached.usage(None).await.unwrap().keks.keys().collect::<Vec<_>>(), [&newest.kek_id]);
    detached.copy(&path, &path).await.unwrap();
    assert_eq!(rewrap(&detached).await[0].outcome.as_ref().unwrap(), &RewrapOutcome::Unchanged);
    assert_eq!(detached.get(&path).await.unwrap().bytes().await.unwrap(), "hello");
}

#[tokio::test]
async fn wrapped_keys_come_before_their_object_and_go_after_it() {
    let (watched, store) = detached(&provider());
    let path = Path::from("a");
    store.put(&path, "one".into()).await.unwrap();
    let puts: Vec<_> = watched.requests().into_iter().filter(|request| matches!(request, Request::Put(_))).collect();
    let [Request::Put(first), Request::Put(second)] = &puts[..] else { panic!("{puts:?}") };
    assert!(first.starts_with(".keyward/slots/") && second == "a", "{puts:?}");
    // What is replaced takes its wrapped keys along, but not before.
    store.put(&path, "two".into()).await.unwrap();
    let requests = watched.requests();
    let at = |wanted: &Request| requests.iter().position(|request| request == wanted).unwrap();
    assert!(at(&Request::Put("a".into())) < at(&Request::Delete(first.clone())), "{requests:?}");
    assert_eq!(sidecars(&*watched).await, 1);
    store.delete(&path).await.unwrap();
    let requests = watched.requests();
    let deleted: Vec<_> = requests.iter().filter(|request| matches!(request, Request::Delete(_))).collect();
    assert_eq!(deleted[0], &Request::Delete("a".into()), "{requests:?}");
    assert_eq!(deleted.len(), 2);
    assert!(inside(&*watched).await.is_empty());
}

#[tokio::test]
async fn no_wrapped_keys_are_left_of_what_did_not_come_to_be() {
    let (watched, store) = detached(&provider());
    let path = Path::from("a");
    store.put(&path, "one".into()).await.unwrap();
    // Refused for certain.
    let error = store.put_opts(&path, "two".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }));
    assert_eq!(sidecars(&*watched).await, 1);
    // Given up.
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(sidecars(&*watched).await, 1);
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    watched.fail(|request| *request == Request::Complete);
    upload.complete().await.unwrap_err();
    watched.heal();
    upload.abort().await.unwrap();
    assert_eq!(sidecars(&*watched).await, 1);
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
}

/// An answer that is lost on the way: the object is there all the same, and has to open.
#[tokio::test]
async fn wrapped_keys_stay_where_it_is_not_known_whether_the_object_is_there() {
    let (watched, store) = detached(&provider());
    let path = Path::from("a");
    watched.fail(|request| *request == Request::Put("a".into()));
    store.put(&path, "one".into()).await.unwrap_err();
    assert_eq!(sidecars(&*watched).await, 1, "kept");
    watched.heal();
    store.put(&path, "two".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "two");
}

#[tokio::test]
async fn wrapped_keys_stay_where_a_conditional_put_was_done_and_is_refused_when_it_is_tried_again() {
    let (watched, store) = detached(&provider());
    let path = Path::from("a");
    watched.retry_puts();
    let error = store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }));
    watched.heal();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
}

#[tokio::test]
async fn wrapped_keys_that_are_gone_or_of_another_object_are_refused() {
    let (watched, store) = detached(&provider());
    let (a, b) = (Path::from("a"), Path::from("b"));
    store.put(&a, "one".into()).await.unwrap();
    let of_a = Path::from(inside(&*watched).await.remove(0));
    store.put(&b, "two".into()).await.unwrap();
    let of_b = inside(&*watched).await.into_iter().map(Path::from).find(|path| *path != of_a && *path != a).unwrap();
    let bytes = watched.get(&of_a).await.unwrap().bytes().await.unwrap();
    watched.copy(&of_b, &of_a).await.unwrap();
    refused_as(store.get(&a).await, ErrorKind::NotAuthentic);
    for bad in [vec![], vec![0; 100], [&bytes[..], &[0]].concat(), vec![0; 70_000]] {
        watched.put(&of_a, bad.into()).await.unwrap();
        refused_as(store.get(&a).await, ErrorKind::NotAnEnvelope);
    }
    watched.delete(&of_a).await.unwrap();
    refused_as(store.get(&a).await, ErrorKind::KeyNotFound);
    assert_eq!(store.usage(None).await.unwrap().unknown.len(), 1);
    watched.put(&of_a, bytes.into()).await.unwrap();
    assert_eq!(store.get(&a).await.unwrap().bytes().await.unwrap(), "one");
}

#[tokio::test]
async fn usage_counts_attached_slots_too() {
    let inner = in_memory().store;
    let store = store(&inner);
    for path in ["a", "b"] {
        store.put(&Path::from(path), "x".into()).await.unwrap();
    }
    let usage = store.usage(None).await.unwrap();
    assert_eq!(usage.keks.values().map(|one| one.objects).collect::<Vec<_>>(), [2]);
    let usage = store.usage(Some(&Path::from("nothing/here"))).await.unwrap();
    assert!(usage.keks.is_empty());
}
