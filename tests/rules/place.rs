//! An envelope in a directory of its own, and rewraps of it.

use crate::fixture::{TEXT, assert_kind, context, good, listing, name};
use crate::keyring::{Keyring, wrap};
use crate::raw::{Envelope, Parts, SlotCopy};
use keyward::durable::Replace;
use keyward::envelope::Rewrap;
use keyward::{Decryptor, Encryptor, ErrorKind, KeyProvider, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const SEALED: &str = "sealed";

pub(crate) fn old_key() -> Keyring {
    Keyring::new(&[("main", 1)])
}

pub(crate) fn both_keys() -> Keyring {
    Keyring::new(&[("main", 1), ("main", 2)])
}

pub(crate) fn new_key() -> Keyring {
    Keyring::new(&[("main", 2)])
}

/// The data key of the envelopes made by hand, wrapped under the old version.
pub(crate) fn old_entry() -> Vec<u8> {
    wrap("main", 1, &crate::fixture::context_bytes(), &crate::fixture::DEK).bytes()
}

/// An envelope made by hand under the old version.
pub(crate) fn old_envelope(generation: u32) -> Envelope {
    Envelope { a: SlotCopy::new(generation, &[old_entry()]).bytes(), ..good() }
}

/// A rewrap for the usual context.
pub(crate) fn rewrap(provider: &dyn KeyProvider) -> Rewrap<'_> {
    Rewrap::new(provider).context(context())
}

pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SEALED);
        fs::write(&path, bytes).unwrap();
        Self { directory, path }
    }

    /// A file of the library's own under the old version, with slot copies as short as can be.
    pub(crate) fn sealed() -> Self {
        let provider = old_key();
        let encryptor = Encryptor::new(&provider, &name("main")).context(context()).slots_len(320);
        Self::new(&encryptor.encrypt(TEXT).unwrap())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts::of(&self.bytes())
    }

    /// Decrypts the file with these keys.
    pub(crate) fn read(&self, provider: &Keyring) -> Result<Vec<u8>> {
        read_file(&self.path, provider)
    }

    /// Does what must fail so, and sees that nothing has changed.
    #[track_caller]
    pub(crate) fn refuses<T: std::fmt::Debug>(
        &self,
        case: impl std::fmt::Display,
        kind: ErrorKind,
        act: impl FnOnce(&Path) -> Result<T>,
    ) {
        let before = listing(self.directory.path());
        assert_kind(act(&self.path), kind, &case);
        assert!(listing(self.directory.path()) == before, "{case}: something has changed");
    }
}

pub(crate) fn read_file(path: &Path, provider: &Keyring) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    Decryptor::new(provider).context(context()).decrypt_file(path, &out, Replace::No)?;
    Ok(fs::read(out).unwrap())
}
