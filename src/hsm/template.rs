//! The attributes of master keys: what they are made with, and what changes with their state.

use super::object::KeyClass;
use crate::key::{KeyState, WrappingAlgorithm};
use crate::token::{Attribute, KeyType, Mechanism, ObjectClass};

/// The length of the RSA keys that are made, in bits.
const RSA_MODULUS_BITS: u64 = 3072;

/// What a search for master keys asks for. `PRIVATE` is part of it always: without any login one
/// can plant a public key of any label and id on some tokens.
pub(super) fn search(class: KeyClass) -> Vec<Attribute> {
    let (object, key_type) = match class {
        KeyClass::Aes => (ObjectClass::SECRET_KEY, KeyType::AES),
        KeyClass::Rsa => (ObjectClass::PRIVATE_KEY, KeyType::RSA),
    };
    vec![Attribute::Class(object), Attribute::KeyType(key_type), Attribute::Token(true), Attribute::Private(true)]
}

/// The data objects of ours: with this label, or all. `PRIVATE` always: whoever has no PIN can neither read one nor
/// plant one that is believed.
pub(super) fn data(label: Option<&str>) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Application(b"keyward".to_vec()),
    ];
    template.extend(label.map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template
}

/// A new key: protected, of one purpose, and allowed nothing yet.
pub(super) fn new_key(class: KeyClass, label: &str, id: [u8; 16]) -> Vec<Attribute> {
    let mut template = search(class);
    template.extend([
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Derive(false),
        // So that its state can change.
        Attribute::Modifiable(true),
    ]);
    if class == KeyClass::Aes {
        template.extend([
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(false),
            Attribute::Wrap(false),
            Attribute::Verify(false),
        ]);
    }
    template
}

/// The public half that `C_GenerateKeyPair` makes beside the private key. It is a session object:
/// public keys on a token are never trusted, so none is left there.
pub(super) fn new_public_key() -> Vec<Attribute> {
    vec![
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::ModulusBits(RSA_MODULUS_BITS.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
        Attribute::Wrap(false),
        Attribute::Verify(false),
    ]
}

pub(super) fn generate(class: KeyClass) -> Mechanism {
    match class {
        KeyClass::Aes => Mechanism::AesKeyGen,
        KeyClass::Rsa => Mechanism::RsaKeyPairGen,
    }
}

/// The usage attributes of a state.
pub(super) fn usage(algorithm: WrappingAlgorithm, state: KeyState) -> Vec<Attribute> {
    let protects = state == KeyState::Active;
    let recovers = matches!(state, KeyState::Active | KeyState::Retired);
    match algorithm {
        WrappingAlgorithm::AesGcm => vec![Attribute::Encrypt(protects), Attribute::Decrypt(recovers)],
        WrappingAlgorithm::AesKw => vec![Attribute::Wrap(protects), Attribute::Unwrap(recovers)],
        _ => vec![Attribute::Decrypt(recovers)],
    }
}

/// What a rotation changes of the versions before: nothing but that they may protect. Another host may
/// disable one at the same moment, and it stays disabled.
pub(super) fn retire(algorithm: WrappingAlgorithm) -> Vec<Attribute> {
    match algorithm {
        WrappingAlgorithm::AesGcm => vec![Attribute::Encrypt(false)],
        WrappingAlgorithm::AesKw => vec![Attribute::Wrap(false)],
        // The host protects, with the newest version.
        _ => Vec::new(),
    }
}
