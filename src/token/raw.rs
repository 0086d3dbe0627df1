//! The one module with `unsafe`: PKCS#11 calls that `cryptoki` makes in a way we cannot use.
//!
//! - `C_Encrypt`, `C_Decrypt` and `C_WrapKey` ask for the output's length first, which costs a
//!   second round trip to a network HSM although every length here is known. `wrap_key` moreover
//!   does not cut its result to the length that the token returned.
//! - `C_GetAttributeValue` asks for lengths as well and believes any that it is told, beyond its
//!   buffers too. For `CKA_VALUE` it leaves a copy of the secret on the heap. Here, as with
//!   `C_Decrypt`, it goes straight into the caller's buffer.
//! - `C_GetMechanismList` leaves out the mechanisms that are a vendor's own.
//!
//! Some modules give each asker a function list with a state of its own: sessions that `cryptoki`
//! opened mean nothing to this one's. [`Functions::of_initialized`] finds out, and `Session` then
//! makes the calls through `cryptoki` after all.
//!
//! Soundness rests on three things. The function pointers come from `C_GetFunctionList` of a
//! library that [`Functions`] keeps loaded. Every pointer passed is that of a live Rust slice or
//! structure, with its true length, for the duration of the call. The token's answer is only ever
//! used as a length after it was checked against the buffer's.
#![allow(unsafe_code)]

use cryptoki::context::Function;
use cryptoki::error::{Error, Result, Rv, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKA_ID, CKA_LABEL, CKA_VALUE, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL, CKR_OK, CKR_OPERATION_NOT_INITIALIZED,
};
use std::path::Path;
use zeroize::Zeroizing;

/// The most that a token is believed to need for the answers that Keyward asks for.
const MAX_ASKED: usize = 64 * 1024;

/// The functions of a module, loaded a second time beside `cryptoki`'s own, private, list of them.
/// The dynamic linker gives both the same library, with the same state.
pub(super) struct Functions {
    list: CK_FUNCTION_LIST,
    _library: cryptoki_sys::Pkcs11,
}

impl Functions {
    /// The functions of a module that `cryptoki` has initialized; none where they do not know of it,
    /// as with p11-kit's client.
    pub(super) fn of_initialized(path: &Path) -> Result<Option<Self>> {
        let functions = Self::load(path)?;
        let info = functions.list.C_GetInfo.ok_or(Error::NullFunctionPointer)?;
        let mut answer = CK_INFO::default();
        // SAFETY: the function fills one structure.
        let code = unsafe { info(&raw mut answer) };
        Ok((code == CKR_OK).then_some(functions))
    }

    fn load(path: &Path) -> Result<Self> {
        // SAFETY: loading runs the library's initializers, as for every PKCS#11 module; the
        // operator named it. `C_GetFunctionList` has the signature that PKCS#11 gives it, and a
        // list that it returns lives as long as the library, which is kept in `_library`.
        unsafe {
            let library = cryptoki_sys::Pkcs11::new(path).map_err(Error::LibraryLoading)?;
            if library.C_GetFunctionList.is_err() {
                return Err(Error::MissingSymbol("C_GetFunctionList"));
            }
            let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
            Rv::from(library.C_GetFunctionList(&raw mut list)).into_result(Function::GetFunctionList)?;
            if list.is_null() {
                return Err(Error::NullFunctionPointer);
            }
            // The structure is packed on some targets: read without assuming its alignment.
            Ok(Self { list: list.read_unaligned(), _library: library })
        }
    }

    /// `C_GetMechanismList`: the vendor's own as well, which `cryptoki` leaves out.
    pub(super) fn mechanisms(&self, slot: Slot) -> Result<Vec<MechanismType>> {
        let call = self.list.C_GetMechanismList.ok_or(Error::NullFunctionPointer)?;
        let mut count = 0;
        // SAFETY: without a list the function returns the length that one would have.
        let code = unsafe { call(slot.into(), std::ptr::null_mut(), &raw mut count) };
        let count = checked(code, count, MAX_ASKED, Function::GetMechanismList)?;
        let mut numbers = vec![0; count];
        let mut listed = ulong(count);
        // SAFETY: the list has room for as many as are asked for.
        let code = unsafe { call(slot.into(), numbers.as_mut_ptr(), &raw mut listed) };
        numbers.truncate(checked(code, listed, count, Function::GetMechanismList)?);
        let known = |number| MechanismType::new_vendor_defined(number).or_else(|_| MechanismType::try_from(number));
        Ok(numbers.into_iter().filter_map(|number| known(number).ok()).collect())
    }

