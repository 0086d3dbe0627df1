//! A token with room for few objects, or small ones, or none that hold data.

use crate::instance::{Instance, Plan};
use cryptoki_sys::*;

/// How the token refuses an object of this template, if it does.
///
/// # Safety
/// `template` points to `count` attributes, each with the value that it says.
pub(crate) unsafe fn refusal(
    instance: &Instance,
    plan: &Plan,
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> Option<CK_RV> {
    if plan.max_objects.is_none() && plan.max_value.is_none() && !plan.no_data_objects {
        return None;
    }
    // SAFETY: the caller's.
    let template = unsafe { std::slice::from_raw_parts(template, count as usize) };
    let value = |of: CK_ATTRIBUTE_TYPE| {
        let found = template.iter().find(|one| one.type_ == of)?;
        // SAFETY: as above.
        Some(unsafe { std::slice::from_raw_parts(found.pValue.cast::<u8>(), found.ulValueLen as usize) })
    };
    if value(CKA_TOKEN) != Some(&[CK_TRUE]) {
        return None;
    }
    if plan.no_data_objects && value(CKA_CLASS) == Some(&CKO_DATA.to_ne_bytes()) {
        return Some(CKR_TEMPLATE_INCONSISTENT);
    }
    let too_long = plan.max_value.is_some_and(|max| template.iter().any(|one| one.ulValueLen > max));
    let full = || plan.max_objects.is_some_and(|max| count_objects(instance, session).is_none_or(|count| count >= max));
    (too_long || full()).then_some(CKR_DEVICE_MEMORY)
}

/// How many objects of the token a session sees.
fn count_objects(instance: &Instance, session: CK_SESSION_HANDLE) -> Option<CK_ULONG> {
    let mut yes = CK_TRUE;
    let mut template = CK_ATTRIBUTE { type_: CKA_TOKEN, pValue: (&raw mut yes).cast(), ulValueLen: 1 };
    let (mut found, mut count, mut objects) = (0, 0, [0; 64]);
    // SAFETY: one attribute, and room for as many objects as are asked for.
    unsafe {
        if (instance.real.C_FindObjectsInit?)(session, &raw mut template, 1) != CKR_OK {
            return None;
        }
        while (instance.real.C_FindObjects?)(session, objects.as_mut_ptr(), 64, &raw mut found) == CKR_OK && found > 0 {
            count += found;
        }
        (instance.real.C_FindObjectsFinal?)(session);
    }
    Some(count)
}
