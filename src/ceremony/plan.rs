//! The plan of a ceremony: who makes which keys on which tokens.

mod lint;
mod parts;
mod read;
pub(super) mod secrets;
mod template;

pub use lint::Finding;
pub(super) use lint::is_invisible;
pub use parts::{Backup, BackupMethod, Custody, Destruction, ExportMechanism, HandoutWay, KeyOrigin, Usage};
pub use template::Answers;

use super::minisign::WitnessKey;
use super::name::{Name, Serial};
use crate::audit::Hash;
use crate::key::{KeyName, KeyVersion, WrappingAlgorithm};
use serde::Deserialize;
use std::path::PathBuf;

/// The longest plan, in bytes.
pub(super) const MAX_LEN: usize = 256 * 1024;

/// The plan of a ceremony, as it stands in its TOML file.
///
/// A line that is not known is an error, not a line without effect. There is no place for a secret.
///
/// ```
/// use keyward::ceremony::Plan;
/// # let text = keyward::ceremony::Answers::example().to_toml();
/// let plan = Plan::parse(&text)?;
/// assert!(plan.lint(&text).is_empty());
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// The version of the format: 2. Plans of format 1 are read so that their bundles verify; none is run any more.
    #[serde(deserialize_with = "read::format")]
    pub format: u32,
    /// What the ceremony is called.
    pub id: Name,
    /// The SHA-256 hash of the program that runs it.
    #[serde(deserialize_with = "read::hash")]
    pub tool_sha256: Hash,
    /// Who takes part.
    pub people: Vec<Person>,
    /// On which tokens.
    pub tokens: Vec<PlannedToken>,
    /// Which keys are made.
    #[serde(default)]
    pub keys: Vec<PlannedKey>,
    /// Which keys are destroyed.
    #[serde(default)]
    pub destroy: Vec<Destruction>,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Person {
    /// What the plan calls them.
    pub name: Name,
    /// Their name as it stands on paper.
    #[serde(default, deserialize_with = "read::some_text")]
    pub full_name: Option<String>,
    /// What they do.
    pub roles: Vec<Role>,
    /// A witness's Ed25519 public key, as minisign writes it.
    #[serde(default)]
    pub minisign: Option<WitnessKey>,
}

/// What somebody does in a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Sits at the keyboard and confirms what nobody else does.
    Operator,
    /// Knows the security officer's PIN of tokens.
    Officer,
    /// Keeps a share of a PIN, or brings a component of a key.
    Custodian,
    /// Sees all of it and signs the transcript.
    Witness,
}

impl Role {
    /// The role as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Officer => "officer",
            Self::Custodian => "custodian",
            Self::Witness => "witness",
        }
    }
}

/// A token of a ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PlannedToken {
    /// What the plan calls it.
    pub name: Name,
    /// Its serial number, or that it is any that is not initialized.
    pub serial: Serial,
    /// Its label: what it gets, or where it is not initialized here, what it has.
    #[serde(deserialize_with = "read::label")]
    pub label: String,
    /// The PKCS#11 module.
    #[serde(deserialize_with = "read::module")]
    pub module: PathBuf,
    /// The SHA-256 hash of the module.
    #[serde(deserialize_with = "read::hash")]
    pub module_sha256: Hash,
    /// The version of its firmware, where one is asked for.
    #[serde(default, deserialize_with = "read::some_text")]
    pub firmware: Option<String>,
    /// Whether it is initialized, which destroys whatever is on it.
    pub initialize: bool,
    /// Who types the security officer's PIN, where it is needed.
    #[serde(default)]
    pub officer: Option<Name>,
    /// How the user PIN is kept.
    pub custody: Custody,
    /// How many objects a user sees on it before.
    pub objects_before: u32,
    /// How many objects a user sees on it after. A master key is two: the key and its record.
    pub objects_after: u32,
}

/// A key that is made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PlannedKey {
    /// Its name.
    #[serde(deserialize_with = "read::key_name")]
    pub name: KeyName,
    /// Its version.
    #[serde(default = "read::first", deserialize_with = "read::version")]
    pub version: KeyVersion,
    /// The token that it is made on.
    pub token: Name,
    /// What it wraps with.
    #[serde(deserialize_with = "read::algorithm")]
    pub algorithm: WrappingAlgorithm,
    /// How it comes to be.
    pub provenance: KeyOrigin,
    /// Who brings its components, where it is imported.
    #[serde(default)]
    pub components: Vec<Name>,
    /// What it may be used for.
    pub usage: Vec<Usage>,
    /// Whether it must be true that it never could leave its token.
    #[serde(default = "read::yes")]
    pub never_extractable: bool,
    /// How it survives the loss of its token.
    pub backup: Backup,
}

impl PlannedKey {
    /// `NAME:VERSION`, its label on the token.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

impl Plan {
    /// The person of this name.
    #[must_use]
    pub fn person(&self, name: &Name) -> Option<&Person> {
        self.people.iter().find(|person| person.name == *name)
    }

    /// The token of this name.
    #[must_use]
    pub fn token(&self, name: &Name) -> Option<&PlannedToken> {
        self.tokens.iter().find(|token| token.name == *name)
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &KeyName) -> Option<&PlannedKey> {
        self.keys.iter().find(|key| key.name == *name)
    }

    /// Those who have this role, in the plan's order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(move |person| person.roles.contains(&role))
    }

    /// Those who sign, with their keys. One without a key is not among them, and [`lint`](Self::lint) tells of it.
    pub fn witnesses(&self) -> impl Iterator<Item = (&Name, &WitnessKey)> {
        self.with_role(Role::Witness).filter_map(|person| Some((&person.name, person.minisign.as_ref()?)))
    }

    /// The SHA-256 hash of a plan's text.
    #[must_use]
    pub fn hash(text: &str) -> Hash {
        Hash::of(&[text.as_bytes()])
    }
}
