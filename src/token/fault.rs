//! What a return code means. The same code means different things from different functions and
//! tokens, so it is judged together with the function that gave it.

use crate::error::{Error, ErrorKind};
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};

/// The error for a failed PKCS#11 call, made in order to do what `action` says ("log in").
pub(super) fn fault(action: &'static str, cause: Cause) -> Error {
    let (kind, hint) = classify(&cause);
    let message = match &cause {
        Cause::Pkcs11(code, function) => format!("cannot {action}: C_{function:?} answered {}", ckr(*code)),
        _ => format!("cannot {action}"),
    };
    if kind == ErrorKind::NotAuthentic {
        // One and the same answer, whatever the token said; the log keeps it for the operator.
        tracing::debug!(%cause, action, "the token refused a ciphertext");
        return Error::not_authentic();
    }
    let error = Error::new(kind, message).with_source(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The code as PKCS#11 spells it: `CKR_PIN_INCORRECT`.
fn ckr(code: RvError) -> String {
    match code {
        RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) => format!("{number:#x}"),
        _ => {
            let mut name = String::from("CKR");
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

/// Whether a failed decryption or unwrapping may as well have been a failing token: SoftHSM answers
/// `GENERAL_ERROR` to altered bytes, Kryoptic `DEVICE_ERROR`.
pub(super) fn is_ambiguous(cause: &Cause) -> bool {
    use RvError::*;
    matches!(cause, Cause::Pkcs11(GeneralError | DeviceError | FunctionFailed, Function::Decrypt | Function::UnwrapKey))
}

/// Whether the object is gone: destroyed by another process, or the handle of another login.
pub(super) fn is_stale_handle(cause: &Cause) -> bool {
    use RvError::*;
    matches!(
        cause,
        Cause::Pkcs11(
            ObjectHandleInvalid | KeyHandleInvalid | WrappingKeyHandleInvalid | UnwrappingKeyHandleInvalid,
            _
        )
    )
}

fn classify(cause: &Cause) -> (ErrorKind, Option<&'static str>) {
    use ErrorKind as Kind;
    use RvError::*;
    let (code, function) = match cause {
        Cause::Pkcs11(code, function) => (code, function),
        Cause::LibraryLoading(_) | Cause::MissingSymbol(_) => return (Kind::ModuleUnavailable, None),
        Cause::NullFunctionPointer | Cause::NotSupported => return (Kind::Unsupported, None),
        _ => return (Kind::TokenUnavailable, None),
    };
    let recovering = matches!(function, Function::DecryptInit | Function::Decrypt | Function::UnwrapKey);
    match code {
        PinIncorrect | PinInvalid | PinLenRange => {
            (Kind::PinIncorrect, Some("it was tried once and is not tried again; too many wrong PINs lock a token"))
        }
        PinLocked => (Kind::PinLocked, Some("the security officer can set a new PIN")),
        PinExpired | UserPinNotInitialized | PinTooWeak => {
            (Kind::PinLocked, Some("set a PIN with the token's own tool"))
        }
        MechanismInvalid
        | MechanismParamInvalid
        | FunctionNotSupported
        | KeySizeRange
        | CurveNotSupported
        | WrappingKeySizeRange
        | UnwrappingKeySizeRange => (Kind::Unsupported, None),
        KeyFunctionNotPermitted => (Kind::KeyState, None),
        AttributeTypeInvalid
        | AttributeValueInvalid
        | TemplateInconsistent
        | TemplateIncomplete
        | AttributeReadOnly
        | ActionProhibited
            if !recovering =>
        {
            (Kind::Unsupported, None)
        }
        ObjectHandleInvalid | KeyHandleInvalid | WrappingKeyHandleInvalid | UnwrappingKeyHandleInvalid => {
            (Kind::KeyNotFound, None)
        }
        TokenNotPresent
        | TokenNotRecognized
        | DeviceRemoved
        | SessionHandleInvalid
        | SessionClosed
        | UserNotLoggedIn
        | CryptokiNotInitialized
        | SlotIdInvalid
        | DeviceMemory
        | HostMemory
        | SessionCount => (Kind::TokenUnavailable, None),
        TokenWriteProtected | SessionReadOnly => (Kind::Unsupported, Some("the token is write-protected")),
        // Our buffers have room for every right answer.
        BufferTooSmall => (Kind::TokenUnavailable, None),
        // Whatever else a token says of bytes that it was to decrypt is said of the bytes. That it
        // is alive is asked separately where the code leaves it open.
        _ if recovering => (Kind::NotAuthentic, None),
        _ => (Kind::TokenUnavailable, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_is_judged_by_the_function() {
        let kind = |code, function| fault("try", Cause::Pkcs11(code, function)).kind();
        assert_eq!(kind(RvError::GeneralError, Function::Decrypt), ErrorKind::NotAuthentic);
        assert_eq!(kind(RvError::GeneralError, Function::FindObjects), ErrorKind::TokenUnavailable);
        assert_eq!(kind(RvError::EncryptedDataInvalid, Function::UnwrapKey), ErrorKind::NotAuthentic);
        assert_eq!(kind(RvError::PinIncorrect, Function::Login), ErrorKind::PinIncorrect);
        assert_eq!(kind(RvError::PinLocked, Function::Login), ErrorKind::PinLocked);
        assert_eq!(kind(RvError::MechanismInvalid, Function::EncryptInit), ErrorKind::Unsupported);
        assert_eq!(kind(RvError::DeviceRemoved, Function::Decrypt), ErrorKind::TokenUnavailable);
        assert_eq!(kind(RvError::KeyFunctionNotPermitted, Function::EncryptInit), ErrorKind::KeyState);
    }

    #[test]
    fn the_message_names_function_and_code() {
        let error = fault("log in", Cause::Pkcs11(RvError::PinLocked, Function::Login));
        assert_eq!(error.to_string(), "cannot log in: C_Login answered CKR_PIN_LOCKED");
    }
}
