//! The keys of a ceremony as their tokens showed them, and what was destroyed: what a living token is compared with
//! ([`compare`](crate::ceremony::compare)).

use crate::audit::{Hash, Id};
use crate::ceremony::entry::Fact;
use crate::ceremony::id::{RunId, planned_id};
use crate::ceremony::name::Name;
use crate::ceremony::plan::{Backup, KeyOrigin, Plan, PlannedKey};
use crate::ceremony::script::script;
use crate::ceremony::step::{StepId, StepKind};
use crate::ceremony::transcript::{Attempt, Transcript};
use crate::key::{KeyName, KeyVersion};
use std::collections::BTreeMap;

/// A token, as the transcript tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenClaim {
    /// What the plan calls it.
    pub token: Name,
    /// Its serial number.
    pub serial: String,
    /// Its manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// What its generator gave, on which the ids of its keys depend; from format 2 on.
    pub random: Option<Id>,
}

impl TokenClaim {
    /// Returns the `CKA_ID` of the key that a step of this run makes on it.
    pub(in crate::ceremony) fn planned_id(&self, run: &RunId, step: &StepId) -> Id {
        planned_id(run, &self.serial, self.random.as_ref(), step)
    }
}

/// A key on a token, as the transcript tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyClaim {
    /// What the plan calls the token.
    pub token: Name,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's name.
    pub name: KeyName,
    /// The key's label, `NAME:VERSION`.
    pub label: String,
    /// Its `CKA_ID`.
    pub id: Id,
    /// What it wraps with.
    pub algorithm: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, bool>,
    /// Its check value, where the token has one.
    pub check_value: Option<String>,
    /// The hash of its public half as text, of an RSA key.
    pub public_key: Option<Hash>,
    /// A wrapped data key that it opens, in hexadecimal digits, and the hash of what comes out. That of a copy is the one
    /// of the key that it is a copy of.
    pub canary: Option<(String, Hash)>,
    /// Whether it is the backup: a sibling, or a copy.
    pub is_backup: bool,
    /// How the key came to be. A sibling is generated.
    pub origin: KeyOrigin,
    /// How it is backed up, and on which token.
    pub backup: Backup,
    /// When the step began after which it was on this token.
    pub made: String,
    /// Who confirmed that step.
    pub confirmed_by: Name,
}

/// A key that was destroyed, as the transcript tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestroyedClaim {
    /// What the plan calls the token.
    pub token: Name,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's name.
    pub name: KeyName,
    /// Its version.
    pub version: KeyVersion,
    /// The `CKA_ID` that it had.
    pub id: Id,
}

/// The keys of a plan, from the last attempts that were done.
pub(super) fn of(plan: &Plan, transcript: &Transcript) -> Vec<KeyClaim> {
    let tokens = by_name(plan, transcript);
    let mut claims: Vec<KeyClaim> = Vec::new();
    for step in script(plan) {
        let Some(done) = transcript.progress().done(&step.id) else { continue };
        // What was read back is told last; when it was made, the step before that tells.
        let (name, is_backup, made) = match &step.kind {
            StepKind::ReadBack { key, token } => {
                let made = StepKind::MakeKey { key: key.clone(), token: token.clone() };
                (key, false, transcript.progress().done(&made.id()).unwrap_or(done))
            }
            StepKind::Canary { key, .. } => (key, false, done),
            StepKind::BackUp { key, .. } => (key, true, done),
            _ => continue,
        };
        let Some(planned) = plan.key(name) else { continue };
        for fact in &done.facts {
            match fact {
                Fact::Key { token, .. } => {
                    let serial = tokens.get(token).map(|token| token.serial.clone());
                    claims.extend(claim(planned, fact, serial, is_backup, made));
                }
                Fact::Canary { token, id, wrapped, digest } => {
                    let claim = claims.iter_mut().rev().find(|claim| claim.token == *token && claim.id == *id);
                    if let Some(claim) = claim {
                        claim.canary = Some((wrapped.clone(), *digest));
                    }
                }
                _ => {}
            }
        }
    }
    let canaries: BTreeMap<Id, _> = claims.iter().filter_map(|claim| Some((claim.id, claim.canary.clone()?))).collect();
    for copy in claims.iter_mut().filter(|claim| claim.canary.is_none()) {
        copy.canary = canaries.get(&copy.id).cloned();
    }
    claims
}

fn claim(
    planned: &PlannedKey,
    fact: &Fact,
    serial: Option<String>,
    is_backup: bool,
    made: &Attempt,
) -> Option<KeyClaim> {
    let Fact::Key { token, label, id, algorithm, attributes, check_value, public_key } = fact else { return None };
    Some(KeyClaim {
        token: token.clone(),
        serial,
        name: planned.name.clone(),
        label: label.clone(),
        id: *id,
        algorithm: algorithm.clone(),
        attributes: attributes.clone(),
        check_value: check_value.clone(),
        public_key: *public_key,
        canary: None,
        is_backup,
        origin: planned.provenance,
        backup: planned.backup.clone(),
        made: made.time.clone(),
        confirmed_by: made.confirmed_by.clone(),
    })
}

/// The keys that were destroyed.
pub(super) fn destroyed(plan: &Plan, transcript: &Transcript) -> Vec<DestroyedClaim> {
    let tokens = by_name(plan, transcript);
    let mut claims = Vec::new();
    for step in script(plan) {
        let StepKind::DestroyKey { .. } = step.kind else { continue };
        for fact in transcript.progress().done(&step.id).map_or(&[][..], |done| &done.facts) {
            let Fact::Destroyed { token, label, id, .. } = fact else { continue };
            // A label that is none is not what the plan says, which is a finding.
            let Some((name, version)) = label.split_once(':') else { continue };
            let (Ok(name), Ok(version)) = (name.parse(), version.parse()) else { continue };
            let serial = tokens.get(token).map(|token| token.serial.clone());
            claims.push(DestroyedClaim { token: token.clone(), serial, name, version, id: *id });
        }
    }
    claims
}

/// The tokens, as they were last told: a free one has its own serial number once it is initialized.
pub(in crate::ceremony) fn by_name(plan: &Plan, transcript: &Transcript) -> BTreeMap<Name, TokenClaim> {
    let mut tokens = BTreeMap::new();
    for step in script(plan) {
        let (StepKind::IdentifyToken { token } | StepKind::InitializeToken { token }) = &step.kind else { continue };
        let facts = transcript.progress().done(&step.id).map_or(&[][..], |done| &done.facts);
        for fact in facts {
            if let Fact::Token { serial, manufacturer, model, random, .. } = fact {
                let claim = TokenClaim {
                    token: token.clone(),
                    serial: serial.clone(),
                    manufacturer: manufacturer.clone(),
                    model: model.clone(),
                    random: *random,
                };
                tokens.insert(token.clone(), claim);
            }
        }
    }
    tokens
}
