//! Wrapped keys: what the provider hands out and what travels with the data
//! (`docs/format.md`, "Wrapped key").

use super::{DataKeyLength, EncryptionContext, KekId};
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// How a data key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WrappingAlgorithm {
    /// AES-256-GCM on the token, the binding as additional authenticated data.
    AesGcm,
    /// AES Key Wrap (RFC 3394) on the token.
    AesKw,
    /// RSA-OAEP with SHA-256 and MGF1-SHA-256; wrapping needs the public key only.
    RsaOaep,
    /// RSA-OAEP with SHA-1 and MGF1-SHA-1, for tokens that have no other.
    RsaOaepSha1,
    /// No wrapping: the customer's own key; the entry holds a salted verifier.
    CustomerKey,
}

impl WrappingAlgorithm {
    /// All of them, by code.
    pub const ALL: [Self; 5] = [Self::AesGcm, Self::AesKw, Self::RsaOaep, Self::RsaOaepSha1, Self::CustomerKey];

    /// The code in the format.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::AesKw => 2,
            Self::RsaOaep => 3,
            Self::RsaOaepSha1 => 4,
            Self::CustomerKey => 16,
        }
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesKw => "aes-kw",
            Self::RsaOaep => "rsa-oaep",
            Self::RsaOaepSha1 => "rsa-oaep-sha1",
            Self::CustomerKey => "customer-key",
        }
    }

    /// Whether wrapping needs no secret, so that what is unwrapped proves nothing about its writer.
    #[must_use]
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::RsaOaep | Self::RsaOaepSha1)
    }

    fn accepts(self, parameters: usize, ciphertext: usize) -> bool {
        match self {
            Self::AesGcm => matches!(parameters, 12 | 16) && matches!(ciphertext, 32 | 48),
            Self::AesKw => parameters == 0 && matches!(ciphertext, 56 | 72),
            // The modulus: 2048 to 16384 bits.
            Self::RsaOaep | Self::RsaOaepSha1 => parameters == 0 && (256..=2048).contains(&ciphertext),
            Self::CustomerKey => parameters == 32 && ciphertext == 32,
        }
    }
}

impl fmt::Display for WrappingAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WrappingAlgorithm {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == s).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a wrapping algorithm", s.escape_debug()))
                .with_hint("one of: aes-gcm, aes-kw, rsa-oaep, rsa-oaep-sha1")
        })
    }
}

/// When a data key was wrapped: the first byte of a wrapped key, and part of what its wrapping is bound to.
///
/// Under a symmetric KEK the token authenticates it. So [`Generation`](Self::Generation) under version N of a key
/// proves that the data key was made when N was current: nothing that had its data key from elsewhere, or from an
/// older version, can be wrapped so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrapOccasion {
    /// When the data key was generated.
    Generation,
    /// Later: the data key existed before, for another recipient or under another version.
    Later,
}

impl WrapOccasion {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Generation, Self::Later];

    /// The code in the format.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Generation => 1,
            Self::Later => 2,
        }
    }
}

