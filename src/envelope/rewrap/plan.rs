//! Which entries are replaced, and by what. Nothing is written here.

use crate::cipher::Engine;
use crate::envelope::core::Core;
use crate::envelope::open::{Prefix, most_actionable, open_entry, symmetric_first};
use crate::envelope::slots::{SlotCopy, SlotsKey};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, KekId, KeyName, KeyProvider, KeyRef, Origin, UnwrappedKey, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;

/// New entries for a data key that was recovered and checked against the body.
pub(super) struct Plan {
    entries: Vec<Vec<u8>>,
    /// Those of them that were not there before.
    new: Vec<WrappedKey>,
    data_key: DataKey,
    slots_key: SlotsKey,
}

impl Plan {
    /// Returns the slot copy that follows `copy`, with the planned entries.
    pub(super) fn successor(&self, copy: &SlotCopy) -> Result<SlotCopy> {
        copy.successor(self.entries.clone(), &self.slots_key)
    }

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
                Ok(unwrapped) if bool::from(unwrapped.data_key.ct_eq(&self.data_key)) => {}
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
/// replaced on its word alone, an attacker who can write the file could have its data key wrapped under a
/// key that never opened it.
struct OpenedEntry {
    index: usize,
    unwrapped: UnwrappedKey,
}

impl OpenedEntry {
    fn kek_id(&self) -> KekId {
        self.unwrapped.wrapped.kek_id()
    }
}

/// Returns the new entries, or `None` if all that open are current.
pub(super) fn plan(
    provider: &dyn KeyProvider,
    to: Option<&KeyName>,
    origin: Origin,
    core: &Core,
    copy: &SlotCopy,
    prefix: &Prefix,
) -> Result<Option<Plan>> {
    let (opened, is_away) = open_all(provider, core, copy, prefix)?;
    let Some(first) = opened.first() else { return Err(Error::not_authentic()) };
    // All that opened gave the same data key: the body commits to it.
    let slots_key = SlotsKey::derive(&first.unwrapped.data_key, core)?;
    copy.check(&slots_key)?;
    // What each position becomes; positions that are not mentioned stay.
    let moves = Moves { provider, origin, core, opened: &opened, is_away };
    let replaced = match to {
        None => moves.to_current()?,
        Some(name) => moves.replace_stale_entries(name, &opened.iter().collect::<Vec<_>>())?,
    };
    if replaced.is_empty() {
        return Ok(None);
    }
    let mut entries: Vec<Vec<Vec<u8>>> = copy.entries.iter().map(|entry| vec![entry.clone()]).collect();
    let mut new = Vec::new();
    for Change { index, stays, added } in replaced {
        if !stays {
            entries[index].clear();
        }
        entries[index].extend(added.iter().map(WrappedKey::to_bytes));
        new.extend(added);
    }
    let data_key = opened.into_iter().next().map(|one| one.unwrapped.data_key).ok_or_else(Error::not_authentic)?;
    Ok(Some(Plan { entries: entries.concat(), new, data_key, slots_key }))
}

/// What replaces or follows one entry.
struct Change {
    index: usize,
    stays: bool,
    added: Vec<WrappedKey>,
}

/// What is needed to move entries to other keys.
struct Moves<'a> {
    provider: &'a dyn KeyProvider,
    origin: Origin,
    core: &'a Core,
    /// Symmetric ones first.
    opened: &'a [OpenedEntry],
    /// Whether a token that may open other entries did not answer.
    is_away: bool,
}

impl Moves<'_> {
    /// Replaces the entries of each key by ones under its current version, unless they are that already.
    fn to_current(&self) -> Result<Vec<Change>> {
        let mut names: Vec<&KeyName> = self.opened.iter().map(|one| &one.unwrapped.key.name).collect();
        names.sort();
        names.dedup();
        let mut changes = Vec::new();
        for name in names {
            let of_it: Vec<_> = self.opened.iter().filter(|one| one.unwrapped.key.name == *name).collect();
            changes.extend(self.replace_stale_entries(name, &of_it)?);
        }
        Ok(changes)
    }

    /// Of `these` entries those stay that are under the current version of a key, and the others are replaced by those
    /// that are missing. With several tokens there is one for each: also for one that was down when the file was
    /// written.
    ///
    /// An entry goes only if every token has a current entry afterwards. If a token is away, or cannot say which its
    /// key is, entries are added and none goes: it may be the only one with which that token opens the file.
    fn replace_stale_entries(&self, name: &KeyName, these: &[&OpenedEntry]) -> Result<Vec<Change>> {
        let target = self.provider.describe_key(KeyRef::Name(name))?;
        let mut missing: BTreeSet<KekId> = target.also.iter().copied().chain([target.kek_id]).collect();
        // Each stays once.
        let (mut stay, mut go): (Vec<&OpenedEntry>, Vec<&OpenedEntry>) =
            these.iter().partition(|one| missing.remove(&one.kek_id()));
        let mut new = Vec::new();
        if !missing.is_empty() {
            new = self.rewrap(name)?;
            missing.retain(|id| new.iter().all(|one| one.kek_id() != *id));
            new.retain(|one| stay.iter().all(|there| there.kek_id() != one.kek_id()));
        }
        let has_all = missing.is_empty() && !target.siblings_unknown && !self.is_away;
        if !has_all {
            stay.append(&mut go);
        }
        let mut changes: Vec<Change> =
            go.iter().map(|one| Change { index: one.index, stays: false, added: std::mem::take(&mut new) }).collect();
        if let (Some(last), false) = (stay.last(), new.is_empty()) {
            changes.push(Change { index: last.index, stays: true, added: new });
        }
        Ok(changes)
    }

    /// Wraps the data key under `to`. A symmetric entry is the source if there is one: what comes through RSA may not
    /// move under a symmetric key.
    fn rewrap(&self, to: &KeyName) -> Result<Vec<WrappedKey>> {
        let source = self.opened.first().ok_or_else(Error::not_authentic)?;
        let source = WrappedKeys::from(source.unwrapped.wrapped.clone());
        let context = self.core.context.for_wrapping();
        Ok(self.provider.rewrap_data_key(&source, &context, to, self.origin)?.into_vec())
    }
}

/// Opens the entries that open, at least one, and returns symmetric ones first, and whether a token did not answer.
fn open_all(
    provider: &dyn KeyProvider,
    core: &Core,
    copy: &SlotCopy,
    prefix: &Prefix,
) -> Result<(Vec<OpenedEntry>, bool)> {
    let parsed: Vec<_> = copy.entries.iter().map(|entry| WrappedKey::parse(entry).ok()).collect();
    if parsed.iter().flatten().any(|entry| entry.algorithm() == WrappingAlgorithm::CustomerKey) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "this file is encrypted under a customer's own key: there is nothing to rewrap",
        )
        .with_hint("re-encrypt it under another key"));
    }
    let mut opened = Vec::new();
    let mut failures = Vec::new();
    for (index, wrapped) in symmetric_first(&parsed) {
        match open_entry(provider, Engine::default(), core, wrapped.clone(), prefix) {
            Ok((unwrapped, _)) => opened.push(OpenedEntry { index, unwrapped }),
            Err(error) => failures.push(error),
        }
    }
    let is_away = failures.iter().any(|error| error.kind().is_unavailable());
    if opened.is_empty() { Err(most_actionable(failures)) } else { Ok((opened, is_away)) }
}
