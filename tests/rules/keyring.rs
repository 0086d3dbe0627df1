//! A provider whose master keys follow from their labels, so that two processes hold the same ones.
//! It wraps by AES-256-GCM, written from `docs/format.md`, and counts how often it is called. Keys whose names begin with
//! `rsa` stand for RSA keys: their wrapped keys are laid out as those are, and nothing authenticates their occasion.

use crate::raw::{Entry, GENERATION, LATER};
use aes_gcm::aead::{AeadInOut, KeyInit};
use keyward::key::{KeyDescription, KeyState};
use keyward::{
    DataKey, DataKeyLength, EncryptionContext, Error, ErrorKind, KekId, KeyName, KeyProvider, KeyRef, Origin, Result,
    UnwrappedKey, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// The newest version of each name is active, the others retired.
#[derive(Debug)]
pub(crate) struct Keyring {
    labels: Vec<(KeyName, u32)>,
    created: BTreeMap<(KeyName, u32), SystemTime>,
    calls: AtomicUsize,
    unwraps: AtomicUsize,
}

pub(crate) fn kek_id(name: &str, version: u32) -> [u8; 16] {
    Sha256::digest(format!("id of {name}:{version}"))[..16].try_into().unwrap()
}

/// Wraps `data_key` under a master key for a serialized context, as when it is generated.
pub(crate) fn wrap(name: &str, version: u32, context: &[u8], data_key: &[u8]) -> Entry {
    wrap_on(GENERATION, name, version, context, data_key)
}

/// The same for a data key that exists already.
pub(crate) fn wrap_later(name: &str, version: u32, context: &[u8], data_key: &[u8]) -> Entry {
    wrap_on(LATER, name, version, context, data_key)
}

fn wrap_on(occasion: u8, name: &str, version: u32, context: &[u8], data_key: &[u8]) -> Entry {
    let mut iv = [0; 12];
    getrandom::fill(&mut iv).unwrap();
    let (algorithm, kek_id) = (algorithm_of(name), kek_id(name, version));
    let bind = binding(occasion, algorithm.code(), kek_id, context);
    let seal = |aad: &[u8], mut text: Vec<u8>| {
        let tag = cipher(name, version).encrypt_inout_detached(&iv.into(), aad, (&mut text[..]).into()).unwrap();
        [text, tag.to_vec()].concat()
    };
    let (parameters, ciphertext) = match algorithm.is_rsa() {
        false => (iv.to_vec(), seal(&bind, data_key.to_vec())),
        true => {
            let mut modulus = [&iv[..], &seal(&[], [data_key, &Sha256::digest(bind)].concat())].concat();
            modulus.resize(RSA_LEN, 0);
            (Vec::new(), modulus)
        }
    };
    Entry { occasion, algorithm: algorithm.code(), kek_id, parameters, ciphertext }
}

/// As [`wrap_on`] wraps; the data key, if it opens.
fn unwrap_one(name: &str, version: u32, context: &[u8], key: &WrappedKey) -> Option<Vec<u8>> {
    let algorithm = algorithm_of(name);
    let bind = binding(key.to_bytes()[0], algorithm.code(), kek_id(name, version), context);
    let open = |iv: &[u8], aad: &[u8], sealed: &[u8]| {
        let (iv, (text, tag)) = (<[u8; 12]>::try_from(iv).ok()?, sealed.split_last_chunk::<16>()?);
        let mut text = text.to_vec();
        let (cipher, in_place) = (cipher(name, version), &mut text[..]);
        let opened = cipher.decrypt_inout_detached(&iv.into(), aad, in_place.into(), &(*tag).into());
        opened.is_ok().then_some(text)
    };
    match (key.algorithm() == algorithm, algorithm.is_rsa()) {
        (false, _) => None,
        (true, false) => open(key.parameters(), &bind, key.ciphertext()),
        (true, true) => {
            let (iv, sealed) = key.ciphertext().split_at(12);
            let text = open(iv, &[], &sealed[..32 + 32 + 16])?;
            let (data_key, digest) = text.split_at(32);
            (*digest == Sha256::digest(bind)[..]).then(|| data_key.to_vec())
        }
    }
}

/// The least modulus that the format has, in bytes.
const RSA_LEN: usize = 256;

fn algorithm_of(name: &str) -> WrappingAlgorithm {
    if name.starts_with("rsa") { WrappingAlgorithm::RsaOaep } else { WrappingAlgorithm::AesGcm }
}

/// The data key of an entry under any version of any key of these tests: what everyone knows who ever opened the file.
pub(crate) fn unwrapped(entry: &[u8]) -> [u8; 32] {
    unwrapped_for(&crate::fixture::context(), entry)
}

pub(crate) fn unwrapped_for(context: &EncryptionContext, entry: &[u8]) -> [u8; 32] {
    let keys = Keyring::new(&[("main", 1), ("main", 2), ("main", 3), ("other", 1), ("rsa", 1), ("stranger", 1)]);
    let wrapped = WrappedKey::parse(entry).unwrap();
    keys.unwrap(&wrapped.into(), context).unwrap().expose_secret().try_into().unwrap()
}

fn cipher(name: &str, version: u32) -> aes_gcm::Aes256Gcm {
    aes_gcm::Aes256Gcm::new(&Sha256::digest(format!("secret of {name}:{version}")))
}

fn binding(occasion: u8, algorithm: u8, kek_id: [u8; 16], context: &[u8]) -> Vec<u8> {
    [b"keyward.wrap.v1\0", &[occasion, algorithm][..], &kek_id, &Sha256::digest(context)].concat()
}

impl Keyring {
    pub(crate) fn new(labels: &[(&str, u32)]) -> Self {
        let labels = labels.iter().map(|(name, version)| (name.parse().unwrap(), *version)).collect();
        Self { labels, created: BTreeMap::new(), calls: AtomicUsize::new(0), unwraps: AtomicUsize::new(0) }
    }

    /// Records when a version was created. Without, that is unknown.
    pub(crate) fn created(mut self, name: &str, version: u32, time: SystemTime) -> Self {
        self.created.insert((name.parse().unwrap(), version), time);
        self
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

    fn describe(&self, name: &KeyName, version: u32) -> Result<KeyDescription> {
        let state = if version == self.newest(name)? { KeyState::Active } else { KeyState::Retired };
        let id = KekId::from_bytes(kek_id(name.as_str(), version));
        let algorithm = algorithm_of(name.as_str());
        let mut description = KeyDescription::new(name.clone(), version.to_string().parse()?, id, algorithm, state);
        description.created = self.created.get(&(name.clone(), version)).copied();
        Ok(description)
    }

    fn wrap(
        &self,
        occasion: u8,
        name: &KeyName,
        context: &EncryptionContext,
        data_key: &DataKey,
    ) -> Result<WrappedKeys> {
        let version = self.newest(name)?;
        let entry = wrap_on(occasion, name.as_str(), version, &context.to_bytes(), data_key.expose_secret());
        WrappedKey::parse(&entry.bytes()).map(Into::into)
    }

    fn unwrap(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        let mut answer = Err(Error::new(ErrorKind::KeyNotFound, "no such key"));
        let symmetric = wrapped.iter().filter(|key| !key.algorithm().is_rsa());
        for key in symmetric.chain(wrapped.iter().filter(|key| key.algorithm().is_rsa())) {
            let Ok((name, version)) = self.by_id(key.kek_id()) else { continue };
            self.unwraps.fetch_add(1, Ordering::SeqCst);
            answer = Err(Error::new(ErrorKind::NotAuthentic, "cannot unwrap"));
            if let Some(bytes) = unwrap_one(name.as_str(), *version, &context.to_bytes(), key) {
                let data_key = DataKey::from_slice(&bytes)?;
                return Ok(UnwrappedKey::new(data_key, key.clone(), self.describe(name, *version)?));
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
        self.describe(&name, version)
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
        let wrapped = self.wrap(GENERATION, key, context, &data_key)?;
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
        self.wrap(LATER, key, context, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        self.called();
        self.unwrap(wrapped, context)
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        self.called();
        let source = self.unwrap(wrapped, context)?;
        let moved = self.wrap(LATER, to, context, &source.data_key)?;
        origin.check(source.wrapped.algorithm(), moved.iter().map(WrappedKey::algorithm))?;
        Ok(moved)
    }
}
