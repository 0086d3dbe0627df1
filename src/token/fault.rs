//! What a return code means. The same code means different things from different functions and
//! tokens, so it is judged together with the function that gave it.

use super::workers::NoAnswer;
use crate::error::{Error, ErrorKind};
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};

/// A return code, to compare with another.
pub(crate) type Code = RvError;

/// What a failed call says about the session and the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing: the answer is about what was asked.
    None,
    /// The call failed; on another session it may not.
    Call,
    /// The session has ended, and perhaps the token is gone.
    Ended,
    /// The session, or the token, may be in no state to work with: it fails, or nobody is logged in.
    Suspect,
    /// A ciphertext was refused with this code, which a failing token may give as well.
    Doubt(Code),
    /// There was no answer.
    Silence,
}

/// The error for a failed PKCS#11 call, made in order to do what `action` says ("log in").
pub(super) fn fault(action: &'static str, cause: Cause) -> Error {
    judge(action, cause).0
}

/// The same, and what it says about the token.
pub(super) fn judge(action: &'static str, cause: Cause) -> (Error, Trouble) {
    let Verdict { kind, trouble, hint } = classify(&cause);
    if kind == ErrorKind::NotAuthentic {
        // One and the same answer, whatever the token said; the log keeps it for the operator.
        tracing::debug!(%cause, action, "the token refused a ciphertext");
        return (Error::not_authentic(), trouble);
    }
    let message = match &cause {
        Cause::Pkcs11(code, function) => format!("cannot {action}: C_{function:?} answered {}", ckr(*code)),
        _ => format!("cannot {action}"),
    };
    let error = Error::new(kind, message).with_source(cause);
    let error = match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    (error, trouble)
}

/// The error for a failed write: a token without room for an object is full, and asking again does not help.
pub(super) fn of_writing(error: Error) -> Error {
    /// Not among the codes of `cryptoki`.
    const FULL: RvError = RvError::UnknownErrorCode(cryptoki_sys::CKR_TOKEN_RESOURCE_EXCEEDED);
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Cause>());
    let Some(Cause::Pkcs11(code @ (RvError::DeviceMemory | FULL), function)) = cause else { return error };
    use Function::{CopyObject, CreateObject, GenerateKey, GenerateKeyPair, UnwrapKey};
    if !matches!(function, CreateObject | CopyObject | GenerateKey | GenerateKeyPair | UnwrapKey) {
        return error;
    }
    Error::new(ErrorKind::LimitExceeded, format!("{error}: the token has no room for the object"))
        .with_source(Cause::Pkcs11(*code, *function))
        .with_hint("destroy objects that are not needed any more, or use a token with more room")
}

/// The error for a call without an answer.
pub(super) fn no_answer(action: &'static str, why: NoAnswer) -> (Error, Trouble) {
    match why {
        NoAnswer::InTime => {
            let error = Error::new(ErrorKind::Timeout, format!("cannot {action}: the token did not answer in time"));
            (error.with_hint("call_timeout says how long a call may take"), Trouble::Silence)
        }
        NoAnswer::Busy => {
            let message = format!("cannot {action}: another call keeps the module, or hangs in it");
            (Error::new(ErrorKind::Timeout, message), Trouble::None)
        }
        NoAnswer::Sense => {
            let message = format!("cannot {action}: the module's answer makes no sense");
            (Error::new(ErrorKind::TokenUnavailable, message), Trouble::Call)
        }
        NoAnswer::Thread(error) => {
            let message = format!("cannot {action}: there is no thread to make the call on");
            (Error::new(ErrorKind::TokenUnavailable, message).with_source(error), Trouble::Call)
        }
    }
}

