//! Parts of objects: no more of them is read than that takes, and nothing is given before the end is authentic.

use crate::bound::refused_as;
use crate::fixture::{INNERS, builder, in_memory, key, provider, store};
use crate::watched::{Request, Watched};
use bytes::Bytes;
use futures_util::TryStreamExt;
use keyward::ErrorKind;
use keyward::object::Sse;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::sync::Arc;

const CHUNK: usize = 16384;
const MIB: usize = 1 << 20;

pub(crate) fn sample(len: usize) -> Bytes {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[tokio::test]
async fn every_range_of_every_length_is_that_of_the_plaintext() {
    for make in INNERS {
        let inner = make();
        for watched in [false, true] {
            let around: Arc<dyn ObjectStore> =
                if watched { Arc::new(Watched::new(inner.store.clone())) } else { inner.store.clone() };
            let store = store(&around);
            let path = Path::from("a");
            for len in [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 33 * CHUNK + 7, 70 * CHUNK] {
                let text = sample(len);
                store.put(&path, text.clone().into()).await.unwrap();
                assert_eq!(store.head(&path).await.unwrap().size, len as u64);
                assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), text, "{len}");
                let edges =
                    [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 31 * CHUNK, 33 * CHUNK, len - len.min(1), len];
                let mut ranges = Vec::new();
                for from in edges {
                    for to in edges.iter().copied().filter(|to| from < *to && from < len) {
                        let end = to.min(len);
                        let bytes = store.get_range(&path, from as u64..to as u64).await.unwrap();
                        assert!(bytes == text[from..end], "{from}..{to} of {len}");
                        ranges.push(from as u64..end as u64);
                    }
                }
                let parts = store.get_ranges(&path, &ranges).await.unwrap();
                for (range, part) in ranges.iter().zip(parts) {
                    assert!(part == text[range.start as usize..range.end as usize], "{range:?} of {len}");
                }
                for suffix in [1, CHUNK as u64 + 3, len as u64 + 9] {
                    let options = GetOptions::new().with_range(Some(GetRange::Suffix(suffix)));
                    let answer = store.get_opts(&path, options).await.unwrap();
                    let from = len - len.min(suffix as usize);
                    assert_eq!(answer.range, from as u64..len as u64);
                    assert!(answer.bytes().await.unwrap() == text[from..], "the last {suffix} of {len}");
                }
                for beyond in [len as u64, len as u64 + 1] {
                    store.get_range(&path, beyond..beyond + 1).await.unwrap_err();
                    store.get_ranges(&path, &[beyond..beyond + 1]).await.unwrap_err();
                }
            }
        }
    }
}

#[tokio::test]
async fn one_mib_of_a_large_object_fetches_no_more_than_three_chunks_beside_it() {
    let watched = Arc::new(Watched::new(in_memory().store));
    let store = builder(watched.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap();
    let path = Path::from("a");
    let text = sample(24 * MIB);
    store.put(&path, text.clone().into()).await.unwrap();
    for from in [0, 1, 5 * CHUNK, 7 * MIB + 12345, 23 * MIB - 1, 23 * MIB] {
        watched.requests();
        watched.bytes();
        let bytes = store.get_range(&path, from as u64..(from + MIB) as u64).await.unwrap();
        assert!(bytes == text[from..from + MIB]);
        let (fetched, requests) = (watched.bytes(), watched.requests());
        assert!(fetched <= (MIB + 3 * CHUNK) as u64, "from {from}: {fetched} bytes");
        assert!(requests.len() <= 3, "{requests:?}");
    }
    store.get_ranges(&path, &[0..10, 100..200, (20 * MIB) as u64..(20 * MIB + 5) as u64]).await.unwrap();
    assert!(watched.bytes() < MIB as u64 / 8, "neighbours are fetched together, and what is far apart is not");
    assert_eq!(watched.requests().len(), 1 + 3, "the header, the two neighbours, the third, and the end");
}

#[tokio::test]
async fn a_head_is_one_request_for_a_header() {
    let watched = Arc::new(Watched::new(in_memory().store));
    let store = builder(watched.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap();
    store.put(&Path::from("a"), sample(5 * MIB).into()).await.unwrap();
    watched.requests();
    watched.bytes();
    assert_eq!(store.head(&Path::from("a")).await.unwrap().size, 5 * MIB as u64);
    assert_eq!(watched.requests(), [Request::Get("a".into(), Some(0..4096 + 56))]);
    // A listing has the sizes without a request for each object.
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed[0].size, 5 * MIB as u64);
    assert_eq!(watched.requests(), [Request::List]);
}

#[tokio::test]
async fn a_range_of_an_object_without_its_end_gives_nothing() {
    let inner = in_memory().store;
    let store = store(&inner);
    let path = Path::from("a");
    store.put(&path, sample(100 * CHUNK + 5).into()).await.unwrap();
    let whole = inner.get(&path).await.unwrap().bytes().await.unwrap();
    let at = 4096 + 56;
    // Cut after a chunk, within a chunk so that the rest could be a last one, and the last one altered.
    let mut altered = whole.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    for cut in [whole.slice(..at + 50 * (CHUNK + 16) + 1000), whole.slice(..whole.len() - 1), altered.into()] {
        inner.put(&path, cut.into()).await.unwrap();
        for range in [0..10, 70_000..80_000, 0..40 * CHUNK as u64] {
            refused_as(store.get_range(&path, range.clone()).await, ErrorKind::NotAuthentic);
            refused_as(store.get_ranges(&path, &[range]).await, ErrorKind::NotAuthentic);
        }
        refused_as(store.get(&path).await.unwrap().bytes().await, ErrorKind::NotAuthentic);
    }
    inner.put(&path, whole.slice(..at + 50 * (CHUNK + 16)).into()).await.unwrap();
    refused_as(store.get(&path).await, ErrorKind::NotAnEnvelope);
}

#[tokio::test]
async fn what_is_streamed_before_an_altered_chunk_is_authentic_and_then_there_is_an_error() {
    for make in INNERS {
        let inner = make();
        let store = store(&inner.store);
        let path = Path::from("a");
        let text = sample(200 * CHUNK);
        store.put(&path, text.clone().into()).await.unwrap();
        let mut bytes = inner.store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[4096 + 56 + 150 * (CHUNK + 16)] ^= 1;
        inner.store.put(&path, bytes.into()).await.unwrap();
        let mut stream = store.get(&path).await.unwrap().into_stream();
        let mut got = Vec::new();
        let error = loop {
            match stream.try_next().await {
                Ok(piece) => got.extend_from_slice(&piece.expect("it ends in an error")),
                Err(error) => break error,
            }
        };
        refused_as(Err::<(), _>(error), ErrorKind::NotAuthentic);
        assert!(!got.is_empty() && got.len() <= 150 * CHUNK && text.starts_with(&got));
    }
}
