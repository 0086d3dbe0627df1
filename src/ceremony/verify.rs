//! Whether a bundle is as it was when its witnesses signed, and tells of a ceremony that its plan describes.

mod claims;
pub(super) mod facts;
mod files;
mod steps;

pub(super) use claims::by_name;
pub use claims::{DestroyedClaim, KeyClaim, TokenClaim};

use super::bundle::Bundle;
use super::entry::{Decision, Entry};
use super::interim;
use super::name::Name;
use super::plan::{Finding, KeyOrigin, Plan};
use super::statement::Statement;
use super::transcript::Transcript;
use crate::audit::{Hash, Id};
use crate::error::Result;
use crate::key::KeyName;
use std::collections::BTreeSet;

/// Verifies a bundle without any token.
#[derive(Debug)]
pub struct Verify<'a> {
    bundle: &'a Bundle,
    needs_signatures: bool,
    plan: Option<Hash>,
}

/// What was found in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// What the ceremony is called, where its transcript says so.
    pub ceremony: Option<Name>,
    /// The run's id.
    pub run: Option<Id>,
    /// Whether it is a rehearsal: its keys are worth nothing.
    pub rehearsal: bool,
    /// The hash of the plan, in which the witnesses' keys stand: to be compared with one from elsewhere.
    pub plan: Option<Hash>,
    /// How many lines the transcript has.
    pub entries: u64,
    /// The hash of the last of them.
    pub head: Option<Hash>,
    /// What is wrong. A bundle with any is not to be relied on.
    pub findings: Vec<Finding>,
    /// Whether this version would word the report otherwise. It is no finding: what the witnesses signed is the file.
    pub is_report_reworded: bool,
    /// The witnesses whose signatures are right.
    pub signed_by: Vec<Name>,
    /// What differed from the plan and was accepted by people.
    pub deviations: Vec<String>,
    /// What the chain and the signatures prove.
    pub proven: Vec<String>,
    /// What the program saw in front of the witnesses.
    pub seen: Vec<String>,
    /// What the module said, and nothing here can prove.
    pub claimed: Vec<String>,
    /// Whether the plan was compared with one that is known from elsewhere ([`Verify::plan_is`]).
    pub is_plan_known: bool,
    /// The tokens, as they described themselves then.
    pub tokens: Vec<TokenClaim>,
    /// The keys, as their tokens showed them then: what a living token can be compared with
    /// ([`compare`](crate::ceremony::compare)).
    pub keys: Vec<KeyClaim>,
    /// The keys that were destroyed.
    pub destroyed: Vec<DestroyedClaim>,
}

/// What a verification comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is wrong, and everything was done as planned.
    Verified,
    /// Nothing is wrong with the bundle, and people accepted something that was not as planned.
    Deviations,
    /// Nothing is wrong with the bundle, and it is that of a rehearsal: no key of it is worth anything.
    Rehearsal,
    /// Something is wrong.
    Refused,
}

impl Verdict {
    /// The verdict as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Deviations => "deviations",
            Self::Rehearsal => "rehearsal",
            Self::Refused => "refused",
        }
    }
}

impl Verification {
    /// Whether the bundle is as its witnesses signed it and records what its plan describes. It may still be that of a
    /// rehearsal, or have deviations: [`verdict`](Self::verdict) says so.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// What all of it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match () {
            () if !self.is_intact() => Verdict::Refused,
            () if self.rehearsal => Verdict::Rehearsal,
            () if !self.deviations.is_empty() => Verdict::Deviations,
            () => Verdict::Verified,
        }
    }

    /// The names of the keys that the bundle tells of, each once.
    #[must_use]
    pub fn key_names(&self) -> BTreeSet<KeyName> {
        self.keys.iter().map(|key| key.name.clone()).collect()
    }

    fn find(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), message: message.into() });
    }
}

