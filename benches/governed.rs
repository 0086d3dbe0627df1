//! What policies and the audit log cost: operations a second with both, against the same provider without, in turn
//! within one run. Each pair is run five times, and the median of the ratios counts.
//!
//! Every operation waits until its intent is on the disk; many at once share one sync. So the disk that the log is on
//! is measured as well: `KEYWARD_BENCH_DIR` says where that is, else it is the directory for temporary files.
//!
//! ```sh
//! cargo build --release -p keyward-fault && softhsm/with cargo bench --features governed,testkit --bench governed
//! ```

#[path = "../tests/faults/faulty.rs"]
#[allow(dead_code, reason = "what the tests need of it")]
mod faulty;
#[path = "common/rate.rs"]
mod rate;

use faulty::Faulty;
use keyward::audit::{AuditLog, AuditOptions};
use keyward::hsm::AuditKey;
use keyward::key::Principal;
use keyward::policy::Policies;
use keyward::provider::Governed;
use keyward::{DataKeyLength, EncryptionContext, KeyProvider, WrappingAlgorithm};
use rate::{median, rate};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;

/// A policy that applies, among others that do not.
fn policies() -> Policies {
    let others = (0..19).map(|n| {
        format!("permit(principal == Keyward::User::\"u{n}\", action, resource == Keyward::Key::\"k{n}\");\n")
    });
    let ours = "permit(principal in Keyward::Group::\"shop\", action in [Keyward::Action::\"GenerateDataKey\",
        Keyward::Action::\"Unwrap\"], resource is Keyward::Key) when { resource.state == \"active\" &&
        context.encryption_context.hasTag(\"tenant\") && context.encryption_context.getTag(\"tenant\") == \"acme\" };";
    Policies::parse("bench.cedar", &(others.collect::<String>() + ours)).unwrap()
}

/// How long one `fdatasync` of a short line takes on the disk of the log.
fn sync(dir: &std::path::Path) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join("sync")).unwrap();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            file.write_all(&[b'x'; 400]).unwrap();
            let began = Instant::now();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let context = EncryptionContext::from_pairs([("tenant", "acme"), ("bench", "governed")]).unwrap();
    let shop = Principal::new("alice").unwrap().in_groups(["ops", "shop", "all"]).unwrap();
    let dir = std::env::var_os("KEYWARD_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    println!("one sync of the log: {:?}", sync(&dir));
    println!("token    operation  threads  without/s     with/s  with / without");
    for (token, script) in [("SoftHSM", ""), ("1 ms", "* * delay 1ms")] {
        for operation in ["generate", "unwrap"] {
            for threads in [1, 8, 16] {
                let faulty = Faulty::new();
                let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options().max_sessions(32));
                let signer = Arc::new(AuditKey::create(hsm.token().clone()).unwrap());
                let dir = tempfile::tempdir_in(&dir).unwrap();
                let options = AuditOptions::default().keeper(signer);
                let log = AuditLog::open(&dir.path().join("audit.log"), options).unwrap();
                let governed = Governed::new(&hsm, shop.clone()).policies(policies()).log(log);
                let (_, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
                let work = |provider: &dyn KeyProvider| {
                    if operation == "unwrap" {
                        provider.unwrap_data_key(&wrapped, &context).map(drop).unwrap();
                    } else {
                        provider.generate_data_key(&key, &context, DataKeyLength::Bytes32).map(drop).unwrap();
                    }
                };
                // The sessions are opened, and the key is found.
                rate(threads, ROUND, || work(&governed));
                faulty.script(script);
                let rates: Vec<(f64, f64)> = (0..ROUNDS)
                    .map(|_| (rate(threads, ROUND, || work(&hsm)), rate(threads, ROUND, || work(&governed))))
                    .collect();
                println!(
                    "{token:8} {operation:9}  {threads:7}  {:9.0}  {:9.0}  {:.2}",
                    median(rates.iter().map(|(without, _)| *without).collect()),
                    median(rates.iter().map(|(_, with)| *with).collect()),
                    median(rates.iter().map(|(without, with)| with / without).collect()),
                );
            }
        }
    }
}
