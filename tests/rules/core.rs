//! CORE.

use crate::fixture::{assert_kind, assert_malformed, assert_opens, good, read, slot_copy};
use crate::raw::{Core, Envelope, SlotCopy};
use keyward::ErrorKind;

/// The good envelope with another CORE, for which its body is made.
fn with(change: impl FnOnce(&mut Core)) -> Envelope {
    let mut envelope = good();
    change(&mut envelope.core);
    envelope
}

#[test]
fn the_envelope_made_by_hand_opens() {
    assert_opens(&good(), "unchanged");
    assert_opens(&with(|core| core.message_id = [0; 16]), "any message id");
}

#[test]
fn another_magic_is_no_envelope() {
    for at in 0..8 {
        assert_malformed(&with(|core| core.magic[at] ^= 0x20), format!("magic, byte {at}"));
    }
}

#[test]
fn unknown_suites_are_refused() {
    for suite in [0, 2, 3, 0x0100, 0x0101, 0x8001, 0xffff] {
        assert_malformed(&with(|core| core.suite = suite), format!("suite {suite:#06x}"));
    }
}

#[test]
fn unknown_flags_are_refused() {
    for bit in 2..16 {
        for flags in [1 << bit, 1 << bit | 1, 1 << bit | 2, 1 << bit | 3] {
            assert_malformed(&with(|core| core.flags = flags), format!("flags {flags:#06x}"));
        }
    }
}

#[test]
fn unknown_suites_and_flags_are_said_to_be_of_a_newer_version() {
    for (suite, flags) in [(2, 0), (0xffff, 0), (1, 4), (1, 0x8000)] {
        let bytes = with(|core| (core.suite, core.flags) = (suite, flags)).bytes();
        let message = read(&bytes).unwrap_err().to_string();
        assert!(message.starts_with("a newer version of Keyward wrote this envelope"), "{message}");
    }
}

#[test]
fn compact_and_detached_at_once_are_refused() {
    for slots_len in [0, 1024] {
        let envelope = Envelope { a: Vec::new(), ..with(|core| (core.flags, core.slots_len) = (3, slots_len)) };
        assert_malformed(&envelope, format!("slots length {slots_len}"));
    }
}

#[test]
fn slots_lengths_have_bounds() {
    for slots_len in [0, 1, 64, 277] {
        // no slot copy fits.
        let envelope = Envelope { a: Vec::new(), ..with(|core| core.slots_len = slots_len) };
        assert_malformed(&envelope, format!("slots length {slots_len}"));
    }
    // Whole slot copies fit, and are refused all the same.
    for slots_len in [278, 318, 319, 65537, 65538, 1 << 24] {
        assert_malformed(&with(|core| core.slots_len = slots_len), format!("slots length {slots_len}"));
    }
    for slots_len in [320, 321, 1023, 65535, 65536] {
        assert_opens(&with(|core| core.slots_len = slots_len), format!("slots length {slots_len}"));
    }
}

#[test]
fn an_absurd_slots_length_is_refused_before_anything_is_read_or_reserved() {
    let mut bytes = good().bytes();
    for slots_len in [u32::MAX, 1 << 31, 65537] {
        bytes[28..32].copy_from_slice(&slots_len.to_be_bytes());
        assert_kind(read(&bytes), ErrorKind::NotAnEnvelope, slots_len);
    }
}

#[test]
fn the_odd_last_byte_of_slots_is_zero() {
    for odd in [1, 0x80, 0xff] {
        let mut envelope = with(|core| core.slots_len = 1025);
        envelope.odd = odd;
        assert_malformed(&envelope, format!("last byte {odd:#x}"));
        // Neither slot copy makes up for it.
        envelope.b = slot_copy(2).bytes();
        assert_malformed(&envelope, format!("last byte {odd:#x}, two slot copies"));
    }
}

#[test]
fn the_copies_of_odd_slots_are_those_of_the_even_length_below() {
    let mut envelope = with(|core| core.slots_len = 321);
    envelope.a = Vec::new();
    envelope.b = slot_copy(1).bytes();
    assert_opens(&envelope, "in the area B");
    envelope.a = SlotCopy::new(2, &[vec![7; 9]]).bytes();
    assert_kind(read(&envelope.bytes()), ErrorKind::KeyNotFound, "the area A is newer and has nothing that opens");
}

#[test]
fn a_body_made_for_another_core_is_refused() {
    let (one, other) = (good(), with(|core| core.message_id[0] ^= 1));
    let bytes = [one.core.bytes(), one.slots(), other.body()].concat();
    assert_kind(read(&bytes), ErrorKind::NotAuthentic, "body of another message id");
    let longer = with(|core| core.slots_len = 1026);
    let bytes = [one.core.bytes(), one.slots(), longer.body()].concat();
    assert_kind(read(&bytes), ErrorKind::NotAuthentic, "body of another slots length");
}
