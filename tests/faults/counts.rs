//! How many calls an operation takes: on a network HSM each is a round trip.

use super::*;

#[test]
fn an_operation_makes_no_call_that_its_mechanism_does_not_need() {
    // A data key is random, so one call is the generator's, for the IV as well. AES-KW wraps objects: the
    // data key becomes one, and is destroyed. RSA wraps on the host.
    let expected: [(_, &[_], &[_]); 3] = [
        (
            WrappingAlgorithm::AesGcm,
            &["C_GenerateRandom", "C_EncryptInit", "C_Encrypt"],
            &["C_DecryptInit", "C_Decrypt"],
        ),
        (
            WrappingAlgorithm::AesKw,
            &["C_GenerateRandom", "C_CreateObject", "C_WrapKey", "C_DestroyObject"],
            &["C_UnwrapKey", "C_GetAttributeValue", "C_DestroyObject"],
        ),
        (WrappingAlgorithm::RsaOaepSha1, &["C_GenerateRandom"], &["C_DecryptInit", "C_Decrypt"]),
    ];
    for (algorithm, wrap, unwrap) in expected {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        hsm.unwrap_data_key(&wrapped, &context()).unwrap();
        // Both the key by its name and by its id are known now.
        let calls = || faulty.log().into_iter().map(|(function, _)| function).collect::<Vec<_>>();
        faulty.script("* * log");
        generate(&hsm, &key).unwrap();
        assert_eq!(calls(), wrap, "{algorithm}");
        hsm.unwrap_data_key(&wrapped, &context()).unwrap();
        assert_eq!(calls(), unwrap, "{algorithm}");
    }
}

#[test]
fn the_iv_of_a_token_that_chooses_it_is_kept() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    faulty.script("C_EncryptInit * write-iv");
    let ivs: std::collections::HashSet<Vec<u8>> =
        (0..50).map(|_| generate(&hsm, &key).unwrap().1.into_vec().remove(0).parameters().to_vec()).collect();
    assert_eq!(ivs.len(), 50);
    assert_works(&hsm, &key);
}
