//! What can be asked of keys: the names that policies and audit logs have for it.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// What is asked of a key, or of all of them. One for each method of [`KeyProvider`](super::KeyProvider)
/// and [`KeyAdmin`](super::KeyAdmin); scheduling a destruction is `DestroyKey` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// A fresh data key, wrapped.
    GenerateDataKey,
    /// Wrapping a data key that exists.
    Wrap,
    /// Recovering a data key.
    Unwrap,
    /// Moving a wrapped data key: asked of the key that recovers it and of the key that wraps it.
    Rewrap,
    /// Making version 1 of a key.
    CreateKey,
    /// Making the next version.
    RotateKey,
    /// Forbidding a version every use.
    DisableKey,
    /// Allowing a version its use again.
    EnableKey,
    /// Destroying a version, now or at a time that is set.
    DestroyKey,
    /// Taking over a key that another tool made.
    AdoptKey,
    /// Looking at a key.
    DescribeKey,
    /// Looking at all keys.
    ListKeys,
    /// Handing out the public half of an RSA key.
    GetPublicKey,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::GenerateDataKey,
        Self::Wrap,
        Self::Unwrap,
        Self::Rewrap,
        Self::CreateKey,
        Self::RotateKey,
        Self::DisableKey,
        Self::EnableKey,
        Self::DestroyKey,
        Self::AdoptKey,
        Self::DescribeKey,
        Self::ListKeys,
        Self::GetPublicKey,
    ];

    /// The name, as policies and logs have it: `GenerateDataKey`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "GenerateDataKey",
            Self::Wrap => "Wrap",
            Self::Unwrap => "Unwrap",
            Self::Rewrap => "Rewrap",
            Self::CreateKey => "CreateKey",
            Self::RotateKey => "RotateKey",
            Self::DisableKey => "DisableKey",
            Self::EnableKey => "EnableKey",
            Self::DestroyKey => "DestroyKey",
            Self::AdoptKey => "AdoptKey",
            Self::DescribeKey => "DescribeKey",
            Self::ListKeys => "ListKeys",
            Self::GetPublicKey => "GetPublicKey",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Operation {
    type Err = Error;

    /// # Errors
    /// `InvalidArgument` where it is none of them.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("there is no operation '{}'", text.escape_debug()))
                .with_hint(format!("one of {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for operation in Operation::ALL {
            assert_eq!(operation.name().parse::<Operation>().unwrap(), operation);
        }
        assert!("generatedatakey".parse::<Operation>().is_err());
    }
}
