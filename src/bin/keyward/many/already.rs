//! Whether the output of an earlier run is there: then nothing is done twice.
//!
//! An output has its name only once it is whole. What remains to be told is whether it is the output
//! of this input: it has the length that belongs to it, and is not older.

use super::outputs::Job;
use crate::files::cannot;
use crate::inspect::inspect_file;
use keyward::durable::{AtomicFile, FileKind, Location, Replace};
use keyward::envelope::body::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN};
use keyward::envelope::{InputFile, InspectedEntry, Inspection};
use keyward::{EncryptionContext, Error, ErrorKind, KeyName, KeyProvider, KeyRef, WrappingAlgorithm};
use std::fs::{File, FileTimes, Metadata};
use std::time::{Duration, SystemTime};

/// What an output is made with: the key of the customer if there is no other.
pub(crate) type Keys<'a> = [(&'a dyn KeyProvider, KeyName)];

/// Begins the output of an encryption; none if it is there.
pub(crate) fn begin_encrypted(
    job: &Job,
    input: &InputFile,
    force: bool,
    keys: &Keys<'_>,
    context: &EncryptionContext,
) -> keyward::Result<Option<Begun>> {
    begin(job, input, force, |input, output, file| {
        let Ok(found) = inspect_file(file) else { return Some("is not an envelope") };
        match () {
            () if found.context != *context => Some("has another encryption context"),
            () if !is_under(&found, keys) => Some("is not under these keys"),
            () if sealed_len(input.len()).checked_add(found.header_len) != Some(output.len()) => {
                Some("has another length")
            }
            () => None,
        }
    })
}

/// Begins the output of a decryption; none if it is there.
pub(crate) fn begin_decrypted(job: &Job, input: &InputFile, force: bool) -> keyward::Result<Option<Begun>> {
    begin(job, input, force, |envelope, output, _| {
        let expected = inspect_file(input.file()).ok().and_then(|found| opened_len(envelope.len(), found.header_len));
        (expected != Some(output.len())).then_some("has another length")
    })
}

/// An output in the making, and what it takes over from its input.
pub(crate) struct Begun {
    location: Location,
    modified: Option<SystemTime>,
    replace: Replace,
    mode: u32,
}

impl Begun {
    /// The file to write.
    pub(crate) fn create(&self) -> keyward::Result<AtomicFile> {
        AtomicFile::create_at(&self.location, self.replace, self.mode)
    }

    /// Gives what is written the time of its input: a change of that is noticed, even one meanwhile.
    pub(crate) fn date(&self, file: AtomicFile) -> keyward::Result<AtomicFile> {
        if let Some(modified) = self.modified {
            let times = FileTimes::new().set_modified(modified);
            file.file().set_times(times).map_err(|error| cannot("write", self.location.path(), error))?;
        }
        Ok(file)
    }
}

fn begin(
    job: &Job,
    input: &InputFile,
    force: bool,
    differs: impl FnOnce(&Metadata, &Metadata, &File) -> Option<&'static str>,
) -> keyward::Result<Option<Begun>> {
    let path = job.input.path();
    let found = input.file().metadata().map_err(|error| cannot("open", &path, error))?;
    let location = job.location()?;
    let replace = if force { Replace::Yes } else { Replace::No };
    let mode = input.creation_mode()?.unwrap_or(0o600);
    let begun = Begun { location, modified: found.modified().ok(), replace, mode };
    let failed = |error| cannot("write", begun.location.path(), error);
    if force {
        return Ok(Some(begun));
    }
    let why = match begun.location.kind().map_err(failed)? {
        None => return Ok(Some(begun)),
        Some(FileKind::SymbolicLink) => Some("is a symbolic link"),
        Some(FileKind::Directory | FileKind::Special) => Some("is not a file"),
        Some(FileKind::File) => {
            let file = begun.location.open().map_err(failed)?;
            let output = file.metadata().map_err(failed)?;
            match is_older(output.modified().ok(), begun.modified) {
                true => Some("is older"),
                false => differs(&found, &output, &file),
            }
        }
    };
    match why {
        None => Ok(None),
        Some(why) => {
            let (output, input) = (begun.location.path().display(), path.display());
            let message = format!("'{output}' exists already and is not what '{input}' would become: it {why}");
            Err(Error::new(ErrorKind::OutputExists, message))
        }
    }
}

/// Where the file system keeps whole seconds, as FAT and some over a network do, they decide.
fn is_older(output: Option<SystemTime>, input: Option<SystemTime>) -> bool {
    let (Some(output), Some(input)) = (output, input) else { return false };
    let whole = output.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|time| time.subsec_nanos() == 0);
    output + if whole { Duration::from_secs(2) } else { Duration::ZERO } < input
}

/// Whether an envelope has a wrapped key of each of these.
fn is_under(found: &Inspection, keys: &Keys<'_>) -> bool {
    let known = || {
        found.entries.iter().filter_map(|entry| match entry {
            InspectedEntry::Known(key) => Some(key),
            InspectedEntry::Unknown { .. } => None,
        })
    };
    let by_customer = || known().any(|key| key.algorithm() == WrappingAlgorithm::CustomerKey);
    let is_of = |provider: &dyn KeyProvider, name: &KeyName| {
        known().any(|key| provider.describe_key(KeyRef::Kek(key.kek_id())).is_ok_and(|found| found.name == *name))
    };
    if keys.is_empty() { by_customer() } else { keys.iter().all(|(provider, name)| is_of(*provider, name)) }
}

/// The length of the body of so much plaintext (`docs/format.md`).
fn sealed_len(plaintext: u64) -> u64 {
    let tags = (plaintext / CHUNK_LEN as u64 + 1) * (SEALED_CHUNK_LEN - CHUNK_LEN) as u64;
    PREFIX_LEN as u64 + plaintext + tags
}

/// The length of the plaintext of an envelope, where it has one.
fn opened_len(envelope: u64, header: u64) -> Option<u64> {
    let chunks = envelope.checked_sub(header)?.checked_sub(PREFIX_LEN as u64)?;
    let tags = (chunks / SEALED_CHUNK_LEN as u64 + 1) * (SEALED_CHUNK_LEN - CHUNK_LEN) as u64;
    chunks.checked_sub(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_there_and_back() {
        for plain in [0, 1, 4096, 16_383, 16_384, 16_385, 32_768, 1 << 40] {
            let sealed = sealed_len(plain);
            assert_eq!(opened_len(sealed + 500, 500), Some(plain));
        }
        assert_eq!((sealed_len(0), sealed_len(16_384)), (56 + 16, 56 + 16_384 + 32));
        assert_eq!((opened_len(10, 11), opened_len(100, 60), opened_len(71, 0)), (None, None, None));
    }

    #[test]
    fn whole_seconds_are_compared_as_such() {
        let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        assert!(is_older(at(1001), at(1002)) && !is_older(at(1002), at(1002)) && !is_older(at(1003), at(1002)));
        assert!(!is_older(at(1000), at(2999)) && is_older(at(1000), at(3001)));
        assert!(!is_older(None, at(1)) && !is_older(at(1), None));
    }
}
