//! Randomness of the host.

use crate::error::{Error, ErrorKind, Result};

/// Fills `bytes` from the operating system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, "the operating system's random generator failed").with_source(error)
    })
}