/// The code as PKCS#11 spells it: `CKR_PIN_INCORRECT`.
pub(super) fn ckr(code: RvError) -> String {
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

/// Whether a failure to read several attributes may be that of one of them, and not the token's.
pub(super) fn may_be_one_attributes(cause: &Cause) -> bool {
    use RvError::*;
    match cause {
        // SoftHSM answers the first to a date, nShield the second to an attribute that it does not know.
        Cause::Pkcs11(GeneralError | FunctionFailed, _) => true,
        Cause::Pkcs11(AttributeTypeInvalid | AttributeValueInvalid | AttributeSensitive | BufferTooSmall, _) => true,
        Cause::Pkcs11(..) => false,
        // `cryptoki` cannot express a value.
        _ => true,
    }
}

struct Verdict {
    kind: ErrorKind,
    trouble: Trouble,
    hint: Option<&'static str>,
}

impl Trouble {
    /// Whether it is to be found out what is the matter with the token.
    pub(crate) fn is_suspicious(self) -> bool {
        matches!(self, Self::Ended | Self::Suspect)
    }
}

impl From<(ErrorKind, Trouble)> for Verdict {
    fn from((kind, trouble): (ErrorKind, Trouble)) -> Self {
        Self { kind, trouble, hint: None }
    }
}

fn classify(cause: &Cause) -> Verdict {
    use ErrorKind as Kind;
    use RvError::*;
    let (code, function) = match cause {
        Cause::Pkcs11(code, function) => (*code, *function),
        Cause::LibraryLoading(_) | Cause::MissingSymbol(_) => return (Kind::ModuleUnavailable, Trouble::None).into(),
        Cause::NullFunctionPointer | Cause::NotSupported => return (Kind::Unsupported, Trouble::None).into(),
        _ => return (Kind::TokenUnavailable, Trouble::Call).into(),
    };
    let logging_in = matches!(function, Function::Login | Function::InitToken | Function::InitPIN | Function::SetPIN);
    // These see the ciphertext. C_DecryptInit does not, but for its parameters.
    let recovering = matches!(function, Function::Decrypt | Function::UnwrapKey);
    let hinted = |kind, hint| Verdict { kind, trouble: Trouble::None, hint: Some(hint) };
    match code {
        // Without a session nothing can be asked of the token, whatever its reason: another may serve meanwhile.
        _ if matches!(function, Function::OpenSession | Function::GetSessionInfo) => {
            let trouble = match code {
                TokenNotPresent | DeviceRemoved | SessionHandleInvalid | SessionClosed | CryptokiNotInitialized => {
                    Trouble::Ended
                }
                DeviceMemory | HostMemory | SessionCount => Trouble::Call,
                _ => Trouble::Suspect,
            };
            (Kind::TokenUnavailable, trouble).into()
        }
        PinIncorrect | PinInvalid | PinLenRange if logging_in => {
            hinted(Kind::PinIncorrect, "it was tried once and is not tried again; too many wrong PINs lock a token")
        }
        PinLocked if logging_in => hinted(Kind::PinLocked, "the security officer can set a new PIN"),
        PinExpired | UserPinNotInitialized | PinTooWeak if logging_in => {
            hinted(Kind::PinLocked, "set a PIN with the token's own tool")
        }
        // SoftHSM says so of an OAEP hash that it does not have.
        ArgumentsBad if matches!(function, Function::EncryptInit | Function::DecryptInit | Function::WrapKey) => {
            (Kind::Unsupported, Trouble::None).into()
        }
        MechanismInvalid
        | MechanismParamInvalid
        | FunctionNotSupported
        | KeySizeRange
        | CurveNotSupported
        | WrappingKeySizeRange
        | UnwrappingKeySizeRange => (Kind::Unsupported, Trouble::None).into(),
        KeyFunctionNotPermitted => (Kind::KeyState, Trouble::None).into(),
        AttributeTypeInvalid
        | AttributeValueInvalid
        | TemplateInconsistent
        | TemplateIncomplete
        | AttributeReadOnly
        | ActionProhibited
            if !recovering =>
        {
            (Kind::Unsupported, Trouble::None).into()
        }
        ObjectHandleInvalid | KeyHandleInvalid | WrappingKeyHandleInvalid | UnwrappingKeyHandleInvalid => {
            (Kind::KeyNotFound, Trouble::None).into()
        }
        TokenWriteProtected | SessionReadOnly => hinted(Kind::Unsupported, "the token is write-protected"),
        TokenNotPresent | DeviceRemoved | SessionHandleInvalid | SessionClosed | CryptokiNotInitialized => {
            (Kind::TokenUnavailable, Trouble::Ended).into()
        }
        TokenNotRecognized | UserNotLoggedIn | SlotIdInvalid => (Kind::TokenUnavailable, Trouble::Suspect).into(),
        // Our buffers have room for every right answer.
        DeviceMemory | HostMemory | SessionCount | BufferTooSmall => (Kind::TokenUnavailable, Trouble::Call).into(),
        EncryptedDataInvalid
        | EncryptedDataLenRange
        | WrappedKeyInvalid
        | WrappedKeyLenRange
        | DataInvalid
        | DataLenRange
            if recovering || matches!(function, Function::DecryptInit) =>
        {
            (Kind::NotAuthentic, Trouble::None).into()
        }
        // SoftHSM answers GENERAL_ERROR to altered bytes, Kryoptic DEVICE_ERROR, others what they like.
        _ if recovering => (Kind::NotAuthentic, Trouble::Doubt(code)).into(),
        // p11-kit's client says DEVICE_ERROR when its server died.
        DeviceError | GeneralError | FunctionFailed => (Kind::TokenUnavailable, Trouble::Suspect).into(),
        _ => (Kind::TokenUnavailable, Trouble::Call).into(),
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
        assert_eq!(kind(RvError::MechanismInvalid, Function::OpenSession), ErrorKind::TokenUnavailable);
        assert_eq!(kind(RvError::DeviceRemoved, Function::Decrypt), ErrorKind::TokenUnavailable);
        assert_eq!(kind(RvError::KeyFunctionNotPermitted, Function::EncryptInit), ErrorKind::KeyState);
    }

    #[test]
    fn the_message_names_function_and_code() {
        let error = fault("log in", Cause::Pkcs11(RvError::PinLocked, Function::Login));
        assert_eq!(error.to_string(), "cannot log in: C_Login answered CKR_PIN_LOCKED");
    }
}
