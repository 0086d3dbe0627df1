//! Files that are there whole or not at all, and directories that no operation leaves.

mod attributes;
mod batch;
mod directory;
mod location;
mod temporary;
mod writeback;

pub use attributes::{LostAttribute, creation_mode};
pub use batch::Batch;
pub use directory::{Directory, FileId, FileKind, Status};
pub use location::{FileVersion, Location};
use temporary::Temporary;
pub use temporary::{is_temporary, remove_leftover, remove_temporaries};
use writeback::Writeback;

use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether an output that exists is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// No: the operation fails with `OutputExists`.
    No,
    /// Yes: once its replacement is whole and on the disk.
    Yes,
}

/// The mode of a new file that is meant for all whom the umask lets read it.
const PUBLIC_MODE: u32 = 0o666;

/// A file that appears under its name only when it is [committed](Self::commit).
///
/// Until then it is a temporary file beside the target, which is removed on drop; [`remove_leftover`] removes what a
/// killed process leaves.
///
/// A new file is created with its mode, less the umask. A replacement gets the owner, the group, the access control
/// list, the extended attributes and the mode of the file that it replaces before it gets its name; what it cannot be
/// given narrows its mode ([`lost`](Self::lost)).
#[derive(Debug)]
pub struct AtomicFile {
    /// The path as the caller gave it, for messages.
    path: PathBuf,
    output: Output,
    lost: Vec<LostAttribute>,
    /// Smaller than that of every file that was begun later.
    begun: u64,
}

#[derive(Debug)]
enum Output {
    Temporary(File, Box<Unnamed>, Writeback),
    Direct(File),
}

static BEGUN: AtomicU64 = AtomicU64::new(0);

