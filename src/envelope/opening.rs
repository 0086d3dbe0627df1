//! What opening an envelope has confirmed.

use super::inspect::InspectedEntry;
use super::slots::SlotCopy;
use crate::key::{KekId, KeyDescription, KeyName, UnwrappedKey, WrapOccasion, WrappedKey, WrappingAlgorithm};

/// The facts that opening an envelope has confirmed: what a decision about it may rest on.
///
/// If a symmetric key opened it, a holder of the data key has written the other entries and the generation: the tag
/// over the slots says so. That includes everyone who ever opened the file and kept its data key. If an RSA key opened
/// it, they are no more than claims of its writer, who needs no secret at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// The entry that opened.
    pub entry: UnwrappedEntry,
    /// The other entries, which were not asked for.
    pub other_entries: Vec<InspectedEntry>,
    /// How often the slots were written, counted from 1.
    pub generation: u32,
}

/// The entry that opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnwrappedEntry {
    /// The id of the KEK, zeros for a customer's own key.
    pub kek_id: KekId,
    /// What opened it.
    pub algorithm: WrappingAlgorithm,
    /// When the data key was wrapped. Authentic for symmetric keys alone.
    pub occasion: WrapOccasion,
    /// The version of a master key that unwrapped it, or `None` for a customer's own key.
    pub key: Option<KeyDescription>,
}

impl UnwrappedEntry {
    pub(super) fn of(unwrapped: UnwrappedKey) -> Self {
        let UnwrappedKey { wrapped, key, .. } = unwrapped;
        Self { key: Some(key), ..Self::of_customer(&wrapped) }
    }

    pub(super) fn of_customer(wrapped: &WrappedKey) -> Self {
        let (kek_id, algorithm, occasion) = (wrapped.kek_id(), wrapped.algorithm(), wrapped.occasion());
        Self { kek_id, algorithm, occasion, key: None }
    }

    /// Returns the name of the master key, or `None` for a customer's own key.
    #[must_use]
    pub fn name(&self) -> Option<&KeyName> {
        self.key.as_ref().map(|key| &key.name)
    }

    /// Returns the version whose being current when the data key was made is proven: only a symmetric entry that was
    /// wrapped when its data key was generated proves that.
    #[must_use]
    pub fn proven_generation_key(&self) -> Option<&KeyDescription> {
        let proves = !self.algorithm.is_rsa() && self.occasion == WrapOccasion::Generation;
        self.key.as_ref().filter(|_| proves)
    }
}

impl Opening {
    /// `index` is that of the entry which opened.
    pub(super) fn new(entry: UnwrappedEntry, copy: &SlotCopy, index: usize) -> Self {
        let others = copy.entries.iter().enumerate().filter(|(other, _)| *other != index);
        let other_entries = others.map(|(_, bytes)| InspectedEntry::of(bytes)).collect();
        Self { entry, other_entries, generation: copy.generation }
    }

    /// Returns whether only holders of the data key can have written the slots: whether a symmetric key opened them.
    #[must_use]
    pub fn slots_are_authentic(&self) -> bool {
        !self.entry.algorithm.is_rsa()
    }
}
