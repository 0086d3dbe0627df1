//! The one module with `unsafe`: five PKCS#11 calls that `cryptoki` makes in a way we cannot use.
//!
//! - `C_Encrypt`, `C_Decrypt` and `C_WrapKey` ask for the output's length first, which costs a
//!   second round trip to a network HSM although every length here is known. `wrap_key` moreover
//!   does not cut its result to the length that the token returned.
//! - `C_GetAttributeValue` for `CKA_VALUE` leaves a copy of the secret on the heap. Here, as with
//!   `C_Decrypt`, it goes straight into the caller's buffer.
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
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM, CK_SESSION_HANDLE, CK_ULONG, CK_UNAVAILABLE_INFORMATION,
    CKA_VALUE, CKR_OK,
};
use std::path::Path;

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
        let capacity = out.len();
        let init = self.list.C_EncryptInit.ok_or(Error::NullFunctionPointer)?;
        let call = self.list.C_Encrypt.ok_or(Error::NullFunctionPointer)?;
        // SAFETY: see the module's documentation; `mechanism` borrows from the caller's and its
        // parameters outlive both calls. The token does not write to the input.
        unsafe {
            Rv::from(init(session.handle(), &raw mut mechanism, key.handle())).into_result(Function::EncryptInit)?;
            let input = plaintext.as_ptr().cast_mut();
            let code =
                |len: &mut CK_ULONG| call(session.handle(), input, ulong(plaintext.len()), out.as_mut_ptr(), len);
            bounded(capacity, Function::Encrypt, code)
        }
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
        let capacity = out.len();
        let init = self.list.C_DecryptInit.ok_or(Error::NullFunctionPointer)?;
        let call = self.list.C_Decrypt.ok_or(Error::NullFunctionPointer)?;
        // SAFETY: as in `encrypt`.
        unsafe {
            Rv::from(init(session.handle(), &raw mut mechanism, key.handle())).into_result(Function::DecryptInit)?;
            let input = ciphertext.as_ptr().cast_mut();
            let code =
                |len: &mut CK_ULONG| call(session.handle(), input, ulong(ciphertext.len()), out.as_mut_ptr(), len);
            bounded(capacity, Function::Decrypt, code)
        }
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
        let capacity = out.len();
        let call = self.list.C_WrapKey.ok_or(Error::NullFunctionPointer)?;
        let session: CK_SESSION_HANDLE = session.handle();
        // SAFETY: as in `encrypt`.
        unsafe {
            let code = |len: &mut CK_ULONG| {
                call(session, &raw mut mechanism, wrapping_key.handle(), key.handle(), out.as_mut_ptr(), len)
            };
            bounded(capacity, Function::WrapKey, code)
        }
    }

    /// `C_GetAttributeValue` for `CKA_VALUE` into `out`; the length of the value.
    pub(super) fn read_value(&self, session: &Session, object: ObjectHandle, out: &mut [u8]) -> Result<usize> {
        let call = self.list.C_GetAttributeValue.ok_or(Error::NullFunctionPointer)?;
        let capacity = out.len();
        let mut template =
            CK_ATTRIBUTE { type_: CKA_VALUE, pValue: out.as_mut_ptr().cast(), ulValueLen: ulong(capacity) };
        // SAFETY: as in `encrypt`; the template is one attribute, whose buffer is `out`.
        unsafe {
            let code = |len: &mut CK_ULONG| {
                let code = call(session.handle(), object.handle(), &raw mut template, 1);
                *len = template.ulValueLen;
                code
            };
            bounded(capacity, Function::GetAttributeValue, code)
        }
    }
}

/// Makes a call that takes a buffer of `capacity` bytes and returns a length, and does not believe
/// a length that is larger.
fn bounded(
    capacity: usize,
    function: Function,
    call: impl FnOnce(&mut CK_ULONG) -> cryptoki_sys::CK_RV,
) -> Result<usize> {
    let mut len = ulong(capacity);
    Rv::from(call(&mut len)).into_result(function)?;
    match usize::try_from(len) {
        Ok(len) if len <= capacity => Ok(len),
        _ => Err(Error::Pkcs11(RvError::BufferTooSmall, function)),
    }
}

/// A length as PKCS#11 has it. Where `CK_ULONG` is shorter than `usize`, an absurd length becomes
/// the value that no module accepts.
fn ulong(len: usize) -> CK_ULONG {
    CK_ULONG::try_from(len).unwrap_or(CK_UNAVAILABLE_INFORMATION)
}
