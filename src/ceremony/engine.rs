//! Running a ceremony: each step is announced, confirmed, done, read back, and recorded.
//!
//! Nothing is done before its intent is on the disk, and nothing is recorded as done that is not as the plan says. A run
//! that is interrupted, by people or by a loss of power, is taken up again where it was: what was made is found by its
//! `CKA_ID` and not made twice.

mod backup;
mod deviation;
mod host;
mod inventory;
mod keys;
mod opening;
mod pins;
mod tokens;

pub use pins::shared_pin;

use super::bundle::Bundle;
use super::entry::{Decision, Fact};
use super::journal::{Begin, Journal};
use super::name::Name;
use super::plan::Plan;
use super::room::{Consent, News, Room, Ruling, Trouble};
use super::script::script;
use super::shares::Share;
use super::step::{Step, StepId, StepKind};
use super::transcript::Transcript;
use super::verify::facts::problems;
use crate::audit::Hash;
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::HsmProvider;
use crate::hsm::backup::Component;
use crate::key::{KeyName, Operation};
use crate::token::{Module, Pin};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// On which tokens a ceremony takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Venue {
    /// On those that the plan names.
    Tokens,
    /// On blank tokens of this module, SoftHSM's for instance, whatever the plan says of serial numbers, firmware and
    /// modules. A token that the plan finds initialized is made first. All of it is marked as a rehearsal.
    Rehearsal {
        /// The module.
        module: PathBuf,
    },
}

impl Venue {
    fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal { .. })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Every step is done, and the transcript is closed.
    Closed {
        /// Its head, which the witnesses sign.
        head: Hash,
    },
    /// Everybody left before a step. The run can be resumed.
    Left,
    /// It was decided that the ceremony ends before its last step, for good.
    Stopped,
}

/// A ceremony that is going on.
///
/// ```no_run
/// use keyward::ceremony::{Bundle, Ended, Engine, Room, Venue};
/// fn hold(room: &mut dyn Room, plan: &str) -> keyward::Result<()> {
///     let bundle = Bundle::create("2026-11-payments".as_ref(), plan)?;
///     match Engine::begin(&bundle, "1.0", Venue::Tokens, room)?.run()? {
///         Ended::Closed { head } => println!("the witnesses sign {head}"),
///         _ => println!("not yet"),
///     }
///     Ok(())
/// }
/// ```
pub struct Engine<'a> {
    bundle: &'a Bundle,
    plan: Plan,
    steps: Arc<[Step]>,
    journal: Journal,
    venue: Venue,
    room: &'a mut dyn Room,
    /// What this process has in memory alone, and the next one will not have: the shares of PINs that are not set yet,
    handouts: BTreeMap<Name, Vec<Share>>,
    /// the steps in which it handed them out,
    handed_out: BTreeSet<StepId>,
    /// PINs of security officers, until the user PIN is set,
    officer_pins: BTreeMap<Name, Pin>,
    /// components of keys, until all tokens have them,
    components: BTreeMap<KeyName, Vec<Component>>,
    /// and tokens that are logged in to.
    open: BTreeMap<Name, Arc<HsmProvider>>,
    admit: Admit<'a>,
    load: LoadModule<'a>,
}

/// Loads the module at a path.
type LoadModule<'a> = Box<dyn Fn(&Path) -> Result<Arc<Module>> + 'a>;

/// Says whether somebody may do something with a key of this token, and records it: what governs other uses of keys, such as
/// policies, may govern ceremonies as well.
type Admit<'a> = Box<dyn FnMut(Operation, &KeyName, &HsmProvider) -> Result<()> + 'a>;

