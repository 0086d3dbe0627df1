//! Which entries are replaced, and by what. Nothing is written here.

use crate::cipher::Engine;
use crate::envelope::core::Core;
use crate::envelope::open::{Prefix, is_of_the_token, most_telling, open_entry};
use crate::envelope::slots::Half;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, KekId, KeyDescription, KeyName, KeyProvider, KeyRef, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;

/// New entries for a data key that was recovered and checked against the body.
pub(super) struct Plan {
    pub(super) entries: Vec<Vec<u8>>,
    /// Those of them that were not there before.
    new: Vec<WrappedKey>,
    data_key: DataKey,
}

impl Plan {
    /// How many entries are new.
    pub(super) fn new_entries(&self) -> usize {
        self.new.len()
    }

    /// Opens each new entry: it must give the same data key. One that may not be unwrapped here is
    /// of the right length at least.
    pub(super) fn verify(&self, provider: &dyn KeyProvider, core: &Core) -> Result<()> {
        let wrong = || {
            Error::new(ErrorKind::Internal, "the new wrapping does not give the data key back; the file is as it was")
        };
        for wrapped in &self.new {
            match provider.unwrap_data_key(&WrappedKeys::from(wrapped.clone()), &core.context.for_wrapping()) {
                Ok(data_key) if bool::from(data_key.ct_eq(&self.data_key)) => {}
                Err(error) if matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::Unsupported) => {
                    if !wrapped.has_room_for(self.data_key.length()) {
                        return Err(wrong());
                    }
                }
                Err(error) if error.kind() != ErrorKind::NotAuthentic => return Err(error),
                _ => return Err(wrong()),
            }
        }
        Ok(())
    }
}

/// An entry that opened to the data key that the body commits to. Only such are replaced: were one
/// replaced on its word alone, whoever can write the file could have its data key wrapped under a
/// key that never opened it.
struct Opened {
    index: usize,
    wrapped: WrappedKey,
    key: KeyDescription,
    data_key: DataKey,
}

/// The new entries; `None` where all that open are current.
pub(super) fn plan(
    provider: &dyn KeyProvider,
    to: Option<&KeyName>,
    core: &Core,
    half: &Half,
    prefix: &Prefix,
) -> Result<Option<Plan>> {
    let opened = open_all(provider, core, half, prefix)?;
    // What each position becomes; positions that are not mentioned stay.
    let replaced = match to {
        None => to_current(provider, core, &opened)?,
        Some(name) => to_key(provider, name, core, &opened)?,
    };
    if replaced.is_empty() {
        return Ok(None);
    }
    let mut entries: Vec<Vec<Vec<u8>>> = half.entries.iter().map(|entry| vec![entry.clone()]).collect();
    let mut new = Vec::new();
    for Change { index, stays, added } in replaced {
        if !stays {
            entries[index].clear();
        }
        entries[index].extend(added.iter().map(WrappedKey::to_bytes));
        new.extend(added);
    }
    let Some(Opened { data_key, .. }) = opened.into_iter().next() else { return Ok(None) };
    Ok(Some(Plan { entries: entries.concat(), new, data_key }))
}

/// What becomes of one entry, and what comes after it.
struct Change {
    index: usize,
    stays: bool,
    added: Vec<WrappedKey>,
}

/// The entries of each key give way to ones under its current version, where they are not that already.
fn to_current(provider: &dyn KeyProvider, core: &Core, opened: &[Opened]) -> Result<Vec<Change>> {
    let mut names: Vec<&KeyName> = opened.iter().map(|one| &one.key.name).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let of_it: Vec<&Opened> = opened.iter().filter(|one| one.key.name == *name).collect();
        changes.extend(give_way(provider, name, core, opened, &of_it)?);
    }
    Ok(changes)
}

/// All entries that open give way to ones under `name`.
fn to_key(provider: &dyn KeyProvider, name: &KeyName, core: &Core, opened: &[Opened]) -> Result<Vec<Change>> {
    give_way(provider, name, core, opened, &opened.iter().collect::<Vec<_>>())
}

/// Of these entries those stay that are under the current version of a key, and the others give way to
/// those that are missing. With several tokens there is one for each: also for one that was down when the
/// file was written.
fn give_way(
    provider: &dyn KeyProvider,
    name: &KeyName,
    core: &Core,
    opened: &[Opened],
    these: &[&Opened],
) -> Result<Vec<Change>> {
    let target = provider.describe_key(KeyRef::Name(name))?;
    let mut missing: BTreeSet<KekId> = target.also.iter().copied().chain([target.kek_id]).collect();
    // Each stays once.
    let (stay, go): (Vec<&Opened>, Vec<&Opened>) = these.iter().partition(|one| missing.remove(&one.key.kek_id));
    let mut new = Vec::new();
    if !missing.is_empty() {
        new = rewrap(provider, core, opened, name)?;
        new.retain(|one| stay.iter().all(|there| there.key.kek_id != one.kek_id()));
    }
    let mut changes: Vec<Change> =
        go.iter().map(|one| Change { index: one.index, stays: false, added: std::mem::take(&mut new) }).collect();
    if let (Some(last), false) = (stay.last(), new.is_empty()) {
        changes.push(Change { index: last.index, stays: true, added: new });
    }
    Ok(changes)
}

/// Symmetric entries are the source where there are any: what comes through RSA may not move under
/// a symmetric key.
fn rewrap(provider: &dyn KeyProvider, core: &Core, opened: &[Opened], to: &KeyName) -> Result<Vec<WrappedKey>> {
    let symmetric = opened.iter().find(|one| !one.wrapped.algorithm().is_rsa());
    let source = symmetric.or(opened.first()).ok_or_else(Error::not_authentic)?;
    let source = WrappedKeys::from(source.wrapped.clone());
    Ok(provider.rewrap_data_key(&source, &core.context.for_wrapping(), to)?.into_vec())
}

/// The entries that open, at least one.
fn open_all(provider: &dyn KeyProvider, core: &Core, half: &Half, prefix: &Prefix) -> Result<Vec<Opened>> {
    let mut opened = Vec::new();
    let mut failures = Vec::new();
    for (index, entry) in half.entries.iter().enumerate() {
        let Ok(wrapped) = WrappedKey::parse(entry) else { continue };
        if wrapped.algorithm() == WrappingAlgorithm::CustomerKey {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "this file is encrypted under a customer's own key: there is nothing to rewrap",
            )
            .with_hint("re-encrypt it under another key"));
        }
        let answer = provider.describe_key(KeyRef::Kek(wrapped.kek_id())).and_then(|key| {
            let (data_key, _) = open_entry(provider, Engine::default(), core, wrapped.clone(), prefix)?;
            Ok(Opened { index, wrapped, key, data_key })
        });
        match answer {
            Ok(one) => opened.push(one),
            Err(error) => failures.push(error),
        }
    }
    if opened.is_empty() || failures.iter().any(is_of_the_token) { Err(most_telling(failures)) } else { Ok(opened) }
}
