//! PINs that are split, and put together again.

use crate::fixture::name;
use keyward::ceremony::Id;
use keyward::ceremony::shares::{MAX_SHARES, Set, Share, SharedPin, combine, combine_recorded, split};
use keyward::{Error, ErrorKind, Result};
use std::collections::BTreeSet;

const RUN: Id = Id::from_bytes([7; 16]);

fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).unwrap();
    Ok(())
}

fn pin(len: usize) -> SharedPin {
    let mut bytes = vec![0; len];
    random(&mut bytes).unwrap();
    SharedPin::from_random(&bytes).unwrap()
}

fn set() -> Set {
    Set::new(&RUN, &name("primary"))
}

/// All ways to take `count` of these.
fn choices(all: &[Share], count: usize) -> Vec<Vec<Share>> {
    match (count, all.split_first()) {
        (0, _) => vec![Vec::new()],
        (_, None) => Vec::new(),
        (_, Some((first, rest))) => {
            let mut with = choices(rest, count - 1);
            with.iter_mut().for_each(|one| one.insert(0, first.clone()));
            with.extend(choices(rest, count));
            with
        }
    }
}

#[test]
fn all_thresholds_and_shares_up_to_7_of_10_come_back_and_fail_below() {
    for shares in 2..=10 {
        for threshold in 2..=shares.min(7) {
            let pin = pin(24);
            let all = split(&pin, &set(), threshold, shares, random).unwrap();
            for chosen in choices(&all, usize::from(threshold)) {
                // As typed, in any order.
                let typed: Vec<Share> = chosen.iter().rev().map(|one| Share::parse(&one.to_text()).unwrap()).collect();
                assert!(combine(&typed, &set()).unwrap() == pin, "{threshold} of {shares}");
            }
            assert!(combine(&all, &set()).unwrap() == pin, "all of {threshold} of {shares}");
            for too_few in choices(&all, usize::from(threshold) - 1).into_iter().take(20) {
                let error = combine(&too_few, &set()).unwrap_err();
                assert_eq!(error.to_string(), format!("{} of {threshold} shares are given: too few", threshold - 1));
            }
        }
    }
}

/// Computed with Python from the description in `docs/ceremony-format.md`, with a multiplication of its own.
#[test]
fn the_shares_of_a_pin_byte_by_byte() {
    let bytes: Vec<u8> = (0..24_u32).map(|i| (i * 37 + 5) as u8).collect();
    let pin = SharedPin::from_random(&bytes).unwrap();
    assert_eq!(pin.as_str(), "5AFMSY38DJQW16BGNTZ49EKR");
    let mut call = 0;
    let drawn = |bytes: &mut [u8]| {
        call += 1;
        match call {
            1 => bytes.fill(0xaa),
            _ => bytes.iter_mut().zip(0_u32..).for_each(|(byte, i)| *byte = (i * 29 + 1) as u8),
        }
        Ok(())
    };
    let all = split(&pin, &set(), 3, 5, drawn).unwrap();
    let told: Vec<String> = all.iter().map(|share| share.to_text().to_string()).collect();
    assert_eq!(
        told,
        [
            "6YEV-R066-HMG3-BZ5B-KE3G-Z273-MS9R-JQ9B-B4FM-J0RQ-CAXG",
            "6YEV-R066-HMGN-14PR-M2WK-3SGK-PQ3B-E1JR-0W8M-5DYV-YMEG",
            "6YEV-R066-HMH4-ZW9Z-RDB5-5G9G-HBJS-1S9Q-WHVA-22MZ-Z0B0",
            "6YEV-R066-HMHX-B130-0T0R-R88Z-JBND-PPJS-800B-B1H7-P4EG",
            "6YEV-R066-HMJC-NSW7-CNQE-Y1HW-NQ4Z-SE9P-MDKN-CAYF-MKQ0",
        ]
    );
    assert_eq!(all[4].digest(&RUN).to_string(), "e6e7cd8b42bfaf45b05f2088d04a4994e40d6f7e33be9e181b896c196fc64500");
    assert!(combine(&[all[4].clone(), all[0].clone(), all[2].clone()], &set()).unwrap() == pin);
}

