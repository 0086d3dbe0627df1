//! Tokens of SoftHSM, or of Kryoptic where `KEYWARD_BACKUP_ON` names its module.

use crate::{BROUGHT, name};
use keyward::WrappingAlgorithm;
use keyward::hsm::HsmProvider;
use keyward::testkit::SoftToken;
use keyward::token::{Module, Pin, Token, TokenInfo, TokenOptions, TokenUri};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const PIN: &str = "backup-user-pin";
pub(crate) const SO_PIN: &str = "backup-so-pin";
const KRYOPTIC: &str = "KEYWARD_BACKUP_ON";
/// So many slots with blank tokens.
const SLOTS: usize = 90;

pub(crate) fn on_kryoptic() -> bool {
    std::env::var_os(KRYOPTIC).is_some()
}

pub(crate) fn module() -> Arc<Module> {
    match std::env::var_os(KRYOPTIC) {
        Some(path) => Module::load(&PathBuf::from(path)).unwrap(),
        None => SoftToken::load_module(),
    }
}

/// The algorithms that the token has.
pub(crate) fn algorithms() -> Vec<WrappingAlgorithm> {
    let mut algorithms = vec![WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1];
    algorithms.extend(on_kryoptic().then_some(WrappingAlgorithm::RsaOaep));
    algorithms
}

pub(crate) const AES: [WrappingAlgorithm; 2] = [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw];

/// A label that nobody else has.
pub(crate) fn new_label() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("backup-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn uri(label: &str) -> TokenUri {
    let uri: TokenUri = format!("pkcs11:token={label}").parse().unwrap();
    uri.or_module_path(Some(module().path().to_owned()))
}

pub(crate) fn new_token() -> TokenInfo {
    module().init_token(&new_label(), &Pin::new(SO_PIN), &Pin::new(PIN)).unwrap()
}

pub(crate) fn open(token: &TokenInfo) -> Token {
    Token::open_with(&uri(&token.label), TokenOptions::default().pin(Pin::new(PIN))).unwrap()
}

/// A provider on a new token, which accepts whatever came there by Keyward's ways.
pub(crate) fn provider() -> HsmProvider {
    accepting(&open(&new_token()))
}

pub(crate) fn accepting(token: &Token) -> HsmProvider {
    strict(token).accept(BROUGHT)
}

/// One that accepts nothing. It has the names of the keys that the tests make, as RSA keys need.
pub(crate) fn strict(token: &Token) -> HsmProvider {
    HsmProvider::new(token.clone()).only(["records", "other"].map(name))
}

#[test]
fn all_of_both_on_kryoptic() {
    let module = std::env::var_os("KEYWARD_TEST_KRYOPTIC");
    let module = module.expect("KEYWARD_TEST_KRYOPTIC is not set: tests/kryoptic/build prints its value");
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("kryoptic.conf");
    let slot = |number| {
        let database = dir.path().join(format!("token-{number}.sql"));
        format!("[[slots]]\nslot = {number}\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n\n", database.display())
    };
    std::fs::write(&conf, (1..=SLOTS).map(slot).collect::<String>()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        // It deadlocks where one thread logs out while another encrypts.
        .args(["both::", "--test-threads=1", "--nocapture"])
        .env("KRYOPTIC_CONF", &conf)
        .env(KRYOPTIC, module)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains(" passed; 0 failed; 0 ignored"), "all are run");
}
