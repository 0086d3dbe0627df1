//! The one place that calls `vsss-rs`, and what it leaves in memory.

use crate::error::{Error, ErrorKind, Result};
use getrandom::rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

/// The values of the shares with the indices 1, 2, … of these bytes.
///
/// The crate draws new coefficients for each byte into memory that it does not wipe, so that those of the last byte are
/// left there. The last byte of what is split here is random padding.
pub(super) fn split(
    secret: &[u8],
    threshold: u8,
    shares: u8,
    mut random: impl FnMut(&mut [u8]) -> Result<()>,
) -> Result<Vec<Zeroizing<Vec<u8>>>> {
    // A generator may fail, the crate's may not: all that is needed is drawn before.
    let mut drawn = Zeroizing::new(vec![0; secret.len() * usize::from(threshold - 1)]);
    random(&mut drawn)?;
    let mut rng = Drawn { bytes: &drawn, used: 0 };
    let points = Gf256::split_bytes(usize::from(threshold), usize::from(shares), secret, &mut rng);
    let points = points.map_err(|_| internal())?.into_iter().map(Zeroizing::new);
    let used_up = rng.used == drawn.len();
    let points: Vec<Zeroizing<Vec<u8>>> = points.collect();
    // Neither fewer coefficients than were drawn for, nor zeros in place of more.
    let sound = used_up && points.iter().zip(1_u8..).all(|(point, index)| point.first() == Some(&index));
    if !sound {
        return Err(internal());
    }
    Ok(points.iter().map(|point| Zeroizing::new(point[1..].to_vec())).collect())
}

/// The bytes that these points give: the index first, then the value.
pub(super) fn combine(points: &[Vec<u8>]) -> Result<Zeroizing<Vec<u8>>> {
    Gf256::combine_bytes(points).map(Zeroizing::new).map_err(|_| internal())
}

fn internal() -> Error {
    Error::new(ErrorKind::Internal, "the shares could not be computed")
}

/// Random bytes that were drawn before, one for each coefficient.
struct Drawn<'a> {
    bytes: &'a [u8],
    used: usize,
}

impl Drawn<'_> {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.used).copied();
        // One too many is noticed by whoever made this.
        self.used += 1;
        byte.unwrap_or(0)
    }
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    /// GF(256) takes the lowest byte.
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.byte().into())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.byte().into())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.byte());
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}