/// One data key wrapped by one KEK: opaque to everyone but the token that holds the KEK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    occasion: WrapOccasion,
    algorithm: WrappingAlgorithm,
    kek_id: KekId,
    parameters: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl WrappedKey {
    /// Returns a wrapped key of its parts.
    ///
    /// # Errors
    /// `NotAnEnvelope` if a length is not one that the algorithm has.
    pub fn new(
        occasion: WrapOccasion,
        algorithm: WrappingAlgorithm,
        kek_id: KekId,
        parameters: impl Into<Vec<u8>>,
        ciphertext: impl Into<Vec<u8>>,
    ) -> Result<Self> {
        let (parameters, ciphertext) = (parameters.into(), ciphertext.into());
        if !algorithm.accepts(parameters.len(), ciphertext.len()) {
            return Err(malformed("malformed wrapped key: a length does not fit the algorithm"));
        }
        Ok(Self { occasion, algorithm, kek_id, parameters, ciphertext })
    }

    /// Returns when the data key was wrapped, as the wrapped key claims. Only unwrapping under a symmetric KEK confirms
    /// it.
    #[must_use]
    pub fn occasion(&self) -> WrapOccasion {
        self.occasion
    }

    /// How the key is wrapped.
    #[must_use]
    pub fn algorithm(&self) -> WrappingAlgorithm {
        self.algorithm
    }

    /// Which KEK wrapped it.
    #[must_use]
    pub fn kek_id(&self) -> KekId {
        self.kek_id
    }

    /// The algorithm's parameters: the IV of AES-GCM, the salt of a customer key.
    #[must_use]
    pub fn parameters(&self) -> &[u8] {
        &self.parameters
    }

    /// The wrapped bytes.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// Whether the ciphertext is as long as one of a data key of this length is. With RSA every
    /// length gives the same.
    pub(crate) fn has_room_for(&self, length: DataKeyLength) -> bool {
        let expected = match self.algorithm {
            WrappingAlgorithm::AesGcm => length.bytes() + 16,
            WrappingAlgorithm::AesKw => length.bytes() + 32 + 8,
            WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => return true,
            WrappingAlgorithm::CustomerKey => return false,
        };
        self.ciphertext.len() == expected
    }

    /// The serialized form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // `accepts` keeps both lengths within their prefixes.
        let parameters_len = u8::try_from(self.parameters.len()).unwrap_or(u8::MAX);
        let ciphertext_len = u16::try_from(self.ciphertext.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(21 + self.parameters.len() + self.ciphertext.len());
        out.extend([self.occasion.code(), self.algorithm.code()]);
        out.extend(self.kek_id.as_bytes());
        out.push(parameters_len);
        out.extend(&self.parameters);
        out.extend(ciphertext_len.to_be_bytes());
        out.extend(&self.ciphertext);
        out
    }

    /// Parses [`to_bytes`](Self::to_bytes), strictly.
    ///
    /// # Errors
    /// `NotAnEnvelope` for an unknown occasion or algorithm, a length that the algorithm does not
    /// have, and bytes missing or left over.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let cut = || malformed("malformed wrapped key: cut short");
        let (&[occasion, code], rest) = bytes.split_first_chunk::<2>().ok_or_else(cut)?;
        let occasion = WrapOccasion::ALL
            .into_iter()
            .find(|known| known.code() == occasion)
            .ok_or_else(|| malformed("malformed wrapped key: unknown first byte"))?;
        let algorithm = WrappingAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.code() == code)
            .ok_or_else(|| malformed("malformed wrapped key: unknown algorithm"))?;
        let (kek_id, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
        let (&parameters_len, rest) = rest.split_first().ok_or_else(cut)?;
        let (parameters, rest) = rest.split_at_checked(parameters_len.into()).ok_or_else(cut)?;
        let (&ciphertext_len, ciphertext) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        if ciphertext.len() != usize::from(u16::from_be_bytes(ciphertext_len)) {
            return Err(malformed("malformed wrapped key: bytes missing or left over"));
        }
        Self::new(occasion, algorithm, KekId::from_bytes(*kek_id), parameters, ciphertext)
    }
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorKind::NotAnEnvelope, what)
}

/// 1 to 16 wrapped keys of one and the same data key, each under another KEK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrappedKeys(Vec<WrappedKey>);

impl WrappedKeys {
    /// The most wrapped keys of one data key.
    pub const MAX: usize = 16;

    /// These wrapped keys.
    ///
    /// # Errors
    /// `LimitExceeded` where there are none or more than 16.
    pub fn new(keys: Vec<WrappedKey>) -> Result<Self> {
        if keys.is_empty() || keys.len() > Self::MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("a data key is wrapped 1 to {} times, not {}", Self::MAX, keys.len()),
            ));
        }
        Ok(Self(keys))
    }

    /// The wrapped keys in order.
    pub fn iter(&self) -> std::slice::Iter<'_, WrappedKey> {
        self.0.iter()
    }

    /// The wrapped keys.
    #[must_use]
    pub fn into_vec(self) -> Vec<WrappedKey> {
        self.0
    }
}

impl From<WrappedKey> for WrappedKeys {
    fn from(key: WrappedKey) -> Self {
        Self(vec![key])
    }
}

