//! The two kinds of bytes that stand in a log as hexadecimal digits.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

macro_rules! hexadecimal {
    ($(#[$about:meta])* $name:ident, $len:literal) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From lower-case hexadecimal digits: one value has one spelling.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                if text.len() != 2 * $len {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let digit = |b: u8| match b {
                        b'0'..=b'9' => Some(b - b'0'),
                        b'a'..=b'f' => Some(b - b'a' + 10),
                        _ => None,
                    };
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom("not hexadecimal digits of that length"))
            }
        }
    };
}

hexadecimal! {
    /// A SHA-256 hash: of a line, or of bytes.
    Hash, 32
}

hexadecimal! {
    /// A random id: of a log, of a request, or that of a signing key.
    Id, 16
}

impl Hash {
    /// What the first line of a log follows.
    pub const ZERO: Self = Self([0; 32]);

    /// Of these bytes, one after the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl Id {
    /// A random one.
    pub(crate) fn random() -> crate::error::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|cause| {
            crate::error::Error::new(crate::error::ErrorKind::Internal, "the system gives no random bytes")
                .with_source(cause)
        })?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        let id = Id::from_bytes([0xab; 16]);
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        for bad in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &"é".repeat(16)] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
        assert_eq!(Hash::of(&[b"a", b"b"]), Hash::of(&[b"ab"]));
    }
}
