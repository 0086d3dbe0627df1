//! How a master key came to be where it is.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// Where a master key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// Generated on its token by Keyward.
    Generated,
    /// Made by another tool and taken over with `adopt`.
    Adopted,
    /// Generated on a token and wrapped there under a public key of the token that keeps it as well, by
    /// Keyward ([`trusted_wrap`](crate::hsm::backup::trusted_wrap)). It could be extracted for a moment.
    TrustedWrap,
    /// Put together from components that people brought
    /// ([`import_components`](crate::hsm::backup::import_components)). This host's memory has held it.
    Components,
    /// Made by another tool; nothing is recorded about it.
    Foreign,
}

impl Provenance {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Generated, Self::Adopted, Self::TrustedWrap, Self::Components, Self::Foreign];

    /// Whether keys that came so are used only by who says that they may be: they were outside a token once.
    #[must_use]
    pub fn must_be_accepted(self) -> bool {
        matches!(self, Self::TrustedWrap | Self::Components)
    }

    /// The provenance as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Adopted => "adopted",
            Self::TrustedWrap => "trusted-wrap",
            Self::Components => "components",
            Self::Foreign => "foreign",
        }
    }
}

impl FromStr for Provenance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|one| one.name()).collect();
            Error::new(ErrorKind::InvalidArgument, format!("a provenance is one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
