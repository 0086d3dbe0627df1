//! A PKCS#11 module for tests: it forwards to a real one and goes wrong as a script says.
//!
//! The real module is the one that `KEYWARD_FAULT_MODULE` names, else `KEYWARD_TEST_MODULE`. Each copy of this
//! file is an instance of its own, with its script beside it, `<file>.script`, and its log,
//! `<file>.log`. The script is read again whenever it was replaced (by a rename, please), and then counts
//! from the start. Without a script every call passes. One that cannot be read fails every call.
//!
//! A line of a script is `FUNCTION CALLS ACTION [ARGUMENT]`, or a comment after `#`:
//!
//! - FUNCTION: `C_Encrypt`, or `*` for every function.
//! - CALLS: which calls of those since the script was put in place: `*`, `3`, `2-5`, `4-`, or `10%`
//!   by chance.
//! - ACTION: all that match apply, in order.
//!
//! | action | what happens |
//! |---|---|
//! | `answer CODE` | the token is not called; `CKR_…` or a number |
//! | `late CODE` | the token is called, and its answer is replaced |
//! | `delay DURATION` | `50us`, `1ms`, `2s` |
//! | `hang` | the call waits until the script is replaced or removed |
//! | `short N`, `long N` | the length of the output, as it is told, is N less or more |
//! | `twice` | `C_FindObjects` finds everything twice |
//! | `drop-sessions` | all sessions of this instance are closed first |
//! | `lose-login` | the token is logged out of first |
//! | `write-iv` | `C_EncryptInit` with AES-GCM: the token's own IV is used, and written over the caller's |
//! | `zero-iv` | the same, and an IV that is not all zeros is refused |
//! | `too-small-first` | the first call finds the buffer too small, the next does the work |
//! | `dead` | as p11-kit's client whose server died: `CKR_DEVICE_ERROR` until the module is finalized and initialized again, and no slots while this stands |
//! | `kill` | the process is killed before the call, as by `kill -9` |
//! | `kill-after` | the same, after the token did what it was asked to and before anybody hears of it |
//! | `log` | the call is logged: `FUNCTION CODE`; before a `hang` that follows, `FUNCTION HANGS` as well |
//! | `max-objects N` | a token with room for N objects: another is refused with `CKR_DEVICE_MEMORY` |
//! | `max-value N` | a token with room for N bytes in a value of an object: the same |
//! | `no-data-objects` | a token that keeps no data objects: one is refused with `CKR_TEMPLATE_INCONSISTENT` |
//!
//! The last three are about what makes objects of the token: `C_CreateObject`, `C_CopyObject`, `C_GenerateKey`,
//! `C_GenerateKeyPair` and `C_UnwrapKey`.
//!
//! The real module is initialized once and never finalized: several instances in a process share it.

// A C interface is nothing but pointers. Each function has the contract of its PKCS#11 namesake.
#![allow(unsafe_code, non_snake_case)]

mod codes;
mod forward;
mod instance;
mod limits;
mod script;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK};
use std::sync::OnceLock;

/// Hands out the functions: the real module's, with ours in place of those that can go wrong.
///
/// # Safety
/// As PKCS#11 has it: `list` points to room for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    static LIST: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let Some(instance) = instance::instance() else { return CKR_GENERAL_ERROR };
    let ours: *const CK_FUNCTION_LIST = LIST.get_or_init(|| forward::functions(instance.real));
    // SAFETY: the caller's pointer; the list is never written to.
    unsafe { *list = ours.cast_mut() };
    CKR_OK
}
