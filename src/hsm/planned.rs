//! Keys whose id was settled before they are made, so that whoever was interrupted finds them again.
//!
//! A key is made as every other ([`create`]); what is new is that it is looked for first, by its id. One that
//! is finished is the answer. One that is not finished is the work of the caller who was interrupted: it is
//! finished where it can be, and never made a second time.

use super::create::Draft;
use super::numbering::Numbers;
use super::object::MasterKey;
use super::record::Record;
use super::{HsmProvider, canary, create, lookup, rotate, tombstone};
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

    /// Another version, whose number must be higher than any that the name had. Those before it are retired when it
    /// is made.
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
    /// one; `VersionReuse` if the version's number, or a higher one, was used before; `KeyAttributes` if the token
    /// does not protect the key as the template says, or the key is not the one that it was; `Unsupported` where
    /// the token lacks the algorithm or keeps no records; and those of
    /// [`KeyAdmin::create_key`](crate::KeyAdmin::create_key).
    pub fn create_planned(&self, plan: &PlannedKey) -> Result<KeyDescription> {
        self.check_able(plan.algorithm)?;
        self.change_key(&plan.name, |session| {
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
            tidy(session, plan)?;
            return Ok(found);
        }
        let numbers = refuse_used_number(session, plan)?;
        if let Err(error) = found.check_usable() {
            // Nobody has used it.
            create::discard(session, &found, &plan.label())?;
            return Err(error);
        }
        let draft = resume(session, plan, &found, &numbers)?;
        return win_and_finish(session, plan, &found, draft);
    }
    let draft = write_draft(session, plan, Provenance::Generated)?;
    let mine = create::generate_key(session, &draft)?;
    win_and_finish(session, plan, &mine, draft)
}

/// Writes the record of a planned key that is not there yet.
pub(super) fn write_draft(session: &Session<'_>, plan: &PlannedKey, provenance: Provenance) -> Result<Draft> {
    let metadata = refuse_used_number(session, plan)?.metadata(session, plan.version)?;
    let record = Record::new(plan.kek_id, plan.algorithm, provenance, metadata);
    let mut draft = Draft::new(plan.label(), record);
    draft.write_or_refuse(session, no_records)?;
    Ok(draft)
}

/// The draft of a pending key that an earlier call left.
pub(super) fn resume(session: &Session<'_>, plan: &PlannedKey, key: &MasterKey, numbers: &Numbers) -> Result<Draft> {
    Draft::of_pending(key, numbers.metadata(session, plan.version)?).ok_or_else(no_records)
}

/// Removes what an interrupted call left beside the finished key.
pub(super) fn tidy(session: &Session<'_>, plan: &PlannedKey) -> Result<()> {
    Record::destroy_pending(session, plan.kek_id, &plan.label())?;
    tombstone::remove_below(session, &plan.name, plan.version).map(drop)
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

/// Refuses a plan whose version another key has or had, and returns the numbers of the name. A key in use is never
/// replaced, and no number is used twice.
pub(super) fn refuse_used_number(session: &Session<'_>, plan: &PlannedKey) -> Result<Numbers> {
    let numbers = Numbers::read(session, &plan.name)?;
    if numbers.others(plan.kek_id).any(|key| key.description.version == plan.version) {
        return Err(create::exists(&plan.label()));
    }
    let is_finished = numbers.finished().any(|key| key.description.kek_id == plan.kek_id);
    match is_finished || numbers.is_free(plan.version) {
        true => Ok(numbers),
        false => Err(numbers.refusal(plan.version)),
    }
}

/// Makes a pending key that is there the one that counts. Where this fails it is left as it is, for the next call.
fn win_and_finish(session: &Session<'_>, plan: &PlannedKey, mine: &MasterKey, draft: Draft) -> Result<MasterKey> {
    win(session, plan, mine)?;
    let canary = create::enable_and_prove(session, mine).or_else(|error| {
        if error.kind() == ErrorKind::Unsupported {
            // The token does not do this algorithm as the standard says, now or another time.
            create::discard(session, mine, &plan.label())?;
        }
        Err(error)
    })?;
    let key = create::finish(session, mine, canary, draft).or_else(|error| {
        if error.kind() == ErrorKind::LimitExceeded && create::is_pending(session, mine)? {
            create::discard(session, mine, &plan.label())?;
        }
        Err(error)
    })?;
    tidy(session, plan)?;
    match key.description.state {
        KeyState::Active => Ok(key),
        _ => Err(key.wrong_state("protect")),
    }
}

/// Waits until it is clear that no other key of the name and version is being made.
pub(super) fn win(session: &Session<'_>, plan: &PlannedKey, mine: &MasterKey) -> Result<()> {
    match create::compete(session, mine, |finished| finished >= plan.version)? {
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
