//! The public half of the key that signs a log's heads.

use super::hash::{Hash, Id};
use crate::error::{Error, ErrorKind, Result};
use base64ct::{Base64, Encoding};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use std::fmt;

/// The public half of the key that signs heads: ECDSA on the curve P-256.
///
/// Exported once, by `keyward audit init`, it lets others verify a log without the token.
#[derive(Clone, PartialEq, Eq)]
pub struct HeadKey {
    point: [u8; 65],
    key: VerifyingKey,
}

/// What a `SubjectPublicKeyInfo` of a point on P-256 begins with (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const FIRST_LINE: &str = "-----BEGIN PUBLIC KEY-----";
const LAST_LINE: &str = "-----END PUBLIC KEY-----";

impl HeadKey {
    /// The key of this uncompressed point.
    ///
    /// # Errors
    /// `InvalidArgument` where it is no point of the curve.
    pub fn from_point(point: [u8; 65]) -> Result<Self> {
        let key = VerifyingKey::from_sec1_bytes(&point)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the public key is no point of the curve P-256"))?;
        Ok(Self { point, key })
    }

    /// Reads the PEM text of a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// `InvalidArgument` where it is none, or not that of a key on P-256.
    pub fn from_pem(text: &str) -> Result<Self> {
        let not_pem = || Error::new(ErrorKind::InvalidArgument, "not the PEM text of a public key on the curve P-256");
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut body = String::new();
        if lines.next() != Some(FIRST_LINE) {
            return Err(not_pem());
        }
        loop {
            match lines.next() {
                Some(LAST_LINE) if lines.next().is_none() => break,
                Some(line) if body.len() < 1024 => body.push_str(line),
                _ => return Err(not_pem()),
            }
        }
        let der = Base64::decode_vec(&body).map_err(|_| not_pem())?;
        let point = der.strip_prefix(&SPKI).and_then(|point| point.try_into().ok()).ok_or_else(not_pem)?;
        Self::from_point(point)
    }

    /// The PEM text, which every tool reads: `openssl pkey -pubin -text`.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let body = Base64::encode_string(&[&SPKI[..], &self.point].concat());
        let (first, second) = body.split_at(64);
        format!("{FIRST_LINE}\n{first}\n{second}\n{LAST_LINE}\n")
    }

    /// Returns the key as an uncompressed point (SEC 1), `04 ‖ x ‖ y`.
    #[must_use]
    pub fn point(&self) -> [u8; 65] {
        self.point
    }

    /// The key's id, as heads have it: the first 16 bytes of the SHA-256 hash of its point.
    #[must_use]
    pub fn id(&self) -> Id {
        let mut id = [0; 16];
        id.copy_from_slice(&Hash::of(&[&self.point]).as_bytes()[..16]);
        Id::from_bytes(id)
    }

    /// Whether `signature` (`r ‖ s`) is that of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}

impl fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 6979, A.2.5: key, and its signature of "sample" with SHA-256.
    const X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    const Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    const R: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
    const S: &str = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

    fn bytes(hex: &str) -> [u8; 32] {
        *Hash::parse(hex).unwrap().as_bytes()
    }

    fn sample() -> HeadKey {
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&bytes(X));
        point[33..].copy_from_slice(&bytes(Y));
        HeadKey::from_point(point).unwrap()
    }

    #[test]
    fn a_published_signature_verifies_and_no_other() {
        let mut signature = [bytes(R), bytes(S)].concat();
        assert!(sample().verifies(b"sample", &signature));
        assert!(!sample().verifies(b"Sample", &signature));
        signature[5] ^= 1;
        assert!(!sample().verifies(b"sample", &signature));
        assert!(!sample().verifies(b"sample", &signature[1..]));
    }

    #[test]
    fn pem_comes_back_and_anything_else_is_refused() {
        let pem = sample().to_pem();
        assert_eq!(HeadKey::from_pem(&pem).unwrap(), sample());
        assert_eq!(HeadKey::from_pem(&pem.replace('\n', "\r\n")).unwrap(), sample());
        for bad in ["", &pem[1..], pem.trim_end_matches("-\n"), &pem.replace("MFk", "MFl"), &pem.repeat(2)] {
            assert_eq!(HeadKey::from_pem(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        assert!(HeadKey::from_point([4; 65]).is_err());
    }
}
