//! The lock by which processes take turns with SoftHSM's files.
//!
//! SoftHSM keeps a token in files. Two processes see each other's half-written ones: the flags, which every login
//! writes, read as those of a token without a name or PIN, and stay so while the process lives. Two that make an object
//! at the same time may never see each other's, because both count the generation of the token up to the same number. So
//! whatever reads or writes these files is done under an advisory lock. Wrapping and unwrapping touch no file and take
//! none. Other modules see to this themselves.
//!
//! The lock is a file in the directory that holds the tokens, open to those alone who may write there: a lock that any
//! user of the host can open, such as one on the module's file, lets any of them stop all others. Where that directory is
//! stands in SoftHSM's configuration, which the environment names; so the program finds it and the library is given it.

use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A process that holds the lock is at work on a few small files. One that is stopped meanwhile holds it on.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);
/// SoftHSM takes directories for tokens, and no notice of files.
const NAME: &str = "keyward.lock";

/// What a call does to the files of SoftHSM's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileUse {
    None,
    Read,
    Write,
}

/// The lock of one module. Without a directory there is none, and nothing is locked.
#[derive(Debug)]
pub(super) struct SoftHsmLock {
    directory: OnceLock<PathBuf>,
    patience: Duration,
    /// The last wait was in vain. The next attempts do not wait: a command waits once, however many calls it makes.
    timed_out: AtomicBool,
}

/// Unlocks when dropped, as closing the file does.
#[derive(Debug)]
#[must_use]
pub(super) struct SoftHsmGuard {
    _file: Option<File>,
}

impl Default for SoftHsmLock {
    fn default() -> Self {
        Self { directory: OnceLock::new(), patience: PATIENCE, timed_out: AtomicBool::new(false) }
    }
}

impl SoftHsmLock {
    /// Sets the directory that holds the tokens, which is set once for a process, as SoftHSM reads its configuration.
    pub(super) fn set_directory(&self, directory: &Path) -> Result<()> {
        let found = directory.canonicalize().map_err(|error| {
            let message = format!("cannot open the directory of SoftHSM's tokens '{}'", directory.display());
            Error::new(ErrorKind::ModuleUnavailable, message)
                .with_source(error)
                .with_hint("create it, or correct directories.tokendir in SoftHSM's configuration")
        })?;
        let known = self.directory.get_or_init(|| found.clone());
        if *known == found {
            return Ok(());
        }
        let (known, found) = (known.display(), found.display());
        let message = format!("SoftHSM's tokens cannot be in '{found}': this process uses those in '{known}'");
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// The directory that holds the tokens, if it is known.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.get().map(PathBuf::as_path)
    }

    /// Waits until no other process writes, or for `Write` until none reads either.
    ///
    /// # Errors
    /// `Timeout` after a bounded wait, and `TokenUnavailable` if the lock cannot be opened: SoftHSM is not used without.
    pub(super) fn acquire(&self, files: FileUse) -> Result<SoftHsmGuard> {
        let operation = match files {
            FileUse::None => return Ok(SoftHsmGuard { _file: None }),
            FileUse::Read => FlockOperation::NonBlockingLockShared,
            FileUse::Write => FlockOperation::NonBlockingLockExclusive,
        };
        let Some(directory) = self.directory() else { return Ok(SoftHsmGuard { _file: None }) };
        let file = open(directory).map_err(|error| refused(directory, error))?;
        let patience = if self.timed_out.load(Ordering::Relaxed) { Duration::ZERO } else { self.patience };
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, operation) {
                Ok(()) => {
                    self.timed_out.store(false, Ordering::Relaxed);
                    return Ok(SoftHsmGuard { _file: Some(file) });
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    self.timed_out.store(true, Ordering::Relaxed);
                    return Err(busy(directory));
                }
                Err(error) => return Err(refused(directory, error.into())),
            }
        }
    }
}

fn busy(directory: &Path) -> Error {
    let path = directory.join(NAME);
    let message = format!("another process held the lock on SoftHSM's tokens '{}' for {PATIENCE:?}", path.display());
    Error::new(ErrorKind::Timeout, message).with_hint(format!("`fuser {}` shows which one", path.display()))
}

fn refused(directory: &Path, error: io::Error) -> Error {
    let path = directory.join(NAME);
    let message = format!("cannot lock SoftHSM's tokens with '{}'", path.display());
    Error::new(ErrorKind::TokenUnavailable, message).with_source(error).with_hint(
        "create the file as the owner of the directory, and let all users of the tokens read it, and no others",
    )
}

