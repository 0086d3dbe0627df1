//! Envelopes in parts, for stores whose objects are written and read piece by piece and whose headers are all of one
//! length.

use super::body::{BodyKey, CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, Work};
use super::core::{Core, FIXED_LEN};
pub(crate) use super::encryptor::NewHead;
use super::encryptor::Placement;
use super::open::Prefix;
use super::opening::Opening;
use super::slots::{self, DetachedSlots, SlotCopy};
use super::{Decryptor, Encryptor, Rewrap, malformed};
use crate::cipher::TAG_LEN;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{EncryptionContext, WrappedKey, WrappingAlgorithm};
use bytes::Bytes;
use std::io::Cursor;

impl Encryptor<'_> {
    /// Begins an envelope whose CORE and SLOTS are together `header_len` bytes long.
    pub(crate) fn begin_parts(&self, context: &EncryptionContext, header_len: u32, detached: bool) -> Result<NewHead> {
        let core_len = FIXED_LEN + context.to_bytes().len();
        let too_long = || {
            Error::new(
                ErrorKind::LimitExceeded,
                format!("the encryption context does not fit into a header of {header_len} bytes"),
            )
            .with_hint("a store with longer headers has room for longer contexts")
        };
        let slots_len =
            u32::try_from(core_len).ok().and_then(|len| header_len.checked_sub(len)).ok_or_else(too_long)?;
        let sized = self.clone().context(context.clone()).slots_len(slots_len);
        if !detached && slots_len < *super::core::SLOTS_LEN.start() {
            return Err(too_long());
        }
        sized.head(self.length_limit(), if detached { Placement::Apart } else { Placement::Inside })
    }
}

/// The header of an envelope, parsed strictly, and what the body's key is checked against.
pub(crate) struct Header {
    core: Core,
    /// The wrapped keys; none where they are kept apart.
    copy: Option<SlotCopy>,
    prefix: Prefix,
    bytes: Bytes,
}

impl Header {
    /// Reads the first `header_len + PREFIX_LEN` bytes of an object.
    pub(crate) fn parse(bytes: &Bytes, header_len: u32) -> Result<Self> {
        let mut source = &bytes[..];
        let core = Core::read(&mut source)?;
        if core.is_compact() {
            return Err(Error::new(ErrorKind::NotAnEnvelope, "a compact envelope, which a store does not hold"));
        }
        let len = core.slots_at() + core.slots_len() as u64;
        if len != u64::from(header_len) {
            return Err(Error::new(
                ErrorKind::NotAnEnvelope,
                format!("an envelope with a header of {len} bytes; all of this store have {header_len}"),
            ));
        }
        let area = core.read_slots(&mut source)?;
        let copy = match core.is_detached() {
            false => Some(slots::active(&area)?.ok_or_else(slots::no_valid_copy)?.copy),
            true if area.iter().all(|byte| *byte == 0) => None,
            true => {
                return Err(malformed("malformed envelope: its slots are detached, and the area for them is not zero"));
            }
        };
        let prefix = Prefix::read(&mut source)?;
        Ok(Self { core, copy, prefix, bytes: bytes.clone() })
    }

    pub(crate) fn message_id(&self) -> [u8; 16] {
        self.core.message_id
    }

    pub(crate) fn context(&self) -> &EncryptionContext {
        &self.core.context
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.core.is_detached()
    }

    /// Returns the wrapped keys as the header claims them, without those that are malformed or of a newer version.
    pub(crate) fn claimed_entries(&self, slots: Option<&DetachedSlots>) -> Result<Vec<WrappedKey>> {
        Ok(self.copy(slots)?.entries.iter().filter_map(|entry| WrappedKey::parse(entry).ok()).collect())
    }

    fn copy<'a>(&'a self, slots: Option<&'a DetachedSlots>) -> Result<&'a SlotCopy> {
        match (&self.copy, slots) {
            (Some(copy), None) => Ok(copy),
            (None, Some(slots)) => Ok(slots.copy()),
            _ => Err(Error::new(ErrorKind::Internal, "wrapped keys from two places, or from none")),
        }
    }

    /// Opens the object: returns the key of the body, checked against its commitment, and what opening has confirmed.
    /// What the context must be is the caller's to check, before.
    pub(crate) fn open(&self, decryptor: &Decryptor<'_>, slots: Option<&DetachedSlots>) -> Result<(BodyKey, Opening)> {
        decryptor.opener.open(decryptor.engine, &self.core, self.copy(slots)?, &self.prefix)
    }

    /// New detached slots; none where there is nothing to change.
    pub(crate) fn rewrap(&self, rewrap: &Rewrap<'_>, slots: &DetachedSlots) -> Result<Option<DetachedSlots>> {
        rewrap.detached(&mut Cursor::new(&self.bytes), slots)
    }
}

/// Whether an entry is of a customer's own key.
pub(crate) fn is_customers(entry: &WrappedKey) -> bool {
    entry.algorithm() == WrappingAlgorithm::CustomerKey
}

/// Seals chunks into `out`, which has exactly the room for them; the last may follow.
pub(crate) fn seal(key: &BodyKey, first: u64, text: &[u8], last: bool, out: &mut [u8]) -> Result<()> {
    let run = Work::Seal(key).run(first, text, last, out);
    run.failed.map_or(Ok(()), Err)
}

/// Opens chunks into `out`, which has exactly the room for them.
pub(crate) fn open(key: &BodyKey, first: u64, sealed: &[u8], last: bool, out: &mut [u8]) -> Result<()> {
    let run = Work::Open(key).run(first, sealed, last, out);
    run.failed.map_or(Ok(()), Err)
}

/// The length of the chunks of so much plaintext; none where no body is so long.
pub(crate) fn sealed_len(text: u64) -> Option<u64> {
    let (chunk, tag) = (CHUNK_LEN as u64, TAG_LEN as u64);
    (text / chunk).checked_mul(SEALED_CHUNK_LEN as u64)?.checked_add(text % chunk + tag)
}

/// The length of the plaintext in so many bytes of chunks; none where no body is so long.
pub(crate) fn text_len(sealed: u64) -> Option<u64> {
    let chunk = SEALED_CHUNK_LEN as u64;
    let rest = (sealed % chunk).checked_sub(TAG_LEN as u64)?;
    (sealed / chunk).checked_mul(CHUNK_LEN as u64)?.checked_add(rest)
}

/// What an object is longer by than its chunks.
pub(crate) fn head_len(header_len: u32) -> u64 {
    u64::from(header_len) + PREFIX_LEN as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_go_both_ways() {
        for text in [0, 1, 16383, 16384, 16385, 10 * 16384 - 1, 10 * 16384, (1 << 52) - 1] {
            assert_eq!(text_len(sealed_len(text).unwrap()), Some(text), "{text}");
        }
        for impossible in [0, 15, 16400, 16400 + 15] {
            assert_eq!(text_len(impossible), None, "{impossible}");
        }
    }
}
