//! Whether a log is as it was written.

use super::diagnose::{Diagnosis, Item, Verdict, diagnose};
use super::files::{self, Piece};
use super::hash::{Hash, Id};
use super::head::{Anchor, Head};
use super::line::{Entry, Line};
use super::verifying::HeadKey;
use super::walk::{Position, Step, Walk};
use crate::error::{Error, ErrorKind, Result};
use crate::key::AnchorStore;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Verifies a log: the chain of all its files, the signatures of its heads, and its anchor on the token.
///
/// ```no_run
/// use keyward::audit::{HeadKey, Verify};
/// let key = HeadKey::from_pem(&std::fs::read_to_string("audit.pem").unwrap())?;
/// let report = Verify::new("/var/log/keyward/audit.log").key(key).run()?;
/// if let Some(finding) = &report.finding {
///     println!("{}:{}: {}: {}", finding.file.display(), finding.line, finding.diagnosis, finding.explanation);
/// }
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug)]
pub struct Verify {
    path: PathBuf,
    key: Option<HeadKey>,
    anchors: Option<Vec<String>>,
    partial: bool,
}

/// What was found out about a log.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The log's id.
    pub log: Option<Id>,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// How many lines are in order.
    pub entries: u64,
    /// The number of the last of them.
    pub last: u64,
    /// How many heads are signed by the key that it was verified with.
    pub heads: u64,
    /// How many heads are signed by another key, or were not verified because no key was given.
    pub heads_not_verified: u64,
    /// The last line that a verified signature covers.
    pub signed_to: Option<u64>,
    /// The anchor on the token, where the log agrees with it.
    pub anchor: Option<Anchor>,
    /// How many anchors on the token are of this log and not signed by the key.
    pub anchors_not_signed: u64,
    /// The last anchor of every other log on the token that the key signed.
    pub other_anchors: Vec<Anchor>,
    /// How many torn ends there were, each marked and closed by the next writer.
    pub torn: u64,
    /// Whether the last line is being written, or its writer was stopped and nobody has come since.
    pub torn_end: bool,
    /// The AES-GCM wraps of this host, by KEK id.
    pub wraps: BTreeMap<Id, u64>,
    /// The first thing that is wrong.
    pub finding: Option<Finding>,
}

/// Where a log is not as it was written, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// In which file.
    pub file: PathBuf,
    /// In which line of it, counted from 1.
    pub line: u64,
    /// The number that the line has or should have in the log.
    pub seq: Option<u64>,
    /// What was done.
    pub diagnosis: Diagnosis,
    /// How it shows.
    pub explanation: String,
}

impl Verify {
    /// Of the log whose current file is at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), key: None, anchors: None, partial: false }
    }

    /// With the public half of the key that signs its heads. Without it signatures are not checked, and
    /// whoever can write the file can write it anew.
    #[must_use]
    pub fn key(mut self, key: HeadKey) -> Self {
        self.key = Some(key);
        self
    }

    /// With its anchors. Without them nobody can tell that the end was cut off.
    ///
    /// # Errors
    /// Those of the token that holds them.
    pub fn anchors(mut self, anchors: &dyn AnchorStore) -> Result<Self> {
        self.anchors = Some(anchors.anchors()?);
        Ok(self)
    }

    /// Lets the log begin with any of its files: the older ones were moved away. What is in them is
    /// taken from the first line that is there until a signed head confirms it.
    #[must_use]
    pub fn partial(mut self, yes: bool) -> Self {
        self.partial = yes;
        self
    }

    /// Reads the whole log. It may be written to meanwhile.
    ///
    /// # Errors
    /// `Io` where it cannot be read. What is wrong with it is no error but in the report.
    pub fn run(&self) -> Result<Report> {
        let mut older = files::before(&self.path)?;
        loop {
            let report = self.attempt(&older)?;
            // A file that was rotated away while it was to be read seems to be missing.
            let now = files::before(&self.path)?;
            if report.finding.is_none() || now == older {
                return Ok(report);
            }
            older = now;
        }
    }

    fn attempt(&self, older: &[(u64, PathBuf)]) -> Result<Report> {
        let here = self.path.exists();
        if !here && older.is_empty() {
            let message = format!("there is no audit log '{}'", self.path.display());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let mut paths: Vec<_> = older.iter().map(|(_, path)| path.clone()).collect();
        if here {
            paths.push(self.path.clone());
        }
        let numbers = older.iter().map(|(number, _)| *number).collect();
        let mut pass = Pass { numbers, ..Pass::new(self, &paths) };
        let mut verdict = pass.walk()?;
        pass.report.torn = pass.walk.torn;
        if let Some(chain) = &pass.walk.chain {
            pass.report.log = Some(chain.log);
            pass.report.wraps.clone_from(&chain.wraps);
        }
        if verdict.is_none() {
            verdict = pass.at_end(here);
        }
        let mut report = pass.report;
        report.finding = verdict.map(|verdict| Finding {
            file: paths.get(verdict.position.file).unwrap_or(&self.path).clone(),
            line: verdict.position.number,
            seq: verdict.seq,
            diagnosis: verdict.diagnosis,
            explanation: verdict.explanation,
        });
        report.files = paths;
        Ok(report)
    }
}

