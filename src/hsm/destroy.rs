//! Destroying key versions, now or at a time that is set.
//!
//! The date of a scheduled destruction lies in the key's record on the token, so that any host sees it and
//! none has to remember it. A version that has one is disabled: it is disabled before the date is written,
//! and the date is erased before it is enabled. A process that dies in between leaves a version that is
//! disabled and has no date, never one that is in use and will be destroyed.

use super::admin::change;
use super::lookup;
use super::numbering::Numbers;
use super::record::{Record, keeps_no_records, now};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DestroyedVersion, KekId, KeyDescription, KeyName, KeyState, KeyVersion, UsedNumbers, VersionReuse};
use crate::token::Session;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Destroys a version that `may` be destroyed, and proves that it is gone. Returns the id that it had. Its number is
/// written down before.
pub(super) fn destroy(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    reuse: VersionReuse,
    may: impl Fn(&KeyDescription) -> Result<()>,
) -> Result<(KekId, UsedNumbers)> {
    let numbers = Numbers::read(session, name)?;
    let key = lookup::exactly_one(name, version, &numbers.versions)?;
    may(&key.description)?;
    let remembered = record_number(session, &numbers, key, reuse)?;
    session.destroy_object(key.handle)?;
    Record::destroy(session, key.description.kek_id, &key.description.label())?;
    // The search proves it, by label and by id.
    let gone = lookup::versions(session, name)?.iter().all(|key| key.description.version != version);
    match lookup::by_kek_id(session, key.description.kek_id) {
        Err(error) if gone && error.kind() == ErrorKind::KeyNotFound => Ok((key.description.kek_id, remembered)),
        Err(error) if error.kind() != ErrorKind::KeyNotFound => Err(error),
        _ => Err(Error::new(
            ErrorKind::TokenUnavailable,
            format!("the token still shows key '{name}:{version}' after destroying it"),
        )),
    }
}

/// Lets the token remember the number of a version that is going to be destroyed, or decides whether it may be
/// destroyed without.
fn record_number(
    session: &Session<'_>,
    numbers: &Numbers,
    key: &super::object::MasterKey,
    reuse: VersionReuse,
) -> Result<UsedNumbers> {
    let KeyDescription { version, kek_id, .. } = key.description;
    let gone = DestroyedVersion { version, kek_id, destroyed: now() };
    let Err(error) = numbers.record_destruction(session, &gone, key.record()) else {
        return Ok(UsedNumbers::Remembered);
    };
    let no_records = keeps_no_records(session, &error)?;
    let is_last = numbers.others(kek_id).next().is_none();
    match reuse {
        VersionReuse::Allow if no_records || error.kind() == ErrorKind::LimitExceeded => Ok(UsedNumbers::Forgotten),
        // It has no other version whose age or order could be mistaken.
        VersionReuse::Refuse if no_records && is_last => Ok(UsedNumbers::Forgotten),
        VersionReuse::Refuse if no_records => Err(Error::new(
            ErrorKind::VersionReuse,
            format!(
                "cannot destroy key '{}': the token keeps no data objects, so the next rotation would make a version of the same number",
                key.description.label()
            ),
        )
        .with_source(error)),
        _ => Err(error),
    }
}

/// Disables a version and then writes into its record from when on it may be destroyed.
pub(super) fn schedule(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    not_before: SystemTime,
) -> Result<KeyDescription> {
    let found = lookup::one_version(session, name, version)?.description;
    let date = whole_seconds(not_before)?;
    // Before anything is changed.
    let mut record = Record::find(session, found.kek_id, &found.label())?.ok_or_else(|| no_record(&found))?;
    record.destroy_after = Some(date);
    record.check_len(&found.label())?;
    change(session, name, version, |_| KeyState::Disabled)?;
    write_date(session, &found, Some(date))?;
    Ok(lookup::one_version(session, name, version)?.description)
}

/// Erases the date of a scheduled destruction, where there is one.
pub(super) fn cancel(session: &Session<'_>, name: &KeyName, version: KeyVersion) -> Result<()> {
    let found = lookup::one_version(session, name, version)?;
    found.check_record()?;
    let found = found.description;
    match found.destroy_after {
        Some(_) => write_date(session, &found, None),
        None => Ok(()),
    }
}

fn write_date(session: &Session<'_>, key: &KeyDescription, date: Option<SystemTime>) -> Result<()> {
    let mut record = Record::find(session, key.kek_id, &key.label())?.ok_or_else(|| no_record(key))?;
    record.destroy_after = date;
    record.write(session, &key.label())
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
