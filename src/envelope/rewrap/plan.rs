//! Which entries are replaced, and by what. Nothing is written here.

use crate::cipher::Engine;
use crate::envelope::core::Core;
use crate::envelope::open::{Prefix, open_entry};
use crate::envelope::slots::Half;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKey, KeyDescription, KeyName, KeyProvider, KeyRef, WrappedKey, WrappedKeys, WrappingAlgorithm};

/// New entries for a data key that was recovered and checked against the body.
pub(super) struct Plan {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) data_key: DataKey,
}

/// An entry under a key that the provider knows.
struct Candidate {
    index: usize,
    wrapped: WrappedKey,
    key: KeyDescription,
}

/// The new entries; `None` where all that the provider knows are current.
pub(super) fn plan(
    provider: &dyn KeyProvider,
    to: Option<&KeyName>,
    core: &Core,
    half: &Half,
    prefix: &Prefix,
) -> Result<Option<Plan>> {
    let known = known(provider, half)?;
    match to {
        None => to_current(provider, core, half, prefix, known),
        Some(name) => to_key(provider, name, core, half, prefix, known),
    }
}

fn known(provider: &dyn KeyProvider, half: &Half) -> Result<Vec<Candidate>> {
    let mut known = Vec::new();
    for (index, entry) in half.entries.iter().enumerate() {
        let Ok(wrapped) = WrappedKey::parse(entry) else { continue };
        if wrapped.algorithm() == WrappingAlgorithm::CustomerKey {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "this file is encrypted under a customer's own key: there is nothing to rewrap",
            )
            .with_hint("re-encrypt it under another key"));
        }
        match provider.describe_key(KeyRef::Kek(wrapped.kek_id())) {
            Ok(key) => known.push(Candidate { index, wrapped, key }),
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
            Err(error) => return Err(error),
        }
    }
    if known.is_empty() {
        return Err(Error::new(
            ErrorKind::KeyNotFound,
            "none of the keys that this file is encrypted under may be used here",
        )
        .with_hint("`keyward inspect` lists the KEK ids of a file"));
    }
    Ok(known)
}

/// Every entry under an older version gives way to one under the current version of its key.
fn to_current(
    provider: &dyn KeyProvider,
    core: &Core,
    half: &Half,
    prefix: &Prefix,
    known: Vec<Candidate>,
) -> Result<Option<Plan>> {
    let mut stale = Vec::new();
    for candidate in &known {
        let current = provider.describe_key(KeyRef::Name(&candidate.key.name))?;
        if current.kek_id != candidate.key.kek_id {
            stale.push((candidate.index, candidate.key.name.clone()));
        }
    }
    if stale.is_empty() {
        return Ok(None);
    }
    let (source, data_key) = first_that_opens(provider, core, prefix, &known)?;
    let mut entries: Vec<Vec<Vec<u8>>> = half.entries.iter().map(|entry| vec![entry.clone()]).collect();
    for (index, name) in stale {
        let wrapped = provider.rewrap_data_key(&source, &core.context, &name)?;
        entries[index] = wrapped.iter().map(WrappedKey::to_bytes).collect();
    }
    Ok(Some(Plan { entries: entries.concat(), data_key }))
}

/// All entries that open give way to one under `name`.
fn to_key(
    provider: &dyn KeyProvider,
    name: &KeyName,
    core: &Core,
    half: &Half,
    prefix: &Prefix,
    known: Vec<Candidate>,
) -> Result<Option<Plan>> {
    let target = provider.describe_key(KeyRef::Name(name))?;
    let (source, data_key) = first_that_opens(provider, core, prefix, &known)?;
    // A key that is known and does not open is left alone: it is not ours to take away.
    let opens = |candidate: &&Candidate| {
        open_entry(provider, Engine::default(), core, candidate.wrapped.clone(), prefix).is_ok()
    };
    let opening: Vec<_> = known.iter().filter(opens).collect();
    if let [only] = &opening[..]
        && only.key.kek_id == target.kek_id
    {
        return Ok(None);
    }
    let first = opening.first().map_or(0, |candidate| candidate.index);
    let wrapped = provider.rewrap_data_key(&source, &core.context, name)?;
    let mut entries = Vec::new();
    for (index, entry) in half.entries.iter().enumerate() {
        if index == first {
            entries.extend(wrapped.iter().map(WrappedKey::to_bytes));
        }
        if !opening.iter().any(|candidate| candidate.index == index) {
            entries.push(entry.clone());
        }
    }
    Ok(Some(Plan { entries, data_key }))
}

/// The first entry whose data key the body commits to. Symmetric ones are tried first: what was
/// recovered through RSA may not move under them.
fn first_that_opens(
    provider: &dyn KeyProvider,
    core: &Core,
    prefix: &Prefix,
    known: &[Candidate],
) -> Result<(WrappedKeys, DataKey)> {
    let mut refused = None;
    let (rsa, symmetric): (Vec<_>, Vec<_>) = known.iter().partition(|candidate| candidate.wrapped.algorithm().is_rsa());
    for candidate in symmetric.into_iter().chain(rsa) {
        match open_entry(provider, Engine::default(), core, candidate.wrapped.clone(), prefix) {
            Ok((data_key, _)) => return Ok((candidate.wrapped.clone().into(), data_key)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(Error::not_authentic))
}
