//! Destroying key versions, now or at a time that is set.
//!
//! The date of a scheduled destruction lies in the key's record on the token, so that any host sees it and
//! none has to remember it. A version that has one is disabled: it is disabled before the date is written,
//! and the date is erased before it is enabled. A process that dies in between leaves a version that is
//! disabled and has no date, never one that is in use and will be destroyed.

use super::admin::change;
use super::lookup;
use super::record::{Record, no_data_objects};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyName, KeyState, KeyVersion};
use crate::token::Session;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Destroys a version that `may` be destroyed, and proves that it is gone. The id that it had.
pub(super) fn destroy(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    may: impl Fn(&KeyDescription) -> Result<()>,
) -> Result<KekId> {
    let key = lookup::exactly_one(name, version, lookup::versions(session, name)?)?;
    may(&key.description)?;
    session.destroy_object(key.handle)?;
    Record::destroy(session, key.description.kek_id, &key.description.label())?;
    // The search proves it, by label and by id.
    let gone = lookup::versions(session, name)?.iter().all(|key| key.description.version != version);
    match lookup::by_kek_id(session, key.description.kek_id) {
        Err(error) if gone && error.kind() == ErrorKind::KeyNotFound => Ok(key.description.kek_id),
        Err(error) if error.kind() != ErrorKind::KeyNotFound => Err(error),
        _ => Err(Error::new(
            ErrorKind::TokenUnavailable,
            format!("the token still shows key '{name}:{version}' after destroying it"),
        )),
    }
}

/// Disables a version and then writes into its record from when on it may be destroyed.
pub(super) fn schedule(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    not_before: SystemTime,
) -> Result<KeyDescription> {
    let found = lookup::exactly_one(name, version, lookup::versions(session, name)?)?.description;
    // Before anything is changed.
    if Record::find(session, found.kek_id, &found.label())?.is_none() {
        return Err(no_record(&found));
    }
    change(session, name, version, |_| KeyState::Disabled)?;
    write_date(session, &found, Some(whole_seconds(not_before)?))?;
    Ok(lookup::exactly_one(name, version, lookup::versions(session, name)?)?.description)
}

/// Erases the date of a scheduled destruction, where there is one.
pub(super) fn cancel(session: &Session<'_>, name: &KeyName, version: KeyVersion) -> Result<()> {
    let found = lookup::exactly_one(name, version, lookup::versions(session, name)?)?.description;
    match found.destroy_after {
        Some(_) => write_date(session, &found, None),
        None => Ok(()),
    }
}

fn write_date(session: &Session<'_>, key: &KeyDescription, date: Option<SystemTime>) -> Result<()> {
    let mut record = Record::find(session, key.kek_id, &key.label())?.ok_or_else(|| no_record(key))?;
    record.destroy_after = date;
    record.write(session, &key.label()).map_err(|error| match no_data_objects(&error) {
        true => no_record(key).with_source(error),
        false => error,
    })
}

/// Records count in whole seconds. Rather too late than too early.
fn whole_seconds(time: SystemTime) -> Result<SystemTime> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().checked_add(u64::from(since.subsec_nanos() > 0));
    seconds
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "the date is too far away"))
}

fn no_record(key: &KeyDescription) -> Error {
    let (label, name) = (key.label(), &key.name);
    Error::new(
        ErrorKind::Unsupported,
        format!("the token has no record of key '{label}', into which the date could be written"),
    )
    .with_hint(format!(
        "where another tool made the key, `keyward key adopt {name}` makes a record; a token without data objects keeps none: disable the key, and destroy it when it is time"
    ))
}
