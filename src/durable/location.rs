//! Where a file stands.

use super::directory::{Directory, FileId, FileKind};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells a file that was replaced or changed from one that was not: its identity, its length, and when its inode
/// was changed last (`st_ctime`, which no program can set back).
///
/// ```
/// use keyward::durable::FileVersion;
/// # let temporary = tempfile::tempdir().unwrap();
/// # let path = temporary.path().join("a");
/// std::fs::write(&path, "hello")?;
/// let before = FileVersion::of(&std::fs::File::open(&path)?)?;
/// assert_eq!(FileVersion::of(&std::fs::File::open(&path)?)?, before);
/// std::fs::write(&path, "hello, world")?;
/// assert_ne!(FileVersion::of(&std::fs::File::open(&path)?)?, before);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    id: FileId,
    len: u64,
    changed: (i64, i64),
}

impl FileVersion {
    /// Returns the version of an open file as it is now.
    ///
    /// # Errors
    /// Returns an error if the operating system does.
    pub fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Ok(Self { id: FileId::from(&found), len: found.len(), changed })
    }
}

/// A name in an open directory, and the path by which messages call it.
///
/// ```
/// use keyward::durable::{Directory, Location};
/// # let temporary = tempfile::tempdir().unwrap();
/// # let path = temporary.path();
/// std::fs::write(path.join("a"), "hello")?;
/// let named = Location::resolve(&path.join("a"))?;
/// let found = Location::new(Directory::open(path)?, "a".as_ref(), path.join("a"));
/// assert_eq!(named.id()?, found.id()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Location {
    directory: Directory,
    name: OsString,
    path: PathBuf,
}

impl Location {
    /// The file `name` in `directory`. It is never followed if it is a symbolic link.
    #[must_use]
    pub fn new(directory: Directory, name: &OsStr, path: PathBuf) -> Self {
        Self { directory, name: name.to_owned(), path }
    }

    /// The file at a path, which may not exist yet. A symbolic link at the end of the path is followed: the caller
    /// names it.
    ///
    /// # Errors
    /// Returns an error if the path leads nowhere, or if the operating system does not let this process follow a link.
    pub fn resolve(path: &Path) -> io::Result<Self> {
        // By the operating system, not by reading the link: a link that another user put into a directory such as
        // /tmp is not followed (proc_sys_fs(5), protected_symlinks).
        let found = match path.metadata() {
            Ok(found) => FileId::from(&found),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                return Self::in_parent(path, path);
            }
            Err(error) => return Err(error),
        };
        let target = if path.symlink_metadata()?.is_symlink() { path.canonicalize()? } else { path.to_owned() };
        let location = Self::in_parent(&target, path)?;
        match location.id()? == found {
            true => Ok(location),
            false => Err(io::Error::other("it was replaced while it was opened")),
        }
    }

    fn in_parent(target: &Path, path: &Path) -> io::Result<Self> {
        if target.as_os_str().as_bytes().ends_with(b"/") {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self::new(Directory::open(target.parent().unwrap_or(Path::new("")))?, name, path.to_owned()))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The name in the directory.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the identity of what has the name now.
    ///
    /// # Errors
    /// Returns an error if there is nothing.
    pub fn id(&self) -> io::Result<FileId> {
        Ok(self.directory.status(&self.name)?.id)
    }

    /// Opens the regular file for reading.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn open(&self) -> io::Result<File> {
        self.directory.open_file(&self.name)
    }

    /// Opens the regular file for reading and writing.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn open_for_writing(&self) -> io::Result<File> {
        self.directory.open_file_for_writing(&self.name)
    }

    /// Returns the kind of file that has the name, or `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if that cannot be determined.
    pub fn kind(&self) -> io::Result<Option<FileKind>> {
        match self.directory.status(&self.name) {
            Ok(status) => Ok(Some(status.kind)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn named_links_are_followed_and_found_ones_are_not() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir(path("d")).unwrap();
        fs::write(path("d/file"), "x").unwrap();
        symlink("d/file", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        let named = Location::resolve(&path("link")).unwrap();
        assert_eq!((named.name(), named.path()), (OsStr::new("file"), &*path("link")));
        assert_eq!(named.id().unwrap(), Location::resolve(&path("d/file")).unwrap().id().unwrap());
        let found = Location::new(Directory::open(temporary.path()).unwrap(), "link".as_ref(), path("link"));
        assert_eq!(found.kind().unwrap(), Some(FileKind::SymbolicLink));
        assert!(found.open().is_err());
        assert_eq!(Location::resolve(&path("new")).unwrap().kind().unwrap(), None);
        assert!(Location::resolve(&path("dangling")).is_err());
        assert!(Location::resolve(&path("missing/new")).is_err());
        assert_eq!(Location::resolve(&path("new/")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert!(Location::resolve(Path::new("/")).is_err());
    }
}
