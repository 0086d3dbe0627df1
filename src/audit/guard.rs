//! What a writer has confirmed about its log, and the checks that confirm it.

use super::chain::Chain;
use super::extension::{Fault, Standing, check_anchors, check_links, standing};
use super::files::{self, Snapshot, cannot};
use super::head::{Anchor, Link};
use super::keepers::{Compare, Trust};
use super::line::{Entry, Line};
use super::name::LogName;
use super::tail::{Oversight, Tail, is_head_signed, tampered};
use super::verifying::HeadKey;
use crate::error::{Error, Result};
use crate::key::AnchorOrder;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a writer has confirmed about its log.
#[derive(Debug)]
pub(super) enum Guard {
    /// The log is not signed.
    Unsigned,
    /// No keeper has answered yet.
    Unchecked,
    /// The log extends what its keepers have seen.
    Checked {
        keys: Vec<HeadKey>,
        /// The anchors of which this is known.
        anchors: Vec<Anchor>,
        /// Heads of other processes, signed by keys that are not among `keys`.
        unverified: Vec<Line>,
    },
}

impl Guard {
    pub(super) fn new(signed: bool, trust: Option<&Trust>) -> Self {
        match (signed, trust) {
            (false, _) => Self::Unsigned,
            (true, None) => Self::Unchecked,
            (true, Some(Trust { keys, anchors, .. })) => {
                Self::Checked { keys: keys.clone(), anchors: anchors.clone(), unverified: Vec::new() }
            }
        }
    }

    pub(super) fn is_checked(&self) -> bool {
        matches!(self, Self::Checked { .. })
    }

    /// How many heads wait for their keys.
    pub(super) fn unverified(&self) -> usize {
        match self {
            Self::Checked { unverified, .. } => unverified.len(),
            Self::Unsigned | Self::Unchecked => 0,
        }
    }

    /// Checks the signature in a line that another process wrote, or says what is wrong.
    pub(super) fn look(&mut self, chain: &Chain, line: &Line) -> Result<(), String> {
        let Self::Checked { keys, unverified, .. } = self else { return Ok(()) };
        if !matches!(line.entry, Entry::Head { signature: Some(_), .. }) {
            return Ok(());
        }
        match is_head_signed(&chain.identity, line, keys) {
            Some(true) => {}
            Some(false) => return Err(format!("has a head at entry {} whose signature is not good", line.seq)),
            // The audit key was replaced, or this is none: the keepers are asked before the next signature.
            None => unverified.push(line.clone()),
        }
        Ok(())
    }

    /// Checks what is new since the last check. Of the heads that wait for their keys, the first `asked` must be signed
    /// by one that is known by now.
    pub(super) fn update(
        &mut self,
        path: &Path,
        file: &File,
        len: u64,
        chain: &Chain,
        trust: &Trust,
        asked: usize,
    ) -> Result<()> {
        let Self::Checked { keys, anchors, unverified } = self else { return Ok(()) };
        let mut waiting = Vec::new();
        for (index, line) in unverified.drain(..).enumerate() {
            match is_head_signed(&chain.identity, &line, &trust.keys) {
                Some(true) => {}
                None if index >= asked || !trust.is_complete => waiting.push(line),
                _ => return Err(tampered(path, &format!("has a head at entry {} that no known key signed", line.seq))),
            }
        }
        *unverified = waiting;
        if *anchors != trust.anchors {
            let snapshot = snapshot(path, file, len)?;
            let hash_at = |seq| Ok(snapshot.line(seq)?.map(|line| line.hash));
            check_anchors(&chain.identity, trust, chain.seq, &hash_at).map_err(|fault| error_of(path, fault))?;
        }
        (*keys, *anchors) = (trust.keys.clone(), trust.anchors.clone());
        Ok(())
    }
}

/// What vouches for a log when it is opened.
pub(super) fn oversight(signed: bool, trust: Option<&Trust>) -> Oversight<'_> {
    match (signed, trust) {
        (false, _) => Oversight::Unsigned,
        (true, None) => Oversight::Unreachable,
        (true, Some(trust)) => Oversight::Trusted(trust),
    }
}

