//! A token that answers strangely.

use super::*;
use keyward::KeyAdmin;
use keyward::key::VersionReuse;

#[test]
fn strange_but_right_answers_change_nothing() {
    for strange in [
        "C_FindObjects * twice",
        "C_Encrypt * too-small-first\nC_Decrypt * too-small-first\nC_WrapKey * too-small-first",
        "C_EncryptInit * write-iv",
    ] {
        for algorithm in ALGORITHMS {
            let faulty = Faulty::new();
            faulty.script(strange);
            let (hsm, key) = faulty.with_key(algorithm, faulty.options());
            assert_works(&hsm, &key);
            assert_eq!(hsm.list_keys().unwrap().len(), 1, "{strange}");
            hsm.rotate_key(&key, None).unwrap();
            assert_works(&hsm, &key);
            hsm.destroy_key(&key, keyward::KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
        }
    }
}

#[test]
fn a_wrong_length_is_not_believed() {
    for (algorithm, function) in [(WrappingAlgorithm::AesGcm, "C_Encrypt"), (WrappingAlgorithm::AesKw, "C_WrapKey")] {
        for wrong in ["short 1", "short 48", "long 1", "long 4000", "long 18446744073709551615"] {
            let faulty = Faulty::new();
            let (hsm, key) = faulty.with_key(algorithm, faulty.options());
            faulty.script(&format!("{function} * {wrong}"));
            assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
            faulty.well();
            assert_works(&hsm, &key);
        }
    }
    for (algorithm, function) in [
        (WrappingAlgorithm::AesGcm, "C_Decrypt"),
        (WrappingAlgorithm::AesKw, "C_GetAttributeValue"),
        (WrappingAlgorithm::RsaOaepSha1, "C_Decrypt"),
    ] {
        for wrong in ["short 1", "short 48", "long 1", "long 4000", "long 18446744073709551615"] {
            let faulty = Faulty::new();
            let (hsm, key) = faulty.with_key(algorithm, faulty.options());
            let (data_key, wrapped) = generate(&hsm, &key).unwrap();
            hsm.unwrap_data_key(&wrapped, &context()).unwrap();
            faulty.script(&format!("{function} * {wrong}"));
            let error = hsm.unwrap_data_key(&wrapped, &context()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::NotAuthentic | ErrorKind::TokenUnavailable),
                "{function} {wrong}: {error}"
            );
            faulty.well();
            assert_recovers(&hsm, &wrapped, &data_key);
        }
    }
}

#[test]
fn attributes_of_a_wrong_length_are_not_believed() {
    for wrong in ["short 1", "long 1", "long 100000", "long 18446744073709551615"] {
        let faulty = Faulty::new();
        let (_, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
        faulty.script(&format!("C_GetAttributeValue * {wrong}"));
        // A key that does not show what it is, is none.
        let hsm = faulty.open(faulty.options()).unwrap();
        assert!(generate(&hsm, &key).is_err(), "{wrong}");
        faulty.well();
        assert_works(&hsm, &key);
    }
}

#[test]
fn one_strange_answer_to_an_unwrapping_does_not_condemn_the_bytes() {
    for algorithm in ALGORITHMS {
        let function = if algorithm == WrappingAlgorithm::AesKw { "C_UnwrapKey" } else { "C_Decrypt" };
        for code in ["CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "0x80000123"] {
            let faulty = Faulty::new();
            let (hsm, key) = faulty.with_key(algorithm, faulty.options());
            let (data_key, wrapped) = generate(&hsm, &key).unwrap();
            faulty.script(&format!("{function} 1 answer {code}"));
            assert_recovers(&hsm, &wrapped, &data_key);
            // For good: then it is the token, and not the bytes.
            faulty.script(&format!("{function} * answer {code}"));
            assert_kind(hsm.unwrap_data_key(&wrapped, &context()), ErrorKind::TokenUnavailable);
        }
    }
}

#[test]
fn a_token_that_fails_now_and_then_is_told_from_altered_bytes() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let (_, wrapped) = generate(&hsm, &key).unwrap();
    // SoftHSM says GENERAL_ERROR to altered bytes, which is learned here.
    assert_kind(hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
    // It fails, recovers its canary, and fails again: with a code that it does not refuse with.
    faulty.script("C_Decrypt 1 answer CKR_DEVICE_ERROR\nC_Decrypt 3 answer CKR_DEVICE_ERROR\n* * log");
    assert_kind(hsm.unwrap_data_key(&wrapped, &context()), ErrorKind::TokenUnavailable);
    assert_eq!(faulty.log().iter().filter(|(function, _)| function == "C_Decrypt").count(), 3);
    faulty.well();
    assert_kind(hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
    assert_works(&hsm, &key);
}
