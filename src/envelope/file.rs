//! Whole files: an output gets its name only when it is whole and on the disk.

use super::body::Work;
use super::encryptor::Encryptor;
use super::input::InputFile;
use super::pipeline::Feed;
use super::reader::Decryptor;
use crate::durable::{AtomicFile, Replace};
use crate::error::Result;
use std::io;
use std::path::Path;

/// The mode of a new plaintext file whose source has none, such as standard input: its owner's alone.
const PRIVATE_MODE: u32 = 0o600;
/// The mode of a new envelope whose source has none.
const PUBLIC_MODE: u32 = 0o666;

impl Encryptor<'_> {
    /// Encrypts the file `input` to `output`, and returns the length of the plaintext. A new `output` gets the
    /// permissions of `input`, less the umask.
    ///
    /// `input` and `output` may be the same with [`Replace::Yes`]. A file that grows meanwhile is
    /// encrypted as far as its end was when it was reached; one that shrinks is an error.
    ///
    /// # Errors
    /// As [`writer`](Encryptor::writer), `OutputExists`, and `Io` where less could be read than there
    /// was when the file was opened. There is then no new file, and an
    /// existing one is as it was.
    pub fn encrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let source = InputFile::open(input)?;
        let mode = source.creation_mode()?.unwrap_or(PUBLIC_MODE);
        let (target, done) = self.seal(source, AtomicFile::create_with(output, replace, mode)?)?;
        target.commit()?;
        Ok(done)
    }

    /// Encrypts `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`encrypt_file`](Self::encrypt_file).
    pub fn encrypt_to(&self, input: InputFile, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.seal(input, target)?.0)
    }

    fn seal(&self, mut source: InputFile, target: AtomicFile) -> Result<(AtomicFile, u64)> {
        let body = self.writer(target)?.body;
        let expected = source.regular_len()?;
        let (target, done) = match expected {
            Some(_) => body.finish_from(Feed::at(&source, 0), self.pipeline())?,
            None => body.finish_from(Feed::stream(&mut source), self.pipeline())?,
        };
        // Half of a file under the name of the whole would be the loss of the other half.
        if expected.is_some_and(|expected| done < expected) {
            return Err(
                source.failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter while it was read"))
            );
        }
        // Its data key may be shared with others, and was counted for less.
        self.check_len(done)?;
        Ok((target, done))
    }
}

impl Decryptor<'_> {
    /// Decrypts the file `input` to `output`, and returns the length of the plaintext. A new `output` gets the
    /// permissions of `input`, less the umask.
    ///
    /// `output` appears only after all of `input` was authenticated. Both may be the same with
    /// [`Replace::Yes`].
    ///
    /// # Errors
    /// As [`reader`](Decryptor::reader), and `OutputExists`. There is then no new file, and an
    /// existing one is as it was.
    pub fn decrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let source = InputFile::open(input)?;
        let mode = source.creation_mode()?.unwrap_or(PRIVATE_MODE);
        let (target, done) = self.unseal(source, || AtomicFile::create_with(output, replace, mode))?;
        target.commit()?;
        Ok(done)
    }

    /// Decrypts `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`decrypt_file`](Self::decrypt_file).
    pub fn decrypt_to(&self, input: InputFile, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.unseal(input, || Ok(target))?.0)
    }

    /// The target is made when the file has opened.
    fn unseal(&self, mut source: InputFile, target: impl FnOnce() -> Result<AtomicFile>) -> Result<(AtomicFile, u64)> {
        let regular = source.regular_len()?.is_some();
        let reader = match regular {
            true => self.seekable_reader(&mut source)?,
            false => self.reader(&mut source)?,
        };
        let (key, _) = reader.body.into_parts();
        let mut target = target()?;
        let feed = source.rest(regular)?;
        let done = self.pipeline().run(Work::Open(&key), 0, feed, &mut target)?;
        Ok((target, done))
    }
}
