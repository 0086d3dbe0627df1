//! Every function that the provider calls, with every return code that there is: the caller gets the
//! right kind of error, the token is usable afterwards, and nothing is left behind.

use super::*;
use cryptoki::object::Attribute;
use keyward::key::VersionReuse;
use keyward::token::{Token, TokenOptions};
use keyward::{AlgorithmChoice, KeyAdmin, KeyRef, KeyVersion};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// All that PKCS#11 3.2 has, and one of a vendor's own.
const CODES: &str = "CKR_ACTION_PROHIBITED CKR_AEAD_DECRYPT_FAILED CKR_ARGUMENTS_BAD CKR_ATTRIBUTE_READ_ONLY \
CKR_ATTRIBUTE_SENSITIVE CKR_ATTRIBUTE_TYPE_INVALID CKR_ATTRIBUTE_VALUE_INVALID CKR_BUFFER_TOO_SMALL \
CKR_CANCEL CKR_CANT_LOCK CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_CRYPTOKI_NOT_INITIALIZED \
CKR_CURVE_NOT_SUPPORTED CKR_DATA_INVALID CKR_DATA_LEN_RANGE CKR_DEVICE_ERROR CKR_DEVICE_MEMORY \
CKR_DEVICE_REMOVED CKR_DOMAIN_PARAMS_INVALID CKR_ENCRYPTED_DATA_INVALID CKR_ENCRYPTED_DATA_LEN_RANGE \
CKR_EXCEEDED_MAX_ITERATIONS CKR_FIPS_SELF_TEST_FAILED CKR_FUNCTION_CANCELED CKR_FUNCTION_FAILED \
CKR_FUNCTION_NOT_PARALLEL CKR_FUNCTION_NOT_SUPPORTED CKR_FUNCTION_REJECTED CKR_GENERAL_ERROR CKR_HOST_MEMORY \
CKR_INFORMATION_SENSITIVE CKR_KEY_CHANGED CKR_KEY_EXHAUSTED CKR_KEY_FUNCTION_NOT_PERMITTED \
CKR_KEY_HANDLE_INVALID CKR_KEY_INDIGESTIBLE CKR_KEY_NEEDED CKR_KEY_NOT_NEEDED CKR_KEY_NOT_WRAPPABLE \
CKR_KEY_SIZE_RANGE CKR_KEY_TYPE_INCONSISTENT CKR_KEY_UNEXTRACTABLE CKR_LIBRARY_LOAD_FAILED \
CKR_MECHANISM_INVALID CKR_MECHANISM_PARAM_INVALID CKR_MUTEX_BAD CKR_MUTEX_NOT_LOCKED \
CKR_NEED_TO_CREATE_THREADS CKR_NEW_PIN_MODE CKR_NEXT_OTP CKR_NO_EVENT CKR_OBJECT_HANDLE_INVALID \
CKR_OPERATION_ACTIVE CKR_OPERATION_CANCEL_FAILED CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_VALIDATED \
CKR_PARAMETER_SET_NOT_SUPPORTED CKR_PENDING CKR_PIN_EXPIRED CKR_PIN_INCORRECT CKR_PIN_INVALID \
CKR_PIN_LEN_RANGE CKR_PIN_LOCKED CKR_PIN_TOO_WEAK CKR_PUBLIC_KEY_INVALID CKR_RANDOM_NO_RNG \
CKR_RANDOM_SEED_NOT_SUPPORTED CKR_SAVED_STATE_INVALID CKR_SEED_RANDOM_REQUIRED \
CKR_SESSION_ASYNC_NOT_SUPPORTED CKR_SESSION_CLOSED CKR_SESSION_COUNT CKR_SESSION_EXISTS \
CKR_SESSION_HANDLE_INVALID CKR_SESSION_PARALLEL_NOT_SUPPORTED CKR_SESSION_READ_ONLY \
CKR_SESSION_READ_ONLY_EXISTS CKR_SESSION_READ_WRITE_SO_EXISTS CKR_SIGNATURE_INVALID CKR_SIGNATURE_LEN_RANGE \
CKR_SLOT_ID_INVALID CKR_STATE_UNSAVEABLE CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT \
CKR_TOKEN_NOT_INITIALIZED CKR_TOKEN_NOT_PRESENT CKR_TOKEN_NOT_RECOGNIZED CKR_TOKEN_RESOURCE_EXCEEDED \
CKR_TOKEN_WRITE_PROTECTED CKR_UNWRAPPING_KEY_HANDLE_INVALID CKR_UNWRAPPING_KEY_SIZE_RANGE \
CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT CKR_USER_ALREADY_LOGGED_IN CKR_USER_ANOTHER_ALREADY_LOGGED_IN \
CKR_USER_NOT_LOGGED_IN CKR_USER_PIN_NOT_INITIALIZED CKR_USER_TOO_MANY_TYPES CKR_USER_TYPE_INVALID \
CKR_WRAPPED_KEY_INVALID CKR_WRAPPED_KEY_LEN_RANGE CKR_WRAPPING_KEY_HANDLE_INVALID \
CKR_WRAPPING_KEY_SIZE_RANGE CKR_WRAPPING_KEY_TYPE_INCONSISTENT 0x80000123";

