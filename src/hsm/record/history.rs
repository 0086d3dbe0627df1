//! The versions of a key that were destroyed, as one line: `VERSION:KEK-ID:SECONDS`, with blanks between them.

use super::text::{seconds, time};
use crate::key::DestroyedVersion;

/// How many destroyed versions are remembered: the latest. Version numbers do not depend on it.
const MAX_ENTRIES: usize = 40;

/// Parses a history; `None` if it is not in the one form that [`format_history`] gives it.
pub(crate) fn parse_history(text: &str) -> Option<Vec<DestroyedVersion>> {
    let parse = |entry: &str| {
        let mut parts = entry.split(':');
        let (version, kek_id, at) = (parts.next()?, parts.next()?, parts.next()?);
        let destroyed =
            DestroyedVersion { version: version.parse().ok()?, kek_id: kek_id.parse().ok()?, destroyed: time(at)? };
        parts.next().is_none().then_some(destroyed)
    };
    let entries: Vec<_> = text.split(' ').map(parse).collect::<Option<_>>()?;
    (entries.len() <= MAX_ENTRIES).then_some(entries)
}

pub(crate) fn format_history(entries: &[DestroyedVersion]) -> String {
    let format = |entry: &DestroyedVersion| format!("{}:{}:{}", entry.version, entry.kek_id, seconds(entry.destroyed));
    entries.iter().map(format).collect::<Vec<_>>().join(" ")
}

/// Adds entries, each key once, by version. Of more than [`MAX_ENTRIES`] the lowest versions are forgotten.
pub(crate) fn merge_history(into: &mut Vec<DestroyedVersion>, more: &[DestroyedVersion]) {
    for entry in more {
        if !into.iter().any(|known| known.kek_id == entry.kek_id) {
            into.push(entry.clone());
        }
    }
    into.sort_by_key(|entry| (entry.version, entry.destroyed));
    let surplus = into.len().saturating_sub(MAX_ENTRIES);
    into.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KekId, KeyVersion};
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(version: u32) -> DestroyedVersion {
        let version: KeyVersion = version.to_string().parse().unwrap();
        let kek_id = KekId::from_bytes([u8::try_from(version.get() % 251).unwrap(); 16]);
        DestroyedVersion { version, kek_id, destroyed: UNIX_EPOCH + Duration::from_secs(version.get().into()) }
    }

    #[test]
    fn a_history_comes_back_from_its_text() {
        let entries = [entry(1), entry(7)];
        assert_eq!(parse_history(&format_history(&entries)).unwrap(), entries);
        for bad in ["", " ", "1", "1:x:1", "0:00000000000000000000000000000000:1"] {
            assert_eq!(parse_history(bad), None, "{bad}");
        }
        let good = format_history(&entries);
        for bad in [format!("{good} "), format!("{good}:1"), good.replace(' ', "  "), good.replace(":7", ":07")] {
            assert_eq!(parse_history(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_latest_entries_are_kept_each_once() {
        let mut history = vec![entry(2)];
        merge_history(&mut history, &[entry(1), entry(2)]);
        assert_eq!(history, [entry(1), entry(2)]);
        merge_history(&mut history, &(3..=100).map(entry).collect::<Vec<_>>());
        assert_eq!(history, (61..=100).map(entry).collect::<Vec<_>>());
    }
}
