//! Policies from files.

use super::Policies;
use super::load::{called, load, too_long};
use super::text::place;
use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) fn read(path: &Path) -> Result<Policies> {
    let mut texts = Vec::new();
    for file in files(path)? {
        let name = file.display().to_string();
        texts.push((text(&file, &name)?, name));
    }
    load(&path.display().to_string(), texts.iter().map(|(text, name)| (name.as_str(), text.as_str())))
}

/// The file itself, or those of a directory.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let called = format!("policy directory '{}'", path.display().to_string().escape_debug());
    let found: std::io::Result<Vec<_>> =
        path.read_dir().and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut files = found.map_err(|error| Error::io(format!("cannot read {called}"), error))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("cedar")));
    // Left out, a policy that forbids would be missing; taken, one that was put aside would count.
    if let Some(file) = files.iter().find(|file| !is_plain(file)) {
        let name = file.file_name().unwrap_or_default().display().to_string();
        let message = format!("{called} has the file '{}'", name.escape_debug());
        return Err(Error::new(ErrorKind::InvalidArgument, message)
            .with_hint("name policies *.cedar, in small letters and without a dot in front, and move others away"));
    }
    files.sort();
    if files.is_empty() {
        // Rather a wrong path than a wish to deny everything.
        return Err(Error::new(ErrorKind::InvalidArgument, format!("{called} has no file *.cedar")));
    }
    Ok(files)
}

fn is_plain(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    !name.starts_with(b".") && name.ends_with(b".cedar")
}

fn text(file: &Path, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that too many are noticed.
    File::open(file)
        .and_then(|file| file.take(Policies::MAX_LEN as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Error::io(format!("cannot read {}", called(name)), error))?;
    if bytes.len() > Policies::MAX_LEN {
        return Err(too_long(name));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) = place(&String::from_utf8_lossy(error.as_bytes()), valid);
        let message = format!("{}, line {line}, column {column}: not UTF-8", called(name));
        Error::new(ErrorKind::InvalidArgument, message)
    })
}
