//! Logging in to tokens whose PIN is set.

use super::Engine;
use super::pins::Recombined;
use crate::ceremony::name::Name;
use crate::ceremony::plan::{Custody, KeyOrigin};
use crate::ceremony::room::{News, Wanted};
use crate::error::Result;
use crate::hsm::HsmProvider;
use crate::key::{KeyName, Provenance};
use crate::token::{Pin, Token, TokenOptions, TokenUri};
use std::sync::Arc;

impl Engine<'_> {
    /// The provider of a token, which is opened with its PIN where this process has not done so yet.
    pub(super) fn hsm(&mut self, name: &Name) -> Result<Arc<HsmProvider>> {
        if let Some(open) = self.open.get(name) {
            return Ok(Arc::clone(open));
        }
        let pin = match self.planned_token(name)?.custody {
            Custody::Typed { by } => self.user_pin(name, &by)?,
            Custody::Shared { .. } => {
                let Recombined { pin, digests, custodians } = self.recombine(name)?;
                self.record(|journal| journal.unlocked(name, custodians.clone(), digests.clone()))?;
                Pin::new(pin.as_str())
            }
        };
        let uri = self.token(name)?.1;
        self.log_in(name, &uri, pin)
    }

    pub(super) fn user_pin(&mut self, name: &Name, by: &Name) -> Result<Pin> {
        self.room.tell(&News::Opening { token: name, threshold: None });
        self.pin(&Wanted::UserPin { token: name, by })
    }

    pub(super) fn log_in(&mut self, name: &Name, uri: &TokenUri, pin: Pin) -> Result<Arc<HsmProvider>> {
        let token = Token::open_with(uri, TokenOptions::default().pin(pin))?;
        let hsm = Arc::new(HsmProvider::new(token).only(self.names()).accept(self.provenances()));
        self.open.insert(name.clone(), Arc::clone(&hsm));
        Ok(hsm)
    }

    /// The keys that this ceremony makes or destroys, and no others.
    fn names(&self) -> Vec<KeyName> {
        let destroyed = self.plan.destroy.iter().filter_map(|gone| gone.key.split_once(':')?.0.parse().ok());
        self.plan.keys.iter().map(|key| key.name.clone()).chain(destroyed).collect()
    }

    /// The ways in which keys were outside a token once, as far as the plan says so.
    fn provenances(&self) -> Vec<Provenance> {
        let keys = &self.plan.keys;
        let exported = keys.iter().any(|key| key.backup.method.exports()).then_some(Provenance::TrustedWrap);
        let imported = keys.iter().any(|key| key.provenance == KeyOrigin::ImportedComponents);
        exported.into_iter().chain(imported.then_some(Provenance::Components)).collect()
    }
}
