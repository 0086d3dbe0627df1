//! What a token must say of a planned key, for the run that reads it back and for those who check it years later.

use super::plan::{BackupMethod, KeyOrigin, PlannedKey, Usage};
use crate::key::WrappingAlgorithm;
use std::collections::BTreeMap;

/// The attributes that must be as they are here, by their names in the standard: of the key on its token, or of the one
/// that is its backup.
///
/// `CKA_LOCAL`, `CKA_ALWAYS_SENSITIVE` and `CKA_NEVER_EXTRACTABLE` are set by the token alone (PKCS#11 3.1, section 4.6):
/// true where it generated the key and never let it out, false where it came from outside.
#[must_use]
pub fn expected_attributes(key: &PlannedKey, is_backup: bool) -> BTreeMap<&'static str, bool> {
    let mut all = BTreeMap::from([
        ("CKA_TOKEN", true),
        ("CKA_PRIVATE", true),
        ("CKA_SENSITIVE", true),
        ("CKA_EXTRACTABLE", false),
        ("CKA_DERIVE", false),
        ("CKA_SIGN", false),
    ]);
    let is_aes = !key.algorithm.is_rsa();
    for usage in [Usage::Encrypt, Usage::Decrypt, Usage::Wrap, Usage::Unwrap] {
        // A private key has no CKA_ENCRYPT and no CKA_WRAP.
        if is_aes || matches!(usage, Usage::Decrypt | Usage::Unwrap) {
            all.insert(attribute(usage), key.usage.contains(&usage));
        }
    }
    let method = if is_backup { key.backup.method } else { BackupMethod::None };
    let is_imported = key.provenance == KeyOrigin::ImportedComponents;
    match method {
        // What the vendor's tool makes of these, the vendor alone knows.
        BackupMethod::HsmClone => {}
        BackupMethod::TrustedWrap | BackupMethod::ImportedComponents => origin(&mut all, false, false),
        BackupMethod::Sibling => origin(&mut all, true, true),
        BackupMethod::None if is_imported => origin(&mut all, false, false),
        // It was extractable until it was exported; that it is not now is above.
        BackupMethod::None if key.backup.method.exports() => {
            all.insert("CKA_NEVER_EXTRACTABLE", false);
        }
        BackupMethod::None => origin(&mut all, true, true),
    }
    all
}

fn origin(all: &mut BTreeMap<&'static str, bool>, is_local: bool, never_extractable: bool) {
    all.insert("CKA_LOCAL", is_local);
    all.insert("CKA_ALWAYS_SENSITIVE", is_local);
    all.insert("CKA_NEVER_EXTRACTABLE", never_extractable);
}

fn attribute(usage: Usage) -> &'static str {
    match usage {
        Usage::Encrypt => "CKA_ENCRYPT",
        Usage::Decrypt => "CKA_DECRYPT",
        Usage::Wrap => "CKA_WRAP",
        Usage::Unwrap => "CKA_UNWRAP",
    }
}

/// What a key of this algorithm is used for in Keyward: one purpose each.
pub(super) fn usage_of(algorithm: WrappingAlgorithm) -> &'static [Usage] {
    match algorithm {
        WrappingAlgorithm::AesGcm => &[Usage::Encrypt, Usage::Decrypt],
        WrappingAlgorithm::AesKw => &[Usage::Wrap, Usage::Unwrap],
        _ => &[Usage::Decrypt],
    }
}

/// The same for paper.
pub(super) fn sentences(key: &PlannedKey, is_backup: bool) -> Vec<String> {
    let all = expected_attributes(key, is_backup);
    let list = |wanted: bool| {
        let names: Vec<_> = all.iter().filter(|(_, value)| **value == wanted).map(|(name, _)| *name).collect();
        names.join(", ")
    };
    vec![format!("true: {}", list(true)), format!("false: {}", list(false))]
}