impl<'a> Engine<'a> {
    /// Begins the ceremony of a bundle that was just created. `tool` is the version of the program.
    ///
    /// # Errors
    /// `InvalidArgument` where the plan contradicts itself; and as [`Journal::begin`].
    pub fn begin(bundle: &'a Bundle, tool: &str, venue: Venue, room: &'a mut dyn Room) -> Result<Self> {
        let text = bundle.plan_text()?;
        let plan = Plan::parse(&text)?;
        if let Some(finding) = plan.lint(&text).first() {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("the plan contradicts itself: {finding}"))
                .with_hint("`keyward ceremony plan lint` says all that does"));
        }
        let journal = Journal::begin(bundle, Begin::new(tool).rehearsal(venue.is_rehearsal()))?;
        Ok(Self::new(bundle, plan, journal, venue, room))
    }

    /// Goes on with a ceremony. Where the clock went backwards meanwhile, `although` is why people go on, and who says so.
    ///
    /// # Errors
    /// `InvalidArgument` where a rehearsal is to go on with real tokens, or the other way round; and as
    /// [`Journal::resume`].
    pub fn resume(
        bundle: &'a Bundle,
        tool: &str,
        venue: Venue,
        although: Option<(&str, &Name)>,
        room: &'a mut dyn Room,
    ) -> Result<Self> {
        if bundle.transcript()?.is_rehearsal() != venue.is_rehearsal() {
            let message = if venue.is_rehearsal() { "this is no rehearsal" } else { "this is a rehearsal" };
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let journal = Journal::resume(bundle, tool, although)?;
        Ok(Self::new(bundle, bundle.plan()?, journal, venue, room))
    }

    fn new(bundle: &'a Bundle, plan: Plan, journal: Journal, venue: Venue, room: &'a mut dyn Room) -> Self {
        Self {
            bundle,
            steps: script(&plan).into(),
            plan,
            journal,
            venue,
            room,
            handouts: BTreeMap::new(),
            handed_out: BTreeSet::new(),
            officer_pins: BTreeMap::new(),
            components: BTreeMap::new(),
            open: BTreeMap::new(),
            admit: Box::new(|_, _, _| Ok(())),
            load: Box::new(Module::load),
        }
    }

    /// Loads modules with this function, once the host was checked: with [`Module::load_softhsm`], for instance.
    #[must_use]
    pub fn load_modules(mut self, load: impl Fn(&Path) -> Result<Arc<Module>> + 'a) -> Self {
        self.load = Box::new(load);
        self
    }

    /// Asks before each key that is made or destroyed, with the token that it is on. An error is why it may not be.
    #[must_use]
    pub fn admit(mut self, admit: impl FnMut(Operation, &KeyName, &HsmProvider) -> Result<()> + 'a) -> Self {
        self.admit = Box::new(admit);
        self
    }

    /// Does all steps that are left, and closes the transcript.
    ///
    /// # Errors
    /// What happened where people decided to leave because of it; those of the room. The run can be resumed.
    pub fn run(mut self) -> Result<Ended> {
        // Before any module is loaded, which runs whatever is in its file.
        if self.is_done(&StepKind::CheckHost)
            && let Some(ended) = self.check_host_again()?
        {
            return Ok(ended);
        }
        let steps = Arc::clone(&self.steps);
        for (number, step) in (1..).zip(steps.iter()) {
            if !self.is_due(step) {
                continue;
            }
            loop {
                match self.room.confirm(step, number, steps.len())? {
                    Consent::Given => break,
                    Consent::Leave => return Ok(Ended::Left),
                    Consent::Exception { expected, happened, reason, by } => {
                        self.unexpected([&expected, &happened, &reason], &by)?;
                    }
                }
            }
            if let Some(ended) = self.step(step)? {
                return Ok(ended);
            }
        }
        self.close()
    }

    fn is_done(&self, kind: &StepKind) -> bool {
        self.journal.progress().done(&kind.id()).is_some()
    }

    /// Whether a step is to be done: it was not yet, or what came of it was lost with the process that did it.
    fn is_due(&self, step: &Step) -> bool {
        let is_lost = match &step.kind {
            StepKind::HandOutShare { token, .. } => !self.handed_out.contains(&step.id) && self.needs_new_shares(token),
            StepKind::EnterComponent { key, index, .. } => self.lacks_component(key, *index),
            _ => false,
        };
        is_lost || !self.is_done(&step.kind)
    }

    /// Does a step until it is done, or people end the ceremony.
    fn step(&mut self, step: &Step) -> Result<Option<Ended>> {
        loop {
            self.record(|journal| journal.intent(&step.id, &step.confirmed_by))?;
            let answer = self.attempt(step);
            match answer {
                Ok(facts) => {
                    self.record(|journal| journal.done(&step.id, facts.clone()))?;
                    self.room.tell(&News::Done { step, facts: &facts });
                    return Ok(None);
                }
                Err(failure) => match self.after(step, failure)? {
                    None => {}
                    ended => return Ok(ended),
                },
            }
        }
    }

    /// Does a step once. What was seen is as the plan says, or people have accepted that it is not.
    fn attempt(&mut self, step: &Step) -> Result<Vec<Fact>, Failure> {
        let facts = self.execute(step).map_err(Failure::of)?;
        let problems = problems(&self.plan, &Transcript::from(&self.journal), &self.steps, step, &facts);
        if problems.is_empty() {
            return Ok(facts);
        }
        self.room.tell(&News::Seen(&facts));
        let error = Error::new(deviation::kind(step), problems.join("; "));
        if !step.kind.may_be_accepted() {
            return Err(Failure { error, facts, ruling: None });
        }
        match self.accept(step, &error) {
            Ok(None) => Ok(facts),
            Ok(ruling) => Err(Failure { error, facts, ruling }),
            Err(error) => Err(Failure::of(error)),
        }
    }

    fn execute(&mut self, step: &Step) -> Result<Vec<Fact>> {
        match &step.kind {
            StepKind::CheckHost => self.check_host(),
            StepKind::IdentifyToken { token } => self.identify(token),
            StepKind::InitializeToken { token } => self.initialize(token, step),
            StepKind::HandOutShare { token, custodian, index } => self.hand_out(token, custodian, *index, step),
            StepKind::SetPin { token } => self.set_pin(token),
            StepKind::EnterComponent { key, custodian, index } => self.enter_component(key, custodian, *index),
            StepKind::MakeKey { key, token } => self.make(key, token),
            StepKind::ReadBack { key, token } => self.read_back(key, token),
            StepKind::Canary { key, token } => self.canary(key, token),
            StepKind::BackUp { key, token } => self.back_up(key, token),
            StepKind::RestoreTest { key, token } => self.restore(key, token),
            StepKind::DestroyKey { token, label } => self.destroy(token, label),
            StepKind::Inventory { token } => self.inventory(token),
            StepKind::SignOff { .. } => Ok(Vec::new()),
        }
    }

    /// Records that an attempt failed, and what people decide: `None` is to try again.
    fn after(&mut self, step: &Step, failure: Failure) -> Result<Option<Ended>> {
        let Failure { error, facts, ruling } = failure;
        self.record(|journal| journal.failed(&step.id, error.kind(), facts.clone()))?;
        let ruling = match ruling {
            Some(ruling) => ruling,
            None => self.room.decide(&Trouble {
                step: Some(step),
                expected: step.expect.join("; "),
                happened: deviation::with_causes(&error),
                hint: error.hint().map(ToOwned::to_owned),
                may_accept: false,
                may_stop: true,
            })?,
        };
        let again = (step.confirmed_by.clone(), "it is tried again".to_owned());
        let (decision, (by, reason)) = match ruling {
            Ruling::Again => (Decision::Again, again),
            Ruling::Stop { by, reason } => (Decision::Stopped, (by, reason)),
            // It cannot be: whoever was asked was told so.
            Ruling::Leave | Ruling::Accept { .. } => return Err(error),
        };
        self.exception(&step.id, &step.expect.join("; "), &error, decision, (&reason, &by))?;
        if decision == Decision::Again {
            return Ok(None);
        }
        // For whoever reads what became of it.
        self.bundle.write_report()?;
        Ok(Some(Ended::Stopped))
    }

    /// Closes the transcript and writes the report.
    fn close(mut self) -> Result<Ended> {
        let head = self.record(Journal::close)?;
        let bundle = self.bundle;
        self.record(|_| bundle.write_report()).map_err(|error| {
            error.with_hint(format!("`keyward ceremony report --write {}` writes it", bundle.path().display()))
        })?;
        let plan = Plan::hash(&bundle.plan_text()?);
        self.room.tell(&News::Closed { head: &head, plan: &plan });
        Ok(Ended::Closed { head })
    }
}

/// An attempt that failed, with what was seen, and what people have decided already.
struct Failure {
    error: Error,
    facts: Vec<Fact>,
    ruling: Option<Ruling>,
}

impl Failure {
    fn of(error: Error) -> Self {
        Self { error, facts: Vec::new(), ruling: None }
    }
}
