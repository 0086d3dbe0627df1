//! PINs that are generated and split among custodians.
//!
//! Shamir's scheme over GF(256), with `vsss-rs`: so many of the shares give the PIN, fewer give nothing at all about
//! it. Its arithmetic has neither tables nor branches that depend on a secret, and its coefficients are uniform.
//!
//! What this is and is not: PKCS#11 has no M of N. The PIN is whole in this program's memory when it is made and
//! whenever it is used, and whoever reads that memory has it. What splitting gives is that no single custodian can use
//! the token, and that some of them may lose their paper.
//!
//! What is split is the PIN and random bits after it, 16 bytes at least. So even the digests of all shares, which a
//! transcript tells, together with all but one of the shares that are needed, leave 2^128 things to try, however
//! short the PIN is that a token allows.

mod base32;
mod field;
mod pin;
mod share;

pub use pin::{PIN_LEN, SharedPin};
pub use share::{Set, Share};

use crate::audit::{Hash, Id};
use crate::error::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

/// The fewest shares that open a PIN: one would be no sharing.
pub const MIN_THRESHOLD: u8 = 2;
/// The most shares of a PIN.
pub const MAX_SHARES: u8 = 16;

/// Splits a PIN into `shares` shares, `threshold` of which give it back.
///
/// `random` fills bytes from a random generator, the token's for instance.
///
/// ```
/// use keyward::ceremony::{Id, Name, shares};
/// let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|_| unreachable!());
/// let set = shares::Set::new(&Id::from_bytes([7; 16]), &"primary".parse()?);
/// let pin = shares::SharedPin::from_random(&[0x5a; 24])?;
/// let all = shares::split(&pin, &set, 2, 3, random)?;
/// let typed = [shares::Share::parse(&all[0].to_text())?, shares::Share::parse(&all[2].to_text())?];
/// assert_eq!(shares::combine(&typed, &set)?.as_str(), pin.as_str());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` where these numbers make no sense; what `random` gives.
pub fn split(
    pin: &SharedPin,
    set: &Set,
    threshold: u8,
    shares: u8,
    mut random: impl FnMut(&mut [u8]) -> Result<()>,
) -> Result<Vec<Share>> {
    if !(MIN_THRESHOLD..=MAX_SHARES).contains(&threshold) || !(threshold..=MAX_SHARES).contains(&shares) {
        let message =
            format!("a PIN is split into {MIN_THRESHOLD} to {MAX_SHARES} shares, and no more of them open it");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let secret = pin.to_secret(&mut random)?;
    let values = field::split(&secret, threshold, shares, random)?;
    values.into_iter().zip(1..).map(|(value, index)| Share::new(*set, pin.len(), threshold, index, value)).collect()
}

/// The same, of shares whose digests a transcript has: one that was handed out before an interruption, for a PIN that was
/// never set, is told from those that count.
///
/// # Errors
/// As [`combine`], and `InvalidArgument` where a share is none of these.
pub fn combine_recorded(shares: &[Share], set: &Set, run: &Id, digests: &[Hash]) -> Result<SharedPin> {
    for (at, share) in shares.iter().enumerate() {
        admit(&shares[..at], share, set, run, digests)?;
    }
    combine(shares, set)
}

/// Whether a share goes with those that were given before it: so that one that is wrong is named as soon as it is typed.
///
/// # Errors
/// As [`combine_recorded`], but for shares that are still missing.
pub fn admit(given: &[Share], next: &Share, set: &Set, run: &Id, digests: &[Hash]) -> Result<()> {
    check_place(given, next, set)?;
    if digests.contains(&next.digest(run)) {
        return Ok(());
    }
    let message = format!("share {} is none that was handed out last", given.len() + 1);
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// Whether a share may stand after others.
fn check_place(given: &[Share], next: &Share, set: &Set) -> Result<()> {
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
    let place = given.len() + 1;
    if let Some(why) = next.is_foreign_to(set) {
        return refused(format!("share {place} is {why}"));
    }
    if let Some(twin) = given.iter().position(|other| other.index() == next.index()) {
        return refused(format!("share {place} is the same one as share {}: number {}", twin + 1, next.index()));
    }
    match given.first() {
        Some(first) if !next.goes_with(first) => {
            refused(format!("share {place} does not go with share 1: it is of another PIN of this token"))
        }
        _ => Ok(()),
    }
}

/// Puts a PIN together from shares.
///
/// # Errors
/// `InvalidArgument` where a share is of another ceremony or token, stands there twice, does not go with the others, or
/// where there are too few. The message names it by its place, counted from 1.
pub fn combine(shares: &[Share], set: &Set) -> Result<SharedPin> {
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
    for (at, share) in shares.iter().enumerate() {
        check_place(&shares[..at], share, set)?;
    }
    let Some(first) = shares.first() else { return refused("no share is given".into()) };
    let needed = usize::from(first.threshold());
    if shares.len() < needed {
        return refused(format!("{} of {needed} shares are given: too few", shares.len()));
    }
    let values: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares[..needed].iter().map(Share::point).collect());
    let pin = SharedPin::from_secret(&field::combine(&values)?, first.pin_len());
    // The others must lie on the same polynomial: one that does not would be found out only when it is needed.
    for (at, share) in shares.iter().enumerate().skip(needed) {
        let mut others: Zeroizing<Vec<Vec<u8>>> =
            Zeroizing::new(shares[..needed - 1].iter().map(Share::point).collect());
        others.push(share.point());
        if *field::combine(&others)? != *field::combine(&values)? {
            return refused(format!("share {} does not go with the others: one of them is wrong", at + 1));
        }
    }
    pin
}
