//! What goes wrong with tokens, and what becomes of it. SoftHSM behind a module that injects faults: build
//! that with `cargo build -p keyward-fault`, and run under `softhsm/with`.
mod counts;
mod crossing;
mod faulty;
mod hard;
mod leaks;
mod life;
mod limited;
mod numbers;
mod outputs;
mod pins;
mod race;
mod recovery;
mod silence;
mod table;

use faulty::Faulty;
use keyward::hsm::HsmProvider;
use keyward::{
    DataKey, DataKeyLength, EncryptionContext, ErrorKind, KeyName, KeyProvider, WrappedKeys, WrappingAlgorithm,
};
use std::time::{Duration, Instant};

/// The algorithms that SoftHSM 2.6 has.
const ALGORITHMS: [WrappingAlgorithm; 3] =
    [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1];

/// How a child process opens a token: it takes turns with its parent.
fn child_options(pin: keyward::token::Pin) -> keyward::token::TokenOptions {
    let conf = std::env::var_os("SOFTHSM2_CONF").unwrap();
    let tokens = keyward::token::softhsm_directory(conf.as_ref()).unwrap();
    keyward::token::TokenOptions::default().pin(pin).softhsm_directory(tokens)
}

fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("a", "1")]).unwrap()
}

fn generate(hsm: &HsmProvider, key: &KeyName) -> keyward::Result<(DataKey, WrappedKeys)> {
    hsm.generate_data_key(key, &context(), DataKeyLength::Bytes32)
}

/// Generates a data key, and unwraps it again.
#[track_caller]
fn assert_works(hsm: &HsmProvider, key: &KeyName) {
    let (data_key, wrapped) = generate(hsm, key).unwrap();
    assert_recovers(hsm, &wrapped, &data_key);
}

#[track_caller]
fn assert_recovers(hsm: &HsmProvider, wrapped: &WrappedKeys, data_key: &DataKey) {
    let again = hsm.unwrap_data_key(wrapped, &context()).unwrap();
    assert_eq!(again.expose_secret(), data_key.expose_secret());
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(answer: keyward::Result<T>, kind: ErrorKind) -> keyward::Error {
    let error = answer.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// Waits until something is so, and fails where it is not within a while.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(20), "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
