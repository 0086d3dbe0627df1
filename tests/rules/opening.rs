//! What opening an envelope confirms.

use crate::fixture::{DEK, TEXT, context, context_bytes, customer_key, good, good_entry, keyring, name};
use crate::forms::{Form, Sealed};
use crate::keyring::{Keyring, kek_id, wrap, wrap_later};
use crate::place::{both_keys, new_key, old_entry, old_key, rewrap};
use crate::raw::{Envelope, SlotCopy};
use keyward::envelope::{InspectedEntry, Opening};
use keyward::{Decryptor, Encryptor, KekId, WrapOccasion, WrappedKey, WrappingAlgorithm};
use std::io::Cursor;
use std::time::{Duration, SystemTime};

/// What opening the bytes confirms, by a stream and at random.
fn opening_of(decryptor: &Decryptor<'_>, bytes: &[u8]) -> Opening {
    let opening = decryptor.reader(bytes).unwrap().opening().clone();
    assert_eq!(*decryptor.open(Cursor::new(bytes)).unwrap().opening(), opening);
    opening
}

fn opening(keys: &Keyring, bytes: &[u8]) -> Opening {
    opening_of(&Decryptor::new(keys).context(context()), bytes)
}

/// Name, version, KEK id and occasion of the entry that opened.
#[track_caller]
fn assert_opened_by(opening: &Opening, key: &str, version: u32, occasion: WrapOccasion) {
    let entry = &opening.entry;
    let described = entry.key.as_ref().unwrap();
    assert_eq!((described.name.as_str(), described.version.to_string()), (key, version.to_string()));
    assert_eq!(entry.name().unwrap().as_str(), key);
    assert_eq!(entry.kek_id, KekId::from_bytes(kek_id(key, version)));
    assert_eq!((entry.algorithm, entry.occasion), (WrappingAlgorithm::AesGcm, occasion));
    assert_eq!(entry.proven_generation_key().is_some(), occasion == WrapOccasion::Generation);
    assert!(opening.slots_are_authentic());
}

fn known(entry: &[u8]) -> InspectedEntry {
    InspectedEntry::Known(WrappedKey::parse(entry).unwrap())
}

#[test]
fn the_first_key_is_wrapped_at_generation_and_others_later() {
    for form in [Form::Plain, Form::Compact] {
        let keys = keyring();
        let encryptor = Encryptor::new(&keys, &name("main")).also(&keys, &name("other")).context(context());
        let file = form.seal(&encryptor, TEXT);
        let (entries, bytes) = (file.entries(), file.file());
        let by_first = opening(&keys, &bytes);
        assert_opened_by(&by_first, "main", 2, WrapOccasion::Generation);
        assert_eq!((by_first.generation, by_first.other_entries), (1, vec![known(&entries[1])]));
        let by_second = opening(&Keyring::new(&[("other", 1)]), &bytes);
        assert_opened_by(&by_second, "other", 1, WrapOccasion::Later);
        assert_eq!(by_second.other_entries, [known(&entries[0])]);
    }
}

#[test]
fn a_rewrapped_key_is_wrapped_later() {
    for form in [Form::Plain, Form::Compact] {
        let file: Sealed = form.seal(&Encryptor::new(&old_key(), &name("main")).context(context()), TEXT);
        assert_opened_by(&opening(&old_key(), &file.file()), "main", 1, WrapOccasion::Generation);
        let rewrapped = file.rewrapped(&rewrap(&both_keys())).unwrap().unwrap();
        let opening = opening(&new_key(), &rewrapped.file());
        assert_opened_by(&opening, "main", 2, WrapOccasion::Later);
        assert_eq!((opening.generation, opening.other_entries), (2, Vec::new()));
    }
}

#[test]
fn entries_that_did_not_open_are_the_others() {
    let stranger = wrap("stranger", 1, &context_bytes(), &DEK).bytes();
    let later = wrap_later("main", 2, &context_bytes(), &DEK).bytes();
    let plant = wrap("main", 2, &context_bytes(), &[0x66; 32]).bytes();
    let old = old_entry();
    let all = [vec![9; 40], stranger.clone(), plant.clone(), old.clone(), good_entry(), later.clone()];
    let mut envelope = Envelope { a: SlotCopy::new(9, &all).bytes(), ..good() };
    envelope.core.slots_len = 2048;
    let bytes = envelope.bytes();
    let unknown = InspectedEntry::Unknown { len: 40 };
    let by_new = opening(&new_key(), &bytes);
    assert_opened_by(&by_new, "main", 2, WrapOccasion::Generation);
    assert_eq!(by_new.generation, 9);
    let others = [unknown, known(&stranger), known(&plant), known(&old), known(&later)];
    assert_eq!(by_new.other_entries, others);
    // In the order of the file: of both versions the older one is first.
    assert_opened_by(&opening(&both_keys(), &bytes), "main", 1, WrapOccasion::Generation);
}

#[test]
fn symmetric_entries_are_tried_first() {
    let rsa = wrap("rsa", 1, &context_bytes(), &DEK).bytes();
    let good = good_entry();
    let mut envelope = Envelope { a: SlotCopy::new(3, &[rsa.clone(), good.clone()]).bytes(), ..crate::fixture::good() };
    envelope.core.slots_len = 2048;
    let bytes = envelope.bytes();
    let by_both = opening(&Keyring::new(&[("main", 2), ("rsa", 1)]), &bytes);
    assert_opened_by(&by_both, "main", 2, WrapOccasion::Generation);
    assert_eq!(by_both.other_entries, [known(&rsa)]);
    // What an RSA key opens proves nothing.
    let by_rsa = opening(&Keyring::new(&[("rsa", 1)]), &bytes);
    assert_eq!(by_rsa.entry.algorithm, WrappingAlgorithm::RsaOaep);
    assert_eq!((by_rsa.entry.occasion, by_rsa.entry.proven_generation_key()), (WrapOccasion::Generation, None));
    assert!(!by_rsa.slots_are_authentic());
    assert_eq!((by_rsa.generation, by_rsa.other_entries), (3, vec![known(&good)]));
}

#[test]
fn the_creation_time_is_that_of_the_version_that_opened() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let keys = both_keys().created("main", 1, at(100)).created("main", 2, at(200));
    let bytes = Envelope { a: SlotCopy::new(1, &[old_entry()]).bytes(), ..good() }.bytes();
    assert_eq!(opening(&keys, &bytes).entry.key.unwrap().created, Some(at(100)));
}

#[test]
fn a_customers_file_has_no_key_of_a_provider() {
    let key = customer_key();
    for encryptor in [Encryptor::with_customer_key(&key), Encryptor::with_customer_key(&key).compact()] {
        let opening = opening_of(&Decryptor::with_customer_key(&key), &encryptor.encrypt(TEXT).unwrap());
        assert_eq!(opening.entry.algorithm, WrappingAlgorithm::CustomerKey);
        assert_eq!((opening.entry.key.clone(), opening.entry.kek_id), (None, KekId::from_bytes([0; 16])));
        assert_eq!(opening.entry.proven_generation_key(), None);
        assert_eq!((opening.generation, &opening.other_entries[..]), (1, &[][..]));
        assert!(opening.slots_are_authentic());
    }
}
