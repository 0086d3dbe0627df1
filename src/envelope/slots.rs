//! SLOTS: the wrapped keys, in two slot copies of which one is active.

mod tag;

use super::core::read_up_to;
use super::malformed;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{WrappedKey, WrappedKeys};
use sha2::{Digest, Sha256};
use std::io::Read;
pub(super) use tag::SlotsKey;
use tag::TAG_LEN;

/// The length of everything in a slot copy but its entries: generation, count, used, tag and digest.
pub(super) const OVERHEAD: usize = FIELDS_LEN + TAG_LEN + DIGEST_LEN;
const FIELDS_LEN: usize = 8;
const DIGEST_LEN: usize = 16;

/// One slot copy: a generation and its entries, which are opaque here, and the tag over both.
///
/// The tag is checked once an entry has opened. Until then everything here is a claim of the writer of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotCopy {
    pub(super) generation: u32,
    pub(super) entries: Vec<Vec<u8>>,
    tag: [u8; TAG_LEN],
}

impl SlotCopy {
    /// Returns the first slot copy of a new envelope.
    pub(super) fn first(keys: &WrappedKeys, key: &SlotsKey) -> Result<Self> {
        Self::tagged(1, keys.iter().map(WrappedKey::to_bytes).collect(), key)
    }

    /// Returns the next generation with other entries.
    pub(super) fn successor(&self, entries: Vec<Vec<u8>>, key: &SlotsKey) -> Result<Self> {
        let generation = self.generation.checked_add(1).ok_or_else(|| {
            Error::new(
                ErrorKind::LimitExceeded,
                "the envelope's slots were rewritten 4294967295 times and cannot be again",
            )
            .with_hint("re-encrypt the file to start from the beginning")
        })?;
        Self::tagged(generation, entries, key)
    }

    fn tagged(generation: u32, entries: Vec<Vec<u8>>, key: &SlotsKey) -> Result<Self> {
        let mut copy = Self { generation, entries, tag: [0; TAG_LEN] };
        copy.tag = key.tag(&copy.listed()?)?;
        Ok(copy)
    }

    /// Checks the tag: whether the writer of this slot copy knew the data key.
    ///
    /// # Errors
    /// `NotAuthentic`.
    pub(super) fn check(&self, key: &SlotsKey) -> Result<()> {
        key.check(&self.listed()?, &self.tag)
    }

    /// Returns its length without padding.
    pub(super) fn len(&self) -> usize {
        OVERHEAD + used(self.entries.iter().map(Vec::len))
    }

    /// Returns its length in a compact envelope: without digest.
    pub(super) fn compact_len(&self) -> usize {
        self.len() - DIGEST_LEN
    }

    /// Returns the bytes that the tag covers: from the generation to the last entry.
    fn listed(&self) -> Result<Vec<u8>> {
        if self.entries.is_empty() || self.entries.len() > WrappedKeys::MAX {
            return Err(does_not_fit());
        }
        let u16_of = |n: usize| u16::try_from(n).map(u16::to_be_bytes).map_err(|_| does_not_fit());
        let mut out = Vec::with_capacity(self.len());
        out.extend(self.generation.to_be_bytes());
        out.extend(u16_of(self.entries.len())?);
        out.extend(u16_of(used(self.entries.iter().map(Vec::len)))?);
        for entry in &self.entries {
            out.extend(u16_of(entry.len())?);
            out.extend(entry);
        }
        Ok(out)
    }

    /// Returns the slot copy in `len` bytes, padded with zeros.
    pub(super) fn encode(&self, len: usize) -> Result<Vec<u8>> {
        if self.len() > len {
            return Err(does_not_fit());
        }
        let mut out = self.encode_compact()?;
        let digest = Sha256::digest(&out);
        out.extend(&digest[..DIGEST_LEN]);
        out.resize(len, 0);
        Ok(out)
    }

    /// Returns the slot copy without digest and padding.
    pub(super) fn encode_compact(&self) -> Result<Vec<u8>> {
        let mut out = self.listed()?;
        out.extend(self.tag);
        Ok(out)
    }

    /// Returns the slot copy in `bytes`, or `None` if they are torn, or never were one.
    ///
    /// The digest only tells a torn write from a whole one. An attacker who can write can compute it.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk::<FIELDS_LEN>()?;
        let fields = Fields::parse(*fields)?;
        let (listed, rest) = rest.split_at_checked(fields.used)?;
        let (tag, rest) = rest.split_first_chunk::<TAG_LEN>()?;
        let (digest, padding) = rest.split_first_chunk::<DIGEST_LEN>()?;
        let expected = Sha256::digest(&bytes[..FIELDS_LEN + fields.used + TAG_LEN]);
        if expected[..DIGEST_LEN] != digest[..] || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        fields.entries(listed).map(|entries| Self { generation: fields.generation, entries, tag: *tag })
    }

    /// Reads the one slot copy of a compact envelope, which ends where its own fields say.
    pub(super) fn read_compact(source: &mut impl Read) -> Result<Self> {
        let mut read = |len: usize| {
            let mut bytes = vec![0; len];
            match read_up_to(source, &mut bytes)? == len {
                true => Ok(bytes),
                false => Err(super::core::truncated()),
            }
        };
        let malformed = || malformed("malformed slots: not a slot copy");
        let fields = read(FIELDS_LEN)?;
        let fields = fields.first_chunk().and_then(|fields| Fields::parse(*fields)).ok_or_else(malformed)?;
        let rest = read(fields.used + TAG_LEN)?;
        let (listed, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or_else(malformed)?;
        let entries = fields.entries(listed).ok_or_else(malformed)?;
        Ok(Self { generation: fields.generation, entries, tag: *tag })
    }
}