    /// `C_EncryptInit` and `C_Encrypt` into `out`; the length of the ciphertext.
    pub(super) fn encrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        let init = self.list.C_EncryptInit.ok_or(Error::NullFunctionPointer)?;
        let call = self.list.C_Encrypt.ok_or(Error::NullFunctionPointer)?;
        let input = plaintext.as_ptr().cast_mut();
        // SAFETY: see the module's documentation; `mechanism` borrows from the caller's and its
        // parameters outlive all calls. The token does not write to the input.
        let begin = || unsafe {
            Rv::from(init(session.handle(), &raw mut mechanism, key.handle())).into_result(Function::EncryptInit)
        };
        let step = |out, len: &mut CK_ULONG| unsafe { call(session.handle(), input, ulong(plaintext.len()), out, len) };
        fill(out, Function::Encrypt, begin, step)
    }

    /// `C_DecryptInit` and `C_Decrypt` into `out`; the length of the plaintext.
    pub(super) fn decrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        let init = self.list.C_DecryptInit.ok_or(Error::NullFunctionPointer)?;
        let call = self.list.C_Decrypt.ok_or(Error::NullFunctionPointer)?;
        let input = ciphertext.as_ptr().cast_mut();
        // SAFETY: as in `encrypt`.
        let begin = || unsafe {
            Rv::from(init(session.handle(), &raw mut mechanism, key.handle())).into_result(Function::DecryptInit)
        };
        let step =
            |out, len: &mut CK_ULONG| unsafe { call(session.handle(), input, ulong(ciphertext.len()), out, len) };
        fill(out, Function::Decrypt, begin, step)
    }

    /// `C_WrapKey` into `out`; the length of the wrapped key.
    pub(super) fn wrap_key(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        out: &mut [u8],
    ) -> Result<usize> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        let call = self.list.C_WrapKey.ok_or(Error::NullFunctionPointer)?;
        let session: CK_SESSION_HANDLE = session.handle();
        // SAFETY: as in `encrypt`.
        let step = |out, len: &mut CK_ULONG| unsafe {
            call(session, &raw mut mechanism, wrapping_key.handle(), key.handle(), out, len)
        };
        fill(out, Function::WrapKey, || Ok(()), step)
    }

    /// `C_GetAttributeValue` for several attributes: those that the object has and shows, and that are
    /// no longer than any of ours.
    pub(super) fn attributes(
        &self,
        session: &Session,
        object: ObjectHandle,
        types: &[AttributeType],
    ) -> Result<Vec<Attribute>> {
        let call = self.list.C_GetAttributeValue.ok_or(Error::NullFunctionPointer)?;
        let mut room: Vec<Vec<u8>> = types.iter().map(|one| vec![0; longest(*one)]).collect();
        let mut template: Vec<CK_ATTRIBUTE> = types
            .iter()
            .zip(&mut room)
            .map(|(one, room)| CK_ATTRIBUTE {
                type_: (*one).into(),
                pValue: room.as_mut_ptr().cast(),
                ulValueLen: ulong(room.len()),
            })
            .collect();
        // SAFETY: as in `encrypt`; each attribute's buffer is one of `room`, with its true length.
        let code = unsafe { call(session.handle(), object.handle(), template.as_mut_ptr(), ulong(template.len())) };
        // These say that some are not there, not shown, or too long (section 5.7.5); the others are. Where a name
        // or an id is as long as its room, nothing was written: the token failed before it looked.
        let some = matches!(code, CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID | CKR_BUFFER_TOO_SMALL);
        let untouched = |one: &CK_ATTRIBUTE| {
            matches!(one.type_, CKA_LABEL | CKA_ID) && usize::try_from(one.ulValueLen) == Ok(LONGEST_NAME)
        };
        if !some || template.iter().any(untouched) {
            Rv::from(code).into_result(Function::GetAttributeValue)?;
        }
        let mut shown = Vec::with_capacity(types.len());
        for (room, said) in room.iter_mut().zip(&template) {
            let len = usize::try_from(said.ulValueLen).ok().filter(|len| *len <= room.len());
            let Some(len) = len else { continue };
            let checked = CK_ATTRIBUTE { type_: said.type_, pValue: room.as_mut_ptr().cast(), ulValueLen: ulong(len) };
            // One that makes no sense is as good as none.
            shown.extend(Attribute::try_from(checked).ok());
        }
        Ok(shown)
    }

    /// `C_GetAttributeValue` for `CKA_VALUE` into `out`; the length of the value.
    pub(super) fn read_value(&self, session: &Session, object: ObjectHandle, out: &mut [u8]) -> Result<usize> {
        let call = self.list.C_GetAttributeValue.ok_or(Error::NullFunctionPointer)?;
        // SAFETY: as in `encrypt`; the template is one attribute, whose buffer is `out`.
        let step = |out: *mut u8, len: &mut CK_ULONG| unsafe {
            let mut template = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: out.cast(), ulValueLen: *len };
            let code = call(session.handle(), object.handle(), &raw mut template, 1);
            *len = template.ulValueLen;
            code
        };
        fill(out, Function::GetAttributeValue, || Ok(()), step)
    }
}

