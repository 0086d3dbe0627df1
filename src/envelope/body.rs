//! The body: Cobblestone-256 as published at <https://c2sp.org/chunked-encryption>, verbatim, so
//! that anyone can decrypt it with another implementation once they hold the data key.
//!
//! `salt (24) ‖ commitment (32) ‖ chunks`. Each chunk is 16384 bytes of plaintext and a 16-byte tag;
//! the last is always shorter and may be empty. The key, the base nonce and the commitment are
//! derived from the data key, the salt and a context with HKDF-Expand-SHA-512; chunk `k` has the
//! base nonce XOR `k`.
//!
//! Envelopes use this with the context `"keyward.envelope.v1\0" ‖ CORE`. It is public for those who
//! bring a context of their own.

mod reader;
mod run;
mod writer;

pub use reader::BodyReader;
pub(super) use run::{Run, Work};
pub use writer::BodyWriter;

use super::memory;
use crate::cipher::{Engine, Gcm, NONCE_LEN, TAG_LEN, hkdf_expand_sha512};
use crate::error::{Error, ErrorKind, Result};
use crate::key::DataKey;
use std::io::{self, Read};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The length of the salt.
pub const SALT_LEN: usize = 24;
/// The length of the commitment.
pub const COMMITMENT_LEN: usize = 32;
/// The length of salt and commitment.
pub const PREFIX_LEN: usize = SALT_LEN + COMMITMENT_LEN;
/// The plaintext in every chunk but the last.
pub const CHUNK_LEN: usize = 16384;
/// The length of every chunk but the last, with its tag.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// The most chunks of a body: 4 PiB less one byte of plaintext.
const MAX_CHUNKS: u64 = 1 << 38;

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// What is derived for one body: the AEAD key, the base nonce and the commitment.
pub struct BodyKey {
    gcm: Gcm,
    base_nonce: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl BodyKey {
    /// Derives the key of a body from a data key of 32 bytes, its salt, and the concatenation of
    /// `context`.
    ///
    /// # Errors
    /// `InvalidArgument` where the data key has another length.
    pub fn derive(engine: Engine, data_key: &DataKey, salt: &[u8; SALT_LEN], context: &[&[u8]]) -> Result<Self> {
        if data_key.expose_secret().len() != 32 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a body needs a data key of 32 bytes"));
        }
        let mut info: Vec<&[u8]> = vec![LABEL, salt];
        info.extend(context);
        let mut derived = Zeroizing::new([0; 32 + NONCE_LEN + COMMITMENT_LEN]);
        hkdf_expand_sha512(data_key.expose_secret(), &info, &mut *derived)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&derived[..32]);
        let mut base_nonce = [0; NONCE_LEN];
        base_nonce.copy_from_slice(&derived[32..32 + NONCE_LEN]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&derived[32 + NONCE_LEN..]);
        Ok(Self { gcm: Gcm::new(engine, &key)?, base_nonce, commitment })
    }

    /// What commits to data key, salt and context, and tells the right data key from others before
    /// anything is decrypted.
    #[must_use]
    pub fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Whether the body with this commitment is under this key; in constant time.
    #[must_use]
    pub fn commits_to(&self, commitment: &[u8; COMMITMENT_LEN]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    /// The number of the chunk goes into the last bytes of the nonce, big-endian.
    fn nonce(&self, index: u64) -> Result<[u8; NONCE_LEN]> {
        if index >= MAX_CHUNKS {
            return Err(Error::new(ErrorKind::LimitExceeded, "a plaintext of 4 PiB or more does not fit an envelope"));
        }
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Ok(nonce)
    }

    /// Seals chunk `index` from `text` into `sealed`, which is longer by a tag.
    fn seal_chunk(&self, index: u64, text: &[u8], sealed: &mut [u8]) -> Result<()> {
        self.gcm.seal(self.nonce(index)?, &[], text, sealed)
    }

    /// Opens chunk `index` from `sealed` into `text`, which is shorter by a tag.
    pub(super) fn open_chunk(&self, index: u64, sealed: &[u8], text: &mut [u8]) -> Result<()> {
        let nonce = self.nonce(index).map_err(|_| Error::not_authentic())?;
        self.gcm.open(nonce, &[], sealed, text)
    }
}

impl std::fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyKey(redacted)")
    }
}

/// A whole body of `plaintext`, for those who bring salt and context.
///
/// The salt must be random and is never used twice with one data key and context.
///
/// # Errors
/// As [`BodyKey::derive`].
pub fn seal(
    engine: Engine,
    data_key: &DataKey,
    context: &[u8],
    salt: &[u8; SALT_LEN],
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let key = BodyKey::derive(engine, data_key, salt, &[context])?;
    let mut body = Vec::new();
    memory::seal(&key, &[&salt[..], key.commitment()], plaintext, &mut body, 1)?;
    Ok(body)
}

/// The plaintext of a whole body.
///
/// # Errors
/// `NotAuthentic` where data key or context are not the body's, or it is altered or truncated.
pub fn open(engine: Engine, data_key: &DataKey, context: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    let (salt, rest) = body.split_first_chunk::<SALT_LEN>().ok_or_else(Error::not_authentic)?;
    let (commitment, chunks) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or_else(Error::not_authentic)?;
    let key = BodyKey::derive(engine, data_key, salt, &[context]).map_err(|_| Error::not_authentic())?;
    if !key.commits_to(commitment) {
        return Err(Error::not_authentic());
    }
    let mut plaintext = Vec::new();
    memory::open(&key, chunks, &mut plaintext, 1)?;
    Ok(plaintext)
}

/// Reads until `buffer` is full or the source ends; how much.
pub(super) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match source.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn write_failed(error: io::Error) -> Error {
    Error::io("cannot write", error)
}
