//! The lock on the current file of a log.

use super::files::{self, cannot};
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long the lock is waited for. A process that holds it writes and syncs a few lines.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts at the lock.
const PAUSE: Duration = Duration::from_micros(500);

/// A file with its lock held.
pub(super) struct Locked(pub(super) File);

impl Locked {
    pub(super) fn open_existing(path: &Path) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = files::open_writable(path).map_err(|error| cannot("open", path, error))?;
            wait_for_lock(&file, path, deadline)?;
            if is_same(&file, path).map_err(|error| cannot("find", path, error))? {
                return Ok(Self(file));
            }
        }
    }

    /// The file at `path`, made by this process or, at the same moment, by another.
    pub(super) fn create(path: &Path) -> Result<Self> {
        match files::create(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot("create", path, error)),
        }
        Self::open_existing(path)
    }
}

/// Whether this is the error of a file that is not there.
pub(super) fn is_not_found(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}

/// Waits for the lock on a file.
pub(super) fn wait_for_lock(file: &File, path: &Path, deadline: Instant) -> Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(cannot("lock", path, error.into())),
        }
    }
}

/// Whether the open file is the one at the path, to which no link leads.
pub(super) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let (open, there) = (file.metadata()?, path.symlink_metadata()?);
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}
