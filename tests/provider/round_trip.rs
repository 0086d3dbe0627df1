//! Wrapping and unwrapping.

use super::*;
use keyward::{DataKey, DataKeyLength, KeyProvider, WrappedKey, WrappedKeys};
use std::collections::HashSet;

#[test]
fn a_generated_data_key_comes_back() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        for length in [DataKeyLength::Bytes16, DataKeyLength::Bytes32] {
            for pairs in [&[][..], &[("a", "1"), ("b", "2")]] {
                let (data_key, wrapped) = hsm.generate_data_key(&key, &context(pairs), length).unwrap();
                assert_eq!(data_key.expose_secret().len(), length.bytes());
                let again = hsm.unwrap_data_key(&wrapped, &context(pairs)).unwrap();
                assert_eq!(again.expose_secret(), data_key.expose_secret(), "{algorithm}");
            }
        }
    }
}

#[test]
fn the_wrapped_form_is_what_the_format_says() {
    for (algorithm, parameters, ciphertext) in [
        (WrappingAlgorithm::AesGcm, 12, 48),
        (WrappingAlgorithm::AesKw, 0, 72),
        (WrappingAlgorithm::RsaOaepSha1, 0, 384),
    ] {
        let (_token, hsm, key) = with_key(algorithm);
        let data_key = DataKey::from_slice(&[7; 32]).unwrap();
        let wrapped = hsm.wrap_data_key(&key, &context(&[]), &data_key).unwrap().into_vec();
        let [one] = &wrapped[..] else { panic!("one key, one wrapping") };
        assert_eq!(one.algorithm(), algorithm);
        assert_eq!((one.parameters().len(), one.ciphertext().len()), (parameters, ciphertext));
        assert_eq!(one.kek_id(), hsm.describe_key(keyward::KeyRef::Name(&key)).unwrap().kek_id);
        assert!(!one.ciphertext().windows(32).any(|window| window == [7; 32]));
    }
}

#[test]
fn data_keys_and_ivs_do_not_repeat() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (mut keys, mut ivs) = (HashSet::new(), HashSet::new());
    for _ in 0..200 {
        let (data_key, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        keys.insert(data_key.expose_secret().to_vec());
        ivs.insert(wrapped.into_vec()[0].parameters().to_vec());
    }
    assert_eq!((keys.len(), ivs.len()), (200, 200));
}

#[test]
fn every_flipped_byte_and_every_other_context_is_one_error() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        let data_key = DataKey::from_slice(&[7; 32]).unwrap();
        let wrapped = hsm.wrap_data_key(&key, &context(&[("a", "1")]), &data_key).unwrap().into_vec().remove(0);
        let refused = |wrapped: &WrappedKey, pairs: &[(&str, &str)]| {
            let error =
                assert_kind(hsm.unwrap_data_key(&wrapped.clone().into(), &context(pairs)), ErrorKind::NotAuthentic);
            assert_eq!(
                error.to_string(),
                "cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"
            );
        };
        for pairs in [&[][..], &[("a", "2")], &[("b", "1")], &[("a", "1"), ("b", "2")]] {
            refused(&wrapped, pairs);
        }
        let altered = |change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
            let (mut parameters, mut ciphertext) = (wrapped.parameters().to_vec(), wrapped.ciphertext().to_vec());
            change(&mut parameters, &mut ciphertext);
            WrappedKey::new(keyward::WrapOccasion::Generation, algorithm, wrapped.kek_id(), parameters, ciphertext)
        };
        for i in 0..wrapped.ciphertext().len() {
            refused(&altered(&|_, ciphertext| ciphertext[i] ^= 1).unwrap(), &[("a", "1")]);
        }
        for i in 0..wrapped.parameters().len() {
            refused(&altered(&|parameters, _| parameters[i] ^= 0x80).unwrap(), &[("a", "1")]);
        }
        // Afterwards the right one still opens: no failed operation is left active on a session.
        assert!(hsm.unwrap_data_key(&wrapped.clone().into(), &context(&[("a", "1")])).is_ok());
        // The length of a 16-byte data key.
        let short = altered(&|_, ciphertext| ciphertext.truncate(ciphertext.len() - 16));
        if let Ok(short) = short {
            refused(&short, &[("a", "1")]);
        }
    }
}

#[test]
fn another_version_or_key_does_not_open() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        hsm.create_key(&name("other"), AlgorithmChoice::Exactly(algorithm)).unwrap();
        let other = hsm.describe_key(keyward::KeyRef::Name(&name("other"))).unwrap().kek_id;
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        let wrapped = wrapped.into_vec().remove(0);
        let moved = WrappedKey::new(
            keyward::WrapOccasion::Generation,
            algorithm,
            other,
            wrapped.parameters(),
            wrapped.ciphertext(),
        )
        .unwrap();
        assert_kind(hsm.unwrap_data_key(&moved.into(), &context(&[])), ErrorKind::NotAuthentic);
    }
}

#[test]
fn the_first_that_opens_is_taken() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let good = wrapped.into_vec().remove(0);
    let unknown = WrappedKey::new(
        keyward::WrapOccasion::Generation,
        WrappingAlgorithm::AesGcm,
        keyward::KekId::from_bytes([9; 16]),
        good.parameters(),
        good.ciphertext(),
    )
    .unwrap();
    let both = WrappedKeys::new(vec![unknown.clone(), good]).unwrap();
    let opened = hsm.unwrap_data_key(&both, &context(&[])).unwrap();
    assert_eq!(opened.expose_secret(), data_key.expose_secret());
    assert_kind(hsm.unwrap_data_key(&unknown.into(), &context(&[])), ErrorKind::KeyNotFound);
}

#[test]
fn rewrapping_moves_a_data_key_between_keys() {
    for from in ALGORITHMS {
        for to in ALGORITHMS {
            let (_token, hsm, key) = with_key(from);
            hsm.create_key(&name("other"), AlgorithmChoice::Exactly(to)).unwrap();
            let (data_key, wrapped) =
                hsm.generate_data_key(&key, &context(&[("a", "1")]), DataKeyLength::Bytes32).unwrap();
            let rewrap = |origin| hsm.rewrap_data_key(&wrapped, &context(&[("a", "1")]), &name("other"), origin);
            let moved = rewrap(keyward::Origin::Unverified);
            if from.is_rsa() && !to.is_rsa() {
                // RSA says nothing about the writer; only an assertion of the caller moves it.
                assert_kind(moved, ErrorKind::OriginUnverified);
                let moved = rewrap(keyward::Origin::DangerAsserted).unwrap();
                assert!(hsm.unwrap_data_key(&moved, &context(&[("a", "1")])).is_ok());
                continue;
            }
            let moved = moved.unwrap();
            assert_eq!(moved.iter().next().unwrap().algorithm(), to);
            let again = hsm.unwrap_data_key(&moved, &context(&[("a", "1")])).unwrap();
            assert_eq!(again.expose_secret(), data_key.expose_secret());
            assert_kind(hsm.unwrap_data_key(&moved, &context(&[])), ErrorKind::NotAuthentic);
        }
    }
}

#[test]
fn the_limit_on_aes_gcm_wraps_holds() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let hsm = hsm.max_gcm_wraps(3);
    let wrap = || hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32);
    let (_, last) = (wrap().unwrap(), wrap().unwrap()).1;
    wrap().unwrap();
    assert_kind(wrap(), ErrorKind::LimitExceeded);
    assert!(hsm.unwrap_data_key(&last, &context(&[])).is_ok(), "recovery goes on");
    hsm.rotate_key(&key, None).unwrap();
    wrap().unwrap();
}
