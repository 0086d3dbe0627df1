//! The tag of a slot copy: what an attacker can change without the data key, and what with it.

use crate::fixture::{DEK, TEXT, assert_kind, context, context_bytes, customer_key, good, good_entry, keyring, name};
use crate::forms::{Form, Sealed};
use crate::keyring::{Keyring, kek_id, unwrapped, wrap_later};
use crate::place::{both_keys, old_key, rewrap};
use crate::raw::{Envelope, SlotCopy};
use keyward::envelope::{Recipients, Rewrap};
use keyward::{Decryptor, Encryptor, ErrorKind};

/// For two keys, so that one entry opens although the other was changed.
fn sealed(form: Form) -> Sealed {
    let keys = keyring();
    form.seal(&Encryptor::new(&keys, &name("main")).also(&keys, &name("other")).context(context()), TEXT)
}

/// Lists of entries that an attacker can make of those of a file and of another one.
fn edited_lists(own: &[Vec<u8>], others: &[Vec<u8>]) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut lists = vec![
        ("swapped".to_owned(), own.iter().rev().cloned().collect()),
        ("the other file's".to_owned(), others.to_vec()),
        ("both files'".to_owned(), [own, others].concat()),
        ("an empty entry more".to_owned(), [own, &[Vec::new()]].concat()),
        ("an unknown entry more".to_owned(), [own, &[vec![9; 40]]].concat()),
    ];
    for at in 0..own.len() {
        let change = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut list = own.to_vec();
            change(&mut list);
            list
        };
        lists.push((format!("entry {at} dropped"), change(&|list| drop(list.remove(at)))));
        lists.push((format!("entry {at} repeated"), change(&|list| list.insert(at, own[at].clone()))));
        lists.push((format!("entry {at} replaced"), change(&|list| list[at].clone_from(&others[at]))));
        lists.push((format!("one more before entry {at}"), change(&|list| list.insert(at, others[at].clone()))));
        lists.push((format!("entry {at} cut"), change(&|list| list[at].truncate(80))));
        lists.push((format!("entry {at} of the other occasion"), change(&|list| list[at][0] ^= 3)));
    }
    lists
}

#[test]
fn entries_edited_without_the_key_are_not_authentic() {
    for form in Form::ALL {
        let (file, other) = (sealed(form), sealed(form));
        assert_eq!(file.read(&keyring()).unwrap(), TEXT);
        for (case, list) in edited_lists(&file.entries(), &other.entries()) {
            let case = format!("{form:?}: {case}");
            file.with_entries(&list).refused(&keyring(), ErrorKind::NotAuthentic, &case);
        }
    }
}

#[test]
fn a_generation_edited_without_the_key_is_not_authentic() {
    for form in Form::ALL {
        let file = sealed(form);
        for generation in [2, 3, 1 << 16, u32::MAX] {
            let copy = SlotCopy { generation, ..file.copy.clone() };
            file.with(copy).refused(&keyring(), ErrorKind::NotAuthentic, format!("{form:?}: {generation}"));
        }
    }
}

#[test]
fn every_byte_of_a_slot_copy_is_authenticated() {
    for form in Form::ALL {
        let file = sealed(form);
        let entry_len = file.entries()[0].len();
        let lengths = [8..10, 10 + entry_len..12 + entry_len];
        let bytes = file.copy.compact_bytes();
        for at in 0..bytes.len() {
            for mask in [0x02, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                // Count, lengths and what follows from them are checked before anything is opened.
                let kind = match (4..8).contains(&at) || lengths.iter().any(|range| range.contains(&at)) {
                    true => ErrorKind::NotAnEnvelope,
                    false => ErrorKind::NotAuthentic,
                };
                let edited = file.with(SlotCopy::parse_compact(&bytes));
                // A length that reaches far into the body of a compact envelope is just as wrong.
                let case = format!("{form:?}: byte {at} ^ {mask:#x}");
                match (mask, at % 4) {
                    (0x02, 0) => edited.refused(&keyring(), kind, case),
                    _ => assert_kind(edited.read(&keyring()), kind, case),
                }
            }
        }
    }
}

