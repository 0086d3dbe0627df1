//! Whether a log extends what its keepers have seen of it.

use super::chain::Identity;
use super::files::Snapshot;
use super::hash::Hash;
use super::head::{Anchor, Link};
use super::keepers::Trust;
use super::line::{Entry, Line};
use super::tail::{is_head_signed, signed_head};
use super::verifying::HeadKey;
use crate::error::Result;
use std::ops::ControlFlow;

/// What is wrong, as a phrase after the log's name, or an error that kept it from being found out.
pub(super) enum Fault {
    Evidence(String),
    Failed(crate::error::Error),
}

impl From<crate::error::Error> for Fault {
    fn from(error: crate::error::Error) -> Self {
        Self::Failed(error)
    }
}

fn evidence<T>(what: String) -> Result<T, Fault> {
    Err(Fault::Evidence(what))
}

/// How a genuine anchor of a log's name stands to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A line of the log is the one that is anchored.
    InChain,
    /// A state of the log that this one is the successor of.
    Predecessor,
    /// The line was moved away.
    MovedAway,
}

/// Returns how an anchor of the log's name stands to the log, of which `last` is the number of the last line.
pub(super) fn standing(
    identity: &Identity,
    anchor: &Anchor,
    last: u64,
    keys: &[HeadKey],
    hash_at: &dyn Fn(u64) -> Result<Option<Hash>>,
) -> Result<Standing, Fault> {
    let count = anchor.count();
    if anchor.log() != identity.log {
        let retired = identity.retired.as_ref().filter(|retired| retired.is_signed(keys));
        let is_before = retired.is_some_and(|retired| retired.log() == anchor.log() && count <= retired.count());
        return match is_before {
            true => Ok(Standing::Predecessor),
            false => evidence(format!(
                "is not the one that the token has an anchor of: log {}, also named '{}', had {count} entries",
                anchor.log(),
                anchor.name()
            )),
        };
    }
    if anchor.is_retired() {
        return evidence(format!("was retired at entry {count}, on {}", anchor.time_text()));
    }
    if count > last {
        let lines = count - last;
        return evidence(format!("is cut: the token has seen {count} entries, and the last {lines} are gone"));
    }
    match hash_at(count)? {
        Some(hash) if hash == anchor.hash() => Ok(Standing::InChain),
        Some(_) => evidence(format!("is rewritten: its entry {count} is not the one that the token has seen")),
        None => Ok(Standing::MovedAway),
    }
}

/// Checks that every anchor is of this log's chain, and that the line of the highest one is here.
pub(super) fn check_anchors(
    identity: &Identity,
    trust: &Trust,
    last: u64,
    hash_at: &dyn Fn(u64) -> Result<Option<Hash>>,
) -> Result<(), Fault> {
    let highest = trust.highest(identity.log);
    for anchor in &trust.anchors {
        let standing = standing(identity, anchor, last, &trust.keys, hash_at)?;
        if standing == Standing::MovedAway && highest == Some(anchor) {
            let count = anchor.count();
            return evidence(format!("lacks entry {count}, which the token has seen: it is in no file that is here"));
        }
    }
    Ok(())
}

/// Checks that links between signed heads lead from the last one back to the anchor. Every head names the anchor at the
/// time of its signature, so few are followed.
pub(super) fn check_links(
    identity: &Identity,
    base: &Line,
    anchor: &Anchor,
    trust: &Trust,
    files: &Snapshot,
) -> Result<(), Fault> {
    let anchored = Link { count: anchor.count(), head: anchor.hash() };
    let mut line = base.clone();
    loop {
        let Some((head, ..)) = signed_head(identity, &line) else {
            return evidence(format!("has a head at entry {} that is not signed", line.seq));
        };
        if head.at.count <= anchored.count {
            // The lines after the base, which were read, are those of the anchor.
            return Ok(());
        }
        let next = match head.anchor.filter(|link| link.count >= anchored.count) {
            Some(link) => Some(link),
            None => head.previous.filter(|link| link.count >= anchored.count),
        };
        match next {
            Some(link) if link == anchored => return Ok(()),
            Some(link) if link.count > anchored.count && link.count < head.at.count => {
                line = find_head(identity, link, head.at.count, trust, files)?;
            }
            _ => {
                return evidence(format!(
                    "is put together from two: the head at entry {} does not extend entry {}, which the token has seen",
                    line.seq, anchored.count
                ));
            }
        }
    }
}

/// The line of the signed head that a later one names, and whose line stands before `end`.
fn find_head(identity: &Identity, link: Link, end: u64, trust: &Trust, files: &Snapshot) -> Result<Line, Fault> {
    let found = files.find_from(link.count + 1, |line| match &line.entry {
        Entry::Head { count, head, signature: Some(_), .. } if *count == link.count && *head == link.head => {
            ControlFlow::Break(Some(line))
        }
        _ if line.seq >= end => ControlFlow::Break(None),
        _ => ControlFlow::Continue(()),
    })?;
    // The key of a token that does not answer may be unknown.
    let is_good = |line: &Line| is_head_signed(identity, line, &trust.keys).unwrap_or(!trust.is_complete);
    match found.filter(is_good) {
        Some(line) => Ok(line),
        None => evidence(format!("lacks the signed head of entry {}, which a later one names", link.count)),
    }
}