#[test]
fn every_length_of_a_pin_comes_back() {
    for len in 8..=32 {
        let pin = pin(len);
        assert_eq!(pin.as_str().len(), len);
        let all = split(&pin, &set(), 3, 5, random).unwrap();
        let typed: Vec<Share> = all[1..4].iter().map(|one| Share::parse(&one.to_text()).unwrap()).collect();
        assert!(combine(&typed, &set()).unwrap() == pin, "{len}");
    }
    for len in [0, 7, 33] {
        assert_eq!(SharedPin::from_random(&vec![0; len]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

/// All bits that are split are those of the PIN or drawn: 128 at least, also where a PIN does not fill its last byte.
#[test]
fn every_bit_that_is_no_sign_of_the_pin_is_drawn() {
    for len in 8..=32 {
        let split_with = |fill: u8| {
            let pin = SharedPin::from_random(&vec![0; len]).unwrap();
            let mut call = 0;
            let drawn = |bytes: &mut [u8]| {
                call += 1;
                // The second call draws the coefficients, without which every share is the secret itself.
                bytes.fill(if call == 1 { fill } else { 0 });
                Ok(())
            };
            let all = split(&pin, &set(), 2, 2, drawn).unwrap();
            assert!(combine(&all, &set()).unwrap() == pin, "{len}");
            all[0].to_text().replace('-', "")
        };
        // The PIN is all zeros; the header of 7 bytes before it ends within a sign.
        let bits = |text: &str| -> Vec<bool> {
            let value = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(c).unwrap();
            text.chars().flat_map(|c| (0..5).rev().map(move |bit| value(c) >> bit & 1 == 1)).collect()
        };
        let (zeros, ones) = (bits(&split_with(0)), bits(&split_with(0xff)));
        let secret = 8 * (5 * len).div_ceil(8).max(15) + 8;
        let differ = (56..56 + secret).filter(|at| zeros[*at] != ones[*at]).count();
        assert_eq!(differ, secret - 5 * len, "{len}");
        assert!(secret >= 128);
    }
}

#[test]
fn each_sign_of_a_pin_is_as_likely_and_none_looks_like_another() {
    let all: Vec<u8> = (0..=255).collect();
    let mut counts = std::collections::BTreeMap::new();
    for bytes in all.chunks(32) {
        for sign in SharedPin::from_random(bytes).unwrap().as_str().chars() {
            *counts.entry(sign).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len(), 32);
    assert!(counts.values().all(|count| *count == 8), "{counts:?}");
    assert!("ILOUilo".chars().all(|sign| !counts.contains_key(&sign)));
}

#[test]
fn a_share_says_what_it_is_of_and_a_wrong_one_is_named() {
    let pin = pin(24);
    let all = split(&pin, &set(), 2, 3, random).unwrap();
    let told = |shares: &[Share]| combine(shares, &set()).unwrap_err().to_string();
    let elsewhere = |set: &Set| split(&pin, set, 2, 3, random).unwrap();
    let ceremony = elsewhere(&Set::new(&Id::from_bytes([8; 16]), &name("primary")));
    let token = elsewhere(&Set::new(&RUN, &name("second")));
    assert_eq!(told(&[all[0].clone(), ceremony[1].clone()]), "share 2 is of another ceremony");
    assert_eq!(told(&[token[0].clone(), all[1].clone()]), "share 1 is of another token of this ceremony");
    assert_eq!(told(&[all[1].clone(), all[1].clone()]), "share 2 is the same one as share 1: number 2");
    let three = split(&pin, &set(), 3, 3, random).unwrap();
    assert_eq!(
        told(&[all[0].clone(), three[1].clone()]),
        "share 2 does not go with share 1: it is of another PIN of this token"
    );
    assert_eq!(told(&[]), "no share is given");
    // One of an earlier PIN of the same token, among more than are needed.
    let earlier = split(&self::pin(24), &set(), 2, 3, random).unwrap();
    let mixed = [all[0].clone(), all[1].clone(), earlier[2].clone()];
    assert_eq!(told(&mixed), "share 3 does not go with the others: one of them is wrong");
    // And where there are no more: by its digest.
    let digests: Vec<_> = all.iter().map(|share| share.digest(&RUN)).collect();
    let recorded = |shares: &[Share]| combine_recorded(shares, &set(), &RUN, &digests);
    assert!(recorded(&all[..2]).unwrap() == pin);
    let error = recorded(&[all[0].clone(), earlier[2].clone()]).unwrap_err();
    assert_eq!(error.to_string(), "share 2 is none that was handed out last");
    assert_eq!(recorded(&[ceremony[0].clone()]).unwrap_err().to_string(), "share 1 is of another ceremony");
}

#[test]
fn a_mistyped_share_is_refused_and_the_group_named() {
    let share = split(&pin(24), &set(), 2, 3, random).unwrap().remove(1);
    let text = share.to_text();
    assert_eq!((text.len(), text.split('-').count()), (54, 11), "{}", text.as_str());
    assert!(share.check_typed(&text.to_lowercase().replace('-', " ")).is_ok());
    assert!(Share::parse(&text.to_lowercase().replace('-', "").replace('0', "o").replace('1', "l")).is_ok());
    for at in 0..text.len() {
        let mut typed = text.as_bytes().to_vec();
        if typed[at] == b'-' {
            continue;
        }
        typed[at] = if typed[at] == b'7' { b'8' } else { b'7' };
        let typed = String::from_utf8(typed).unwrap();
        let error = Share::parse(&typed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains(&typed[..4]));
        if at > 3 && at + 1 < text.len() {
            assert_eq!(error.to_string(), "a sign of this share is wrong: its checksum does not fit", "{typed}");
        }
        assert_eq!(share.check_typed(&typed), Err(at / 5 + 1), "{typed}");
    }
    for bad in ["", "U", &text[..text.len() - 1], &format!("{}0", text.as_str()), &text.repeat(9)] {
        assert!(Share::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(share.check_typed(&text[..text.len() - 1]), Err(11));
}

#[test]
fn a_digest_tells_shares_apart_and_runs() {
    let all = split(&pin(24), &set(), 2, 16, random).unwrap();
    assert_eq!(all.len(), usize::from(MAX_SHARES));
    let digests: BTreeSet<_> =
        all.iter().flat_map(|share| [share.digest(&RUN), share.digest(&Id::from_bytes([8; 16]))]).collect();
    assert_eq!(digests.len(), 32);
}

/// The digests of all shares and one of two shares leave the padding to be guessed, also for the shortest PIN: the same
/// PIN and share, and other padding, give another digest of the other share.
#[test]
fn a_digest_depends_on_more_than_the_pin() {
    let pin = pin(8);
    let fixed = |padding: u8| {
        let mut call = 0;
        let drawn = move |bytes: &mut [u8]| {
            call += 1;
            // First the padding, then the coefficients.
            bytes.fill(if call == 1 { padding } else { 9 });
            Ok(())
        };
        split(&pin, &set(), 2, 2, drawn).unwrap()
    };
    let (one, other) = (fixed(1), fixed(2));
    assert!(combine(&one, &set()).unwrap() == pin && combine(&other, &set()).unwrap() == pin);
    assert_ne!(one[1].digest(&RUN), other[1].digest(&RUN));
}

/// Chi-squared with 255 degrees of freedom: 400 is passed by chance less than once in ten million times. And no value
/// is missing: coefficients that are never 0 would leave one out.
#[test]
fn one_share_of_a_fixed_pin_is_uniform() {
    let pin = SharedPin::from_random(&[0; 24]).unwrap();
    let mut counts = [0_u32; 256];
    for _ in 0..4096 {
        let text = split(&pin, &set(), 2, 2, random).unwrap()[0].to_text();
        // Signs 12 to 28 are in the value: 5 bits each, taken two at a time for 8.
        let sign = |at: usize| {
            let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
            let signs: Vec<char> = text.chars().filter(|c| *c != '-').collect();
            alphabet.find(signs[at]).unwrap()
        };
        for at in [12, 16, 20, 24] {
            counts[(sign(at) << 5 | sign(at + 1)) & 255] += 1;
        }
    }
    let expected = 4096.0 * 4.0 / 256.0;
    let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    assert!(chi < 400.0, "{chi}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn numbers_that_make_no_sense_and_a_generator_that_fails() {
    for (threshold, shares) in [(0, 3), (1, 3), (4, 3), (2, 17), (17, 17), (2, 0)] {
        let error = split(&pin(24), &set(), threshold, shares, random).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{threshold} of {shares}");
    }
    for failing in 1..=2 {
        let mut call = 0;
        let fails = move |bytes: &mut [u8]| {
            call += 1;
            if call == failing { Err(Error::new(ErrorKind::TokenUnavailable, "gone")) } else { random(bytes) }
        };
        assert_eq!(split(&pin(24), &set(), 2, 3, fails).unwrap_err().kind(), ErrorKind::TokenUnavailable);
    }
}

#[test]
fn nothing_secret_is_printed_for_debugging() {
    let pin = pin(24);
    let share = split(&pin, &set(), 2, 3, random).unwrap().remove(0);
    assert_eq!(
        (format!("{pin:?}"), format!("{share:?}")),
        ("SharedPin(…)".into(), "Share { index: 1, threshold: 2, .. }".into())
    );
}
