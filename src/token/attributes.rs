//! What an object shows of itself.

use cryptoki::object::Attribute;
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

    /// A boolean, by the constructor of its attribute: `attributes.flag(Attribute::Sensitive)`.
    pub(crate) fn flag(&self, of: fn(bool) -> Attribute) -> Option<bool> {
        self.one(std::mem::discriminant(&of(true))).map(|found| *found == of(true))
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
