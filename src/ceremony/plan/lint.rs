//! What contradicts itself in a plan.

mod custody;
mod invisible;
mod keys;

pub(in crate::ceremony) use invisible::is_invisible;

use super::{BackupMethod, Custody, Person, Plan, PlannedKey, Role, secrets};
use crate::ceremony::format;
use crate::ceremony::name::{Name, Serial};
use std::collections::BTreeSet;
use std::fmt;

/// Something in a plan that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// Where: `keys.payments.backup`, or `line 12`.
    pub place: String,
    /// What, a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Plan {
    /// What contradicts itself in the plan. None of it is found in a plan that may be run.
    ///
    /// `text` is the plan's own text, which is searched for PINs and secrets, comments and all.
    #[must_use]
    pub fn lint(&self, text: &str) -> Vec<Finding> {
        let outdated = format::check_current(self.format).err();
        let outdated = outdated.map(|error| Finding { place: "format".into(), message: error.to_string() });
        outdated.into_iter().chain(self.contradictions(text)).collect()
    }

    /// The same by the rules of the plan's own format, for a plan that was run.
    pub(in crate::ceremony) fn contradictions(&self, text: &str) -> Vec<Finding> {
        let mut lint = Lint { plan: self, findings: Vec::new() };
        lint.people();
        lint.tokens();
        lint.keys();
        lint.destructions();
        lint.counts();
        if self.format >= 2 {
            lint.bystander();
            lint.findings.extend(invisible::find(text));
        }
        lint.findings.extend(secrets::find(self, text));
        lint.findings
    }
}

