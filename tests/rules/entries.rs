//! The entries of a slot copy: which are tried, which are skipped, and what is said when none opens.

use crate::fixture::{
    DEK, TEXT, assert_kind, assert_opens, context, context_bytes, decrypt, entry_of, envelope, every_way, good,
    good_entry, keyring, name, read, sealed,
};
use crate::keyring::{Keyring, kek_id, wrap};
use crate::raw::{Entry, LATER, Parts, context as pairs};
use keyward::key::AlgorithmChoice;
use keyward::testkit::MemoryProvider;
use keyward::{Decryptor, Encryptor, ErrorKind, KeyAdmin};

/// Wrapped whole and under a key that may be used, but another data key.
fn plant() -> Vec<u8> {
    entry_of(&[0x66; 32])
}

fn changed(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entry = wrap("main", 2, &context_bytes(), &DEK);
    change(&mut entry);
    entry.bytes()
}

/// Entries of unknown kinds, and malformed ones: to be skipped.
fn not_understood() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![1]),
        ("occasion 0", changed(|entry| entry.occasion = 0)),
        ("occasion 3", changed(|entry| entry.occasion = 3)),
        ("algorithm 0", changed(|entry| entry.algorithm = 0)),
        ("algorithm 5", changed(|entry| entry.algorithm = 5)),
        ("algorithm 255", changed(|entry| entry.algorithm = 255)),
        ("cut short", good_entry()[..40].to_vec()),
        ("without its last byte", good_entry()[..good_entry().len() - 1].to_vec()),
        ("with a byte more", [good_entry(), vec![0]].concat()),
        ("no IV", changed(|entry| entry.parameters.clear())),
        ("an IV of 13 bytes", changed(|entry| entry.parameters.push(0))),
        ("a ciphertext of 49 bytes", changed(|entry| entry.ciphertext.push(0))),
        ("a ciphertext of none", changed(|entry| entry.ciphertext.clear())),
        ("AES-KW with an IV", changed(|entry| entry.algorithm = 2)),
        ("RSA of 48 bytes", changed(|entry| (entry.algorithm, entry.parameters) = (3, Vec::new()))),
    ]
}

/// Well-formed entries under a key that may be used, none of which gives the data key.
fn not_authentic() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("another data key", plant()),
        ("a data key of 16 bytes", entry_of(&DEK[..16])),
        ("the other occasion", changed(|entry| entry.occasion = LATER)),
        ("altered", changed(|entry| entry.ciphertext[0] ^= 1)),
        ("altered tag", changed(|entry| entry.ciphertext[47] ^= 1)),
        ("altered IV", changed(|entry| entry.parameters[0] ^= 1)),
        ("an IV of 16 bytes", changed(|entry| entry.parameters.resize(16, 0))),
        ("the other version's id", changed(|entry| entry.kek_id = kek_id("main", 1))),
        ("for no context", wrap("main", 2, &[], &DEK).bytes()),
        ("for another context", wrap("main", 2, &pairs(&[("tenant", "evil")]), &DEK).bytes()),
        ("an algorithm that its key is not for", {
            changed(|entry| {
                entry.algorithm = 2;
                entry.parameters.clear();
                entry.ciphertext.resize(72, 0);
            })
        }),
    ]
}

#[test]
fn what_is_not_understood_or_does_not_open_is_passed_over() {
    for (case, entry) in not_understood().into_iter().chain(not_authentic()) {
        assert_opens(&envelope(&[entry.clone(), good_entry()]), format!("{case}, first"));
        assert_opens(&envelope(&[good_entry(), entry]), format!("{case}, last"));
    }
    let unknown = wrap("stranger", 1, &context_bytes(), &DEK).bytes();
    assert_opens(&envelope(&[unknown, good_entry()]), "an unknown key first");
}

#[test]
fn nothing_but_plants_is_not_authentic() {
    for (case, entry) in not_authentic() {
        assert_kind(read(&envelope(std::slice::from_ref(&entry)).bytes()), ErrorKind::NotAuthentic, case);
        let bytes = envelope(&[plant(), entry]).bytes();
        assert_kind(read(&bytes), ErrorKind::NotAuthentic, format!("{case}, after a plant"));
    }
}

#[test]
fn nothing_that_is_understood_is_refused() {
    for (case, entry) in not_understood() {
        let error = read(&envelope(&[entry]).bytes()).unwrap_err();
        let kinds = [ErrorKind::KeyNotFound, ErrorKind::NotAuthentic, ErrorKind::NotAnEnvelope];
        assert!(kinds.contains(&error.kind()), "{case}: {error}");
    }
}

