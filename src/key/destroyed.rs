//! What is known of keys that are not there any more.

use super::{KekId, KeyName, KeyVersion};
use std::time::SystemTime;

/// A key whose versions were all destroyed. Its token remembers it, so that no version number is used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestroyedKey {
    /// The name. A new key of this name begins after `highest_version`.
    pub name: KeyName,
    /// The highest version that was ever made.
    pub highest_version: KeyVersion,
    /// The versions that were destroyed, by version: the latest, as far as they are known.
    pub versions: Vec<DestroyedVersion>,
}

impl DestroyedKey {
    /// A destroyed key of this name.
    #[must_use]
    pub fn new(name: KeyName, highest_version: KeyVersion, versions: Vec<DestroyedVersion>) -> Self {
        Self { name, highest_version, versions }
    }
}

/// A version of a key that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestroyedVersion {
    /// The version.
    pub version: KeyVersion,
    /// The id that it had, which wrapped keys carry.
    pub kek_id: KekId,
    /// When it was destroyed, by the clock of the host that did it, in whole seconds.
    pub destroyed: SystemTime,
}

/// Whether a version may be destroyed although its token cannot remember its number, so that a later version may get
/// the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionReuse {
    /// Such a version is not destroyed.
    #[default]
    Refuse,
    /// It is destroyed all the same.
    Allow,
}

/// What is remembered of the numbers of a key after one of its versions was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedNumbers {
    /// The token knows the highest number, and no number is used twice.
    Remembered,
    /// The token could not write it down. The next version may have a number that was used before.
    Forgotten,
}
