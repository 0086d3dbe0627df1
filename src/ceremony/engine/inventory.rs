//! What is on a token in the end, and what is not any more.

use super::Engine;
use super::keys::hex;
use crate::audit::Id;
use crate::ceremony::entry::{Fact, ObjectFact};
use crate::ceremony::name::Name;
use crate::ceremony::step::StepKind;
use crate::error::{ErrorKind, Result};
use crate::hsm::from_hex;
use crate::key::{KekId, KeyName, KeyVersion, Operation};

impl Engine<'_> {
    /// Lists all objects, after whatever an interrupted export may have left was destroyed.
    pub(super) fn inventory(&mut self, name: &Name) -> Result<Vec<Fact>> {
        let keys = self.plan.keys.iter().filter(|key| key.token == *name || key.backup.token.as_ref() == Some(name));
        let ids: Vec<KekId> = keys.map(|key| self.key_id(key)).collect::<Result<_>>()?;
        let sweep = self.hsm(name)?.sweep(&ids)?;
        let note = |object: &crate::hsm::KeyObject| Fact::Note {
            text: format!("'{}' with the id {} was left over and is destroyed", object.label, hex(&object.id)),
        };
        let mut facts: Vec<_> = sweep.destroyed.iter().map(note).collect();
        facts.push(self.objects(name)?);
        Ok(facts)
    }

    /// Destroys a key, or shows that an earlier attempt has.
    pub(super) fn destroy(&mut self, token: &Name, label: &str) -> Result<Vec<Fact>> {
        let (key, version) = label.split_once(':').unwrap_or((label, "1"));
        let (key, version): (KeyName, KeyVersion) = (key.parse()?, version.parse()?);
        let hsm = self.hsm(token)?;
        (self.admit)(Operation::DestroyKey, &key, &hsm)?;
        let absence = match hsm.destroy_with_proof(&key, version) {
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                let id = self.id_before(token, label).ok_or(error)?;
                hsm.prove_absence(&key, version, id)?
            }
            answer => answer?,
        };
        let found: usize = absence.searches.iter().map(|search| search.found).sum();
        Ok(vec![Fact::Destroyed {
            token: token.clone(),
            label: label.to_owned(),
            id: Id::from_bytes(*absence.kek_id.as_bytes()),
            found: u32::try_from(found).unwrap_or(u32::MAX),
        }])
    }

    /// The id of a key that was on a token when it was identified.
    fn id_before(&self, token: &Name, label: &str) -> Option<KekId> {
        let identify = StepKind::IdentifyToken { token: token.clone() }.id();
        let is_key = |object: &&ObjectFact| object.label == label && object.class.ends_with("-key");
        let facts = &self.journal.progress().done(&identify)?.facts;
        facts.iter().find_map(|fact| match fact {
            Fact::Inventory { objects, .. } => KekId::from_cka_id(&from_hex(&objects.iter().find(is_key)?.id)?),
            _ => None,
        })
    }
}
