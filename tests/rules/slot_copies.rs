//! SLOTS: what makes a slot copy valid, and which one counts.

use crate::fixture::{assert_kind, assert_malformed, assert_opens, good, good_entry, read, slot_copy};
use crate::raw::{COPY_OVERHEAD, Envelope, SlotCopy};
use keyward::ErrorKind;

const AREA_LEN: usize = 512;

/// The good envelope with these slot copies.
fn with(a: impl Into<Vec<u8>>, b: impl Into<Vec<u8>>) -> Envelope {
    Envelope { a: a.into(), b: b.into(), ..good() }
}

/// A slot copy that is whole but for what `change` does to it.
fn changed(change: impl FnOnce(&mut SlotCopy)) -> Vec<u8> {
    let mut copy = slot_copy(7);
    change(&mut copy);
    copy.bytes()
}

/// A whole slot copy whose entries unwrap nowhere.
fn foreign(generation: u32) -> Vec<u8> {
    SlotCopy::new(generation, &[vec![0xee; 83]]).bytes()
}

/// Every way to break a slot copy, each alone and with a digest that is right where it can be.
fn broken() -> Vec<(String, Vec<u8>)> {
    let entry_len = u16::try_from(good_entry().len()).unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("generation 0", changed(|copy| copy.generation = 0)),
        ("count 0 of one entry", changed(|copy| copy.count = 0)),
        ("count 0 of none", SlotCopy::new(7, &[]).bytes()),
        ("count 2 of one entry", changed(|copy| copy.count = 2)),
        ("count 65535", changed(|copy| copy.count = u16::MAX)),
        ("17 entries", SlotCopy::new(7, &vec![Vec::new(); 17]).bytes()),
        ("count 1 of two entries", {
            let mut copy = SlotCopy::new(7, &[good_entry(), good_entry()]);
            copy.count = 1;
            copy.bytes()
        }),
        (
            "a byte after the entries",
            changed(|copy| {
                copy.entries.push(0);
                copy.used += 1;
            }),
        ),
        (
            "an entry that says it is longer",
            changed(|copy| copy.entries[..2].copy_from_slice(&(entry_len + 1).to_be_bytes())),
        ),
        (
            "an entry that says it is shorter",
            changed(|copy| copy.entries[..2].copy_from_slice(&(entry_len - 1).to_be_bytes())),
        ),
        (
            "a part of an entry length",
            changed(|copy| {
                copy.entries.push(0);
                copy.used += 1;
                copy.count = 2;
            }),
        ),
        ("used 0", changed(|copy| copy.used = 0)),
        ("used one less", changed(|copy| copy.used -= 1)),
        ("used one more", changed(|copy| copy.used += 1)),
        ("used up to the end", changed(|copy| copy.used = u16::try_from(AREA_LEN - COPY_OVERHEAD).unwrap())),
        ("used beyond the end", changed(|copy| copy.used = u16::try_from(AREA_LEN - COPY_OVERHEAD + 1).unwrap())),
        ("used 65535", changed(|copy| copy.used = u16::MAX)),
    ]
    .into_iter()
    .map(|(case, bytes)| (case.to_owned(), bytes))
    .collect();
    let whole = slot_copy(7).bytes();
    for at in whole.len() - 16..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        cases.push((format!("digest, byte {at}"), bytes));
    }
    for at in [whole.len(), whole.len() + 1, AREA_LEN - 1] {
        let mut bytes = whole.clone();
        bytes.resize(AREA_LEN, 0);
        bytes[at] = 1;
        cases.push((format!("padding, byte {at}"), bytes));
    }
    cases
}

#[test]
fn a_broken_copy_alone_is_refused_in_either_place() {
    assert_malformed(&with([], []), "both empty");
    for (case, bytes) in broken() {
        assert_malformed(&with(&bytes[..], []), format!("{case}, area A"));
        assert_malformed(&with([], &bytes[..]), format!("{case}, area B"));
        assert_malformed(&with(&bytes[..], &bytes[..]), format!("{case}, both slot copies"));
    }
}

#[test]
fn a_broken_copy_of_a_higher_generation_does_not_count_beside_a_whole_one() {
    for (case, bytes) in broken() {
        assert_opens(&with(&bytes[..], slot_copy(1).bytes()), format!("{case}, area A"));
        assert_opens(&with(slot_copy(1).bytes(), &bytes[..]), format!("{case}, area B"));
    }
}

