//! Open directories. An operation through a handle takes place in the directory that was opened, even if its path
//! leads elsewhere by then.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// An open directory.
///
/// Every name is a single component, and a symbolic link is never followed (`O_NOFOLLOW`, openat(2)). So no operation
/// leaves the directory, whatever another user of the host does to its entries or to the directories above it. Clones
/// share the handle.
///
/// ```
/// use keyward::durable::{Directory, FileKind};
/// # let temporary = tempfile::tempdir().unwrap();
/// # let path = temporary.path();
/// std::fs::write(path.join("a"), "hello")?;
/// std::os::unix::fs::symlink("/etc/passwd", path.join("link"))?;
/// let directory = Directory::open(path)?;
/// assert_eq!(directory.status("a".as_ref())?.kind, FileKind::File);
/// assert!(directory.open_file("a".as_ref()).is_ok());
/// assert!(directory.open_file("link".as_ref()).is_err());
/// assert!(directory.open_file("../a".as_ref()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Directory(Arc<OwnedFd>);

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The kind of file.
    pub kind: FileKind,
    /// The identity of the file.
    pub id: FileId,
    /// The permission bits, `0o777` at most.
    pub mode: u32,
    /// The length of a regular file in bytes.
    pub len: u64,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    SymbolicLink,
    /// A pipe, a socket or a device.
    Special,
}

/// The identity of a file on this host: two names with the same identity stand for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Status {
    // The types of the fields differ between targets.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    fn new(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::SymbolicLink,
            _ => FileKind::Special,
        };
        Self {
            kind,
            id: FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
            mode: stat.st_mode as u32 & 0o777,
            len: stat.st_size as u64,
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Neither a link nor a pipe, which would wait for its other end, is opened.
const BENEATH: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Directory {
    /// Opens the directory at `path`, which the operating system resolves: it is a path that the caller names.
    ///
    /// # Errors
    /// Returns an error if there is no directory or it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(Self(Arc::new(retry_on_intr(|| open(path, DIRECTORY, Mode::empty()))?)))
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// Returns an error if `name` is not a directory, is a symbolic link, or cannot be read.
    pub fn subdirectory(&self, name: &OsStr) -> io::Result<Self> {
        let name = component(name)?;
        match retry_on_intr(|| openat(&*self.0, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())) {
            Ok(handle) => Ok(Self(Arc::new(handle))),
            Err(error) => Err(self.explain(name, error, "it is not a directory")),
        }
    }

    /// Creates a directory in this one, with the permissions `mode` less the umask.
    ///
    /// # Errors
    /// Returns an error if `name` exists or cannot be created.
    pub fn create_directory(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(mkdirat(&*self.0, component(name)?, permissions(mode))?)
    }

    /// Returns the names in the directory, in the order of their bytes, without `.` and `..`.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        // Opened again, because the position in a directory belongs to the handle.
        let entries = Dir::read_from(&*self.0)?;
        let mut names = Vec::new();
        for entry in entries {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns what a name stands for; that of a symbolic link is the link itself.
    ///
    /// # Errors
    /// Returns an error if there is nothing of that name.
    pub fn status(&self, name: &OsStr) -> io::Result<Status> {
        Ok(Status::new(&statat(&*self.0, component(name)?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Returns the identity of the directory itself.
    ///
    /// # Errors
    /// Returns an error if the operating system does.
    pub fn id(&self) -> io::Result<FileId> {
        Ok(Status::new(&fstat(&*self.0)?).id)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// Returns an error if `name` is a symbolic link or another file that is not regular, or cannot be read.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        self.open_regular(name, OFlags::RDONLY)
    }

    /// Opens a regular file for reading and writing.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn open_file_for_writing(&self, name: &OsStr) -> io::Result<File> {
        self.open_regular(name, OFlags::RDWR)
    }

    /// Opens a regular file for its attributes, if it cannot be read.
    pub(super) fn open_write_only(&self, name: &OsStr) -> io::Result<File> {
        self.open_regular(name, OFlags::WRONLY)
    }

    fn open_regular(&self, name: &OsStr, access: OFlags) -> io::Result<File> {
        let name = component(name)?;
        let file = match retry_on_intr(|| openat(&*self.0, name, access | BENEATH, Mode::empty())) {
            Ok(handle) => File::from(handle),
            Err(error) => return Err(self.explain(name, error, "it is not a regular file")),
        };
        // Asked of the handle: the name may stand for something else by now.
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is not a regular file")),
        }
    }

    /// What the operating system says of a link or of another kind of file depends on the system.
    fn explain(&self, name: &OsStr, error: Errno, otherwise: &str) -> io::Error {
        match (error, self.status(name)) {
            (_, Ok(status)) if status.kind == FileKind::SymbolicLink => io::Error::other("it is a symbolic link"),
            (Errno::NOTDIR | Errno::ISDIR | Errno::NXIO, _) => io::Error::other(otherwise.to_owned()),
            _ => error.into(),
        }
    }

    /// Creates a file for reading and writing, with the permissions `mode` less the umask.
    pub(super) fn create_new(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = component(name)?;
        Ok(retry_on_intr(|| openat(&*self.0, name, flags, permissions(mode)))?.into())
    }

    /// Gives a file another name in this directory, in place of what has that name.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&*self.0, component(from)?, &*self.0, component(to)?)?)
    }

    /// Gives a file another name in this directory, if nothing has that name.
    pub(super) fn rename_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(&*self.0, from, &*self.0, to, RenameFlags::NOREPLACE) {
                // Not on this file system.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                other => return Ok(other?),
            }
        }
        rustix::fs::linkat(&*self.0, from, &*self.0, to, AtFlags::empty())?;
        Ok(unlinkat(&*self.0, from, AtFlags::empty())?)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&*self.0, component(name)?, AtFlags::empty())?)
    }

    /// Waits until the names in the directory are on the disk.
    ///
    /// # Errors
    /// Returns an error if the operating system does.
    pub fn sync(&self) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::fsync(&*self.0)) {
            // Some file systems cannot sync a directory.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn component(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    match bytes {
        b"" | b"." | b".." => {}
        _ if bytes.contains(&b'/') || bytes.contains(&0) => {}
        _ => return Ok(name),
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not the name of a file in a directory"))
}

