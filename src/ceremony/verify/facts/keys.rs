//! Whether what was seen of a key is what the plan says.

use super::{Check, Problems, only};
use crate::audit::{Hash, Id};
use crate::ceremony::entry::Fact;
use crate::ceremony::expect::expected_attributes;
use crate::ceremony::name::Name;
use crate::ceremony::plan::{BackupMethod, PlannedKey};
use crate::ceremony::step::{StepId, StepKind};
use crate::key::KeyName;
use std::collections::BTreeMap;

/// What a fact says of a key.
struct Seen<'a> {
    id: Id,
    attributes: &'a BTreeMap<String, bool>,
    check_value: Option<&'a str>,
}

impl Check<'_> {
    pub(super) fn made(&self, key: &KeyName, token: &Name, step: &StepId, facts: &[Fact], problems: &mut Problems) {
        let Some((planned, seen)) = self.seen(key, token, facts, problems) else { return };
        self.planned_id(token, step, seen.id, problems);
        if planned.backup.method.exports() {
            self.exported(planned, seen.id, facts, problems);
        }
    }

    /// A key that is exported is so when it is made: it is never there in a form that could be exported later.
    fn exported(&self, planned: &PlannedKey, made: Id, facts: &[Fact], problems: &mut Problems) {
        let Some(Fact::Exported { token, id, mechanism, trusted_by, .. }) =
            only(facts, |fact| matches!(fact, Fact::Exported { .. }))
        else {
            problems.push("it is not told that the key was exported".into());
            return;
        };
        let officer = self.plan.token(&planned.token).and_then(|token| token.officer.as_ref());
        let is_planned = planned.backup.token.as_ref() == Some(token)
            && planned.backup.mechanism.is_some_and(|planned| planned.name() == mechanism)
            && officer == Some(trusted_by)
            && *id == made;
        if !is_planned {
            problems.push("the key was exported in another way than the plan says".into());
        }
    }

    pub(super) fn read_back(&self, key: &KeyName, token: &Name, facts: &[Fact], problems: &mut Problems) {
        let Some((planned, seen)) = self.seen(key, token, facts, problems) else { return };
        attributes(planned, false, seen.attributes, problems);
        let made = StepKind::MakeKey { key: key.clone(), token: token.clone() };
        if self.key_id(&made, token).is_some_and(|id| id != seen.id) {
            problems.push("the key that was read back has another CKA_ID than the one that was made".into());
        }
        let before = self.facts(&made).iter().find_map(|fact| match fact {
            Fact::Key { check_value, .. } => check_value.as_deref(),
            _ => None,
        });
        if before.is_some_and(|before| seen.check_value.is_some_and(|now| now != before)) {
            problems.push("the key that was read back has another check value than the one that was made".into());
        }
    }

    pub(super) fn canary(&self, key: &KeyName, token: &Name, facts: &[Fact], problems: &mut Problems) {
        match canary_on(facts, token) {
            None => problems.push("the canary is not told".into()),
            Some((id, _)) => {
                let made = StepKind::MakeKey { key: key.clone(), token: token.clone() };
                if self.key_id(&made, token) != Some(id) {
                    problems.push("the canary is of another key".into());
                }
            }
        }
    }

    pub(super) fn backup(&self, key: &KeyName, second: &Name, step: &StepId, facts: &[Fact], problems: &mut Problems) {
        let Some((planned, seen)) = self.seen(key, second, facts, problems) else { return };
        attributes(planned, true, seen.attributes, problems);
        if planned.backup.method == BackupMethod::Sibling {
            self.planned_id(second, step, seen.id, problems);
            // What is protected with a sibling is wrapped to both.
            match (canary_on(facts, second), self.digest(planned)) {
                (Some((id, digest)), Some(wanted)) if id == seen.id && digest == wanted => {}
                _ => problems.push("it is not told that the canary was wrapped to the sibling as well".into()),
            }
            return;
        }
        // A copy is found by what the key itself wrapped.
        let made = StepKind::MakeKey { key: key.clone(), token: planned.token.clone() };
        if self.key_id(&made, &planned.token) != Some(seen.id) {
            problems.push("the copy has another CKA_ID than the key".into());
        }
    }

    pub(super) fn restored(&self, key: &KeyName, second: &Name, facts: &[Fact], problems: &mut Problems) {
        let Some(planned) = self.plan.key(key) else { return };
        let is_it = |fact: &Fact| matches!(fact, Fact::Restored { token, .. } if token == second);
        let Some(Fact::Restored { id, digest, .. }) = only(facts, is_it) else {
            problems.push("it is not told what the second token opened".into());
            return;
        };
        if self.digest(planned) != Some(*digest) {
            problems.push("what the second token opened is not the data key of the canary".into());
        }
        let backup = StepKind::BackUp { key: key.clone(), token: second.clone() };
        if self.key_id(&backup, second) != Some(*id) {
            problems.push("it was opened with another key than the backup".into());
        }
    }

    /// The plan's key and what the facts say of the one on this token.
    fn seen<'a>(
        &self,
        key: &KeyName,
        on: &Name,
        facts: &'a [Fact],
        problems: &mut Problems,
    ) -> Option<(&PlannedKey, Seen<'a>)> {
        let planned = self.plan.key(key)?;
        let is_it = |fact: &Fact| matches!(fact, Fact::Key { token, .. } if token == on);
        let Some(Fact::Key { label, id, algorithm, attributes, check_value, public_key, .. }) = only(facts, is_it)
        else {
            problems.push(format!("it is not told what '{on}' says of the key"));
            return None;
        };
        if *label != planned.label() {
            problems.push(format!("the label of the key was '{label}', and the plan says '{}'", planned.label()));
        }
        if algorithm != planned.algorithm.name() {
            problems.push(format!("the key is for {algorithm}, and the plan says {}", planned.algorithm));
        }
        if public_key.is_some() != planned.algorithm.is_rsa() {
            problems.push("whether the key has a public half is not as its algorithm needs it".into());
        }
        Some((planned, Seen { id: *id, attributes, check_value: check_value.as_deref() }))
    }

    fn planned_id(&self, token: &Name, step: &StepId, id: Id, problems: &mut Problems) {
        if self.tokens.get(token).is_none_or(|token| token.planned_id(&self.run, step) != id) {
            problems.push("the CKA_ID of the key is not the one that this run gives it".into());
        }
    }

    fn facts(&self, of: &StepKind) -> &[Fact] {
        self.progress.done(&of.id()).map_or(&[], |done| &done.facts)
    }

    fn key_id(&self, of: &StepKind, on: &Name) -> Option<Id> {
        self.facts(of).iter().find_map(|fact| match fact {
            Fact::Key { token, id, .. } if token == on => Some(*id),
            _ => None,
        })
    }

    /// The hash of the data key of a key's canary.
    fn digest(&self, key: &PlannedKey) -> Option<Hash> {
        let of = StepKind::Canary { key: key.name.clone(), token: key.token.clone() };
        canary_on(self.facts(&of), &key.token).map(|(_, digest)| digest)
    }
}

fn canary_on(facts: &[Fact], on: &Name) -> Option<(Id, Hash)> {
    match only(facts, |fact| matches!(fact, Fact::Canary { token, .. } if token == on))? {
        Fact::Canary { id, digest, .. } => Some((*id, *digest)),
        _ => None,
    }
}

fn attributes(key: &PlannedKey, is_backup: bool, seen: &BTreeMap<String, bool>, problems: &mut Problems) {
    for (name, wanted) in expected_attributes(key, is_backup) {
        match seen.get(name) {
            Some(value) if *value == wanted => {}
            Some(value) => problems.push(format!("{name} is {value}, and must be {wanted}")),
            None => problems.push(format!("{name} is not told, and must be {wanted}")),
        }
    }
}