fn is_one_of(code: &str, codes: &str) -> bool {
    codes.split_whitespace().any(|one| format!("CKR_{one}") == code)
}

/// The kind that a failed call is to be reported as, by what the standard says of its code and by
/// which function gave it.
fn expected(function: &str, code: &str, once: bool) -> ErrorKind {
    // Of several slots, one that is empty is not the one that is looked for.
    if function == "C_GetTokenInfo" && is_one_of(code, "TOKEN_NOT_PRESENT TOKEN_NOT_RECOGNIZED") {
        return if once { ErrorKind::TokenNotFound } else { ErrorKind::TokenUnavailable };
    }
    // Its failure is noticed as something else: no token, or a search that is still going on. Without a session
    // nothing can be asked, whatever the reason.
    if matches!(function, "C_GetTokenInfo" | "C_FindObjectsFinal" | "C_OpenSession" | "C_GetSessionInfo") {
        return ErrorKind::TokenUnavailable;
    }
    let recovers = matches!(function, "C_DecryptInit" | "C_Decrypt" | "C_UnwrapKey");
    if function == "C_Login" {
        if is_one_of(code, "PIN_INCORRECT PIN_INVALID PIN_LEN_RANGE") {
            return ErrorKind::PinIncorrect;
        }
        if is_one_of(code, "PIN_LOCKED PIN_EXPIRED PIN_TOO_WEAK USER_PIN_NOT_INITIALIZED") {
            return ErrorKind::PinLocked;
        }
    }
    // The key or object is not there.
    if is_one_of(
        code,
        "OBJECT_HANDLE_INVALID KEY_HANDLE_INVALID WRAPPING_KEY_HANDLE_INVALID UNWRAPPING_KEY_HANDLE_INVALID",
    ) {
        return ErrorKind::KeyNotFound;
    }
    if code == "CKR_KEY_FUNCTION_NOT_PERMITTED" {
        return ErrorKind::KeyState;
    }
    // The token cannot do this, or not with these parameters.
    if matches!(function, "C_EncryptInit" | "C_DecryptInit" | "C_WrapKey") && code == "CKR_ARGUMENTS_BAD" {
        return ErrorKind::Unsupported;
    }
    let cannot = "MECHANISM_INVALID MECHANISM_PARAM_INVALID FUNCTION_NOT_SUPPORTED KEY_SIZE_RANGE CURVE_NOT_SUPPORTED \
                  WRAPPING_KEY_SIZE_RANGE UNWRAPPING_KEY_SIZE_RANGE TOKEN_WRITE_PROTECTED SESSION_READ_ONLY";
    let refuses = "ATTRIBUTE_TYPE_INVALID ATTRIBUTE_VALUE_INVALID TEMPLATE_INCONSISTENT TEMPLATE_INCOMPLETE \
                   ATTRIBUTE_READ_ONLY ACTION_PROHIBITED";
    if is_one_of(code, cannot) || (!(recovers && function != "C_DecryptInit") && is_one_of(code, refuses)) {
        return ErrorKind::Unsupported;
    }
    // The bytes are not what this key wrapped.
    let bytes = "ENCRYPTED_DATA_INVALID ENCRYPTED_DATA_LEN_RANGE WRAPPED_KEY_INVALID WRAPPED_KEY_LEN_RANGE DATA_INVALID \
                 DATA_LEN_RANGE";
    if recovers && is_one_of(code, bytes) {
        return ErrorKind::NotAuthentic;
    }
    ErrorKind::TokenUnavailable
}

