//! The customer's own key (SSE-C): given with every request, stored nowhere.

use super::{DataKey, DataKeyLength};
use crate::error::{Error, ErrorKind, Result};

/// A 32-byte key that the customer keeps. It encrypts bodies directly, without an envelope.
///
/// It must be 32 uniformly random bytes that are used for nothing else: not a password, not a key
/// of another program.
#[derive(Debug)]
pub struct CustomerKey(DataKey);

impl CustomerKey {
    /// The key of these bytes. The caller's copy stays the caller's to wipe.
    ///
    /// # Errors
    /// `InvalidArgument` where there are not exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != DataKeyLength::Bytes32.bytes() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a customer key is 32 bytes long, not {}", bytes.len()),
            )
            .with_hint("make one with: head -c 32 /dev/urandom > FILE"));
        }
        DataKey::from_slice(bytes).map(Self)
    }

    /// The key as the input key of a body.
    pub(crate) fn as_data_key(&self) -> &DataKey {
        &self.0
    }
}
