//! Protecting on several tokens, each under a master key of its own.

use super::Failover;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyProvider, WrappedKeys};
use crate::provider::members::Outage;
use std::collections::BTreeMap;

/// What siblings wrapped, by their place in the list.
pub(super) type Slots = BTreeMap<usize, WrappedKeys>;

impl<P: KeyProvider + 'static> Failover<P> {
    /// Adds to `slots` what `wrap` gives on every sibling that has none there and is not down.
    pub(super) fn on_siblings(
        &self,
        mut slots: Slots,
        mut wrap: impl FnMut(&P) -> Result<WrappedKeys>,
    ) -> Result<WrappedKeys> {
        let mut outage = Outage::default();
        let mut passed_over = Vec::new();
        let mut ask = |index, slots: &mut Slots, outage: &mut Outage| {
            let member = &self.members[index];
            match self.members.call(member, &mut wrap) {
                Ok(wrapped) => {
                    slots.insert(index, wrapped);
                    Ok(())
                }
                Err(error) if error.kind().is_unavailable() => {
                    outage.add(index, &member.name, error);
                    Ok(())
                }
                // To leave it out would go unnoticed until its token is the only one left.
                Err(error) => Err(of_member(&member.name, error)),
            }
        };
        for (index, member) in self.members.iter().enumerate() {
            if slots.contains_key(&index) {
                continue;
            }
            match self.members.passes_over(member) {
                true => passed_over.push(index),
                false => ask(index, &mut slots, &mut outage)?,
            }
        }
        for index in passed_over {
            // They are tried where they are needed, so that nobody is refused on the word of an
            // earlier call alone.
            match slots.len() < self.required {
                true => ask(index, &mut slots, &mut outage)?,
                false => outage.add(index, &self.members[index].name, self.members[index].outage()),
            }
        }
        if slots.len() < self.required {
            return Err(too_few(slots.len(), self.required, &outage));
        }
        for (index, member) in self.members.iter().enumerate() {
            if !slots.contains_key(&index) {
                member.tell_of_protecting_without();
            }
        }
        WrappedKeys::new(slots.into_values().flat_map(WrappedKeys::into_vec).collect())
    }
}

/// An error with the name of the member that it is of.
pub(super) fn of_member(member: &str, error: Error) -> Error {
    let message = format!("{member}: {error}");
    error.with_message(message)
}

fn too_few(wrapped: usize, required: usize, outage: &Outage) -> Error {
    let down = outage.describe();
    let message = match down.is_empty() {
        true => format!("{wrapped} siblings wrapped the data key, and {required} are required; there are no more"),
        false => format!("{wrapped} siblings wrapped the data key, and {required} are required; down are {down}"),
    };
    Error::new(ErrorKind::TokenUnavailable, message)
}
