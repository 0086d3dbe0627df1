//! User PINs: made on the token, handed out in shares, put together again, and set.

use super::Engine;
use crate::audit::Hash;
use crate::ceremony::bundle::Bundle;
use crate::ceremony::entry::{Entry, Fact};
use crate::ceremony::id::RunId;
use crate::ceremony::name::Name;
use crate::ceremony::plan::{Custody, Plan};
use crate::ceremony::room::{Handout, News, Room, Wanted};
use crate::ceremony::script::script;
use crate::ceremony::shares::{self, Set, Share, SharedPin};
use crate::ceremony::step::{Step, StepId, StepKind};
use crate::ceremony::transcript::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::token::Pin;
use zeroize::Zeroizing;

/// A PIN that was put together, of which shares and by whom.
pub(super) struct Recombined {
    pub(super) pin: SharedPin,
    pub(super) digests: Vec<Hash>,
    pub(super) custodians: Vec<Name>,
}

impl Engine<'_> {
    /// Whether shares of a PIN have to be handed out anew: it is not set, and some are out, but not all. The process that
    /// had the others in its memory is gone, and all or none is handed out of the next PIN.
    pub(super) fn needs_new_shares(&self, token: &Name) -> bool {
        let is_out = |step: &StepId| self.journal.progress().done(step).is_some();
        !self.is_done(&StepKind::SetPin { token: token.clone() }) && !share_steps(&self.steps, token).iter().all(is_out)
    }

    pub(super) fn hand_out(&mut self, token: &Name, custodian: &Name, index: u8, step: &Step) -> Result<Vec<Fact>> {
        let Custody::Shared { length, threshold, custodians, handout: way } = self.planned_token(token)?.custody else {
            return Err(Error::new(ErrorKind::Internal, "the PIN of the token is not shared"));
        };
        let shares = custodians.len();
        if !self.handouts.contains_key(token) {
            let made = self.split_new_pin(token, length, threshold, shares)?;
            self.handouts.insert(token.clone(), made);
        }
        let share = usize::from(index).checked_sub(1).and_then(|at| self.handouts.get(token)?.get(at));
        let share = share.ok_or_else(|| Error::new(ErrorKind::Internal, "there is no such share"))?;
        let rehearsal = self.venue.is_rehearsal();
        'shown: loop {
            self.room.hand_out(&Handout { custodian, token, share, shares, way, rehearsal })?;
            while let Some(typed) = self.room.secret(&Wanted::ShareBack { token, by: custodian })? {
                match share.check_typed(&typed) {
                    Ok(()) => break 'shown,
                    Err(group) => {
                        let told = format!("what was typed is not the share: look at group {group}");
                        self.room.tell(&News::Refused(&told));
                    }
                }
            }
        }
        let digest = share.digest(&self.journal.run());
        self.handed_out.insert(step.id.clone());
        let shares = u8::try_from(shares).unwrap_or(u8::MAX);
        Ok(vec![Fact::Share { index, threshold, shares, digest }])
    }

    /// Makes a PIN on the token's generator and splits it. It is in no memory afterwards: its shares are.
    fn split_new_pin(&self, token: &Name, length: u8, threshold: u8, shares: usize) -> Result<Vec<Share>> {
        let (module, uri) = self.token(token)?;
        let mut random = Zeroizing::new(vec![0; usize::from(length)]);
        module.random(&uri, &mut random)?;
        let pin = SharedPin::from_random(&random)?;
        let set = Set::new(&self.journal.run(), token);
        let shares = u8::try_from(shares).unwrap_or(u8::MAX);
        shares::split(&pin, &set, threshold, shares, |bytes| module.random(&uri, bytes))
    }

    pub(super) fn set_pin(&mut self, token: &Name) -> Result<Vec<Fact>> {
        let planned = self.planned_token(token)?;
        let officer = planned.officer.clone().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the plan names no officer of the token '{token}'"))
        })?;
        let (pin, facts) = match &planned.custody {
            Custody::Shared { .. } => {
                let Recombined { pin, digests, .. } = self.recombine(token)?;
                (Pin::new(pin.as_str()), vec![Fact::Recombined { digests }])
            }
            Custody::Typed { by } => (self.pin(&Wanted::NewUserPin { token, by })?, Vec::new()),
        };
        let officer_pin = match self.officer_pins.get(token) {
            Some(known) => known.clone(),
            None => self.pin(&Wanted::OfficerPin { token, by: &officer })?,
        };
        let (module, uri) = self.token(token)?;
        // Kept until it is done, so that nobody types it again for a share that was wrong; but not where it was wrong.
        self.officer_pins.remove(token);
        let set = module.set_user_pin(&uri, &officer_pin, &pin);
        match &set {
            Err(error) if error.kind() == ErrorKind::PinIncorrect => {}
            _ => drop(self.officer_pins.insert(token.clone(), officer_pin)),
        }
        set?;
        // That it opens the token is seen now and not when it is needed.
        self.log_in(token, &uri, pin)?;
        self.officer_pins.remove(token);
        self.handouts.remove(token);
        Ok(facts)
    }

    pub(super) fn recombine(&mut self, token: &Name) -> Result<Recombined> {
        recombine(&self.plan, &self.steps, self.journal.progress(), &self.journal.run(), token, &mut *self.room)
    }
}

