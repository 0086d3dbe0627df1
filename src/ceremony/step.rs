//! One step of a ceremony.

use super::name::Name;
use crate::key::KeyName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a step is called, in transcripts and on paper: `key/payments/generate`.
///
/// It is the same whenever a plan is turned into steps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Box<str>);

impl StepId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Any text: an id that no plan has names no step.
impl From<&str> for StepId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for StepId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A step of a ceremony: who confirms it, what is announced before it, and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// What it is called.
    pub id: StepId,
    /// What is done.
    pub kind: StepKind,
    /// Who confirms it before it is done.
    pub confirmed_by: Name,
    /// What is read aloud before it, a sentence or two.
    pub announce: String,
    /// What must be seen after it, each a sentence.
    pub expect: Vec<String>,
}

/// What is done in a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// `host/check`: hashes of tool and modules, clock, swap, core dumps, network.
    CheckHost,
    /// `token/T/identify`: serial number, label, firmware, and that it is as the plan expects it.
    IdentifyToken {
        /// The token.
        token: Name,
    },
    /// `token/T/initialize`: `C_InitToken` with a PIN that the security officer types.
    InitializeToken {
        /// The token.
        token: Name,
    },
    /// `token/T/share:P`: a custodian gets a share of the user PIN and types it back.
    HandOutShare {
        /// The token.
        token: Name,
        /// Who gets it.
        custodian: Name,
        /// Which one it is, from 1.
        index: u8,
    },
    /// `token/T/set-pin`: the user PIN is set. Where it is shared, enough custodians type their shares for it, so that
    /// no PIN is set that cannot be put together again.
    SetPin {
        /// The token.
        token: Name,
    },
    /// `key/K/component:P`: a custodian types a component of a key that is imported, and its check value is compared.
    EnterComponent {
        /// The key.
        key: KeyName,
        /// Who types it.
        custodian: Name,
        /// Which one it is, from 1.
        index: u8,
    },
    /// `key/K/generate`: the key is generated on its token, or imported there.
    MakeKey {
        /// The key.
        key: KeyName,
        /// Its token.
        token: Name,
    },
    /// `key/K/attributes`: what the token says of the key is read back and compared.
    ReadBack {
        /// The key.
        key: KeyName,
        /// Its token.
        token: Name,
    },
    /// `key/K/canary`: the key wraps and unwraps a data key that is known.
    Canary {
        /// The key.
        key: KeyName,
        /// Its token.
        token: Name,
    },
    /// `key/K/backup`: a second token is put in a position to open what the key protects.
    BackUp {
        /// The key.
        key: KeyName,
        /// The second token.
        token: Name,
    },
    /// `key/K/restore-test`: what was protected before opens with the second token alone.
    RestoreTest {
        /// The key.
        key: KeyName,
        /// The second token.
        token: Name,
    },
    /// `token/T/destroy:K`: a key version is destroyed, and the search for it finds nothing.
    DestroyKey {
        /// The token.
        token: Name,
        /// `NAME:VERSION`.
        label: String,
    },
    /// `token/T/inventory`: all objects of the token, compared with the plan.
    Inventory {
        /// The token.
        token: Name,
    },
    /// `witness/P/sign-off`: a witness says that she saw what the transcript tells. She signs it afterwards, on a machine
    /// of her own.
    SignOff {
        /// Who.
        witness: Name,
    },
}

impl StepKind {
    /// The id of this step.
    #[must_use]
    pub fn id(&self) -> StepId {
        match self {
            Self::CheckHost => StepId::from("host/check"),
            Self::IdentifyToken { token } => format!("token/{token}/identify").into(),
            Self::InitializeToken { token } => format!("token/{token}/initialize").into(),
            Self::HandOutShare { token, custodian, .. } => format!("token/{token}/share:{custodian}").into(),
            Self::SetPin { token } => format!("token/{token}/set-pin").into(),
            Self::EnterComponent { key, custodian, .. } => format!("key/{key}/component:{custodian}").into(),
            Self::MakeKey { key, .. } => format!("key/{key}/generate").into(),
            Self::ReadBack { key, .. } => format!("key/{key}/attributes").into(),
            Self::Canary { key, .. } => format!("key/{key}/canary").into(),
            Self::BackUp { key, .. } => format!("key/{key}/backup").into(),
            Self::RestoreTest { key, .. } => format!("key/{key}/restore-test").into(),
            Self::DestroyKey { token, label } => format!("token/{token}/destroy:{label}").into(),
            Self::Inventory { token } => format!("token/{token}/inventory").into(),
            Self::SignOff { witness } => format!("witness/{witness}/sign-off").into(),
        }
    }

    /// Whether people may accept that something here is not as planned: the surroundings. What makes a key what it is,
    /// nobody can.
    #[must_use]
    pub fn may_be_accepted(&self) -> bool {
        matches!(self, Self::CheckHost | Self::IdentifyToken { .. } | Self::Inventory { .. })
    }

    /// The step until whose outcome this one may be done again although it has an outcome.
    ///
    /// A PIN, or a key that comes in components, is in memory only until it is set or imported: a run that is
    /// interrupted before that hands out other shares, or has the components typed again.
    #[must_use]
    pub fn again_until(&self) -> Option<StepId> {
        match self {
            Self::HandOutShare { token, .. } => Some(Self::SetPin { token: token.clone() }.id()),
            // The second token needs the components as well.
            Self::EnterComponent { key, .. } => Some(format!("key/{key}/backup").into()),
            _ => None,
        }
    }
}
