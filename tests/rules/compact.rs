//! The compact form, for records.

use crate::fixture::{
    DEK, TEXT, assert_kind, assert_malformed, context, context_bytes, customer_key, every_way, good, good_entry,
    keyring, name,
};
use crate::forms::{Form, Sealed};
use crate::keyring::{Keyring, kek_id};
use crate::place::{Place, both_keys, new_key, old_key, rewrap};
use crate::raw::{CHUNK, Core, Envelope, Parts, SlotCopy, body};
use crate::streams::text;
use keyward::durable::Replace;
use keyward::envelope::{Recipients, Reencrypt, inspect};
use keyward::{Decryptor, EncryptionContext, Encryptor, ErrorKind};
use std::io::Write;

/// What a compact envelope under one AES-GCM key has beside a plaintext of less than one chunk.
const OVERHEAD: usize = 229;

/// A compact envelope made by hand.
fn by_hand(copy: &SlotCopy) -> Vec<u8> {
    let core = core();
    [core.clone(), copy.compact_bytes(), body(&DEK, &core, TEXT)].concat()
}

fn core() -> Vec<u8> {
    Core { flags: 2, ..Core::new(0, context_bytes()) }.bytes()
}

fn read(bytes: &[u8]) -> keyward::Result<Vec<u8>> {
    let keys = keyring();
    every_way(|| Decryptor::new(&keys).context(context()), bytes)
}

/// A record under the old version.
fn sealed() -> Sealed {
    Form::Compact.seal(&Encryptor::new(&old_key(), &name("main")).context(context()), TEXT)
}

#[test]
fn an_envelope_made_by_hand_opens() {
    let copy = SlotCopy::new(7, &[vec![9; 3], good_entry()]).tagged(&DEK, &core());
    let bytes = by_hand(&copy);
    assert_eq!(read(&bytes).unwrap(), TEXT);
    let seen = inspect(&mut &bytes[..]).unwrap();
    assert!(seen.compact && !seen.detached);
    assert_eq!((seen.generation, seen.entries.len()), (Some(7), 2));
    assert_eq!(seen.header_len as usize, bytes.len() - body(&DEK, &core(), TEXT).len());
}

#[test]
fn a_record_is_229_bytes_longer_than_its_plaintext() {
    let keys = keyring();
    let encryptor = Encryptor::new(&keys, &name("main")).compact();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 5 * CHUNK + 7] {
        let text = text(len);
        let mut streamed = encryptor.writer(Vec::new()).unwrap();
        streamed.write_all(&text).unwrap();
        for sealed in [encryptor.encrypt(&text).unwrap(), streamed.finish().unwrap()] {
            // Each chunk after the first has a tag of its own.
            assert_eq!(sealed.len(), len + OVERHEAD + 16 * (len / CHUNK), "{len}");
            assert!(every_way(|| Decryptor::new(&keys), &sealed).unwrap() == text, "{len}");
            assert_eq!(sealed[10..12], [0, 2], "the flag");
            assert_eq!(sealed[28..32], [0; 4], "the slots length");
        }
    }
}

#[test]
fn a_record_is_what_the_format_says() {
    let keys = old_key();
    let file = Encryptor::new(&keys, &name("main")).context(context()).compact().encrypt(TEXT).unwrap();
    let parts = Parts::of(&file);
    let copy = parts.active();
    let data_key = crate::keyring::unwrapped(&copy.list()[0]);
    assert_eq!((copy.generation, copy.count), (1, 1));
    assert_eq!(copy, copy.clone().tagged(&data_key, &parts.core));
    assert_eq!(crate::raw::open_body(&data_key, &parts.core, &parts.body), TEXT);
}

#[test]
fn files_of_several_keys_open_under_each() {
    let keys = keyring();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = text(3 * CHUNK + 5);
    std::fs::write(path("plain"), &text).unwrap();
    let encryptor = Encryptor::new(&keys, &name("main")).also(&keys, &name("other")).context(context()).compact();
    encryptor.encrypt_file(&path("plain"), &path("sealed"), Replace::No).unwrap();
    let sealed = std::fs::read(path("sealed")).unwrap();
    // CORE's context and the second entry beside what one key needs.
    assert_eq!(sealed.len(), text.len() + OVERHEAD + 16 * 3 + context_bytes().len() + 83);
    for keys in [Keyring::new(&[("main", 2)]), Keyring::new(&[("other", 1)])] {
        assert!(every_way(|| Decryptor::new(&keys).context(context()), &sealed).unwrap() == text);
    }
    let other = EncryptionContext::from_pairs([("tenant", "evil")]).unwrap();
    let answer = every_way(|| Decryptor::new(&keys).context(other.clone()), &sealed);
    assert_kind(answer, ErrorKind::ContextMismatch, "another context");
}

#[test]
fn a_customers_record_opens_for_its_key() {
    let key = customer_key();
    let sealed = Encryptor::with_customer_key(&key).compact().encrypt(TEXT).unwrap();
    // Salt and verifier of 32 bytes each, where IV and ciphertext have 12 and 48.
    assert_eq!(sealed.len(), TEXT.len() + OVERHEAD + 4);
    assert_eq!(every_way(|| Decryptor::with_customer_key(&key), &sealed).unwrap(), TEXT);
    let keys = keyring();
    let answer = every_way(|| Decryptor::new(&keys), &sealed);
    assert_kind(answer, ErrorKind::InvalidArgument, "without the key");
}

