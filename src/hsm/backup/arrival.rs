//! A key that comes to a token rather than being generated there: pending until it is proven, as every other.

use super::super::claim::{self, Abandoned};
use super::super::object::{KeyClass, MasterKey};
use super::super::planned::{self, PlannedKey};
use super::super::restore::Canary;
use super::super::{create, lookup, template};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyState, Provenance};
use crate::token::{Attribute, ObjectHandle, Session};

/// How far a key has come on one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Absent,
    /// It is there and nobody uses it.
    Pending,
    Finished,
}

pub(super) fn stage(session: &Session<'_>, plan: &PlannedKey, provenance: Provenance) -> Result<Stage> {
    Ok(match planned::find(session, plan, provenance)? {
        None => Stage::Absent,
        Some(key) if key.is_pending() => Stage::Pending,
        Some(_) => Stage::Finished,
    })
}

/// The key, which must be there.
pub(super) fn expect(session: &Session<'_>, plan: &PlannedKey, provenance: Provenance) -> Result<MasterKey> {
    planned::find(session, plan, provenance)?
        .ok_or_else(|| Error::new(ErrorKind::KeyNotFound, format!("key '{}' is gone", plan.label())))
}

/// What a key has when it arrives: protected, allowed nothing, and its length left to what comes.
pub(super) fn template(plan: &PlannedKey) -> Vec<Attribute> {
    let mut template = template::new_key(KeyClass::Aes, &plan.label(), *plan.kek_id.as_bytes());
    // SoftHSM refuses to be told when it unwraps. What came is looked at afterwards.
    template.retain(|one| !matches!(one, Attribute::ValueLen(_)));
    template
}

/// Writes the record, lets the key arrive, and checks that it is protected. The record is there first, so that
/// the key is known as one that is not finished.
pub(super) fn arrive(
    session: &Session<'_>,
    plan: &PlannedKey,
    provenance: Provenance,
    arrival: impl FnOnce() -> Result<ObjectHandle>,
) -> Result<MasterKey> {
    let draft = planned::write_draft(session, plan, provenance)?;
    let arrived = arrival().and_then(|handle| {
        let key = lookup::read(session, handle, KeyClass::Aes)?.ok_or_else(|| {
            Error::new(ErrorKind::TokenUnavailable, "the token does not show the key that has just arrived")
        })?;
        key.check_usable()?;
        Ok(key)
    });
    arrived.inspect_err(|_| {
        // The token may have it although it says that it has not. Nobody has used it.
        if let Err(left) = create::clear_up(session, &draft) {
            tracing::warn!(label = plan.label(), %left, "what was arriving may be left behind");
        }
    })
}

/// Lets a pending key do what it is for. Nobody but its maker uses it before its record is finished.
pub(super) fn enable(session: &Session<'_>, key: &MasterKey) -> Result<()> {
    match key.is_pending() {
        true => session.set_attributes(key.handle, template::usage(key.description.algorithm, KeyState::Active)),
        false => Ok(()),
    }
}

/// Finishes a pending key, whose canary was opened by whoever had to.
pub(super) fn finish(session: &Session<'_>, plan: &PlannedKey, key: MasterKey, canary: &Canary) -> Result<MasterKey> {
    let key = match key.is_pending() {
        false => key,
        true => {
            planned::win(session, plan, &key)?;
            let numbers = planned::refuse_used_number(session, plan)?;
            let draft = planned::resume(session, plan, &key, &numbers)?;
            create::finish(session, &key, canary.wrapped().clone(), draft)?
        }
    };
    planned::tidy(session, plan)?;
    Ok(key)
}

/// Destroys a pending key and its record.
pub(super) fn discard(session: &Session<'_>, plan: &PlannedKey, provenance: Provenance) -> Result<()> {
    match planned::find(session, plan, provenance)? {
        Some(key) if key.is_pending() => match claim::destroy_abandoned(session, &key)? {
            Abandoned::Destroyed => Ok(()),
            // Another process has the same plan, and was faster.
            Abandoned::NotAbandoned => Err(create::exists(&plan.label())),
        },
        Some(key) => Err(key.wrong_state("be given up")),
        None => Ok(()),
    }
}
