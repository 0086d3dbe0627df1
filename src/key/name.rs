//! Names, versions and ids of master keys.

use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The name of a master key: 1 to 64 of `A-Z a-z 0-9 . _ / -`.
///
/// ```
/// use keyward::KeyName;
/// let name: KeyName = "payments/cards".parse()?;
/// assert_eq!(name.as_str(), "payments/cards");
/// assert!("no spaces".parse::<KeyName>().is_err());
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The managed default key: made on first use, used where no key is named.
    #[must_use]
    pub fn managed_default() -> Self {
        Self("keyward/default".into())
    }

    /// The managed key of this suffix: `keyward/SUFFIX`.
    ///
    /// # Errors
    /// `InvalidArgument` where that is no key name.
    pub fn managed(suffix: &str) -> Result<Self> {
        format!("{}{suffix}", Self::MANAGED).parse()
    }

    /// Whether it names a managed key: one that Keyward makes on first use
    /// ([`provider::managed_key`](crate::provider::managed_key)), and that protects what names no key.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.0.starts_with(Self::MANAGED)
    }

    const MANAGED: &'static str = "keyward/";
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
        if s.is_empty() || s.len() > Self::MAX_LEN || !s.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a key name", s.escape_debug()))
                .with_hint("a key name is 1 to 64 of: A-Z a-z 0-9 . _ / -"));
        }
        Ok(Self(s.into()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The version of a master key, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(NonZeroU32);

impl KeyVersion {
    /// The first version of every key.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The version as a number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The version that a rotation makes; none after 2^32 - 1.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl FromStr for KeyVersion {
    type Err = Error;

    /// Decimal digits without a sign or leading zeros, so that one version has one spelling.
    fn from_str(s: &str) -> Result<Self> {
        let canonical = s.bytes().all(|b| b.is_ascii_digit()) && !s.starts_with('0');
        match s.parse() {
            Ok(version) if canonical => Ok(Self(version)),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a key version", s.escape_debug()))
                .with_hint("a version is a whole number from 1, as in NAME:2")),
        }
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one master key version: what a wrapped key names its KEK by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId([u8; 16]);

impl KekId {
    /// The id from its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id of the token object whose `CKA_ID` this is: the bytes themselves where there are 16,
    /// else their hash (`docs/format.md`, "Wrapped key"). An empty `CKA_ID` has no KEK id.
    #[must_use]
    pub fn from_cka_id(cka_id: &[u8]) -> Option<Self> {
        if cka_id.is_empty() {
            return None;
        }
        if let Ok(exact) = cka_id.try_into() {
            return Some(Self(exact));
        }
        let digest = Sha256::new().chain_update(b"keyward.kek-id.v1\0").chain_update(cka_id).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Some(Self(id))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for KekId {
    type Err = Error;

    /// 32 hexadecimal digits.
    fn from_str(s: &str) -> Result<Self> {
        let invalid = || {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a KEK id", s.escape_debug()))
                .with_hint("a KEK id is 32 hexadecimal digits")
        };
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let value = u128::from_str_radix(s, 16).map_err(|_| invalid())?;
        Ok(Self(value.to_be_bytes()))
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strict() {
        for good in ["a", "A.b_c/d-9", &"x".repeat(64)] {
            assert!(good.parse::<KeyName>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a:1", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn managed_names() {
        assert!(KeyName::managed_default().is_managed());
        assert_eq!(KeyName::managed("default").unwrap(), KeyName::managed_default());
        assert!(KeyName::managed("no spaces").is_err());
        for other in ["keyward", "Keyward/default", "a/keyward/default", "keyward-default"] {
            assert!(!other.parse::<KeyName>().unwrap().is_managed(), "{other}");
        }
    }

    #[test]
    fn versions_have_one_spelling() {
        assert_eq!("7".parse::<KeyVersion>().unwrap().get(), 7);
        for bad in ["", "0", "01", "+1", "-1", "1 ", "4294967296", "one"] {
            assert!(bad.parse::<KeyVersion>().is_err(), "{bad:?}");
        }
        assert_eq!("4294967295".parse::<KeyVersion>().unwrap().next(), None);
    }

    #[test]
    fn kek_ids() {
        let id: KekId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(id.as_bytes()[1], 1);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(KekId::from_cka_id(&[]), None);
        assert_eq!(KekId::from_cka_id(&[7; 16]), Some(KekId([7; 16])));
        // printf 'keyward.kek-id.v1\0\1' | sha256sum
        assert_eq!(KekId::from_cka_id(&[1]).unwrap().to_string(), "51fbceec2fab7409826feb40b08d14d5");
        for bad in ["", "00", "+0102030405060708090a0b0c0d0e0f0", "g00102030405060708090a0b0c0d0e0f"] {
            assert!(bad.parse::<KekId>().is_err(), "{bad}");
        }
    }
}
