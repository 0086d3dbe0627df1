//! What the anchors on the tokens say of a log.

use super::Pass;
use crate::audit::chain::Identity;
use crate::audit::diagnose::{Diagnosis, Verdict};
use crate::audit::extension::{Fault, Standing, standing};
use crate::audit::hash::Id;
use crate::audit::head::Anchor;
use crate::audit::name::LogName;
use crate::audit::walk::Position;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

impl Pass<'_> {
    /// What is wrong where no file of a log is.
    pub(super) fn without_files(&mut self) -> Result<Verdict> {
        if let Some(name) = self.verify.name.clone() {
            self.take_anchors(&name);
        }
        let anchor = self.anchors.iter().rfind(|anchor| !anchor.is_retired());
        let Some(anchor) = anchor.filter(|anchor| Some(anchor.name()) == self.verify.name.as_ref()) else {
            let message = format!("there is no audit log '{}'", self.verify.path.display());
            return Err(Error::new(ErrorKind::Io, message));
        };
        let explanation = format!("no file of the log is here; the token has seen {} entries", anchor.count());
        self.report.anchor = Some(anchor.clone());
        let position = Position { file: 0, number: 1 };
        Ok(Verdict { position, seq: Some(1), diagnosis: Diagnosis::Removed, explanation })
    }

    /// Sorts the anchors on the tokens: those of this name, the highest last, and those of other logs.
    pub(super) fn take_anchors(&mut self, name: &LogName) {
        let mut others: BTreeMap<(LogName, Id), Anchor> = BTreeMap::new();
        for anchor in self.verify.anchors.iter().flatten().filter_map(|text| Anchor::parse(text)) {
            if !self.verify.keys.is_empty() && !anchor.is_signed(&self.verify.keys) {
                self.report.anchors_not_signed += u64::from(anchor.name() == name);
            } else if anchor.name() == name {
                self.anchors.push(anchor);
            } else {
                match others.get(&(anchor.name().clone(), anchor.log())) {
                    Some(other) if other.count() >= anchor.count() => {}
                    _ => _ = others.insert((anchor.name().clone(), anchor.log()), anchor),
                }
            }
        }
        self.anchors.sort_by_key(|anchor| (anchor.count(), anchor.is_retired()));
        self.report.other_anchors = others.into_values().collect();
    }

    /// Whether the log agrees with every anchor of its name.
    pub(super) fn check_anchors(&mut self, identity: &Identity) -> Result<Option<Verdict>> {
        let (first, last) = (self.first, self.report.last);
        let highest = self.anchors.iter().rfind(|anchor| anchor.log() == identity.log);
        for anchor in &self.anchors {
            let (count, retired) = (anchor.count(), anchor.is_retired() && anchor.log() == identity.log);
            let hash_at = |seq: u64| Ok(seq.checked_sub(first).and_then(|index| self.hash_at(index)));
            // A log that was retired may be verified, and has still what was anchored.
            let live = if retired { anchor.as_live() } else { anchor.clone() };
            let after = Position { number: self.last.number + 1, ..self.last };
            let (position, seq, diagnosis) = match count {
                _ if anchor.log() != identity.log => (self.last, last, Diagnosis::Replaced),
                count if count > last => (after, last + 1, Diagnosis::Cut),
                count => (self.last, count, Diagnosis::Changed),
            };
            let explanation = match standing(identity, &live, last, &self.verify.keys, &hash_at) {
                Ok(Standing::MovedAway) if highest == Some(anchor) => {
                    let explanation = format!("the token has seen entry {count}, which is in no file that is here");
                    let diagnosis = Diagnosis::Removed;
                    return Ok(Some(Verdict { position, seq: Some(count), diagnosis, explanation }));
                }
                Ok(_) => continue,
                Err(Fault::Failed(error)) => return Err(error),
                Err(Fault::Evidence(_)) if diagnosis == Diagnosis::Cut => {
                    let lines = count - last;
                    format!("the token has seen {count} entries; the last {lines} are gone")
                }
                Err(Fault::Evidence(_)) if diagnosis == Diagnosis::Changed => {
                    let signed = self.report.signed_to.filter(|signed| *signed < count);
                    let from = signed.map_or(1, |signed| signed + 1);
                    format!("the token has seen another entry {count}: entries {from} to {count} were rewritten")
                }
                Err(Fault::Evidence(what)) => format!("the log {what}"),
            };
            return Ok(Some(Verdict { position, seq: Some(seq), diagnosis, explanation }));
        }
        self.report.anchor = highest.cloned();
        Ok(None)
    }
}
