//! Witnesses' keys and signatures: Ed25519 in the format of minisign, which many people have already.

use crate::error::{Error, ErrorKind, Result};
use base64ct::{Base64, Encoding};
use minisign::{SecretKeyBox, SignatureBox};
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The longest signature file, in bytes.
const MAX_SIGNATURE: usize = 4096;
/// The longest secret key file, in bytes.
const MAX_SECRET: usize = 4096;
/// A secret key: algorithms, salt and limits of scrypt, then its id, the key, and a checksum of 32 bytes.
const SECRET_LEN: usize = 158;
/// What the first line of a signature may say. It is not signed, so nothing else may stand there.
const COMMENTS: [&str; 2] =
    ["untrusted comment: keyward ceremony", "untrusted comment: signature from minisign secret key"];

/// The points of Ed25519 whose order divides eight, in every encoding, without the bit of the sign. For such a key anyone
/// can sign: the challenge, times the key, has eight values at most.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The Ed25519 public key of a witness.
///
/// It is what the second line of a `minisign.pub` file has; the whole text of such a file is taken as well.
///
/// ```
/// use keyward::ceremony::WitnessKey;
/// let key: WitnessKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse()?;
/// assert_eq!(key.id(), "E7620F1842B4E81F");
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey {
    key: PublicKey,
    base64: Box<str>,
}

impl WitnessKey {
    /// The key's id, as minisign shows it: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        minisign::PublicKey::from_base64(&self.base64).map_or_else(|_| String::new(), |key| id(key.keynum()))
    }

    /// The key as one line of base64.
    #[must_use]
    pub fn to_base64(&self) -> &str {
        &self.base64
    }

    /// Whether this file's text is a signature of `message` by this key.
    ///
    /// # Errors
    /// `NotAuthentic` where it is not, with why.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<()> {
        let refused = |why: &'static str| Err(Error::new(ErrorKind::NotAuthentic, why));
        if signature.len() > MAX_SIGNATURE || !is_canonical(signature) {
            return refused("it is not a signature as minisign writes them");
        }
        let Ok(decoded) = Signature::decode(signature) else {
            return refused("it is not a signature as minisign writes them");
        };
        match self.key.verify(message, &decoded, false) {
            Ok(()) => Ok(()),
            Err(minisign_verify::Error::UnexpectedKeyId) => refused("it is by another key than the plan says"),
            Err(_) => refused("it is not a signature of this transcript, plan and report"),
        }
    }
}

/// Whether the text is spelt in the one way that minisign spells signatures: else parts of it could be changed.
fn is_canonical(text: &str) -> bool {
    let starts_right = COMMENTS.iter().any(|comment| text.lines().next() == Some(comment));
    let lines = text.matches('\n').count();
    let again = SignatureBox::from_string(text).map(|signature| signature.to_string());
    starts_right
        && lines == 4
        && text.ends_with('\n')
        && !text.contains('\r')
        && again.is_ok_and(|again| again.trim_end() == text.trim_end())
}

fn is_of_small_order(base64: &str) -> bool {
    let bytes = Base64::decode_vec(base64).unwrap_or_default();
    let Some((sign, point)) = bytes.split_last().filter(|_| bytes.len() == 42) else { return true };
    let digits: String = point[10..].iter().chain([&(sign & 0x7f)]).map(|byte| format!("{byte:02x}")).collect();
    SMALL_ORDER.contains(&&*digits)
}

fn id(keynum: &[u8]) -> String {
    keynum.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

impl FromStr for WitnessKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            Error::new(ErrorKind::InvalidArgument, "this is not a minisign public key")
                .with_hint("it is the second line of a file minisign.pub, and begins with RW")
        };
        let base64 = match text.trim_end().split_once('\n') {
            Some((comment, base64)) if comment.starts_with("untrusted comment: ") => base64.trim(),
            None => text.trim(),
            Some(_) => return Err(refused()),
        };
        let key = PublicKey::from_base64(base64).map_err(|_| refused())?;
        let again = minisign::PublicKey::from_base64(base64).map_err(|_| refused())?.to_base64();
        // One key has one spelling.
        if again != base64 || !base64.starts_with("RW") {
            return Err(refused());
        }
        if is_of_small_order(base64) {
            let message = "anyone can sign for this public key: it is a point of small order";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { key, base64: base64.into() })
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessKey({})", self.base64)
    }
}

