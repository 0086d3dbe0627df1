//! Whole files: an output gets its name only when it is whole and on the disk.

use super::reader::Decryptor;
use super::writer::Encryptor;
use crate::durable::{AtomicFile, Replace};
use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

impl Encryptor<'_> {
    /// Encrypts the file `input` to `output`; the length of the plaintext.
    ///
    /// `input` and `output` may be the same with [`Replace::Yes`].
    ///
    /// # Errors
    /// As [`writer`](Encryptor::writer), and `OutputExists`. There is then no new file, and an
    /// existing one is as it was.
    pub fn encrypt_file(&self, input: &Path, output: &Path, replace: Replace) -> Result<u64> {
        let mut source = open_input(input)?;
        let target = AtomicFile::create(output, replace)?;
        let mut writer = self.writer(target).map_err(|error| naming(output, error))?;
        let mut done = 0;
        loop {
            // A failed read and a failed write look alike here; the write's names itself.
            match writer.read_from(&mut source).map_err(|error| Error::io(in_between(input, output), error))? {
                0 => break,
                len => done += len as u64,
            }
            self.report(done);
        }
        writer.finish().map_err(|error| naming(output, error))?.commit()?;
        Ok(done)
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
        let source = open_input(input)?;
        let mut reader = match source.metadata().is_ok_and(|metadata| metadata.is_file()) {
            true => self.seekable_reader(source)?,
            false => self.reader(source)?,
        };
        let mut target = AtomicFile::create(output, replace)?;
        let mut done = 0;
        loop {
            match reader.write_to(&mut target).map_err(|error| naming(output, error))? {
                0 => break,
                len => done += len as u64,
            }
            if let Some(progress) = self.progress {
                progress(done);
            }
        }
        target.commit()?;
        Ok(done)
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
    let mut reader = decryptor.seekable_reader(open_input(input)?)?;
    let target = AtomicFile::create(output, replace)?;
    let mut writer = encryptor.writer(target).map_err(|error| naming(output, error))?;
    let mut done = 0;
    loop {
        match reader.write_to(&mut writer).map_err(|error| naming(output, error))? {
            0 => break,
            len => done += len as u64,
        }
        encryptor.report(done);
    }
    writer.finish().map_err(|error| naming(output, error))?.commit()?;
    Ok(done)
}

pub(super) fn open_input(path: &Path) -> Result<File> {
    let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    match file.metadata().map_err(failed)?.is_dir() {
        true => Err(failed(std::io::ErrorKind::IsADirectory.into())),
        false => Ok(file),
    }
}

fn in_between(input: &Path, output: &Path) -> String {
    format!("cannot encrypt '{}' to '{}'", input.display(), output.display())
}

/// Gives an error of writing the path that it lacks.
fn naming(output: &Path, error: Error) -> Error {
    if error.kind() == crate::ErrorKind::Io && error.to_string() == "cannot write" {
        return error.with_message(format!("cannot write '{}'", output.display()));
    }
    error
}
