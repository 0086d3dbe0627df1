//! AES-256-GCM from one buffer into another, in each engine.

use super::Engine;
use crate::error::{Error, Result};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key};
use zeroize::Zeroize;

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

    /// Encrypts `text` into `sealed`, which has 16 bytes more, for the tag: in one pass, without a copy.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], text: &[u8], sealed: &mut [u8]) -> Result<()> {
        // Every chunk has room for its tag; a failure here is a chunk of impossible length.
        let (out, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or_else(Error::not_authentic)?;
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_out_of_place_scatter(nonce, Aad::from(aad), text, out, &[], tag)
                    .map_err(|_| Error::not_authentic())?;
            }
            Self::AesGcm(key) => {
                let buffer = InOutBuf::new(text, out).map_err(|_| Error::not_authentic())?;
                let made =
                    key.encrypt_inout_detached((&nonce).into(), aad, buffer).map_err(|_| Error::not_authentic())?;
                tag.copy_from_slice(&made);
            }
        }
        Ok(())
    }

    /// Verifies the tag at the end of `sealed` and decrypts what is before it into `text`, in one pass.
    /// Where that fails, nothing of the plaintext is left in `text`.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &[u8], text: &mut [u8]) -> Result<()> {
        let (input, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or_else(Error::not_authentic)?;
        let opened = match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_separate_gather(nonce, Aad::from(aad), input, tag, text).map_err(|_| Error::not_authentic())
            }
            Self::AesGcm(key) => InOutBuf::new(input, text).map_err(|_| Error::not_authentic()).and_then(|buffer| {
                key.decrypt_inout_detached((&nonce).into(), aad, buffer, tag.into()).map_err(|_| Error::not_authentic())
            }),
        };
        // An engine may decrypt before it has seen the tag: what is not authentic does not stay.
        opened.inspect_err(|_| text.zeroize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_agree_and_refuse_every_flipped_byte() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let text = vec![7; len];
            let mut sealed = Vec::new();
            for engine in Engine::ALL {
                let mut chunk = vec![0; len + TAG_LEN];
                Gcm::new(*engine, &[1; 32]).unwrap().seal([2; 12], b"aad", &text, &mut chunk).unwrap();
                sealed.push(chunk);
            }
            assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]));
            for engine in Engine::ALL {
                let key = Gcm::new(*engine, &[1; 32]).unwrap();
                let refuses = |nonce: u8, aad: &[u8], sealed: &[u8]| {
                    let mut out = vec![9; sealed.len().saturating_sub(TAG_LEN)];
                    assert!(key.open([nonce; 12], aad, sealed, &mut out).is_err());
                    assert!(sealed.len() < TAG_LEN || out.iter().all(|byte| *byte == 0), "something is left");
                };
                let mut out = vec![0; len];
                key.open([2; 12], b"aad", &sealed[0], &mut out).unwrap();
                assert_eq!(out, text);
                refuses(2, b"AAD", &sealed[0]);
                refuses(3, b"aad", &sealed[0]);
                for index in 0..sealed[0].len() {
                    let mut chunk = sealed[0].clone();
                    chunk[index] ^= 1;
                    refuses(2, b"aad", &chunk);
                }
                for cut in 0..TAG_LEN {
                    refuses(2, b"aad", &sealed[0][..cut]);
                }
                assert!(key.open([2; 12], b"aad", &sealed[0], &mut vec![0; len + 1]).is_err(), "another length");
                assert!(key.seal([2; 12], b"aad", &text, &mut vec![0; len + TAG_LEN + 1]).is_err(), "another length");
            }
        }
    }
}
