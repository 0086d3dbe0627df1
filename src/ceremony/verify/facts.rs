//! Whether what was seen in a step is what the plan says.

mod keys;

use super::{TokenClaim, Verification, claims};
use crate::audit::{Hash, Id};
use crate::ceremony::entry::{Entry, Fact, ObjectFact};
use crate::ceremony::name::Name;
use crate::ceremony::plan::{Custody, Plan, PlannedToken};
use crate::ceremony::step::{Step, StepId, StepKind};
use crate::ceremony::transcript::{Progress, Transcript};
use crate::hsm::TOMBSTONE_LABEL;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(found: &mut Verification, plan: &Plan, transcript: &Transcript, steps: &[Step]) {
    let Some(check) = Check::new(plan, transcript, steps) else { return };
    for line in transcript.lines() {
        if let Entry::Unlocked { token, digests, .. } = &line.entry {
            let mut problems = Vec::new();
            check.shares_used(token, digests, &mut problems);
            problems.into_iter().for_each(|what| found.find(format!("entry {}", line.seq), what));
        }
    }
    for step in steps {
        let Some(done) = check.progress.done(&step.id) else { continue };
        if step.kind.may_be_accepted() && check.progress.is_accepted(&step.id) {
            continue;
        }
        let mut problems = Vec::new();
        check.step(step, &done.facts, &mut problems);
        for problem in problems {
            found.find(step.id.to_string(), problem);
        }
    }
}

/// What is not as planned in what was seen in a step, which is recorded only where there is nothing, or where it may be
/// accepted and was.
pub(in crate::ceremony) fn problems(
    plan: &Plan,
    transcript: &Transcript,
    steps: &[Step],
    step: &Step,
    facts: &[Fact],
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(check) = Check::new(plan, transcript, steps) {
        check.step(step, facts, &mut problems);
    }
    problems
}

struct Check<'a> {
    plan: &'a Plan,
    steps: &'a [Step],
    progress: &'a Progress,
    run: Id,
    /// It takes place on other tokens than those of the plan.
    rehearsal: bool,
    tokens: BTreeMap<Name, TokenClaim>,
}

type Problems = Vec<String>;

impl<'a> Check<'a> {
    fn new(plan: &'a Plan, transcript: &'a Transcript, steps: &'a [Step]) -> Option<Self> {
        let Some(Entry::Begun { run, rehearsal, .. }) = transcript.begun() else { return None };
        let tokens = claims::by_name(plan, transcript);
        Some(Self { plan, steps, progress: transcript.progress(), run: *run, rehearsal: *rehearsal, tokens })
    }
}

