//! One share: what a custodian has on paper and types.

use super::pin::{is_len, secret_len};
use super::{MAX_SHARES, MIN_THRESHOLD, base32};
use crate::audit::{Hash, Id};
use crate::ceremony::name::Name;
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The version of the form, in the upper three bits of the first byte.
const VERSION: u8 = 1;
/// Version and length of the PIN, ceremony, token, threshold and index.
const HEADER: usize = 1 + 3 + 2 + 1;
const CHECKSUM: usize = 4;
/// How many signs stand together.
const GROUP: usize = 4;

/// Which PIN shares are of: that of a token in a run of a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    ceremony: [u8; 3],
    token: [u8; 2],
}

impl Set {
    /// The shares of the PIN of `token` in this run.
    #[must_use]
    pub fn new(run: &Id, token: &Name) -> Self {
        let ceremony = hash(b"keyward.ceremony.share-run.v1\0", &[run.as_bytes()]);
        let token = hash(b"keyward.ceremony.share-token.v1\0", &[run.as_bytes(), token.as_str().as_bytes()]);
        Self { ceremony: [ceremony[0], ceremony[1], ceremony[2]], token: [token[0], token[1]] }
    }
}

fn hash(domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A share of a PIN. It is wiped when dropped.
///
/// Its text is Crockford's Base32 in groups of four: 44 signs for a PIN of 24. It has the ceremony, the token, its
/// number, how many are needed, and a checksum of 32 bits in it.
#[derive(Clone)]
pub struct Share {
    set: Set,
    pin_len: u8,
    threshold: u8,
    index: u8,
    value: Zeroizing<Vec<u8>>,
}

impl Share {
    pub(super) fn new(set: Set, pin_len: u8, threshold: u8, index: u8, value: Zeroizing<Vec<u8>>) -> Result<Self> {
        let possible = is_len(pin_len)
            && (MIN_THRESHOLD..=MAX_SHARES).contains(&threshold)
            && (1..=MAX_SHARES).contains(&index)
            && value.len() == secret_len(pin_len);
        if !possible {
            return Err(Error::new(ErrorKind::InvalidArgument, "this is not a share of a PIN"));
        }
        Ok(Self { set, pin_len, threshold, index, value })
    }

    /// Which one it is, from 1.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// How many open the PIN together.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    pub(super) fn pin_len(&self) -> u8 {
        self.pin_len
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + self.value.len() + CHECKSUM));
        bytes.push(VERSION << 5 | (self.pin_len - 1));
        bytes.extend(self.set.ceremony);
        bytes.extend(self.set.token);
        bytes.push((self.threshold - 1) << 4 | (self.index - 1));
        bytes.extend_from_slice(&self.value);
        let checksum = hash(b"keyward.ceremony.share-checksum.v1\0", &[&bytes]);
        bytes.extend(&checksum[..CHECKSUM]);
        bytes
    }

    /// The text that is handed out.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let signs = base32::encode(&self.to_bytes());
        let mut text = Zeroizing::new(String::with_capacity(signs.len() + signs.len() / GROUP));
        for (at, sign) in signs.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(sign);
        }
        text
    }

    /// The share that was typed, in capital or small letters, with or without hyphens and blanks.
    ///
    /// # Errors
    /// `InvalidArgument` where it is none: something was mistyped. What was typed is not repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |what: &'static str| Error::new(ErrorKind::InvalidArgument, what);
        if text.len() > 256 {
            return Err(refused("this is too long for a share"));
        }
        let bytes = base32::decode(text).ok_or_else(|| refused("a share has digits and letters, and no U"))?;
        let first = *bytes.first().ok_or_else(|| refused("a share is missing"))?;
        let pin_len = (first & 31) + 1;
        let len = HEADER + secret_len(pin_len) + CHECKSUM;
        let short = || refused("this is not a share: signs are missing, or there are too many, or one is wrong");
        if first >> 5 != VERSION || !is_len(pin_len) || bytes.len() < len {
            return Err(short());
        }
        let (body, checksum) = bytes[..len].split_at(len - CHECKSUM);
        let share = Self::new(
            Set { ceremony: [body[1], body[2], body[3]], token: [body[4], body[5]] },
            pin_len,
            (body[6] >> 4) + 1,
            (body[6] & 15) + 1,
            Zeroizing::new(body[HEADER..].to_vec()),
        );
        let right = hash(b"keyward.ceremony.share-checksum.v1\0", &[body]);
        if !bool::from(right[..CHECKSUM].ct_eq(checksum)) {
            return Err(refused("a sign of this share is wrong: its checksum does not fit"));
        }
        let share = share.map_err(|_| short())?;
        // One share has one text, but for case, hyphens and blanks, so that nothing hangs on its end.
        if *base32::decode(&share.to_text()).unwrap_or_default() != *bytes {
            return Err(short());
        }
        Ok(share)
    }

    /// Whether this is what a custodian types back: where it differs, the first group of four signs that does, from 1.
    ///
    /// # Errors
    /// That group; one more than there are where signs are missing or too many at the end.
    pub fn check_typed(&self, typed: &str) -> Result<(), usize> {
        let own = self.to_text();
        let own: Zeroizing<Vec<u8>> = Zeroizing::new(own.bytes().filter(|c| *c != b'-').collect());
        let typed: Zeroizing<Vec<u8>> = Zeroizing::new(
            typed
                .bytes()
                .filter(|c| !c.is_ascii_whitespace() && *c != b'-')
                .map(|c| match c.to_ascii_uppercase() {
                    b'O' => b'0',
                    b'I' | b'L' => b'1',
                    c => c,
                })
                .collect(),
        );
        match own.iter().zip(typed.iter()).position(|(own, typed)| own != typed) {
            Some(at) => Err(at / GROUP + 1),
            None if own.len() != typed.len() => Err(own.len().min(typed.len()) / GROUP + 1),
            None => Ok(()),
        }
    }

    /// What a transcript tells of it: a wrong share and one handed out twice are found by it, and it says nothing about
    /// the PIN.
    ///
    /// It hashes 16 uniform bytes at least. Whoever has all but one of the shares that are needed would have to
    /// guess the PIN and its padding together.
    #[must_use]
    pub fn digest(&self, run: &Id) -> Hash {
        Hash::from_bytes(hash(b"keyward.ceremony.share-digest.v1\0", &[run.as_bytes(), &self.to_bytes()]))
    }

    /// The index and the value.
    pub(super) fn point(&self) -> Vec<u8> {
        let mut point = Vec::with_capacity(1 + self.value.len());
        point.push(self.index);
        point.extend_from_slice(&self.value);
        point
    }

    /// Why it is none of this set's, where it is not.
    pub(super) fn is_foreign_to(&self, set: &Set) -> Option<&'static str> {
        if self.set.ceremony != set.ceremony {
            Some("of another ceremony")
        } else if self.set.token != set.token {
            Some("of another token of this ceremony")
        } else {
            None
        }
    }

    /// Whether both may be of one splitting.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        (self.threshold, self.pin_len, self.set) == (other.threshold, other.pin_len, other.set)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("index", &self.index).field("threshold", &self.threshold).finish_non_exhaustive()
    }
}
