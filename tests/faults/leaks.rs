//! Nothing grows: neither the process nor the token.

use super::*;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use keyward::testkit::SoftToken;
use keyward::token::{Token, TokenOptions};
use keyward::{AlgorithmChoice, KeyAdmin};

/// The resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn operations() -> usize {
    std::env::var("KEYWARD_LEAK_OPERATIONS").map_or(100_000, |n| n.parse().unwrap())
}

/// By how many KiB SoftHSM grows for so many session objects that are made and destroyed, without Keyward.
fn objects_of_softhsm(soft: &SoftToken, count: usize) -> usize {
    let session = super::recovery::raw::logged_in(soft);
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Value(vec![7; 64]),
    ];
    let before = resident();
    for _ in 0..count {
        let object = session.create_object(&template).unwrap();
        session.destroy_object(object).unwrap();
    }
    resident() - before
}

/// Alone in its process, where nothing else takes or gives memory.
#[test]
#[ignore = "run by `memory_does_not_grow`"]
fn child_that_does_many_operations() {
    let soft = SoftToken::new();
    for limited in [false, true] {
        let mut options = TokenOptions::default().pin(soft.pin());
        if limited {
            options = options.call_timeout(Duration::from_secs(10));
        }
        let hsm = HsmProvider::new(Token::open_with(&soft.uri(), options).unwrap());
        for algorithm in [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw] {
            let key: KeyName = format!("{}-{limited}", algorithm.name()).parse().unwrap();
            hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
            let round = || {
                let (data_key, wrapped) = generate(&hsm, &key).unwrap();
                assert_recovers(&hsm, &wrapped, &data_key);
                assert_kind(hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
            };
            // Caches and arenas fill.
            (0..2_000).for_each(|_| round());
            let before = resident();
            // Two operations each, and one that fails.
            let rounds = operations() / 2 / 4;
            (0..rounds).for_each(|_| round());
            let grown = resident() - before;
            // SoftHSM keeps every session object that there ever was (`SessionObjectStore::allObjects`) until
            // it is finalized. A round with AES-KW makes three.
            let softhsm = if algorithm == WrappingAlgorithm::AesKw { objects_of_softhsm(&soft, 3 * rounds) } else { 0 };
            println!("{algorithm}, calls limited: {limited}: {grown} KiB more, {softhsm} KiB of them SoftHSM's");
            assert!(grown < softhsm + softhsm / 10 + 1024, "{algorithm}: {grown} KiB more, {softhsm} KiB without us");
        }
    }
}

#[test]
fn memory_does_not_grow() {
    let test = "leaks::child_that_does_many_operations";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text.lines().filter(|line| line.contains("KiB")).for_each(|line| println!("{line}"));
}
