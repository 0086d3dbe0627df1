//! The data key: what encrypts the bulk of the data, and the one secret this crate holds.

use super::locked::LockedSlot;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use subtle::ConstantTimeEq;

/// How long a data key is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataKeyLength {
    /// 16 bytes, for callers whose own format needs them.
    Bytes16,
    /// 32 bytes: what envelopes use.
    Bytes32,
}

impl DataKeyLength {
    /// The length in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bytes16 => 16,
            Self::Bytes32 => 32,
        }
    }

    /// The length of so many bytes, where it is one of the two.
    #[must_use]
    pub fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            16 => Some(Self::Bytes16),
            32 => Some(Self::Bytes32),
            _ => None,
        }
    }
}

/// A data key: 16 or 32 secret bytes in locked memory, wiped on drop.
///
/// They are left out of core dumps, and a child that the program forks does not have them: to use the key there is a panic.
///
/// It cannot be cloned, serialized, or printed: `Debug` shows its length only. Comparison is in
/// constant time.
pub struct DataKey {
    slot: LockedSlot,
    length: DataKeyLength,
}

impl DataKey {
    /// A key of `length` whose bytes `fill` writes straight into locked memory, so that no copy is
    /// left on the stack or the heap.
    ///
    /// # Errors
    /// That of `fill`; what it wrote is wiped.
    pub fn try_fill(length: DataKeyLength, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self> {
        let mut slot = LockedSlot::new();
        fill(&mut slot.bytes_mut()[..length.bytes()])?;
        Ok(Self { slot, length })
    }

    /// A key of these bytes. The caller's copy stays the caller's to wipe.
    ///
    /// # Errors
    /// `InvalidArgument` where there are not 16 or 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        let length = DataKeyLength::from_bytes(bytes.len())
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "a data key is 16 or 32 bytes long"))?;
        Self::try_fill(length, |slot| {
            slot.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The same key once more, in locked memory of its own, which is wiped when that one is dropped. For what keeps
    /// keys and hands them out again; nobody else has a reason to hold one twice.
    pub(crate) fn duplicate(&self) -> Self {
        let mut slot = LockedSlot::new();
        slot.bytes_mut().copy_from_slice(self.slot.bytes());
        Self { slot, length: self.length }
    }

    /// How long the key is.
    #[must_use]
    pub fn length(&self) -> DataKeyLength {
        self.length
    }

    /// The secret bytes. Do not copy them where they are not wiped.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.slot.bytes()[..self.length.bytes()]
    }
}

impl ConstantTimeEq for DataKey {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.expose_secret().ct_eq(other.expose_secret())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({} bytes, redacted)", self.length.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        let key = DataKey::from_slice(&[0x41; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "DataKey(32 bytes, redacted)");
    }

    #[test]
    fn only_two_lengths() {
        for len in [0, 15, 17, 24, 31, 33] {
            assert!(DataKey::from_slice(&vec![0; len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_duplicate_is_a_key_of_its_own() {
        for length in [16, 32] {
            let key = DataKey::from_slice(&vec![5; length]).unwrap();
            let other = key.duplicate();
            assert_ne!(key.expose_secret().as_ptr(), other.expose_secret().as_ptr());
            drop(key);
            assert_eq!(other.expose_secret(), vec![5; length]);
        }
    }

    #[test]
    fn comparison() {
        let key = |byte| DataKey::from_slice(&[byte; 32]).unwrap();
        assert!(bool::from(key(1).ct_eq(&key(1))));
        assert!(!bool::from(key(1).ct_eq(&key(2))));
        assert!(!bool::from(key(1).ct_eq(&DataKey::from_slice(&[1; 16]).unwrap())));
    }
}