// The type has 16 bits on some targets.
#[allow(clippy::cast_possible_truncation, clippy::useless_conversion, clippy::unnecessary_cast)]
fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o777) as rustix::fs::RawMode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn no_name_leaves_the_directory() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("outside"), "x").unwrap();
        fs::create_dir(temporary.path().join("inside")).unwrap();
        std::os::unix::fs::symlink("..", temporary.path().join("inside/up")).unwrap();
        let directory = Directory::open(&temporary.path().join("inside")).unwrap();
        for name in ["", ".", "..", "../outside", "/etc/passwd", "up/outside", "a\0b"] {
            let name = OsStr::new(name);
            assert!(directory.open_file(name).is_err() && directory.status(name).is_err(), "{name:?}");
            assert!(directory.create_new(name, 0o600).is_err() && directory.remove(name).is_err(), "{name:?}");
        }
        let error = directory.subdirectory("up".as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "it is a symbolic link");
        assert_eq!(directory.status("up".as_ref()).unwrap().kind, FileKind::SymbolicLink);
        assert_eq!(directory.names().unwrap(), ["up"]);
    }

    #[test]
    fn a_handle_stays_with_its_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir(path("a")).unwrap();
        let directory = Directory::open(&path("a")).unwrap();
        fs::rename(path("a"), path("b")).unwrap();
        fs::create_dir(path("a")).unwrap();
        directory.create_new("x".as_ref(), 0o600).unwrap();
        assert!(path("b/x").exists() && !path("a/x").exists());
        assert_eq!(directory.id().unwrap(), Directory::open(&path("b")).unwrap().id().unwrap());
    }

    #[test]
    fn pipes_are_not_waited_for() {
        let temporary = tempfile::tempdir().unwrap();
        assert!(std::process::Command::new("mkfifo").arg(temporary.path().join("pipe")).status().unwrap().success());
        let directory = Directory::open(temporary.path()).unwrap();
        for answer in [directory.open_file("pipe".as_ref()), directory.open_file_for_writing("pipe".as_ref())] {
            assert_eq!(answer.unwrap_err().to_string(), "it is not a regular file");
        }
        assert!(directory.subdirectory("pipe".as_ref()).is_err());
    }

    #[test]
    fn a_new_name_replaces_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        let create = |name: &str| drop(directory.create_new(name.as_ref(), 0o600).unwrap());
        create("a");
        create("b");
        let error = directory.rename_new("a".as_ref(), "b".as_ref()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        directory.rename_new("a".as_ref(), "c".as_ref()).unwrap();
        directory.rename("c".as_ref(), "b".as_ref()).unwrap();
        assert_eq!(directory.names().unwrap(), ["b"]);
    }
}