impl<'de> Deserialize<'de> for WitnessKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The secret key of a witness, on a machine of her own.
///
/// It is in memory as the `minisign` crate has it, which does not wipe it: a program that has signed should end.
pub struct WitnessSecret(minisign::SecretKey);

impl WitnessSecret {
    /// Whether the text of a secret key file asks for a password.
    ///
    /// # Errors
    /// `InvalidArgument` where it is no secret key.
    pub fn needs_password(text: &str) -> Result<bool> {
        let base64 = text.lines().nth(1).unwrap_or_default();
        // `EdSc…` is encrypted with scrypt, `Ed\0\0…` is not encrypted.
        match base64.get(..6) {
            Some("RWRTY0") => Ok(true),
            Some("RWQAAE") => Ok(false),
            _ => Err(not_a_secret()),
        }
    }

    /// The key that a file of minisign holds.
    ///
    /// # Errors
    /// `InvalidArgument` where it is no secret key; `PinIncorrect` where the password is wrong; `PinRequired` where it
    /// needs one.
    pub fn open(text: &str, password: Option<Zeroizing<String>>) -> Result<Self> {
        if text.len() > MAX_SECRET {
            return Err(not_a_secret());
        }
        let boxed = || SecretKeyBox::from_string(text).map_err(|_| not_a_secret());
        let key = match (Self::needs_password(text)?, password) {
            (false, _) => match boxed()?.into_unencrypted_secret_key() {
                Ok(key) => key,
                Err(_) => without_checksum(text)?,
            },
            (true, None) => return Err(Error::new(ErrorKind::PinRequired, "the secret key needs its password")),
            (true, Some(password)) => {
                let opened = boxed()?.into_secret_key(Some(password.as_str().to_owned()));
                opened.map_err(|_| Error::new(ErrorKind::PinIncorrect, "this is not the password of the secret key"))?
            }
        };
        Ok(Self(key))
    }

    /// Its public half.
    ///
    /// # Errors
    /// `InvalidArgument` where it has none.
    pub fn public_key(&self) -> Result<WitnessKey> {
        minisign::PublicKey::from_secret_key(&self.0).map_err(|_| not_a_secret())?.to_base64().parse()
    }

    /// The text of a signature file.
    ///
    /// # Errors
    /// `Internal` where the system gives no random bytes; `InvalidArgument` where the key is damaged.
    pub fn sign(&self, message: &[u8], comment: &str) -> Result<String> {
        let untrusted = COMMENTS[0].trim_start_matches("untrusted comment: ");
        let signature = minisign::sign(None, &self.0, message, Some(comment), Some(untrusted));
        let signature = signature.map_err(|_| Error::new(ErrorKind::Internal, "the signature could not be made"))?;
        let text = format!("{}\n", signature.to_string().trim_end());
        // A key whose halves do not belong together makes signatures that give it away.
        match self.public_key()?.verify(message, &text) {
            Ok(()) => Ok(text),
            Err(_) => {
                Err(Error::new(ErrorKind::InvalidArgument, "this secret key is damaged: what it signs is not valid"))
            }
        }
    }
}

/// A key that no password protects, as minisign itself writes it: with zeros for the checksum, which the crate refuses.
fn without_checksum(text: &str) -> Result<minisign::SecretKey> {
    let bytes = Base64::decode_vec(text.lines().nth(1).unwrap_or_default()).map(Zeroizing::new);
    match bytes {
        Ok(bytes) if bytes.len() == SECRET_LEN && bytes[SECRET_LEN - 32..].iter().all(|byte| *byte == 0) => {
            minisign::SecretKey::from_bytes(&bytes).map_err(|_| not_a_secret())
        }
        _ => Err(not_a_secret()),
    }
}

/// The `minisign` crate would print the key.
impl fmt::Debug for WitnessSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WitnessSecret(…)")
    }
}

fn not_a_secret() -> Error {
    Error::new(ErrorKind::InvalidArgument, "this is not a secret key of minisign")
}
