//! Where the results of a run go.

use super::summary::Skip;
use super::walk::{Found, Item};
use crate::files::cannot;
use keyward::durable::{is_temporary, remove_leftover, sync_entry};
use keyward::{Error, ErrorKind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::DirBuilder;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};

/// What an encrypted file is called: its name and this.
const SUFFIX: &str = ".kw";

/// One file, and where its result goes.
pub(crate) struct Job {
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
    pub(crate) len: u64,
    pub(crate) named: bool,
}

/// How the name of a result is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `.kw` is added.
    Encrypted,
    /// `.kw` is taken off.
    Decrypted,
    /// The file itself is changed.
    Same,
}

/// Gives each file its output. What has no `.kw` to take off fails where it was named, and is left
/// alone otherwise.
///
/// # Errors
/// Two files may not have one output; nothing is written then.
pub(crate) fn assign(found: &mut Found, naming: Naming, directory: Option<&Path>) -> keyward::Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::with_capacity(found.files.len());
    let mut taken: HashMap<PathBuf, usize> = HashMap::with_capacity(found.files.len());
    for Item { path, below, len, named } in std::mem::take(&mut found.files) {
        let plain = directory.map_or_else(|| path.clone(), |directory| directory.join(below));
        let Some(output) = naming.apply(plain) else {
            match named {
                true => {
                    let message = format!("'{}' is not called something{SUFFIX}", path.display());
                    let error = Error::new(ErrorKind::InvalidArgument, message);
                    found.failed.push((path, error.with_hint("decrypt it alone, and name the output with -o OUT")));
                }
                false => found.skipped.add(Skip::NoSuffix),
            }
            continue;
        };
        let place = absolute(&output).map_err(|error| cannot("write", &output, error))?;
        match taken.get(&place) {
            None => {
                taken.insert(place, jobs.len());
                jobs.push(Job { input: path, output, len, named });
            }
            // Named twice.
            Some(&other) if is_same(&jobs[other].input, &path) => {}
            Some(&other) => return Err(collision(&jobs[other].input, &path, &output)),
        }
    }
    if naming == Naming::Decrypted {
        let inputs: HashSet<PathBuf> = jobs.iter().filter_map(|job| absolute(&job.input).ok()).collect();
        if let Some(job) = taken.iter().find_map(|(place, job)| inputs.contains(place).then(|| &jobs[*job])) {
            let message = format!(
                "'{}' would be decrypted to '{}', which is to be decrypted itself",
                job.input.display(),
                job.output.display()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message).with_hint("name an --output-dir"));
        }
    }
    Ok(jobs)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    one == other || id(one).is_some_and(|one| Some(one) == id(other))
}

fn collision(one: &Path, other: &Path, output: &Path) -> Error {
    let message = format!("'{}' and '{}' would both become '{}'", one.display(), other.display(), output.display());
    Error::new(ErrorKind::InvalidArgument, message).with_hint("give them another --output-dir each")
}

impl Naming {
    fn apply(self, path: PathBuf) -> Option<PathBuf> {
        match self {
            Self::Same => Some(path),
            Self::Encrypted => {
                let mut name = path.into_os_string();
                name.push(SUFFIX);
                Some(name.into())
            }
            Self::Decrypted if has_suffix(&path) => {
                let mut bytes = path.into_os_string().into_vec();
                bytes.truncate(bytes.len() - SUFFIX.len());
                Some(std::ffi::OsString::from_vec(bytes).into())
            }
            Self::Decrypted => None,
        }
    }
}

/// Whether it has a name and `.kw` after it.
pub(crate) fn has_suffix(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    name.len() > SUFFIX.len() && name.ends_with(SUFFIX.as_bytes())
}

/// Makes the directories of the results, with the permissions of those that they mirror.
pub(crate) fn make_directories(found: &Found, directory: &Path) -> keyward::Result<()> {
    let mut made = BTreeSet::new();
    let mut make = |path: &Path, mode: u32| {
        // What is in it is still to be written.
        let mode = mode & 0o777 | 0o700;
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {
                made.insert(path.to_owned());
                Ok(())
            }
            Err(_) if path.is_dir() => Ok(()),
            Err(error) => Err(cannot("make the directory", path, error)),
        }
    };
    let above: Vec<_> = directory.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    above.into_iter().rev().try_for_each(|path| make(path, 0o777))?;
    found.directories.iter().try_for_each(|one| make(&directory.join(&one.below), one.mode))?;
    made.iter().try_for_each(|path| sync_entry(path))
}

/// Removes what runs that were killed have left where results will go. What somebody is still writing stays, and so
/// does what cannot be removed: it is in nobody's way.
pub(crate) fn remove_leftovers(jobs: &[Job]) -> BTreeSet<PathBuf> {
    let places: BTreeSet<_> = jobs.iter().filter_map(|job| job.output.parent()).collect();
    let mut removed = BTreeSet::new();
    for place in places {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        let Ok(entries) = place.read_dir() else { continue };
        let names = entries.flatten().map(|entry| entry.file_name()).filter(|name| is_temporary(name));
        removed.extend(names.map(|name| place.join(name)).filter(|path| remove_leftover(path).unwrap_or(false)));
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_results() {
        let apply = |naming: Naming, path: &str| naming.apply(path.into()).map(|path| path.display().to_string());
        assert_eq!(apply(Naming::Encrypted, "d/a b").as_deref(), Some("d/a b.kw"));
        assert_eq!(apply(Naming::Decrypted, "d/a.kw").as_deref(), Some("d/a"));
        assert_eq!(apply(Naming::Decrypted, "d/a.kw.kw").as_deref(), Some("d/a.kw"));
        for other in ["d/a", "d/.kw", ".kw", "d/a.KW", "d/akw"] {
            assert_eq!(apply(Naming::Decrypted, other), None, "{other}");
        }
        let odd = PathBuf::from(std::ffi::OsString::from_vec(b"a\xff\n.kw".to_vec()));
        let back = Naming::Decrypted.apply(odd.clone()).unwrap();
        assert_eq!((back.as_os_str().as_bytes(), Naming::Encrypted.apply(back.clone())), (&b"a\xff\n"[..], Some(odd)));
    }
}
