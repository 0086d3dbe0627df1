//! Every function that the provider calls, with every return code that there is: the caller gets the
//! right kind of error, the token is usable afterwards, and nothing is left behind.

use super::*;
use cryptoki::object::Attribute;
use keyward::token::{Token, TokenOptions};
use keyward::{AlgorithmChoice, KeyAdmin, KeyRef};
use std::sync::atomic::{AtomicUsize, Ordering};

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
    // Its failure is noticed as something else: no token, or a search that is still going on.
    if matches!(function, "C_GetTokenInfo" | "C_FindObjectsFinal") {
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
    if matches!(function, "C_EncryptInit" | "C_DecryptInit") && code == "CKR_ARGUMENTS_BAD" {
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

/// What is on the token, as another program sees it. Counted with a session of its own that is closed again: it would hold the login else.
fn count_objects(faulty: &Faulty) -> [usize; 2] {
    let session = super::recovery::raw::logged_in(&faulty.soft);
    // Of sessions, and of the token.
    [false, true].map(|of_token| session.find_objects(&[Attribute::Token(of_token)]).unwrap().len())
}

/// Counts the pairs, so that a table that shrank is noticed.
static PAIRS: AtomicUsize = AtomicUsize::new(0);

struct Case<'a> {
    /// What goes wrong before, such as `* 1 drop-sessions`.
    prelude: &'a str,
    functions: &'a [&'a str],
    /// Where the operation does not depend on the function's success.
    tolerates: fn(&str, &str) -> bool,
}

impl Case<'_> {
    /// Runs the operation with each function failing each way, once and for good.
    fn run<T>(&self, faulty: &Faulty, operation: impl Fn() -> keyward::Result<T>, usable: impl Fn() -> bool) {
        faulty.well();
        until("all is well at first", || operation().is_ok());
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
                            assert_eq!(
                                error.kind(),
                                expected(function, code, calls == "1" && self.prelude.is_empty()),
                                "{script}: {error}"
                            );
                        }
                    }
                    faulty.well();
                    until(&format!("usable after {script}"), &usable);
                    assert_eq!(count_objects(faulty), before, "objects of sessions and of the token after {script}");
                    PAIRS.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn nothing(_: &str, _: &str) -> bool {
    false
}

#[test]
fn protecting_and_recovering() {
    let protecting: [(_, &[_]); 2] = [
        (WrappingAlgorithm::AesGcm, &["C_GenerateRandom", "C_EncryptInit", "C_Encrypt"]),
        (WrappingAlgorithm::AesKw, &["C_CreateObject", "C_WrapKey", "C_DestroyObject"]),
    ];
    for (algorithm, functions) in protecting {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        // Where the object of a session cannot be destroyed, the session is closed, and that ends it.
        let tolerates = |function: &str, _: &str| function == "C_DestroyObject";
        let works = || generate(&hsm, &key).is_ok();
        Case { prelude: "", functions, tolerates }.run(&faulty, || generate(&hsm, &key), works);
    }
    let recovering: [(_, &[_]); 3] = [
        (WrappingAlgorithm::AesGcm, &["C_DecryptInit", "C_Decrypt"]),
        (WrappingAlgorithm::AesKw, &["C_UnwrapKey", "C_DestroyObject"]),
        (WrappingAlgorithm::RsaOaepSha1, &["C_DecryptInit", "C_Decrypt"]),
    ];
    for (algorithm, functions) in recovering {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        let tolerates = |function: &str, _: &str| function == "C_DestroyObject";
        let unwrap = || hsm.unwrap_data_key(&wrapped, &context());
        Case { prelude: "", functions, tolerates }.run(&faulty, unwrap, || unwrap().is_ok());
    }
}

#[test]
fn looking_for_keys() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let token = hsm.token().clone();
    // Nothing is known to it yet.
    let look = || HsmProvider::new(token.clone()).describe_key(KeyRef::Name(&key));
    let case = Case { prelude: "", functions: &["C_FindObjectsInit", "C_FindObjects"], tolerates: nothing };
    case.run(&faulty, look, || look().is_ok());
    // The search is over, whatever its end says; the session is found out at its next call.
    let ended = |_: &str, _: &str| true;
    let case = Case { prelude: "", functions: &["C_FindObjectsFinal"], tolerates: ended };
    case.run(&faulty, look, || look().is_ok());
}

#[test]
fn opening_again() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let case = Case {
        prelude: "C_GenerateRandom 1 drop-sessions",
        functions: &["C_GetSlotList", "C_GetTokenInfo", "C_OpenSession"],
        tolerates: nothing,
    };
    // Whatever the code: it is the token that is not back.
    let again = || {
        generate(&hsm, &key).map_err(|error| match error.kind() {
            ErrorKind::Unsupported | ErrorKind::KeyNotFound | ErrorKind::KeyState => error,
            _ => error,
        })
    };
    case.run(&faulty, again, || generate(&hsm, &key).is_ok());
    // A PIN that was refused ends it for good, so each code has a token of its own.
    for code in CODES.split_whitespace() {
        let hsm = faulty.open(faulty.options()).unwrap();
        generate(&hsm, &key).unwrap();
        faulty.script(&format!("C_GenerateRandom 1 drop-sessions\nC_Login * answer {code}"));
        match generate(&hsm, &key) {
            Ok(_) => assert_eq!(code, "CKR_USER_ALREADY_LOGGED_IN"),
            Err(error) => {
                assert_eq!(error.kind(), expected("C_Login", code, false), "{code}: {error}");
            }
        }
        PAIRS.fetch_add(1, Ordering::Relaxed);
        faulty.well();
    }
}

#[test]
fn opening() {
    let faulty = Faulty::new();
    let open = || Token::open_with(&faulty.uri(), TokenOptions::default().pin(faulty.soft.pin()));
    let tolerates = |function: &str, code: &str| match function {
        // A mechanism that is not described is not counted on.
        "C_GetMechanismInfo" => true,
        "C_Login" => code == "CKR_USER_ALREADY_LOGGED_IN",
        _ => false,
    };
    let functions =
        ["C_GetSlotList", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_OpenSession", "C_Login"];
    Case { prelude: "", functions: &functions, tolerates }.run(&faulty, open, || open().is_ok());
}

#[test]
fn making_keys() {
    for (algorithm, generates) in
        [(WrappingAlgorithm::AesGcm, "C_GenerateKey"), (WrappingAlgorithm::RsaOaepSha1, "C_GenerateKeyPair")]
    {
        let faulty = Faulty::new();
        let hsm = faulty.open(faulty.options()).unwrap();
        let key: KeyName = "a".parse().unwrap();
        let make = || {
            hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm))?;
            // Gone again, so that the next can be made; not by way of what fails.
            faulty.well();
            hsm.destroy_key(&key, keyward::KeyVersion::FIRST)
        };
        // A token that has no data objects keeps no records.
        let tolerates = |function: &str, code: &str| {
            function == "C_CreateObject" && expected(function, code, true) == ErrorKind::Unsupported
        };
        let functions: &[&str] =
            if algorithm.is_rsa() { &[generates] } else { &[generates, "C_CreateObject", "C_SetAttributeValue"] };
        Case { prelude: "", functions, tolerates }.run(&faulty, make, || hsm.list_keys().is_ok());
    }
}

#[test]
fn the_table_is_whole() {
    assert_eq!(CODES.split_whitespace().count(), 104);
}
