//! Temporary files: their names, their owners, and the removal of those that a killed process left.
//!
//! The process that writes one holds a lock on it (flock(2)) until it has its name. The kernel releases the lock when
//! the process ends, however it ends: a file that another process can lock is a leftover.

use super::cannot_write;
use super::directory::{Directory, FileId};
use super::location::Location;
use crate::error::Result;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SUFFIX: &str = ".keyward-tmp";

/// How often a name may be taken, or another process may take a new file for a leftover before it is locked.
const ATTEMPTS: usize = 10;

/// Whether a file has the name of a temporary file.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(SUFFIX.as_bytes())
}

/// Removes a temporary file that a process of this user left when it was killed, and returns whether it did.
///
/// What has another name, is not a regular file, belongs to another user or is still being written stays. A file
/// system that knows no locks keeps its leftovers. If locks of one host are not seen by another, as on some network
/// file systems, a file that the other host is still writing may go: then that cannot be given its name, and fails.
///
/// ```
/// use keyward::durable::{AtomicFile, Directory, Replace, remove_leftover};
/// # let temporary = tempfile::tempdir().unwrap();
/// # let path = temporary.path();
/// let file = AtomicFile::create(&path.join("out"), Replace::No)?;
/// let directory = Directory::open(path)?;
/// let name = directory.names()?.remove(0);
/// assert!(!remove_leftover(&directory, &name)?, "it is being written");
/// # drop(file);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Io` if it is a leftover and cannot be removed.
pub fn remove_leftover(directory: &Directory, name: &OsStr) -> Result<bool> {
    if !is_temporary(name) {
        return Ok(false);
    }
    let Ok(file) = directory.open_file(name) else { return Ok(false) };
    let Ok(found) = file.metadata() else { return Ok(false) };
    if found.uid() != rustix::process::geteuid().as_raw() || file.try_lock().is_err() {
        return Ok(false);
    }
    // Until it was locked, its writer may have given it its name.
    if !directory.status(name).is_ok_and(|now| now.id == FileId::from(&found)) {
        return Ok(false);
    }
    directory.remove(name).map(|()| true).map_err(|error| cannot_write(name.as_ref(), error))
}

/// The temporary files of this process, for [`remove_temporaries`]: a signal that ends the process drops nothing.
static TEMPORARIES: Mutex<Temporaries> = Mutex::new(Temporaries { files: BTreeMap::new(), ended: false });
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Temporaries {
    files: BTreeMap<u64, (Directory, OsString)>,
    /// Whether they were removed, and no more may be made.
    ended: bool,
}

fn temporaries() -> MutexGuard<'static, Temporaries> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of all [`AtomicFile`](super::AtomicFile)s that are not committed.
///
/// For a program that is about to end by a signal, when nothing is dropped any more. What is
/// committed later fails, and no other is made: threads may still be at work.
pub fn remove_temporaries() {
    let mut all = temporaries();
    all.ended = true;
    for (directory, name) in std::mem::take(&mut all.files).into_values() {
        let _ = directory.remove(&name);
    }
}

/// A temporary file beside the file that it becomes. It is removed on drop, unless it was given its name.
#[derive(Debug)]
pub(super) struct Temporary {
    directory: Directory,
    name: OsString,
    number: u64,
}

impl Temporary {
    /// Creates a temporary file, which is locked, with the permissions `mode` less the umask.
    pub(super) fn beside(target: &Location, mode: u32) -> io::Result<(File, Self)> {
        for _ in 0..ATTEMPTS {
            let name = random_name(target.name())?;
            let created = {
                // Made and listed with nothing in between.
                let mut all = temporaries();
                if all.ended {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                target.directory().create_new(&name, mode).map(|file| {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    all.files.insert(number, (target.directory().clone(), name.clone()));
                    (file, Self { directory: target.directory().clone(), name, number })
                })
            };
            match created {
                Ok((file, temporary)) if is_claimed(&file)? => return Ok((file, temporary)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "other processes remove its temporary files"))
    }

    /// Gives the file its name, in place of what has it if `replace` says so.
    pub(super) fn rename(self, to: &OsStr, replace: bool) -> io::Result<()> {
        match replace {
            true => self.directory.rename(&self.name, to)?,
            false => self.directory.rename_new(&self.name, to)?,
        }
        // Off the list, so that dropping it removes nothing.
        temporaries().files.remove(&self.number);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // If it is not listed any more, it was removed.
        if temporaries().files.remove(&self.number).is_some() {
            let _ = self.directory.remove(&self.name);
        }
    }
}

/// A name beside that of the target: `.NAME.RANDOM.keyward-tmp`, short enough to be the name of a file.
fn random_name(target: &OsStr) -> io::Result<OsString> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = target.as_bytes();
    let name = &name[..name.len().min(200)];
    Ok(OsString::from_vec([b".", name, b".", random.as_bytes(), SUFFIX.as_bytes()].concat()))
}

/// Locks a new file, and returns whether it is still there: another process may have taken it for a leftover.
fn is_claimed(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        // Without locks, no other process gets one to remove it either.
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{AtomicFile, Batch, Replace};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn temporaries(directory: &Path) -> Vec<PathBuf> {
        let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| is_temporary(path.file_name().unwrap())).collect()
    }

    #[test]
    fn what_is_being_written_or_waits_in_a_batch_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let open = Directory::open(directory.path()).unwrap();
        let create = |name: &str| AtomicFile::create(&directory.path().join(name), Replace::No).unwrap();
        let written = create("a");
        let mut batch = Batch::new();
        batch.add(create("b"));
        let all = temporaries(directory.path());
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|path| !remove_leftover(&open, path.file_name().unwrap()).unwrap()));
        written.commit().unwrap();
        assert!(batch.commit().iter().all(Result::is_ok));
        assert!(directory.path().join("a").exists() && directory.path().join("b").exists());
    }

    #[test]
    fn a_leftover_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let open = Directory::open(directory.path()).unwrap();
        fs::write(path(".a.x.keyward-tmp"), "half").unwrap();
        assert!(remove_leftover(&open, ".a.x.keyward-tmp".as_ref()).unwrap());
        assert!(!path(".a.x.keyward-tmp").exists());
        fs::write(path("a.keyward-tmp"), "a name that is none of ours").unwrap();
        fs::create_dir(path(".dir.keyward-tmp")).unwrap();
        std::os::unix::fs::symlink("a.keyward-tmp", path(".link.keyward-tmp")).unwrap();
        let pipe = path(".pipe.keyward-tmp");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for name in ["a.keyward-tmp", ".dir.keyward-tmp", ".link.keyward-tmp", ".pipe.keyward-tmp", ".no.keyward-tmp"] {
            assert!(!remove_leftover(&open, name.as_ref()).unwrap(), "{name}");
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
