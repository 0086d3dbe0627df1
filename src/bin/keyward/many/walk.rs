//! Which files a run is about.

use super::summary::{Skip, Skipped};
use super::tree::{Handles, Node, Origin};
use crate::files::cannot;
use keyward::durable::{FileId, FileKind, Status, is_temporary};
use keyward::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was found, in an order that does not depend on the file system.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<Item>,
    /// Every directory, each before what is in it.
    pub(super) directories: Vec<FoundDirectory>,
    pub(crate) skipped: Skipped,
    /// Temporary files, which are left alone or removed, and never taken for anything else.
    pub(crate) temporaries: Vec<Origin>,
    /// What cannot be read, and why.
    pub(crate) failed: Vec<(PathBuf, Error)>,
    pub(super) handles: Arc<Handles>,
}

/// One file.
pub(crate) struct Item {
    pub(crate) origin: Origin,
    /// Where it would be below another directory.
    pub(crate) below: PathBuf,
    pub(crate) len: u64,
}

pub(super) struct FoundDirectory {
    pub(super) below: PathBuf,
    pub(super) mode: u32,
}

/// Finds the files that are named, and those in directories that are named if `recursive` says so.
/// Nothing but what is named itself is followed if it is a symbolic link. `output` is the directory
/// that the results go to: it is no input if it lies among them.
pub(crate) fn find(inputs: &[PathBuf], recursive: bool, output: Option<&Path>) -> Found {
    let output = output.and_then(|path| path.metadata().ok()).map(|found| FileId::from(&found));
    let mut found = Found::default();
    for input in inputs {
        let below = own_name(input);
        match input.metadata() {
            Ok(meta) if meta.is_dir() && recursive => match Node::named(input, &found.handles) {
                Ok(root) => {
                    found.directories.push(FoundDirectory { below: below.clone(), mode: meta.mode() });
                    found.tree(root, below, output);
                }
                Err(error) => found.failed.push((input.clone(), cannot("read", input, error))),
            },
            Ok(meta) if meta.is_dir() => {
                let error = Error::new(ErrorKind::Io, format!("'{}' is a directory", input.display()));
                found.failed.push((input.clone(), error.with_hint("-r takes directories, with all that is in them")));
            }
            Ok(meta) if meta.is_file() => {
                found.files.push(Item { origin: Origin::Named(input.clone()), below, len: meta.len() });
            }
            Ok(_) => {
                let message = format!("'{}' is not a regular file", input.display());
                found.failed.push((input.clone(), Error::new(ErrorKind::Io, message)));
            }
            Err(error) => found.failed.push((input.clone(), cannot("open", input, error))),
        }
    }
    found
}

impl Found {
    fn tree(&mut self, root: Arc<Node>, below: PathBuf, output: Option<FileId>) {
        let mut waiting = vec![(root, below)];
        while let Some((node, below)) = waiting.pop() {
            let entries = node.open().and_then(|directory| {
                let names = directory.names().map_err(|error| cannot("read", node.path(), error))?;
                Ok((directory, names))
            });
            let (directory, names) = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    self.failed.push((node.path().to_owned(), error));
                    continue;
                }
            };
            let first = waiting.len();
            for name in names {
                let path = || node.path().join(&name);
                // Not followed: it is the link itself that is looked at.
                let status = match directory.status(&name) {
                    Ok(status) => status,
                    Err(error) => {
                        self.failed.push((path(), cannot("read", &path(), error)));
                        continue;
                    }
                };
                if status.kind == FileKind::Directory && output != Some(status.id) {
                    match node.child(&name) {
                        Ok(child) => {
                            let below = below.join(&name);
                            self.directories.push(FoundDirectory { below: below.clone(), mode: status.mode });
                            waiting.push((child, below));
                        }
                        Err(error) => self.failed.push((path(), cannot("read", &path(), error))),
                    }
                } else if let Some(why) = to_skip(&status) {
                    self.skipped.add(why);
                } else if is_temporary(&name) {
                    self.temporaries.push(Origin::Found(Arc::clone(&node), name));
                } else if status.kind == FileKind::File {
                    let below = below.join(&name);
                    self.files.push(Item { origin: Origin::Found(Arc::clone(&node), name), below, len: status.len });
                }
            }
            waiting[first..].reverse();
        }
    }
}

fn to_skip(status: &Status) -> Option<Skip> {
    match status.kind {
        FileKind::SymbolicLink => Some(Skip::Link),
        // A pipe, a socket or a device holds no file.
        FileKind::Special => Some(Skip::Special),
        FileKind::File | FileKind::Directory => None,
    }
}

/// What it is called in another directory, as `cp -r` has it: its own name, nothing for `.` and what
/// ends with it.
fn own_name(path: &Path) -> PathBuf {
    let contents = path.as_os_str().as_bytes().ends_with(b"/.");
    path.file_name().filter(|_| !contents).map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_another_directory() {
        for (path, name) in
            [("a/b", "b"), ("a/b/", "b"), ("a/.", ""), (".", ""), ("..", ""), ("/", ""), ("./a", "a"), ("a/..", "")]
        {
            assert_eq!(own_name(Path::new(path)), Path::new(name), "{path}");
        }
    }
}