/// A token that has no room for another object says so.
fn full(function: &str, code: &str) -> Option<ErrorKind> {
    let makes = matches!(function, "C_CreateObject" | "C_GenerateKey" | "C_GenerateKeyPair");
    (makes && is_one_of(code, "DEVICE_MEMORY TOKEN_RESOURCE_EXCEEDED")).then_some(ErrorKind::LimitExceeded)
}

/// What is on the token, as another program sees it. Counted with a session of its own that is closed again: it would hold the login else.
fn count_objects(faulty: &Faulty) -> [usize; 2] {
    let session = super::recovery::raw::logged_in(&faulty.soft);
    // Of sessions, and of the token.
    [false, true].map(|of_token| session.find_objects(&[Attribute::Token(of_token)]).unwrap().len())
}

// What is made to fail, by operation. `the_table_has_every_function_that_is_called` asks that nothing is missing.
const PROTECTING: [(WrappingAlgorithm, &[&str]); 2] = [
    (WrappingAlgorithm::AesGcm, &["C_GenerateRandom", "C_EncryptInit", "C_Encrypt"]),
    (WrappingAlgorithm::AesKw, &["C_CreateObject", "C_WrapKey", "C_DestroyObject"]),
];
const RECOVERING: [(WrappingAlgorithm, &[&str]); 3] = [
    (WrappingAlgorithm::AesGcm, &["C_DecryptInit", "C_Decrypt"]),
    (WrappingAlgorithm::AesKw, &["C_UnwrapKey", "C_GetAttributeValue", "C_DestroyObject"]),
    (WrappingAlgorithm::RsaOaepSha1, &["C_DecryptInit", "C_Decrypt"]),
];
const LOOKING: &[&str] = &["C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue"];
const OPENING: &[&str] = &[
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_OpenSession",
    "C_GetSessionInfo",
    "C_Login",
];
const OPENING_AGAIN: &[&str] = &["C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_GetSessionInfo"];
const STARTING_ANEW: &[&str] = &["C_Finalize", "C_Initialize"];
const MAKING: [(WrappingAlgorithm, &[&str]); 2] = [
    (WrappingAlgorithm::AesGcm, &["C_GenerateKey", "C_CreateObject", "C_SetAttributeValue"]),
    (WrappingAlgorithm::RsaOaepSha1, &["C_GenerateKeyPair"]),
];
const CHANGING: &[&str] = &["C_FindObjectsInit", "C_GetAttributeValue", "C_SetAttributeValue"];
const DESTROYING: &[&str] = &["C_DestroyObject", "C_CreateObject"];
const SCHEDULING: &[&str] = &["C_SetAttributeValue", "C_CreateObject"];
/// Not those that making the key takes: they are those of other key pairs.
const SIGNING: &[&str] = &["C_FindObjectsInit", "C_GetAttributeValue", "C_SignInit", "C_Sign"];
const CLOSING: &[&str] = &["C_CloseSession"];
/// Called once for each module that is loaded, so it is no operation: `a_module_that_does_not_tell_of_itself`.
const LOADING: &[&str] = &["C_GetInfo"];