/// One way through a log.
struct Pass<'a> {
    verify: &'a Verify,
    paths: &'a [PathBuf],
    /// The numbers in the names of the older files.
    numbers: Vec<u64>,
    report: Report,
    walk: Walk,
    /// The hash of every line from the first on: 32 bytes for each.
    hashes: Vec<Hash>,
    first: u64,
    /// Which line wrapped under which key, so that the counts of a head can be taken back to its line.
    wrapped: Vec<(u64, Id)>,
    last: Position,
}

impl<'a> Pass<'a> {
    fn new(verify: &'a Verify, paths: &'a [PathBuf]) -> Self {
        Self {
            verify,
            paths,
            numbers: Vec::new(),
            report: Report::default(),
            walk: Walk::default(),
            hashes: Vec::new(),
            first: 1,
            wrapped: Vec::new(),
            last: Position { file: 0, number: 0 },
        }
    }

    /// Follows the chain to its end, or to the first thing that is wrong.
    fn walk(&mut self) -> Result<Option<Verdict>> {
        for piece in files::pieces(self.paths) {
            let piece = piece?;
            match self.walk.take(&piece) {
                Step::Held => {}
                Step::Broken(position) => return self.diagnose(position).map(Some),
                Step::Next(line) => {
                    if self.hashes.is_empty() {
                        self.first = line.seq;
                    }
                    if let Some(verdict) = self.look_at(&line, &piece) {
                        return Ok(Some(verdict));
                    }
                    if self.first > 1 && self.hashes.len() == 1 && !self.verify.partial {
                        self.hashes.clear();
                        return self.diagnose(self.last).map(Some);
                    }
                }
            }
        }
        match self.walk.left() {
            Some((position, true)) if position.file + 1 == self.paths.len() => self.report.torn_end = true,
            Some((position, _)) => return self.diagnose(position).map(Some),
            None => {}
        }
        Ok(None)
    }

    /// What is to be said of a line that follows the one before it.
    fn look_at(&mut self, line: &Line, piece: &Piece) -> Option<Verdict> {
        let position = Position { file: piece.file, number: piece.number };
        let verdict =
            |diagnosis, explanation: String| Some(Verdict { position, seq: Some(line.seq), diagnosis, explanation });
        if !piece.whole {
            if piece.file + 1 < self.paths.len() {
                return verdict(Diagnosis::Changed, "it lacks its newline".into());
            }
            self.report.torn_end = true;
        }
        if piece.number == 1 {
            if let Some(number) = self.numbers.get(piece.file).filter(|number| **number != line.seq) {
                let explanation = format!("its file is named by the number {number}");
                return verdict(Diagnosis::Reordered, explanation);
            }
            let older = piece.file.checked_sub(1).and_then(|older| self.paths.get(older)).map(|path| file_name(path));
            let said = match &line.entry {
                Entry::Continued { file, .. } => Some(file.as_str()),
                _ => None,
            };
            if older.is_some() && older.as_deref() != said {
                let explanation = "it does not say that it continues the file before".into();
                return verdict(Diagnosis::Changed, explanation);
            }
        }
        if let Entry::Head { .. } = &line.entry
            && let Err(explanation) = self.check_head(line)
        {
            return verdict(Diagnosis::Changed, explanation);
        }
        self.hashes.push(line.hash);
        self.wrapped.extend(line.wraps().iter().map(|id| (line.seq, *id)));
        self.last = position;
        self.report.entries += 1;
        self.report.last = line.seq;
        None
    }

