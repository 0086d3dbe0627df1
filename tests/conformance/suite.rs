//! Runs the cases on the token that `KEYWARD_TOKEN` names.

use super::cases::{self, CASES};
use keyward::hsm::HsmProvider;
use keyward::token::{Module, Pin, Token, TokenOptions, TokenUri};
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyName, WrappingAlgorithm};
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const ALGORITHMS: [WrappingAlgorithm; 4] =
    [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaep, WrappingAlgorithm::RsaOaepSha1];

/// A token, and names that nobody else uses on it.
pub(crate) struct Bench {
    uri: TokenUri,
    prefix: String,
    count: AtomicU32,
    pub(crate) able: Vec<WrappingAlgorithm>,
}

impl Bench {
    fn new() -> Self {
        let uri = std::env::var("KEYWARD_TOKEN").expect("KEYWARD_TOKEN names the token");
        let prefix = format!("conformance-{}", std::process::id());
        Self { uri: uri.parse().unwrap(), prefix, count: AtomicU32::new(0), able: Vec::new() }
    }

    pub(crate) fn uri(&self) -> &TokenUri {
        &self.uri
    }

    pub(crate) fn open(&self, options: TokenOptions) -> Token {
        Token::open_with(&self.uri, options).expect("the token opens")
    }

    /// A provider that knows nothing yet.
    pub(crate) fn provider(&self, keys: &[&KeyName]) -> HsmProvider {
        HsmProvider::new(self.open(TokenOptions::default())).only(keys.iter().map(|key| (*key).clone()))
    }

    pub(crate) fn new_name(&self) -> KeyName {
        format!("{}-{}", self.prefix, self.count.fetch_add(1, Ordering::SeqCst)).parse().unwrap()
    }

    /// A new key, and a provider that may use it.
    pub(crate) fn key(&self, algorithm: WrappingAlgorithm) -> (HsmProvider, KeyName) {
        let name = self.new_name();
        let hsm = self.provider(&[&name]);
        hsm.create_key(&name, AlgorithmChoice::Exactly(algorithm)).unwrap();
        (hsm, name)
    }

    /// Destroys all that was made.
    fn clear_up(&self) -> usize {
        let hsm = HsmProvider::new(self.open(TokenOptions::default()));
        let keys = hsm.list_keys().unwrap();
        let ours = keys.iter().filter(|key| key.name.as_str().starts_with(&self.prefix));
        for key in ours {
            if let Err(error) = hsm.destroy_key(&key.name, key.version) {
                println!("left behind: {} ({error})", key.label());
            }
        }
        let keys = hsm.list_keys().unwrap();
        keys.iter().filter(|key| key.name.as_str().starts_with(&self.prefix)).count()
    }
}

/// What a token cannot do shows when it is asked to.
fn can(bench: &Bench, algorithm: WrappingAlgorithm) -> Option<keyward::key::KeyDescription> {
    let name = bench.new_name();
    match bench.provider(&[&name]).create_key(&name, AlgorithmChoice::Exactly(algorithm)) {
        Ok(key) => Some(key),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            println!("skipped: all cases for {algorithm}: {error}");
            None
        }
        Err(error) => panic!("{algorithm}: {error}"),
    }
}

#[test]
#[ignore = "run on a token that KEYWARD_TOKEN names"]
fn child() {
    let mut bench = Bench::new();
    if let Ok(label) = std::env::var("KEYWARD_CONFORMANCE_INIT") {
        let module = Module::load(bench.uri.module_path().unwrap()).unwrap();
        let pin = bench.uri.pin().unwrap().unwrap();
        module.init_token(&label, &Pin::new("conformance-so"), &pin).unwrap();
    }
    let (mut records, mut enforced) = (true, true);
    for algorithm in ALGORITHMS {
        if let Some(key) = can(&bench, algorithm) {
            bench.able.push(algorithm);
            records &= key.created.is_some();
            enforced &= key.enforced_by_token || algorithm.is_rsa();
        }
    }
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for algorithm in ALGORITHMS {
        for (name, case) in CASES {
            if !bench.able.contains(&algorithm) {
                skipped += 1;
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| case(&bench, algorithm))) {
                Ok(cases::Outcome::Passed) => passed += 1,
                Ok(cases::Outcome::Skipped(why)) => {
                    println!("skipped: {name} for {algorithm}: {why}");
                    skipped += 1;
                }
                Err(_) => failed.push(format!("{name} for {algorithm}")),
            }
        }
    }
    let left = bench.clear_up();
    println!(
        "report: {}",
        json!({
            "able": ALGORITHMS.map(|algorithm| bench.able.contains(&algorithm)),
            "records": records, "enforced": enforced, "passed": passed, "skipped": skipped,
        })
    );
    assert!(failed.is_empty(), "failed: {failed:#?}");
    assert!(passed > 0, "this token can do nothing that Keyward does");
    assert_eq!(left, 0, "keys are left behind");
}
