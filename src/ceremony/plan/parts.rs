//! The smaller parts of a plan.

use super::read;
use crate::ceremony::name::Name;
use crate::ceremony::shares::PIN_LEN;
use serde::Deserialize;

/// How the user PIN of a token is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawCustody")]
#[non_exhaustive]
pub enum Custody {
    /// Generated on the token and split among custodians.
    Shared {
        /// The length of the PIN, in characters.
        length: u8,
        /// How many custodians open it together.
        threshold: u8,
        /// Who get a share each, in this order.
        custodians: Vec<Name>,
        /// By which way they get it.
        handout: HandoutWay,
    },
    /// Somebody knows it and types it.
    Typed {
        /// Who.
        by: Name,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCustody {
    length: Option<u8>,
    threshold: Option<u8>,
    custodians: Option<Vec<Name>>,
    handout: Option<HandoutWay>,
    typed_by: Option<Name>,
}

impl TryFrom<RawCustody> for Custody {
    type Error = &'static str;

    fn try_from(raw: RawCustody) -> Result<Self, &'static str> {
        match raw {
            RawCustody {
                length,
                threshold: Some(threshold),
                custodians: Some(custodians),
                handout,
                typed_by: None,
            } => {
                let (length, handout) = (length.unwrap_or(PIN_LEN), handout.unwrap_or_default());
                Ok(Self::Shared { length, threshold, custodians, handout })
            }
            RawCustody { length: None, threshold: None, custodians: None, handout: None, typed_by: Some(by) } => {
                Ok(Self::Typed { by })
            }
            _ => Err("custody is either 'threshold' and 'custodians', or 'typed_by' alone"),
        }
    }
}

/// By which way a custodian gets a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HandoutWay {
    /// It is shown on the screen, which is overwritten afterwards, and written down.
    #[default]
    Screen,
    /// It is printed, and never on the screen.
    Paper,
    /// It goes into a file of its own on a medium of the custodian's, and never on the screen.
    File,
}

impl HandoutWay {
    /// The way as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Screen => "screen",
            Self::Paper => "paper",
            Self::File => "file",
        }
    }
}

/// How a key comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyOrigin {
    /// Generated on its token.
    Generated,
    /// Put together on the host from components that custodians type: the token says `LOCAL` false.
    ImportedComponents,
}

impl KeyOrigin {
    /// The origin as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::ImportedComponents => "imported-components",
        }
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Usage {
    /// `CKA_ENCRYPT`.
    Encrypt,
    /// `CKA_DECRYPT`.
    Decrypt,
    /// `CKA_WRAP`.
    Wrap,
    /// `CKA_UNWRAP`.
    Unwrap,
}

impl Usage {
    /// The usage as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
        }
    }
}

/// How a key survives the loss of its token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Backup {
    /// By which means.
    #[serde(default)]
    pub method: BackupMethod,
    /// The second token.
    #[serde(default)]
    pub token: Option<Name>,
    /// What the key is exported with, where it is.
    #[serde(default, deserialize_with = "read::mechanism")]
    pub mechanism: Option<ExportMechanism>,
}

/// The means by which a key survives the loss of its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackupMethod {
    /// The second token makes a key of its own, and what is protected is wrapped to both. Nothing is ever exported.
    #[default]
    Sibling,
    /// Exported under a public RSA key of the second token that the security officer trusts.
    TrustedWrap,
    /// The same components are imported into the second token.
    ImportedComponents,
    /// Copied with the vendor's tool, and tested here.
    HsmClone,
    /// There is none: the loss of the token is the loss of the key.
    None,
}

impl BackupMethod {
    /// The method as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sibling => "sibling",
            Self::TrustedWrap => "trusted-wrap",
            Self::ImportedComponents => "imported-components",
            Self::HsmClone => "hsm-clone",
            Self::None => "none",
        }
    }

    /// Whether the key leaves its token in a way that this program brings about.
    #[must_use]
    pub fn exports(self) -> bool {
        self == Self::TrustedWrap
    }
}

/// What may export a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportMechanism {
    /// RSA-OAEP with SHA-256.
    RsaOaep,
    /// RSA-OAEP with SHA-1, for tokens that have no other.
    RsaOaepSha1,
}

impl ExportMechanism {
    pub(super) const ALL: [Self; 2] = [Self::RsaOaep, Self::RsaOaepSha1];

    /// The mechanism as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaOaep => "rsa-oaep",
            Self::RsaOaepSha1 => "rsa-oaep-sha1",
        }
    }
}

/// A key that is destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Destruction {
    /// On which token.
    pub token: Name,
    /// `NAME:VERSION`, its label.
    #[serde(deserialize_with = "read::key_label")]
    pub key: String,
}