/// Returns the length of a slot copy with these wrapped keys.
pub(super) fn copy_len<'a>(keys: impl IntoIterator<Item = &'a WrappedKey>) -> usize {
    OVERHEAD + used(keys.into_iter().map(|key| key.to_bytes().len()))
}

/// Returns what entries of these lengths take up with their length prefixes.
fn used(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.map(|len| 2 + len).sum()
}

fn does_not_fit() -> Error {
    Error::new(ErrorKind::LimitExceeded, "the wrapped keys do not fit into the envelope's slots")
        .with_hint("re-encrypt the file, which makes room for them")
}

/// What comes before the entries.
struct Fields {
    generation: u32,
    count: usize,
    used: usize,
}

impl Fields {
    fn parse(bytes: [u8; FIELDS_LEN]) -> Option<Self> {
        let [g0, g1, g2, g3, c0, c1, u0, u1] = bytes;
        let generation = u32::from_be_bytes([g0, g1, g2, g3]);
        let count = usize::from(u16::from_be_bytes([c0, c1]));
        let used = usize::from(u16::from_be_bytes([u0, u1]));
        (generation != 0 && (1..=WrappedKeys::MAX).contains(&count)).then_some(Self { generation, count, used })
    }

    /// Returns the entries, if they are as many as announced and take up exactly `listed`.
    fn entries(&self, mut listed: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut entries = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let (len, tail) = listed.split_first_chunk::<2>()?;
            let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
            entries.push(entry.to_vec());
            listed = tail;
        }
        listed.is_empty().then_some(entries)
    }
}

/// The active slot copy of a SLOTS area, and where it is.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) copy: SlotCopy,
    /// 0 for A, 1 for B.
    pub(super) position: usize,
    /// Whether the other area is all zeros.
    pub(super) other_is_empty: bool,
}

/// Returns the length of each of the two areas for slot copies.
pub(super) fn area_len(slots_len: usize) -> usize {
    slots_len / 2
}

/// Returns the valid slot copy with the higher generation, or `None` if neither is valid, which a reader without a lock
/// may see for a moment.
pub(super) fn active(slots: &[u8]) -> Result<Option<Active>> {
    let len = area_len(slots.len());
    let (a, rest) = slots.split_at(len);
    let (b, odd) = rest.split_at(len);
    if odd.iter().any(|byte| *byte != 0) {
        return Err(malformed("malformed slots: the odd last byte is not zero"));
    }
    let empty = |area: &[u8]| area.iter().all(|byte| *byte == 0);
    let chosen = match (SlotCopy::decode(a), SlotCopy::decode(b)) {
        (None, None) => return Ok(None),
        (Some(copy), None) => Active { copy, position: 0, other_is_empty: empty(b) },
        (None, Some(copy)) => Active { copy, position: 1, other_is_empty: empty(a) },
        (Some(a), Some(b)) if a.generation == b.generation && a != b => {
            return Err(malformed("malformed slots: two different copies of one generation"));
        }
        (Some(a), Some(b)) if a.generation >= b.generation => Active { copy: a, position: 0, other_is_empty: false },
        (Some(_), Some(b)) => Active { copy: b, position: 1, other_is_empty: false },
    };
    Ok(Some(chosen))
}

/// Neither slot copy is valid.
pub(super) fn no_valid_copy() -> Error {
    malformed("malformed slots: neither copy is whole")
}

/// The wrapped keys of an envelope, kept apart from it: in a sidecar, for stores that cannot change a part of an
/// object.
///
/// One slot copy of exactly the needed length. It must be replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedSlots {
    bytes: Vec<u8>,
    copy: SlotCopy,
}

impl DetachedSlots {
    /// Parses [`as_bytes`](Self::as_bytes), strictly.
    ///
    /// # Errors
    /// `NotAnEnvelope` if it is no slot copy of exactly its length.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        match SlotCopy::decode(&bytes) {
            Some(copy) if copy.len() == bytes.len() => Ok(Self { bytes, copy }),
            _ => Err(malformed("malformed detached slots")),
        }
    }

    pub(super) fn from_copy(copy: SlotCopy) -> Result<Self> {
        Ok(Self { bytes: copy.encode(copy.len())?, copy })
    }

    pub(super) fn copy(&self) -> &SlotCopy {
        &self.copy
    }

    /// Returns the bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how often the slots were written, counted from 1, as they claim.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.copy.generation
    }
}
