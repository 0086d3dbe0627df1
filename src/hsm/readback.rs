//! Reading back what a token says of a key: every attribute that matters for its security, as it is claimed.
//!
//! A claim is a claim. Over PKCS#11 no token signs what it says of an AES key, so whoever trusts these values
//! trusts the module. What can be proven is proven otherwise: that a key opens what it wrapped (`restore`).

use super::object::{KeyClass, MasterKey};
use super::{HsmProvider, lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyState, PublicKey, WrappingAlgorithm};
use crate::token::{Attribute, AttributeType, Attributes, Repeat, Session};
use std::fmt;

/// What a token says an attribute is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// A boolean.
    Flag(bool),
    /// A number: a length, or a mechanism.
    Number(u64),
    /// Bytes, which are told in hexadecimal digits.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// The token does not tell it, or says something that makes no sense.
    NotTold,
}

/// An attribute of a key with what its token says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "governed", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AttributeClaim {
    /// The attribute's name in the standard: `CKA_SENSITIVE`.
    pub name: &'static str,
    /// What it is said to be.
    pub claim: Claim,
}

/// The check value of an AES key: the first three bytes of a block of zeros encrypted with it. It tells keys
/// apart and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckValue {
    /// The token says so (`CKA_CHECK_VALUE`).
    Told([u8; 3]),
    /// The token does not say, and encrypted the block when asked to.
    Computed([u8; 3]),
}

impl CheckValue {
    /// The three bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 3] {
        match self {
            Self::Told(bytes) | Self::Computed(bytes) => bytes,
        }
    }
}

/// All that is read back of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyReport {
    /// The key.
    pub key: KeyDescription,
    /// Its attributes, always in this order and always all of them.
    pub attributes: Vec<AttributeClaim>,
    /// Its check value; none for RSA keys, and for an AES key where the token neither tells it nor lets the key
    /// encrypt a block.
    pub check_value: Option<CheckValue>,
    /// The public half of an RSA key.
    pub public_key: Option<PublicKey>,
}

impl KeyReport {
    /// What the token says of the attribute of this name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Claim> {
        self.attributes.iter().find(|one| one.name == name).map(|one| &one.claim)
    }
}

/// What is read, and how it is called.
const READ: [(AttributeType, &str); 24] = [
    (AttributeType::Label, "CKA_LABEL"),
    (AttributeType::Id, "CKA_ID"),
    (AttributeType::Token, "CKA_TOKEN"),
    (AttributeType::Private, "CKA_PRIVATE"),
    (AttributeType::Sensitive, "CKA_SENSITIVE"),
    (AttributeType::AlwaysSensitive, "CKA_ALWAYS_SENSITIVE"),
    (AttributeType::Extractable, "CKA_EXTRACTABLE"),
    (AttributeType::NeverExtractable, "CKA_NEVER_EXTRACTABLE"),
    (AttributeType::Local, "CKA_LOCAL"),
    (AttributeType::KeyGenMechanism, "CKA_KEY_GEN_MECHANISM"),
    (AttributeType::Modifiable, "CKA_MODIFIABLE"),
    (AttributeType::Copyable, "CKA_COPYABLE"),
    (AttributeType::Destroyable, "CKA_DESTROYABLE"),
    (AttributeType::WrapWithTrusted, "CKA_WRAP_WITH_TRUSTED"),
    (AttributeType::Encrypt, "CKA_ENCRYPT"),
    (AttributeType::Decrypt, "CKA_DECRYPT"),
    (AttributeType::Wrap, "CKA_WRAP"),
    (AttributeType::Unwrap, "CKA_UNWRAP"),
    (AttributeType::Sign, "CKA_SIGN"),
    (AttributeType::Verify, "CKA_VERIFY"),
    (AttributeType::Derive, "CKA_DERIVE"),
    (AttributeType::ValueLen, "CKA_VALUE_LEN"),
    (AttributeType::CheckValue, "CKA_CHECK_VALUE"),
    (AttributeType::Modulus, "CKA_MODULUS"),
];

