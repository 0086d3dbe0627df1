//! From file to file: what appears, what is replaced, and that nothing is left behind.

use crate::fixture::{TEXT, assert_kind, context, from_io, keyring, listing, name, sealed};
use crate::keyring::Keyring;
use crate::raw::CHUNK;
use keyward::durable::Replace;
use keyward::envelope::{Recipients, Reencrypt};
use keyward::{Decryptor, Encryptor, ErrorKind};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

const OLD: &[u8] = b"what stood here before";

/// A directory with an input, and perhaps an output.
struct Place {
    directory: TempDir,
    input: PathBuf,
    output: PathBuf,
}

impl Place {
    fn new(input: &[u8], output: Option<&[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { input: directory.path().join("in"), output: directory.path().join("out"), directory };
        fs::write(&place.input, input).unwrap();
        if let Some(output) = output {
            fs::write(&place.output, output).unwrap();
        }
        place
    }

    /// Does it, and sees that it fails so and changes nothing.
    fn refuses<T: std::fmt::Debug>(&self, case: &str, kind: ErrorKind, act: impl FnOnce() -> keyward::Result<T>) {
        let before = listing(self.directory.path());
        assert_kind(act(), kind, case);
        assert_eq!(listing(self.directory.path()), before, "{case}");
    }
}

/// Envelopes that do not decrypt, with what is said of them.
fn bad() -> Vec<(&'static str, Vec<u8>, ErrorKind)> {
    let long = sealed(&vec![7; 3 * CHUNK]);
    let flipped = |from_end: usize| {
        let mut bytes = long.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        bytes
    };
    let mut wrong_slots = sealed(TEXT);
    let slots = crate::raw::Parts::of(&sealed(TEXT));
    wrong_slots[slots.core.len()..slots.core.len() + slots.slots.len()].copy_from_slice(&slots.slots);
    vec![
        ("empty", Vec::new(), ErrorKind::NotAnEnvelope),
        ("not an envelope", TEXT.to_vec(), ErrorKind::NotAnEnvelope),
        ("cut in the header", long[..100].to_vec(), ErrorKind::NotAnEnvelope),
        ("cut at a chunk", long[..long.len() - 16].to_vec(), ErrorKind::NotAuthentic),
        ("cut in a chunk", long[..long.len() - 1000].to_vec(), ErrorKind::NotAuthentic),
        ("extended", [&long[..], &[0]].concat(), ErrorKind::NotAuthentic),
        ("last chunk altered", flipped(1), ErrorKind::NotAuthentic),
        ("second chunk altered", flipped(CHUNK + 200), ErrorKind::NotAuthentic),
        ("another file's slots", wrong_slots, ErrorKind::NotAuthentic),
    ]
}

#[test]
fn a_failed_decryption_leaves_nothing_and_harms_nothing() {
    let keyring = keyring();
    let decryptor = Decryptor::new(&keyring).context(context());
    for (case, bytes, kind) in bad() {
        for (output, replace) in [(None, Replace::No), (None, Replace::Yes), (Some(OLD), Replace::Yes)] {
            let place = Place::new(&bytes, output);
            place.refuses(case, kind, || decryptor.decrypt_file(&place.input, &place.output, replace));
        }
        let place = Place::new(&bytes, None);
        place.refuses(case, kind, || decryptor.decrypt_file(&place.input, &place.input, Replace::Yes));
    }
    let place = Place::new(&sealed(TEXT), Some(OLD));
    let elsewhere = Keyring::new(&[("other", 1)]);
    place.refuses("unknown key", ErrorKind::KeyNotFound, || {
        Decryptor::new(&elsewhere).context(context()).decrypt_file(&place.input, &place.output, Replace::Yes)
    });
    place.refuses("no context", ErrorKind::ContextMismatch, || {
        Decryptor::new(&keyring).decrypt_file(&place.input, &place.output, Replace::Yes)
    });
    let missing = place.directory.path().join("missing");
    place.refuses("no input", ErrorKind::Io, || decryptor.decrypt_file(&missing, &place.output, Replace::Yes));
}

#[test]
fn a_failed_encryption_leaves_nothing_and_harms_nothing() {
    let keyring = keyring();
    let main = name("main");
    for output in [None, Some(OLD)] {
        let place = Place::new(TEXT, output);
        let encrypt = |encryptor: Encryptor<'_>| encryptor.encrypt_file(&place.input, &place.output, Replace::Yes);
        place.refuses("unknown key", ErrorKind::KeyNotFound, || encrypt(Encryptor::new(&keyring, &name("stranger"))));
        place.refuses("unknown second key", ErrorKind::KeyNotFound, || {
            encrypt(Encryptor::new(&keyring, &main).also(&keyring, &name("stranger")))
        });
        place.refuses("slots too short", ErrorKind::InvalidArgument, || {
            encrypt(Encryptor::new(&keyring, &main).slots_len(319))
        });
        let many = (0..16).fold(Encryptor::new(&keyring, &main), |many, _| many.also(&keyring, &main));
        place.refuses("17 entries", ErrorKind::LimitExceeded, || encrypt(many));
        let missing = place.directory.path().join("missing");
        place.refuses("no input", ErrorKind::Io, || {
            Encryptor::new(&keyring, &main).encrypt_file(&missing, &place.output, Replace::Yes)
        });
        place.refuses("a directory for an input", ErrorKind::Io, || {
            Encryptor::new(&keyring, &main).encrypt_file(place.directory.path(), &place.output, Replace::Yes)
        });
    }
    let place = Place::new(TEXT, None);
    let nowhere = place.directory.path().join("no").join("such");
    place.refuses("no directory for the output", ErrorKind::Io, || {
        Encryptor::new(&keyring, &main).encrypt_file(&place.input, &nowhere, Replace::No)
    });
}

#[test]
fn an_output_that_exists_is_replaced_only_when_asked_to() {
    let keyring = keyring();
    let encryptor = Encryptor::new(&keyring, &name("main")).context(context());
    let decryptor = Decryptor::new(&keyring).context(context());

    let place = Place::new(TEXT, Some(OLD));
    fs::set_permissions(&place.output, fs::Permissions::from_mode(0o640)).unwrap();
    place.refuses("encrypt", ErrorKind::OutputExists, || {
        encryptor.encrypt_file(&place.input, &place.output, Replace::No)
    });
    place.refuses("encrypt in place", ErrorKind::OutputExists, || {
        encryptor.encrypt_file(&place.input, &place.input, Replace::No)
    });
    assert_eq!(encryptor.encrypt_file(&place.input, &place.output, Replace::Yes).unwrap(), TEXT.len() as u64);
    assert_eq!(fs::metadata(&place.output).unwrap().permissions().mode() & 0o777, 0o640);
    place.refuses("decrypt", ErrorKind::OutputExists, || {
        decryptor.decrypt_file(&place.output, &place.input, Replace::No)
    });
    fs::write(&place.input, OLD).unwrap();
    assert_eq!(decryptor.decrypt_file(&place.output, &place.input, Replace::Yes).unwrap(), TEXT.len() as u64);
    assert_eq!(fs::read(&place.input).unwrap(), TEXT);
    assert_eq!(listing(place.directory.path()).len(), 2);
}

#[test]
fn a_file_may_be_its_own_output() {
    let keyring = keyring();
    let text: Vec<u8> = (0..5 * CHUNK + 3).map(|i| (i % 251) as u8).collect();
    let place = Place::new(&text, None);
    Encryptor::new(&keyring, &name("main")).encrypt_file(&place.input, &place.input, Replace::Yes).unwrap();
    assert!(fs::read(&place.input).unwrap() != text);
    Decryptor::new(&keyring).decrypt_file(&place.input, &place.input, Replace::Yes).unwrap();
    assert!(fs::read(&place.input).unwrap() == text);
    assert_eq!(listing(place.directory.path()).len(), 1);
}

#[test]
fn reencryption_makes_a_new_body_for_a_new_key_and_loses_nothing_where_it_fails() {
    let keyring = keyring();
    let decryptor = Decryptor::new(&keyring).context(context());
    let to = |key: &str| Reencrypt::new(decryptor.clone(), Recipients::Named(Encryptor::new(&keyring, &name(key))));
    for (case, bytes, kind) in bad() {
        let place = Place::new(&bytes, Some(OLD));
        let act = |output| to("other").file_to(&place.input, output, Replace::Yes);
        place.refuses(case, kind, || act(&place.output));
        place.refuses(case, kind, || act(&place.input));
    }
    let place = Place::new(&sealed(TEXT), None);
    let before = crate::raw::Parts::of(&fs::read(&place.input).unwrap());
    place.refuses("unknown key", ErrorKind::KeyNotFound, || to("stranger").file(&place.input));
    place.refuses("not to be replaced", ErrorKind::OutputExists, || {
        to("other").file_to(&place.input, &place.input, Replace::No)
    });
    to("other").file(&place.input).unwrap();
    let bytes = fs::read(&place.input).unwrap();
    let after = crate::raw::Parts::of(&bytes);
    assert_ne!(after.core[12..28], before.core[12..28], "message ids");
    assert_ne!(after.body[56..], before.body[56..], "ciphertexts");
    assert_eq!(Decryptor::new(&Keyring::new(&[("other", 1)])).context(context()).decrypt(&bytes).unwrap(), TEXT);
    // Whoever kept the old slots opens nothing with them.
    let mixed = crate::raw::Parts { core: after.core, slots: before.slots.clone(), body: after.body };
    let mixed = [mixed.core, mixed.slots, mixed.body].concat();
    assert!(decryptor.decrypt(&mixed).is_err());
    assert_eq!(listing(place.directory.path()).len(), 1);
}

#[test]
fn symbolic_links_are_followed_and_stay() {
    let keyring = keyring();
    let place = Place::new(&sealed(TEXT), Some(OLD));
    let link = place.directory.path().join("link");
    symlink(&place.output, &link).unwrap();
    let decryptor = Decryptor::new(&keyring).context(context());
    place.refuses("through a link", ErrorKind::OutputExists, || {
        decryptor.decrypt_file(&place.input, &link, Replace::No)
    });
    decryptor.decrypt_file(&place.input, &link, Replace::Yes).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&place.output).unwrap(), TEXT);
    // A link to nothing is there all the same, and what it names may be anywhere.
    let dangling = place.directory.path().join("dangling");
    symlink(place.directory.path().join("nothing"), &dangling).unwrap();
    let before = listing(place.directory.path());
    decryptor.decrypt_file(&place.input, &dangling, Replace::No).expect_err("a link to nothing");
    assert_eq!(listing(place.directory.path()), before);
}

#[test]
fn a_writer_that_is_not_finished_leaves_an_envelope_that_does_not_open() {
    struct Shared<'a>(&'a std::cell::RefCell<Vec<u8>>);
    impl Write for Shared<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let keyring = keyring();
    for len in [0, 1, CHUNK, 2 * CHUNK, 70 * CHUNK] {
        let out = std::cell::RefCell::new(Vec::new());
        let encryptor = Encryptor::new(&keyring, &name("main")).context(context());
        let mut writer = encryptor.writer(Shared(&out)).unwrap();
        writer.write_all(&vec![1; len]).unwrap();
        writer.flush().unwrap();
        drop(writer);
        assert_kind(
            crate::fixture::decrypt(&out.borrow()),
            ErrorKind::NotAuthentic,
            format!("{len} bytes, unfinished"),
        );
    }
}

#[test]
fn what_a_stream_says_is_the_same_error() {
    let keyring = keyring();
    let mut bytes = sealed(TEXT);
    *bytes.last_mut().unwrap() ^= 1;
    let mut reader = Decryptor::new(&keyring).context(context()).reader(&bytes[..]).unwrap();
    let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(from_io(error).kind(), ErrorKind::NotAuthentic);
}