/// Operations with each function failing each way.
struct Case<'a> {
    /// What goes wrong before, such as `* 1 drop-sessions`.
    prelude: &'a str,
    functions: &'a [&'a str],
    /// Where the operation does not depend on the function's success.
    tolerates: fn(&str, &str) -> bool,
    /// What a failure is to be reported as, where it is not what `expected` says.
    otherwise: fn(&str, &str) -> Option<ErrorKind>,
}

impl Case<'_> {
    const PLAIN: Self = Case { prelude: "", functions: &[], tolerates: |_, _| false, otherwise: |_, _| None };

    /// Runs the operation with each function failing each way, once and for good.
    fn run<T>(&self, faulty: &Faulty, operation: impl Fn() -> keyward::Result<T>, usable: impl Fn() -> bool) {
        faulty.well();
        until("all is well at first", || operation().is_ok());
        until("usable at first", &usable);
        let before = count_objects(faulty);
        for function in self.functions {
            for code in CODES.split_whitespace() {
                for calls in ["1", "*"] {
                    let script = format!("{}\n{function} {calls} answer {code}", self.prelude);
                    faulty.script(&script);
                    let answer = operation().map(drop);
                    match answer {
                        Ok(()) => assert!(
                            calls == "1" || (self.tolerates)(function, code),
                            "{script}: done, although the token failed"
                        ),
                        Err(error) => {
                            let usual = || expected(function, code, calls == "1" && self.prelude.is_empty());
                            let expected = (self.otherwise)(function, code).unwrap_or_else(usual);
                            assert_eq!(error.kind(), expected, "{script}: {error}");
                        }
                    }
                    faulty.well();
                    until(&format!("usable after {script}"), &usable);
                    assert_eq!(count_objects(faulty), before, "objects of sessions and of the token after {script}");
                }
            }
        }
    }
}

#[test]
fn protecting_and_recovering() {
    // Where the object of a session cannot be destroyed, the session is closed, and that ends it.
    let tolerates = |function: &str, _: &str| function == "C_DestroyObject";
    for (algorithm, functions) in PROTECTING {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let works = || generate(&hsm, &key).is_ok();
        Case { functions, tolerates, ..Case::PLAIN }.run(&faulty, || generate(&hsm, &key), works);
    }
    for (algorithm, functions) in RECOVERING {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        let unwrap = || hsm.unwrap_data_key(&wrapped, &context());
        Case { functions, tolerates, ..Case::PLAIN }.run(&faulty, unwrap, || unwrap().is_ok());
    }
}

#[test]
fn looking_for_keys() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let token = hsm.token().clone();
    // Nothing is known to it yet.
    let look = || HsmProvider::new(token.clone()).describe_key(KeyRef::Name(&key));
    // The search is over, whatever its end says; the session is found out at its next call.
    let tolerates = |function: &str, _: &str| function == "C_FindObjectsFinal";
    Case { functions: LOOKING, tolerates, ..Case::PLAIN }.run(&faulty, look, || look().is_ok());
}

#[test]
fn opening_again() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    // Whether somebody is logged in is only looked at to spend no PIN in vain.
    let tolerates = |function: &str, _: &str| function == "C_GetSessionInfo";
    // Whatever the code: it is the token that is not back.
    let otherwise = |_: &str, _: &str| Some(ErrorKind::TokenUnavailable);
    let case = Case { prelude: "C_GenerateRandom 1 drop-sessions", functions: OPENING_AGAIN, tolerates, otherwise };
    case.run(&faulty, || generate(&hsm, &key), || generate(&hsm, &key).is_ok());
    // A PIN that was refused ends it for good, so each code has a token of its own.
    for code in CODES.split_whitespace() {
        let hsm = faulty.open(faulty.options()).unwrap();
        generate(&hsm, &key).unwrap();
        faulty.script(&format!("C_GenerateRandom 1 drop-sessions\nC_Login * answer {code}"));
        match generate(&hsm, &key) {
            Ok(_) => assert_eq!(code, "CKR_USER_ALREADY_LOGGED_IN"),
            Err(error) => {
                let expected = expected("C_Login", code, false);
                let expected = if expected.is_unavailable() { expected } else { ErrorKind::TokenUnavailable };
                assert_eq!(error.kind(), expected, "{code}: {error}");
            }
        }
        faulty.well();
    }
}

