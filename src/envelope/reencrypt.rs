//! Re-encryption: a new data key and a new body, decided from what opening the file has confirmed.

mod recipients;

use super::body::Work;
use super::encryptor::Encryptor;
use super::input::InputFile;
use super::opening::Opening;
use super::reader::Decryptor;
use crate::durable::{AtomicFile, Replace};
use crate::error::Result;
use crate::key::{EncryptionContext, Origin};
#[cfg(feature = "object-store")]
pub(crate) use recipients::same_key;
pub use recipients::{Freshness, Recipients};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

/// Gives files a new data key and a new body. The plaintext is written nowhere.
///
/// Everything is decided from what opening the file has confirmed ([`Opening`]), and the file is opened once: which
/// keys open the new file ([`Recipients`]), whether it is done already ([`Freshness`]), and whether what opened the
/// data may go under those keys ([`Origin`]). The encryption context stays as it is, and a compact envelope stays
/// compact.
///
/// ```no_run
/// use keyward::envelope::{Recipients, Reencrypt};
/// use keyward::{Decryptor, KeyProvider};
/// # fn example(hsm: &dyn KeyProvider) -> keyward::Result<()> {
/// Reencrypt::new(Decryptor::new(hsm), Recipients::SameKey(hsm)).file("report.pdf.kw".as_ref())?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Reencrypt<'a> {
    decryptor: Decryptor<'a>,
    recipients: Recipients<'a>,
    origin: Origin,
    freshness: Option<Freshness>,
    threads: Option<NonZeroUsize>,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

/// The outcome of a re-encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReencryptOutcome {
    /// The file is as it was: its data key is proven to be fresh enough ([`Reencrypt::unless`]).
    FreshEnough,
    /// The file has a new data key and a new body.
    Reencrypted {
        /// The length of the plaintext in bytes.
        len: u64,
    },
}

impl<'a> Reencrypt<'a> {
    /// Opens files with `decryptor`, and encrypts them for `recipients`.
    #[must_use]
    pub fn new(decryptor: Decryptor<'a>, recipients: Recipients<'a>) -> Self {
        let (origin, freshness, threads, progress) = (Origin::Unverified, None, None, None);
        Self { decryptor, recipients, origin, freshness, threads, progress }
    }

    /// Leaves files alone whose data key is proven to be fresh enough.
    #[must_use]
    pub fn unless(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    /// Moves data that an RSA key opened under symmetric keys, too. The caller knows who wrote the files.
    #[must_use]
    pub fn danger_assert_origin(mut self) -> Self {
        self.origin = Origin::DangerAsserted;
        self
    }

    /// Sets the most threads that work at once; by default all cores.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Calls `progress` with the plaintext bytes done so far.
    #[must_use]
    pub fn progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Re-encrypts the file at `path`, which is replaced when the new one is whole and on the disk.
    ///
    /// # Errors
    /// As [`Decryptor::reader`] and [`Encryptor::encrypt_file`]; `RecipientsAmbiguous` and `OriginUnverified`. The
    /// file is then as it was.
    pub fn file(&self, path: &Path) -> Result<ReencryptOutcome> {
        let source = InputFile::open(path)?;
        let version = source.version();
        // What another process wrote meanwhile would be lost.
        self.finish(source, || Ok(AtomicFile::create_with(path, Replace::Yes, 0o600)?.expecting(version)))
    }

    /// Re-encrypts the file `input` to `output`.
    ///
    /// # Errors
    /// As [`file`](Self::file), and `OutputExists`. There is then no new file, and an existing one is as it was.
    pub fn file_to(&self, input: &Path, output: &Path, replace: Replace) -> Result<ReencryptOutcome> {
        let source = InputFile::open(input)?;
        let mode = source.creation_mode()?.unwrap_or(0o600);
        self.finish(source, || AtomicFile::create_with(output, replace, mode))
    }

    fn finish(&self, source: InputFile, target: impl FnOnce() -> Result<AtomicFile>) -> Result<ReencryptOutcome> {
        match self.renew(source, target)? {
            None => Ok(ReencryptOutcome::FreshEnough),
            Some((target, len)) => {
                target.commit()?;
                Ok(ReencryptOutcome::Reencrypted { len })
            }
        }
    }

    /// Re-encrypts `input` into what `target` makes, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch). Returns `None`, and makes no target, if the file is fresh enough.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn to_target(
        &self,
        input: InputFile,
        target: impl FnOnce() -> Result<AtomicFile>,
    ) -> Result<Option<AtomicFile>> {
        Ok(self.renew(input, target)?.map(|(target, _)| target))
    }

    fn renew(
        &self,
        mut source: InputFile,
        target: impl FnOnce() -> Result<AtomicFile>,
    ) -> Result<Option<(AtomicFile, u64)>> {
        let reader = self.decryptor.seekable_reader(&mut source)?;
        let (opening, context, compact) = (reader.opening().clone(), reader.context().clone(), reader.is_compact);
        let (from, _) = reader.body.into_parts();
        if let Some(freshness) = self.freshness
            && freshness.is_proven_by(&opening, &self.recipients)?
        {
            return Ok(None);
        }
        let encryptor = self.encryptor(&opening, context, compact)?;
        // A data key that is kept for other files may be the very one that this file had.
        let (to, mut target) = encryptor.with_fresh_keys().writer(target()?)?.body.into_parts();
        let done = encryptor.pipeline().run(Work::Reseal(&from, &to), 0, rest(&mut source)?, &mut target)?;
        Ok(Some((target, done)))
    }

    fn encryptor(&self, opening: &Opening, context: EncryptionContext, compact: bool) -> Result<Encryptor<'a>> {
        let mut encryptor = self.recipients.encryptor(opening)?.context(context);
        encryptor = encryptor.moved_from(opening.entry.algorithm, self.origin);
        if compact {
            encryptor = encryptor.compact();
        }
        if let Some(threads) = self.threads {
            encryptor = encryptor.threads(threads);
        }
        if let Some(progress) = self.progress {
            encryptor = encryptor.progress(progress);
        }
        Ok(encryptor)
    }
}

/// What was not read of the file yet: its chunks.
fn rest(source: &mut InputFile) -> Result<super::pipeline::Feed<'_>> {
    let regular = source.regular_len()?.is_some();
    source.rest(regular)
}

impl fmt::Debug for Reencrypt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reencrypt")
            .field("recipients", &self.recipients)
            .field("origin", &self.origin)
            .field("freshness", &self.freshness)
            .finish_non_exhaustive()
    }
}
