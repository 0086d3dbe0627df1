//! Backups, and the test that they are.

use super::Engine;
use super::keys::{canary_fact, hex};
use crate::audit::{Hash, Id};
use crate::ceremony::entry::Fact;
use crate::ceremony::name::Name;
use crate::ceremony::plan::{BackupMethod, ExportMechanism, PlannedKey};
use crate::ceremony::step::{StepId, StepKind};
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::backup::{TransportKey, trusted_wrap};
use crate::hsm::{self, HsmProvider};
use crate::key::{KekId, KeyName, Operation, WrappingAlgorithm};

impl Engine<'_> {
    pub(super) fn back_up(&mut self, name: &KeyName, second: &Name) -> Result<Vec<Fact>> {
        let key = self.planned_key(name)?;
        let hsm = self.hsm(second)?;
        let id = self.backup_id(&key, second)?;
        (self.admit)(Operation::CreateKey, name, &hsm)?;
        match key.backup.method {
            BackupMethod::Sibling => {
                hsm.create_planned(&self.wanted(&key, id))?;
                let canary = self.told_canary(&canary_step(&key), &key.token)?;
                let both = self.hsm(&key.token)?.canary_for(&canary, &hsm, id)?;
                return Ok(vec![self.key_fact(second, &hsm, id)?, canary_fact(second, &both)]);
            }
            // It came when it was made. Nothing comes under this key any more.
            BackupMethod::TrustedWrap => TransportKey::remove(hsm.token(), self.transport_id(&key, second)?)?,
            BackupMethod::ImportedComponents => self.import(&hsm, &key, &self.wanted(&key, id))?,
            // People did it, with the vendor's tool.
            BackupMethod::HsmClone | BackupMethod::None => {}
        }
        Ok(vec![self.key_fact(second, &hsm, id)?])
    }

    /// A sibling is a key of its own; a copy has the id of what it is a copy of, by which envelopes find it.
    fn backup_id(&self, key: &PlannedKey, second: &Name) -> Result<KekId> {
        match key.backup.method {
            BackupMethod::Sibling => {
                let step = StepKind::BackUp { key: key.name.clone(), token: second.clone() };
                self.id_of(second, &step.id())
            }
            _ => self.key_id(key),
        }
    }

    fn transport_id(&self, key: &PlannedKey, second: &Name) -> Result<KekId> {
        self.id_of(second, &StepId::from(format!("key/{}/transport", key.name)))
    }

    /// Makes a key that is exported while it is made, under a transport key that the officer trusts.
    pub(super) fn export(&mut self, hsm: &HsmProvider, key: &PlannedKey, wanted: &hsm::PlannedKey) -> Result<Fact> {
        let (Some(second), Some(mechanism)) = (key.backup.token.clone(), key.backup.mechanism) else {
            return Err(Error::new(ErrorKind::Internal, "the plan does not say how the key is exported"));
        };
        let officer = self.planned_token(&key.token)?.officer.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the plan names no officer of the token '{}'", key.token))
        })?;
        let backup = self.hsm(&second)?;
        let transport = TransportKey::create(backup.token(), self.transport_id(key, &second)?)?;
        let transport = transport.only(match mechanism {
            ExportMechanism::RsaOaep => WrappingAlgorithm::RsaOaep,
            ExportMechanism::RsaOaepSha1 => WrappingAlgorithm::RsaOaepSha1,
        })?;
        let fingerprint = transport.public().fingerprint()?;
        if !self.room.trusts(&officer, &second, &fingerprint)? {
            return Err(Error::new(ErrorKind::KeyAttributes, "the officer does not trust the transport key"));
        }
        trusted_wrap(hsm, &backup, wanted, &transport, &fingerprint)?;
        Ok(Fact::Exported {
            token: second,
            id: Id::from_bytes(*wanted.kek_id.as_bytes()),
            mechanism: mechanism.name().to_owned(),
            fingerprint,
            trusted_by: officer,
        })
    }

    /// What was wrapped before is opened with the second token alone.
    pub(super) fn restore(&mut self, name: &KeyName, second: &Name) -> Result<Vec<Fact>> {
        let key = self.planned_key(name)?;
        let canary = match key.backup.method {
            BackupMethod::Sibling => {
                let step = StepKind::BackUp { key: name.clone(), token: second.clone() };
                self.told_canary(&step, second)?
            }
            _ => self.told_canary(&canary_step(&key), &key.token)?,
        };
        self.hsm(second)?.open_canary(&canary)?;
        Ok(vec![Fact::Restored {
            token: second.clone(),
            id: Id::from_bytes(*canary.kek_id().as_bytes()),
            digest: Hash::from_bytes(canary.digest()),
        }])
    }

    /// All objects of a token.
    pub(super) fn objects(&mut self, name: &Name) -> Result<Fact> {
        let objects = self.hsm(name)?.objects()?.into_iter().map(|object| crate::ceremony::entry::ObjectFact {
            class: object.class.to_owned(),
            label: object.label,
            id: hex(&object.id),
            extractable: object.extractable,
        });
        Ok(Fact::Inventory { token: name.clone(), objects: objects.collect() })
    }
}

fn canary_step(key: &PlannedKey) -> StepKind {
    StepKind::Canary { key: key.name.clone(), token: key.token.clone() }
}
