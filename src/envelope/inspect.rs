//! What an envelope says of itself to anyone.

use super::core::Core;
use super::slots;
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

/// Reads the header of an envelope, which needs no key and no token.
///
/// # Errors
/// `NotAnEnvelope` where it is none or is damaged, `Io` where reading fails.
pub fn inspect(source: &mut impl Read) -> Result<Inspection> {
    let core = Core::read(source)?;
    let area = core.read_slots(source)?;
    let half = match core.detached {
        true => None,
        false => Some(slots::current(&area)?.ok_or_else(slots::no_valid_half)?.half),
    };
    let entry = |bytes: &Vec<u8>| match WrappedKey::parse(bytes) {
        Ok(key) => InspectedEntry::Known(key),
        Err(_) => InspectedEntry::Unknown { len: bytes.len() },
    };
    Ok(Inspection {
        message_id: core.message_id,
        header_len: core.body_at(),
        slots_len: u32::try_from(core.slots_len).unwrap_or(u32::MAX),
        detached: core.detached,
        generation: half.as_ref().map(|half| half.generation),
        entries: half.iter().flat_map(|half| &half.entries).map(entry).collect(),
        context: core.context,
    })
}
