//! Every key of a token against what it should be, and what interrupted changes left.

use super::check::Check;
use crate::duration::in_words;
use crate::key::listing::date;
use crate::output::count;
use keyward::hsm::{Leftover, Repair};
use keyward::key::{DestroyedKey, KeyDescription, KeyState};
use keyward::{ErrorKind, WrappingAlgorithm};
use std::time::{Duration, SystemTime};

/// A version that wraps with AES-GCM for longer than this should be followed by another: how often all hosts
/// together have wrapped with it nobody knows, and there is a limit.
const OLD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(super) fn look_at(keys: &[KeyDescription], now: SystemTime) -> Vec<Check> {
    let active = keys.iter().filter(|key| key.state == KeyState::Active).count();
    let mut checks = vec![Check::ok("keys", format!("{}, {active} active", count(keys.len(), "version")))];
    for key in keys {
        checks.extend(key.problems.iter().map(|problem| unsound(key, problem)));
        checks.extend(dates(key, now));
    }
    checks
}

/// The keys that were destroyed: no fault, but what an operator who misses one looks for.
pub(super) fn destroyed(keys: &[DestroyedKey]) -> impl Iterator<Item = Check> {
    keys.iter().map(|key| {
        let (name, highest) = (&key.name, key.highest_version);
        let latest = key.versions.iter().max_by_key(|gone| gone.destroyed);
        let when = latest.and_then(|gone| date(gone.destroyed)).map(|on| format!(", the last on {on}"));
        let text = format!("key '{name}': all versions up to {highest} are destroyed{}", when.unwrap_or_default());
        Check::ok("destroyed", text)
    })
}

fn unsound(key: &KeyDescription, problem: &str) -> Check {
    let (label, name) = (key.label(), &key.name);
    let text = format!("key '{label}': {problem}");
    if problem.starts_with("another key has the same name and version") {
        let remedy = "nothing is protected until one is gone: see by `keyward inspect` which KEK id is used, and destroy or relabel the other with the token's own tool";
        return Check::failure("duplicate", text, remedy);
    }
    if problem.starts_with("tampering") {
        let remedy = format!(
            "somebody changed the token's own store: hold every file under it for read; make another key, and `keyward reencrypt` them before you destroy '{label}'"
        );
        return Check::failure("tampering", text, remedy);
    }
    let remedy = format!(
        "it is not used; `keyward key adopt {name}` narrows the usage of another tool's key where you vouch for it, else make a new key"
    );
    Check::failure("key", text, remedy)
}

fn dates(key: &KeyDescription, now: SystemTime) -> Option<Check> {
    let label = key.label();
    if let Some(due) = key.destroy_after {
        let on = date(due).unwrap_or_default();
        return match key.state {
            KeyState::Disabled if due <= now => {
                let text = format!("key '{label}' was to be destroyed after {on}");
                Some(Check::warning("expiry", text, "`keyward key expire` does it"))
            }
            KeyState::Disabled => Some(Check::ok("expiry", format!("key '{label}' is to be destroyed after {on}"))),
            state => {
                let text = format!(
                    "key '{label}' is {state}, and its destruction is scheduled: it was not enabled by Keyward"
                );
                let remedy = format!(
                    "`keyward key enable {label}` cancels the destruction, `keyward key disable {label}` lets it be"
                );
                Some(Check::warning("expiry", text, remedy))
            }
        };
    }
    let created = key.created?;
    let Ok(age) = now.duration_since(created) else {
        let text = format!("key '{label}' was made at {}, which is later than now", date(created).unwrap_or_default());
        return Some(Check::warning("clock", text, "set the clock of this host, or of the host that made the key"));
    };
    let old = key.algorithm == WrappingAlgorithm::AesGcm && key.state == KeyState::Active && age > OLD;
    old.then(|| {
        let text = format!(
            "key '{label}' wraps with AES-GCM for {}; all hosts together may do that 2^32 times",
            in_words(age)
        );
        Check::warning("age", text, format!("`keyward key rotate {}`", key.name))
    })
}

pub(super) fn leftover(what: &Leftover) -> Check {
    match what {
        Leftover::Unfinished(_)
        | Leftover::Orphan { .. }
        | Leftover::Records { .. }
        | Leftover::Claim { .. }
        | Leftover::Tombstone { .. } => {
            let name = match what {
                Leftover::Unfinished(_) => "unfinished",
                Leftover::Claim { .. } => "claim",
                _ => "record",
            };
            Check::warning(
                name,
                what.to_string(),
                "`keyward doctor --repair` clears it up, if nobody is at work with it",
            )
        }
        Leftover::StillActive(key) => {
            let remedy =
                format!("`keyward key enable {}` lets it recover only; so does `keyward doctor --repair`", key.label());
            Check::warning("still-active", what.to_string(), remedy)
        }
        Leftover::Unreadable { newer: true, .. } => Check::warning(
            "record",
            what.to_string(),
            "use that version of Keyward: this one uses and changes no key that the record may be about",
        ),
        _ => Check::warning(
            "record",
            what.to_string(),
            "keys that it may be about are not used; find out what damaged it, and delete the data object with the token's own tool",
        ),
    }
}

/// What came of a repair.
pub(super) fn repaired(repair: &Repair) -> Check {
    match &repair.outcome {
        Ok(()) => Check::ok("repaired", repair.leftover.to_string()),
        // Its maker finished it, or another process was faster.
        Err(error) if error.kind() == ErrorKind::KeyState => Check::ok("not-repaired", error.to_string()),
        Err(error) => {
            let text = format!("{}: {error}", repair.leftover);
            Check::failure("not-repaired", text, error.hint().unwrap_or("try again when that is corrected"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;
    use keyward::{KekId, KeyVersion};

    fn key() -> KeyDescription {
        let (name, id) = ("a".parse().unwrap(), KekId::from_bytes([0; 16]));
        KeyDescription::new(name, KeyVersion::FIRST, id, WrappingAlgorithm::AesGcm, KeyState::Active)
    }

    fn names(key: &KeyDescription, now: SystemTime) -> Vec<(&'static str, Status)> {
        look_at(std::slice::from_ref(key), now).iter().skip(1).map(|check| (check.name, check.status)).collect()
    }

    #[test]
    fn ages_and_dates() {
        let now = SystemTime::now();
        let mut key = key();
        assert_eq!(names(&key, now), []);
        key.created = Some(now - OLD);
        assert_eq!(names(&key, now), []);
        key.created = Some(now - OLD - Duration::from_secs(1));
        assert_eq!(names(&key, now), [("age", Status::Warning)]);
        key.state = KeyState::Retired;
        assert_eq!(names(&key, now), []);
        key.created = Some(now + Duration::from_secs(1));
        assert_eq!(names(&key, now), [("clock", Status::Warning)]);
        key.destroy_after = Some(now);
        assert_eq!(names(&key, now), [("expiry", Status::Warning)]);
        key.state = KeyState::Disabled;
        assert_eq!(names(&key, now), [("expiry", Status::Warning)]);
        assert_eq!(names(&key, now - Duration::from_secs(1)), [("expiry", Status::Ok)]);
    }

    #[test]
    fn problems_have_names() {
        let mut key = key();
        key.problems =
            ["another key has the same name and version: x", "tampering: x", "CKA_WRAP is true"].map(Into::into).into();
        let found = names(&key, SystemTime::now());
        assert_eq!(found, ["duplicate", "tampering", "key"].map(|name| (name, Status::Failure)));
    }
}
