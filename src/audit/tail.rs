//! The end of a log, read back to its last head: what a writer goes on from.

use super::chain::{Chain, End, Identity};
use super::files::{self, Snapshot, cannot, seq_of};
use super::hash::Hash;
use super::head::{AnchorState, Head, Link, hash_of_wraps};
use super::keepers::Trust;
use super::line::{Entry, Line};
use super::verifying::HeadKey;
use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at once from the end of a file.
const BLOCK: u64 = 1 << 16;
/// What stands in a line that is a head. In the text of another kind its quotes are escaped.
const HEAD: &[u8] = b",\"kind\":\"head\",";

/// What vouches for a log when its end is read.
#[derive(Clone, Copy)]
pub(super) enum Oversight<'a> {
    /// The log is not signed: only the chain is checked, from the last head on.
    Unsigned,
    /// No keeper answers: what is read is checked as soon as one does.
    Unreachable,
    /// The keys and the anchors on the token.
    Trusted(&'a Trust),
}

/// The end of a log.
pub(super) struct Tail {
    pub(super) chain: Chain,
    /// The bytes of the current file that are taken in.
    pub(super) len: u64,
    /// The length of the last line with its newline.
    pub(super) last_len: u64,
    /// The last head, which the end was read back to; none if it was read back to the first line.
    pub(super) base: Option<Line>,
    /// The hashes of the lines from `first` on.
    first: u64,
    hashes: Vec<Hash>,
}

impl Tail {
    /// The hash of a line that was read.
    pub(super) fn hash_at(&self, seq: u64) -> Option<Hash> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.hashes.get(index).copied()
    }
}

/// Reads the end of the log whose current file is open; `None` if no line was written whole.
pub(super) fn read(path: &Path, file: &File, oversight: Oversight<'_>) -> Result<Option<Tail>> {
    let failed = |error| cannot("read", path, error);
    let len = file.metadata().map_err(failed)?.len();
    let Some(first) = files::first_line(file).map_err(failed)? else {
        let mut bytes = vec![0; usize::try_from(len.min(BLOCK)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        return if len < BLOCK && is_unbegun(&bytes) { Ok(None) } else { Err(tampered(path, "is not in order")) };
    };
    let identity = Identity::of_first(&first).ok_or_else(|| tampered(path, "begins with something else than a log"))?;
    let mut back = Backward::new(path, file, len);
    let mut wanted = BLOCK;
    loop {
        let window = back.last(wanted)?;
        if let Some(tail) = window.tail(path, &identity, oversight)? {
            return Ok(Some(tail));
        }
        wanted = wanted.saturating_mul(2);
    }
}

/// Returns the head in a line, if it is signed.
pub(super) fn signed_head(identity: &Identity, line: &Line) -> Option<(Head, crate::audit::Id, String)> {
    let Entry::Head { count, head, wraps, previous, anchor, key: Some(key), signature: Some(signature) } = &line.entry
    else {
        return None;
    };
    let head = Head {
        log: identity.log,
        name: identity.name.clone(),
        at: Link { count: *count, head: *head },
        previous: *previous,
        anchor: *anchor,
        wraps: hash_of_wraps(wraps),
    };
    Some((head, *key, signature.clone()))
}

/// Whether the signature in a signed head is good; `None` if its key is not among these.
pub(super) fn is_head_signed(identity: &Identity, line: &Line, keys: &[HeadKey]) -> Option<bool> {
    let (head, key, signature) = signed_head(identity, line)?;
    let key = keys.iter().find(|own| own.id() == key)?;
    Some(head.is_signed(AnchorState::Live, key, &signature))
}

/// The error of a log that is not as it was written.
pub(super) fn tampered(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Tampered, format!("the audit log '{}' {what}", path.display()))
        .with_hint("`keyward audit verify` shows what was changed; docs/audit.md says how to go on")
}

/// Whether this is all that is left of a first line whose writer was stopped. Any other file that lies
/// at the path is none of ours to write over.
fn is_unbegun(bytes: &[u8]) -> bool {
    let start = b"{\"seq\":1,\"time\":\"";
    let common = bytes.len().min(start.len());
    !bytes.contains(&b'\n') && (bytes.iter().all(|byte| *byte == 0) || bytes[..common] == start[..common])
}

/// Reads a log backwards, over its files.
struct Backward<'a> {
    path: &'a Path,
    file: &'a File,
    len: u64,
    /// Older files that were opened, the newest first, and those that were not, the newest last.
    opened: Vec<(File, u64)>,
    older: Option<Vec<PathBuf>>,
}

/// The last bytes of a log.
struct Window {
    bytes: Vec<u8>,
    /// How many of them are in older files.
    older: usize,
    /// The length of the current file.
    len: u64,
    /// Where the first line in it begins.
    skipped: usize,
    /// Whether nothing comes before.
    whole: bool,
}

impl<'a> Backward<'a> {
    fn new(path: &'a Path, file: &'a File, len: u64) -> Self {
        Self { path, file, len, opened: Vec::new(), older: None }
    }

