//! Protecting on several tokens, each under a master key of its own.

use super::Failover;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKey, EncryptionContext, KeyName, KeyProvider, WrappedKey, WrappedKeys};
use crate::provider::members::{AskNext, Outage, keep};
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

    /// The first sibling that may move the data key makes a slot of its own, by its own rules; the
    /// others wrap what is in that slot.
    pub(super) fn rewrap_on_siblings(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
    ) -> Result<WrappedKeys> {
        // What comes through RSA is the source only where nothing else is: it may not move under a
        // symmetric key.
        let (rsa, symmetric): (Vec<_>, Vec<_>) = wrapped.iter().partition(|one| one.algorithm().is_rsa());
        let mut outage = None;
        let mut kept = None;
        for sources in [symmetric, rsa].into_iter().filter(|sources| !sources.is_empty()) {
            match self.members.first(AskNext::Always, |provider| move_first(provider, &sources, context, to)) {
                Ok((index, moved)) => return self.spread(index, moved, context, to),
                Err(error) if error.kind().is_unavailable() => outage = outage.or(Some(error)),
                Err(error) => keep(&mut kept, error),
            }
        }
        Err(outage.or(kept).unwrap_or_else(Error::not_authentic))
    }

    fn spread(&self, first: usize, moved: Moved, context: &EncryptionContext, to: &KeyName) -> Result<WrappedKeys> {
        let Moved { slot, data_key, only_under_rsa } = moved;
        self.on_siblings(BTreeMap::from([(first, slot)]), |provider| {
            let wrapped = provider.wrap_data_key(to, context, &data_key)?;
            // The first sibling was asked about its own key alone. Where that is an RSA key, it has
            // not said that the data key may move under the symmetric key of another.
            if only_under_rsa && wrapped.iter().any(|one| !one.algorithm().is_rsa()) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "this data key is wrapped with RSA, which says nothing about its writer, and '{to}' is a symmetric key here"
                    ),
                )
                .with_hint("name a key that is of one algorithm on all tokens"));
            }
            Ok(wrapped)
        })
    }
}

/// A data key that a sibling moved under a key of its own.
struct Moved {
    slot: WrappedKeys,
    data_key: DataKey,
    /// From RSA to RSA.
    only_under_rsa: bool,
}

/// Moves the first of `sources` that this sibling may move.
fn move_first<P: KeyProvider>(
    provider: &P,
    sources: &[&WrappedKey],
    context: &EncryptionContext,
    to: &KeyName,
) -> Result<Moved> {
    let mut kept = None;
    // One by one: then it is known which of them it was.
    for &source in sources {
        let from = WrappedKeys::from(source.clone());
        let moved = provider.rewrap_data_key(&from, context, to).and_then(|slot| {
            let data_key = match provider.unwrap_data_key(&slot, context) {
                // An RSA key that may only protect here.
                Err(error) if error.kind() == ErrorKind::KeyNotFound => provider.unwrap_data_key(&from, context),
                answer => answer,
            }?;
            let only_under_rsa = source.algorithm().is_rsa() && slot.iter().all(|one| one.algorithm().is_rsa());
            Ok(Moved { slot, data_key, only_under_rsa })
        });
        match moved {
            Err(error) if error.kind().is_unavailable() => return Err(error),
            Err(error) => keep(&mut kept, error),
            moved => return moved,
        }
    }
    Err(kept.unwrap_or_else(Error::not_authentic))
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
