//! What an envelope says of itself to anyone.

use super::core::{Core, SlotsForm};
use super::slots::{self, SlotCopy};
use crate::error::Result;
use crate::key::{EncryptionContext, WrappedKey};
use std::io::Read;

/// What can be read of an envelope without any key. None of it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The message id.
    pub message_id: [u8; 16],
    /// The encryption context.
    pub context: EncryptionContext,
    /// The length of CORE and SLOTS, in bytes: where the body begins.
    pub header_len: u64,
    /// The length of SLOTS, in bytes.
    pub slots_len: u32,
    /// Whether the wrapped keys are kept apart.
    pub detached: bool,
    /// Whether the envelope is compact: with one slot copy of exactly the needed length.
    pub compact: bool,
    /// How often the slots were written; none where they are kept apart.
    pub generation: Option<u32>,
    /// The wrapped keys; none where they are kept apart.
    pub entries: Vec<InspectedEntry>,
}

/// An entry of the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InspectedEntry {
    /// A wrapped key.
    Known(WrappedKey),
    /// Something else: of a newer version of the format, or malformed.
    Unknown {
        /// How many bytes it has.
        len: usize,
    },
}

impl InspectedEntry {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match WrappedKey::parse(bytes) {
            Ok(key) => Self::Known(key),
            Err(_) => Self::Unknown { len: bytes.len() },
        }
    }
}

/// Reads the header of an envelope, which needs no key and no token.
///
/// # Errors
/// `NotAnEnvelope` where it is none or is damaged, `Io` where reading fails.
pub fn inspect(source: &mut impl Read) -> Result<Inspection> {
    let core = Core::read(source)?;
    let copy = match core.form {
        SlotsForm::Detached(_) => core.read_slots(source).map(|_| None)?,
        SlotsForm::Compact => Some(SlotCopy::read_compact(source)?),
        SlotsForm::Attached(_) => {
            Some(slots::active(&core.read_slots(source)?)?.ok_or_else(slots::no_valid_copy)?.copy)
        }
    };
    let compact_len = copy.as_ref().filter(|_| core.is_compact()).map_or(0, SlotCopy::compact_len);
    let slots_len = core.slots_len() + compact_len;
    Ok(Inspection {
        message_id: core.message_id,
        header_len: core.slots_at() + slots_len as u64,
        slots_len: u32::try_from(slots_len).unwrap_or(u32::MAX),
        detached: core.is_detached(),
        compact: core.is_compact(),
        generation: copy.as_ref().map(|copy| copy.generation),
        entries: copy.iter().flat_map(|copy| &copy.entries).map(|bytes| InspectedEntry::of(bytes)).collect(),
        context: core.context,
    })
}
