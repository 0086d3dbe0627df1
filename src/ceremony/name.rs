//! Names of people, tokens and ceremonies, and serial numbers.

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The name of a person, a token or a ceremony: 1 to 40 of `a-z 0-9 -`, neither first nor last a `-`.
///
/// It stands in step ids and in names of files, and is read aloud.
///
/// ```
/// use keyward::ceremony::Name;
/// let name: Name = "alice".parse()?;
/// assert_eq!(name.as_str(), "alice");
/// assert!("../alice".parse::<Name>().is_err());
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 40;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=Self::MAX_LEN).contains(&s.len()) && s.bytes().all(allowed);
        if !good || s.starts_with('-') || s.ends_with('-') {
            // It is not repeated: it may be a PIN in the wrong place.
            return Err(Error::new(ErrorKind::InvalidArgument, "a name here is 1 to 40 of: a-z 0-9 -"));
        }
        Ok(Self(s.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which token a plan means: one with this serial number, or any that is not initialized yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Serial {
    /// Any that is not initialized. Its serial number is recorded once it is: SoftHSM has none before.
    Free,
    /// The one with this serial number, as the token shows it without trailing blanks.
    Is(Box<str>),
}

impl Serial {
    /// Whether a token with this serial number is the one that is meant.
    #[must_use]
    pub fn admits(&self, serial: &str) -> bool {
        match self {
            Self::Free => true,
            Self::Is(own) => **own == *serial,
        }
    }
}

impl FromStr for Serial {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        // PKCS#11 3.1, section 3.2 (CK_TOKEN_INFO): 16 characters, filled up with blanks.
        let good = (1..=16).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic());
        match s {
            "free" => Ok(Self::Free),
            _ if good => Ok(Self::Is(s.into())),
            _ => {
                Err(Error::new(ErrorKind::InvalidArgument, "a serial is 1 to 16 characters without blanks, or 'free'"))
            }
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Free => "free",
            Self::Is(serial) => serial,
        })
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_ids() {
        for good in ["a", "alice", "2026-11-payments", &"x".repeat(40)] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "..", "a:b", "é", &"x".repeat(41)] {
            let error = bad.parse::<Name>().unwrap_err();
            assert_eq!(error.to_string(), "a name here is 1 to 40 of: a-z 0-9 -", "{bad}");
        }
    }

    #[test]
    fn a_free_serial_admits_any_and_another_only_itself() {
        assert!("free".parse::<Serial>().unwrap().admits("0123"));
        let one: Serial = "0123abcd".parse().unwrap();
        assert!(one.admits("0123abcd") && !one.admits("0123abce"));
        for bad in ["", "a b", "12345678901234567", "é"] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }
}
