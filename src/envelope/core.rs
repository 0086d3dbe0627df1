//! CORE: the part of an envelope that never changes.

use super::malformed;
use super::slots::SlotCopy;
use crate::cipher::random;
use crate::error::{Error, ErrorKind, Result};
use crate::key::EncryptionContext;
use std::io::Read;

const MAGIC: [u8; 8] = *b"\x89KWE\r\n\x1a\n";
const SUITE_COBBLESTONE_256: u16 = 1;
const FLAG_DETACHED: u16 = 1;
const FLAG_COMPACT: u16 = 2;
/// What comes before the encryption context.
pub(super) const FIXED_LEN: usize = 34;

/// The shortest and longest SLOTS area of a file that holds its own slots.
pub(super) const SLOTS_LEN: std::ops::RangeInclusive<u32> = 320..=65536;

/// Where the wrapped keys of an envelope are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotsForm {
    /// In an area of this length, with room for two copies.
    Attached(u32),
    /// Kept apart from the envelope, which has an area of zeros of this length.
    Detached(u32),
    /// In one slot copy of exactly the needed length.
    Compact,
}

impl SlotsForm {
    fn flags(self) -> u16 {
        match self {
            Self::Attached(_) => 0,
            Self::Detached(_) => FLAG_DETACHED,
            Self::Compact => FLAG_COMPACT,
        }
    }

    /// Returns the slots length that CORE names.
    fn len(self) -> u32 {
        match self {
            Self::Attached(len) | Self::Detached(len) => len,
            Self::Compact => 0,
        }
    }

    fn parse(flags: u16, len: u32) -> Result<Self> {
        let wrong_len = || malformed(format!("malformed envelope: a slots length of {len}"));
        match flags {
            0 if SLOTS_LEN.contains(&len) => Ok(Self::Attached(len)),
            FLAG_DETACHED if len <= *SLOTS_LEN.end() => Ok(Self::Detached(len)),
            FLAG_COMPACT if len == 0 => Ok(Self::Compact),
            0 | FLAG_DETACHED | FLAG_COMPACT => Err(wrong_len()),
            // The two that are known exclude each other.
            3 => Err(malformed("malformed envelope: compact and detached at once")),
            _ => Err(malformed(format!("a newer version of Keyward wrote this envelope: unknown flags {flags:#06x}"))),
        }
    }
}

/// CORE, parsed and as it stands in the file.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) message_id: [u8; 16],
    pub(super) form: SlotsForm,
    pub(super) context: EncryptionContext,
    bytes: Vec<u8>,
}

impl Core {
    /// Returns CORE of a new envelope, with a random message id.
    pub(super) fn new(form: SlotsForm, context: &EncryptionContext) -> Result<Self> {
        let mut message_id = [0; 16];
        random(&mut message_id)?;
        let serialized = context.to_bytes();
        // A context is at most 8192 bytes long.
        let context_len = u16::try_from(serialized.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(FIXED_LEN + serialized.len());
        bytes.extend(MAGIC);
        bytes.extend(SUITE_COBBLESTONE_256.to_be_bytes());
        bytes.extend(form.flags().to_be_bytes());
        bytes.extend(message_id);
        bytes.extend(form.len().to_be_bytes());
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
            return Err(malformed(format!("a newer version of Keyward wrote this envelope: unknown suite {suite}")));
        }
        let mut message_id = [0; 16];
        message_id.copy_from_slice(&bytes[12..28]);
        let slots_len = u32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        let form = SlotsForm::parse(u16_at(10), slots_len)?;
        let context_len = usize::from(u16_at(32));
        if context_len > EncryptionContext::MAX_LEN {
            return Err(malformed("malformed encryption context: too long"));
        }
        bytes.resize(FIXED_LEN + context_len, 0);
        if read_up_to(source, &mut bytes[FIXED_LEN..])? < context_len {
            return Err(truncated());
        }
        let context = EncryptionContext::parse(&bytes[FIXED_LEN..])?;
        Ok(Self { message_id, form, context, bytes })
    }

    /// Reads the area for slots that follows CORE; in a compact envelope there is none.
    pub(super) fn read_slots(&self, source: &mut impl Read) -> Result<Vec<u8>> {
        let mut slots = vec![0; self.slots_len()];
        if read_up_to(source, &mut slots)? < slots.len() {
            return Err(truncated());
        }
        Ok(slots)
    }

    pub(super) fn is_detached(&self) -> bool {
        matches!(self.form, SlotsForm::Detached(_))
    }

    pub(super) fn is_compact(&self) -> bool {
        self.form == SlotsForm::Compact
    }

    /// Returns the length of the area for slots.
    pub(super) fn slots_len(&self) -> usize {
        // At most 65536.
        self.form.len() as usize
    }

    /// The bytes that are bound.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where SLOTS begin.
    pub(super) fn slots_at(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns where BODY begins.
    pub(super) fn body_at(&self, copy: &SlotCopy) -> u64 {
        match self.form {
            SlotsForm::Compact => self.slots_at() + copy.compact_len() as u64,
            SlotsForm::Attached(len) | SlotsForm::Detached(len) => self.slots_at() + u64::from(len),
        }
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
pub(super) fn choose_slots_len(asked: Option<u32>, copy: usize) -> Result<u32> {
    let too_small = || {
        Error::new(ErrorKind::LimitExceeded, format!("the wrapped keys do not fit: each slot copy needs {copy} bytes"))
            .with_hint("use fewer keys or a larger slots length; the largest is 65536")
    };
    // Two copies, and each with room for as much again.
    let wanted = u32::try_from(copy.saturating_mul(4)).unwrap_or(u32::MAX).clamp(2048, *SLOTS_LEN.end());
    let chosen = asked.unwrap_or(wanted);
    if !SLOTS_LEN.contains(&chosen) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a slots length of {chosen} is not within 320 and 65536"),
        ));
    }
    if (chosen / 2) as usize >= copy { Ok(chosen) } else { Err(too_small()) }
}