/// Has custodians type the shares of a token's PIN, which a ceremony has set, and gives the PIN: for a service that is to
/// log in to the token.
///
/// # Errors
/// `InvalidArgument` where the plan has no such token or its PIN is not shared, where it is not set yet, for a rehearsal,
/// and where too few shares are given; those of the room; and as [`Bundle::transcript`].
pub fn shared_pin(bundle: &Bundle, token: &Name, room: &mut dyn Room) -> Result<SharedPin> {
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
    let (plan, transcript) = (bundle.plan()?, bundle.transcript()?);
    let Some(Entry::Begun { run, rehearsal, .. }) = transcript.begun() else {
        return refused("nothing has begun in this bundle".into());
    };
    if *rehearsal {
        return refused("this was a rehearsal, whose tokens are gone".into());
    }
    match plan.token(token).map(|planned| &planned.custody) {
        None => return refused(format!("the plan has no token '{token}'")),
        Some(Custody::Typed { by }) => return refused(format!("the PIN of '{token}' is not shared: {by} knows it")),
        Some(Custody::Shared { .. }) => {}
    }
    if transcript.progress().done(&StepKind::SetPin { token: token.clone() }.id()).is_none() {
        return refused(format!("the PIN of '{token}' was not set"));
    }
    Ok(recombine(&plan, &script(&plan), transcript.progress(), run, token, room)?.pin)
}

/// Has custodians type their shares until there are enough. One that is wrong is named at once.
fn recombine(
    plan: &Plan,
    steps: &[Step],
    progress: &Progress,
    run: &RunId,
    token: &Name,
    room: &mut dyn Room,
) -> Result<Recombined> {
    let Some(Custody::Shared { threshold, custodians, .. }) = plan.token(token).map(|planned| &planned.custody) else {
        return Err(Error::new(ErrorKind::Internal, "the PIN of the token is not shared"));
    };
    let set = Set::new(run, token);
    let digests = progress.share_digests(&share_steps(steps, token));
    room.tell(&News::Opening { token, threshold: Some(*threshold) });
    let mut given: Vec<Share> = Vec::new();
    while given.len() < usize::from(*threshold) {
        let place = u8::try_from(given.len() + 1).unwrap_or(u8::MAX);
        let Some(typed) = room.secret(&Wanted::Share { token, place, threshold: *threshold })? else { break };
        let share = Share::parse(&typed).and_then(|share| {
            shares::admit(&given, &share, &set, run, &digests)?;
            Ok(share)
        });
        match share {
            Ok(share) => given.push(share),
            Err(error) => room.tell(&News::Refused(&error.to_string())),
        }
    }
    let pin = shares::combine_recorded(&given, &set, run, &digests)?;
    let whose = |share: &Share| custodians.get(usize::from(share.index()).checked_sub(1)?).cloned();
    Ok(Recombined {
        pin,
        digests: given.iter().map(|share| share.digest(run)).collect(),
        custodians: given.iter().filter_map(whose).collect(),
    })
}

fn share_steps(steps: &[Step], name: &Name) -> Vec<StepId> {
    let is_of = |step: &&Step| matches!(&step.kind, StepKind::HandOutShare { token, .. } if token == name);
    steps.iter().filter(is_of).map(|step| step.id.clone()).collect()
}