#[test]
fn a_key_that_is_not_the_readers_is_not_found() {
    let bytes = good().bytes();
    for labels in [&[][..], &[("other", 1)], &[("main", 1)], &[("main", 3), ("other", 1)]] {
        let keyring = Keyring::new(labels);
        let answer = every_way(|| Decryptor::new(&keyring).context(context()), &bytes);
        assert_kind(answer, ErrorKind::KeyNotFound, format!("{labels:?}"));
        assert_eq!(keyring.unwraps(), 0);
    }
}

#[test]
fn a_key_of_the_same_id_and_another_secret_is_not_authentic() {
    let mut entry = wrap("stranger", 1, &context_bytes(), &DEK);
    entry.kek_id = kek_id("main", 2);
    assert_kind(read(&envelope(&[entry.bytes()]).bytes()), ErrorKind::NotAuthentic, "planted");
}

#[test]
fn the_first_that_fits_the_body_ends_the_search() {
    let keyring = keyring();
    let bytes = envelope(&[plant(), good_entry(), good_entry(), plant()]).bytes();
    assert_eq!(Decryptor::new(&keyring).context(context()).decrypt(&bytes).unwrap(), TEXT);
    assert_eq!(keyring.unwraps(), 2);
}

#[test]
fn slots_of_another_file_do_not_open_this_one() {
    let (one, other) = (sealed(b"one"), sealed(b"other"));
    assert_eq!(decrypt(&one).unwrap(), b"one");
    let (mut a, mut b) = (Parts::of(&one), Parts::of(&other));
    std::mem::swap(&mut a.slots, &mut b.slots);
    assert_kind(read(&a.bytes()), ErrorKind::NotAuthentic, "slots swapped");
    assert_kind(read(&b.bytes()), ErrorKind::NotAuthentic, "slots swapped");
    // The whole header with another's body.
    std::mem::swap(&mut a.slots, &mut b.slots);
    std::mem::swap(&mut a.body, &mut b.body);
    assert_kind(read(&a.bytes()), ErrorKind::NotAuthentic, "bodies swapped");
    // Slots and body with another's CORE.
    let mixed = Parts { core: Parts::of(&other).core, ..Parts::of(&one) };
    assert_kind(read(&mixed.bytes()), ErrorKind::NotAuthentic, "CORE swapped");
}

#[test]
fn sixteen_entries_may_hold_the_one_that_opens_last() {
    let mut entries = vec![plant(); 15];
    entries.push(good_entry());
    let mut envelope = envelope(&entries[15..]);
    envelope.core.slots_len = 4096;
    envelope.a = crate::raw::SlotCopy::new(1, &entries).bytes();
    assert_opens(&envelope, "fifteen plants first");
}

#[test]
fn sixteen_recipients_each_open_alone_and_seventeen_are_too_many() {
    let providers: Vec<_> = (0..17).map(|_| MemoryProvider::new()).collect();
    let key = name("main");
    for provider in &providers {
        provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    }
    let to = |n: usize| {
        let first = Encryptor::new(&providers[0], &key).context(context());
        providers[1..n].iter().fold(first, |encryptor, provider| encryptor.also(provider, &key)).encrypt(TEXT)
    };
    let file = to(16).unwrap();
    for provider in &providers[..16] {
        assert_eq!(every_way(|| Decryptor::new(provider).context(context()), &file).unwrap(), TEXT);
    }
    let answer = every_way(|| Decryptor::new(&providers[16]).context(context()), &file);
    assert_kind(answer, ErrorKind::KeyNotFound, "not a recipient");
    assert_kind(to(17), ErrorKind::LimitExceeded, "17 recipients");
    // There is room for each to be replaced by one as long.
    let parts = Parts::of(&file);
    assert_eq!(parts.current().1.len(), 16);
    assert!(parts.slots.len() >= 2048);
}

#[test]
fn slots_that_are_too_short_for_the_recipients_are_refused_in_writing() {
    let keyring = keyring();
    let with = |slots_len| {
        let encryptor = Encryptor::new(&keyring, &name("main")).also(&keyring, &name("other")).context(context());
        encryptor.slots_len(slots_len).encrypt(TEXT)
    };
    // Two entries of 83 bytes and 56 more make 222.
    assert_kind(with(320), ErrorKind::LimitExceeded, "two entries in 160 bytes");
    assert_kind(with(443), ErrorKind::LimitExceeded, "two entries in 221 bytes");
    assert_eq!(read(&with(444).unwrap()).unwrap(), TEXT);
    for out_of_bounds in [0, 319, 65537, u32::MAX] {
        assert_kind(with(out_of_bounds), ErrorKind::InvalidArgument, out_of_bounds);
    }
    assert_eq!(read(&with(65536).unwrap()).unwrap(), TEXT);
}
