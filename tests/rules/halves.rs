//! SLOTS: what makes a half valid, and which one counts.

use crate::fixture::{assert_kind, assert_malformed, assert_opens, good, good_entry, half, read};
use crate::raw::{Envelope, Half};
use keyward::ErrorKind;

const HALF_LEN: usize = 512;

/// The good envelope with these halves.
fn with(a: impl Into<Vec<u8>>, b: impl Into<Vec<u8>>) -> Envelope {
    Envelope { a: a.into(), b: b.into(), ..good() }
}

/// A half that is whole but for what `change` does to it.
fn changed(change: impl FnOnce(&mut Half)) -> Vec<u8> {
    let mut half = half(7);
    change(&mut half);
    half.bytes()
}

/// A whole half whose entries unwrap nowhere.
fn foreign(generation: u32) -> Vec<u8> {
    Half::new(generation, &[vec![0xee; 83]]).bytes()
}

/// Every way to break a half, each alone and with a digest that is right where it can be.
fn broken() -> Vec<(String, Vec<u8>)> {
    let entry_len = u16::try_from(good_entry().len()).unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("generation 0", changed(|half| half.generation = 0)),
        ("count 0 of one entry", changed(|half| half.count = 0)),
        ("count 0 of none", Half::new(7, &[]).bytes()),
        ("count 2 of one entry", changed(|half| half.count = 2)),
        ("count 65535", changed(|half| half.count = u16::MAX)),
        ("17 entries", Half::new(7, &vec![Vec::new(); 17]).bytes()),
        ("count 1 of two entries", {
            let mut half = Half::new(7, &[good_entry(), good_entry()]);
            half.count = 1;
            half.bytes()
        }),
        (
            "a byte after the entries",
            changed(|half| {
                half.entries.push(0);
                half.used += 1;
            }),
        ),
        (
            "an entry that says it is longer",
            changed(|half| half.entries[..2].copy_from_slice(&(entry_len + 1).to_be_bytes())),
        ),
        (
            "an entry that says it is shorter",
            changed(|half| half.entries[..2].copy_from_slice(&(entry_len - 1).to_be_bytes())),
        ),
        (
            "half an entry length",
            changed(|half| {
                half.entries.push(0);
                half.used += 1;
                half.count = 2;
            }),
        ),
        ("used 0", changed(|half| half.used = 0)),
        ("used one less", changed(|half| half.used -= 1)),
        ("used one more", changed(|half| half.used += 1)),
        ("used up to the end", changed(|half| half.used = u16::try_from(HALF_LEN - 24).unwrap())),
        ("used beyond the end", changed(|half| half.used = u16::try_from(HALF_LEN - 23).unwrap())),
        ("used 65535", changed(|half| half.used = u16::MAX)),
    ]
    .into_iter()
    .map(|(case, bytes)| (case.to_owned(), bytes))
    .collect();
    let whole = half(7).bytes();
    for at in whole.len() - 16..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        cases.push((format!("digest, byte {at}"), bytes));
    }
    for at in [whole.len(), whole.len() + 1, HALF_LEN - 1] {
        let mut bytes = whole.clone();
        bytes.resize(HALF_LEN, 0);
        bytes[at] = 1;
        cases.push((format!("padding, byte {at}"), bytes));
    }
    cases
}

#[test]
fn a_broken_half_alone_is_refused_in_either_place() {
    assert_malformed(&with([], []), "both empty");
    for (case, bytes) in broken() {
        assert_malformed(&with(&bytes[..], []), format!("{case}, first half"));
        assert_malformed(&with([], &bytes[..]), format!("{case}, second half"));
        assert_malformed(&with(&bytes[..], &bytes[..]), format!("{case}, both halves"));
    }
}

#[test]
fn a_broken_half_of_a_higher_generation_does_not_count_beside_a_whole_one() {
    for (case, bytes) in broken() {
        assert_opens(&with(&bytes[..], half(1).bytes()), format!("{case}, first half"));
        assert_opens(&with(half(1).bytes(), &bytes[..]), format!("{case}, second half"));
    }
}

#[test]
fn entries_up_to_the_very_end_of_a_half() {
    let filler = vec![9; HALF_LEN - 24 - 2 - 2 - good_entry().len()];
    let full = Half::new(1, &[good_entry(), filler.clone()]).bytes();
    assert_eq!(full.len(), HALF_LEN);
    assert_opens(&with(&full[..], []), "a full first half");
    assert_opens(&with([], &full[..]), "a full second half");
    // One byte more: the digest's last byte is in the other half, where it spoils that one too.
    let over = Half::new(2, &[good_entry(), [&filler[..], &[9]].concat()]).bytes();
    assert_malformed(&with(&over[..HALF_LEN], &over[HALF_LEN..]), "one byte over the half");
}

#[test]
fn either_half_alone_opens_at_any_generation() {
    for generation in [1, 2, 3, 0x8000_0000, u32::MAX - 1, u32::MAX] {
        assert_opens(&with(half(generation).bytes(), []), format!("generation {generation} in the first half"));
        assert_opens(&with([], half(generation).bytes()), format!("generation {generation} in the second half"));
    }
}

#[test]
fn the_higher_generation_wins() {
    for (low, high) in [(1, 2), (1, u32::MAX), (255, 256), (0x7fff_ffff, 0x8000_0000), (u32::MAX - 1, u32::MAX)] {
        let case = format!("{low} and {high}");
        assert_opens(&with(half(high).bytes(), foreign(low)), &case);
        assert_opens(&with(foreign(low), half(high).bytes()), &case);
        // What the older one holds is not looked at, though it would open.
        for envelope in [with(foreign(high), half(low).bytes()), with(half(low).bytes(), foreign(high))] {
            let error = read(&envelope.bytes()).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::NotAnEnvelope, "{case}: {error}");
        }
    }
}

#[test]
fn equal_generations_are_equal_halves() {
    let one = half(5).bytes();
    assert_opens(&with(&one[..], &one[..]), "identical");
    // Another wrapping of the same key, which opens as well: still two answers to one question.
    assert_malformed(&with(&one[..], half(5).bytes()), "two wrappings");
    assert_malformed(&with(&one[..], foreign(5)), "one foreign, second");
    assert_malformed(&with(foreign(5), &one[..]), "one foreign, first");
    let twice = Half::new(5, &[good_entry(), good_entry()]).bytes();
    assert_malformed(&with(&one[..], &twice[..]), "another number of entries");
}

#[test]
fn a_half_torn_at_any_byte_leaves_the_other_in_force() {
    let old = half(1).bytes();
    let new = half(2).bytes();
    // Over what an earlier rewrap may have left there: zeros, an older half, a longer one.
    let longer = Half::new(1, &vec![good_entry(); 3]).bytes();
    for under in [Vec::new(), foreign(1), longer] {
        for torn in 0..=new.len() {
            let mut bytes = under.clone();
            bytes.resize(HALF_LEN, 0);
            bytes[..torn].copy_from_slice(&new[..torn]);
            for envelope in [with(half(3).bytes(), &bytes[..]), with(&bytes[..], half(3).bytes())] {
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
    let slots_at = bytes.len() - good().body().len() - 2 * HALF_LEN;
    for len in [slots_at, slots_at + 1, slots_at + HALF_LEN, slots_at + 2 * HALF_LEN - 1] {
        assert_kind(read(&bytes[..len]), ErrorKind::NotAnEnvelope, format!("cut to {len}"));
    }
}
