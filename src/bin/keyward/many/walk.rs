//! Which files a run is about.

use super::summary::{Skip, Skipped};
use crate::files::cannot;
use keyward::durable::is_temporary;
use keyward::{Error, ErrorKind};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What was found, in an order that does not depend on the file system.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<Item>,
    /// Every directory, each before what is in it.
    pub(super) directories: Vec<Directory>,
    pub(crate) skipped: Skipped,
    /// Temporary files, which are left alone or removed, and never taken for anything else.
    pub(super) temporaries: Vec<PathBuf>,
    /// What cannot be read, and why.
    pub(crate) failed: Vec<(PathBuf, Error)>,
}

/// One file.
pub(crate) struct Item {
    pub(crate) path: PathBuf,
    /// Where it would be below another directory.
    pub(crate) below: PathBuf,
    pub(crate) len: u64,
    /// Whether it was named itself, and not a directory that it is in.
    pub(crate) named: bool,
}

pub(super) struct Directory {
    pub(super) below: PathBuf,
    pub(super) mode: u32,
}

/// Finds the files that are named, and those in directories that are named where `recursive` says so.
/// Nothing but what is named itself is followed where it is a symbolic link. `output` is the directory
/// that the results go to: it is no input where it lies among them.
pub(crate) fn find(inputs: &[PathBuf], recursive: bool, output: Option<&Path>) -> Found {
    let output = output.and_then(|path| path.metadata().ok()).map(|meta| (meta.dev(), meta.ino()));
    let mut found = Found::default();
    for input in inputs {
        let below = own_name(input);
        match input.metadata() {
            Ok(meta) if meta.is_dir() && recursive => {
                found.directories.push(Directory { below: below.clone(), mode: meta.mode() });
                found.tree(input, below, output);
            }
            Ok(meta) if meta.is_dir() => {
                let error = Error::new(ErrorKind::Io, format!("'{}' is a directory", input.display()));
                found.failed.push((input.clone(), error.with_hint("-r takes directories, with all that is in them")));
            }
            Ok(meta) if meta.is_file() => {
                found.files.push(Item { path: input.clone(), below, len: meta.len(), named: true });
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
    fn tree(&mut self, root: &Path, below: PathBuf, output: Option<(u64, u64)>) {
        let mut waiting = vec![(root.to_owned(), below)];
        while let Some((directory, below)) = waiting.pop() {
            let entries = fs::read_dir(&directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            let mut entries = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    self.failed.push((directory.clone(), cannot("read", &directory, error)));
                    continue;
                }
            };
            entries.sort_by_key(fs::DirEntry::file_name);
            let first = waiting.len();
            for entry in entries {
                let (path, name) = (entry.path(), entry.file_name());
                // Not followed: it is the link itself that is looked at.
                let meta = match entry.metadata() {
                    Ok(meta) => meta,
                    Err(error) => {
                        self.failed.push((path.clone(), cannot("read", &path, error)));
                        continue;
                    }
                };
                if meta.is_dir() && output != Some((meta.dev(), meta.ino())) {
                    let below = below.join(&name);
                    self.directories.push(Directory { below: below.clone(), mode: meta.mode() });
                    waiting.push((path, below));
                } else if let Some(why) = to_skip(&meta) {
                    self.skipped.add(why);
                } else if is_temporary(&name) {
                    self.temporaries.push(path);
                } else if meta.is_file() {
                    self.files.push(Item { path, below: below.join(&name), len: meta.len(), named: false });
                }
            }
            waiting[first..].reverse();
        }
    }
}

fn to_skip(meta: &Metadata) -> Option<Skip> {
    if meta.is_symlink() {
        Some(Skip::Link)
    } else {
        // A pipe, a socket or a device holds no file.
        (!meta.is_file() && !meta.is_dir()).then_some(Skip::Special)
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
