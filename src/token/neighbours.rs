//! Other processes that use SoftHSM at the same time.
//!
//! SoftHSM keeps a token in files. Two processes see each other's half-written ones: the flags,
//! which every login writes, read as those of a token without a name or PIN, and for as long as
//! the process lives. Two that make an object at the same time may never see each other's, because
//! both count the generation of the token up to the same number. So whatever reads or writes these
//! files is done under an advisory lock on the file of the module, which every process can open.
//! Wrapping and unwrapping touch no file and take no lock. Other modules see to this themselves.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who holds the lock is at work on a few small files; one who is stopped meanwhile does not stop
/// everybody else for good.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);

/// The lock file, where one is needed.
pub(super) struct Neighbours(Option<PathBuf>);

/// Unlocks when dropped, as closing the file does.
#[must_use]
pub(super) struct Quiet {
    _file: Option<File>,
}

impl Neighbours {
    pub(super) fn of(module: &Path) -> Self {
        let name = module.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Self(name.contains("softhsm").then(|| module.to_owned()))
    }

    /// Whether there is anything to mind.
    pub(super) fn matter(&self) -> bool {
        self.0.is_some()
    }

    /// Nobody writes meanwhile.
    pub(super) fn no_writer(&self) -> Quiet {
        self.lock(FlockOperation::NonBlockingLockShared)
    }

    /// Nobody reads or writes meanwhile.
    pub(super) fn nobody(&self) -> Quiet {
        self.lock(FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(&self, operation: FlockOperation) -> Quiet {
        let Some(file) = self.0.as_ref().and_then(|path| File::open(path).ok()) else { return Quiet { _file: None } };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(&file, operation) {
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => {
                    tracing::warn!(%error, "using SoftHSM without regard to other processes");
                    return Quiet { _file: None };
                }
                Ok(()) => return Quiet { _file: Some(file) },
            }
        }
    }
}
