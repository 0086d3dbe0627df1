//! Keys: made or imported, read back, and tried.

use super::Engine;
use crate::audit::{Hash, Id};
use crate::ceremony::entry::Fact;
use crate::ceremony::name::Name;
use crate::ceremony::plan::{BackupMethod, KeyOrigin, PlannedKey};
use crate::ceremony::room::{CheckValueOf, News, Wanted};
use crate::ceremony::step::{StepId, StepKind};
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::backup::{Component, import_components};
use crate::hsm::{self, Canary, Claim, HsmProvider};
use crate::key::{KekId, KeyName, Operation};
use zeroize::{Zeroize, Zeroizing};

impl Engine<'_> {
    pub(super) fn planned_key(&self, name: &KeyName) -> Result<PlannedKey> {
        let found = self.plan.key(name).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::Internal, format!("the plan has no key '{name}'")))
    }

    /// The id that a step gives to the key that it makes.
    pub(super) fn id_of(&self, token: &Name, step: &StepId) -> Result<KekId> {
        Ok(KekId::from_bytes(*self.recorded(token)?.planned_id(&self.journal.run(), step).as_bytes()))
    }

    /// The id of a key on the token that it is made on.
    pub(super) fn key_id(&self, key: &PlannedKey) -> Result<KekId> {
        let made = StepKind::MakeKey { key: key.name.clone(), token: key.token.clone() };
        self.id_of(&key.token, &made.id())
    }

    /// Whether a component has to be typed: a token needs it, and this process does not have it.
    pub(super) fn lacks_component(&self, name: &KeyName, index: u8) -> bool {
        let Some(key) = self.plan.key(name) else { return false };
        let made = StepKind::MakeKey { key: name.clone(), token: key.token.clone() };
        let is_imported_again =
            key.backup.method == BackupMethod::ImportedComponents
                && key.backup.token.as_ref().is_some_and(|second| {
                    !self.is_done(&StepKind::BackUp { key: name.clone(), token: second.clone() })
                });
        let has = self.components.get(name).map_or(0, Vec::len);
        (!self.is_done(&made) || is_imported_again) && has < usize::from(index)
    }

    pub(super) fn enter_component(&mut self, name: &KeyName, by: &Name, index: u8) -> Result<Vec<Fact>> {
        let wanted = Wanted::Component { key: name, by, index };
        let value = loop {
            let typed = self.room.secret(&wanted)?.ok_or_else(|| not_typed("the component"))?;
            match from_hex::<32>(&typed) {
                Some(value) => break value,
                None => self.room.tell(&News::Refused("a component is 64 hexadecimal digits")),
            }
        };
        let check = self.ask_check_value(&CheckValueOf::Component { key: name, by, index })?;
        let component = Component::new(value, check)?;
        self.components.entry(name.clone()).or_default().push(component);
        Ok(vec![Fact::Component { index, check_value: hex(&check) }])
    }

    fn ask_check_value(&mut self, of: &CheckValueOf<'_>) -> Result<[u8; 3]> {
        loop {
            let typed = self.room.check_value(of)?.ok_or_else(|| not_typed("the check value"))?;
            match from_hex::<3>(&typed) {
                Some(value) => return Ok(*value),
                None => self.room.tell(&News::Refused("a check value is 6 hexadecimal digits")),
            }
        }
    }

    pub(super) fn make(&mut self, name: &KeyName, token: &Name) -> Result<Vec<Fact>> {
        let key = self.planned_key(name)?;
        let hsm = self.hsm(token)?;
        (self.admit)(Operation::CreateKey, name, &hsm)?;
        let wanted = self.wanted(&key, self.key_id(&key)?);
        let mut exported = None;
        match key.provenance {
            KeyOrigin::ImportedComponents => self.import(&hsm, &key, &wanted)?,
            KeyOrigin::Generated if key.backup.method.exports() => exported = Some(self.export(&hsm, &key, &wanted)?),
            KeyOrigin::Generated => drop(hsm.create_planned(&wanted)?),
        }
        let mut facts = vec![self.key_fact(token, &hsm, wanted.kek_id)?];
        facts.extend(exported);
        Ok(facts)
    }

    pub(super) fn wanted(&self, key: &PlannedKey, id: KekId) -> hsm::PlannedKey {
        hsm::PlannedKey::new(key.name.clone(), key.algorithm, id).version(key.version)
    }

    /// Imports a key from its components, which are forgotten once the last token has them.
    pub(super) fn import(&mut self, hsm: &HsmProvider, key: &PlannedKey, wanted: &hsm::PlannedKey) -> Result<()> {
        let check = self.ask_check_value(&CheckValueOf::Key { key: &key.name })?;
        let components = self.components.get(&key.name).map_or(&[][..], Vec::as_slice);
        import_components(hsm, wanted, components, check).map_err(|error| match error.kind() {
            ErrorKind::InvalidArgument => {
                error.with_hint("where a component is wrong: leave, and resume; components are typed anew then")
            }
            _ => error,
        })?;
        // The second token comes after the one that the key is made on.
        let made = StepKind::MakeKey { key: key.name.clone(), token: key.token.clone() };
        if key.backup.method != BackupMethod::ImportedComponents || self.is_done(&made) {
            self.components.remove(&key.name);
        }
        Ok(())
    }

    pub(super) fn read_back(&mut self, name: &KeyName, token: &Name) -> Result<Vec<Fact>> {
        let id = self.key_id(&self.planned_key(name)?)?;
        let hsm = self.hsm(token)?;
        Ok(vec![self.key_fact(token, &hsm, id)?])
    }

    pub(super) fn canary(&mut self, name: &KeyName, token: &Name) -> Result<Vec<Fact>> {
        let id = self.key_id(&self.planned_key(name)?)?;
        let canary = self.hsm(token)?.make_canary(id)?;
        Ok(vec![canary_fact(token, &canary)])
    }

    /// What a token says of a key. The public half of an RSA key goes into the bundle.
    pub(super) fn key_fact(&self, token: &Name, hsm: &HsmProvider, id: KekId) -> Result<Fact> {
        let report = hsm.read_back(id)?;
        let flags = report.attributes.iter().filter_map(|one| match one.claim {
            Claim::Flag(flag) => Some((one.name.to_owned(), flag)),
            _ => None,
        });
        let public = report
            .public_key
            .as_ref()
            .map(|public| self.bundle.write_public_key(&report.key.name, token, &public.to_text()?));
        Ok(Fact::Key {
            token: token.clone(),
            label: report.key.label(),
            id: Id::from_bytes(*id.as_bytes()),
            algorithm: report.key.algorithm.name().to_owned(),
            attributes: flags.collect(),
            check_value: report.check_value.map(|value| value.to_string()),
            public_key: public.transpose()?,
        })
    }

    /// The canary that a step told of, on one of the tokens.
    pub(super) fn told_canary(&self, of: &StepKind, on: &Name) -> Result<Canary> {
        let facts = self.journal.progress().done(&of.id()).map_or(&[][..], |done| &done.facts);
        let told = facts.iter().find_map(|fact| match fact {
            Fact::Canary { token, wrapped, digest, .. } if token == on => Some(format!("{digest}:{wrapped}")),
            _ => None,
        });
        told.ok_or_else(|| Error::new(ErrorKind::Internal, "the transcript tells of no canary"))?.parse()
    }
}

pub(super) fn canary_fact(token: &Name, canary: &Canary) -> Fact {
    let text = canary.to_string();
    let wrapped = text.split_once(':').map_or("", |(_, wrapped)| wrapped);
    Fact::Canary {
        token: token.clone(),
        id: Id::from_bytes(*canary.kek_id().as_bytes()),
        wrapped: wrapped.to_owned(),
        digest: Hash::from_bytes(canary.digest()),
    }
}

fn not_typed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{what} was not typed"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes in hexadecimal digits, with blanks or hyphens between them.
fn from_hex<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut value = Zeroizing::new([0; N]);
    let mut at = 0;
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let mut digit = u8::try_from(c.to_digit(16)?).ok()?;
        let byte = value.get_mut(at / 2)?;
        *byte = *byte << 4 | digit;
        digit.zeroize();
        at += 1;
    }
    (at == 2 * N).then_some(value)
}
