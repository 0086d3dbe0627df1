//! What encryption costs: the encrypting store around a local one, against that local store alone, in turn within one
//! run. Each pair is run several times, and the median of the ratios counts.
//!
//! ```sh
//! cargo bench --features object-store,testkit --bench object
//! ```
//!
//! `KEYWARD_BENCH_MIB` is the size of the large object (1024), `KEYWARD_BENCH_OBJECTS` the number of small ones
//! (10000), `KEYWARD_BENCH_ROUNDS` how often (5), and `KEYWARD_BENCH_DIR` where.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use keyward::object::{EncryptedStore, Sse};
use keyward::provider::CacheLimits;
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, KeyAdmin, KeyName};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PIECE: usize = 8 << 20;
const SMALL: usize = 4096;

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Store = Arc<dyn ObjectStore>;

async fn put(store: Store, large: Vec<Bytes>) {
    store.put(&Path::from("large"), PutPayload::from_iter(large)).await.unwrap();
}

async fn upload(store: Store, large: Vec<Bytes>) {
    let upload = store.put_multipart(&Path::from("large")).await.unwrap();
    let mut writer = WriteMultipart::new_with_chunk_size(upload, PIECE);
    for piece in large {
        writer.wait_for_capacity(4).await.unwrap();
        writer.put(piece);
    }
    writer.finish().await.unwrap();
}

async fn get_stream(store: Store, _: Vec<Bytes>) {
    let mut stream = store.get(&Path::from("large")).await.unwrap().into_stream();
    while let Some(piece) = stream.try_next().await.unwrap() {
        std::hint::black_box(piece);
    }
}

async fn get_bytes(store: Store, _: Vec<Bytes>) {
    std::hint::black_box(store.get(&Path::from("large")).await.unwrap().bytes().await.unwrap());
}

fn name(n: usize) -> Path {
    Path::from(format!("small/{:02}/{n}", n % 100))
}

async fn put_small(store: Store, n: usize) {
    store.put(&name(n), vec![7; SMALL].into()).await.unwrap();
}

async fn get_small(store: Store, n: usize) {
    std::hint::black_box(store.get(&name(n)).await.unwrap().bytes().await.unwrap());
}

fn main() {
    let mib = variable("KEYWARD_BENCH_MIB", 1024);
    let objects = variable("KEYWARD_BENCH_OBJECTS", 10_000);
    let rounds = variable("KEYWARD_BENCH_ROUNDS", 5);
    let root = match std::env::var_os("KEYWARD_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let root = root.unwrap();
    let local = |name: &str| -> Store {
        let dir = root.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        Arc::new(LocalFileSystem::new_with_prefix(dir).unwrap())
    };
    let key: KeyName = "bench".parse().unwrap();
    let provider = Arc::new(MemoryProvider::new());
    provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let limits = CacheLimits::new(Duration::from_secs(3600), CacheLimits::MAX_MESSAGES, 1000).unwrap();
    let encrypted: Store = Arc::new(
        EncryptedStore::builder(local("encrypted"))
            .provider(provider)
            .bucket_keys(limits)
            .default_sse(Sse::kms(key).bucket_key(true))
            .build()
            .unwrap(),
    );
    let bare = local("bare");
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let large: Vec<Bytes> = (0..mib.div_ceil(PIECE >> 20))
        .map(|n| (0..PIECE).map(|i| (i * 7 + i / 251 + n) as u8).collect::<Vec<_>>().into())
        .collect();

    println!("what                 bare          encrypted     encrypted / bare");
    let report = |what: &str, unit: &str, amount: f64, times: Vec<(f64, f64)>| {
        println!(
            "{what:18}  {:8.0} {unit}  {:8.0} {unit}  {:.2}",
            median(times.iter().map(|(bare, _)| amount / bare).collect()),
            median(times.iter().map(|(_, encrypted)| amount / encrypted).collect()),
            median(times.iter().map(|(bare, encrypted)| bare / encrypted).collect()),
        );
    };
    macro_rules! large {
        ($what:literal, $work:ident) => {
            let time = |store: &Store| {
                let began = Instant::now();
                runtime.block_on($work(store.clone(), large.clone()));
                began.elapsed().as_secs_f64()
            };
            (time(&bare), time(&encrypted));
            report($what, "MiB/s", mib as f64, (0..rounds).map(|_| (time(&bare), time(&encrypted))).collect());
        };
    }
    large!("put", put);
    large!("upload in parts", upload);
    large!("get as a stream", get_stream);
    large!("get in one piece", get_bytes);
    macro_rules! small {
        ($what:literal, $work:ident, $at_once:literal) => {
            let time = |store: &Store| {
                let began = Instant::now();
                let all = stream::iter(0..objects).map(|n| tokio::spawn($work(store.clone(), n)));
                runtime.block_on(all.buffer_unordered($at_once).try_collect::<Vec<_>>()).unwrap();
                began.elapsed().as_secs_f64()
            };
            (time(&bare), time(&encrypted));
            report($what, "  1/s", objects as f64, (0..rounds).map(|_| (time(&bare), time(&encrypted))).collect());
        };
    }
    small!("put small, 1", put_small, 1);
    small!("get small, 1", get_small, 1);
    small!("put small, 16", put_small, 16);
    small!("get small, 16", get_small, 16);
}