impl HsmProvider {
    /// Reads back a key: its attributes as the token claims them, and its check value.
    ///
    /// # Errors
    /// `KeyNotFound` where there is no key of this id, `DuplicateKey` where there are several, and those of the
    /// token.
    pub fn read_back(&self, id: KekId) -> Result<KeyReport> {
        self.token.run(Repeat::Once, |session| {
            let key = lookup::by_kek_id(session, id)?;
            self.check_named(&key.description.name)?;
            let attributes = attributes(session, &key)?;
            let check_value = check_value(session, &key, &attributes)?;
            Ok(KeyReport { key: self.judged(key.description), attributes, check_value, public_key: key.public })
        })
    }
}

fn attributes(session: &Session<'_>, key: &MasterKey) -> Result<Vec<AttributeClaim>> {
    let types = READ.map(|(of, _)| of);
    let gone = || Error::new(ErrorKind::KeyNotFound, format!("key '{}' is gone", key.description.label()));
    let shown = session.attributes(key.handle, &types)?.ok_or_else(gone)?;
    Ok(READ.map(|(of, name)| AttributeClaim { name, claim: claim(&shown, of) }).into())
}

fn claim(shown: &Attributes, of: AttributeType) -> Claim {
    let Some(attribute) = shown.get(of) else { return Claim::NotTold };
    if let Some(flag) = Attributes::as_flag(attribute) {
        return Claim::Flag(flag);
    }
    match attribute {
        Attribute::Label(bytes) => match String::from_utf8(bytes.clone()) {
            Ok(text) => Claim::Text(text),
            Err(_) => Claim::Bytes(bytes.clone()),
        },
        Attribute::Id(bytes) | Attribute::CheckValue(bytes) | Attribute::Modulus(bytes) if !bytes.is_empty() => {
            Claim::Bytes(bytes.clone())
        }
        Attribute::ValueLen(len) => u64::try_from(usize::from(*len)).map_or(Claim::NotTold, Claim::Number),
        Attribute::KeyGenMechanism(mechanism) => {
            Attributes::number_of(*mechanism).map_or(Claim::NotTold, Claim::Number)
        }
        _ => Claim::NotTold,
    }
}

/// The check value that the token tells, else what it computes where the key may encrypt.
///
/// The block of zeros under an AES-GCM key is the key's hash subkey, of which this gives away 24 of 128 bits
/// (NIST SP 800-38D, section 6.4). That is what `CKA_CHECK_VALUE` is on every token, and leaves 104.
fn check_value(session: &Session<'_>, key: &MasterKey, told: &[AttributeClaim]) -> Result<Option<CheckValue>> {
    if key.class == KeyClass::Rsa {
        return Ok(None);
    }
    let told = told.iter().find(|one| one.name == "CKA_CHECK_VALUE").map(|one| &one.claim);
    if let Some(Claim::Bytes(bytes)) = told
        && let Ok(bytes) = <[u8; 3]>::try_from(bytes.as_slice())
    {
        return Ok(Some(CheckValue::Told(bytes)));
    }
    let KeyDescription { algorithm, state, .. } = key.description;
    if algorithm != WrappingAlgorithm::AesGcm || state != KeyState::Active {
        return Ok(None);
    }
    match session.encrypt_zeros(key.handle) {
        Ok(block) => Ok(block.first_chunk().copied().map(CheckValue::Computed)),
        // Tokens that have no such mechanism, or do not let this key have it.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::KeyState) => Ok(None),
        Err(error) => Err(error),
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Text(text) => f.write_str(text),
            Self::NotTold => f.write_str("not told"),
        }
    }
}

/// A boolean, a number, text, or nothing where it is not told. Bytes are text in hexadecimal digits.
#[cfg(feature = "governed")]
impl serde::Serialize for Claim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Bytes(_) | Self::Text(_) => serializer.collect_str(self),
            Self::NotTold => serializer.serialize_none(),
        }
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
