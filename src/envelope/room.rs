//! How much may still be encrypted where a caller said how much there would be at most.

use crate::error::{Error, ErrorKind, Result};

/// What is left of it. Once there was too much it stays that way, and the envelope gets no end: its data key may be
/// shared with others, and was counted for less.
#[derive(Debug)]
pub(super) enum Room {
    Unlimited,
    Left(u64),
    Exceeded,
}

impl Room {
    pub(super) fn of(max_len: Option<u64>) -> Self {
        max_len.map_or(Self::Unlimited, Self::Left)
    }

    /// Before so much is taken.
    pub(super) fn check_for(&mut self, len: usize) -> Result<()> {
        if matches!(self, Self::Left(left) if len as u64 > *left) {
            *self = Self::Exceeded;
        }
        self.check()
    }

    /// So much was taken.
    pub(super) fn take(&mut self, len: usize) -> Result<()> {
        self.check_for(len)?;
        if let Self::Left(left) = self {
            *left -= len as u64;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Exceeded => {
                Err(Error::new(ErrorKind::LimitExceeded, "there is more plaintext than was said there would be"))
            }
            _ => Ok(()),
        }
    }
}
