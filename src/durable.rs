//! Files that are there whole or not at all.

mod batch;
mod temporary;
mod writeback;

pub use batch::Batch;
pub use temporary::{is_temporary, remove_leftover};
use writeback::Writeback;

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::{NamedTempFile, TempPath};

/// Whether an output that exists is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// No: the operation fails with `OutputExists`.
    No,
    /// Yes: once its replacement is whole and on the disk.
    Yes,
}

/// A file that appears under its name only when it is [committed](Self::commit).
///
/// Until then it is a temporary file beside the target, which is removed on drop; what a killed process leaves,
/// [`remove_leftover`] removes. A new file has
/// the permissions that the umask leaves; a replacement has those of the file it replaces. A
/// symbolic link stays, and what it points to is replaced. A target that exists and is not a regular
/// file, such as a device or a pipe, is written directly.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    /// The path as the caller gave it, for messages.
    shown: PathBuf,
    output: Output,
    /// Smaller than that of every file that was begun later.
    begun: u64,
}

#[derive(Debug)]
enum Output {
    Temporary(NamedTempFile, Listed, Replace, Writeback),
    Direct(File),
}

/// The temporary files of this process, for [`remove_temporaries`]: what ends a process asks nobody
/// who holds what.
static TEMPORARIES: Mutex<Temporaries> = Mutex::new(Temporaries { paths: BTreeSet::new(), ended: false });

struct Temporaries {
    paths: BTreeSet<PathBuf>,
    /// Whether they were removed, and no more may be made.
    ended: bool,
}

fn temporaries() -> MutexGuard<'static, Temporaries> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of all [`AtomicFile`]s that are not committed.
///
/// For a program that is about to end by a signal, when nothing is dropped any more. What is
/// committed later fails, and no other is made: threads may still be at work.
pub fn remove_temporaries() {
    let mut all = temporaries();
    all.ended = true;
    for path in std::mem::take(&mut all.paths) {
        let _ = std::fs::remove_file(path);
    }
}

/// The place of a temporary file in the list; it is taken off when dropped.
#[derive(Debug)]
struct Listed(PathBuf);

