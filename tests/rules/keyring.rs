//! A provider whose master keys follow from their labels, so that two processes hold the same ones.
//! It wraps by AES-256-GCM, written from `docs/format.md`, and counts how often it is called.

use crate::raw::Entry;
use aes_gcm::aead::{AeadInOut, KeyInit};
use keyward::key::{KeyDescription, KeyState};
use keyward::{
    DataKey, DataKeyLength, EncryptionContext, Error, ErrorKind, KekId, KeyName, KeyProvider, KeyRef, Result,
    WrappedKey, WrappedKeys, WrappingAlgorithm,
};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The newest version of each name is active, the others retired.
#[derive(Debug)]
pub(crate) struct Keyring {
    labels: Vec<(KeyName, u32)>,
    calls: AtomicUsize,
    unwraps: AtomicUsize,
}

pub(crate) fn kek_id(name: &str, version: u32) -> [u8; 16] {
    Sha256::digest(format!("id of {name}:{version}"))[..16].try_into().unwrap()
}

/// Wraps `data_key` under a master key for a serialized context.
pub(crate) fn wrap(name: &str, version: u32, context: &[u8], data_key: &[u8]) -> Entry {
    let mut iv = [0; 12];
    getrandom::fill(&mut iv).unwrap();
    let kek_id = kek_id(name, version);
    let mut ciphertext = data_key.to_vec();
    let (aad, in_place) = (binding(kek_id, context), &mut ciphertext[..]);
    let tag = cipher(name, version).encrypt_inout_detached(&iv.into(), &aad, in_place.into()).unwrap();
    ciphertext.extend(tag);
    Entry { version: 1, algorithm: 1, kek_id, parameters: iv.to_vec(), ciphertext }
}

fn cipher(name: &str, version: u32) -> aes_gcm::Aes256Gcm {
    aes_gcm::Aes256Gcm::new(&Sha256::digest(format!("secret of {name}:{version}")))
}

fn binding(kek_id: [u8; 16], context: &[u8]) -> Vec<u8> {
    [b"keyward.wrap.v1\0\x01\x01", &kek_id[..], &Sha256::digest(context)].concat()
}

impl Keyring {
    pub(crate) fn new(labels: &[(&str, u32)]) -> Self {
        let labels = labels.iter().map(|(name, version)| (name.parse().unwrap(), *version)).collect();
        Self { labels, calls: AtomicUsize::new(0), unwraps: AtomicUsize::new(0) }
    }

    /// Calls of any kind so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Unwrappings so far.
    pub(crate) fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }

    fn newest(&self, name: &KeyName) -> Result<u32> {
        let versions = self.labels.iter().filter(|label| label.0 == *name).map(|label| label.1);
        versions.max().ok_or_else(|| Error::new(ErrorKind::KeyNotFound, format!("no key '{name}'")))
    }

    fn by_id(&self, id: KekId) -> Result<&(KeyName, u32)> {
        let found = self.labels.iter().find(|(name, version)| kek_id(name.as_str(), *version) == *id.as_bytes());
        found.ok_or_else(|| Error::new(ErrorKind::KeyNotFound, format!("no key with KEK id {id}")))
    }

    fn wrap(&self, name: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        let entry = wrap(name.as_str(), self.newest(name)?, &context.to_bytes(), data_key.expose_secret());
        WrappedKey::parse(&entry.bytes()).map(Into::into)
    }

    fn unwrap(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<DataKey> {
        let mut answer = Err(Error::new(ErrorKind::KeyNotFound, "no such key"));
        for key in wrapped {
            let Ok((name, version)) = self.by_id(key.kek_id()) else { continue };
            self.unwraps.fetch_add(1, Ordering::SeqCst);
            answer = Err(Error::new(ErrorKind::NotAuthentic, "cannot unwrap"));
            if key.algorithm() != WrappingAlgorithm::AesGcm || key.parameters().len() != 12 {
                continue;
            }
            let iv: [u8; 12] = key.parameters().try_into().unwrap();
            let aad = binding(*key.kek_id().as_bytes(), &context.to_bytes());
            let (bytes, tag) = key.ciphertext().split_last_chunk::<16>().unwrap();
            let mut bytes = bytes.to_vec();
            let (cipher, in_place) = (cipher(name.as_str(), *version), &mut bytes[..]);
            if cipher.decrypt_inout_detached(&iv.into(), &aad, in_place.into(), &(*tag).into()).is_ok() {
                return DataKey::from_slice(&bytes);
            }
        }
        answer
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl KeyProvider for Keyring {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.called();
        let (name, version) = match key {
            KeyRef::Name(name) => (name.clone(), self.newest(name)?),
            KeyRef::Kek(id) => self.by_id(id)?.clone(),
        };
        let state = if version == self.newest(&name)? { KeyState::Active } else { KeyState::Retired };
        let id = KekId::from_bytes(kek_id(name.as_str(), version));
        let version = version.to_string().parse()?;
        Ok(KeyDescription::new(name, version, id, WrappingAlgorithm::AesGcm, state))
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.called();
        let data_key = DataKey::try_fill(length, |bytes| {
            getrandom::fill(bytes).unwrap();
            Ok(())
        })?;
        let wrapped = self.wrap(key, context, &data_key)?;
        Ok((data_key, wrapped))
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        _: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate_data_key(key, context, length)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.called();
        self.wrap(key, context, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<DataKey> {
        self.called();
        self.unwrap(wrapped, context)
    }

    fn rewrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext, to: &KeyName) -> Result<WrappedKeys> {
        self.called();
        self.wrap(to, context, &self.unwrap(wrapped, context)?)
    }
}
