//! What the tests share: one master key, one context, and every way of reading an envelope.

use crate::keyring::{self, Keyring};
use crate::raw::{self, Core, Envelope, SlotCopy};
use keyward::durable::Replace;
use keyward::envelope::inspect;
use keyward::key::CustomerKey;
use keyward::{Decryptor, EncryptionContext, Encryptor, Error, ErrorKind, KeyName, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

/// The data key of the envelopes that are made by hand.
pub(crate) const DEK: [u8; 32] = [0x5a; 32];
pub(crate) const CUSTOMER: [u8; 32] = [0xc5; 32];
pub(crate) const TEXT: &[u8] = b"The plaintext, and no other.";
pub(crate) const SLOTS_LEN: u32 = 1024;

pub(crate) fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

pub(crate) fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "acme")]).unwrap()
}

/// The same, serialized by hand.
pub(crate) fn context_bytes() -> Vec<u8> {
    raw::context(&[("tenant", "acme")])
}

/// A provider that holds two versions of `main`, and `other`.
pub(crate) fn keyring() -> Keyring {
    Keyring::new(&[("main", 1), ("main", 2), ("other", 1)])
}

pub(crate) fn customer_key() -> CustomerKey {
    CustomerKey::from_slice(&CUSTOMER).unwrap()
}

/// `data_key` wrapped under `main:2` for the usual context.
pub(crate) fn entry_of(data_key: &[u8]) -> Vec<u8> {
    keyring::wrap("main", 2, &context_bytes(), data_key).bytes()
}

pub(crate) fn good_entry() -> Vec<u8> {
    entry_of(&DEK)
}

/// A whole slot copy with one entry that opens.
pub(crate) fn slot_copy(generation: u32) -> SlotCopy {
    SlotCopy::new(generation, &[good_entry()])
}

/// An envelope made by hand with these entries.
pub(crate) fn envelope(entries: &[Vec<u8>]) -> Envelope {
    Envelope {
        core: Core::new(SLOTS_LEN, context_bytes()),
        a: SlotCopy::new(1, entries).bytes(),
        b: Vec::new(),
        odd: 0,
        key: DEK,
        plaintext: TEXT.to_vec(),
    }
}

/// An envelope that opens.
pub(crate) fn good() -> Envelope {
    envelope(&[good_entry()])
}

/// An envelope of the library's own, of small slots: for tests that go byte by byte.
pub(crate) fn sealed(plaintext: &[u8]) -> Vec<u8> {
    Encryptor::new(&keyring(), &name("main")).context(context()).slots_len(320).encrypt(plaintext).unwrap()
}

/// The plaintext for the usual context, read in [every way](every_way).
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<u8>> {
    let keyring = keyring();
    every_way(|| Decryptor::new(&keyring).context(context()), bytes)
}

/// The same by one way alone, for tests of thousands of envelopes.
pub(crate) fn decrypt(bytes: &[u8]) -> Result<Vec<u8>> {
    Decryptor::new(&keyring()).context(context()).decrypt(bytes)
}

/// Reads in one piece, as a stream, at random, and from file to file: all must give one answer.
#[track_caller]
pub(crate) fn every_way<'a>(decryptor: impl Fn() -> Decryptor<'a>, bytes: &[u8]) -> Result<Vec<u8>> {
    let whole = decryptor().decrypt(bytes);
    let others = [
        ("reader", stream(decryptor(), bytes)),
        ("open", at_random(decryptor(), bytes)),
        ("decrypt_file", file_to_file(decryptor(), bytes)),
    ];
    for (way, answer) in others {
        match (&whole, &answer) {
            (Ok(whole), Ok(answer)) => assert!(whole == answer, "decrypt and {way} differ"),
            (Err(whole), Err(answer)) => assert_eq!(whole.kind(), answer.kind(), "decrypt and {way}: {answer}"),
            _ => panic!("decrypt and {way} differ: {whole:?} and {answer:?}"),
        }
    }
    whole
}

fn stream(decryptor: Decryptor<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    decryptor.reader(bytes)?.read_to_end(&mut out).map_err(from_io)?;
    Ok(out)
}

fn at_random(decryptor: Decryptor<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut open = decryptor.open(Cursor::new(bytes))?;
    let (mut out, len) = (Vec::new(), open.len());
    assert_eq!(open.read_range(0, len, &mut out)?, len);
    Ok(out)
}

fn file_to_file(decryptor: Decryptor<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    fs::write(&input, bytes).unwrap();
    let before = listing(directory.path());
    match decryptor.decrypt_file(&input, &output, Replace::No) {
        Ok(written) => {
            let text = fs::read(&output).unwrap();
            assert_eq!(written, text.len() as u64);
            Ok(text)
        }
        Err(error) => {
            assert_eq!(listing(directory.path()), before, "left behind by {error}");
            Err(error)
        }
    }
}

/// The error of ours that travelled through `std::io`.
pub(crate) fn from_io(error: std::io::Error) -> Error {
    *error.into_inner().expect("an error of Keyward").downcast::<Error>().expect("an error of Keyward")
}

/// Names and contents of a directory.
pub(crate) fn listing(directory: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap as fn(_) -> fs::DirEntry);
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap_or_default())).collect()
}

#[track_caller]
pub(crate) fn assert_kind<T: std::fmt::Debug>(answer: Result<T>, kind: ErrorKind, case: impl std::fmt::Display) {
    match answer {
        Ok(value) => panic!("{case}: {value:?} instead of {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{case}: {error}"),
    }
}

/// It must read as [`TEXT`], in every way.
#[track_caller]
pub(crate) fn assert_opens(envelope: &Envelope, case: impl std::fmt::Display) {
    match read(&envelope.bytes()) {
        Ok(text) => assert!(text == envelope.plaintext, "{case}: another plaintext"),
        Err(error) => panic!("{case}: {error:?}"),
    }
}

/// It must be refused as malformed, in every way, whatever the context.
#[track_caller]
pub(crate) fn assert_malformed(envelope: &Envelope, case: impl std::fmt::Display) {
    let (bytes, keyring) = (envelope.bytes(), keyring());
    let answer = every_way(|| Decryptor::new(&keyring).any_context(), &bytes);
    assert_kind(answer, ErrorKind::NotAnEnvelope, &case);
    assert_kind(inspect(&mut &bytes[..]), ErrorKind::NotAnEnvelope, format!("{case}, inspected"));
    assert_eq!(keyring.calls(), 0, "{case}: malformed, and yet the provider was called");
}