impl<'a> Verify<'a> {
    /// Of this bundle.
    #[must_use]
    pub fn new(bundle: &'a Bundle) -> Self {
        Self { bundle, needs_signatures: true, plan: None }
    }

    /// Before all witnesses have signed: those signatures that are there must be right, and the report must be the one
    /// that the transcript makes, since no signature vouches for another.
    #[must_use]
    pub fn before_signing(mut self) -> Self {
        self.needs_signatures = false;
        self
    }

    /// With the hash of a plan that is known from elsewhere, on paper for instance.
    ///
    /// The witnesses' keys stand in the plan: whoever replaces that as well can sign everything anew with keys of their
    /// own, and nothing in the bundle shows it.
    #[must_use]
    pub fn plan_is(mut self, hash: Hash) -> Self {
        self.plan = Some(hash);
        self
    }

    /// Looks at everything, and goes on after what is wrong where that makes sense.
    ///
    /// # Errors
    /// `Io` where the directory cannot be read. A file in it that cannot is a finding.
    pub fn run(&self) -> Result<Verification> {
        let mut found = Verification { is_plan_known: self.plan.is_some(), ..Verification::default() };
        let files = self.bundle.files()?;
        let plan = self.plan(&mut found);
        let Some(transcript) = self.transcript(&mut found) else { return Ok(found) };
        let Some((plan, text)) = plan else { return Ok(found) };
        check_begin(&mut found, &transcript, &plan, &text);
        steps::check(&mut found, &plan, &transcript);
        found.tokens = claims::by_name(&plan, &transcript).into_values().collect();
        found.keys = claims::of(&plan, &transcript);
        found.destroyed = claims::destroyed(&plan, &transcript);
        files::check(&mut found, self.bundle, &files, &plan, &transcript);
        found.findings.extend(interim::check(self.bundle, &files, &plan, &transcript));
        let report = self.report(&mut found, &plan, &transcript);
        if let Some(statement) = report.and_then(|report| Statement::new(&transcript, &report)) {
            files::signatures(&mut found, self.bundle, &files, &plan, &statement, self.needs_signatures);
        }
        found.tell(&plan, &transcript);
        Ok(found)
    }

    fn plan(&self, found: &mut Verification) -> Option<(Plan, String)> {
        let read = self.bundle.plan_text().and_then(|text| Ok((Plan::parse(&text)?, text)));
        match read {
            Ok((plan, text)) => {
                found.plan = Some(Plan::hash(&text));
                if self.plan.is_some_and(|known| found.plan != Some(known)) {
                    found.find("plan.toml", "it is not the plan that is known from elsewhere");
                }
                for finding in plan.contradictions(&text) {
                    found.find("plan.toml", finding.to_string());
                }
                Some((plan, text))
            }
            Err(error) => {
                found.find("plan.toml", error.to_string());
                None
            }
        }
    }

    fn transcript(&self, found: &mut Verification) -> Option<Transcript> {
        let bytes = match self.bundle.transcript_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                found.find("transcript.jsonl", error.to_string());
                return None;
            }
        };
        match Transcript::parse(&bytes) {
            Ok(transcript) => Some(transcript),
            Err(broken) => {
                found.find("transcript.jsonl", broken.to_string());
                None
            }
        }
    }

    /// The bytes of the report, which are what is signed.
    fn report(&self, found: &mut Verification, plan: &Plan, transcript: &Transcript) -> Option<Vec<u8>> {
        let there = match self.bundle.report_bytes() {
            Ok(there) => there,
            Err(error) => {
                found.find("report.md", error.to_string());
                return None;
            }
        };
        found.is_report_reworded = there != super::report(plan, transcript).as_bytes();
        if found.is_report_reworded && !self.needs_signatures {
            found.find("report.md", "it is not the report that the transcript makes");
        }
        Some(there)
    }
}

