//! Keys whose id was settled before they are made, so that whoever was interrupted finds them again.
//!
//! A key is made as every other ([`create`]); what is new is that it is looked for first, by its id. One that
//! is finished is the answer. One that is not finished is the work of the caller who was interrupted: it is
//! finished where it can be, and never made a second time.

use super::object::MasterKey;
use super::record::Record;
use super::{HsmProvider, canary, create, lookup, rotate};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyName, KeyState, KeyVersion, Provenance, WrappingAlgorithm};
use crate::token::Session;

/// A key that is to be made, with the id that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedKey {
    /// The name.
    pub name: KeyName,
    /// The version; the first, unless another is set.
    pub version: KeyVersion,
    /// What it is to wrap with.
    pub algorithm: WrappingAlgorithm,
    /// Its `CKA_ID`, 16 bytes that no other key has or had.
    pub kek_id: KekId,
}

impl PlannedKey {
    /// The first version of a key.
    #[must_use]
    pub fn new(name: KeyName, algorithm: WrappingAlgorithm, kek_id: KekId) -> Self {
        Self { name, version: KeyVersion::FIRST, algorithm, kek_id }
    }

    /// Another version. Those before it are retired when it is made.
    #[must_use]
    pub fn version(mut self, version: KeyVersion) -> Self {
        self.version = version;
        self
    }

    /// `NAME:VERSION`, as its label on the token has it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

impl HsmProvider {
    /// Makes a key with a planned id, or finds the one that an earlier call made, and finishes it where that
    /// call was interrupted. However often it is called and interrupted, there is one key in the end.
    ///
    /// ```no_run
    /// # let hsm: keyward::hsm::HsmProvider = unimplemented!();
    /// use keyward::{KekId, WrappingAlgorithm, hsm::PlannedKey};
    /// let plan = PlannedKey::new("records".parse()?, WrappingAlgorithm::AesGcm, KekId::from_bytes([7; 16]));
    /// let made = hsm.create_planned(&plan)?;
    /// assert_eq!(hsm.create_planned(&plan)?, made);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    /// `KeyExists` where another key has the name and version, or a key with the planned id is not the planned
    /// one; `KeyAttributes` where the token does not protect the key as it was told to, or the key is not the
    /// one that it was; `Unsupported` where the token lacks the algorithm or keeps no records; and those of
    /// [`KeyAdmin::create_key`](crate::KeyAdmin::create_key).
    pub fn create_planned(&self, plan: &PlannedKey) -> Result<KeyDescription> {
        self.check_able(plan.algorithm)?;
        self.changing(|session| {
            let key = find_or_create(session, plan)?;
            let versions = lookup::versions(session, &plan.name)?;
            rotate::retire(session, versions.iter().filter(|key| key.description.version < plan.version))?;
            Ok(key.description)
        })
    }
}

fn find_or_create(session: &Session<'_>, plan: &PlannedKey) -> Result<MasterKey> {
    if let Some(found) = find(session, plan, Provenance::Generated)? {
        if !found.is_pending() {
            // It is no news that it is there, but it must be the one that was made.
            found.check_usable()?;
            canary::verify(session, &found)?;
            Record::destroy_pending(session, plan.kek_id, &plan.label())?;
            return Ok(found);
        }
        refuse_finished_rival(session, plan)?;
        if let Err(error) = found.check_usable() {
            // Nobody has used it.
            create::discard(session, &found, &plan.label())?;
            return Err(error);
        }
        return win_and_finish(session, plan, &found);
    }
    refuse_finished_rival(session, plan)?;
    let mine = create::generate(session, &plan.label(), plan.algorithm, plan.kek_id)?;
    if Record::find(session, plan.kek_id, &plan.label())?.is_none() {
        create::discard(session, &mine, &plan.label())?;
        return Err(no_records());
    }
    win_and_finish(session, plan, &mine)
}

/// The key with the planned id, which must be the planned one, finished or not.
pub(super) fn find(session: &Session<'_>, plan: &PlannedKey, provenance: Provenance) -> Result<Option<MasterKey>> {
    let found = match lookup::by_kek_id(session, plan.kek_id) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::KeyNotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is = &found.description;
    let same = is.label() == plan.label() && is.algorithm == plan.algorithm && is.provenance == provenance;
    if !same {
        let message = format!(
            "the id that was planned for key '{}' ({}, {provenance}) is that of key '{}' ({}, {})",
            plan.label(),
            plan.algorithm,
            is.label(),
            is.algorithm,
            is.provenance
        );
        return Err(Error::new(ErrorKind::KeyExists, message));
    }
    Ok(Some(found))
}

/// Another key of the name and version that is in use is never replaced.
pub(super) fn refuse_finished_rival(session: &Session<'_>, plan: &PlannedKey) -> Result<()> {
    let claimants = create::claimants(session, &plan.name, plan.version)?;
    let rival = claimants.iter().any(|key| !key.is_pending() && key.description.kek_id != plan.kek_id);
    if rival { Err(create::exists(&plan.label())) } else { Ok(()) }
}

/// Makes a pending key that is there the one that counts. Where this fails it is left as it is, for the next call.
fn win_and_finish(session: &Session<'_>, plan: &PlannedKey, mine: &MasterKey) -> Result<MasterKey> {
    win(session, plan, mine)?;
    let canary = create::enable_and_prove(session, mine).or_else(|error| {
        if error.kind() == ErrorKind::Unsupported {
            // The token does not do this algorithm as the standard says, now or another time.
            create::discard(session, mine, &plan.label())?;
        }
        Err(error)
    })?;
    let key = create::finish(session, mine, canary, Provenance::Generated)?;
    Record::destroy_pending(session, plan.kek_id, &plan.label())?;
    match key.description.state {
        KeyState::Active => Ok(key),
        _ => Err(key.wrong_state("protect")),
    }
}

/// Waits until it is clear that no other key of the name and version is being made.
pub(super) fn win(session: &Session<'_>, plan: &PlannedKey, mine: &MasterKey) -> Result<()> {
    match create::compete(session, &plan.name, plan.version, mine)? {
        create::Standing::Won => Ok(()),
        create::Standing::Lost => Err(create::exists(&plan.label())),
        create::Standing::Again => {
            let message = format!("others keep making and giving up key '{}'", plan.label());
            Err(Error::new(ErrorKind::TokenUnavailable, message).with_hint("try again"))
        }
    }
}

/// Without a record nobody could tell a key that is being made from one that is finished.
pub(super) fn no_records() -> Error {
    Error::new(ErrorKind::Unsupported, "the token keeps no records, without which a planned key is not found again")
        .with_hint("make the key with the token's own tool and `keyward key adopt` it")
}
