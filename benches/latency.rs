//! How throughput grows with the number of sessions on a token that is a millisecond away, played by the
//! module that injects faults: each call to the token sleeps first.
//!
//! The measure is a bare loop of the same sleeps on as many threads, in the same run: what a provider
//! would reach that costs nothing. Each pair is run five times, and the median of the ratios counts.
//!
//! ```sh
//! cargo build --release -p keyward-fault && softhsm/with cargo bench --features testkit --bench latency
//! ```

#[path = "../tests/faults/faulty.rs"]
#[allow(dead_code, reason = "what the tests need of it")]
mod faulty;
#[path = "common/rate.rs"]
mod rate;

use faulty::Faulty;
use keyward::{DataKeyLength, EncryptionContext, KeyProvider, WrappingAlgorithm};
use rate::{median, rate};
use std::thread;
use std::time::Duration;

const AWAY: Duration = Duration::from_millis(1);
const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

fn main() {
    let context = EncryptionContext::from_pairs([("bench", "latency")]).unwrap();
    println!("operation      calls  deadline  sessions  operations/s  of sessions/latency");
    // Each with the number of calls that it makes (`tests/faults/counts.rs`).
    for (operation, algorithm, calls) in [
        ("wrap aes-gcm", WrappingAlgorithm::AesGcm, 3),
        ("unwrap aes-gcm", WrappingAlgorithm::AesGcm, 2),
        ("unwrap aes-kw", WrappingAlgorithm::AesKw, 3),
    ] {
        for limited in [false, true] {
            for sessions in [1, 2, 4, 8, 16, 32] {
                let faulty = Faulty::new();
                let mut options = faulty.options().max_sessions(sessions);
                if limited {
                    options = options.call_timeout(Duration::from_secs(10));
                }
                let (hsm, key) = faulty.with_key(algorithm, options);
                let generate = || hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
                let (_, wrapped) = generate();
                let work = || {
                    if operation.starts_with("un") {
                        hsm.unwrap_data_key(&wrapped, &context).unwrap();
                    } else {
                        generate();
                    }
                };
                // The sessions are opened, and the key is found.
                rate(sessions, ROUND, work);
                faulty.script(&format!("* * delay {}ms", AWAY.as_millis()));
                let (rates, ratios): (Vec<f64>, Vec<f64>) = (0..ROUNDS)
                    .map(|_| {
                        let bare = rate(sessions, ROUND, || thread::sleep(AWAY));
                        let ours = rate(sessions, ROUND, work);
                        (ours, ours * f64::from(calls) / bare)
                    })
                    .unzip();
                let deadline = if limited { "yes" } else { "no" };
                println!(
                    "{operation:14} {calls:5}  {deadline:8}  {sessions:8}  {:12.0}  {:.2}",
                    median(rates),
                    median(ratios)
                );
            }
        }
    }
}
