//! SLOTS: the wrapped keys, in two halves of which one is current.

use super::malformed;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{WrappedKey, WrappedKeys};
use sha2::{Digest, Sha256};

/// What a half has beside its entries: generation, count, used and digest.
pub(super) const HALF_OVERHEAD: usize = 4 + 2 + 2 + DIGEST_LEN;
const DIGEST_LEN: usize = 16;
const FIELDS_LEN: usize = 8;

/// One half: a generation and the entries of that generation, which are opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) generation: u32,
    pub(super) entries: Vec<Vec<u8>>,
}

impl Half {
    /// The first half of a new envelope.
    pub(super) fn first(keys: &WrappedKeys) -> Self {
        Self { generation: 1, entries: keys.iter().map(WrappedKey::to_bytes).collect() }
    }

    /// How many bytes it needs.
    pub(super) fn len(&self) -> usize {
        HALF_OVERHEAD + self.used()
    }

    fn used(&self) -> usize {
        self.entries.iter().map(|entry| 2 + entry.len()).sum()
    }

    /// The next generation with other entries.
    pub(super) fn successor(&self, entries: Vec<Vec<u8>>) -> Result<Self> {
        let generation = self.generation.checked_add(1).ok_or_else(|| {
            Error::new(
                ErrorKind::LimitExceeded,
                "the envelope's slots were rewritten 4294967295 times and cannot be again",
            )
            .with_hint("re-encrypt the file to start from the beginning")
        })?;
        Ok(Self { generation, entries })
    }

    /// The half in `len` bytes, padded with zeros.
    pub(super) fn encode(&self, len: usize) -> Result<Vec<u8>> {
        let does_not_fit = || {
            Error::new(ErrorKind::LimitExceeded, "the wrapped keys do not fit into the envelope's slots")
                .with_hint("re-encrypt the file, which makes room for them")
        };
        if self.len() > len || self.entries.is_empty() || self.entries.len() > WrappedKeys::MAX {
            return Err(does_not_fit());
        }
        let u16_of = |n: usize| u16::try_from(n).map(u16::to_be_bytes).map_err(|_| does_not_fit());
        let mut out = Vec::with_capacity(len);
        out.extend(self.generation.to_be_bytes());
        out.extend(u16_of(self.entries.len())?);
        out.extend(u16_of(self.used())?);
        for entry in &self.entries {
            out.extend(u16_of(entry.len())?);
            out.extend(entry);
        }
        let digest = Sha256::digest(&out);
        out.extend(&digest[..DIGEST_LEN]);
        out.resize(len, 0);
        Ok(out)
    }

    /// The half in `bytes`; `None` where it is torn, or was never one.
    ///
    /// The digest only tells a torn write from a whole one. Who can write can compute it: what
    /// authenticates the entries is their wrapping, and the body's commitment.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk::<FIELDS_LEN>()?;
        let [g0, g1, g2, g3, c0, c1, u0, u1] = *fields;
        let generation = u32::from_be_bytes([g0, g1, g2, g3]);
        let count = usize::from(u16::from_be_bytes([c0, c1]));
        let used = usize::from(u16::from_be_bytes([u0, u1]));
        if generation == 0 || count == 0 || count > WrappedKeys::MAX || bytes.len() < used + HALF_OVERHEAD {
            return None;
        }
        let (mut listed, rest) = rest.split_at_checked(used)?;
        let (digest, padding) = rest.split_first_chunk::<DIGEST_LEN>()?;
        let expected = Sha256::digest(&bytes[..FIELDS_LEN + used]);
        if expected[..DIGEST_LEN] != digest[..] || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (len, tail) = listed.split_first_chunk::<2>()?;
            let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
            entries.push(entry.to_vec());
            listed = tail;
        }
        listed.is_empty().then_some(Self { generation, entries })
    }
}

/// The current half of a SLOTS area, and where it is.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) half: Half,
    /// 0 for A, 1 for B.
    pub(super) position: usize,
    /// Whether the other half is all zeros.
    pub(super) other_is_empty: bool,
}

/// Where the halves of a SLOTS area of this length are.
pub(super) fn half_len(slots_len: usize) -> usize {
    slots_len / 2
}

/// The valid half with the highest generation; `None` where neither is valid, which a reader
/// without a lock may see for a moment.
pub(super) fn current(slots: &[u8]) -> Result<Option<Current>> {
    let len = half_len(slots.len());
    let (a, rest) = slots.split_at(len);
    let (b, odd) = rest.split_at(len);
    if odd.iter().any(|byte| *byte != 0) {
        return Err(malformed("malformed slots: the odd last byte is not zero"));
    }
    let empty = |half: &[u8]| half.iter().all(|byte| *byte == 0);
    let chosen = match (Half::decode(a), Half::decode(b)) {
        (None, None) => return Ok(None),
        (Some(half), None) => Current { half, position: 0, other_is_empty: empty(b) },
        (None, Some(half)) => Current { half, position: 1, other_is_empty: empty(a) },
        (Some(a), Some(b)) if a.generation == b.generation && a != b => {
            return Err(malformed("malformed slots: two different halves of one generation"));
        }
        (Some(a), Some(b)) if a.generation >= b.generation => Current { half: a, position: 0, other_is_empty: false },
        (Some(_), Some(b)) => Current { half: b, position: 1, other_is_empty: false },
    };
    Ok(Some(chosen))
}

/// Neither half is valid.
pub(super) fn no_valid_half() -> Error {
    malformed("malformed slots: neither half is whole")
}

/// The wrapped keys of an envelope, kept apart from it: in a sidecar, for stores that cannot change
/// a part of an object.
///
/// One half of exactly the needed length. Whoever stores it must replace it as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedSlots {
    bytes: Vec<u8>,
    half: Half,
}

impl DetachedSlots {
    /// Parses [`as_bytes`](Self::as_bytes), strictly.
    ///
    /// # Errors
    /// `NotAnEnvelope` where it is no half of exactly its length.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        match Half::decode(&bytes) {
            Some(half) if half.len() == bytes.len() => Ok(Self { bytes, half }),
            _ => Err(malformed("malformed detached slots")),
        }
    }

    pub(super) fn from_half(half: Half) -> Result<Self> {
        Ok(Self { bytes: half.encode(half.len())?, half })
    }

    pub(super) fn half(&self) -> &Half {
        &self.half
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How often the slots were written, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.half.generation
    }
}