impl Check<'_> {
    fn step(&self, step: &Step, facts: &[Fact], problems: &mut Problems) {
        match &step.kind {
            StepKind::CheckHost => self.host(facts, problems),
            StepKind::IdentifyToken { token } => self.token(token, false, facts, problems),
            StepKind::InitializeToken { token } => self.token(token, true, facts, problems),
            StepKind::HandOutShare { token, index, .. } => self.share(token, *index, facts, problems),
            StepKind::SetPin { token } => self.pin(token, facts, problems),
            StepKind::EnterComponent { index, .. } => {
                let is_there = |fact: &Fact| matches!(fact, Fact::Component { index: own, .. } if own == index);
                one(facts, is_there, "the check value of the component is not told", problems);
            }
            StepKind::MakeKey { key, token } => self.made(key, token, &step.id, facts, problems),
            StepKind::ReadBack { key, token } => self.read_back(key, token, facts, problems),
            StepKind::Canary { key, token } => self.canary(key, token, facts, problems),
            StepKind::BackUp { key, token } => self.backup(key, token, &step.id, facts, problems),
            StepKind::RestoreTest { key, token } => self.restored(key, token, facts, problems),
            StepKind::DestroyKey { token, label } => {
                let is_gone = |fact: &Fact| matches!(fact, Fact::Destroyed { token: at, label: of, found: 0, .. } if at == token && of == label);
                one(facts, is_gone, "it is not told that the search for it found nothing", problems);
            }
            StepKind::Inventory { token } => self.inventory(token, facts, problems),
            StepKind::SignOff { .. } => {}
        }
    }

    fn host(&self, facts: &[Fact], problems: &mut Problems) {
        let Some(Fact::Host { tool_sha256, modules, .. }) = only(facts, |fact| matches!(fact, Fact::Host { .. }))
        else {
            problems.push("the hashes of program and modules are not told".into());
            return;
        };
        if self.plan.format >= 2 {
            let are_libraries = |fact: &Fact| matches!(fact, Fact::Libraries { .. });
            one(facts, are_libraries, "the libraries of the program are not recorded", problems);
        }
        if *tool_sha256 != self.plan.tool_sha256 {
            problems.push("the program had another hash than the plan says".into());
        }
        // A rehearsal has a module of its own.
        for token in self.plan.tokens.iter().filter(|_| !self.rehearsal) {
            let path = token.module.to_string_lossy();
            if !modules.iter().any(|module| module.path == path && module.sha256 == token.module_sha256) {
                problems.push(format!("the module of '{}' had another hash than the plan says", token.name));
            }
        }
    }

    fn token(&self, name: &Name, is_initialized: bool, facts: &[Fact], problems: &mut Problems) {
        let Some(planned) = self.plan.token(name) else { return };
        let is_it = |fact: &Fact| matches!(fact, Fact::Token { token, .. } if token == name);
        let Some(Fact::Token { serial, label, firmware, random, .. }) = only(facts, is_it) else {
            problems.push("it is not told what the token says of itself".into());
            return;
        };
        if !self.rehearsal && !planned.serial.admits(serial) {
            problems.push(format!("the serial number was {serial}, and the plan says {}", planned.serial));
        }
        // Before it is initialized it may have any.
        if (is_initialized || !planned.initialize) && *label != planned.label {
            problems.push(format!("the label was '{label}', and the plan says '{}'", planned.label));
        }
        if !self.rehearsal && planned.firmware.as_ref().is_some_and(|wanted| wanted != firmware) {
            problems.push(format!("the firmware was {firmware}, and the plan says another"));
        }
        if !planned.initialize {
            self.before(planned, facts, problems);
        }
        let is_ready = is_initialized || !planned.initialize;
        if self.plan.format >= 2 && is_ready && random.is_none() {
            problems.push("what the token's generator gave is not recorded".into());
        }
        if is_initialized && self.tokens.values().any(|other| other.token != *name && other.serial == *serial) {
            problems.push("another token of this ceremony has the same serial number".into());
        }
    }

    fn share(&self, name: &Name, wanted: u8, facts: &[Fact], problems: &mut Problems) {
        let Some(PlannedToken { custody: Custody::Shared { threshold, custodians, .. }, .. }) = self.plan.token(name)
        else {
            return;
        };
        match only(facts, |fact| matches!(fact, Fact::Share { .. })) {
            Some(Fact::Share { index, threshold: of, shares, digest }) => {
                if (*index, *of, usize::from(*shares)) != (wanted, *threshold, custodians.len()) {
                    problems.push("it is another share than the plan says".into());
                }
                if self.digests(name).iter().filter(|other| *other == digest).count() > 1 {
                    problems.push("the same share was handed out twice".into());
                }
            }
            _ => problems.push("the digest of the share is not told".into()),
        }
    }

    fn digests(&self, name: &Name) -> Vec<Hash> {
        let is_of = |step: &&Step| matches!(&step.kind, StepKind::HandOutShare { token, .. } if token == name);
        let ids: Vec<StepId> = self.steps.iter().filter(is_of).map(|step| step.id.clone()).collect();
        self.progress.share_digests(&ids)
    }

    fn pin(&self, name: &Name, facts: &[Fact], problems: &mut Problems) {
        if !matches!(self.plan.token(name).map(|token| &token.custody), Some(Custody::Shared { .. })) {
            return;
        }
        match only(facts, |fact| matches!(fact, Fact::Recombined { .. })) {
            Some(Fact::Recombined { digests }) => self.shares_used(name, digests, problems),
            _ => problems.push("it is not told that the shares give the PIN".into()),
        }
    }

    /// Whether a PIN was put together from enough of the shares that were handed out.
    fn shares_used(&self, name: &Name, digests: &[Hash], problems: &mut Problems) {
        let Some(Custody::Shared { threshold, .. }) = self.plan.token(name).map(|token| &token.custody) else {
            problems.push(format!("the PIN of '{name}' is not shared"));
            return;
        };
        let handed_out = self.digests(name);
        let given: BTreeSet<_> = digests.iter().collect();
        if given.len() < usize::from(*threshold) || given.len() != digests.len() {
            problems.push("the PIN was put together from fewer shares than the threshold".into());
        }
        if digests.iter().any(|digest| !handed_out.contains(digest)) {
            problems.push("the PIN was put together from a share that was not handed out".into());
        }
    }

    /// What was on a token before, where it was not initialized.
    fn before(&self, planned: &PlannedToken, facts: &[Fact], problems: &mut Problems) {
        let is_it = |fact: &Fact| matches!(fact, Fact::Inventory { token, .. } if *token == planned.name);
        match only(facts, is_it) {
            Some(Fact::Inventory { objects, .. })
                if self.rehearsal || counted(objects) == u64::from(planned.objects_before) => {}
            Some(Fact::Inventory { objects, .. }) => {
                let (there, wanted) = (counted(objects), planned.objects_before);
                problems.push(format!("there were {there} objects before, and the plan says {wanted}"));
            }
            _ => problems.push("it is not told which objects were on the token before".into()),
        }
    }

    fn inventory(&self, name: &Name, facts: &[Fact], problems: &mut Problems) {
        let is_it = |fact: &Fact| matches!(fact, Fact::Inventory { token, .. } if token == name);
        let (Some(planned), Some(Fact::Inventory { objects, .. })) = (self.plan.token(name), only(facts, is_it)) else {
            problems.push("it is not told which objects are on the token".into());
            return;
        };
        let wanted = self.objects_after(planned);
        let there = counted(objects);
        if there != wanted {
            problems.push(format!("there were {there} objects, and the plan says {wanted}"));
        }
        for object in objects.iter().filter(|object| object.extractable) {
            problems.push(format!("the key '{}' could leave the token", object.label));
        }
        let on_it = |key: &&crate::ceremony::PlannedKey| key.token == *name || key.backup.token.as_ref() == Some(name);
        for key in self.plan.keys.iter().filter(on_it) {
            let label = key.label();
            let is_key = |class: &str| matches!(class, "secret-key" | "private-key");
            let count = objects.iter().filter(|object| object.label == label && is_key(&object.class)).count();
            if count != 1 {
                problems.push(format!("there were {count} keys '{label}' on the token, and not one"));
            }
        }
    }
}

