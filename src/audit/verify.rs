//! Whether a log is as it was written.

mod anchors;

use super::chain::LastSigned;
use super::diagnose::{Diagnosis, Item, Verdict, diagnose};
use super::files::{Piece, Snapshot};
use super::hash::{Hash, Id};
use super::head::{Anchor, Link};
use super::line::{Entry, Line};
use super::name::LogName;
use super::tail::is_head_signed;
use super::verifying::HeadKey;
use super::walk::{Position, Step, Walk};
use crate::error::Result;
use crate::key::HeadKeeper;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Verifies a log: the chain of all its files, the signatures of its heads, and its anchors on the tokens.
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
#[derive(Clone, Debug)]
pub struct Verify {
    path: PathBuf,
    name: Option<LogName>,
    keys: Vec<HeadKey>,
    anchors: Option<Vec<String>>,
    partial: bool,
}

/// What was found out about a log.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The log's id.
    pub log: Option<Id>,
    /// The log's name.
    pub name: Option<LogName>,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// How many lines are in order.
    pub entries: u64,
    /// The number of the last of them.
    pub last: u64,
    /// How many heads are signed by one of the keys that it was verified with.
    pub heads: u64,
    /// How many heads are signed by other keys, or were not verified because no key was given.
    pub heads_not_verified: u64,
    /// The last line that a verified signature covers.
    pub signed_to: Option<u64>,
    /// The highest anchor on the tokens. The log agrees with it if nothing is wrong.
    pub anchor: Option<Anchor>,
    /// How many anchors on the tokens have the name of this log and no signature of a known key.
    pub anchors_not_signed: u64,
    /// The highest anchor of every log on the tokens that has another name.
    pub other_anchors: Vec<Anchor>,
    /// How many torn ends there were, each marked and closed by the next writer.
    pub torn: u64,
    /// Whether the last line is being written, or its writer was stopped and no other has come since.
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
        Self { path: path.into(), name: None, keys: Vec::new(), anchors: None, partial: false }
    }

    /// With the name that the log must have; otherwise it is taken from the log, which an attacker who can write
    /// the file can change.
    #[must_use]
    pub fn name(mut self, name: LogName) -> Self {
        self.name = Some(name);
        self
    }

    /// With the public half of a key that signs its heads; called again, of another one. Without any, signatures are not
    /// checked, and an attacker who can write the file can write all of it.
    #[must_use]
    pub fn key(mut self, key: HeadKey) -> Self {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        self
    }

    /// Returns the keys so far.
    #[must_use]
    pub fn keys(&self) -> &[HeadKey] {
        &self.keys
    }

    /// With the keys and the anchors on a token; called again, on another one. Without them a cut end is not found.
    ///
    /// # Errors
    /// Those of the token.
    pub fn keeper(mut self, keeper: &dyn HeadKeeper) -> Result<Self> {
        let records = keeper.read(None)?;
        self.anchors.get_or_insert_default().extend(records.anchors);
        for point in records.points {
            self = self.key(HeadKey::from_point(point)?);
        }
        Ok(self)
    }

    /// Lets the log begin with any of its files: the older ones were moved away. What is in them is
    /// taken from the first line that is there until a signed head confirms it.
    #[must_use]
    pub fn partial(mut self, yes: bool) -> Self {
        self.partial = yes;
        self
    }

    /// Reads the whole log as it is now. It may be written to meanwhile.
    ///
    /// # Errors
    /// `Io` if it cannot be read. What is wrong with it is no error but in the report.
    pub fn run(&self) -> Result<Report> {
        let snapshot = Snapshot::take(&self.path)?;
        let paths = snapshot.paths();
        let mut pass = Pass::new(self, &snapshot, &paths);
        let mut verdict = match paths.is_empty() {
            true => Some(pass.without_files()?),
            false => pass.walk()?,
        };
        pass.report.torn = pass.walk.torn;
        if let Some(chain) = &pass.walk.chain {
            pass.report.log = Some(chain.identity.log);
            pass.report.name = Some(chain.identity.name.clone());
            pass.report.wraps.clone_from(&chain.wraps);
        }
        if verdict.is_none() {
            verdict = pass.at_end()?;
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
    snapshot: &'a Snapshot,
    paths: &'a [PathBuf],
    /// The anchors on the tokens that are signed by one of the keys, or all of them without keys.
    anchors: Vec<Anchor>,
    report: Report,
    walk: Walk,
    /// The hash of every line from the first on: 32 bytes for each.
    hashes: Vec<Hash>,
    first: u64,
    /// The last signed head.
    signed: LastSigned,
    /// Which line wrapped under which key, so that the counts of a head can be taken back to its line.
    wrapped: Vec<(u64, Id)>,
    last: Position,
}

impl<'a> Pass<'a> {
    fn new(verify: &'a Verify, snapshot: &'a Snapshot, paths: &'a [PathBuf]) -> Self {
        Self {
            verify,
            snapshot,
            paths,
            anchors: Vec::new(),
            report: Report::default(),
            walk: Walk::default(),
            hashes: Vec::new(),
            first: 1,
            signed: LastSigned::None,
            wrapped: Vec::new(),
            last: Position { file: 0, number: 0 },
        }
    }

    /// Follows the chain to its end, or to the first thing that is wrong.
    fn walk(&mut self) -> Result<Option<Verdict>> {
        for piece in self.snapshot.pieces() {
            let piece = piece?;
            match self.walk.take(&piece) {
                Step::Held => {}
                Step::Broken(position) => return self.diagnose(position).map(Some),
                Step::Next(line) => {
                    if self.hashes.is_empty() {
                        self.first = line.seq;
                        self.signed = self.walk.chain.as_ref().map_or(LastSigned::Unknown, |chain| chain.signed);
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
            let number = self.snapshot.older().get(piece.file).map(|(number, _)| *number);
            if let Some(number) = number.filter(|number| *number != line.seq) {
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
        let Entry::Head { count, head, wraps, previous, anchor, key, signature } = &line.entry else { return Ok(()) };
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
        let (Some(_), Some(_)) = (key, signature) else { return Ok(()) };
        let is_linked = match self.signed {
            LastSigned::Unknown => true,
            LastSigned::None => previous.is_none(),
            LastSigned::At(link) => *previous == Some(link),
        };
        if !is_linked {
            return Err("the head in it does not name the signed head before it".into());
        }
        if let Some(Link { count, head }) = anchor
            && count.checked_sub(self.first).is_some_and(|index| self.hash_at(index) != Some(*head))
        {
            return Err(format!("the head in it was signed when another entry {count} was anchored"));
        }
        self.signed = LastSigned::At(Link { count: *count, head: *head });
        match is_head_signed(&chain.identity, line, &self.verify.keys) {
            None if self.verify.anchors.is_some() && !self.verify.keys.is_empty() => {
                return Err("the head in it is signed by an unknown key".into());
            }
            None => self.report.heads_not_verified += 1,
            Some(false) => {
                return Err(format!(
                    "the signature in it is not good: it or entries {confirmed} to {count} were rewritten"
                ));
            }
            Some(true) => {
                self.report.heads += 1;
                self.report.signed_to = self.report.signed_to.max(Some(*count));
            }
        }
        Ok(())
    }

    fn hash_at(&self, index: u64) -> Option<Hash> {
        self.hashes.get(usize::try_from(index).ok()?).copied()
    }

    /// What the end of the log says, the chain being in order.
    fn at_end(&mut self) -> Result<Option<Verdict>> {
        let after = Position { number: self.last.number + 1, ..self.last };
        let verdict = |position, seq: u64, diagnosis, explanation: String| {
            Ok(Some(Verdict { position, seq: Some(seq), diagnosis, explanation }))
        };
        let last = self.report.last;
        if !self.snapshot.has_current() {
            let explanation = format!("the current file '{}' is not here", self.verify.path.display());
            return verdict(after, last + 1, Diagnosis::Removed, explanation);
        }
        let Some(identity) = self.walk.chain.as_ref().map(|chain| chain.identity.clone()) else {
            return verdict(after, 1, Diagnosis::Cut, "the log is empty".into());
        };
        if let Some(name) = self.verify.name.as_ref().filter(|name| **name != identity.name) {
            let explanation = format!("the log has the name '{}', and that of '{name}' is expected", identity.name);
            return verdict(self.last, last, Diagnosis::Replaced, explanation);
        }
        self.take_anchors(&identity.name);
        if let Some(found) = self.check_anchors(&identity)? {
            return Ok(Some(found));
        }
        if !self.verify.keys.is_empty() && self.report.heads == 0 {
            let ids: Vec<_> = self.verify.keys.iter().map(|key| key.id().to_string()).collect();
            let explanation = format!("no head in the log is signed by the key {}", ids.join(" or "));
            return verdict(self.last, last, Diagnosis::Unsigned, explanation);
        }
        Ok(None)
    }

    /// What is wrong at this place, from all lines of the log.
    fn diagnose(&self, position: Position) -> Result<Verdict> {
        let items: Vec<_> = self.snapshot.pieces().map(|piece| Ok(Item::of(&piece?))).collect::<Result<_>>()?;
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
