//! Tokens: finding the one that is meant, and initializing it.

use super::{Engine, Venue};
use crate::audit::Id;
use crate::ceremony::entry::Fact;
use crate::ceremony::name::{Name, Serial};
use crate::ceremony::plan::{Custody, PlannedToken};
use crate::ceremony::room::Wanted;
use crate::ceremony::step::Step;
use crate::ceremony::transcript::Transcript;
use crate::ceremony::verify::{TokenClaim, by_name};
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::PlannedKey;
use crate::key::{KekId, KeyName, KeyVersion, WrappingAlgorithm};
use crate::token::{Module, Pin, TokenInfo, TokenInit, TokenUri};
use std::sync::Arc;

impl Engine<'_> {
    pub(super) fn planned_token(&self, name: &Name) -> Result<PlannedToken> {
        let found = self.plan.token(name).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::Internal, format!("the plan has no token '{name}'")))
    }

    pub(super) fn module(&self, token: &PlannedToken) -> Result<Arc<Module>> {
        match &self.venue {
            Venue::Tokens => (self.load)(&token.module),
            Venue::Rehearsal { module } => (self.load)(module),
        }
    }

    /// The token as its serial number, which is recorded, finds it.
    pub(super) fn token(&self, name: &Name) -> Result<(Arc<Module>, TokenUri)> {
        let module = self.module(&self.planned_token(name)?)?;
        let serial = self.recorded(name)?.serial;
        let info = of_serial(&module.tokens()?, name, &serial, |token| token.initialized)?;
        let uri = TokenUri::of(&info, module.path());
        Ok((module, uri))
    }

    /// Which token it is, as it is recorded.
    pub(super) fn recorded(&self, name: &Name) -> Result<TokenClaim> {
        by_name(&self.plan, &Transcript::from(&self.journal))
            .remove(name)
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("which token '{name}' is was not recorded yet")))
    }

    pub(super) fn identify(&mut self, name: &Name) -> Result<Vec<Fact>> {
        let planned = self.planned_token(name)?;
        let module = self.module(&planned)?;
        if planned.initialize {
            let info = match self.serial_of(&planned) {
                Serial::Free => {
                    refuse_label(&module, &planned)?;
                    blank(&module)?
                }
                Serial::Is(serial) => of_serial(&module.tokens()?, name, &serial, |_| true)?,
            };
            let mut facts = vec![fact(name, &info, None)];
            facts.extend(self.new_libraries()?);
            return Ok(facts);
        }
        let info = match self.serial_of(&planned) {
            Serial::Is(serial) => of_serial(&module.tokens()?, name, &serial, |token| token.initialized)?,
            Serial::Free => self.stage(&module, &planned)?,
        };
        if !self.open.contains_key(name) {
            let Custody::Typed { by } = &planned.custody else {
                return Err(Error::new(ErrorKind::Internal, "the PIN of a token that is there already is not shared"));
            };
            let pin = self.user_pin(name, by)?;
            self.log_in(name, &TokenUri::of(&info, module.path()), pin)?;
        }
        let mut facts = vec![ready_fact(name, &info, &module)?, self.objects(name)?];
        facts.extend(self.new_libraries()?);
        Ok(facts)
    }

    /// In a rehearsal a token has whichever serial number it has.
    fn serial_of(&self, planned: &PlannedToken) -> Serial {
        match self.venue {
            Venue::Tokens => planned.serial.clone(),
            Venue::Rehearsal { .. } => Serial::Free,
        }
    }

    /// The token that stands in a rehearsal for one that is there already, with the keys on it that are destroyed.
    fn stage(&mut self, module: &Arc<Module>, planned: &PlannedToken) -> Result<TokenInfo> {
        let PlannedToken { name, label, custody: Custody::Typed { by }, .. } = planned else {
            return Err(Error::new(ErrorKind::Internal, "the PIN of a token that is there already is not shared"));
        };
        let of_label = |token: &TokenInfo| token.initialized && token.label == *label;
        if let Some(there) = module.tokens()?.into_iter().find(of_label) {
            return Ok(there);
        }
        let pin = self.pin(&Wanted::NewUserPin { token: name, by })?;
        // Nobody needs it again.
        let officer = Pin::new(self.journal.run().to_string());
        let info = module.initialize(&TokenInit::new(label, officer).user_pin(pin.clone()))?;
        let hsm = self.log_in(name, &TokenUri::of(&info, module.path()), pin)?;
        let mut gone = Vec::new();
        for planned in self.plan.destroy.iter().filter(|gone| gone.token == *name) {
            if let Some((key, version)) = planned.key.split_once(':') {
                gone.push((version.parse::<KeyVersion>()?, key.parse::<KeyName>()?));
            }
        }
        // Lower versions first: numbers only grow.
        gone.sort();
        for (version, key) in gone {
            let id = KekId::from_bytes(*Id::random()?.as_bytes());
            hsm.create_planned(&PlannedKey::new(key, WrappingAlgorithm::AesGcm, id).version(version))?;
        }
        Ok(info)
    }

    pub(super) fn initialize(&mut self, name: &Name, step: &Step) -> Result<Vec<Fact>> {
        let planned = self.planned_token(name)?;
        let officer = planned.officer.as_ref().unwrap_or(&step.confirmed_by);
        let module = self.module(&planned)?;
        let tried_before = self.journal.progress().attempts(&step.id).len() > 1;
        let there = match self.serial_of(&planned) {
            Serial::Free => {
                // That nobody else has a token of this label was seen before the first attempt.
                let ours =
                    |token: &&TokenInfo| token.initialized && token.label == planned.label && !token.user_pin_set;
                let tokens = module.tokens()?;
                if tried_before && let Some(ours) = tokens.iter().find(ours) {
                    return Ok(vec![ready_fact(name, ours, &module)?]);
                }
                refuse_label(&module, &planned)?;
                None
            }
            Serial::Is(serial) => Some(of_serial(&module.tokens()?, name, &serial, |_| true)?),
        };
        let is_erased = there.as_ref().is_some_and(|there| there.initialized);
        let pin = self.pin(&match is_erased {
            true => Wanted::OfficerPin { token: name, by: officer },
            false => Wanted::NewOfficerPin { token: name, by: officer },
        })?;
        let init = TokenInit::new(&planned.label, pin.clone());
        let init = match there {
            None => init,
            Some(there) if is_erased => init.danger_erase(there.serial),
            Some(there) => init.uri(TokenUri::of(&there, module.path())),
        };
        let info = module.initialize(&init)?;
        self.officer_pins.insert(name.clone(), pin);
        Ok(vec![ready_fact(name, &info, &module)?])
    }

    /// A PIN that somebody types.
    pub(super) fn pin(&mut self, wanted: &Wanted<'_>) -> Result<Pin> {
        match self.room.secret(wanted)? {
            Some(mut typed) => Ok(Pin::new(std::mem::take(&mut *typed).into_bytes())),
            None => Err(Error::new(ErrorKind::PinRequired, "no PIN was entered")),
        }
    }
}