/// Whether the transcript is of this plan, and has ended.
fn check_begin(found: &mut Verification, transcript: &Transcript, plan: &Plan, text: &str) {
    found.entries = transcript.lines().len() as u64;
    found.head = transcript.lines().last().map(|line| line.hash);
    match transcript.begun() {
        Some(Entry::Begun { format, ceremony, plan: hash, run, rehearsal, .. }) => {
            (found.ceremony, found.run, found.rehearsal) = (Some(ceremony.clone()), Some(*run), *rehearsal);
            if *hash != Plan::hash(text) {
                found.find("plan.toml", "it is not the plan that the transcript was begun with");
            }
            if *ceremony != plan.id {
                found.find("plan.toml", "it is the plan of another ceremony");
            }
            if *format != plan.format {
                found.find("transcript.jsonl", "its format is not that of the plan");
            }
        }
        _ => found.find("transcript.jsonl", "it is empty"),
    }
    if let Some(torn) = transcript.torn() {
        let message = format!("its last {} bytes are no line: a run was interrupted, or it was changed", torn.length);
        found.find("transcript.jsonl", message);
    } else if transcript.end() != super::transcript::End::Clean {
        found.find("transcript.jsonl", "its last line has no end");
    }
    if !transcript.is_closed() {
        found.find("transcript.jsonl", "it is not closed: the ceremony has not ended, or its end was cut off");
    }
}

impl Verification {
    /// Says what all this is worth.
    fn tell(&mut self, plan: &Plan, transcript: &Transcript) {
        for line in transcript.lines() {
            match &line.entry {
                Entry::Exception { step, expected, happened, decision: Decision::Accepted, reason, by } => {
                    let at = step.as_ref().map_or_else(|| "no step".to_owned(), ToString::to_string);
                    self.deviations.push(format!(
                        "line {}, {at}: expected: {expected}; happened: {happened}; accepted by {by}: {reason}",
                        line.seq
                    ));
                }
                Entry::Clock { was, reason, by } => self.deviations.push(format!(
                    "line {}: the clock went from {was} back to {}; accepted by {by}: {reason}",
                    line.seq, line.time
                )),
                _ => {}
            }
        }
        if !self.is_intact() {
            return;
        }
        if !self.signed_by.is_empty() {
            let names: Vec<_> = self.signed_by.iter().map(ToString::to_string).collect();
            self.proven.push(format!(
                "plan, transcript, public keys and report are as they were when {} signed them",
                names.join(" and ")
            ));
        }
        if self.plan.is_some() && !self.is_plan_known {
            self.claimed.push(
                "that the plan in the bundle, with the witnesses' keys, is the one of the ceremony: compare its words"
                    .into(),
            );
        }
        self.proven.push("every step of the plan has its outcome in the transcript, in the plan's order".into());
        let backups: Vec<_> = plan.keys.iter().filter(|key| key.backup.token.is_some()).collect();
        for key in &backups {
            let second = key.backup.token.as_ref().map_or_else(String::new, ToString::to_string);
            self.seen.push(format!(
                "what '{}' on {} wrapped was opened with {second} alone: the same data key came out",
                key.label(),
                key.token
            ));
        }
        for key in &plan.keys {
            if key.backup.method.exports() {
                let (label, token) = (key.label(), &key.token);
                self.seen
                    .push(format!("'{label}' was exported from {token} once, when it was made: it was extractable"));
            }
            if key.provenance == KeyOrigin::ImportedComponents {
                self.seen
                    .push(format!("'{}' was put together from components: it was whole outside a token", key.label()));
            }
        }
        for gone in &plan.destroy {
            self.seen
                .push(format!("after '{}' on {} was destroyed, the search for it found nothing", gone.key, gone.token));
        }
        self.claimed.push("serial numbers and firmware versions of tokens".into());
        self.claimed.push(
            "attributes of keys: which are sensitive, which never were extractable, and which were generated on the token"
                .into(),
        );
        self.claimed.push(
            "no token attests AES keys over PKCS#11: that a module is an HSM and keeps its keys is for people to know"
                .into(),
        );
    }
}