    /// Whether a head is that of the chain before it, and its signature good.
    fn check_head(&mut self, line: &Line) -> Result<(), String> {
        let Entry::Head { count, head, wraps, key, signature, .. } = &line.entry else { return Ok(()) };
        let Some(chain) = &self.walk.chain else { return Ok(()) };
        let confirmed = self.report.signed_to.map_or(self.first, |signed| signed + 1);
        let rewritten = || format!("the head in it is another: entries {confirmed} to {count} were rewritten");
        if *count >= line.seq {
            return Err("the head in it is of a line that comes later".into());
        }
        match count.checked_sub(self.first).map(|index| self.hash_at(index)) {
            Some(hash) if hash != Some(*head) => return Err(rewritten()),
            Some(_) => {
                let mut then = chain.wraps.clone();
                for (_, id) in self.wrapped.iter().rev().take_while(|(seq, _)| seq > count) {
                    if let Some(wraps) = then.get_mut(id) {
                        *wraps -= 1;
                        if *wraps == 0 {
                            then.remove(id);
                        }
                    }
                }
                if then != *wraps {
                    return Err("the counts of wraps in it are not those of the log".into());
                }
            }
            // In a file that was moved away.
            None => {}
        }
        let (Some(id), Some(signature)) = (key, signature) else { return Ok(()) };
        let Some(key) = self.verify.key.as_ref().filter(|key| key.id() == *id) else {
            self.report.heads_not_verified += 1;
            return Ok(());
        };
        if !Head::new(chain.log, *count, *head, wraps).is_signed(key, signature) {
            return Err(format!(
                "the signature in it is not good: it or entries {confirmed} to {count} were rewritten"
            ));
        }
        self.report.heads += 1;
        self.report.signed_to = self.report.signed_to.max(Some(*count));
        Ok(())
    }

    fn hash_at(&self, index: u64) -> Option<Hash> {
        self.hashes.get(usize::try_from(index).ok()?).copied()
    }

    /// What the end of the log says, the chain being in order.
    fn at_end(&mut self, here: bool) -> Option<Verdict> {
        let after = Position { number: self.last.number + 1, ..self.last };
        let verdict = |position, seq: u64, diagnosis, explanation: String| {
            Some(Verdict { position, seq: Some(seq), diagnosis, explanation })
        };
        let last = self.report.last;
        if !here {
            let explanation = format!("the current file '{}' is not here", self.verify.path.display());
            return verdict(after, last + 1, Diagnosis::Removed, explanation);
        }
        let Some(log) = self.report.log else {
            return verdict(after, 1, Diagnosis::Cut, "the log is empty".into());
        };
        if let Some(anchor) = self.choose_anchor(log) {
            let Anchor { count, hash, .. } = anchor;
            if count > last {
                let lines = count - last;
                let explanation = format!("the token has seen {count} entries; the last {lines} are gone");
                return verdict(after, last + 1, Diagnosis::Cut, explanation);
            }
            let index = count.checked_sub(self.first);
            if index.is_some_and(|index| self.hash_at(index) != Some(hash)) {
                let confirmed = self.report.signed_to.filter(|signed| *signed < count).map_or(1, |signed| signed + 1);
                let explanation =
                    format!("the token has seen another entry {count}: entries {confirmed} to {count} were rewritten");
                return verdict(self.last, count, Diagnosis::Changed, explanation);
            }
            self.report.anchor = Some(anchor);
        }
        if let Some(key) = &self.verify.key
            && self.report.heads == 0
        {
            let explanation = format!("no head in the log is signed by the key {}", key.id());
            return verdict(self.last, last, Diagnosis::Unsigned, explanation);
        }
        None
    }

    /// The latest anchor of this log that is signed.
    fn choose_anchor(&mut self, log: Id) -> Option<Anchor> {
        let mut latest: BTreeMap<Id, Anchor> = BTreeMap::new();
        for anchor in self.verify.anchors.iter().flatten().filter_map(|text| Anchor::parse(text)) {
            if self.verify.key.as_ref().is_some_and(|key| !anchor.is_signed(key)) {
                self.report.anchors_not_signed += u64::from(anchor.log == log);
                continue;
            }
            match latest.get(&anchor.log) {
                Some(other) if other.count >= anchor.count => {}
                _ => _ = latest.insert(anchor.log, anchor),
            }
        }
        let own = latest.remove(&log);
        self.report.other_anchors = latest.into_values().collect();
        own
    }

    /// What is wrong at this place, from all lines of the log.
    fn diagnose(&self, position: Position) -> Result<Verdict> {
        let items: Vec<_> = files::pieces(self.paths).map(|piece| Ok(Item::of(&piece?))).collect::<Result<_>>()?;
        let at = items.iter().position(|item| item.position == position).unwrap_or(items.len());
        let (seq, prev) = match self.hashes.last() {
            Some(hash) => (self.report.last + 1, *hash),
            None => (1, Hash::ZERO),
        };
        Ok(diagnose(&items, at, seq, prev).unwrap_or(Verdict {
            position,
            seq: Some(seq),
            diagnosis: Diagnosis::Changed,
            explanation: "it changed while it was being read".into(),
        }))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
