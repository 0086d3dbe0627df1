//! A store inside that fails: no torn object becomes visible, and the errors are those of `object_store`.

use crate::fixture::{builder, in_memory, key, local, provider};
use crate::ranges::sample;
use crate::watched::{Request, Watched, is_fault};
use futures_util::TryStreamExt;
use keyward::object::{EncryptedStore, Sse};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

const MIB: usize = 1 << 20;

/// Long enough for several parts, and for a copy in pieces.
fn text() -> bytes::Bytes {
    static TEXT: OnceLock<bytes::Bytes> = OnceLock::new();
    TEXT.get_or_init(|| sample(9 * MIB)).clone()
}

/// A store, what it stands in, and an object that is there before.
async fn with_an_object(detached: bool, on_disk: bool) -> (Arc<Watched>, EncryptedStore, Path) {
    let inner = if on_disk { local() } else { in_memory() };
    let watched = Arc::new(Watched::new(inner.store.clone()));
    // The directory lives as long as the test.
    std::mem::forget(inner);
    let builder = builder(watched.clone(), &provider()).default_sse(Sse::kms(key()));
    let store = if detached { builder.detached_slots() } else { builder }.build().unwrap();
    let path = Path::from("a");
    store.put(&path, text().into()).await.unwrap();
    (watched, store, path)
}

/// The object is as it was, and nothing else is visible.
async fn is_as_it_was(watched: &Watched, store: &EncryptedStore, path: &Path) {
    watched.heal();
    let visible: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(visible, std::slice::from_ref(path));
    assert!(store.get(path).await.unwrap().bytes().await.unwrap() == text());
}

async fn upload(store: &EncryptedStore, path: &Path) -> object_store::Result<()> {
    let mut upload = store.put_multipart(path).await?;
    let sent = async {
        for _ in 0..3 {
            upload.put_part(vec![1; 6 * MIB].into()).await?;
        }
        upload.complete().await
    };
    if let Err(error) = sent.await {
        drop(upload.abort().await);
        return Err(error);
    }
    Ok(())
}

#[tokio::test]
async fn whatever_request_of_a_write_fails_the_object_is_the_old_one_or_the_new_one() {
    for detached in [false, true] {
        for on_disk in [false, true] {
            for (what, len) in [("put", 6 * MIB), ("long put", 17 * MIB), ("upload", 18 * MIB)] {
                // Each request fails once, until the write needs no more.
                for number in 0.. {
                    let (watched, store, path) = with_an_object(detached, on_disk).await;
                    watched.requests();
                    let mut count = 0;
                    watched.fail(move |request| {
                        let fails = count == number && !matches!(request, Request::Abort);
                        count += 1;
                        fails
                    });
                    let answer = match what {
                        "upload" => upload(&store, &path).await,
                        _ => store.put(&path, vec![1; len].into()).await.map(drop),
                    };
                    let requests = watched.requests();
                    match answer {
                        Ok(()) => {
                            // Only what is cleared away afterwards may fail unnoticed.
                            let last = requests.get(number);
                            assert!(last.is_none_or(|last| matches!(last, Request::Delete(_))), "{what}: {requests:?}");
                            watched.heal();
                            let now = store.get(&path).await.unwrap().bytes().await.unwrap();
                            assert_eq!(now.len(), len);
                            if last.is_none() {
                                break;
                            }
                        }
                        Err(error) => {
                            assert!(is_fault(&error), "{what}: {error}");
                            is_as_it_was(&watched, &store, &path).await;
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn whatever_request_of_a_copy_fails_the_target_is_not_there_or_whole() {
    for (detached, on_disk) in [(false, false), (true, false), (false, true), (true, true)] {
        for kind in ["copy", "copy if not exists", "rename"] {
            for number in 0.. {
                let (watched, store, path) = with_an_object(detached, on_disk).await;
                watched.requests();
                let mut count = 0;
                watched.fail(move |_| {
                    count += 1;
                    count - 1 == number
                });
                let target = Path::from("target");
                let answer = match kind {
                    "copy" => store.copy(&path, &target).await,
                    "rename" => store.rename(&path, &target).await,
                    _ => store.copy_if_not_exists(&path, &target).await,
                };
                let requests = watched.requests();
                watched.heal();
                let visible = store.get(&target).await;
                match (visible, &answer) {
                    (Ok(target), _) => {
                        assert!(target.bytes().await.unwrap() == text(), "{kind}: {requests:?}");
                    }
                    (Err(missing), Err(error)) => {
                        assert!(is_fault(error), "{kind}: {error}");
                        assert!(matches!(missing, object_store::Error::NotFound { .. }), "{kind}: {missing}");
                        is_as_it_was(&watched, &store, &path).await;
                    }
                    (Err(missing), Ok(())) => panic!("{kind}: {missing}"),
                }
                // The source goes only after the target is whole.
                if answer.is_err() {
                    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == text(), "{kind}");
                }
                if number >= requests.len() {
                    answer.unwrap();
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_in_the_middle_of_a_body_is_an_error_and_no_end() {
    let (watched, store, path) = with_an_object(false, false).await;
    for after in [0, 10, 4152, 5000, 100_000, 3 * MIB + 1] {
        watched.lose_after(after);
        let answer = async { store.get(&path).await?.bytes().await };
        let error = answer.await.unwrap_err();
        assert!(is_fault(&error), "after {after}: {error}");
        let answer = store.get_range(&path, 100..5 * MIB as u64).await;
        assert!(is_fault(&answer.unwrap_err()), "after {after}");
    }
    is_as_it_was(&watched, &store, &path).await;
    // Of a copy nothing comes to be.
    watched.lose_after(3 * MIB);
    store.copy(&path, &Path::from("b")).await.unwrap_err();
    store.rename(&path, &Path::from("b")).await.unwrap_err();
    store.copy_if_not_exists(&path, &Path::from("b")).await.unwrap_err();
    is_as_it_was(&watched, &store, &path).await;
}

#[tokio::test]
async fn a_reader_while_others_write_gets_one_of_the_versions_whole() {
    for detached in [false, true] {
        let inner = in_memory();
        let builder = builder(inner.store, &provider()).default_sse(Sse::kms(key()));
        let store = if detached { builder.detached_slots() } else { builder }.build().unwrap();
        let path = Path::from("a");
        store.put(&path, vec![0; 700_000].into()).await.unwrap();
        // A reader begins anew 32 times and no more: so often the writer is not faster.
        let turns = Arc::new(Semaphore::new(8));
        let writer = {
            let (store, path, turns) = (store.clone(), path.clone(), turns.clone());
            tokio::spawn(async move {
                for version in 1..60u8 {
                    turns.acquire().await.unwrap().forget();
                    store.put(&path, vec![version; 700_000 + usize::from(version)].into()).await.unwrap();
                }
            })
        };
        while !writer.is_finished() {
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            let version = bytes[0];
            assert!(bytes.iter().all(|byte| *byte == version));
            assert_eq!(bytes.len(), 700_000 + usize::from(version));
            let parts = store.get_ranges(&path, &[0..10, 600_000..600_010]).await.unwrap();
            assert_eq!(parts[0], parts[1], "both of one version");
            turns.add_permits(8_usize.saturating_sub(turns.available_permits()));
        }
        writer.await.unwrap();
    }
}