impl AtomicFile {
    /// Begins a file that is to stand at `path`, for everyone whom the umask lets read it.
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with).
    pub fn create(path: &Path, replace: Replace) -> Result<Self> {
        Self::create_with(path, replace, PUBLIC_MODE)
    }

    /// Begins a file that is to stand at `path`; a new one gets the permissions `mode`, less the umask.
    ///
    /// A symbolic link at the end of `path` stays, and what it points to is replaced. A target that exists and is not
    /// a regular file, such as a device or a pipe, is written directly with [`Replace::Yes`].
    ///
    /// # Errors
    /// `OutputExists` if there is one and `replace` is [`Replace::No`]; `Io` if none can be written there.
    pub fn create_with(path: &Path, replace: Replace, mode: u32) -> Result<Self> {
        let failed = |error| cannot_write(path, error);
        match path.metadata() {
            Ok(found) if found.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => Self::direct(path, replace),
            _ => Self::create_at(&Location::resolve(path).map_err(failed)?, replace, mode),
        }
    }

    /// Begins a file that is to stand at a location. With [`Replace::Yes`] it replaces a symbolic link itself.
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with); `Io` if the location has a directory, a device or a pipe.
    pub fn create_at(location: &Location, replace: Replace, mode: u32) -> Result<Self> {
        let failed = |error| cannot_write(location.path(), error);
        let kind = location.kind().map_err(failed)?;
        let replaced = match kind {
            Some(_) if replace == Replace::No => return Err(output_exists(location.path())),
            None | Some(FileKind::SymbolicLink) => None,
            Some(FileKind::File) => Some(open_replaced(location).map_err(failed)?),
            Some(FileKind::Directory) => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Some(FileKind::Special) => return Err(failed(io::Error::other("it is not a regular file"))),
        };
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed);
        // Open to its owner alone until it has the owner and the list of the file that it replaces.
        let mode = if replaced.is_some() { 0o600 } else { mode };
        let (file, temporary) = Temporary::beside(location, mode).map_err(failed)?;
        let lost = match replaced {
            Some(old) => attributes::transfer(&old, &file).map_err(failed)?,
            None => Vec::new(),
        };
        let unnamed = Box::new(Unnamed { temporary, location: location.clone(), replace, expected: None });
        let output = Output::Temporary(file, unnamed, Writeback::default());
        Ok(Self { path: location.path().to_owned(), output, lost, begun })
    }

    /// A device or a pipe, which may be another user's trap if the caller did not insist on writing there.
    fn direct(path: &Path, replace: Replace) -> Result<Self> {
        if replace == Replace::No {
            let message = format!("'{}' exists already, and is not a regular file", path.display());
            return Err(Error::new(ErrorKind::OutputExists, message));
        }
        let failed = |error| cannot_write(path, error);
        let file = File::options().write(true).open(path).map_err(failed)?;
        // Asked of the handle: a regular file would be overwritten in part, and under its name.
        if file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it was replaced while it was opened")));
        }
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed);
        Ok(Self { path: path.to_owned(), output: Output::Direct(file), lost: Vec::new(), begun })
    }

    /// Gives the file its name only if what has that name is then still this version: for a file that is made from the
    /// one that it replaces.
    #[must_use]
    pub fn expecting(mut self, version: FileVersion) -> Self {
        if let Output::Temporary(_, unnamed, _) = &mut self.output {
            unnamed.expected = Some(version);
        }
        self
    }

    /// Returns what the replaced file had and this one could not be given.
    #[must_use]
    pub fn lost(&self) -> &[LostAttribute] {
        &self.lost
    }

    /// The file that is being written.
    #[must_use]
    pub fn file(&self) -> &File {
        match &self.output {
            Output::Temporary(file, ..) | Output::Direct(file) => file,
        }
    }

    /// Puts the file on the disk and under its name. Logs a warning if attributes of the replaced file are lost.
    ///
    /// # Errors
    /// `OutputExists` if another has appeared there meanwhile and replacing was not asked for;
    /// `Io` if the operating system fails. Unless it is the directory that could not be synced,
    /// there is then no new file.
    pub fn commit(self) -> Result<()> {
        warn_of_lost(&self.path, &self.lost);
        match self.output {
            // Pipes and devices cannot be synced.
            Output::Direct(mut file) => file.flush().map_err(|error| cannot_write(&self.path, error)),
            Output::Temporary(file, unnamed, writeback) => {
                // The data first, then the name: a name must never stand for data that a power failure took.
                let synced = writeback.finish().and_then(|()| file.sync_all());
                synced.map_err(|error| cannot_write(&self.path, error))?;
                let location = unnamed.name()?;
                location.directory().sync().map_err(|error| cannot_write(&self.path, error))
            }
        }
    }
}

fn warn_of_lost(path: &Path, lost: &[LostAttribute]) {
    if !lost.is_empty() {
        let lost: Vec<_> = lost.iter().map(ToString::to_string).collect();
        tracing::warn!(
            "'{}' could not be given what it had before: {}; its mode is narrower for it",
            path.display(),
            lost.join(", ")
        );
    }
}

/// Opens the file that is to be replaced, for its attributes.
fn open_replaced(location: &Location) -> io::Result<File> {
    match location.open() {
        // Its owner may write it and not read it, and can still replace it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            location.directory().open_write_only(location.name()).map_err(|_| error)
        }
        other => other,
    }
}

/// A temporary file that waits for its name. It is removed on drop.
#[derive(Debug)]
struct Unnamed {
    temporary: Temporary,
    location: Location,
    replace: Replace,
    /// The file that is replaced, if it must not have changed.
    expected: Option<FileVersion>,
}

impl Unnamed {
    /// Renames it, and returns where it is. Neither the data nor the name is synced here.
    fn name(self) -> Result<Location> {
        let Self { temporary, location, replace, expected } = self;
        // As late as can be: what was written to the old file since then would be lost.
        if let Some(expected) = expected
            && !location.open().and_then(|file| FileVersion::of(&file)).is_ok_and(|version| version == expected)
        {
            return Err(changed_meanwhile(location.path()));
        }
        match temporary.rename(location.name(), replace == Replace::Yes) {
            Ok(()) => Ok(location),
            Err(error) if replace == Replace::No && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(output_exists(location.path()))
            }
            Err(error) => Err(cannot_write(location.path(), error)),
        }
    }
}

