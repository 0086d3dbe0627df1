//! The keepers of a log, asked together: what they vouch for, signatures and anchors.

use super::hash::Id;
use super::head::Anchor;
use super::name::LogName;
use super::verifying::HeadKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AnchorOrder, HeadKeeper, KeeperRecords};
use base64ct::{Base64, Encoding};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long several keepers are waited for; a single one has the deadlines of its token.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the keepers that answered vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// The keys that verify heads: current, former, and those of other tokens.
    pub(super) keys: Vec<HeadKey>,
    /// The anchors of the log's name that one of the keys signed, the highest last.
    pub(super) anchors: Vec<Anchor>,
    /// Whether every keeper answered.
    pub(super) is_complete: bool,
}

/// How a comparison of anchors is made: it outlives the call, because a keeper may be slow.
pub(super) type Compare = Arc<dyn Fn(&Anchor, &str) -> Result<AnchorOrder> + Send + Sync>;

/// All keepers of a log.
#[derive(Clone, Default)]
pub(super) struct Keepers(Vec<Arc<dyn HeadKeeper>>);

impl Trust {
    pub(super) fn new(records: Vec<KeeperRecords>, is_complete: bool) -> Result<Self> {
        let (mut keys, mut anchors): (Vec<HeadKey>, Vec<Anchor>) = (Vec::new(), Vec::new());
        let (points, texts): (Vec<_>, Vec<_>) = records.into_iter().map(|one| (one.points, one.anchors)).unzip();
        for point in points.into_iter().flatten() {
            let key = HeadKey::from_point(point)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for text in texts.into_iter().flatten() {
            match Anchor::parse(&text).filter(|anchor| anchor.is_signed(&keys)) {
                Some(anchor) if !anchors.contains(&anchor) => anchors.push(anchor),
                Some(_) => {}
                None => {
                    tracing::warn!("an anchor on the token has no signature of a known audit key; it does not count")
                }
            }
        }
        anchors.sort_by_key(|anchor| (anchor.count(), anchor.is_retired()));
        Ok(Self { keys, anchors, is_complete })
    }

    /// Returns the highest anchor of this log.
    pub(super) fn highest(&self, log: Id) -> Option<&Anchor> {
        self.anchors.iter().rfind(|anchor| anchor.log() == log)
    }
}

impl Keepers {
    pub(super) fn add(&mut self, keeper: Arc<dyn HeadKeeper>) {
        self.0.push(keeper);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns what the keepers vouch for, or `None` if there are none or none answers.
    pub(super) fn read(&self, name: &LogName) -> Result<Option<Trust>> {
        let name = name.clone();
        let answers = self.ask(move |keeper| keeper.read(Some(name.as_str())));
        let (mut records, mut without_key, mut away) = (Vec::new(), None, false);
        for answer in answers {
            match answer {
                Ok(one) => records.push(one),
                Err(error) if error.kind().is_unavailable() => {
                    tracing::warn!(%error, "a token that keeps the audit log does not answer");
                    away = true;
                }
                Err(error) if error.kind() == ErrorKind::KeyNotFound => without_key = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (records.is_empty(), without_key) {
            (false, _) => Trust::new(records, !away).map(Some),
            (true, Some(error)) if !away => Err(error),
            (true, _) => Ok(None),
        }
    }

    /// Returns the signature of the first keeper that signs, with the id of its key.
    pub(super) fn sign(&self, message: &[u8]) -> Result<(Id, String)> {
        let mut failed = None;
        for keeper in &self.0 {
            match keeper.sign(message) {
                Ok(signed) => {
                    let key = HeadKey::from_point(signed.point)?;
                    return Ok((key.id(), Base64::encode_string(&signed.signature)));
                }
                Err(error) if error.kind().is_unavailable() || error.kind() == ErrorKind::KeyNotFound => {
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(none_signs))
    }

    /// Writes an anchor to every keeper that answers.
    pub(super) fn set_anchor(&self, anchor: &Anchor, compare: &Compare) -> Result<()> {
        let (name, text) = (anchor.name().clone(), anchor.to_text());
        let (anchor, compare) = (anchor.clone(), Arc::clone(compare));
        let answers = self.ask(move |keeper| keeper.set_anchor(name.as_str(), &text, &|other| compare(&anchor, other)));
        let (mut kept, mut failed) = (false, None);
        for answer in answers {
            match answer {
                Ok(()) => kept = true,
                Err(error) if error.kind() == ErrorKind::Tampered => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if !kept => Err(error),
            Some(error) => {
                tracing::warn!(%error, "not every token keeps the anchor of the audit log");
                Ok(())
            }
            None if kept => Ok(()),
            None => Err(none_signs()),
        }
    }

    /// Asks every keeper, several of them at once, and returns their answers in the order of the keepers. One that does
    /// not answer in time counts as unavailable.
    fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&dyn HeadKeeper) -> Result<T> + Send + Sync + 'static,
    ) -> Vec<Result<T>> {
        if let [only] = self.0.as_slice() {
            return vec![question(&**only)];
        }
        let question = Arc::new(question);
        let asked: Vec<_> = self
            .0
            .iter()
            .map(|keeper| {
                let (answer, answered) = mpsc::channel();
                let (keeper, question) = (Arc::clone(keeper), Arc::clone(&question));
                let thread = thread::Builder::new().name("keyward-audit-ask".to_owned());
                let spawned = thread.spawn(move || {
                    // The receiver is gone if this took too long.
                    let _ = answer.send(question(&*keeper));
                });
                spawned.map(|_| answered).map_err(|error| Error::io("cannot start a thread for the audit log", error))
            })
            .collect();
        let deadline = Instant::now() + PATIENCE;
        asked
            .into_iter()
            .map(|answered| {
                answered?.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Timeout, "a token that keeps the audit log does not answer in time"))
                })
            })
            .collect()
    }
}

fn none_signs() -> Error {
    Error::new(ErrorKind::InvalidArgument, "no token signs this audit log")
}
