//! Slots that are kept apart from the file.

use crate::fixture::{
    SLOTS_LEN, TEXT, assert_kind, context, customer_key, every_way, good, good_entry, keyring, name, slot_copy,
};
use crate::keyring::unwrapped;
use crate::raw::{Envelope, SlotCopy, read_slot_copy};
use keyward::envelope::DetachedSlots;
use keyward::{Decryptor, Encryptor, ErrorKind, Result};
use std::io::Write;

/// An envelope made by hand whose slots are elsewhere; zeros stand for them.
fn apart(slots_len: u32) -> Envelope {
    let mut envelope = Envelope { a: Vec::new(), ..good() };
    envelope.core.flags = 1;
    envelope.core.slots_len = slots_len;
    envelope
}

/// The slots of `envelope`: this copy with the right tag.
fn slots_of(envelope: &Envelope, copy: SlotCopy) -> DetachedSlots {
    DetachedSlots::from_bytes(copy.tagged(&envelope.key, &envelope.core.bytes()).bytes()).unwrap()
}

/// The slots of [`apart`] with the least that can be reserved.
fn slots(copy: SlotCopy) -> DetachedSlots {
    slots_of(&apart(0), copy)
}

fn read(bytes: &[u8], slots: &DetachedSlots) -> Result<Vec<u8>> {
    let keyring = keyring();
    every_way(|| Decryptor::new(&keyring).context(context()).detached_slots(slots.clone()), bytes)
}

fn written(text: &[u8]) -> (Vec<u8>, DetachedSlots) {
    let keyring = keyring();
    let encryptor = Encryptor::new(&keyring, &name("main")).context(context());
    let (mut writer, slots) = encryptor.writer_detached(Vec::new()).unwrap();
    writer.write_all(text).unwrap();
    (writer.finish().unwrap(), slots)
}

#[test]
fn what_is_made_by_hand_opens_whatever_is_reserved() {
    for slots_len in [0, 1, 2, 319, 320, SLOTS_LEN, 65536] {
        let envelope = apart(slots_len);
        let slots = slots_of(&envelope, slot_copy(1));
        assert_eq!(read(&envelope.bytes(), &slots).unwrap(), TEXT, "{slots_len} reserved");
    }
    let too_long = apart(65537).bytes();
    assert_kind(read(&too_long, &slots(slot_copy(1))), ErrorKind::NotAnEnvelope, "65537 reserved");
}

#[test]
fn what_is_written_is_as_the_format_says() {
    let (file, slots) = written(TEXT);
    assert_eq!(file[10..12], [0, 1], "the flag");
    let (generation, entries) = read_slot_copy(slots.as_bytes()).unwrap();
    assert_eq!((generation, entries.len()), (1, 1));
    let dek = unwrapped(&entries[0]);
    let copy = SlotCopy::new(1, &entries).tagged(&dek, &file[..file.len() - (56 + TEXT.len() + 16)]);
    assert_eq!(slots.as_bytes(), copy.bytes(), "the right tag and no padding");
    assert_eq!(read(&file, &slots).unwrap(), TEXT);
    assert_eq!(DetachedSlots::from_bytes(slots.as_bytes().to_vec()).unwrap(), slots);
}

#[test]
fn the_place_of_detached_slots_is_zeros() {
    for slots_len in [1, 2, 320, 1025] {
        let bytes = apart(slots_len).bytes();
        let slots_at = apart(slots_len).core.bytes().len();
        for at in [0, slots_len as usize / 2, slots_len as usize - 1] {
            let mut bytes = bytes.clone();
            bytes[slots_at + at] = 1;
            assert_kind(
                read(&bytes, &slots(slot_copy(1))),
                ErrorKind::NotAnEnvelope,
                format!("byte {at} of {slots_len}"),
            );
        }
    }
    // Not even slots that would open.
    let mut envelope = apart(SLOTS_LEN);
    envelope.a = slot_copy(1).bytes();
    assert_kind(read(&envelope.bytes(), &slots(slot_copy(1))), ErrorKind::NotAnEnvelope, "slots in both places");
}

#[test]
fn slots_are_given_where_they_are_apart_and_only_there() {
    let keyring = keyring();
    let answer = every_way(|| Decryptor::new(&keyring).context(context()), &apart(0).bytes());
    assert_kind(answer, ErrorKind::InvalidArgument, "none given");
    assert_eq!(keyring.calls(), 0);
    let answer = read(&good().bytes(), &slots(slot_copy(1)));
    assert_kind(answer, ErrorKind::InvalidArgument, "given for a file that has its own");
}

#[test]
fn slots_of_another_file_do_not_open_this_one() {
    let ((one, its_slots), (other, others_slots)) = (written(b"one"), written(b"other"));
    assert_eq!(read(&one, &its_slots).unwrap(), b"one");
    assert_kind(read(&one, &others_slots), ErrorKind::NotAuthentic, "another file's slots");
    assert_kind(read(&other, &its_slots), ErrorKind::NotAuthentic, "another file's slots");
    let foreign = slots(SlotCopy::new(1, &[crate::keyring::wrap("stranger", 1, &[], &[1; 32]).bytes()]));
    assert_kind(read(&one, &foreign), ErrorKind::KeyNotFound, "slots of a stranger");
    let planted = slots(SlotCopy::new(1, &[crate::fixture::entry_of(&[1; 32]), good_entry()]));
    assert_eq!(read(&apart(0).bytes(), &planted).unwrap(), TEXT, "a plant first");
}

#[test]
fn detached_slots_are_one_copy_of_exactly_its_length() {
    let whole = slot_copy(3).bytes();
    for len in 0..whole.len() {
        assert_kind(
            DetachedSlots::from_bytes(whole[..len].to_vec()),
            ErrorKind::NotAnEnvelope,
            format!("cut to {len}"),
        );
    }
    for extra in [&[0][..], &[1], &[0; 100], &whole] {
        let bytes = [&whole[..], extra].concat();
        assert_kind(DetachedSlots::from_bytes(bytes), ErrorKind::NotAnEnvelope, format!("{} more", extra.len()));
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert_kind(DetachedSlots::from_bytes(bytes), ErrorKind::NotAnEnvelope, format!("byte {at} altered"));
    }
    for (case, copy) in [
        ("generation 0", SlotCopy::new(0, &[good_entry()])),
        ("no entries", SlotCopy::new(1, &[])),
        ("17 entries", SlotCopy::new(1, &vec![Vec::new(); 17])),
        ("count 2 of one", SlotCopy { count: 2, ..slot_copy(1) }),
        ("used too much", SlotCopy { used: u16::MAX, ..slot_copy(1) }),
    ] {
        assert_kind(DetachedSlots::from_bytes(copy.bytes()), ErrorKind::NotAnEnvelope, case);
    }
}

#[test]
fn a_customers_file_may_have_its_slots_apart() {
    let key = customer_key();
    let encryptor = Encryptor::with_customer_key(&key).context(context());
    let (mut writer, slots) = encryptor.writer_detached(Vec::new()).unwrap();
    writer.write_all(TEXT).unwrap();
    let file = writer.finish().unwrap();
    let with_key = || Decryptor::with_customer_key(&key).context(context());
    assert_eq!(every_way(|| with_key().detached_slots(slots.clone()), &file).unwrap(), TEXT);
    assert_kind(every_way(with_key, &file), ErrorKind::InvalidArgument, "no slots");
    assert_kind(read(&file, &slots), ErrorKind::InvalidArgument, "no key");
}