/// A failed write names the file: the error is a [`crate::Error`] inside.
impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file().write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => cannot_write(&self.path, error).into(),
        })?;
        if let Output::Temporary(file, _, writeback) = &mut self.output {
            writeback.wrote(file, len);
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// Waits until the entry of `path` in its directory is on the disk: for what is made without an [`AtomicFile`], such
/// as a directory.
///
/// # Errors
/// `Io` if the directory cannot be synced.
pub fn sync_entry(path: &Path) -> Result<()> {
    sync_directory(path).map_err(|error| cannot_write(path, error))
}

/// Waits until the names in the directory of `target` are on the disk.
pub(crate) fn sync_directory(target: &Path) -> io::Result<()> {
    Directory::open(target.parent().unwrap_or(Path::new("")))?.sync()
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write '{}'", path.display()), error)
}

pub(crate) fn changed_meanwhile(path: &Path) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("'{}' was changed by another process meanwhile, and is as that left it", path.display()),
    )
}

fn output_exists(path: &Path) -> Error {
    Error::new(ErrorKind::OutputExists, format!("'{}' exists already", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn write(path: &Path, replace: Replace, bytes: &[u8]) -> Result<()> {
        let mut file = AtomicFile::create(path, replace)?;
        file.write_all(bytes).unwrap();
        file.commit()
    }

    #[test]
    fn nothing_is_there_before_the_commit_and_nothing_is_left_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut file = AtomicFile::create(&path, Replace::No).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        let name = names[0].to_str().unwrap();
        assert!(name.starts_with(".out.") && name.ends_with(".keyward-tmp"), "{name}");
        drop(file);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        write(&path, Replace::No, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let late = AtomicFile::create(&path, Replace::No).unwrap();
        fs::write(&path, b"old").unwrap();
        assert_eq!(late.commit().unwrap_err().kind(), ErrorKind::OutputExists);
        assert_eq!(write(&path, Replace::No, b"new").unwrap_err().kind(), ErrorKind::OutputExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, Replace::Yes, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn temporary_file_is_never_wider_than_what_it_becomes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mode = |file: &AtomicFile| file.file().metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&AtomicFile::create_with(&path, Replace::No, 0o600).unwrap()), 0o600);
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(mode(&AtomicFile::create_with(&path, Replace::Yes, 0o666).unwrap()), 0o600);
    }

    #[test]
    fn links_stay_and_devices_are_written_directly() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("out"), directory.path().join("link"));
        fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, Replace::Yes, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        write(Path::new("/dev/null"), Replace::Yes, b"gone").unwrap();
        let error = write(Path::new("/dev/null"), Replace::No, b"gone").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutputExists);
    }

    #[test]
    fn errors_name_the_path() {
        let error = write(Path::new("/nonexistent/x"), Replace::No, b"").unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Io, "cannot write '/nonexistent/x'"));
        assert!(std::error::Error::source(&error).is_some());
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(write(directory.path(), Replace::Yes, b"").unwrap_err().kind(), ErrorKind::Io);
        let long = directory.path().join("x".repeat(255));
        write(&long, Replace::No, b"").unwrap();
    }

    #[test]
    fn a_long_file_is_synced_on_its_way_and_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        let piece: Vec<u8> = (0..1 << 20).map(|i| (i % 253) as u8).collect();
        let mut file = AtomicFile::create(&path, Replace::No).unwrap();
        for _ in 0..40 {
            file.write_all(&piece).unwrap();
        }
        assert!(matches!(&file.output, Output::Temporary(_, _, writeback) if writeback.is_at_work()));
        file.commit().unwrap();
        let written = fs::read(&path).unwrap();
        assert!(written.len() == 40 << 20 && written.chunks(1 << 20).all(|part| part == piece));
    }
}
