//! Making the next version of a key.

use super::numbering::{Numbers, follow_changes};
use super::object::MasterKey;
use super::{create, template};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyDescription, KeyName, KeyState};
use crate::token::Session;
use std::time::SystemTime;

/// Makes the next version and retires the others; with `made_before` only if the current one was made
/// before that.
///
/// Two that rotate at once want to make the same version, and one of them gets it ([`create`]). One that
/// comes later finds a current version that is new: whether it is old enough is asked here and not before,
/// so that a rotation which is due is made once, however many hosts ask for it.
pub(super) fn rotate(session: &Session<'_>, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
    let numbers = Numbers::read(session, name)?;
    let newest = numbers.finished().next_back().ok_or_else(|| numbers.not_found())?;
    if let Some(time) = made_before {
        let newest = &newest.description;
        let created = newest.created.ok_or_else(|| Error::of_unknown_age(newest))?;
        if created >= time {
            // What an interrupted rotation left undone is done all the same.
            retire(session, numbers.versions.iter().filter(|key| key.description.version < newest.version))?;
            return Err(Error::not_due(newest));
        }
    }
    let next = numbers.next()?;
    let made = create::create(session, &numbers, newest.description.algorithm).map_err(|error| match error.kind() {
        ErrorKind::KeyExists => Error::new(
            ErrorKind::KeyExists,
            format!("another has rotated key '{name}' at the same moment: '{name}:{next}' exists already"),
        )
        .with_hint("`keyward key list` shows it; rotate again only where two new versions are wanted"),
        _ => error,
    })?;
    // From here on the new version is the current one, whatever happens to the rest. An older one that
    // stays active, because this process dies, is retired by the next rotation.
    follow_changes(session, newest, &made)?;
    retire(session, numbers.versions.iter())?;
    Ok(made.description)
}

/// Takes from those that are active what only the current version has.
pub(super) fn retire<'a>(session: &Session<'_>, older: impl Iterator<Item = &'a MasterKey>) -> Result<()> {
    for key in older.filter(|key| key.description.state == KeyState::Active) {
        let change = template::retire(key.description.algorithm);
        if !change.is_empty() {
            session.set_attributes(key.handle, change)?;
        }
    }
    Ok(())
}