impl Check<'_> {
    /// How many objects there are to be. Where a rehearsal puts a throwaway token in the place of one that has objects,
    /// what the plan adds is added to what is there.
    fn objects_after(&self, planned: &PlannedToken) -> u64 {
        let after = u64::from(planned.objects_after);
        if !self.rehearsal || planned.initialize {
            return after;
        }
        let identify = StepKind::IdentifyToken { token: planned.name.clone() }.id();
        let before = self.progress.done(&identify).map_or(&[][..], |done| &done.facts);
        let seen = before.iter().find_map(|fact| match fact {
            Fact::Inventory { objects, .. } => Some(counted(objects)),
            _ => None,
        });
        (after + seen.unwrap_or_default()).saturating_sub(planned.objects_before.into())
    }
}

/// How many objects there are, without the tombstones of keys that were destroyed.
fn counted(objects: &[ObjectFact]) -> u64 {
    let is_tombstone = |object: &&ObjectFact| object.class == "data" && object.label.starts_with(TOMBSTONE_LABEL);
    objects.iter().filter(|object| !is_tombstone(object)).count() as u64
}

/// The one fact of a kind; none where there are several.
fn only(facts: &[Fact], is_it: impl Fn(&Fact) -> bool) -> Option<&Fact> {
    let mut all = facts.iter().filter(|fact| is_it(fact));
    all.next().filter(|_| all.next().is_none())
}

fn one(facts: &[Fact], is_it: impl Fn(&Fact) -> bool, otherwise: &str, problems: &mut Problems) {
    if only(facts, is_it).is_none() {
        problems.push(otherwise.into());
    }
}
