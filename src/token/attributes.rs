//! What an object shows of itself.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType};
use cryptoki_sys::CK_UNAVAILABLE_INFORMATION;
use std::mem::Discriminant;

/// What an object showed of itself.
#[derive(Debug)]
pub(crate) struct Attributes(Vec<Attribute>);

impl Attributes {
    pub(super) fn new(shown: Vec<Attribute>) -> Self {
        Self(shown)
    }

    /// The attribute of the same type as `like`, whose value does not matter.
    fn one(&self, like: Discriminant<Attribute>) -> Option<&Attribute> {
        self.0.iter().find(|attribute| std::mem::discriminant(*attribute) == like)
    }

    /// Whatever the object said of this one.
    pub(crate) fn get(&self, of: AttributeType) -> Option<&Attribute> {
        self.0.iter().find(|attribute| attribute.attribute_type() == of)
    }

    /// A boolean, by the constructor of its attribute: `attributes.flag(Attribute::Sensitive)`.
    pub(crate) fn flag(&self, of: fn(bool) -> Attribute) -> Option<bool> {
        self.one(std::mem::discriminant(&of(true))).map(|found| *found == of(true))
    }

    /// The value of any attribute that is a boolean.
    pub(crate) fn as_flag(attribute: &Attribute) -> Option<bool> {
        use Attribute::*;
        match attribute {
            Token(is) | Private(is) | Sensitive(is) | AlwaysSensitive(is) | Extractable(is) | NeverExtractable(is)
            | Local(is) | Modifiable(is) | Copyable(is) | Destroyable(is) | WrapWithTrusted(is) | Encrypt(is)
            | Decrypt(is) | Wrap(is) | Unwrap(is) | Sign(is) | Verify(is) | Derive(is) => Some(*is),
            _ => None,
        }
    }

    /// The number of a mechanism; none for what stands for "not known" (PKCS#11 3.1, section 4.7.2).
    pub(crate) fn number_of(mechanism: MechanismType) -> Option<u64> {
        Some(*mechanism).filter(|number| *number != CK_UNAVAILABLE_INFORMATION)
    }

    /// A number.
    pub(crate) fn number(&self, of: fn(cryptoki::types::Ulong) -> Attribute) -> Option<usize> {
        match self.one(std::mem::discriminant(&of(0.into())))? {
            Attribute::ValueLen(n) | Attribute::ModulusBits(n) => Some(usize::from(*n)),
            _ => None,
        }
    }

    /// A byte string.
    pub(crate) fn bytes(&self, of: fn(Vec<u8>) -> Attribute) -> Option<&[u8]> {
        match self.one(std::mem::discriminant(&of(Vec::new())))? {
            Attribute::Id(bytes)
            | Attribute::Label(bytes)
            | Attribute::Value(bytes)
            | Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes)
            | Attribute::EcParams(bytes)
            | Attribute::EcPoint(bytes) => Some(bytes),
            _ => None,
        }
    }
}
