//! What contradicts itself in a key and its backup.

use super::Lint;
use crate::ceremony::expect::usage_of;
use crate::ceremony::plan::{BackupMethod, KeyOrigin, PlannedKey, Role};
use std::collections::BTreeSet;

impl Lint<'_> {
    pub(super) fn keys(&mut self) {
        let plan = self.plan;
        if plan.keys.is_empty() && plan.destroy.is_empty() {
            self.find("keys", "no key is made, and none is destroyed");
        }
        for (at, key) in plan.keys.iter().enumerate() {
            let place = format!("keys.{}", key.name);
            if plan.keys[..at].iter().any(|other| other.name == key.name) {
                self.find(&place, "there are two of this name");
            }
            if plan.token(&key.token).is_none() {
                self.find(&place, format!("'{}' is no token that 'tokens' lists", key.token));
            }
            self.usage(&place, key);
            self.components(&place, key);
            self.backup(&format!("{place}.backup"), key);
            self.extractable(&place, key);
        }
    }

    fn usage(&mut self, place: &str, key: &PlannedKey) {
        let wanted: BTreeSet<_> = usage_of(key.algorithm).iter().copied().collect();
        let given: BTreeSet<_> = key.usage.iter().copied().collect();
        // A key that may both wrap and decrypt gives its data keys away.
        if given != wanted || given.len() != key.usage.len() {
            let wanted: Vec<_> = wanted.iter().map(|usage| usage.name()).collect();
            self.find(place, format!("the usage of a key for {} is {}, no more", key.algorithm, wanted.join(" and ")));
        }
    }

    fn components(&mut self, place: &str, key: &PlannedKey) {
        let place = format!("{place}.components");
        match key.provenance {
            KeyOrigin::Generated if !key.components.is_empty() => {
                self.find(&place, "a key that is generated has no components");
            }
            KeyOrigin::Generated => {}
            KeyOrigin::ImportedComponents => {
                if key.algorithm.is_rsa() {
                    self.find(&place, "an RSA key does not come in components");
                }
                if key.components.len() < 2 {
                    self.find(&place, "one component would be the key: there are 2 at least");
                }
                if key.components.len() > 16 {
                    self.find(&place, "there are 16 components at most");
                }
                self.duplicates(&place, &key.components);
                for custodian in &key.components {
                    self.person(&place, custodian, Role::Custodian);
                }
            }
        }
    }

    fn backup(&mut self, place: &str, key: &PlannedKey) {
        let backup = &key.backup;
        match (&backup.token, backup.method) {
            (None, BackupMethod::None) => {}
            (Some(_), BackupMethod::None) => self.find(place, "there is no backup, and a token for it"),
            (None, _) => self.find(place, "'token' has to say which is the second token"),
            (Some(token), _) if *token == key.token => {
                self.find(place, "the second token is the one of the key itself")
            }
            (Some(token), _) if self.plan.token(token).is_none() => {
                self.find(place, format!("'{token}' is no token that 'tokens' lists"));
            }
            (Some(_), _) => {}
        }
        if backup.method == BackupMethod::ImportedComponents && key.provenance != KeyOrigin::ImportedComponents {
            self.find(place, "a key that is generated cannot be imported a second time");
        }
        if !backup.method.exports() {
            if backup.mechanism.is_some() {
                self.find(place, "a mechanism for the export is given, and nothing is exported");
            }
            return;
        }
        if key.provenance != KeyOrigin::Generated {
            self.find(place, "a key that came in components is imported again and not exported");
        }
        if self.plan.token(&key.token).is_some_and(|token| token.officer.is_none()) {
            self.find(place, "for an export the token of the key needs an 'officer', who says which key is trusted");
        }
        if backup.mechanism.is_none() {
            self.find(place, "'mechanism' has to say what it is exported with");
        }
        if key.algorithm.is_rsa() {
            self.find(place, "an RSA key is too long for RSA-OAEP: let the second token make a sibling");
        }
    }

    fn extractable(&mut self, place: &str, key: &PlannedKey) {
        let is_exported = key.backup.method.exports();
        let is_imported = key.provenance == KeyOrigin::ImportedComponents;
        if key.never_extractable && is_exported {
            self.find(place, "it is to be never-extractable, and its backup is exported");
        } else if key.never_extractable && is_imported {
            self.find(place, "it is to be never-extractable, and it is imported: its token will say that it was not");
        } else if !key.never_extractable && !is_exported && !is_imported {
            self.find(place, "it need not be never-extractable, and nothing takes it out of its token");
        }
    }
}