#[test]
fn every_truncation_is_refused() {
    let file = sealed().file();
    let keys = keyring();
    let header = file.len() - Parts::of(&file).body.len();
    for len in 0..file.len() {
        let kind = if len < header { ErrorKind::NotAnEnvelope } else { ErrorKind::NotAuthentic };
        let cut = &file[..len];
        assert_kind(read(cut), kind, format!("cut to {len}"));
        // A rewrap reads no more of the body than its commitment.
        if len < header + 56 {
            assert_kind(rewrap(&keys).compact(cut), kind, format!("cut to {len}, rewrapped"));
        }
    }
    for more in [1, 16, 16400] {
        assert_kind(read(&[&file[..], &vec![0; more]].concat()), ErrorKind::NotAuthentic, format!("{more} bytes more"));
    }
}

#[test]
fn every_bit_of_the_slots_counts() {
    let file = sealed().file();
    let parts = Parts::of(&file);
    let slots = parts.core.len()..parts.core.len() + parts.slots.len();
    let keys = both_keys();
    for at in slots {
        for mask in (0..8).map(|bit| 1 << bit) {
            let mut bytes = file.clone();
            bytes[at] ^= mask;
            let case = format!("byte {at} ^ {mask:#x}");
            let kinds = [ErrorKind::NotAnEnvelope, ErrorKind::NotAuthentic, ErrorKind::KeyNotFound];
            for answer in [
                Decryptor::new(&keys).context(context()).decrypt(&bytes),
                rewrap(&keys).compact(&bytes).map(Option::unwrap_or_default),
            ] {
                let error = answer.expect_err(&case);
                assert!(kinds.contains(&error.kind()), "{case}: {error}");
            }
        }
    }
}

#[test]
fn a_slots_length_is_refused() {
    for slots_len in [1, 131, 320, 2048, 65536, u32::MAX] {
        let mut bytes = by_hand(&SlotCopy::new(1, &[good_entry()]).tagged(&DEK, &core()));
        bytes[28..32].copy_from_slice(&slots_len.to_be_bytes());
        assert_kind(read(&bytes), ErrorKind::NotAnEnvelope, slots_len);
        assert_kind(inspect(&mut &bytes[..]), ErrorKind::NotAnEnvelope, format!("{slots_len}, inspected"));
    }
    // Areas as in a plain envelope, and a body that is made for this CORE.
    let mut envelope = good();
    envelope.core.flags = 2;
    assert_malformed(&envelope, "the areas of a plain envelope");
}

#[test]
fn a_malformed_slot_copy_is_refused() {
    let copy = SlotCopy::new(1, &[good_entry()]);
    for (case, copy) in [
        ("generation 0", SlotCopy { generation: 0, ..copy.clone() }),
        ("count 0", SlotCopy { count: 0, ..copy.clone() }),
        ("count 2 of one", SlotCopy { count: 2, ..copy.clone() }),
        ("count 17", SlotCopy { count: 17, ..copy.clone() }),
        ("17 entries", SlotCopy::new(1, &vec![Vec::new(); 17])),
        ("no entries", SlotCopy::new(1, &[])),
        ("used one less", SlotCopy { used: copy.used - 1, ..copy.clone() }),
        ("used one more", SlotCopy { used: copy.used + 1, ..copy.clone() }),
        ("used 65535", SlotCopy { used: u16::MAX, ..copy.clone() }),
    ] {
        let bytes = by_hand(&copy.tagged(&DEK, &core()));
        assert_kind(read(&bytes), ErrorKind::NotAnEnvelope, case);
        assert_kind(inspect(&mut &bytes[..]), ErrorKind::NotAnEnvelope, format!("{case}, inspected"));
        assert_kind(rewrap(&keyring()).compact(&bytes), ErrorKind::NotAnEnvelope, format!("{case}, rewrapped"));
    }
}

#[test]
fn a_rewrap_changes_the_slots_alone() {
    let file = sealed();
    // In the file and in memory, with CORE and BODY as they were.
    let rewrapped = file.rewrapped(&rewrap(&both_keys())).unwrap().expect("there is a newer version");
    assert_eq!(rewrapped.copy.generation, 2);
    assert_eq!(rewrapped.entries()[0][2..18], kek_id("main", 2));
    assert_eq!(rewrapped.file().len(), file.file().len());
    assert_eq!(rewrapped.read(&new_key()).unwrap(), TEXT);
    assert_kind(rewrapped.read(&old_key()), ErrorKind::KeyNotFound, "under the old version");
    assert!(rewrapped.rewrapped(&rewrap(&both_keys())).unwrap().is_none(), "a second time");
    let moved = rewrapped.rewrapped(&rewrap(&keyring()).to(&name("other"))).unwrap().unwrap();
    assert_eq!((moved.copy.generation, &moved.entries()[0][2..18]), (3, &kek_id("other", 1)[..]));
}

