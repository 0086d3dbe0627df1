//! What keeping data keys saves: operations a second from memory, against the provider on SoftHSM without it, in turn
//! within one run. Each pair is run five times, and the median of the ratios counts. With the audit log around both,
//! too, which waits for the disk whether or not the token is asked.
//!
//! ```sh
//! softhsm/with cargo bench --features governed,testkit --bench cached
//! ```

use keyward::audit::{AuditLog, AuditOptions};
use keyward::key::Principal;
use keyward::provider::{CacheLimits, Cached, Governed};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, DataKeyLength, EncryptionContext, KeyAdmin, KeyName, KeyProvider, WrappingAlgorithm};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

/// How many times a second all threads together did `work`.
fn rate(threads: usize, work: impl Fn() + Sync) -> f64 {
    let (done, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = 0;
                while began.elapsed() < ROUND {
                    for _ in 0..10 {
                        work();
                    }
                    own += 10;
                }
                done.fetch_add(own, Ordering::Relaxed);
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let key: KeyName = "bench".parse().unwrap();
    let context = EncryptionContext::from_pairs([("tenant", "acme"), ("bench", "cached")]).unwrap();
    let token = SoftToken::new();
    let hsm = token.provider();
    hsm.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).unwrap();
    let limits = CacheLimits::new(Duration::from_secs(3600), CacheLimits::MAX_MESSAGES, 1000).unwrap();
    let (_, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = |name: &str| AuditLog::open(&dir.path().join(name), AuditOptions::default()).unwrap();
    let cached = Cached::new(&hsm, limits);
    let bench = Principal::new("bench").unwrap();
    let logged = Governed::new(&hsm, bench.clone()).log(log("without"));
    let logged_cached = Governed::new(Cached::new(&hsm, limits), bench).log(log("with"));
    println!("around   operation  threads  without/s     with/s  with / without");
    let pairs: [(&str, &dyn KeyProvider, &dyn KeyProvider); 2] =
        [("nothing", &hsm, &cached), ("log", &logged, &logged_cached)];
    for (around, without, with) in pairs {
        for operation in ["generate", "unwrap"] {
            for threads in [1, 2] {
                let work = |provider: &dyn KeyProvider| {
                    if operation == "unwrap" {
                        provider.unwrap_data_key(&wrapped, &context).map(drop).unwrap();
                    } else {
                        provider.data_key_for_message(&key, &context, DataKeyLength::Bytes32, 1024).map(drop).unwrap();
                    }
                };
                let rates: Vec<(f64, f64)> =
                    (0..ROUNDS).map(|_| (rate(threads, || work(without)), rate(threads, || work(with)))).collect();
                println!(
                    "{around:7}  {operation:9}  {threads:7}  {:9.0}  {:9.0}  {:.2}",
                    median(rates.iter().map(|(without, _)| *without).collect()),
                    median(rates.iter().map(|(_, with)| *with).collect()),
                    median(rates.iter().map(|(without, with)| with / without).collect()),
                );
            }
        }
    }
    println!("{:?}", cached.stats());
}
