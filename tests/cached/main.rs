//! What a provider that keeps data keys must do: keep within its limits, apart what is apart, and answer as the
//! provider inside would.

mod any;
mod apart;
mod changes;
mod envelopes;
mod limits;
mod together;

#[allow(dead_code, reason = "what other tests need of it")]
#[path = "../common/spy.rs"]
mod spy;

use keyward::provider::{CacheLimits, Cached};
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider, WrappedKeys,
};
use spy::Spy;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const AGE: Duration = Duration::from_secs(60);
const MESSAGES: u32 = 100;
const KEYS: usize = 10;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn key() -> KeyName {
    name("records")
}

fn context(table: &str) -> EncryptionContext {
    EncryptionContext::from_pairs([("table", table)]).unwrap()
}

/// A clock that goes only when it is told to.
#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

/// A provider with the key `records`, asked for nothing yet, and a cache around it.
fn cached(max_messages: u32, max_keys: usize) -> (Arc<Spy>, Cached<Arc<Spy>>, Clock) {
    let spy = Arc::new(Spy::default());
    spy.keys.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let clock = Clock::new();
    let limits = CacheLimits::new(AGE, max_messages, max_keys).unwrap();
    let time = clock.clone();
    let cached = Cached::new(Arc::clone(&spy), limits).clock(move || *time.0.lock().unwrap());
    (spy, cached, clock)
}

/// A data key for a message of one byte.
fn message(provider: &impl KeyProvider, context: &EncryptionContext) -> keyward::Result<(DataKey, WrappedKeys)> {
    provider.data_key_for_message(&key(), context, DataKeyLength::Bytes32, 1)
}

fn wrapped(provider: &impl KeyProvider, context: &EncryptionContext) -> WrappedKeys {
    provider.generate_data_key(&key(), context, DataKeyLength::Bytes32).unwrap().1
}

#[track_caller]
fn assert_kind<T>(answer: keyward::Result<T>, kind: ErrorKind) {
    let Err(error) = answer else { panic!("an error was expected") };
    assert_eq!(error.kind(), kind, "{error}");
}