#[test]
fn starting_a_module_anew() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let tolerates = |_: &str, code: &str| code == "CKR_CRYPTOKI_ALREADY_INITIALIZED";
    let otherwise = |_: &str, _: &str| Some(ErrorKind::TokenUnavailable);
    let case = Case { prelude: "C_GenerateRandom 1 dead", functions: STARTING_ANEW, tolerates, otherwise };
    case.run(&faulty, || generate(&hsm, &key), || generate(&hsm, &key).is_ok());
}

#[test]
fn opening() {
    let faulty = Faulty::new();
    let open = || Token::open_with(&faulty.uri(), TokenOptions::default().pin(faulty.soft.pin()));
    let tolerates = |function: &str, code: &str| match function {
        // A mechanism that is not described is not counted on.
        "C_GetMechanismInfo" | "C_GetSessionInfo" => true,
        "C_Login" => code == "CKR_USER_ALREADY_LOGGED_IN",
        _ => false,
    };
    Case { functions: OPENING, tolerates, ..Case::PLAIN }.run(&faulty, open, || open().is_ok());
}

#[test]
fn closing() {
    let faulty = Faulty::new();
    // A session that cannot be closed is the module's to end; nobody waits for it, and nobody is told.
    let tolerates = |_: &str, _: &str| true;
    let open = || {
        let (hsm, key) = (faulty.open(faulty.options())?, "a".parse().unwrap());
        let refused = generate(&hsm, &key);
        assert!(refused.is_err(), "there is no such key");
        Ok(())
    };
    Case { functions: CLOSING, tolerates, ..Case::PLAIN }.run(&faulty, open, || open().is_ok());
}

#[test]
fn making_keys() {
    for (algorithm, functions) in MAKING {
        let faulty = Faulty::new();
        let hsm = faulty.open(faulty.options()).unwrap();
        let key: KeyName = "a".parse().unwrap();
        let make = || {
            let made = hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm))?;
            // Gone again, so that the next can be made; not by way of what fails.
            faulty.well();
            hsm.destroy_key(&key, made.version, VersionReuse::Refuse)
        };
        Case { functions, otherwise: full, ..Case::PLAIN }.run(&faulty, make, || hsm.list_keys().is_ok());
    }
}

#[test]
fn changing_and_destroying_keys() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let disable = || hsm.disable_key(&key, KeyVersion::FIRST);
    let as_before = || hsm.enable_key(&key, KeyVersion::FIRST).is_ok();
    Case { functions: CHANGING, ..Case::PLAIN }.run(&faulty, disable, as_before);
    let destroy = || {
        let current = hsm.describe_key(KeyRef::Name(&key))?.version;
        hsm.destroy_key(&key, current, VersionReuse::Refuse)
    };
    // It is gone, and all that was its own, and the next is made.
    let there_again = || {
        let _ = destroy();
        hsm.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).is_ok()
    };
    Case { functions: DESTROYING, otherwise: full, ..Case::PLAIN }.run(&faulty, destroy, there_again);
}

