//! Many small files that go onto the disk together.
//!
//! One sync a file is what most of the time goes to where files are small. A batch syncs the whole
//! file system once, before the first name is given.

use super::{AtomicFile, Location, Output, Unnamed, cannot_write, warn_of_lost};
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

/// [`AtomicFile`]s that are committed together: all data is synced, then each gets its name, then
/// each directory is synced once. A name never stands for data that is not on the disk.
///
/// Dropped before it is [committed](Self::commit), it leaves nothing. Every file stays open until then, because what
/// is open is locked, and not taken for a leftover: one descriptor each.
///
/// ```
/// use keyward::durable::{AtomicFile, Batch, Replace};
/// use std::io::Write;
/// # let directory = tempfile::tempdir().unwrap();
/// # let directory = directory.path();
/// let mut batch = Batch::new();
/// for name in ["a", "b"] {
///     let mut file = AtomicFile::create(&directory.join(name), Replace::No)?;
///     file.write_all(b"hello")?;
///     batch.add(file);
/// }
/// assert!(batch.commit().iter().all(Result::is_ok));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    files: Vec<Member>,
    bytes: u64,
    watch: Option<Watch>,
    /// Whether lost attributes were warned of: many files lose the same ones.
    has_warned: bool,
}

#[derive(Debug)]
enum Member {
    /// Its data is on the disk.
    Synced(File, Box<Unnamed>),
    /// Its data is on the disk once the watched file system is synced.
    Written(File, Box<Unnamed>),
    /// There is no more to do, or no more that can be done.
    Ended(Result<()>),
}

/// The file by which a file system is synced. What could not be written is told to those files alone
/// that were open by then, so that it is the one of the batch that was begun first.
#[derive(Debug)]
struct Watch {
    file: File,
    device: u64,
    begun: u64,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file that is written. Its data stays where the system keeps it for now, unless it is on
    /// another file system than the rest: then it is synced here.
    pub fn add(&mut self, file: AtomicFile) {
        let AtomicFile { path, output, lost, begun } = file;
        if !lost.is_empty() && !std::mem::replace(&mut self.has_warned, true) {
            warn_of_lost(&path, &lost);
        }
        let member = match output {
            Output::Direct(mut file) => Member::Ended(file.flush().map_err(|error| cannot_write(&path, error))),
            Output::Temporary(file, unnamed, writeback) => {
                match writeback.finish().and_then(|()| self.take(&file, begun)) {
                    Ok(true) => Member::Written(file, unnamed),
                    Ok(false) => Member::Synced(file, unnamed),
                    Err(error) => Member::Ended(Err(cannot_write(&path, error))),
                }
            }
        };
        self.files.push(member);
    }

    /// Whether the file is left to the sync of the file system. Otherwise it is synced.
    fn take(&mut self, file: &File, begun: u64) -> io::Result<bool> {
        let metadata = file.metadata()?;
        self.bytes += metadata.len();
        if !whole::is_told() {
            return file.sync_all().map(|()| false);
        }
        match &self.watch {
            Some(first) if first.device != metadata.dev() => return file.sync_all().map(|()| false),
            Some(first) if first.begun < begun => {}
            _ => self.watch = Some(Watch { file: file.try_clone()?, device: metadata.dev(), begun }),
        }
        Ok(true)
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many bytes they have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts all files on the disk and under their names: what became of each, in the order in which
    /// they were added.
    ///
    /// A file that fails does not keep the others from it. Where it is the sync that fails, nobody
    /// knows whose data is missing, and no file of the batch gets its name. Errors are those of
    /// [`AtomicFile::commit`].
    #[must_use = "each file may have failed"]
    pub fn commit(self) -> Vec<Result<()>> {
        let synced = self.watch.map_or(Ok(true), |watch| whole::sync(&watch.file));
        let mut directories: HashMap<_, io::Result<()>> = HashMap::new();
        let named: Vec<_> = self.files.into_iter().map(|member| name(member, &synced)).collect();
        named
            .into_iter()
            .map(|named| match named {
                Ended(answer) => answer,
                Named(location) => {
                    let failed = |error: &io::Error| cannot_write(location.path(), copy(error));
                    let id = location.directory().id().map_err(|error| failed(&error))?;
                    let answer = directories.entry(id).or_insert_with(|| location.directory().sync());
                    answer.as_ref().map_err(failed).copied()
                }
            })
            .collect()
    }
}

enum Outcome {
    Ended(Result<()>),
    Named(Location),
}
use Outcome::{Ended, Named};

/// Gives a file its name, where its data is on the disk.
fn name(member: Member, synced: &io::Result<bool>) -> Outcome {
    // Locked until it has its name.
    let (_file, unnamed) = match (member, synced) {
        (Member::Ended(answer), _) => return Ended(answer),
        (Member::Synced(file, unnamed), _) | (Member::Written(file, unnamed), Ok(true)) => (file, unnamed),
        // The system cannot, and has not tried.
        (Member::Written(file, unnamed), Ok(false)) => match file.sync_all() {
            Ok(()) => (file, unnamed),
            Err(error) => return Ended(Err(cannot_write(unnamed.location.path(), error))),
        },
        (Member::Written(_, unnamed), Err(error)) => {
            let message =
                format!("cannot write '{}': the file system could not be synced", unnamed.location.path().display());
            return Ended(Err(Error::new(ErrorKind::Io, message).with_source(copy(error))));
        }
    };
    match unnamed.name() {
        Ok(location) => Named(location),
        Err(error) => Ended(Err(error)),
    }
}

/// One error, told of several files.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Syncing a whole file system.
#[cfg(target_os = "linux")]
mod whole {
    use std::fs::File;
    use std::io;
    use std::sync::LazyLock;

