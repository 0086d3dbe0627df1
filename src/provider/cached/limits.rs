//! How much a cache may keep, how long, and for how many messages.

use crate::error::{Error, ErrorKind, Result};
use std::time::Duration;

/// The limits of a [`Cached`](super::Cached) provider. There are no defaults: each is a price that is paid in
/// security for speed.
///
/// ```
/// use keyward::provider::CacheLimits;
/// use std::time::Duration;
/// let limits = CacheLimits::new(Duration::from_secs(300), 1000, 500)?;
/// assert_eq!(limits.max_messages(), 1000);
/// assert!(CacheLimits::new(Duration::from_secs(300), 1 << 16, 500).is_err(), "more than the format allows");
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    max_age: Duration,
    max_messages: u32,
    max_keys: usize,
}

impl CacheLimits {
    /// The most messages that a kept data key encrypts (`docs/format.md`, "Limits").
    pub const MAX_MESSAGES: u32 = 1 << 15;
    /// The most bytes that a kept data key encrypts, all its messages together: 32 TiB.
    pub const MAX_BYTES: u64 = 1 << 45;
    /// The longest that a data key may be kept: a day.
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
    /// The most data keys that may be kept of each sort, in 2 MiB of locked memory.
    pub const MAX_KEYS: usize = 1 << 16;

    /// A data key is kept for `max_age` at most, encrypts `max_messages` at most, and of the keys for encrypting and
    /// of those for decrypting `max_keys` each are kept at most. With `max_messages` of 1 none is kept for
    /// encrypting.
    ///
    /// # Errors
    /// `InvalidArgument` where one is zero or beyond its maximum: nothing is adjusted in silence.
    pub fn new(max_age: Duration, max_messages: u32, max_keys: usize) -> Result<Self> {
        let refuse = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
        if max_age.is_zero() || max_age > Self::MAX_AGE {
            return refuse(format!("a data key is kept for up to {} s, not for {max_age:?}", Self::MAX_AGE.as_secs()));
        }
        if !(1..=Self::MAX_MESSAGES).contains(&max_messages) {
            return refuse(format!("a data key encrypts 1 to {} messages, not {max_messages}", Self::MAX_MESSAGES));
        }
        if !(1..=Self::MAX_KEYS).contains(&max_keys) {
            return refuse(format!("1 to {} data keys are kept, not {max_keys}", Self::MAX_KEYS));
        }
        Ok(Self { max_age, max_messages, max_keys })
    }

    /// How long a data key is kept.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// How many messages a data key encrypts.
    #[must_use]
    pub fn max_messages(&self) -> u32 {
        self.max_messages
    }

    /// How many data keys are kept for encrypting, and how many for decrypting.
    #[must_use]
    pub fn max_keys(&self) -> usize {
        self.max_keys
    }
}