#[test]
fn a_rewrap_may_need_more_room_than_there_was() {
    // No area limits what follows CORE.
    let file = Form::Compact.seal(&Encryptor::new(&old_key(), &name("main")), &text(2 * CHUNK));
    let before = Parts::of(&file.file());
    let data_key = crate::keyring::unwrapped_for(&EncryptionContext::new(), &file.entries()[0]);
    let more = [file.entries(), vec![vec![7; 9]; 15]].concat();
    let file = file.with_entries(&more).tagged(&data_key);
    let keys = both_keys();
    let rewrapped = file.rewrapped(&keyward::envelope::Rewrap::new(&keys)).unwrap().unwrap();
    assert_eq!(rewrapped.entries()[1..], more[1..]);
    assert_eq!(Parts::of(&rewrapped.file()).body, before.body);
}

#[test]
fn the_last_generation_reads_but_is_not_rewrapped() {
    let file = sealed();
    let data_key = crate::keyring::unwrapped(&file.entries()[0]);
    let last = file.with(SlotCopy { generation: u32::MAX, ..file.copy.clone() }).tagged(&data_key);
    assert_eq!(last.read(&old_key()).unwrap(), TEXT);
    assert_kind(last.rewrapped(&rewrap(&both_keys())), ErrorKind::LimitExceeded, "the last generation");
}

#[test]
fn a_rewrap_of_the_other_forms_is_not_one_in_memory() {
    let keys = keyring();
    assert_kind(rewrap(&keys).compact(&good().bytes()), ErrorKind::InvalidArgument, "a plain envelope");
    let apart = Form::Detached.seal(&Encryptor::new(&keys, &name("main")).context(context()), TEXT);
    assert_kind(rewrap(&keys).compact(&apart.file()), ErrorKind::InvalidArgument, "detached slots");
    let customer = Encryptor::with_customer_key(&customer_key()).context(context()).compact().encrypt(TEXT).unwrap();
    assert_kind(rewrap(&keys).compact(&customer), ErrorKind::InvalidArgument, "a customer's");
    let bytes = sealed().file();
    let slots = keyward::envelope::DetachedSlots::from_bytes(apart.copy.bytes()).unwrap();
    let answer = rewrap(&keys).detached(&mut std::io::Cursor::new(&bytes), &slots);
    assert_kind(answer, ErrorKind::InvalidArgument, "detached slots of a compact envelope");
    let decryptor = Decryptor::new(&keys).context(context()).detached_slots(slots);
    assert_kind(every_way(|| decryptor.clone(), &bytes), ErrorKind::InvalidArgument, "read with detached slots");
}

#[test]
fn a_reencryption_stays_in_its_form() {
    let keys = both_keys();
    let place = Place::new(&sealed().file());
    let before = place.parts();
    Reencrypt::new(Decryptor::new(&keys).any_context(), Recipients::SameKey(&keys)).file(&place.path).unwrap();
    let after = place.parts();
    assert_eq!(place.bytes().len(), TEXT.len() + OVERHEAD + context_bytes().len());
    assert_eq!(after.core[10..12], [0, 2]);
    assert_eq!((after.active().generation, &after.active().list()[0][2..18]), (1, &kek_id("main", 2)[..]));
    assert_ne!(after.body[..56], before.body[..56]);
    assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    // A plain one is not made compact.
    let place = Place::sealed();
    Reencrypt::new(Decryptor::new(&keys).any_context(), Recipients::SameKey(&keys)).file(&place.path).unwrap();
    assert_eq!(place.parts().core[10..12], [0, 0]);
}

#[test]
fn areas_and_detached_slots_are_for_the_other_forms() {
    let keys = keyring();
    let encryptor = Encryptor::new(&keys, &name("main")).compact();
    for slots_len in [0, 320, 2048] {
        let with_area = encryptor.clone().slots_len(slots_len);
        assert_kind(with_area.encrypt(TEXT), ErrorKind::InvalidArgument, slots_len);
        assert_kind(with_area.writer(Vec::new()).map(drop), ErrorKind::InvalidArgument, slots_len);
    }
    let answer = encryptor.writer_detached(Vec::new()).map(drop);
    assert_kind(answer, ErrorKind::InvalidArgument, "a compact envelope with detached slots");
}

#[test]
fn a_flag_of_another_form_is_refused() {
    // The form is part of CORE, to which everything is bound.
    let file = sealed().file();
    for flags in [0, 1, 3] {
        let mut bytes = file.clone();
        bytes[11] = flags;
        let error = read(&bytes).unwrap_err();
        let kinds = [ErrorKind::NotAnEnvelope, ErrorKind::InvalidArgument];
        assert!(kinds.contains(&error.kind()), "flags {flags}: {error}");
    }
    // A plain one whose areas begin with what a compact one would have.
    let plain = Envelope { a: SlotCopy::new(1, &[good_entry()]).bytes(), ..good() };
    let mut bytes = plain.bytes();
    bytes[11] = 2;
    bytes[28..32].fill(0);
    assert_kind(read(&bytes), ErrorKind::NotAuthentic, "a plain envelope read as a compact one");
}
