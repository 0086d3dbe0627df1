//! Everything that reads an envelope. An input that begins with the magic is taken as an envelope;
//! any other as a script of edits for a good one.
//!
//! Nothing panics. All ways of reading agree on what they read. No edit makes an envelope open to
//! anything but what was put into one of the originals, with all its entries and its generation, nor
//! lets go of a byte of anything else.

#![no_main]

use keyward::envelope::{InspectedEntry, Opening, inspect};
use keyward::{Decryptor, EncryptionContext, ErrorKind, WrappedKey};
use keyward_fuzz::edits::{edited, repair};
use keyward_fuzz::originals::{Original, Originals};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::sync::LazyLock;

static ORIGINALS: LazyLock<Originals> = LazyLock::new(|| Originals::new().expect("envelopes to edit"));

const MAGIC_BYTE: u8 = 0x89;

fuzz_target!(|input: &[u8]| {
    match input {
        [MAGIC_BYTE, ..] => {
            as_it_is(input);
            let mut repaired = input.to_vec();
            repair(&mut repaired);
            as_it_is(&repaired);
        }
        [which, other, script @ ..] => edits(*which, *other, script),
        _ => {}
    }
});

/// The bytes as an envelope, under any key there is.
fn as_it_is(bytes: &[u8]) {
    let provider = Decryptor::new(&ORIGINALS.provider).any_context();
    let customer = Decryptor::with_customer_key(&ORIGINALS.customer).any_context();
    for decryptor in [provider, customer] {
        read_in_every_way(&decryptor, bytes);
    }
}

/// A script of edits, of one original and with parts of another.
fn edits(which: u8, other: u8, script: &[u8]) {
    let all = &ORIGINALS.all;
    let original = &all[usize::from(which) % all.len()];
    let other = &all[usize::from(other) % all.len()];
    let bytes = edited(&original.envelope, script, &other.envelope);
    let decryptor = ORIGINALS.decryptor(original);

    let (released, header) = stream(&decryptor, &bytes);
    if let Some((context, opening)) = header {
        let is_of = |(original, its_opening): (&Original, &Opening)| {
            original.context == context && original.plaintext.starts_with(&released) && *its_opening == opening
        };
        assert!(all.iter().zip(&ORIGINALS.openings).any(is_of), "an edit released bytes or facts of no original");
    }
    if let Some((plaintext, context)) = read_in_every_way(&decryptor, &bytes) {
        assert!(
            all.iter().any(|original| original.plaintext == plaintext && original.context == context),
            "an edit made another plaintext"
        );
    }
}

/// Returns what a reader releases before it fails or ends, and the context and the opening that it gave if it began.
fn stream(decryptor: &Decryptor<'_>, bytes: &[u8]) -> (Vec<u8>, Option<(EncryptionContext, Opening)>) {
    let mut released = Vec::new();
    let Ok(mut reader) = decryptor.reader(bytes) else { return (released, None) };
    while reader.write_to(&mut released).is_ok_and(|len| len > 0) {}
    (released, Some((reader.context().clone(), reader.opening().clone())))
}

/// Inspects, decrypts as a whole, as a stream and as a range; the plaintext and its context where
/// there is one.
fn read_in_every_way(decryptor: &Decryptor<'_>, bytes: &[u8]) -> Option<(Vec<u8>, EncryptionContext)> {
    let inspection = inspect(&mut &bytes[..]);
    if let Ok(seen) = &inspection {
        let context = EncryptionContext::parse(&seen.context.to_bytes()).expect("a context that was parsed");
        assert_eq!(context, seen.context);
        assert!(seen.header_len <= bytes.len() as u64 && seen.entries.len() <= 16);
        assert_eq!(seen.detached, seen.generation.is_none());
        assert!(!(seen.detached && seen.compact));
        for entry in &seen.entries {
            if let InspectedEntry::Known(key) = entry {
                assert_eq!(WrappedKey::parse(&key.to_bytes()).expect("a key that was parsed"), *key);
            }
        }
    }

    let whole = decryptor.decrypt(bytes);
    let range = decryptor.open(Cursor::new(bytes));
    match whole {
        Ok(plaintext) => {
            let seen = inspection.expect("what decrypts can be inspected");
            let (released, header) = stream(decryptor, bytes);
            assert_eq!(released, plaintext);
            let (context, opening) = header.expect("what decrypts can be streamed");
            assert_eq!(context, seen.context);
            let mut range = range.expect("what decrypts can be opened for ranges");
            assert_eq!((range.len(), range.context()), (plaintext.len() as u64, &seen.context));
            assert_eq!(*range.opening(), opening);
            let mut out = Vec::new();
            range.read_range(0, u64::MAX, &mut out).expect("what decrypts can be read as a range");
            assert_eq!(out, plaintext);
            Some((plaintext, seen.context))
        }
        Err(error) => {
            assert!(!matches!(error.kind(), ErrorKind::Internal | ErrorKind::Io), "{error}");
            if inspection.is_err() {
                assert!(range.is_err(), "a range of what is no envelope");
            }
            // A range may be read of an envelope that is damaged elsewhere, but never all of it.
            if let Ok(mut range) = range {
                assert!(range.read_range(0, u64::MAX, &mut std::io::sink()).is_err(), "a range of what is damaged");
            }
            None
        }
    }
}