    /// Whether a failure is told: by Linux since 5.8 (syncfs(2)).
    pub(super) fn is_told() -> bool {
        static TOLD: LazyLock<bool> = LazyLock::new(|| {
            let name = rustix::system::uname();
            super::is_since_5_8(name.release().to_str().unwrap_or_default())
        });
        *TOLD
    }

    /// Syncs the file system that the file is on; false where the system does not let one.
    pub(super) fn sync(file: &File) -> io::Result<bool> {
        use rustix::io::Errno;
        match rustix::fs::syncfs(file) {
            Ok(()) => Ok(true),
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Elsewhere each file is synced.
#[cfg(not(target_os = "linux"))]
mod whole {
    pub(super) fn is_told() -> bool {
        false
    }

    pub(super) fn sync(_: &std::fs::File) -> std::io::Result<bool> {
        Ok(false)
    }
}

#[cfg(any(target_os = "linux", test))]
fn is_since_5_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Replace;
    use std::fs;
    use std::path::Path;

    fn written(path: &Path, replace: Replace, bytes: &[u8]) -> AtomicFile {
        let mut file = AtomicFile::create(path, replace).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn no_name_is_given_before_the_commit_and_nothing_stays_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let fill = || {
            let mut batch = Batch::new();
            for name in ["a", "b", "c"] {
                batch.add(written(&directory.path().join(name), Replace::No, name.as_bytes()));
            }
            assert_eq!((batch.len(), batch.bytes()), (3, 3));
            assert!(names(directory.path()).iter().all(|name| crate::durable::is_temporary(name.as_ref())));
            batch
        };
        drop(fill());
        assert!(names(directory.path()).is_empty());
        assert!(fill().commit().iter().all(Result::is_ok));
        assert_eq!(names(directory.path()), ["a", "b", "c"]);
        assert_eq!(fs::read(directory.path().join("b")).unwrap(), b"b");
        assert!(Batch::new().commit().is_empty() && Batch::new().is_empty());
    }

    #[test]
    fn one_that_fails_does_not_keep_the_others_from_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("gone")).unwrap();
        fs::write(path("old"), "old").unwrap();
        let mut batch = Batch::new();
        for (name, replace) in
            [("late", Replace::No), ("gone/x", Replace::No), ("old", Replace::Yes), ("b", Replace::No)]
        {
            batch.add(written(&path(name), replace, b"new"));
        }
        fs::write(path("late"), "first").unwrap();
        fs::remove_dir_all(path("gone")).unwrap();
        let kinds: Vec<_> = batch.commit().into_iter().map(|answer| answer.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Err(ErrorKind::OutputExists), Err(ErrorKind::Io), Ok(()), Ok(())]);
        assert_eq!(fs::read(path("late")).unwrap(), b"first");
        assert_eq!(fs::read(path("old")).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["b", "late", "old"]);
    }

    #[test]
    fn a_sync_that_fails_names_no_file_that_needed_it() {
        let directory = tempfile::tempdir().unwrap();
        let unnamed = |name: &str| match written(&directory.path().join(name), Replace::No, b"x").output {
            Output::Temporary(file, unnamed, _) => (file, unnamed),
            Output::Direct(..) => unreachable!(),
        };
        let failed = Err(io::Error::from_raw_os_error(5));
        let written = |name: &str| {
            let (file, unnamed) = unnamed(name);
            Member::Written(file, unnamed)
        };
        let (synced, its_name) = unnamed("b");
        match name(written("a"), &failed) {
            Ended(Err(error)) => assert!(error.to_string().ends_with("the file system could not be synced")),
            _ => panic!("it has its name"),
        }
        assert!(matches!(name(Member::Synced(synced, its_name), &failed), Named(_)));
        assert!(matches!(name(written("c"), &Ok(false)), Named(_)));
        assert_eq!(names(directory.path()), ["b", "c"]);
    }

    #[test]
    fn the_file_system_is_synced_by_the_file_that_was_begun_first() {
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<_> =
            ["a", "b", "c"].map(|name| written(&directory.path().join(name), Replace::No, b"x")).into_iter().collect();
        let first = files[0].begun;
        let mut batch = Batch::new();
        files.into_iter().rev().for_each(|file| batch.add(file));
        assert!(batch.watch.is_none_or(|watch| watch.begun == first));
    }

    #[test]
    fn files_of_several_file_systems_and_devices_go_together() {
        let directory = tempfile::tempdir().unwrap();
        let mut batch = Batch::new();
        batch.add(written(&directory.path().join("a"), Replace::No, b"x"));
        batch.add(written(Path::new("/dev/null"), Replace::Yes, b"gone"));
        let other = tempfile::tempdir_in("/dev/shm");
        if let Ok(other) = &other {
            batch.add(written(&other.path().join("b"), Replace::No, b"x"));
        }
        assert!(batch.commit().iter().all(Result::is_ok));
        assert_eq!(names(directory.path()), ["a"]);
        assert!(other.is_err() || names(other.unwrap().path()) == ["b"]);
    }

    #[test]
    fn releases_of_linux() {
        for (release, told) in
            [("5.8.0", true), ("6.1.0-18-amd64", true), ("10.0", true), ("5.7.19", false), ("4.19", false)]
        {
            assert_eq!(is_since_5_8(release), told, "{release}");
        }
        assert!(!is_since_5_8(""));
    }
}