#[test]
fn scheduling_the_end_of_keys() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let schedule = || hsm.schedule_destruction(&key, KeyVersion::FIRST, SystemTime::now() + Duration::from_secs(9999));
    // Enabled again, and the date is gone with that: a failure leaves it disabled at most.
    let as_before = || {
        let enabled = hsm.enable_key(&key, KeyVersion::FIRST);
        enabled.is_ok_and(|key| key.destroy_after.is_none()) && generate(&hsm, &key).is_ok()
    };
    Case { functions: SCHEDULING, otherwise: full, ..Case::PLAIN }.run(&faulty, schedule, as_before);
}

#[test]
#[cfg(feature = "governed")]
fn signing() {
    use keyward::key::HeadKeeper;
    let faulty = Faulty::new();
    let hsm = faulty.open(faulty.options()).unwrap();
    let signer = keyward::hsm::AuditKey::create(hsm.token().clone()).unwrap();
    let sign = || signer.sign(b"head");
    Case { functions: SIGNING, ..Case::PLAIN }.run(&faulty, sign, || sign().is_ok());
}

#[test]
fn a_module_that_does_not_tell_of_itself() {
    // Its calls are then made through `cryptoki`, as with modules that keep a state for each function list.
    let faulty = Faulty::new();
    faulty.script("C_GetInfo * answer CKR_CRYPTOKI_NOT_INITIALIZED");
    for algorithm in ALGORITHMS {
        let hsm = faulty.open(faulty.options()).unwrap();
        let key: KeyName = if algorithm.is_rsa() { "a" } else { "b" }.parse().unwrap();
        let made = hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
        assert_works(&hsm, &key);
        hsm.destroy_key(&key, made.version, VersionReuse::Refuse).unwrap();
    }
}

/// All that the provider does in its life, and the functions that it calls for that.
fn called() -> BTreeSet<String> {
    let faulty = Faulty::new();
    faulty.script("* * log");
    let hsm = faulty.open(faulty.options()).unwrap();
    let key: KeyName = "a".parse().unwrap();
    #[cfg(feature = "governed")]
    keyward::key::HeadKeeper::sign(&keyward::hsm::AuditKey::create(hsm.token().clone()).unwrap(), b"head").unwrap();
    for algorithm in ALGORITHMS {
        let made = hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
        assert_works(&hsm, &key);
        hsm.schedule_destruction(&key, made.version, SystemTime::now()).unwrap();
        hsm.enable_key(&key, made.version).unwrap();
        hsm.describe_key(KeyRef::Name(&key)).unwrap();
        let _ = hsm.public_key(&key);
        hsm.rotate_key(&key, None).unwrap();
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        let _ = hsm.rewrap_data_key(&wrapped, &context(), &key, keyward::Origin::Unverified);
        assert_kind(hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
        for described in hsm.list_keys().unwrap() {
            hsm.disable_key(&key, described.version).unwrap();
            hsm.enable_key(&key, described.version).unwrap();
            hsm.destroy_key(&key, described.version, VersionReuse::Refuse).unwrap();
        }
    }
    // What it does when the token went away, and when nothing but a new start of the module helps.
    for prelude in ["* 1 drop-sessions", "* 1 dead"] {
        faulty.script(&format!("{prelude}\n* * log"));
        until("the token is back", || hsm.list_keys().is_ok());
    }
    drop(hsm);
    faulty.log().into_iter().map(|(function, _)| function).collect()
}

#[test]
fn the_table_has_every_function_that_is_called() {
    let pairs = PROTECTING.iter().chain(&RECOVERING).chain(&MAKING).map(|(_, functions)| *functions);
    let mut plain =
        vec![LOOKING, OPENING, OPENING_AGAIN, STARTING_ANEW, CHANGING, DESTROYING, CLOSING, LOADING, SCHEDULING];
    if cfg!(feature = "governed") {
        plain.push(SIGNING);
    }
    let table: BTreeSet<String> = pairs.chain(plain).flatten().map(|function| (*function).to_owned()).collect();
    assert_eq!(called(), table);
    assert_eq!(CODES.split_whitespace().count(), 104);
}