/// Opens the lock file, and makes it if it is not there. A link is not followed.
fn open(directory: &Path) -> io::Result<File> {
    let path = directory.join(NAME);
    let file = match open_existing(&path) {
        Err(Errno::NOENT) => {
            create(directory, &path)?;
            open_existing(&path)?
        }
        opened => opened?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn open_existing(path: &Path) -> Result<File, Errno> {
    // Not waiting for the other end of a FIFO.
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |access| rustix::fs::open(path, flags | access, Mode::empty()).map(File::from);
    // NFS locks exclusively what is open for writing. Elsewhere reading is enough, for users who may only read.
    match open(OFlags::RDWR) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => open(OFlags::RDONLY),
        opened => opened,
    }
}

/// Makes the lock file for those who may write in the directory, and for no others: to read it is enough to hold the
/// lock. It appears with its rights, so that no process is refused in between.
fn create(directory: &Path, path: &Path) -> io::Result<()> {
    let of_directory = directory.metadata()?;
    let new = tempfile::Builder::new().prefix(".keyward-lock-").tempfile_in(directory)?;
    let file = new.as_file();
    // Root makes it for the owner of the directory.
    if of_directory.uid() != file.metadata()?.uid() {
        let _ = fchown(file, Some(of_directory.uid()), None);
    }
    let same_group = fchown(file, None, Some(of_directory.gid())).is_ok();
    let writable_by = |bit: u32| of_directory.mode() & bit != 0;
    let group = if same_group && writable_by(0o020) { 0o060 } else { 0 };
    let others = if writable_by(0o002) { 0o006 } else { 0 };
    file.set_permissions(Permissions::from_mode(0o600 | group | others))?;
    match new.persist_noclobber(path) {
        // Another process was faster.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        persisted => persisted.map(drop).map_err(|error| error.error),
    }
}

/// Returns where SoftHSM keeps its tokens, by its configuration file: `directories.tokendir`, or `None` if the file
/// cannot be read or does not say. What the program does with it: [`Module::load_softhsm`](super::Module::load_softhsm),
/// [`TokenOptions::softhsm_directory`](super::TokenOptions::softhsm_directory).
///
/// SoftHSM itself reads the file that `SOFTHSM2_CONF` names, else `~/.config/softhsm2/softhsm2.conf`, else the one of the
/// system. This library reads no environment variables.
#[must_use]
pub fn softhsm_directory(configuration: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(configuration).ok()?;
    let mut values = text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        (name.trim() == "directories.tokendir").then(|| value.trim())
    });
    // Of several the last counts.
    values.next_back().filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn lock(directory: &Path) -> SoftHsmLock {
        let lock = SoftHsmLock { patience: Duration::from_millis(20), ..SoftHsmLock::default() };
        lock.set_directory(directory).unwrap();
        lock
    }

    #[test]
    fn lock_keeps_writers_apart_and_waits_once() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (lock(directory.path()), lock(directory.path()));
        let readers = (one.acquire(FileUse::Read).unwrap(), other.acquire(FileUse::Read).unwrap());
        let error = other.acquire(FileUse::Write).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(other.timed_out.load(Ordering::Relaxed));
        drop(readers);
        let writer = other.acquire(FileUse::Write).unwrap();
        assert!(!other.timed_out.load(Ordering::Relaxed));
        one.acquire(FileUse::Read).unwrap_err();
        drop((one.acquire(FileUse::None).unwrap(), writer));
        drop(one.acquire(FileUse::Read).unwrap());
    }

    #[test]
    fn lock_file_is_for_those_who_may_write_beside_it() {
        for (of_directory, of_file) in
            [(0o700, 0o600), (0o755, 0o600), (0o770, 0o660), (0o2770, 0o660), (0o1777, 0o666), (0o757, 0o606)]
        {
            let directory = tempfile::tempdir().unwrap();
            std::fs::set_permissions(directory.path(), Permissions::from_mode(of_directory)).unwrap();
            drop(lock(directory.path()).acquire(FileUse::Write).unwrap());
            let meta = directory.path().join(NAME).metadata().unwrap();
            assert_eq!(meta.mode() & 0o7777, of_file, "{of_directory:o}");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn planted_lock_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let target = directory.path().join("target");
        symlink(&target, &path).unwrap();
        let refused = || lock(directory.path()).acquire(FileUse::Read).unwrap_err().kind();
        assert_eq!(refused(), ErrorKind::TokenUnavailable);
        std::fs::write(&target, "").unwrap();
        assert_eq!(refused(), ErrorKind::TokenUnavailable);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(refused(), ErrorKind::TokenUnavailable);
        std::fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(refused(), ErrorKind::TokenUnavailable);
    }

    #[test]
    fn one_process_has_one_directory() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lock = lock(one.path());
        lock.set_directory(one.path()).unwrap();
        assert_eq!(lock.set_directory(other.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let missing = SoftHsmLock::default().set_directory(&one.path().join("missing"));
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::ModuleUnavailable);
    }

    #[test]
    fn configuration_names_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("softhsm2.conf");
        for (text, found) in [
            ("directories.tokendir = /a/b # there\n", Some("/a/b")),
            ("log.level=INFO\n  directories.tokendir=/a\n", Some("/a")),
            ("# directories.tokendir = /a\n", None),
            ("directories.tokendir =\n", None),
            ("", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(softhsm_directory(&path).as_deref(), found.map(Path::new), "{text}");
        }
        assert_eq!(softhsm_directory(&directory.path().join("missing")), None);
    }
}
