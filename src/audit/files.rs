//! The files of a log: the current one, and those before it, named by the number of their first line.

use super::line::Line;
use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The digits of a first line's number in a file's name, so that names are in the order of the lines.
const DIGITS: usize = 12;

/// The name under which the file at `path` is kept whose first line has this number.
pub(super) fn rotated(path: &Path, first: u64) -> PathBuf {
    with_suffix(path, &format!(".{first:0DIGITS$}"))
}

/// The name under which the next file is prepared.
pub(super) fn prepared(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The files before the one at `path`, in order, each with the number in its name.
pub(super) fn before(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |error| cannot("read the directory of", path, error);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' names no file", path.display())));
    };
    let current = path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let mut found = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let number = entry.file_name().to_str().and_then(|other| {
            let digits = other.strip_prefix(name)?.strip_prefix('.')?;
            (digits.len() >= DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
        });
        let Some(number) = number else { continue };
        // Where a rotation was stopped half way, the current file has both names.
        let same = entry.metadata().ok().map(|found| (found.dev(), found.ino())) == current;
        if !same {
            found.push((number, directory.join(entry.file_name())));
        }
    }
    found.sort();
    Ok(found)
}

/// The first line of a file; none where that is no line.
pub(super) fn first_line(file: &File) -> std::io::Result<Option<Line>> {
    use std::io::Seek;
    let mut reader = BufReader::new(file);
    reader.rewind()?;
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes)?;
    Ok(bytes.strip_suffix(b"\n").and_then(Line::parse))
}

/// A piece of a file up to a newline, which is not part of it.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// The index of its file.
    pub(super) file: usize,
    /// The number of the line in its file, from 1.
    pub(super) number: u64,
    /// Whether a newline follows.
    pub(super) whole: bool,
}

/// All lines of files, one file after the other.
pub(super) fn pieces(paths: &[PathBuf]) -> impl Iterator<Item = Result<Piece>> + '_ {
    paths.iter().enumerate().flat_map(|(file, path)| {
        let (mut reader, mut failed) = match File::open(path) {
            Ok(opened) => (Some(BufReader::with_capacity(1 << 16, opened)), None),
            Err(error) => (None, Some(error)),
        };
        let mut number = 0;
        std::iter::from_fn(move || {
            if let Some(error) = failed.take() {
                return Some(Err(cannot("read", path, error)));
            }
            let mut bytes = Vec::new();
            match reader.as_mut()?.read_until(b'\n', &mut bytes) {
                Ok(0) => None,
                Ok(_) => {
                    number += 1;
                    let whole = bytes.pop_if(|last| *last == b'\n').is_some();
                    Some(Ok(Piece { bytes, file, number, whole }))
                }
                Err(error) => {
                    reader = None;
                    Some(Err(cannot("read", path, error)))
                }
            }
        })
    })
}

/// What is the matter with a log's file.
pub(super) fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot {what} the audit log '{}'", path.display()), error)
}