/// Checks that the end of a log extends what its keepers have seen of it.
pub(super) fn check(
    path: &Path,
    file: &File,
    name: &LogName,
    tail: &Tail,
    signed: bool,
    trust: Option<&Trust>,
) -> Result<Guard> {
    let identity = &tail.chain.identity;
    if identity.name != *name {
        return Err(tampered(path, &format!("has the name '{}', and the configured one is '{name}'", identity.name)));
    }
    let Some(trust) = trust else { return Ok(Guard::new(signed, None)) };
    let is_verified = |base: &Line| is_head_signed(identity, base, &trust.keys).is_some();
    if !trust.is_complete && tail.base.as_ref().is_some_and(|base| !is_verified(base)) {
        // Another token signed it, which does not answer.
        return Ok(Guard::Unchecked);
    }
    let snapshot = snapshot(path, file, tail.len)?;
    let hash_at = |seq| match tail.hash_at(seq) {
        Some(hash) => Ok(Some(hash)),
        None => Ok(snapshot.line(seq)?.map(|line| line.hash)),
    };
    let fault = |fault| error_of(path, fault);
    check_anchors(identity, trust, tail.chain.seq, &hash_at).map_err(fault)?;
    match (trust.highest(identity.log), &tail.base) {
        (Some(anchor), Some(base)) => check_links(identity, base, anchor, trust, &snapshot).map_err(fault)?,
        (None, Some(Line { entry: Entry::Head { anchor: Some(Link { count, .. }), .. }, .. })) => {
            if !trust.is_complete {
                // The token that has the anchor does not answer.
                return Ok(Guard::Unchecked);
            }
            return Err(tampered(path, &format!("was anchored at entry {count}, and the token has no anchor of it")));
        }
        _ => {}
    }
    Ok(Guard::new(true, Some(trust)))
}

/// Checks that a log may begin at `path`. Returns the anchor of the retired log whose successor it is.
pub(super) fn check_begin<'a>(path: &Path, trust: Option<&'a Trust>) -> Result<Option<&'a Anchor>> {
    if !files::before(path)?.is_empty() {
        // A new beginning would hide that the end of the log is gone.
        return Err(tampered(path, "is gone or empty, and its older files are there"));
    }
    let anchors = trust.map_or(&[][..], |trust| &trust.anchors);
    let retired = anchors.iter().rfind(|anchor| anchor.is_retired());
    let is_over = |anchor: &Anchor| {
        retired.is_some_and(|retired| retired.log() == anchor.log() && anchor.count() <= retired.count())
    };
    if let Some(anchor) = anchors.iter().rfind(|anchor| !is_over(anchor)) {
        let (name, count, time) = (anchor.name(), anchor.count(), anchor.time_text());
        let what = format!("is gone: the token has an anchor of '{name}' with {count} entries, of {time}");
        return Err(tampered(path, &what)
            .with_hint(format!("put its files back; to give it up, `keyward audit retire {name}`")));
    }
    Ok(retired)
}

/// Compares anchors on a token with one of this log that is about to be written, by the lines of the log.
pub(super) fn compare(path: PathBuf, chain: &Chain, keys: Vec<HeadKey>) -> Compare {
    let identity = chain.identity.clone();
    Arc::new(move |own, text| {
        let Some(other) = Anchor::parse(text).filter(|other| other.is_signed(&keys)) else {
            tracing::warn!("an anchor on the token has no signature of a known audit key; it stays there");
            return Ok(AnchorOrder::Unrelated);
        };
        let files = Snapshot::take(&path)?;
        let hash_at = |seq| Ok(files.line(seq)?.map(|line| line.hash));
        let standing =
            standing(&identity, &other, u64::MAX, &keys, &hash_at).map_err(|fault| error_of(&path, fault))?;
        match standing {
            Standing::Predecessor => Ok(AnchorOrder::Lower),
            Standing::InChain => Ok(match other.count().cmp(&own.count()) {
                std::cmp::Ordering::Less => AnchorOrder::Lower,
                std::cmp::Ordering::Equal => AnchorOrder::Same,
                std::cmp::Ordering::Greater => AnchorOrder::Higher,
            }),
            Standing::MovedAway if other.count() < own.count() => Ok(AnchorOrder::Unrelated),
            Standing::MovedAway => {
                let count = other.count();
                Err(tampered(&path, &format!("lacks entry {count}, which the token has seen")))
            }
        }
    })
}

/// The link of the last signed head, and the anchor of the log among those of the keepers.
pub(super) fn links(chain: &Chain, trust: &Trust) -> (Option<Link>, Option<Link>) {
    let anchor = trust.highest(chain.identity.log).map(|anchor| Link { count: anchor.count(), head: anchor.hash() });
    (chain.signed.link(), anchor)
}

fn snapshot(path: &Path, file: &File, len: u64) -> Result<Snapshot> {
    Snapshot::of_open(path, file.try_clone().map_err(|error| cannot("read", path, error))?, len)
}

fn error_of(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Evidence(what) => tampered(path, &what),
        Fault::Failed(error) => error,
    }
}
