//! Whole files: an output gets its name only when it is whole and on the disk.

use super::body::Work;
use super::encryptor::Encryptor;
use super::pipeline::Feed;
use super::read_at::ReadAt;
use super::reader::Decryptor;
use crate::durable::{AtomicFile, Replace};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

impl Encryptor<'_> {
    /// Encrypts the file `input` to `output`; the length of the plaintext.
    ///
    /// `input` and `output` may be the same with [`Replace::Yes`]. A file that grows meanwhile is
    /// encrypted as far as its end was when it was reached; one that shrinks is an error.
    ///
    /// # Errors
    /// As [`writer`](Encryptor::writer), `OutputExists`, and `Io` where less could be read than there
    /// was when the file was opened. There is then no new file, and an
    /// existing one is as it was.
    pub fn encrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let (target, done) = self.seal(open_input(input)?, AtomicFile::create(output, replace)?)?;
        target.commit()?;
        Ok(done)
    }

    /// Encrypts the file `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`encrypt_file`](Self::encrypt_file).
    pub fn encrypt_to(&self, input: &Path, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.seal(open_input(input)?, target)?.0)
    }

    fn seal(&self, mut source: Input, target: AtomicFile) -> Result<(AtomicFile, u64)> {
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
    /// Decrypts the file `input` to `output`; the length of the plaintext.
    ///
    /// `output` appears only after all of `input` was authenticated. Both may be the same with
    /// [`Replace::Yes`].
    ///
    /// # Errors
    /// As [`reader`](Decryptor::reader), and `OutputExists`. There is then no new file, and an
    /// existing one is as it was.
    pub fn decrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let (target, done) = self.unseal(input, || AtomicFile::create(output, replace))?;
        target.commit()?;
        Ok(done)
    }

    /// Decrypts the file `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`decrypt_file`](Self::decrypt_file).
    pub fn decrypt_to(&self, input: &Path, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.unseal(input, || Ok(target))?.0)
    }

    /// The target is made when the file has opened.
    fn unseal(&self, input: &Path, target: impl FnOnce() -> Result<AtomicFile>) -> Result<(AtomicFile, u64)> {
        let mut source = open_input(input)?;
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

pub(super) fn open_input(path: &Path) -> Result<Input> {
    let failed = |error| cannot_read(path, error);
    let file = File::open(path).map_err(failed)?;
    match file.metadata().map_err(failed)?.is_dir() {
        true => Err(failed(io::ErrorKind::IsADirectory.into())),
        false => Ok(Input { file, path: path.to_owned() }),
    }
}

/// A file that is read; a failed read names it.
pub(super) struct Input {
    pub(super) file: File,
    path: PathBuf,
}

impl Input {
    /// The length of a regular file, which can be read anywhere.
    pub(super) fn regular_len(&self) -> Result<Option<u64>> {
        let metadata = self.file.metadata().map_err(|error| self.failed(error))?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    /// All that was not read yet.
    pub(super) fn rest(&mut self, regular: bool) -> Result<Feed<'_>> {
        if !regular {
            return Ok(Feed::stream(self));
        }
        let at = self.file.stream_position().map_err(|error| self.failed(error))?;
        Ok(Feed::at(self, at))
    }

    fn failed(&self, error: io::Error) -> Error {
        cannot_read(&self.path, error)
    }
}

impl ReadAt for Input {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.file, buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.failed(error).into(),
        })
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.file)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.failed(error).into(),
        })
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| self.failed(error).into())
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read '{}'", path.display()), error)
}
