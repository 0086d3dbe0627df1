//! CORE: the part of an envelope that never changes.

use super::malformed;
use crate::cipher::random;
use crate::error::{Error, ErrorKind, Result};
use crate::key::EncryptionContext;
use std::io::Read;

const MAGIC: [u8; 8] = *b"\x89KWE\r\n\x1a\n";
const SUITE_COBBLESTONE_256: u16 = 1;
const FLAG_DETACHED: u16 = 1;
/// What comes before the encryption context.
pub(super) const FIXED_LEN: usize = 34;

/// The shortest and longest SLOTS area of a file that holds its own slots.
pub(super) const SLOTS_LEN: std::ops::RangeInclusive<u32> = 256..=65536;

/// CORE, parsed and as it stands in the file.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) message_id: [u8; 16],
    pub(super) detached: bool,
    pub(super) slots_len: usize,
    pub(super) context: EncryptionContext,
    bytes: Vec<u8>,
}

impl Core {
    /// CORE of a new envelope, with a random message id.
    pub(super) fn new(detached: bool, slots_len: u32, context: &EncryptionContext) -> Result<Self> {
        let mut message_id = [0; 16];
        random(&mut message_id)?;
        let serialized = context.to_bytes();
        // A context is at most 8192 bytes long.
        let context_len = u16::try_from(serialized.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(FIXED_LEN + serialized.len());
        bytes.extend(MAGIC);
        bytes.extend(SUITE_COBBLESTONE_256.to_be_bytes());
        bytes.extend((if detached { FLAG_DETACHED } else { 0 }).to_be_bytes());
        bytes.extend(message_id);
        bytes.extend(slots_len.to_be_bytes());
        bytes.extend(context_len.to_be_bytes());
        bytes.extend(serialized);
        Self::read(&mut &bytes[..])
    }

    /// Reads CORE and nothing beyond it, strictly.
    pub(super) fn read(source: &mut impl Read) -> Result<Self> {
        let mut bytes = vec![0; FIXED_LEN];
        let magic_len = read_up_to(source, &mut bytes[..MAGIC.len()])?;
        if magic_len < MAGIC.len() || bytes[..MAGIC.len()] != MAGIC {
            return Err(malformed("not a Keyward envelope"));
        }
        if read_up_to(source, &mut bytes[MAGIC.len()..])? < FIXED_LEN - MAGIC.len() {
            return Err(truncated());
        }
        let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let suite = u16_at(8);
        if suite != SUITE_COBBLESTONE_256 {
            return Err(malformed(format!("this version of Keyward does not know suite {suite} of the envelope"))
                .with_hint("a newer version may"));
        }
        let flags = u16_at(10);
        if flags & !FLAG_DETACHED != 0 {
            return Err(malformed(format!(
                "this version of Keyward does not know the flags {flags:#06x} of the envelope"
            ))
            .with_hint("a newer version may"));
        }
        let detached = flags & FLAG_DETACHED != 0;
        let mut message_id = [0; 16];
        message_id.copy_from_slice(&bytes[12..28]);
        let slots_len = u32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        let least = if detached { 0 } else { *SLOTS_LEN.start() };
        if slots_len < least || slots_len > *SLOTS_LEN.end() {
            return Err(malformed(format!("malformed envelope: a slots length of {slots_len}")));
        }
        let context_len = usize::from(u16_at(32));
        if context_len > EncryptionContext::MAX_LEN {
            return Err(malformed("malformed encryption context: too long"));
        }
        bytes.resize(FIXED_LEN + context_len, 0);
        if read_up_to(source, &mut bytes[FIXED_LEN..])? < context_len {
            return Err(truncated());
        }
        let context = EncryptionContext::parse(&bytes[FIXED_LEN..])?;
        let slots_len = usize::try_from(slots_len).map_err(|_| malformed("malformed envelope: slots length"))?;
        Ok(Self { message_id, detached, slots_len, context, bytes })
    }

    /// Reads the SLOTS area that follows CORE.
    pub(super) fn read_slots(&self, source: &mut impl Read) -> Result<Vec<u8>> {
        let mut slots = vec![0; self.slots_len];
        if read_up_to(source, &mut slots)? < self.slots_len {
            return Err(truncated());
        }
        Ok(slots)
    }

    /// The bytes that are bound.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where SLOTS begin.
    pub(super) fn slots_at(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where BODY begins.
    pub(super) fn body_at(&self) -> u64 {
        self.slots_at() + self.slots_len as u64
    }
}

/// The file ends before its header does.
pub(super) fn truncated() -> Error {
    malformed("truncated: the file ends within the envelope's header")
}

pub(super) fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    super::body::read_full(source, buffer).map_err(|error| Error::io("cannot read the envelope", error))
}

/// The length of a new envelope's SLOTS area: as asked for, or twice what its entries need and no
/// less than 2048.
pub(super) fn choose_slots_len(asked: Option<u32>, half: usize) -> Result<u32> {
    let too_small = || {
        Error::new(
            ErrorKind::LimitExceeded,
            format!("the wrapped keys do not fit: each half of SLOTS needs {half} bytes"),
        )
        .with_hint("use fewer keys or a larger slots length; the largest is 65536")
    };
    // Two halves, and each with room for as much again.
    let wanted = u32::try_from(half.saturating_mul(4)).unwrap_or(u32::MAX).clamp(2048, *SLOTS_LEN.end());
    let chosen = asked.unwrap_or(wanted);
    if !SLOTS_LEN.contains(&chosen) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a slots length of {chosen} is not within 256 and 65536"),
        ));
    }
    if (chosen / 2) as usize >= half { Ok(chosen) } else { Err(too_small()) }
}