/// Of a token on which keys can be made: their ids depend on its generator.
fn ready_fact(name: &Name, info: &TokenInfo, module: &Arc<Module>) -> Result<Fact> {
    let mut random = [0; 16];
    module.random(&TokenUri::of(info, module.path()), &mut random)?;
    Ok(fact(name, info, Some(Id::from_bytes(random))))
}

fn fact(name: &Name, info: &TokenInfo, random: Option<Id>) -> Fact {
    // What is not initialized has no label of anybody's.
    let label = if info.initialized { info.label.clone() } else { String::new() };
    Fact::Token {
        token: name.clone(),
        serial: info.serial.clone(),
        label,
        manufacturer: info.manufacturer.clone(),
        model: info.model.clone(),
        firmware: info.firmware.clone(),
        random,
    }
}

fn blank(module: &Module) -> Result<TokenInfo> {
    let found = module.tokens()?.into_iter().find(|token| !token.initialized);
    found.ok_or_else(|| Error::new(ErrorKind::TokenNotFound, "no slot has a token that is not initialized"))
}

/// A free token is found again by its label once it is initialized, so nobody else may have it.
fn refuse_label(module: &Module, planned: &PlannedToken) -> Result<()> {
    if module.tokens()?.iter().any(|token| token.initialized && token.label == planned.label) {
        let message = format!("a token with the label '{}' is there already", planned.label);
        return Err(Error::new(ErrorKind::TokenUnavailable, message)
            .with_hint("take another label in the plan, or remove that token"));
    }
    Ok(())
}

/// The one token with a serial number.
fn of_serial(tokens: &[TokenInfo], name: &Name, serial: &str, may: impl Fn(&TokenInfo) -> bool) -> Result<TokenInfo> {
    let mut found = tokens.iter().filter(|token| token.serial == serial && may(token));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => {
            let there: Vec<_> = tokens.iter().filter(|t| t.initialized).map(|token| token.serial.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(Error::new(ErrorKind::TokenNotFound, format!("no token has the serial number {serial} of '{name}'"))
                .with_hint(format!("the serial numbers that are there: {there}")))
        }
        _ => Err(Error::new(ErrorKind::TokenNotFound, format!("several tokens have the serial number {serial}"))),
    }
}
