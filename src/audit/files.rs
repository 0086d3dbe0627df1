//! The files of a log: the current one, and those before it, named by the number of their first line.

use super::line::Line;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The digits of a first line's number in a file's name, so that names are in the order of the lines.
const DIGITS: usize = 12;
/// How much of a file is searched line by line.
const BLOCK: u64 = 1 << 14;

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
    let current = path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()));
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

/// Opens a file of a log for reading, without following a link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    opened(File::options().read(true), path)
}

/// Opens a file of a log for reading and writing, without following a link.
pub(super) fn open_writable(path: &Path) -> io::Result<File> {
    opened(File::options().read(true).write(true), path)
}

/// Makes a file of a log that is not there yet, which a planted link counts as.
pub(super) fn create(path: &Path) -> io::Result<File> {
    opened(File::options().read(true).write(true).create_new(true).mode(0o600), path)
}

fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // A pipe in the place of a file holds up no reader.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => io::Error::other("it is a symbolic link, which is not followed"),
            false => error,
        }
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The first line of a file; none where that is no line.
pub(super) fn first_line(file: &File) -> io::Result<Option<Line>> {
    let mut reader = BufReader::new(ReadAt { file, at: 0, end: u64::MAX });
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes)?;
    Ok(bytes.strip_suffix(b"\n").and_then(Line::parse))
}

/// Reads a range of a file without moving its cursor, which clones of the handle share.
struct ReadAt<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The number with which these bytes begin if they are a line. Their hash is not looked at.
pub(super) fn seq_of(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b"{\"seq\":")?;
    let end = digits.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// Visits the lines from the number `seq` on among the first `len` bytes of a file, which bisection finds.
fn visit<T>(
    file: &File,
    len: u64,
    seq: u64,
    look: &mut dyn FnMut(Line) -> ControlFlow<Option<T>>,
) -> io::Result<ControlFlow<Option<T>>> {
    // The line begins at or after `low` and before `high`, if it is there.
    let (mut low, mut high) = (0, len);
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match next_line(file, middle, high)? {
            Some((start, found)) if found <= seq => low = start,
            _ => high = middle,
        }
    }
    let mut reader = BufReader::with_capacity(1 << 14, ReadAt { file, at: low, end: len });
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        // Those before it are not worth parsing, and neither is what a torn end left.
        if seq_of(text).is_some_and(|found| found >= seq)
            && let Some(line) = Line::parse(text)
            && let ControlFlow::Break(found) = look(line)
        {
            return Ok(ControlFlow::Break(found));
        }
    }
}

/// The first line that begins after `from` and before `high`: where, and its number.
fn next_line(file: &File, from: u64, high: u64) -> io::Result<Option<(u64, u64)>> {
    let mut reader = BufReader::with_capacity(1 << 12, ReadAt { file, at: from, end: u64::MAX });
    let mut bytes = Vec::new();
    let mut start = from + reader.read_until(b'\n', &mut bytes)? as u64;
    while start < high {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)?;
        if let Some(seq) = seq_of(&bytes) {
            return Ok(Some((start, seq)));
        }
        if read == 0 {
            break;
        }
        start += read as u64;
    }
    Ok(None)
}

/// The files of a log as they were at one moment: the current one is open and read up to the length that it had, and
/// the older ones, which never change, come before its first line.
pub(super) struct Snapshot {
    /// The older files with the numbers in their names.
    older: Vec<(u64, PathBuf)>,
    path: PathBuf,
    current: Option<(File, u64)>,
}

impl Snapshot {
    /// Takes a snapshot of the log whose current file is at `path`.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let failed = |error| cannot("read", path, error);
        match open(path) {
            Ok(file) => {
                let len = file.metadata().map_err(failed)?.len();
                Self::of_open(path, file, len)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { older: before(path)?, path: path.to_owned(), current: None })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The same of a current file that is open already.
    pub(super) fn of_open(path: &Path, file: File, len: u64) -> Result<Self> {
        let first = first_line(&file).map_err(|error| cannot("read", path, error))?;
        let mut older = before(path)?;
        // If the file was rotated since it was opened, it has got another name, and others follow it.
        older.retain(|(number, _)| first.as_ref().is_none_or(|first| *number < first.seq));
        Ok(Self { older, path: path.to_owned(), current: Some((file, len)) })
    }

    pub(super) fn has_current(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn older(&self) -> &[(u64, PathBuf)] {
        &self.older
    }

    /// All files in order.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let older = self.older.iter().map(|(_, path)| path.clone());
        older.chain(self.current.is_some().then(|| self.path.clone())).collect()
    }

    /// Returns the line with this number, or `None` if it is not there.
    pub(super) fn line(&self, seq: u64) -> Result<Option<Line>> {
        self.find_from(seq, |line| match line.seq == seq {
            true => ControlFlow::Break(Some(line)),
            false => ControlFlow::Break(None),
        })
    }

    /// Visits the lines from the number `seq` on until `look` breaks, and returns with what.
    pub(super) fn find_from<T>(
        &self,
        seq: u64,
        mut look: impl FnMut(Line) -> ControlFlow<Option<T>>,
    ) -> Result<Option<T>> {
        let current = match &self.current {
            Some((file, len)) => {
                let first = first_line(file).map_err(|error| cannot("read", &self.path, error))?;
                first.map(|first| (first.seq, file, *len))
            }
            None => None,
        };
        let is_in_current = current.is_some_and(|(first, ..)| first <= seq);
        let from = self.older.iter().rposition(|(number, _)| *number <= seq);
        if !is_in_current && let Some(from) = from {
            for (_, path) in &self.older[from..] {
                let failed = |error| cannot("read", path, error);
                let file = open(path).map_err(failed)?;
                let len = file.metadata().map_err(failed)?.len();
                if let ControlFlow::Break(found) = visit(&file, len, seq, &mut look).map_err(failed)? {
                    return Ok(found);
                }
            }
        }
        if (is_in_current || from.is_some())
            && let Some((_, file, len)) = current
            && let ControlFlow::Break(found) =
                visit(file, len, seq, &mut look).map_err(|error| cannot("read", &self.path, error))?
        {
            return Ok(found);
        }
        Ok(None)
    }

    /// All lines, one file after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Result<Piece>> + '_ {
        let older = self.older.iter().map(|(_, path)| (path, None));
        let current = self.current.as_ref().map(|(file, len)| (&self.path, Some((file, *len))));
        older.chain(current).enumerate().flat_map(|(file, (path, handle))| {
            let reader: io::Result<Box<dyn BufRead + '_>> = match handle {
                Some((handle, end)) => {
                    let range = ReadAt { file: handle, at: 0, end };
                    Ok(Box::new(BufReader::with_capacity(1 << 16, range)))
                }
                None => open(path).map(|file| Box::new(BufReader::with_capacity(1 << 16, file)) as Box<dyn BufRead>),
            };
            let (mut reader, mut failed) = match reader {
                Ok(reader) => (Some(reader), None),
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

/// What is the matter with a log's file.
pub(super) fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {what} the audit log '{}'", path.display()), error)
}
