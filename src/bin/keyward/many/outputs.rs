//! Where the results of a run go.

use super::summary::Skip;
use super::tree::{Handles, Node, Origin, make_child, make_named};
use super::walk::{Found, Item};
use crate::files::cannot;
use keyward::durable::{FileId, Location, is_temporary, remove_leftover};
use keyward::envelope::InputFile;
use keyward::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

/// What an encrypted file is called: its name and this.
const SUFFIX: &str = ".kw";

/// One file, and where its result goes.
pub(crate) struct Job {
    pub(crate) input: Origin,
    output: Output,
    pub(crate) len: u64,
}

/// Where a result goes.
enum Output {
    /// To the file itself, which is changed or replaced.
    Same,
    /// Into the directory that the file is in.
    Beside(OsString),
    /// Below another directory: first the path there, then the directory, once it is made.
    Below(PathBuf),
    In(Arc<Node>, OsString),
}

impl Job {
    /// Opens the file that is to be read.
    pub(crate) fn open(&self) -> keyward::Result<InputFile> {
        self.input.open()
    }

    /// Where the result goes.
    pub(crate) fn location(&self) -> keyward::Result<Location> {
        match &self.output {
            Output::In(directory, name) => directory.location(name),
            _ => self.input.location(),
        }
    }

    /// Whether the file was named itself, and not a directory that it is in.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.input, Origin::Named(_))
    }
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

/// Gives each file its output. What has no `.kw` to take off fails if it was named, and is left
/// alone otherwise.
///
/// # Errors
/// Two files may not have one output; nothing is written then.
pub(crate) fn assign(found: &mut Found, naming: Naming, directory: Option<&Path>) -> keyward::Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::with_capacity(found.files.len());
    let mut taken: HashMap<PathBuf, (usize, PathBuf)> = HashMap::with_capacity(found.files.len());
    for Item { origin, below, len } in std::mem::take(&mut found.files) {
        let path = origin.path();
        let plain = directory.map_or_else(|| path.clone(), |directory| directory.join(&below));
        let Some(place) = naming.apply(plain) else {
            match origin {
                Origin::Named(path) => {
                    let message = format!("'{}' is not called something{SUFFIX}", path.display());
                    let error = Error::new(ErrorKind::InvalidArgument, message);
                    found.failed.push((path, error.with_hint("decrypt it alone, and name the output with -o OUT")));
                }
                Origin::Found(..) => found.skipped.add(Skip::NoSuffix),
            }
            continue;
        };
        let output = match (naming, directory) {
            (Naming::Same, _) => Output::Same,
            (_, Some(_)) => Output::Below(naming.apply(below).unwrap_or_default()),
            (_, None) => Output::Beside(place.file_name().unwrap_or_default().to_owned()),
        };
        let absolute = absolute(&place).map_err(|error| cannot("write", &place, error))?;
        match taken.get(&absolute) {
            None => {
                taken.insert(absolute, (jobs.len(), place));
                jobs.push(Job { input: origin, output, len });
            }
            // Named twice.
            Some((other, _)) if is_same(&jobs[*other].input.path(), &path) => {}
            Some((other, _)) => return Err(collision(&jobs[*other].input.path(), &path, &place)),
        }
    }
    if naming == Naming::Decrypted {
        let inputs: HashSet<PathBuf> = jobs.iter().filter_map(|job| absolute(job.input.path()).ok()).collect();
        if let Some((_, (job, output))) = taken.iter().find(|(place, _)| inputs.contains(*place)) {
            let message = format!(
                "'{}' would be decrypted to '{}', which is to be decrypted itself",
                jobs[*job].input.path().display(),
                output.display()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message).with_hint("name an --output-dir"));
        }
    }
    Ok(jobs)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|meta| FileId::from(&meta)).ok();
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

/// Gives every result its directory: the one that the file is in, or one below `directory`, which is made with the
/// permissions of the one that it mirrors.
///
/// # Errors
/// A directory that cannot be made, or that is a symbolic link to one.
pub(crate) fn open_directories(found: &Found, jobs: &mut [Job], directory: Option<&Path>) -> keyward::Result<()> {
    let mut made: HashMap<PathBuf, Arc<Node>> = HashMap::new();
    if let Some(directory) = directory {
        made.insert(PathBuf::new(), make_named(directory, &found.handles)?);
        for one in &found.directories {
            // What is in it is still to be written.
            make_below(&mut made, &one.below, one.mode & 0o777 | 0o700)?;
        }
    }
    let mut parents: HashMap<PathBuf, Arc<Node>> = HashMap::new();
    for job in jobs {
        let taken = std::mem::replace(&mut job.output, Output::Same);
        job.output = match taken {
            Output::Same => Output::Same,
            Output::In(node, name) => Output::In(node, name),
            Output::Beside(name) => match &job.input {
                Origin::Found(node, _) => Output::In(Arc::clone(node), name),
                Origin::Named(path) => Output::In(parent(&mut parents, path, &found.handles)?, name),
            },
            Output::Below(path) => {
                let name = path.file_name().unwrap_or_default().to_owned();
                let above = path.parent().unwrap_or(Path::new(""));
                Output::In(make_below(&mut made, above, 0o777)?, name)
            }
        };
    }
    Ok(())
}

/// The directory that a named file is in.
fn parent(known: &mut HashMap<PathBuf, Arc<Node>>, path: &Path, handles: &Arc<Handles>) -> keyward::Result<Arc<Node>> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if let Some(node) = known.get(parent) {
        return Ok(Arc::clone(node));
    }
    let node = Node::named(parent, handles).map_err(|error| cannot("open the directory", parent, error))?;
    known.insert(parent.to_owned(), Arc::clone(&node));
    Ok(node)
}

/// Makes a directory below the first of `made`, and those above it.
fn make_below(made: &mut HashMap<PathBuf, Arc<Node>>, below: &Path, mode: u32) -> keyward::Result<Arc<Node>> {
    if let Some(node) = made.get(below) {
        return Ok(Arc::clone(node));
    }
    let above = make_below(made, below.parent().unwrap_or(Path::new("")), mode)?;
    let node = make_child(&above, below.file_name().unwrap_or_default(), mode)?;
    made.insert(below.to_owned(), Arc::clone(&node));
    Ok(node)
}

/// Removes what killed runs left where results will go. What is being written stays, and so does what cannot be
/// removed: it does no harm.
pub(crate) fn remove_leftovers(jobs: &[Job], handles: &Arc<Handles>) -> BTreeSet<PathBuf> {
    let mut places: BTreeMap<FileId, Arc<Node>> = BTreeMap::new();
    let mut parents = HashMap::new();
    for job in jobs {
        let node = match (&job.output, &job.input) {
            (Output::In(node, _), _) | (_, Origin::Found(node, _)) => Arc::clone(node),
            (_, Origin::Named(path)) => match parent(&mut parents, path, handles) {
                Ok(node) => node,
                Err(_) => continue,
            },
        };
        places.entry(node.id()).or_insert(node);
    }
    let mut removed = BTreeSet::new();
    for place in places.into_values() {
        let Ok(directory) = place.open() else { continue };
        let names = directory.names().unwrap_or_default().into_iter().filter(|name| is_temporary(name));
        let names = names.filter(|name| remove_leftover(&directory, name).unwrap_or(false));
        removed.extend(names.map(|name| place.path().join(name)));
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
