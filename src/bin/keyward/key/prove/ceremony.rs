//! What the bundle of a ceremony tells of a key.

use crate::ceremony::verify::provider;
use keyward::ceremony::{
    BackupMethod, Bundle, KeyClaim, KeyOrigin, Living, Name, Verdict, Verification, Verify, compare_key,
};
use keyward::key::KeyDescription;
use keyward::token::Token;
use serde::Serialize;
use std::path::Path;

/// A bundle that was verified without any token.
pub(super) struct Provenance {
    found: Verification,
}

/// What it tells of one key, as far as it can be relied on.
pub(super) struct Told<'a> {
    found: &'a Verification,
    of: Option<(&'a KeyClaim, Living)>,
    /// What is wrong, each a sentence.
    pub(super) warnings: Vec<String>,
}

impl Provenance {
    pub(super) fn read(path: &Path) -> keyward::Result<Self> {
        Ok(Self { found: Verify::new(&Bundle::open(path)?).run()? })
    }

    /// What it tells of this key, and whether the key on this token is the one.
    pub(super) fn of(&self, key: &KeyDescription, token: &Token) -> keyward::Result<Told<'_>> {
        let found = &self.found;
        let mut told = Told { found, of: None, warnings: Vec::new() };
        if !found.is_intact() {
            let wrong = |finding| format!("the bundle is not as it should be: {finding}");
            told.warnings.extend(found.findings.iter().map(wrong));
            return Ok(told);
        }
        if found.rehearsal {
            told.warnings.push("the bundle is of a REHEARSAL: its keys are worth nothing".into());
        }
        let of_it: Vec<_> = found.keys.iter().filter(|one| one.id.as_bytes() == key.kek_id.as_bytes()).collect();
        let serial = Some(&token.info().serial);
        // A copy has the id of its key.
        let Some(claim) = of_it.iter().find(|one| one.serial.as_ref() == serial).or(of_it.first()) else {
            told.warnings.push(format!("the bundle tells of no key with the KEK id {}", key.kek_id));
            return Ok(told);
        };
        let living = compare_key(claim, &provider(found, token.clone()))?;
        told.warnings.extend(living.findings.iter().map(ToString::to_string));
        told.of = Some((claim, living));
        Ok(told)
    }
}

impl Told<'_> {
    pub(super) fn is_sound(&self) -> bool {
        self.warnings.is_empty()
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.found.verdict()
    }

    /// The key that this one is a copy of.
    fn original(&self, claim: &KeyClaim) -> Option<&KeyClaim> {
        let is_copy = claim.is_backup && claim.backup.method != BackupMethod::Sibling;
        self.found.keys.iter().find(|one| is_copy && !one.is_backup && one.id == claim.id)
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let Some((claim, living)) = &self.of else { return Vec::new() };
        let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        let made = |claim: &KeyClaim, how: &str| {
            let serial = claim.serial.as_deref().unwrap_or("not told");
            let KeyClaim { token, made, confirmed_by, .. } = claim;
            format!("{how} on {token}, serial number {serial}, {made}, confirmed by {confirmed_by}")
        };
        let run = self.found.run.map(|run| run.to_string()).unwrap_or_default();
        let mut fields = vec![("ceremony", format!("{}, run {run}", text(&self.found.ceremony)))];
        match self.original(claim) {
            Some(original) => {
                fields.push(("made", made(original, origin(original))));
                fields.push(("copied", made(claim, claim.backup.method.name())));
            }
            None => fields.push(("made", made(claim, origin(claim)))),
        }
        let backup = match (&claim.backup.token, claim.is_backup) {
            (None, _) => "none".into(),
            (Some(second), false) => format!("{} on {second}", claim.backup.method.name()),
            (Some(_), true) => format!("this is the backup: {}", claim.backup.method.name()),
        };
        let signed: Vec<_> = self.found.signed_by.iter().map(ToString::to_string).collect();
        let plan = self.found.plan.map(|plan| plan.to_string()).unwrap_or_default();
        fields.extend([("backup", backup), ("signed by", signed.join(" and ")), ("plan", plan)]);
        fields.extend(self.found.deviations.iter().map(|what| ("deviation", what.clone())));
        fields.push(("same key", self.same_key(living).1));
        fields.extend(living.changed.iter().map(|what| ("changed", what.clone())));
        fields
    }

    /// Whether the key opened the canary of the ceremony; none where it was not asked to.
    fn same_key(&self, living: &Living) -> (Option<bool>, String) {
        if !living.proven.is_empty() {
            return (Some(true), "opens what it wrapped in the ceremony".into());
        }
        if !living.others.is_empty() {
            return (Some(false), "NO: it does not open what was wrapped in the ceremony".into());
        }
        let why = if living.is_ok() { living.not_asked.join("; ") } else { "see the warnings".into() };
        (None, format!("not asked: {why}"))
    }
}

/// The origin of a key. A sibling of a key that came in components is none: it is generated.
fn origin(claim: &KeyClaim) -> &'static str {
    if claim.is_backup && claim.backup.method == BackupMethod::Sibling {
        return KeyOrigin::Generated.name();
    }
    claim.origin.name()
}

#[derive(Serialize)]
pub(super) struct CeremonyJson<'a> {
    bundle_ok: bool,
    bundle: &'static str,
    ceremony: Option<&'a str>,
    run: Option<String>,
    plan: Option<String>,
    rehearsal: bool,
    deviations: &'a [String],
    signed_by: Vec<&'a str>,
    key: Option<ClaimJson<'a>>,
    opens_canary: Option<bool>,
    changed: &'a [String],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct ClaimJson<'a> {
    token: &'a str,
    serial: Option<&'a str>,
    origin: &'a str,
    made: &'a str,
    confirmed_by: &'a str,
    is_backup: bool,
    backup: &'a str,
    backup_token: Option<&'a str>,
    copy_of: Option<Box<ClaimJson<'a>>>,
}

impl<'a> CeremonyJson<'a> {
    pub(super) fn new(told: &'a Told<'_>) -> Self {
        let found = told.found;
        Self {
            bundle_ok: found.verdict() == Verdict::Verified,
            bundle: found.verdict().name(),
            ceremony: found.ceremony.as_ref().map(Name::as_str),
            run: found.run.map(|run| run.to_string()),
            plan: found.plan.map(|plan| plan.to_string()),
            rehearsal: found.rehearsal,
            deviations: &found.deviations,
            signed_by: found.signed_by.iter().map(Name::as_str).collect(),
            key: told.of.as_ref().map(|(claim, _)| ClaimJson::new(claim, told.original(claim))),
            opens_canary: told.of.as_ref().and_then(|(_, living)| told.same_key(living).0),
            changed: told.of.as_ref().map_or(&[], |(_, living)| &living.changed),
            warnings: &told.warnings,
        }
    }
}

impl<'a> ClaimJson<'a> {
    fn new(claim: &'a KeyClaim, original: Option<&'a KeyClaim>) -> Self {
        Self {
            token: claim.token.as_str(),
            serial: claim.serial.as_deref(),
            origin: origin(claim),
            made: &claim.made,
            confirmed_by: claim.confirmed_by.as_str(),
            is_backup: claim.is_backup,
            backup: claim.backup.method.name(),
            backup_token: claim.backup.token.as_ref().map(Name::as_str),
            copy_of: original.map(|original| Box::new(Self::new(original, None))),
        }
    }
}
