//! PINs of 32 signs that are not taken for one another.

use super::base32::{self, ALPHABET};
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How long a PIN is where a plan does not say: 120 bits.
pub const PIN_LEN: u8 = 24;
/// The shortest PIN, 40 bits: a token that locks after a few wrong ones does with it.
const MIN_LEN: usize = 8;
/// The longest, as five bits of a share say its length.
const MAX_LEN: usize = 32;
/// What is split is this long at least: see the module's documentation.
const MIN_SECRET: usize = 16;

/// A PIN of digits and capital letters without I, L, O and U. It is wiped when dropped.
pub struct SharedPin(Zeroizing<String>);

impl SharedPin {
    /// The PIN that these random bytes make, a character for each: 8 to 32.
    ///
    /// Each character is one of 32 with the same probability.
    ///
    /// # Errors
    /// `InvalidArgument` for fewer or more bytes.
    pub fn from_random(random: &[u8]) -> Result<Self> {
        if !(MIN_LEN..=MAX_LEN).contains(&random.len()) {
            let message = format!("a PIN that is shared has {MIN_LEN} to {MAX_LEN} characters");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let mut pin = Zeroizing::new(String::with_capacity(random.len()));
        pin.extend(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])));
        Ok(Self(pin))
    }

    /// The PIN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn len(&self) -> u8 {
        // 32 at most.
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }

    /// Its characters, five bits each, and random bits after them to the end: in the last byte of the PIN as well, so
    /// that all bits of what is split are unknown.
    pub(super) fn to_secret(&self, mut random: impl FnMut(&mut [u8]) -> Result<()>) -> Result<Zeroizing<Vec<u8>>> {
        let mut packed = base32::decode(&self.0).unwrap_or_default();
        // Allocated at once: what a growing vector leaves behind is not wiped.
        let mut secret = Zeroizing::new(vec![0; secret_len(self.len())]);
        random(&mut secret)?;
        let bits = 5 * self.0.len();
        let (whole, rest) = (bits / 8, bits % 8);
        secret[..whole].copy_from_slice(&packed[..whole]);
        if rest > 0 {
            secret[whole] = packed[whole] | secret[whole] & (0xff >> rest);
        }
        zeroize::Zeroize::zeroize(&mut *packed);
        Ok(secret)
    }

    pub(super) fn from_secret(secret: &[u8], len: u8) -> Result<Self> {
        let packed =
            secret.get(..packed_len(len)).ok_or_else(|| Error::new(ErrorKind::Internal, "a share is short"))?;
        let mut pin = base32::encode(packed);
        pin.truncate(usize::from(len));
        Ok(Self(pin))
    }
}

/// The shares of a PIN do not differ in time.
impl PartialEq for SharedPin {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SharedPin {}

impl fmt::Debug for SharedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPin(…)")
    }
}

fn packed_len(pin_len: u8) -> usize {
    (usize::from(pin_len) * 5).div_ceil(8)
}

/// How long what is split is: the PIN, one byte of padding at least, and 16 bytes in all at least.
pub(super) fn secret_len(pin_len: u8) -> usize {
    (packed_len(pin_len) + 1).max(MIN_SECRET)
}

pub(super) fn is_len(len: u8) -> bool {
    (MIN_LEN..=MAX_LEN).contains(&usize::from(len))
}
