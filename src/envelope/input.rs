//! Files that are read.

use super::pipeline::Feed;
use super::read_at::ReadAt;
use crate::durable::{FileVersion, Location, creation_mode};
use crate::error::{Error, Result};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An open file to read. A failed read names it.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    path: PathBuf,
    version: FileVersion,
}

impl InputFile {
    /// Opens the file at a path, a pipe or a device, too.
    ///
    /// # Errors
    /// `Io` if it cannot be opened or is a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error| cannot_read(path, error);
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let version = FileVersion::of(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), version })
    }

    /// Opens the regular file at a path. It does not wait for the other end of a pipe that another user put there.
    ///
    /// # Errors
    /// `Io` if it is another kind of file, or cannot be opened.
    pub fn open_regular(path: &Path) -> Result<Self> {
        let failed = |error| cannot_read(path, error);
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let version = FileVersion::of(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), version })
    }

    /// Opens the regular file at a location.
    ///
    /// # Errors
    /// `Io` if it is another kind of file, or cannot be opened.
    pub fn open_at(location: &Location) -> Result<Self> {
        let failed = |error| cannot_read(location.path(), error);
        let file = location.open().map_err(failed)?;
        let version = FileVersion::of(&file).map_err(failed)?;
        Ok(Self { file, path: location.path().to_owned(), version })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The version that the file had when it was opened.
    #[must_use]
    pub fn version(&self) -> FileVersion {
        self.version
    }

    /// Returns the permissions for a new file that is made from this one ([`creation_mode`]), or `None` if it is not
    /// a regular file.
    ///
    /// # Errors
    /// `Io` if they cannot be read.
    pub fn creation_mode(&self) -> Result<Option<u32>> {
        let is_regular = self.regular_len()?.is_some();
        is_regular.then(|| creation_mode(&self.file).map_err(|error| self.failed(error))).transpose()
    }

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

    pub(super) fn failed(&self, error: io::Error) -> Error {
        cannot_read(&self.path, error)
    }
}

impl ReadAt for InputFile {
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

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.failed(error).into(),
        })
    }
}

impl Seek for InputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| self.failed(error).into())
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read '{}'", path.display()), error)
}
