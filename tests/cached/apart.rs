//! What is apart stays apart, and what failed is asked again.

use super::*;
use keyward::{WrappedKey, WrappingAlgorithm};

#[test]
fn keys_contexts_and_lengths_do_not_share_data_keys() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    spy.keys.create_key(&name("other"), AlgorithmChoice::Auto).unwrap();
    let mut all = Vec::new();
    for key in [key(), name("other")] {
        for context in [EncryptionContext::new(), context("a"), context("b")] {
            for length in [DataKeyLength::Bytes16, DataKeyLength::Bytes32] {
                let first = cached.data_key_for_message(&key, &context, length, 1).unwrap();
                let again = cached.data_key_for_message(&key, &context, length, 1).unwrap();
                assert_eq!((&first.1, first.0.length()), (&again.1, length));
                all.push(first.1);
            }
        }
    }
    assert_eq!(spy.asked().len(), all.len());
    for (n, one) in all.iter().enumerate() {
        assert!(all[n + 1..].iter().all(|other| other != one), "{n}");
    }
}

#[test]
fn one_byte_that_differs_is_a_question_to_the_token() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let wrapped = wrapped(&cached, &context("a"));
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    let entry = wrapped.iter().next().unwrap();
    let bytes = entry.to_bytes();
    spy.asked();
    let mut asked = 0;
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        // Some bytes make it something that is no wrapped key at all.
        let Ok(altered) = WrappedKey::parse(&altered) else { continue };
        assert!(cached.unwrap_data_key(&altered.into(), &context("a")).is_err(), "byte {at}");
        asked += 1;
    }
    assert!(asked >= 16 + 12 + 48, "{asked}");
    assert_kind(cached.unwrap_data_key(&wrapped, &context("b")), ErrorKind::NotAuthentic);
    assert_kind(cached.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
    assert_eq!(spy.asked().len(), asked + 2);
    // One entry more, or in another place, is another question as well.
    let foreign =
        WrappedKey::new(keyward::WrapOccasion::Generation, WrappingAlgorithm::AesKw, entry.kek_id(), [], [0; 72])
            .unwrap();
    for order in [vec![entry.clone(), foreign.clone()], vec![foreign, entry.clone()]] {
        cached.unwrap_data_key(&WrappedKeys::new(order).unwrap(), &context("a")).unwrap();
        assert_eq!(spy.asked(), ["unwrap"]);
    }
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    assert!(spy.asked().is_empty(), "it was there all the time");
}

#[test]
fn what_failed_is_asked_again() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let wrapped = wrapped(&cached, &context("a"));
    spy.before_answering(|_| Err(keyward::Error::new(ErrorKind::TokenUnavailable, "away")));
    assert_kind(cached.unwrap_data_key(&wrapped, &context("a")), ErrorKind::TokenUnavailable);
    assert_kind(message(&cached, &context("a")), ErrorKind::TokenUnavailable);
    assert_eq!(cached.stats().kept, 0);
    spy.answer_at_once();
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    message(&cached, &context("a")).unwrap();
    for _ in 0..2 {
        assert_kind(cached.unwrap_data_key(&wrapped, &context("b")), ErrorKind::NotAuthentic);
    }
    spy.asked();
    spy.before_answering(|_| panic!("a panic that is part of the test"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| message(&cached, &context("b"))));
    assert!(panicked.is_err());
    spy.answer_at_once();
    message(&cached, &context("b")).unwrap();
    assert_eq!(spy.asked(), ["generate"; 2]);
}

#[test]
fn what_is_kept_serves_while_the_token_is_away() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let (data_key, wrapped) = message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    spy.before_answering(|_| Err(keyward::Error::new(ErrorKind::TokenUnavailable, "away")));
    assert_eq!(message(&cached, &context("a")).unwrap().1, wrapped);
    let opened = cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());
    assert_kind(cached.describe_key(keyward::KeyRef::Name(&key())), ErrorKind::TokenUnavailable);
    assert_kind(cached.wrap_data_key(&key(), &context("a"), &data_key), ErrorKind::TokenUnavailable);
    assert_kind(
        cached.rewrap_data_key(&wrapped, &context("a"), &key(), keyward::Origin::Unverified),
        ErrorKind::TokenUnavailable,
    );
    assert_eq!(message(&cached, &context("a")).unwrap().1, wrapped, "that it is away is no news of the key");
}

#[test]
fn what_is_shown_for_people_has_no_secret() {
    let (_, cached, _) = cached(MESSAGES, KEYS);
    let (data_key, _) = message(&cached, &context("a")).unwrap();
    let shown = format!("{cached:?}");
    assert!(shown.contains("max_messages") && shown.contains("kept: 1"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", data_key.expose_secret()).replace(['[', ']'], "")), "{shown}");
}
