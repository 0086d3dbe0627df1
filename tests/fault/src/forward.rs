//! The functions that can go wrong. Each is called as its PKCS#11 namesake, and calls the real one with
//! what it was given.

use crate::instance::{Instance, Plan, instance};
use crate::limits;
use cryptoki_sys::*;

/// The real module's functions, with ours in place of those that can go wrong.
pub(crate) fn functions(mut list: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
    list.version = CK_VERSION { major: 2, minor: 40 };
    macro_rules! ours {
        ($($name:ident)*) => { $(list.$name = list.$name.and(Some($name));)* };
    }
    ours! {
        C_Initialize C_Finalize C_GetInfo C_GetSlotList C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo
        C_InitToken C_InitPIN C_OpenSession C_CloseSession C_GetSessionInfo C_Login C_Logout C_CreateObject C_CopyObject
        C_DestroyObject C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects
        C_FindObjectsFinal C_EncryptInit C_Encrypt C_DecryptInit C_Decrypt C_GenerateKey C_GenerateKeyPair
        C_WrapKey C_UnwrapKey C_GenerateRandom C_SignInit C_Sign
    }
    list.C_GetFunctionList = Some(crate::C_GetFunctionList);
    list
}

fn around(
    function: &'static str,
    session: Option<CK_SESSION_HANDLE>,
    call: impl FnOnce(&Instance, &Plan) -> CK_RV,
) -> CK_RV {
    let Some(instance) = instance() else { return CKR_GENERAL_ERROR };
    let plan = instance.plan(function, session);
    let code = plan.answer.unwrap_or_else(|| match function {
        // These see to it themselves.
        "C_Initialize" | "C_Finalize" => call(instance, &plan),
        _ => {
            let _inside = instance.calls.read();
            call(instance, &plan)
        }
    });
    if plan.kill_after {
        crate::instance::kill_this_process();
    }
    let code = plan.late.unwrap_or(code);
    instance.done(function, &plan, code);
    code
}

/// Calls the real function.
// SAFETY, here and below: what is passed on is what the caller passed, who keeps PKCS#11's contract.
macro_rules! real {
    ($instance:expr, $name:ident($($argument:expr),*)) => {
        match $instance.real.$name {
            Some(real) => unsafe { real($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

macro_rules! without_session {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            around(stringify!($name), None, |instance, _| real!(instance, $name($($argument),*)))
        }
    )*};
}

macro_rules! with_session {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(session: CK_SESSION_HANDLE $(, $argument: $type)*) -> CK_RV {
            around(stringify!($name), Some(session), |instance, _| real!(instance, $name(session $(, $argument)*)))
        }
    )*};
}

without_session! {
    C_GetInfo(info: CK_INFO_PTR);
    C_GetTokenInfo(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR);
    C_GetMechanismList(slot: CK_SLOT_ID, list: CK_MECHANISM_TYPE_PTR, count: CK_ULONG_PTR);
    C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: CK_MECHANISM_INFO_PTR);
    C_InitToken(slot: CK_SLOT_ID, pin: CK_UTF8CHAR_PTR, len: CK_ULONG, label: CK_UTF8CHAR_PTR);
}

with_session! {
    C_InitPIN(pin: CK_UTF8CHAR_PTR, len: CK_ULONG);
    C_GetSessionInfo(info: CK_SESSION_INFO_PTR);
    C_Login(user: CK_USER_TYPE, pin: CK_UTF8CHAR_PTR, len: CK_ULONG);
    C_Logout();
    C_DestroyObject(object: CK_OBJECT_HANDLE);
    C_SetAttributeValue(object: CK_OBJECT_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG);
    C_FindObjectsInit(template: CK_ATTRIBUTE_PTR, count: CK_ULONG);
    C_FindObjectsFinal();
    C_DecryptInit(mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
    C_GenerateRandom(out: CK_BYTE_PTR, len: CK_ULONG);
    C_SignInit(mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
    C_Sign(data: CK_BYTE_PTR, len: CK_ULONG, signature: CK_BYTE_PTR, signature_len: CK_ULONG_PTR);
}

/// Those that make an object of this template, which a limited token may refuse.
macro_rules! making {
    ($($name:ident($($argument:ident: $type:ty),*) from $template:ident, $count:ident;)*) => {$(
        unsafe extern "C" fn $name(session: CK_SESSION_HANDLE $(, $argument: $type)*) -> CK_RV {
            around(stringify!($name), Some(session), |instance, plan| {
                // SAFETY: as many attributes as the caller says.
                match unsafe { limits::refusal(instance, plan, session, $template, $count) } {
                    Some(code) => code,
                    None => real!(instance, $name(session $(, $argument)*)),
                }
            })
        }
    )*};
}

making! {
    C_CreateObject(template: CK_ATTRIBUTE_PTR, count: CK_ULONG, object: CK_OBJECT_HANDLE_PTR) from template, count;
    C_CopyObject(object: CK_OBJECT_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG, copy: CK_OBJECT_HANDLE_PTR)
        from template, count;
    C_GenerateKey(mechanism: CK_MECHANISM_PTR, template: CK_ATTRIBUTE_PTR, count: CK_ULONG, key: CK_OBJECT_HANDLE_PTR)
        from template, count;
    C_GenerateKeyPair(mechanism: CK_MECHANISM_PTR, public: CK_ATTRIBUTE_PTR, public_count: CK_ULONG,
        private: CK_ATTRIBUTE_PTR, private_count: CK_ULONG, public_key: CK_OBJECT_HANDLE_PTR,
        private_key: CK_OBJECT_HANDLE_PTR) from private, private_count;
    C_UnwrapKey(mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE, wrapped: CK_BYTE_PTR, len: CK_ULONG,
        template: CK_ATTRIBUTE_PTR, count: CK_ULONG, object: CK_OBJECT_HANDLE_PTR) from template, count;
}

unsafe extern "C" fn C_Initialize(arguments: CK_VOID_PTR) -> CK_RV {
    around("C_Initialize", None, |instance, _| instance.initialize(arguments))
}

unsafe extern "C" fn C_Finalize(_reserved: CK_VOID_PTR) -> CK_RV {
    around("C_Finalize", None, |instance, _| instance.finalize())
}

unsafe extern "C" fn C_GetSlotList(present: CK_BBOOL, list: CK_SLOT_ID_PTR, count: CK_ULONG_PTR) -> CK_RV {
    around("C_GetSlotList", None, |instance, _| {
        if instance.has_no_slots() {
            unsafe { *count = 0 };
            return CKR_OK;
        }
        real!(instance, C_GetSlotList(present, list, count))
    })
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    session: CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    around("C_OpenSession", None, |instance, _| {
        let code = real!(instance, C_OpenSession(slot, flags, application, notify, session));
        if code == CKR_OK {
            instance.opened(unsafe { *session }, slot);
        }
        code
    })
}

unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    around("C_CloseSession", Some(session), |instance, _| {
        instance.closed(session);
        real!(instance, C_CloseSession(session))
    })
}

unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    around("C_GetAttributeValue", Some(session), |instance, plan| {
        let code = real!(instance, C_GetAttributeValue(session, object, template, count));
        if code == CKR_OK {
            for at in 0..count as usize {
                unsafe { lie(&raw mut (*template.add(at)).ulValueLen, plan) };
            }
        }
        code
    })
}

unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    out: CK_OBJECT_HANDLE_PTR,
    max: CK_ULONG,
    count: CK_ULONG_PTR,
) -> CK_RV {
    around("C_FindObjects", Some(session), |instance, plan| {
        if plan.twice {
            return unsafe { find_twice(instance, session, out, max, count) };
        }
        let code = real!(instance, C_FindObjects(session, out, max, count));
        if code == CKR_OK {
            unsafe { lie(count, plan) };
        }
        code
    })
}

unsafe fn find_twice(
    instance: &Instance,
    session: CK_SESSION_HANDLE,
    out: CK_OBJECT_HANDLE_PTR,
    max: CK_ULONG,
    count: CK_ULONG_PTR,
) -> CK_RV {
    let code = real!(instance, C_FindObjects(session, out, max, count));
    if code == CKR_OK {
        let mut sessions = instance.sessions();
        let queue = sessions.found_again.entry(session).or_default();
        for at in 0..unsafe { *count } as usize {
            let object = unsafe { *out.add(at) };
            queue.extend([object, object]);
        }
        let given = queue.len().min(max as usize);
        for (at, object) in queue.drain(..given).enumerate() {
            unsafe { *out.add(at) = object };
        }
        unsafe { *count = given as CK_ULONG };
    }
    code
}

unsafe extern "C" fn C_EncryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    around("C_EncryptInit", Some(session), |instance, plan| {
        if plan.write_iv && unsafe { (*mechanism).mechanism } == CKM_AES_GCM {
            // SAFETY: with AES-GCM the parameter is a CK_GCM_PARAMS, whose IV has the length that it says.
            let iv = unsafe {
                let parameters: *mut CK_GCM_PARAMS = (*mechanism).pParameter.cast();
                std::slice::from_raw_parts_mut((*parameters).pIv, (*parameters).ulIvLen as usize)
            };
            if plan.zero_iv && iv.iter().any(|byte| *byte != 0) {
                return CKR_MECHANISM_PARAM_INVALID;
            }
            let code = real!(instance, C_GenerateRandom(session, iv.as_mut_ptr(), iv.len() as CK_ULONG));
            if code != CKR_OK {
                return code;
            }
        }
        real!(instance, C_EncryptInit(session, mechanism, key))
    })
}

/// For the functions whose last arguments are a buffer and its length.
macro_rules! with_output {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE, $($argument: $type,)* out: CK_BYTE_PTR, len: CK_ULONG_PTR
        ) -> CK_RV {
            around(stringify!($name), Some(session), |instance, plan| {
                if plan.too_small_first && instance.sessions().told_too_small.insert(session) {
                    let code = real!(instance, $name(session, $($argument,)* std::ptr::null_mut(), len));
                    return if code == CKR_OK { CKR_BUFFER_TOO_SMALL } else { code };
                }
                instance.sessions().told_too_small.remove(&session);
                let code = real!(instance, $name(session, $($argument,)* out, len));
                if code == CKR_OK {
                    unsafe { lie(len, plan) };
                }
                code
            })
        }
    )*};
}

with_output! {
    C_Encrypt(data: CK_BYTE_PTR, data_len: CK_ULONG);
    C_Decrypt(data: CK_BYTE_PTR, data_len: CK_ULONG);
    C_WrapKey(mechanism: CK_MECHANISM_PTR, wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE);
}

/// Tells another length than the true one.
unsafe fn lie(len: *mut CK_ULONG, plan: &Plan) {
    unsafe {
        let told = len.read_unaligned();
        len.write_unaligned(told.saturating_sub(plan.short).saturating_add(plan.long));
    }
}
