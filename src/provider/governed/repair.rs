//! Repairing what interrupted changes left, past the two traits.

use super::Governed;
use super::asked::Asked;
use crate::audit::EventKey;
use crate::error::Result;
use crate::hsm::{HsmProvider, Leftover, Repair};
use crate::key::{KeyName, KeyProvider, KeyRef, KeyVersion};
use crate::policy::Resource;
use std::borrow::Borrow;

impl<P: KeyProvider + Borrow<HsmProvider>> Governed<P> {
    /// Repairs as [`HsmProvider::repair`] does. Each leftover is decided about by itself, as the operation that
    /// [`Leftover::operation`] names, and recorded with its outcome.
    ///
    /// # Errors
    /// As [`HsmProvider::repair`]. The outcomes hold the errors of every operation.
    pub fn repair(&self, listed: &[Leftover]) -> Result<Vec<Repair>> {
        self.inner.borrow().repair_each(listed, |leftover, work| {
            // What is left alone asks for nothing.
            let Some(operation) = leftover.operation() else { return work() };
            let (asked, name) = (Asked::of(operation), leftover.key_name()?);
            let key = event_key(leftover, &name);
            self.decide_about(asked, leftover, &name).map_err(|error| self.refused(asked, [key.clone()], error))?;
            self.recorded(asked, vec![key], &[], work, |()| Vec::new())
        })
    }

    fn decide_about(&self, asked: Asked<'_>, leftover: &Leftover, name: &KeyName) -> Result<()> {
        if self.decide(asked, Resource::Named(name))? {
            return Ok(());
        }
        match leftover {
            Leftover::Unfinished(key) | Leftover::StillActive(key) => self.decide(asked, Resource::Key(key)),
            // Of a key that is gone nothing but its name is known: then it is refused.
            _ => self.decide(asked, Resource::Key(&self.inner.describe_key(KeyRef::Name(name))?)),
        }
        .map(drop)
    }
}

fn event_key(leftover: &Leftover, name: &KeyName) -> EventKey {
    match leftover {
        Leftover::Unfinished(key) | Leftover::StillActive(key) => key.into(),
        Leftover::Orphan { label, kek_id }
        | Leftover::Records { label, kek_id }
        | Leftover::Claim { label, kek_id } => {
            let version = label.rsplit_once(':').and_then(|(_, version)| version.parse::<KeyVersion>().ok());
            EventKey::new(Some(*kek_id), Some(name), version)
        }
        _ => name.into(),
    }
}
