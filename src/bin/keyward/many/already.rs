//! Whether the output of an earlier run is there: then nothing is done twice.
//!
//! An output has its name only once it is whole. What remains to be told is whether it is the output
//! of this input: it has the length that belongs to it, and is not older.

use super::outputs::Job;
use crate::inspect::inspect_file;
use keyward::durable::{AtomicFile, Replace};
use keyward::envelope::body::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN};
use keyward::envelope::{InspectedEntry, Inspection};
use keyward::{EncryptionContext, Error, ErrorKind, KeyName, KeyProvider, KeyRef, WrappingAlgorithm};
use std::fs::{FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What an output is made with: the key of the customer where there is no other.
pub(crate) type Keys<'a> = [(&'a dyn KeyProvider, KeyName)];

/// Begins the output of an encryption; none where it is there.
pub(crate) fn begin_encrypted(
    job: &Job,
    force: bool,
    keys: &Keys<'_>,
    context: &EncryptionContext,
) -> keyward::Result<Option<Begun>> {
    begin(job, force, |input, output| {
        let Ok(found) = inspect_file(&job.output) else { return Some("is not an envelope") };
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

/// Begins the output of a decryption; none where it is there.
pub(crate) fn begin_decrypted(job: &Job, force: bool) -> keyward::Result<Option<Begun>> {
    begin(job, force, |input, output| {
        let expected = inspect_file(&job.input).ok().and_then(|found| opened_len(input.len(), found.header_len));
        (expected != Some(output.len())).then_some("has another length")
    })
}

/// An output in the making, and what it takes over from its input.
pub(crate) struct Begun {
    modified: Option<SystemTime>,
    replaces: bool,
    mode: u32,
}

impl Begun {
    /// The file to write.
    pub(crate) fn create(&self, output: &Path) -> keyward::Result<AtomicFile> {
        let file = AtomicFile::create(output, if self.replaces { Replace::Yes } else { Replace::No })?;
        if !self.replaces {
            let narrow = || {
                let mask = file.file().metadata()?.permissions().mode();
                // Who may read may execute, where the input could be.
                let mode = self.mode & (mask | (mask & 0o444) >> 2) & 0o777;
                if mode == mask & 0o777 { Ok(()) } else { file.file().set_permissions(Permissions::from_mode(mode)) }
            };
            narrow().map_err(|error| cannot_write(output, error))?;
        }
        Ok(file)
    }

    /// Gives what is written the time of its input: a change of that is noticed, even one meanwhile.
    pub(crate) fn date(&self, file: AtomicFile, output: &Path) -> keyward::Result<AtomicFile> {
        if let Some(modified) = self.modified {
            let times = FileTimes::new().set_modified(modified);
            file.file().set_times(times).map_err(|error| cannot_write(output, error))?;
        }
        Ok(file)
    }
}

fn begin(
    job: &Job,
    force: bool,
    differs: impl FnOnce(&Metadata, &Metadata) -> Option<&'static str>,
) -> keyward::Result<Option<Begun>> {
    let input = job.input.metadata().map_err(|error| crate::files::cannot("open", &job.input, error))?;
    let begun = Begun { modified: input.modified().ok(), replaces: force, mode: input.permissions().mode() };
    let output = match job.output.metadata() {
        _ if force => return Ok(Some(begun)),
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(begun)),
        Err(error) => return Err(cannot_write(&job.output, error)),
    };
    let why = if !output.is_file() {
        Some("is not a file")
    } else if is_older(output.modified().ok(), begun.modified) {
        Some("is older")
    } else {
        differs(&input, &output)
    };
    match why {
        None => Ok(None),
        Some(why) => {
            let (output, input) = (job.output.display(), job.input.display());
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

fn cannot_write(path: &Path, error: io::Error) -> Error {
    crate::files::cannot("write", path, error)
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
