//! A signer and a place for anchors that are no token.

use keyward::audit::HeadKey;
use keyward::key::{AnchorStore, Signer};
use keyward::{Error, ErrorKind, Result};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Signs in memory, with a key that anyone can read here.
pub(crate) struct FakeSigner {
    key: SigningKey,
    /// As when the token is away.
    pub(crate) fails: AtomicBool,
    pub(crate) signed: AtomicU64,
    /// Whoever holds it keeps the signer from answering.
    hangs: Mutex<()>,
}

impl FakeSigner {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        Self { key, fails: AtomicBool::new(false), signed: AtomicU64::new(0), hangs: Mutex::new(()) }
    }

    pub(crate) fn public_key(&self) -> HeadKey {
        HeadKey::from_point(self.public_point()).unwrap()
    }

    pub(crate) fn hang(&self) -> MutexGuard<'_, ()> {
        self.hangs.lock().unwrap()
    }
}

impl Signer for FakeSigner {
    fn public_point(&self) -> [u8; 65] {
        self.key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        drop(self.hangs.lock().unwrap());
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::TokenUnavailable, "the fake token is away"));
        }
        self.signed.fetch_add(1, Ordering::SeqCst);
        let signature: Signature = self.key.sign(message);
        Ok(signature.to_bytes().into())
    }
}

/// Anchors in memory.
#[derive(Default)]
pub(crate) struct Anchors {
    texts: Mutex<BTreeMap<String, String>>,
    pub(crate) fails: AtomicBool,
    pub(crate) written: AtomicU64,
}

impl Anchors {
    pub(crate) fn clear(&self) {
        self.texts.lock().unwrap().clear();
    }
}

impl AnchorStore for Anchors {
    fn anchors(&self) -> Result<Vec<String>> {
        Ok(self.texts.lock().unwrap().values().cloned().collect())
    }

    fn set_anchor(&self, name: &str, text: &str) -> Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::TokenUnavailable, "the fake token is full"));
        }
        self.written.fetch_add(1, Ordering::SeqCst);
        self.texts.lock().unwrap().insert(name.to_owned(), text.to_owned());
        Ok(())
    }
}