    /// Returns the last `wanted` bytes, or all if there are fewer.
    fn last(&mut self, wanted: u64) -> Result<Window> {
        let mut parts = Vec::new();
        let mut left = wanted;
        let mut take = |path: &Path, file: &File, len: u64| -> Result<bool> {
            let start = len.saturating_sub(left);
            let mut bytes = vec![0; usize::try_from(len - start).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, start).map_err(|error| cannot("read", path, error))?;
            left -= len - start;
            parts.push(bytes);
            Ok(start == 0)
        };
        let mut whole = take(self.path, self.file, self.len)?;
        let mut next = 0;
        while whole {
            if next == self.opened.len() && !self.open_older()? {
                break;
            }
            let (file, len) = &self.opened[next];
            whole = take(self.path, file, *len)?;
            next += 1;
        }
        let current = parts.first().map_or(0, Vec::len);
        let bytes: Vec<u8> = parts.into_iter().rev().flatten().collect();
        // The first piece begins somewhere in a line.
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        let skipped = if whole { 0 } else { newline.map_or(bytes.len(), |at| at + 1) };
        Ok(Window { older: bytes.len() - current, len: self.len, bytes, skipped, whole })
    }

    /// Opens the next older file; false if there is none.
    fn open_older(&mut self) -> Result<bool> {
        if self.older.is_none() {
            let clone = self.file.try_clone().map_err(|error| cannot("read", self.path, error))?;
            let snapshot = Snapshot::of_open(self.path, clone, self.len)?;
            self.older = Some(snapshot.older().iter().map(|(_, path)| path.clone()).collect());
        }
        let Some(path) = self.older.as_mut().and_then(Vec::pop) else { return Ok(false) };
        let failed = |error| cannot("read", &path, error);
        let file = files::open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        self.opened.push((file, len));
        Ok(true)
    }
}

impl Window {
    /// The end of the log, or `None` if more must be read.
    fn tail(&self, path: &Path, identity: &Identity, oversight: Oversight<'_>) -> Result<Option<Tail>> {
        let mut starts = Vec::new();
        let mut at = self.skipped;
        for piece in self.bytes[self.skipped..].split_inclusive(|byte| *byte == b'\n') {
            starts.push(at);
            at += piece.len();
        }
        let Some((head, line)) = self.last_head(&starts, matches!(oversight, Oversight::Unsigned)) else {
            return if self.whole { self.whole_tail(path, &starts, oversight).map(Some) } else { Ok(None) };
        };
        if let Oversight::Trusted(trust) = oversight {
            let said = |what: &str| tampered(path, &format!("has a head at entry {} {what}", line.seq));
            match is_head_signed(identity, &line, &trust.keys) {
                Some(true) => {}
                Some(false) => return Err(said("whose signature is not good")),
                // That of a token that does not answer: it is checked when it does.
                None if !trust.is_complete => {}
                None => return Err(said("that is signed by an unknown key")),
            }
        }
        let chain = Chain::of_head(identity.clone(), &line).ok_or_else(|| tampered(path, "has a head that is none"))?;
        let (count, hash) = (chain.seq, chain.hash);
        let covered = starts[..head].iter().rev().find(|start| seq_of(&self.bytes[**start..]) == Some(count));
        match covered {
            Some(start) => {
                let found = self.line_at(*start).filter(|line| line.seq == count && line.hash == hash);
                found.ok_or_else(|| tampered(path, &format!("has another entry {count} than was signed")))?;
                self.follow(path, chain, *start, Some(line)).map(Some)
            }
            None if self.whole => Err(tampered(path, &format!("lacks entry {count}, which a head in it is of"))),
            None => Ok(None),
        }
    }

    /// The last head, as the index of its line among `starts` and the line.
    fn last_head(&self, starts: &[usize], any: bool) -> Option<(usize, Line)> {
        starts.iter().enumerate().rev().find_map(|(index, start)| {
            let is_signed = |line: &Line| matches!(line.entry, Entry::Head { signature: Some(_), .. });
            let is_head = |line: &Line| matches!(line.entry, Entry::Head { .. });
            let text = self.text_at(*start)?;
            text.windows(HEAD.len()).any(|part| part == HEAD).then_some(())?;
            let line = Line::parse(text)?;
            (is_signed(&line) || any && is_head(&line)).then_some((index, line))
        })
    }

    fn text_at(&self, start: usize) -> Option<&[u8]> {
        let rest = &self.bytes[start..];
        Some(&rest[..rest.iter().position(|byte| *byte == b'\n')?])
    }

    fn line_at(&self, start: usize) -> Option<Line> {
        Line::parse(self.text_at(start)?)
    }

    /// The end of a log in which no head is, from its first line on.
    fn whole_tail(&self, path: &Path, starts: &[usize], oversight: Oversight<'_>) -> Result<Tail> {
        let first = starts.first().and_then(|start| self.line_at(*start));
        let chain = first.as_ref().and_then(Chain::of_first);
        let chain = chain.ok_or_else(|| tampered(path, "begins with something else than a log"))?;
        if chain.seq > 1 && matches!(oversight, Oversight::Trusted(_)) {
            return Err(tampered(
                path,
                &format!("has no signed head from entry {} on, with which it begins", chain.seq),
            ));
        }
        self.follow(path, chain, 0, None)
    }

    /// The end of a log from the line at `start` on, after which `chain` is.
    fn follow(&self, path: &Path, mut chain: Chain, start: usize, base: Option<Line>) -> Result<Tail> {
        let first = chain.seq;
        let mut hashes = vec![chain.hash];
        let after = start + self.text_at(start).map_or(0, |text| text.len() + 1);
        let mut look = |_: &Chain, line: &Line| {
            hashes.push(line.hash);
            Ok(())
        };
        let caught = chain.catch_up(&self.bytes[after..], &mut look);
        let (good, _): (usize, End) = caught.map_err(|what| tampered(path, &what))?;
        let end = after + good;
        if end < self.older {
            return Err(tampered(path, "is not in order where its file begins"));
        }
        let len = self.len - (self.bytes.len() - end) as u64;
        let last = self.bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Ok(Tail { chain, len, last_len: (end - last) as u64, base, first, hashes })
    }
}
