//! The directories of a run: each is opened when it is needed, and is then the one that was found, or nothing is done
//! in it.

use super::descriptors::Descriptors;
use crate::files::cannot;
use keyward::durable::{Directory, FileId, Location};
use keyward::envelope::InputFile;
use keyward::{Error, ErrorKind};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many directories stay open at most, whatever the size of the tree.
const OPEN_DIRECTORIES: usize = 64;

/// The directories that were used last, which are open.
pub(crate) struct Handles {
    open: Mutex<VecDeque<(FileId, Directory)>>,
    most: usize,
}

impl Default for Handles {
    fn default() -> Self {
        Self { open: Mutex::default(), most: Descriptors::now().directories(OPEN_DIRECTORIES) }
    }
}

impl Handles {
    fn get(&self, id: FileId) -> Option<Directory> {
        let handles = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().rev().find(|(one, _)| *one == id).map(|(_, directory)| directory.clone())
    }

    fn put(&self, id: FileId, directory: &Directory) {
        let mut handles = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.len() >= self.most {
            handles.pop_front();
        }
        handles.push_back((id, directory.clone()));
    }
}

/// A directory that was found.
pub(crate) struct Node {
    from: From,
    id: FileId,
    path: PathBuf,
    handles: Arc<Handles>,
}

enum From {
    /// It was named: the operating system resolves its path.
    Named,
    /// It is in another, and is not followed if it becomes a symbolic link.
    Parent(Arc<Node>, OsString),
}

impl Node {
    /// The directory at a path that the caller names.
    pub(crate) fn named(path: &Path, handles: &Arc<Handles>) -> io::Result<Arc<Self>> {
        let directory = Directory::open(path)?;
        Self::new(From::Named, &directory, path.to_owned(), handles)
    }

    /// A directory in this one.
    pub(crate) fn child(self: &Arc<Self>, name: &OsStr) -> io::Result<Arc<Self>> {
        let directory = self.handle()?.subdirectory(name)?;
        Self::new(From::Parent(Arc::clone(self), name.to_owned()), &directory, self.path.join(name), &self.handles)
    }

    fn new(from: From, directory: &Directory, path: PathBuf, handles: &Arc<Handles>) -> io::Result<Arc<Self>> {
        let id = directory.id()?;
        handles.put(id, directory);
        Ok(Arc::new(Self { from, id, path, handles: Arc::clone(handles) }))
    }

    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Opens it.
    pub(crate) fn open(&self) -> keyward::Result<Directory> {
        self.handle().map_err(|error| cannot("open the directory", &self.path, error))
    }

    fn handle(&self) -> io::Result<Directory> {
        if let Some(directory) = self.handles.get(self.id) {
            return Ok(directory);
        }
        let directory = match &self.from {
            From::Named => Directory::open(&self.path)?,
            From::Parent(parent, name) => parent.handle()?.subdirectory(name)?,
        };
        if directory.id()? != self.id {
            return Err(io::Error::other("it was replaced by another while this command ran"));
        }
        self.handles.put(self.id, &directory);
        Ok(directory)
    }

    /// A file in it.
    pub(crate) fn location(&self, name: &OsStr) -> keyward::Result<Location> {
        Ok(Location::new(self.open()?, name, self.path.join(name)))
    }
}

/// How a run gets at a file.
#[derive(Clone)]
pub(crate) enum Origin {
    /// It was named itself: the operating system resolves its path.
    Named(PathBuf),
    /// It was found in a directory.
    Found(Arc<Node>, OsString),
}

impl Origin {
    /// Its path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Named(path) => path.clone(),
            Self::Found(directory, name) => directory.path.join(name),
        }
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> keyward::Result<InputFile> {
        match self {
            Self::Named(path) => InputFile::open_regular(path),
            Self::Found(directory, name) => InputFile::open_at(&directory.location(name)?),
        }
    }

    /// Where it stands, to be changed there.
    pub(crate) fn location(&self) -> keyward::Result<Location> {
        match self {
            Self::Named(path) => Location::resolve(path).map_err(|error| cannot("open", path, error)),
            Self::Found(directory, name) => directory.location(name),
        }
    }
}

/// Makes a directory in another one, or takes the one that is there; a symbolic link is refused.
pub(crate) fn make_child(parent: &Arc<Node>, name: &OsStr, mode: u32) -> keyward::Result<Arc<Node>> {
    let directory = parent.open()?;
    let made = match directory.create_directory(name, mode) {
        Ok(()) => directory.sync(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    made.and_then(|()| parent.child(name)).map_err(|error| cannot_make(&parent.path.join(name), error))
}

/// Makes the directory at a path that the caller names, with those above it, and opens it.
pub(crate) fn make_named(path: &Path, handles: &Arc<Handles>) -> keyward::Result<Arc<Node>> {
    let above: Vec<_> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    for path in above.into_iter().rev() {
        match std::fs::create_dir(path) {
            Ok(()) => keyward::durable::sync_entry(path)?,
            Err(_) if path.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(cannot_make(path, io::Error::other("it exists already, and is not a directory")));
            }
            Err(error) => return Err(cannot_make(path, error)),
        }
    }
    Node::named(path, handles).map_err(|error| cannot_make(path, error))
}

fn cannot_make(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot make the directory '{}'", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_was_replaced_is_not_used() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir_all(path("root/a")).unwrap();
        fs::create_dir_all(path("other")).unwrap();
        fs::write(path("other/secret"), "x").unwrap();
        let handles = Arc::new(Handles::default());
        let root = Node::named(&path("root"), &handles).unwrap();
        let a = root.child("a".as_ref()).unwrap();
        let found = Origin::Found(a, "secret".into());
        // What is open is used, wherever it is.
        fs::rename(path("root/a"), path("moved")).unwrap();
        fs::rename(path("other"), path("root/a")).unwrap();
        assert!(found.open().is_err());
        fs::write(path("moved/secret"), "x").unwrap();
        assert!(found.open().is_ok());
        // What has to be opened again is not another one, or a link to one.
        handles.open.lock().unwrap().clear();
        let error = found.open().unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("replaced"), "{error:?}");
        fs::rename(path("root/a"), path("other")).unwrap();
        std::os::unix::fs::symlink(path("moved"), path("root/a")).unwrap();
        assert!(found.open().is_err());
        assert!(make_child(&root, "a".as_ref(), 0o700).is_err());
    }
}
