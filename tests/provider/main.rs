//! What every provider on a token must do, for each wrapping algorithm, on a real token.
//! Run under `softhsm/with`.
mod admin;
mod adopt;
mod leftovers;
mod metadata;
mod numbers;
mod pool;
mod raw;
mod records;
mod round_trip;
mod schedule;
mod trust;

use keyward::hsm::{HsmProvider, Leftover};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, EncryptionContext, ErrorKind, KeyAdmin, KeyName, WrappingAlgorithm};

/// The algorithms that SoftHSM 2.6 has.
const ALGORITHMS: [WrappingAlgorithm; 3] =
    [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1];

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().copied()).unwrap()
}

/// A token with one key, and a provider that was told of it, as RSA needs.
fn with_key(algorithm: WrappingAlgorithm) -> (SoftToken, HsmProvider, KeyName) {
    let token = SoftToken::new();
    let key = name("records");
    let hsm = token.provider().only([key.clone(), name("other"), name("third")]);
    hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
    (token, hsm, key)
}

/// Repairs what is left on the token, and returns what was repaired.
fn repair_all(hsm: &HsmProvider) -> Vec<Leftover> {
    let repairs = hsm.repair(&hsm.leftovers().unwrap()).unwrap();
    repairs.into_iter().filter(|one| one.outcome.is_ok()).map(|one| one.leftover).collect()
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(answer: keyward::Result<T>, kind: ErrorKind) -> keyward::Error {
    let error = answer.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
    error
}