/// Begins an operation and makes the call that fills a buffer and returns a length. A length beyond the
/// buffer's is not believed.
///
/// Some tokens find a buffer too small that has room for every right answer. They are given, once, what
/// they ask for; the answer must fit all the same. Some of them end the operation with that, which
/// the standard forbids (section 5.2): then it is begun again.
fn fill(
    out: &mut [u8],
    function: Function,
    mut begin: impl FnMut() -> Result<()>,
    mut step: impl FnMut(*mut u8, &mut CK_ULONG) -> CK_RV,
) -> Result<usize> {
    begin()?;
    let mut len = ulong(out.len());
    let code = step(out.as_mut_ptr(), &mut len);
    if code != CKR_BUFFER_TOO_SMALL {
        return checked(code, len, out.len(), function);
    }
    let too_small = || Error::Pkcs11(RvError::BufferTooSmall, function);
    let asked = usize::try_from(len).ok().filter(|asked| *asked <= MAX_ASKED).ok_or_else(too_small)?;
    let mut room = Zeroizing::new(vec![0; asked.max(out.len())]);
    let mut len = ulong(room.len());
    let mut code = step(room.as_mut_ptr(), &mut len);
    if code == CKR_OPERATION_NOT_INITIALIZED {
        begin()?;
        len = ulong(room.len());
        code = step(room.as_mut_ptr(), &mut len);
    }
    let len = checked(code, len, room.len(), function)?;
    out.get_mut(..len).ok_or_else(too_small)?.copy_from_slice(&room[..len]);
    Ok(len)
}

fn checked(code: CK_RV, len: CK_ULONG, capacity: usize, function: Function) -> Result<usize> {
    Rv::from(code).into_result(function)?;
    let len = usize::try_from(len).ok().filter(|len| *len <= capacity);
    len.ok_or(Error::Pkcs11(RvError::BufferTooSmall, function))
}

/// Longer than any label or id of ours.
const LONGEST_NAME: usize = 256;

/// Room for any value of an attribute that is one of ours. One call then does what would take two.
fn longest(one: AttributeType) -> usize {
    match one {
        AttributeType::Label | AttributeType::Id => LONGEST_NAME,
        AttributeType::Modulus | AttributeType::PublicExponent => 2048,
        AttributeType::EcPoint | AttributeType::EcParams => 256,
        AttributeType::Value => 8 * 1024,
        // Three bytes, by the standard (PKCS#11 3.1, section 4.10.2).
        AttributeType::CheckValue => 8,
        AttributeType::KeyGenMechanism
        | AttributeType::Class
        | AttributeType::KeyType
        | AttributeType::ValueLen
        | AttributeType::ModulusBits => size_of::<CK_ULONG>(),
        _ => size_of::<CK_BBOOL>(),
    }
}

/// A length as PKCS#11 has it. Where `CK_ULONG` is shorter than `usize`, an absurd length becomes
/// the value that no module accepts.
fn ulong(len: usize) -> CK_ULONG {
    CK_ULONG::try_from(len).unwrap_or(CK_UNAVAILABLE_INFORMATION)
}
