//! The keys of a ceremony as their tokens showed them: what `--token` compares with the living objects.

use crate::audit::{Hash, Id};
use crate::ceremony::entry::Fact;
use crate::ceremony::name::Name;
use crate::ceremony::plan::Plan;
use crate::ceremony::script::script;
use crate::ceremony::step::StepKind;
use crate::ceremony::transcript::Transcript;
use std::collections::BTreeMap;

/// A key on a token, as the transcript tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyClaim {
    /// What the plan calls the token.
    pub token: Name,
    /// The token's serial number.
    pub serial: Option<String>,
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
    /// A wrapped data key that it opens, in hexadecimal digits, and the hash of what comes out.
    pub canary: Option<(String, Hash)>,
}

/// The keys of a plan, from the last attempts that were done.
pub(super) fn of(plan: &Plan, transcript: &Transcript) -> Vec<KeyClaim> {
    let serials = serials(plan, transcript);
    let mut claims: Vec<KeyClaim> = Vec::new();
    for step in script(plan) {
        let Some(done) = transcript.progress().done(&step.id) else { continue };
        for fact in &done.facts {
            match fact {
                Fact::Key { token, label, id, algorithm, attributes, check_value, .. }
                    if matches!(step.kind, StepKind::ReadBack { .. } | StepKind::BackUp { .. }) =>
                {
                    claims.push(KeyClaim {
                        token: token.clone(),
                        serial: serials.get(token).cloned(),
                        label: label.clone(),
                        id: *id,
                        algorithm: algorithm.clone(),
                        attributes: attributes.clone(),
                        check_value: check_value.clone(),
                        canary: None,
                    });
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
    claims
}

/// The serial numbers of tokens, as they were last told: a free one has its own once it is initialized.
pub(in crate::ceremony) fn serials(plan: &Plan, transcript: &Transcript) -> BTreeMap<Name, String> {
    let mut serials = BTreeMap::new();
    for step in script(plan) {
        let (StepKind::IdentifyToken { token } | StepKind::InitializeToken { token }) = &step.kind else { continue };
        let facts = transcript.progress().done(&step.id).map_or(&[][..], |done| &done.facts);
        for fact in facts {
            if let Fact::Token { serial, .. } = fact {
                serials.insert(token.clone(), serial.clone());
            }
        }
    }
    serials
}
