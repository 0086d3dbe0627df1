//! Runs the cases on the token that `KEYWARD_TOKEN` names.

use super::cases::{About, CASES};
use keyward::hsm::HsmProvider;
use keyward::key::VersionReuse;
use keyward::token::{Module, Pin, Token, TokenOptions, TokenUri};
use keyward::{
    AlgorithmChoice, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider, KeyVersion,
    WrappingAlgorithm,
};
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const ALGORITHMS: [WrappingAlgorithm; 4] =
    [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaep, WrappingAlgorithm::RsaOaepSha1];

/// A token, and names that nobody else uses on it.
pub(crate) struct Bench {
    uri: TokenUri,
    prefix: String,
    count: AtomicU32,
    pub(crate) able: Vec<WrappingAlgorithm>,
    /// Whether the token itself refuses what the state of a key forbids.
    pub(crate) enforces: bool,
    /// Whether it keeps records beside keys.
    pub(crate) records: bool,
}

impl Bench {
    fn new() -> Self {
        let uri = std::env::var("KEYWARD_TOKEN").expect("KEYWARD_TOKEN names the token");
        // Random, because other hosts may run the suite on the same token; and none of them a part of another.
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let prefix = format!("conformance-{:016x}-", u64::from_be_bytes(random));
        println!("all keys of this run are named {prefix}NUMBER");
        Self {
            uri: uri.parse().unwrap(),
            prefix,
            count: AtomicU32::new(0),
            able: Vec::new(),
            enforces: true,
            records: true,
        }
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
        format!("{}{}", self.prefix, self.count.fetch_add(1, Ordering::SeqCst)).parse().unwrap()
    }

    /// A new key, and a provider that may use it.
    pub(crate) fn key(&self, algorithm: WrappingAlgorithm) -> (HsmProvider, KeyName) {
        let name = self.new_name();
        let hsm = self.provider(&[&name]);
        hsm.create_key(&name, AlgorithmChoice::Exactly(algorithm)).unwrap();
        (hsm, name)
    }

    /// What the token can do shows when it is asked to.
    fn probe(&mut self) {
        for algorithm in ALGORITHMS {
            let name = self.new_name();
            let hsm = self.provider(&[&name]);
            match hsm.create_key(&name, AlgorithmChoice::Exactly(algorithm)) {
                Ok(key) => {
                    self.able.push(algorithm);
                    self.records &= key.created.is_some();
                    self.enforces &= self.refuses_what_is_disabled(&hsm, &name);
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    println!("skipped: all cases for {algorithm}: token has no {algorithm}: {error}");
                }
                Err(error) => panic!("{algorithm}: {error}"),
            }
        }
    }

    /// A provider that has found a key goes on with what it remembers. Once another has disabled the key,
    /// nothing but the token stops it.
    fn refuses_what_is_disabled(&self, hsm: &HsmProvider, key: &KeyName) -> bool {
        let context = EncryptionContext::new();
        let elsewhere = self.provider(&[key]);
        let (_, wrapped) = elsewhere.generate_data_key(key, &context, DataKeyLength::Bytes32).unwrap();
        elsewhere.unwrap_data_key(&wrapped, &context).unwrap();
        hsm.disable_key(key, KeyVersion::FIRST).unwrap();
        elsewhere.unwrap_data_key(&wrapped, &context).is_err()
    }

    fn run(&mut self) -> Report {
        self.probe();
        let mut report = Report::default();
        for (name, about, case) in CASES {
            for algorithm in self.algorithms(about) {
                if !self.able.contains(&algorithm) {
                    report.skipped += 1;
                    continue;
                }
                match catch_unwind(AssertUnwindSafe(|| case(self, algorithm))) {
                    Ok(()) => report.passed += 1,
                    Err(_) => report.failed.push(format!("{name} ({algorithm})")),
                }
            }
            if about == About::Login && !self.asks_for_a_pin() {
                println!("skipped: {name}: token has no login with a PIN from this host");
                report.skipped += 1;
            }
        }
        report
    }

    /// Which algorithms a case is to be run for.
    fn algorithms(&self, about: About) -> Vec<WrappingAlgorithm> {
        match about {
            About::Any => ALGORITHMS.to_vec(),
            About::Rsa => ALGORITHMS.into_iter().filter(|algorithm| algorithm.is_rsa()).collect(),
            About::Aes => ALGORITHMS.into_iter().filter(|algorithm| !algorithm.is_rsa()).collect(),
            About::Login if !self.asks_for_a_pin() => Vec::new(),
            About::Token | About::Login => self.able.first().copied().into_iter().collect(),
        }
    }

    fn asks_for_a_pin(&self) -> bool {
        let token = self.open(TokenOptions::default());
        token.info().login_required && !token.info().pin_pad
    }

    /// Destroys all that was made, and tells what stayed.
    fn clear_up(&self) -> Vec<String> {
        let hsm = HsmProvider::new(self.open(TokenOptions::default()));
        let ours = || {
            let keys = hsm.list_keys().expect("the keys of the token");
            keys.into_iter().filter(|key| key.name.as_str().starts_with(&self.prefix))
        };
        for key in ours() {
            if let Err(error) = hsm.destroy_key(&key.name, key.version, VersionReuse::Refuse) {
                println!("{}: {error}", key.label());
            }
        }
        ours().map(|key| key.label()).collect()
    }
}

#[derive(Default)]
struct Report {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
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
    let outcome = catch_unwind(AssertUnwindSafe(|| bench.run()));
    // Whatever has become of the rest.
    let left = bench.clear_up();
    let report = outcome.unwrap_or_else(|panic| resume_unwind(panic));
    println!(
        "report: {}",
        json!({
            "able": ALGORITHMS.map(|algorithm| bench.able.contains(&algorithm)),
            "records": bench.records, "enforced": bench.enforces,
            "passed": report.passed, "skipped": report.skipped, "failed": report.failed,
        })
    );
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(report.failed.is_empty(), "failed: {:#?}", report.failed);
    assert!(report.passed > 0, "this token can do nothing that Keyward does");
}