#[test]
fn entries_up_to_the_very_end_of_an_area() {
    let filler = vec![9; AREA_LEN - COPY_OVERHEAD - 2 - 2 - good_entry().len()];
    let full = SlotCopy::new(1, &[good_entry(), filler.clone()]).bytes();
    assert_eq!(full.len(), AREA_LEN);
    assert_opens(&with(&full[..], []), "a full area A");
    assert_opens(&with([], &full[..]), "a full area B");
    // One byte more: the digest's last byte is in the other area, where it spoils that one too.
    let over = SlotCopy::new(2, &[good_entry(), [&filler[..], &[9]].concat()]).bytes();
    assert_malformed(&with(&over[..AREA_LEN], &over[AREA_LEN..]), "one byte over the area");
}

#[test]
fn either_copy_alone_opens_at_any_generation() {
    for generation in [1, 2, 3, 0x8000_0000, u32::MAX - 1, u32::MAX] {
        assert_opens(&with(slot_copy(generation).bytes(), []), format!("generation {generation} in the area A"));
        assert_opens(&with([], slot_copy(generation).bytes()), format!("generation {generation} in the area B"));
    }
}

#[test]
fn the_higher_generation_wins() {
    for (low, high) in [(1, 2), (1, u32::MAX), (255, 256), (0x7fff_ffff, 0x8000_0000), (u32::MAX - 1, u32::MAX)] {
        let case = format!("{low} and {high}");
        assert_opens(&with(slot_copy(high).bytes(), foreign(low)), &case);
        assert_opens(&with(foreign(low), slot_copy(high).bytes()), &case);
        // What the older one holds is not looked at, though it would open.
        for envelope in [with(foreign(high), slot_copy(low).bytes()), with(slot_copy(low).bytes(), foreign(high))] {
            let error = read(&envelope.bytes()).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::NotAnEnvelope, "{case}: {error}");
        }
    }
}

#[test]
fn equal_generations_are_equal_copies() {
    let one = slot_copy(5).bytes();
    assert_opens(&with(&one[..], &one[..]), "identical");
    // Another wrapping of the same key, which opens as well: still two answers to one question.
    assert_malformed(&with(&one[..], slot_copy(5).bytes()), "two wrappings");
    assert_malformed(&with(&one[..], foreign(5)), "one foreign, second");
    assert_malformed(&with(foreign(5), &one[..]), "one foreign, first");
    let twice = SlotCopy::new(5, &[good_entry(), good_entry()]).bytes();
    assert_malformed(&with(&one[..], &twice[..]), "another number of entries");
}

#[test]
fn a_copy_torn_at_any_byte_leaves_the_other_in_force() {
    let old = slot_copy(1).bytes();
    let new = slot_copy(2).bytes();
    // Over what an earlier rewrap may have left there: zeros, an older slot copy, a longer one.
    let longer = SlotCopy::new(1, &vec![good_entry(); 3]).bytes();
    for under in [Vec::new(), foreign(1), longer] {
        for torn in 0..=new.len() {
            let mut bytes = under.clone();
            bytes.resize(AREA_LEN, 0);
            bytes[..torn].copy_from_slice(&new[..torn]);
            for envelope in [with(slot_copy(3).bytes(), &bytes[..]), with(&bytes[..], slot_copy(3).bytes())] {
                let answer = crate::fixture::decrypt(&envelope.bytes());
                assert!(answer.is_ok_and(|text| text == envelope.plaintext), "torn after {torn}");
            }
        }
    }
    for torn in [0, 1, 4, 8, 50, new.len() - 1] {
        assert_malformed(&with(&old[..torn], &new[..torn]), format!("both torn after {torn}"));
    }
}

#[test]
fn slots_cut_short_are_malformed() {
    let bytes = good().bytes();
    let slots_at = bytes.len() - good().body().len() - 2 * AREA_LEN;
    for len in [slots_at, slots_at + 1, slots_at + AREA_LEN, slots_at + 2 * AREA_LEN - 1] {
        assert_kind(read(&bytes[..len]), ErrorKind::NotAnEnvelope, format!("cut to {len}"));
    }
}
