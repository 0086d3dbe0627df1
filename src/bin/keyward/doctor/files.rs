//! Who may read and write the files that everything rests on.

use super::check::Check;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
const READABLE_BY_GROUP: u32 = 0o040;
const READABLE_BY_OTHERS: u32 = 0o004;

/// The module is code that runs with the PIN in its hands: whoever can replace it has every key.
pub(super) fn module(path: &Path) -> Option<Check> {
    const NAME: &str = "module-file";
    // One that is not there is told where it is loaded.
    let real = path.canonicalize().ok()?;
    Some(match replaceable(&real) {
        Some((part, how)) => Check::failure(
            NAME,
            format!("the module '{}' can be replaced by others: '{}' {how}", real.display(), part.display()),
            format!(
                "chown root '{0}' && chmod go-w '{0}', and look whether the module is the vendor's",
                part.display()
            ),
        ),
        None => Check::ok(NAME, format!("'{}', which only root and this user can replace", real.display())),
    })
}

/// Which part of a path others than root and this user can write or replace, and why.
fn replaceable(real: &Path) -> Option<(&Path, String)> {
    real.ancestors().find_map(|part| open_to_others(part).map(|how| (part, how)))
}

/// The policies decide who may do what: each file, and each directory above it.
pub(super) fn policies(path: &Path) -> Vec<Check> {
    const NAME: &str = "policy-files";
    // Paths that are not there are reported when they are read.
    let Ok(real) = path.canonicalize() else { return Vec::new() };
    let entries = real.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let all: Vec<_> = std::iter::once(real.clone()).chain(entries).collect();
    let found: BTreeSet<_> = all.iter().filter_map(|file| replaceable(file)).collect();
    if found.is_empty() {
        return vec![Check::ok(NAME, format!("'{}', which only root and this user can change", path.display()))];
    }
    let failure = |(part, how): (&Path, String)| {
        let part = part.display();
        let text = format!("others can change the policies '{}': '{part}' {how}", path.display());
        Check::failure(NAME, text, format!("chown root '{part}' && chmod go-w '{part}', and read the policies again"))
    };
    found.into_iter().map(failure).collect()
}

/// Why others than root and this user can write it, or put something else in its place.
fn open_to_others(path: &Path) -> Option<String> {
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(error) => return Some(format!("cannot be looked at: {error}")),
    };
    // In a directory like /tmp nobody can replace what is another's.
    let sticky = meta.is_dir() && meta.mode() & STICKY != 0;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 && !sticky {
        return Some(format!("has mode {}", mode(meta.mode())));
    }
    let mine = rustix::process::geteuid().as_raw();
    (meta.uid() != 0 && meta.uid() != mine).then(|| format!("belongs to user {}", meta.uid()))
}

/// A file that holds a PIN is for its owner alone.
pub(super) fn pin(path: &Path) -> Check {
    const NAME: &str = "pin-file";
    let remedy = format!("chmod 600 '{}'; change the PIN if others may have read it", path.display());
    match path.metadata() {
        Err(error) => {
            Check::failure(NAME, format!("'{}': {error}", path.display()), "correct pin-source, or write the file")
        }
        Ok(meta) if meta.mode() & (WRITABLE_BY_OTHERS | READABLE_BY_OTHERS) != 0 => {
            let text = format!("others may read or write '{}': mode {}", path.display(), mode(meta.mode()));
            Check::failure(NAME, text, remedy)
        }
        Ok(meta) if meta.mode() & READABLE_BY_GROUP != 0 => {
            let text = format!("the group {} may read '{}'", meta.gid(), path.display());
            Check::warning(NAME, text, "make sure that it has no other members, or chmod 600")
        }
        Ok(meta) => Check::ok(NAME, format!("'{}', mode {}", path.display(), mode(meta.mode()))),
    }
}

/// The configuration file names the module, and may name a PIN.
pub(super) fn config(path: &Path, holds_pin: bool) -> Check {
    const NAME: &str = "config-file";
    let shown = path.display();
    match path.metadata() {
        Err(error) => Check::failure(NAME, format!("'{shown}': {error}"), "correct --config"),
        Ok(meta) if meta.mode() & WRITABLE_BY_OTHERS != 0 => Check::failure(
            NAME,
            format!("others may write '{shown}', and so choose which module runs: mode {}", mode(meta.mode())),
            format!("chmod go-w '{shown}'"),
        ),
        Ok(meta) if holds_pin && meta.mode() & (READABLE_BY_GROUP | READABLE_BY_OTHERS) != 0 => Check::failure(
            NAME,
            format!("others may read '{shown}', in which a PIN stands: mode {}", mode(meta.mode())),
            "put the PIN into a file of mode 0600 and name that with pin-source; change it if others may have read it",
        ),
        // What stands above it, and its owner.
        Ok(meta) => match path.canonicalize().ok().as_deref().and_then(replaceable) {
            Some((part, how)) => Check::failure(
                NAME,
                format!("others can replace '{shown}', and so choose which module runs: '{}' {how}", part.display()),
                format!("chown root '{0}' && chmod go-w '{0}', and read the configuration again", part.display()),
            ),
            None => Check::ok(NAME, format!("'{shown}', mode {}", mode(meta.mode()))),
        },
    }
}

fn mode(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}
