//! The customer's own key, and the two modes kept apart.

use crate::fixture::{
    CUSTOMER, TEXT, assert_kind, assert_opens, context, context_bytes, customer_key, every_way, good, good_entry,
    keyring,
};
use crate::raw::{Core, Entry, Envelope, Parts, SlotCopy, customer_entry};
use keyward::key::CustomerKey;
use keyward::{Decryptor, Encryptor, ErrorKind, Result};

/// An envelope of the customer's, made by hand; its entries may be changed.
fn with(change: impl FnOnce(&mut Vec<Entry>)) -> Envelope {
    let core = Core::new(1024, context_bytes());
    let mut entries = vec![customer_entry(&CUSTOMER, [0x11; 32], &core.bytes())];
    change(&mut entries);
    let entries: Vec<_> = entries.iter().map(Entry::bytes).collect();
    Envelope {
        core,
        a: SlotCopy::new(1, &entries).bytes(),
        b: Vec::new(),
        odd: 0,
        key: CUSTOMER,
        plaintext: TEXT.to_vec(),
    }
}

fn read_with(key: &CustomerKey, bytes: &[u8]) -> Result<Vec<u8>> {
    every_way(|| Decryptor::with_customer_key(key).context(context()), bytes)
}

fn read(bytes: &[u8]) -> Result<Vec<u8>> {
    read_with(&customer_key(), bytes)
}

fn sealed() -> Vec<u8> {
    Encryptor::with_customer_key(&customer_key()).context(context()).encrypt(TEXT).unwrap()
}

#[test]
fn what_is_written_by_the_format_opens_and_the_other_way_round() {
    assert_eq!(read(&with(|_| ()).bytes()).unwrap(), TEXT);
    let parts = Parts::of(&sealed());
    let (generation, entries) = parts.current();
    assert_eq!((generation, entries.len()), (1, 1));
    let salt: [u8; 32] = entries[0][19..51].try_into().unwrap();
    assert_eq!(entries[0], customer_entry(&CUSTOMER, salt, &parts.core).bytes());
    assert_eq!(crate::raw::open_body(&CUSTOMER, &parts.core, &parts.body), TEXT);
}

#[test]
fn a_customer_key_is_never_taken_for_an_envelope_nor_an_envelope_for_it() {
    assert_opens(&good(), "an envelope");
    assert_kind(read(&good().bytes()), ErrorKind::InvalidArgument, "an envelope read with a customer key");
    let keyring = keyring();
    for bytes in [with(|_| ()).bytes(), sealed()] {
        let answer = every_way(|| Decryptor::new(&keyring).context(context()), &bytes);
        assert_kind(answer, ErrorKind::InvalidArgument, "a customer's file read without the key");
    }
    assert_eq!(keyring.calls(), 0, "no provider is asked for a customer's file");
}

#[test]
fn a_planted_verifier_does_not_turn_an_envelope_into_a_customers_file() {
    // The writer of an envelope knows its data key and gives it out as a customer's.
    let mut envelope = good();
    let verifier = customer_entry(&envelope.key, [1; 32], &envelope.core.bytes()).bytes();
    for entries in [vec![verifier.clone(), good_entry()], vec![good_entry(), verifier]] {
        envelope.a = SlotCopy::new(1, &entries).bytes();
        let keyring = keyring();
        let answer = every_way(|| Decryptor::new(&keyring).context(context()), &envelope.bytes());
        assert_kind(answer, ErrorKind::InvalidArgument, "algorithm 16 beside algorithm 1, without a customer key");
        let key = CustomerKey::from_slice(&envelope.key).unwrap();
        let error = read_with(&key, &envelope.bytes()).expect_err("two entries");
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotAnEnvelope), "{error:?}");
    }
}

#[test]
fn a_wrong_key_is_not_authentic() {
    let bytes = sealed();
    for wrong in [[0xc4; 32], [0; 32], {
        let mut key = CUSTOMER;
        key[31] ^= 1;
        key
    }] {
        assert_kind(read_with(&CustomerKey::from_slice(&wrong).unwrap(), &bytes), ErrorKind::NotAuthentic, "wrong key");
    }
    for len in [0, 16, 31, 33, 64] {
        assert_kind(CustomerKey::from_slice(&vec![1; len]), ErrorKind::InvalidArgument, format!("{len} bytes"));
    }
}

