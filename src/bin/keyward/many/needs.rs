//! Which versions of keys the files of a run need, so that an operator knows when one can go.

use super::summary::files;
use crate::app::Keys;
use crate::headers::{Header, header};
use keyward::envelope::InputFile;
use keyward::{ErrorKind, KekId, KeyName, KeyRef, KeyVersion};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Counts files by the keys that they are under.
#[derive(Default)]
pub(crate) struct Needs(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    under: BTreeMap<BTreeSet<KekId>, u64>,
    /// Files of which it cannot be told.
    unknown: u64,
}

/// The versions that are not where files should be.
pub(crate) struct StillNeeded {
    versions: BTreeMap<(KeyName, KeyVersion), u64>,
    /// Files with keys that this provider does not know.
    others: u64,
    unknown: u64,
}

impl Needs {
    /// Looks at a file as it is now.
    pub(crate) fn see(&self, file: keyward::Result<InputFile>) {
        let found = file.map_err(|error| error.to_string()).and_then(|file| header(file.file()));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(Header::Other) => {}
            Ok(Header::Envelope { ids, complete: true }) => {
                *counts.under.entry(ids.into_iter().collect()).or_default() += 1;
            }
            Ok(Header::Envelope { complete: false, .. }) | Err(_) => counts.unknown += 1,
        }
    }

    /// Tells the current versions from the others. Where the files were to go under one key, all but its
    /// current version are others.
    pub(crate) fn resolve(self, provider: &dyn Keys, to: Option<&KeyName>) -> StillNeeded {
        let counts = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut needed = StillNeeded { versions: BTreeMap::new(), others: 0, unknown: counts.unknown };
        let mut known = BTreeMap::new();
        for (ids, number) in counts.under {
            let mut versions = BTreeSet::new();
            let (mut is_other, mut is_unknown) = (false, false);
            for id in ids {
                match known.entry(id).or_insert_with(|| version_of(provider, id)) {
                    Ok(None) => is_other = true,
                    Err(_) => is_unknown = true,
                    Ok(Some((_, _, true))) if to.is_none() => {}
                    Ok(Some((name, _, true))) if to == Some(&*name) => {}
                    Ok(Some((name, version, _))) => drop(versions.insert((name.clone(), *version))),
                }
            }
            needed.others += if is_other { number } else { 0 };
            // A token that does not answer now is no reason to take a key for one that nothing needs.
            needed.unknown += if is_unknown { number } else { 0 };
            for version in versions {
                *needed.versions.entry(version).or_default() += number;
            }
        }
        needed
    }
}

/// Returns its name, its version, and whether that is the current one, or `None` if it is not known here.
fn version_of(provider: &dyn Keys, id: KekId) -> keyward::Result<Option<(KeyName, KeyVersion, bool)>> {
    let found = match provider.describe_key(KeyRef::Kek(id)) {
        Err(error) if matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::PolicyDenied) => return Ok(None),
        found => found?,
    };
    let current = provider.describe_key(KeyRef::Name(&found.name))?;
    Ok(Some((found.name, found.version, current.version == found.version)))
}

impl StillNeeded {
    /// One line for each version, or one that there is none.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .versions
            .iter()
            .map(|((name, version), number)| format!("still needs {name}:{version}: {}", files(*number)))
            .collect();
        if lines.is_empty() && self.unknown == 0 {
            lines.push("nothing needs an older version".into());
        }
        if self.others > 0 {
            lines.push(format!("under keys that are not known here as well: {}", files(self.others)));
        }
        if self.unknown > 0 {
            lines.push(format!("which keys they need cannot be told: {}", files(self.unknown)));
        }
        lines
    }

    pub(crate) fn to_json(&self) -> Value {
        let versions = self
            .versions
            .iter()
            .map(|((name, version), number)| json!({ "key": format!("{name}:{version}"), "files": number }));
        json!({
            "versions": versions.collect::<Vec<_>>(),
            "files_under_other_keys": self.others,
            "files_that_cannot_be_told": self.unknown,
        })
    }
}
