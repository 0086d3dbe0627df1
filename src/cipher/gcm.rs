//! AES-256-GCM in place, in each engine.

use super::Engine;
use crate::error::{Error, Result};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key};

/// The length of a nonce, in bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// The length of a tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// AES-256-GCM under one key. Both engines wipe their key schedules on drop.
pub(crate) enum Gcm {
    #[cfg(feature = "aws-lc-rs")]
    AwsLc(aws_lc_rs::aead::LessSafeKey),
    AesGcm(Box<Aes256Gcm>),
}

impl Gcm {
    pub(crate) fn new(engine: Engine, key: &[u8; 32]) -> Result<Self> {
        match engine {
            #[cfg(feature = "aws-lc-rs")]
            Engine::AwsLc => {
                use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
                let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::not_authentic())?;
                Ok(Self::AwsLc(LessSafeKey::new(key)))
            }
            Engine::AesGcm => Ok(Self::AesGcm(Box::new(Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key))))),
        }
    }

    /// Encrypts all of `chunk` but its last 16 bytes, which become the tag.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], chunk: &mut [u8]) -> Result<()> {
        // Every chunk has room for its tag; a failure here is a chunk of impossible length.
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or_else(Error::not_authentic)?;
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let made =
                    key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| Error::not_authentic())?;
                tag.copy_from_slice(made.as_ref());
            }
            Self::AesGcm(key) => {
                let made = key
                    .encrypt_inout_detached((&nonce).into(), aad, text.into())
                    .map_err(|_| Error::not_authentic())?;
                tag.copy_from_slice(&made);
            }
        }
        Ok(())
    }

    /// Verifies the tag at the end of `chunk` and decrypts what is before it. Where that fails,
    /// what is in `chunk` is not to be used.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], chunk: &mut [u8]) -> Result<()> {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(aad), chunk).map_err(|_| Error::not_authentic())?;
            }
            Self::AesGcm(key) => {
                let (text, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or_else(Error::not_authentic)?;
                key.decrypt_inout_detached((&nonce).into(), aad, text.into(), (&*tag).into())
                    .map_err(|_| Error::not_authentic())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_agree_and_refuse_every_flipped_byte() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut sealed = Vec::new();
            for engine in Engine::ALL {
                let mut chunk = vec![7; len];
                chunk.extend([0; TAG_LEN]);
                Gcm::new(*engine, &[1; 32]).unwrap().seal([2; 12], b"aad", &mut chunk).unwrap();
                sealed.push(chunk);
            }
            assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]));
            for engine in Engine::ALL {
                let key = Gcm::new(*engine, &[1; 32]).unwrap();
                let mut chunk = sealed[0].clone();
                key.open([2; 12], b"aad", &mut chunk).unwrap();
                assert_eq!(chunk[..len], vec![7; len]);
                assert!(key.open([2; 12], b"AAD", &mut sealed[0].clone()).is_err());
                assert!(key.open([3; 12], b"aad", &mut sealed[0].clone()).is_err());
                for index in 0..sealed[0].len() {
                    let mut chunk = sealed[0].clone();
                    chunk[index] ^= 1;
                    assert!(key.open([2; 12], b"aad", &mut chunk).is_err());
                }
                for cut in 0..TAG_LEN {
                    assert!(key.open([2; 12], b"aad", &mut sealed[0][..cut].to_vec()).is_err());
                }
            }
        }
    }
}