struct Lint<'a> {
    plan: &'a Plan,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn find(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), message: message.into() });
    }

    /// Somebody that the plan names at `place` must be there, and have the role.
    fn person(&mut self, place: &str, name: &Name, role: Role) {
        match self.plan.person(name) {
            None => self.find(place, format!("'{name}' is nobody that 'people' lists")),
            Some(person) if !person.roles.contains(&role) => {
                self.find(place, format!("'{name}' has not the role {}", role.name()));
            }
            Some(_) => {}
        }
    }

    fn people(&mut self) {
        let plan = self.plan;
        let mut seen = BTreeSet::new();
        let mut keys = Vec::new();
        for person in &plan.people {
            let place = format!("people.{}", person.name);
            if !seen.insert(&person.name) {
                self.find(&place, "there are two of this name");
            }
            if person.roles.is_empty() {
                self.find(&place, "no role is given");
            }
            let is = |role| person.roles.contains(&role);
            match (&person.minisign, is(Role::Witness)) {
                (None, true) => self.find(&place, "a witness needs her public key, 'minisign'"),
                (Some(_), false) => self.find(&place, "a public key is given for somebody who is no witness"),
                (Some(key), true) if keys.contains(&key) => {
                    self.find(&place, "another witness has the same public key")
                }
                (Some(key), true) => keys.push(key),
                (None, false) => {}
            }
            // She would attest her own work.
            if is(Role::Operator) && is(Role::Witness) {
                self.find(&place, "the operator cannot be a witness as well");
            }
        }
        match plan.with_role(Role::Operator).count() {
            1 => {}
            0 => self.find("people", "nobody has the role operator"),
            _ => self.find("people", "more than one has the role operator"),
        }
        if plan.with_role(Role::Witness).next().is_none() {
            self.find("people", "nobody has the role witness");
        }
    }

    /// What every witness has a hand in, no witness attests.
    fn bystander(&mut self) {
        let plan = self.plan;
        let types =
            |name: &Name| plan.tokens.iter().any(|token| matches!(&token.custody, Custody::Typed { by } if by == name));
        let only_watches = |person: &Person| person.roles == [Role::Witness] && !types(&person.name);
        let mut witnesses = plan.with_role(Role::Witness).peekable();
        if witnesses.peek().is_some() && !witnesses.any(only_watches) {
            self.find("people", "every witness does something else as well: one at least has to do nothing but watch");
        }
    }

    fn tokens(&mut self) {
        let plan = self.plan;
        if plan.tokens.is_empty() {
            self.find("tokens", "there is none");
        }
        for (at, token) in plan.tokens.iter().enumerate() {
            let place = format!("tokens.{}", token.name);
            let others = &plan.tokens[..at];
            if others.iter().any(|other| other.name == token.name) {
                self.find(&place, "there are two of this name");
            }
            if token.serial != Serial::Free && others.iter().any(|other| other.serial == token.serial) {
                self.find(&place, "another token has the same serial number");
            }
            if others.iter().any(|other| other.label == token.label) {
                self.find(&place, "another token has the same label");
            }
            if others.iter().any(|o| o.module == token.module && o.module_sha256 != token.module_sha256) {
                self.find(&place, "another token has the same module with another hash");
            }
            if token.serial == Serial::Free && !token.initialize {
                self.find(&place, "a free token has to be initialized");
            }
            match &token.officer {
                Some(officer) => self.person(&format!("{place}.officer"), officer, Role::Officer),
                None if token.initialize => self.find(&place, "to initialize it, an 'officer' is needed"),
                None => {}
            }
            self.custody(&place, token);
        }
    }

    fn destructions(&mut self) {
        let plan = self.plan;
        for (at, gone) in plan.destroy.iter().enumerate() {
            let place = format!("destroy.{}", gone.key);
            match plan.token(&gone.token) {
                None => self.find(&place, format!("'{}' is no token that 'tokens' lists", gone.token)),
                Some(token) if token.initialize => {
                    self.find(&place, "its token is initialized, and nothing is left on it to be destroyed");
                }
                Some(_) => {}
            }
            if plan.destroy[..at].contains(gone) {
                self.find(&place, "it is destroyed twice");
            }
            let makes = plan.keys.iter().any(|key| {
                key.label() == gone.key && (key.token == gone.token || key.backup.token.as_ref() == Some(&gone.token))
            });
            if makes {
                self.find(&place, "the same key is made by this plan");
            }
        }
    }

    /// The numbers of objects before and after must fit what is made and destroyed.
    fn counts(&mut self) {
        let plan = self.plan;
        for token in &plan.tokens {
            let place = format!("tokens.{}", token.name);
            if token.serial == Serial::Free && token.objects_before != 0 {
                self.find(&place, "a free token has no objects: 'objects_before' is 0");
            }
            let is_backup = |key: &&PlannedKey| key.backup.token.as_ref() == Some(&token.name);
            let is_cloned = |key: &&PlannedKey| key.backup.method == BackupMethod::HsmClone;
            let own = plan.keys.iter().filter(|key| key.token == token.name).count() as u64;
            let backups = plan.keys.iter().filter(is_backup).count() as u64;
            // Whether the vendor's tool copies records as well, the vendor alone knows.
            let cloned = plan.keys.iter().filter(is_backup).filter(is_cloned).count() as u64;
            let gone = plan.destroy.iter().filter(|gone| gone.token == token.name).count() as u64;
            let before = if token.initialize { 0 } else { u64::from(token.objects_before) };
            // A key and its record each; one that another tool made has no record.
            let most = (before + 2 * (own + backups)).saturating_sub(gone);
            let least = (before + 2 * (own + backups) - cloned).saturating_sub(2 * gone);
            if !(least..=most).contains(&u64::from(token.objects_after)) {
                let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
                self.find(
                    &place,
                    format!("'objects_after' does not fit: what is made and destroyed leaves {expected}"),
                );
            }
        }
    }

    /// Whether anybody lists a name twice.
    fn duplicates(&mut self, place: &str, names: &[Name]) {
        let mut seen = BTreeSet::new();
        for name in names.iter().filter(|name| !seen.insert(*name)) {
            self.find(place, format!("'{name}' stands there twice"));
        }
    }

    fn is_shared(custody: &Custody) -> bool {
        matches!(custody, Custody::Shared { .. })
    }
}