#[test]
fn a_wrong_tag_in_the_active_copy_is_final() {
    let good_copy = SlotCopy::new(1, &[good_entry()]);
    let newer = SlotCopy::new(2, &[good_entry()]);
    let core = good().core.bytes();
    let mut other_core = good().core;
    other_core.message_id[0] ^= 1;
    for (case, tag) in [
        ("any", [1; 32]),
        ("that of the other copy", good_copy.clone().tagged(&DEK, &core).tag),
        ("by another data key", newer.clone().tagged(&[0x66; 32], &core).tag),
        ("for another CORE", newer.clone().tagged(&DEK, &other_core.bytes()).tag),
    ] {
        let wrong = SlotCopy { tag, ..newer.clone() }.bytes();
        for (a, b) in [(good_copy.bytes(), wrong.clone()), (wrong, good_copy.bytes())] {
            let envelope = Envelope { a, b, ..good() };
            assert_kind(crate::fixture::read(&envelope.bytes()), ErrorKind::NotAuthentic, case);
            let place = crate::place::Place::new(&envelope.bytes());
            for copy in [false, true] {
                place.refuses(case, ErrorKind::NotAuthentic, |path| rewrap(&both_keys()).copy(copy).file(path));
            }
        }
        // In the copy that is not active it does not matter.
        let stale = SlotCopy { tag, ..good_copy.clone() }.bytes();
        let envelope = Envelope { a: stale, b: newer.bytes(), ..good() };
        assert_eq!(crate::fixture::read(&envelope.bytes()).unwrap(), TEXT, "{case}");
    }
}

#[test]
fn slots_of_another_core_with_one_data_key_are_refused() {
    let mut other = good();
    other.core.message_id[0] ^= 1;
    let bytes = [good().core.bytes(), other.slots(), good().body()].concat();
    assert_kind(crate::fixture::read(&bytes), ErrorKind::NotAuthentic, "the same entry, and the tag of another CORE");
    assert_eq!(crate::fixture::read(&other.bytes()).unwrap(), TEXT);
}

#[test]
fn a_customers_slots_edited_without_the_key_are_not_authentic() {
    let (key, keys) = (customer_key(), keyring());
    let decryptor = || Decryptor::with_customer_key(&key).context(context());
    for form in Form::ALL {
        let file = form.seal(&Encryptor::with_customer_key(&key).context(context()), TEXT);
        assert_eq!(file.read_with(decryptor()).unwrap(), TEXT);
        let other = form.seal(&Encryptor::with_customer_key(&key).context(context()), TEXT);
        let mut cases: Vec<_> =
            [2, u32::MAX].map(|generation| SlotCopy { generation, ..file.copy.clone() }).into_iter().collect();
        cases.extend((0..32).map(|at| {
            let mut copy = file.copy.clone();
            copy.tag[at] ^= 1;
            copy
        }));
        cases.push(other.copy.clone());
        cases.push(SlotCopy { tag: other.copy.tag, ..file.copy.clone() });
        for copy in cases {
            let case = format!("{form:?}: {copy:?}");
            let edited = file.with(copy);
            assert_kind(edited.read_with(decryptor()), ErrorKind::NotAuthentic, &case);
            let named = Recipients::Named(Encryptor::new(&keys, &name("main")));
            let answer = edited.reencrypted_with(decryptor(), named, |reencrypt| reencrypt);
            assert_kind(answer, ErrorKind::NotAuthentic, &case);
        }
    }
}

#[test]
fn an_entry_added_by_one_who_knows_the_data_key_opens() {
    for form in Form::ALL {
        let keys = old_key();
        let file = form.seal(&Encryptor::new(&keys, &name("main")).context(context()), TEXT);
        let data_key = unwrapped(&file.entries()[0]);
        let added = wrap_later("other", 1, &context_bytes(), &data_key).bytes();
        let forged = file.with_entries(&[file.entries(), vec![added.clone()]].concat());
        assert_kind(forged.read(&keyring()), ErrorKind::NotAuthentic, "with the old tag");
        let forged = forged.tagged(&data_key);
        let others = Keyring::new(&[("other", 1)]);
        for keys in [&old_key(), &others, &keyring()] {
            assert_eq!(forged.read(keys).unwrap(), TEXT, "{form:?}");
        }
        // A rewrap keeps the entry, which it did not make, and tags it.
        let rewrapped = forged.rewrapped(&Rewrap::new(&both_keys()).context(context())).unwrap().unwrap();
        assert_eq!(rewrapped.entries()[0][2..18], kek_id("main", 2));
        assert_eq!(rewrapped.entries()[1], added);
        assert_eq!(rewrapped.copy, rewrapped.tagged(&data_key).copy, "the right tag");
        assert_eq!(rewrapped.read(&others).unwrap(), TEXT);
    }
}

#[test]
fn a_data_key_of_another_file_makes_no_tag_for_this_one() {
    for form in Form::ALL {
        let (file, other) = (sealed(form), sealed(form));
        let (its, others) = (unwrapped(&file.entries()[0]), unwrapped(&other.entries()[0]));
        assert_eq!(file.tagged(&its).copy, file.copy);
        file.tagged(&others).refused(&keyring(), ErrorKind::NotAuthentic, format!("{form:?}"));
        // Entries of one data key, body and tag of another.
        let planted = file.with_entries(&other.entries()).tagged(&others);
        planted.refused(&keyring(), ErrorKind::NotAuthentic, format!("{form:?}, with the other's entries"));
    }
}