#[test]
fn the_context_is_compared_first() {
    let (bytes, key) = (sealed(), customer_key());
    let answer = every_way(|| Decryptor::with_customer_key(&key), &bytes);
    assert_kind(answer, ErrorKind::ContextMismatch, "no context");
    assert_eq!(every_way(|| Decryptor::with_customer_key(&key).any_context(), &bytes).unwrap(), TEXT);
}

#[test]
fn there_is_exactly_one_entry_and_it_is_as_the_format_says() {
    type Change = fn(&mut Vec<Entry>);
    let cases: [(&str, Change); 9] = [
        ("the entry twice", |entries| entries.push(entries[0].clone())),
        ("another verifier of the key", |entries| {
            let core = Core::new(1024, context_bytes()).bytes();
            entries.push(customer_entry(&CUSTOMER, [0x22; 32], &core));
        }),
        ("an unknown entry beside it", |entries| {
            entries.push(Entry { algorithm: 99, ..entries[0].clone() });
        }),
        ("a KEK id", |entries| entries[0].kek_id[15] = 1),
        ("another occasion", |entries| entries[0].occasion = 2),
        ("algorithm 17", |entries| entries[0].algorithm = 17),
        ("a salt of 31 bytes", |entries| entries[0].parameters.truncate(31)),
        ("a verifier of 31 bytes", |entries| entries[0].ciphertext.truncate(31)),
        ("no verifier", |entries| entries[0].ciphertext.clear()),
    ];
    for (case, change) in cases {
        let error = read(&with(change).bytes()).expect_err(case);
        let kinds = [ErrorKind::InvalidArgument, ErrorKind::NotAnEnvelope];
        assert!(kinds.contains(&error.kind()), "{case}: {error:?}");
    }
}

#[test]
fn the_verifier_is_checked_although_the_body_would_open() {
    type Change = fn(&mut Vec<Entry>);
    let cases: [(&str, Change); 4] = [
        ("verifier altered", |entries| entries[0].ciphertext[0] ^= 1),
        ("verifier's last byte altered", |entries| entries[0].ciphertext[31] ^= 1),
        ("salt altered", |entries| entries[0].parameters[0] ^= 1),
        ("verifier of another CORE", |entries| {
            let mut core = Core::new(1024, context_bytes());
            core.message_id[0] ^= 1;
            entries[0] = customer_entry(&CUSTOMER, [0x11; 32], &core.bytes());
        }),
    ];
    for (case, change) in cases {
        assert_kind(read(&with(change).bytes()), ErrorKind::NotAuthentic, case);
    }
}

#[test]
fn a_verifier_without_its_body_is_not_authentic() {
    let envelope = Envelope { key: [9; 32], ..with(|_| ()) };
    assert_kind(read(&envelope.bytes()), ErrorKind::NotAuthentic, "the body of another key");
}

#[test]
fn two_files_of_one_key_show_nothing_in_common() {
    let entries = [sealed(), sealed()].map(|file| Parts::of(&file).current().1.remove(0));
    assert_ne!(entries[0][19..51], entries[1][19..51], "salts");
    assert_ne!(entries[0][53..], entries[1][53..], "verifiers");
    // Nor does the verifier of one pass in the other.
    let (mut one, other) = (Parts::of(&sealed()), Parts::of(&sealed()));
    one.slots = other.slots;
    assert_kind(read(&one.bytes()), ErrorKind::NotAuthentic, "slots of another file of the same key");
}

#[test]
fn two_files_of_one_key_and_text_differ_in_every_part() {
    let (one, other) = (Parts::of(&sealed()), Parts::of(&sealed()));
    assert_ne!(one.core[12..28], other.core[12..28], "message ids");
    assert_ne!(one.body[..24], other.body[..24], "salts");
    assert_ne!(one.body[56..], other.body[56..], "ciphertexts");
}

#[test]
fn a_customer_key_stands_alone() {
    let (keyring, key) = (keyring(), customer_key());
    let answer = Encryptor::with_customer_key(&key).also(&keyring, &crate::fixture::name("main")).encrypt(TEXT);
    assert_kind(answer, ErrorKind::InvalidArgument, "a customer key and a master key");
    assert_eq!(keyring.calls(), 0);
}