impl Listed {
    /// Makes a temporary file and puts it on the list, with nothing in between.
    fn make(make: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<(NamedTempFile, Self)> {
        let mut all = temporaries();
        if all.ended {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let file = make()?;
        all.paths.insert(file.path().to_owned());
        let listed = Self(file.path().to_owned());
        Ok((file, listed))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        temporaries().paths.remove(&self.0);
    }
}

static BEGUN: AtomicU64 = AtomicU64::new(0);

impl AtomicFile {
    /// Begins a file that is to stand at `path`.
    ///
    /// # Errors
    /// `OutputExists` where there is one and `replace` is [`Replace::No`]; `Io` where none can be
    /// written there.
    pub fn create(path: &Path, replace: Replace) -> Result<Self> {
        let failed = |error| cannot_write(path, error);
        let exists = match path.symlink_metadata() {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed);
        let mut mode = None;
        let mut target = path.to_owned();
        if exists {
            target = path.canonicalize().map_err(failed)?;
            let metadata = target.metadata().map_err(failed)?;
            if !metadata.is_file() {
                let file = File::options().write(true).open(&target).map_err(failed)?;
                return Ok(Self { target, shown: path.to_owned(), output: Output::Direct(file), begun });
            }
            if replace == Replace::No {
                return Err(output_exists(path));
            }
            mode = Some(metadata.permissions().mode() & 0o777);
        }
        let make = || temporary::beside(&target, mode.unwrap_or(0o666));
        let (temporary, listed) = Listed::make(make).map_err(failed)?;
        if let Some(mode) = mode {
            // The umask has narrowed what the file was opened with.
            temporary.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        }
        let output = Output::Temporary(temporary, listed, replace, Writeback::default());
        Ok(Self { target, shown: path.to_owned(), output, begun })
    }

    /// The file that is being written.
    #[must_use]
    pub fn file(&self) -> &File {
        match &self.output {
            Output::Temporary(temporary, ..) => temporary.as_file(),
            Output::Direct(file) => file,
        }
    }

    /// Puts the file on the disk and under its name.
    ///
    /// # Errors
    /// `OutputExists` where another has appeared there meanwhile and replacing was not asked for;
    /// `Io` where the operating system fails. Unless it is the directory that could not be synced,
    /// there is then no new file.
    pub fn commit(self) -> Result<()> {
        match self.into_parts() {
            // Pipes and devices cannot be synced.
            Parts::Direct(mut file, shown) => file.flush().map_err(|error| cannot_write(&shown, error)),
            Parts::Temporary(file, writeback, unnamed) => {
                // The data first, then the name: a name must never stand for data that a power failure took.
                let synced = writeback.finish().and_then(|()| file.sync_all());
                synced.map_err(|error| cannot_write(&unnamed.shown, error))?;
                let shown = unnamed.shown.clone();
                let target = unnamed.name()?;
                sync_directory(&target).map_err(|error| cannot_write(&shown, error))
            }
        }
    }

    fn into_parts(self) -> Parts {
        let Self { target, shown, output, .. } = self;
        match output {
            Output::Direct(file) => Parts::Direct(file, shown),
            Output::Temporary(temporary, listed, replace, writeback) => {
                let (file, temporary) = temporary.into_parts();
                Parts::Temporary(file, writeback, Unnamed { temporary, target, shown, replace, _listed: listed })
            }
        }
    }
}

enum Parts {
    Temporary(File, Writeback, Unnamed),
    Direct(File, PathBuf),
}

/// A temporary file that waits for its name. It is removed on drop.
#[derive(Debug)]
struct Unnamed {
    temporary: TempPath,
    target: PathBuf,
    shown: PathBuf,
    replace: Replace,
    _listed: Listed,
}

impl Unnamed {
    /// Renames it, and gives the path where it is now. Neither the data nor the name is synced here.
    fn name(self) -> Result<PathBuf> {
        let Self { temporary, target, shown, replace, _listed } = self;
        let failed = |error| cannot_write(&shown, error);
        match replace {
            Replace::Yes => temporary.persist(&target).map_err(|error| failed(error.error))?,
            Replace::No => temporary.persist_noclobber(&target).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => output_exists(&shown),
                _ => failed(error.error),
            })?,
        }
        Ok(target)
    }
}

/// A failed write names the file: the error is a [`crate::Error`] inside.
impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file().write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => cannot_write(&self.shown, error).into(),
        })?;
        if let Output::Temporary(temporary, _, _, writeback) = &mut self.output {
            writeback.wrote(temporary.as_file(), len);
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// Makes last that `path` is in its directory: for what is made without an [`AtomicFile`], a directory.
///
/// # Errors
/// `Io` where the directory cannot be synced.
pub fn sync_entry(path: &Path) -> Result<()> {
    sync_directory(path).map_err(|error| cannot_write(path, error))
}

/// Makes what happened to names in the directory of `target` last.
pub(crate) fn sync_directory(target: &Path) -> io::Result<()> {
    match File::open(directory(target)).and_then(|directory| directory.sync_all()) {
        // Some file systems cannot sync a directory.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write '{}'", path.display()), error)
}

fn output_exists(path: &Path) -> Error {
    Error::new(ErrorKind::OutputExists, format!("'{}' exists already", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
    fn links_stay_and_devices_are_written_directly() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("out"), directory.path().join("link"));
        fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, Replace::Yes, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        write(Path::new("/dev/null"), Replace::No, b"gone").unwrap();
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
        assert!(matches!(&file.output, Output::Temporary(_, _, _, writeback) if writeback.is_at_work()));
        file.commit().unwrap();
        let written = fs::read(&path).unwrap();
        assert!(written.len() == 40 << 20 && written.chunks(1 << 20).all(|part| part == piece));
    }
}
