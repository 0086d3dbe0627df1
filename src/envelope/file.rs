//! Whole files: an output gets its name only when it is whole and on the disk.

use super::reader::{DecryptReader, Decryptor};
use super::writer::Encryptor;
use crate::durable::{AtomicFile, Replace};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

impl Encryptor<'_> {
    /// Encrypts the file `input` to `output`; the length of the plaintext.
    ///
    /// `input` and `output` may be the same with [`Replace::Yes`].
    ///
    /// # Errors
    /// As [`writer`](Encryptor::writer), and `OutputExists`. There is then no new file, and an
    /// existing one is as it was.
    pub fn encrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let source = open_input(input)?;
        let (target, done) = self.seal(source, AtomicFile::create(output, replace)?)?;
        target.commit()?;
        Ok(done)
    }

    /// Encrypts the file `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`encrypt_file`](Self::encrypt_file).
    pub fn encrypt_into(&self, input: &Path, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.seal(open_input(input)?, target)?.0)
    }

    fn seal(&self, mut source: Input, target: AtomicFile) -> Result<(AtomicFile, u64)> {
        let mut writer = self.writer(target)?;
        let mut done = 0;
        loop {
            match writer.read_from(&mut source).map_err(|error| Error::io("cannot encrypt", error))? {
                0 => break,
                len => done += len as u64,
            }
            self.report(done);
        }
        Ok((writer.finish()?, done))
    }

    fn report(&self, done: u64) {
        if let Some(progress) = self.progress {
            progress(done);
        }
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
        let reader = self.read_input(input)?;
        let (target, done) = self.unseal(reader, AtomicFile::create(output, replace)?)?;
        target.commit()?;
        Ok(done)
    }

    /// Decrypts the file `input` into `target`, which is then whole but not committed: for a
    /// [`Batch`](crate::durable::Batch).
    ///
    /// # Errors
    /// As [`decrypt_file`](Self::decrypt_file).
    pub fn decrypt_into(&self, input: &Path, target: AtomicFile) -> Result<AtomicFile> {
        Ok(self.unseal(self.read_input(input)?, target)?.0)
    }

    fn read_input(&self, input: &Path) -> Result<DecryptReader<Input>> {
        let source = open_input(input)?;
        match source.is_regular() {
            true => self.seekable_reader(source),
            false => self.reader(source),
        }
    }

    fn unseal(&self, mut reader: DecryptReader<Input>, mut target: AtomicFile) -> Result<(AtomicFile, u64)> {
        let mut done = 0;
        loop {
            match reader.write_to(&mut target)? {
                0 => break,
                len => done += len as u64,
            }
            if let Some(progress) = self.progress {
                progress(done);
            }
        }
        Ok((target, done))
    }
}

/// Decrypts `input` and encrypts it anew to `output`, with a new data key and a new body; the length
/// of the plaintext. The plaintext is never written anywhere.
///
/// The encryptor's context is the new file's: carry the old one over with
/// [`Encryptor::context`]. Both paths may be the same with [`Replace::Yes`].
///
/// # Errors
/// As [`Decryptor::reader`] and [`Encryptor::encrypt_file`].
pub fn reencrypt_file(
    decryptor: &Decryptor<'_>,
    encryptor: &Encryptor<'_>,
    input: &Path,
    output: &Path,
    replace: Replace,
) -> Result<u64> {
    let reader = decryptor.seekable_reader(open_input(input)?)?;
    let (target, done) = renew(reader, encryptor, AtomicFile::create(output, replace)?)?;
    target.commit()?;
    Ok(done)
}

/// The same into `target`, which is then whole but not committed: for a
/// [`Batch`](crate::durable::Batch).
///
/// # Errors
/// As [`reencrypt_file`].
pub fn reencrypt_into(
    decryptor: &Decryptor<'_>,
    encryptor: &Encryptor<'_>,
    input: &Path,
    target: AtomicFile,
) -> Result<AtomicFile> {
    let reader = decryptor.seekable_reader(open_input(input)?)?;
    Ok(renew(reader, encryptor, target)?.0)
}

fn renew(mut reader: DecryptReader<Input>, encryptor: &Encryptor<'_>, target: AtomicFile) -> Result<(AtomicFile, u64)> {
    let mut writer = encryptor.writer(target)?;
    let mut done = 0;
    loop {
        match reader.write_to(&mut writer)? {
            0 => break,
            len => done += len as u64,
        }
        encryptor.report(done);
    }
    Ok((writer.finish()?, done))
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
    fn is_regular(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => cannot_read(&self.path, error).into(),
        })
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| cannot_read(&self.path, error).into())
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read '{}'", path.display()), error)
}