impl<'a> IntoIterator for &'a WrappedKeys {
    type Item = &'a WrappedKey;
    type IntoIter = std::slice::Iter<'a, WrappedKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns what a wrapping is bound to: when it was made, the algorithm, the KEK and the encryption context.
/// AES-GCM takes it as additional authenticated data.
pub(crate) fn binding(
    occasion: WrapOccasion,
    algorithm: WrappingAlgorithm,
    kek_id: KekId,
    context: &EncryptionContext,
) -> Vec<u8> {
    let mut out = b"keyward.wrap.v1\0".to_vec();
    out.extend([occasion.code(), algorithm.code()]);
    out.extend(kek_id.as_bytes());
    out.extend(Sha256::digest(context.to_bytes()));
    out
}

/// Returns the hash of [`binding`], which travels inside the wrapping if the algorithm takes no additional
/// authenticated data.
pub(crate) fn binding_digest(
    occasion: WrapOccasion,
    algorithm: WrappingAlgorithm,
    kek_id: KekId,
    context: &EncryptionContext,
) -> [u8; 32] {
    Sha256::digest(binding(occasion, algorithm, kek_id, context)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(algorithm: WrappingAlgorithm) -> WrappedKey {
        let (parameters, ciphertext) = match algorithm {
            WrappingAlgorithm::AesGcm => (12, 48),
            WrappingAlgorithm::AesKw => (0, 72),
            WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => (0, 384),
            WrappingAlgorithm::CustomerKey => (32, 32),
        };
        let id = KekId::from_bytes([9; 16]);
        WrappedKey::new(WrapOccasion::Generation, algorithm, id, vec![1; parameters], vec![2; ciphertext]).unwrap()
    }

    #[test]
    fn every_algorithm_round_trips_and_every_cut_is_refused() {
        for algorithm in WrappingAlgorithm::ALL {
            let bytes = sample(algorithm).to_bytes();
            assert_eq!(WrappedKey::parse(&bytes).unwrap(), sample(algorithm));
            for len in 0..bytes.len() {
                assert!(WrappedKey::parse(&bytes[..len]).is_err(), "{algorithm} cut to {len}");
            }
            assert!(WrappedKey::parse(&[&bytes[..], &[0]].concat()).is_err(), "{algorithm} with a byte more");
        }
    }

    #[test]
    fn unknown_occasions_algorithms_and_lengths_are_refused() {
        let good = sample(WrappingAlgorithm::AesGcm).to_bytes();
        for occasion in (0..=255).filter(|byte| ![1, 2].contains(byte)) {
            let mut bytes = good.clone();
            bytes[0] = occasion;
            assert!(WrappedKey::parse(&bytes).is_err(), "occasion {occasion}");
        }
        for code in (0..=255).filter(|code| *code != 1) {
            let mut bytes = good.clone();
            bytes[1] = code;
            assert!(WrappedKey::parse(&bytes).is_err(), "algorithm {code} with the lengths of aes-gcm");
        }
        let id = KekId::from_bytes([0; 16]);
        for (parameters, ciphertext) in [(0, 48), (11, 48), (13, 48), (12, 47), (12, 49), (12, 16)] {
            let made = WrappedKey::new(
                WrapOccasion::Later,
                WrappingAlgorithm::AesGcm,
                id,
                vec![0; parameters],
                vec![0; ciphertext],
            );
            assert!(made.is_err(), "{parameters} and {ciphertext}");
        }
    }

    #[test]
    fn the_binding_is_what_the_format_says() {
        let id = KekId::from_bytes([7; 16]);
        let bound = binding(WrapOccasion::Later, WrappingAlgorithm::AesKw, id, &EncryptionContext::new());
        let mut expected = b"keyward.wrap.v1\0\x02\x02".to_vec();
        expected.extend([7; 16]);
        // SHA-256 of nothing
        expected.extend((0..32).map(|i| {
            u8::from_str_radix(
                &"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"[2 * i..2 * i + 2],
                16,
            )
            .unwrap()
        }));
        assert_eq!(bound, expected);
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_is_the_inverse_of_to_bytes(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(key) = WrappedKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }
    }
}
