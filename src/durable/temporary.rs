//! Temporary files: how they are called, whose they are, and what becomes of those of a process that was killed.
//!
//! Whoever writes one holds a lock on it (flock(2)) until it has its name. The kernel lets the lock go when the
//! process ends, however it ends: what can be locked by another is a leftover.

use super::{cannot_write, directory};
use crate::error::Result;
use rustix::fs::OFlags;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

const SUFFIX: &str = ".keyward-tmp";

/// How often another may take a new file for a leftover before it is locked.
const ATTEMPTS: usize = 10;

/// Whether a file is called as the temporary files here are.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(SUFFIX.as_bytes())
}

/// Removes a temporary file that a process of this user left when it was killed; whether it did.
///
/// What is called otherwise, is no regular file, belongs to another user or is still being written stays. A file
/// system that knows no locks keeps its leftovers. Where locks of one host are not seen by another, as on some network
/// file systems, a file that the other host is still writing may go: then that cannot be given its name, and fails.
///
/// ```
/// use keyward::durable::{AtomicFile, Replace, remove_leftover};
/// # let directory = tempfile::tempdir().unwrap();
/// # let directory = directory.path();
/// let file = AtomicFile::create(&directory.join("out"), Replace::No)?;
/// let temporary = std::fs::read_dir(directory)?.next().unwrap()?.path();
/// assert!(!remove_leftover(&temporary)?, "somebody writes it");
/// # drop(file);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Io` where it is a leftover and cannot be removed.
pub fn remove_leftover(path: &Path) -> Result<bool> {
    if !path.file_name().is_some_and(is_temporary) {
        return Ok(false);
    }
    // Neither a link nor a pipe, which would wait for a writer, is opened.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let Ok(file) = File::options().read(true).custom_flags(flags).open(path) else { return Ok(false) };
    let Ok(found) = file.metadata() else { return Ok(false) };
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() || file.try_lock().is_err() {
        return Ok(false);
    }
    // Until it was locked, its writer may have given it its name.
    let is_there = path.symlink_metadata().is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()));
    if !is_there {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true).map_err(|error| cannot_write(path, error))
}

/// A new temporary file, which is locked.
pub(super) fn beside(target: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.as_bytes();
    // Short enough that the whole stays a file name.
    let name = &name[..name.len().min(200)];
    let prefix = OsString::from_vec([b".", name, b"."].concat());
    for _ in 0..ATTEMPTS {
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory(target))
            .map_err(without_path)?;
        if is_claimed(file.as_file())? {
            return Ok(file);
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "its temporary files are taken away all the time"))
}

/// Locks a new file; false where another was faster, and removes it.
fn is_claimed(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        // Where there are no locks, nobody gets one to remove it either.
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

/// `tempfile` adds the name of its own file, which the caller did not choose and never sees.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((what, _)) => io::Error::new(error.kind(), what),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{AtomicFile, Batch, Replace};
    use std::fs;
    use std::path::PathBuf;

    fn temporaries(directory: &Path) -> Vec<PathBuf> {
        let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| is_temporary(path.file_name().unwrap())).collect()
    }

    #[test]
    fn what_is_being_written_or_waits_in_a_batch_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let create = |name: &str| AtomicFile::create(&directory.path().join(name), Replace::No).unwrap();
        let written = create("a");
        let mut batch = Batch::new();
        batch.add(create("b"));
        let all = temporaries(directory.path());
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|path| !remove_leftover(path).unwrap()));
        written.commit().unwrap();
        assert!(batch.commit().iter().all(Result::is_ok));
        assert!(directory.path().join("a").exists() && directory.path().join("b").exists());
    }

    #[test]
    fn a_leftover_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path(".a.x.keyward-tmp"), "half").unwrap();
        assert!(remove_leftover(&path(".a.x.keyward-tmp")).unwrap());
        assert!(!path(".a.x.keyward-tmp").exists());
        fs::write(path("a.keyward-tmp"), "a name that is none of ours").unwrap();
        fs::create_dir(path(".dir.keyward-tmp")).unwrap();
        std::os::unix::fs::symlink("a.keyward-tmp", path(".link.keyward-tmp")).unwrap();
        let pipe = path(".pipe.keyward-tmp");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for name in ["a.keyward-tmp", ".dir.keyward-tmp", ".link.keyward-tmp", ".pipe.keyward-tmp", ".no.keyward-tmp"] {
            assert!(!remove_leftover(&path(name)).unwrap(), "{name}");
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
    }

    #[test]
    fn a_new_file_that_another_takes_for_a_leftover_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create_new(directory.path().join(name)).unwrap();
        assert!(is_claimed(&file("free")).unwrap());
        let removed = file("removed");
        fs::remove_file(directory.path().join("removed")).unwrap();
        assert!(!is_claimed(&removed).unwrap());
        let locked = file("locked");
        let other = File::open(directory.path().join("locked")).unwrap();
        other.try_lock().unwrap();
        assert!(!is_claimed(&locked).unwrap());
    }
}
