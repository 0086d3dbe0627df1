//! Properties that hold for any plaintext, granularity, engine and damage.

use crate::fixture::{context, from_io, keyring, name};
use crate::raw::{BODY_HEADER, CHUNK, MAGIC, Parts, SEALED_CHUNK};
use crate::streams::text;
use keyward::envelope::{DetachedSlots, inspect};
use keyward::{Decryptor, EncryptionContext, Encryptor, Engine, ErrorKind};
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};

/// Lengths, most of them near a chunk's border.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0),
        Just(1),
        2..600_usize,
        (1..4_usize, 0..3_usize).prop_map(|(chunks, offset)| chunks * CHUNK + offset - 1),
        (63..66_usize, 0..3_usize).prop_map(|(chunks, offset)| chunks * CHUNK + offset - 1),
        0..5 * CHUNK,
    ]
}

/// The sizes of the pieces that are read or written at once.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let piece = prop_oneof![1..100_usize, CHUNK - 1..CHUNK + 2, SEALED_CHUNK - 1..SEALED_CHUNK + 2, 1..5 * CHUNK];
    // One that is not tiny, so that a case does not take long.
    (prop::collection::vec(piece, 0..4), 1000..3 * CHUNK).prop_map(|(mut pieces, last)| {
        pieces.push(last);
        pieces
    })
}

fn engines() -> impl Strategy<Value = Engine> {
    prop::sample::select(Engine::ALL)
}

fn written(plaintext: &[u8], pieces: &[usize], engine: Engine) -> Vec<u8> {
    let keyring = keyring();
    let encryptor = Encryptor::new(&keyring, &name("main")).context(context()).engine(engine).slots_len(320);
    let mut writer = encryptor.writer(Vec::new()).unwrap();
    let (mut rest, mut sizes) = (plaintext, pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        writer.write_all(piece).unwrap();
        rest = after;
    }
    writer.finish().unwrap()
}

/// What comes out before the end or an error, and the error.
fn read(file: &[u8], pieces: &[usize], engine: Engine) -> (Vec<u8>, Option<ErrorKind>) {
    let keyring = keyring();
    let mut reader = match Decryptor::new(&keyring).context(context()).engine(engine).reader(file) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error.kind())),
    };
    let mut out = Vec::new();
    for size in pieces.iter().cycle() {
        let mut piece = vec![0; *size];
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(got) => out.extend(&piece[..got]),
            Err(error) => return (out, Some(from_io(error).kind())),
        }
    }
    (out, None)
}

fn decryptor_of<T>(engine: Engine, act: impl FnOnce(Decryptor<'_>) -> T) -> T {
    act(Decryptor::new(&keyring()).context(context()).engine(engine))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_in_any_pieces_is_read_in_any_others_by_any_engine(
        len in lengths(), written_in in pieces(), read_in in pieces(), seals in engines(), opens in engines(),
    ) {
        let text = text(len);
        let file = written(&text, &written_in, seals);
        prop_assert_eq!(Parts::of(&file).body.len(), BODY_HEADER + len + 16 * (len / CHUNK + 1));
        let (out, error) = read(&file, &read_in, opens);
        prop_assert_eq!(error, None);
        prop_assert!(out == text);
        prop_assert!(decryptor_of(opens, |decryptor| decryptor.decrypt(&file)).unwrap() == text);
    }

    #[test]
    fn any_range_is_that_slice(len in lengths(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
        seals in engines(), opens in engines()) {
        let text = text(len);
        let file = written(&text, &[CHUNK], seals);
        let (a, b) = (a.index(len + 1), b.index(len + 1));
        let (first, end) = (a.min(b), a.max(b));
        let mut envelope = decryptor_of(opens, |decryptor| decryptor.open(Cursor::new(&file))).unwrap();
        let mut out = Vec::new();
        prop_assert_eq!(envelope.read_range(first as u64, end as u64, &mut out).unwrap(), (end - first) as u64);
        prop_assert!(out == text[first..end]);
    }

    #[test]
    fn a_cut_or_damaged_file_never_gives_another_plaintext(len in lengths(), at in any::<prop::sample::Index>(),
        mask in 1..=255_u8, cut in any::<bool>(), read_in in pieces(), engine in engines()) {
        let text = text(len);
        let mut file = written(&text, &[CHUNK], engine);
        let parts = Parts::of(&file);
        let spare = parts.core.len() + parts.slots.len() / 2..parts.core.len() + parts.slots.len();
        let at = at.index(file.len());
        if cut { file.truncate(at) } else { file[at] ^= mask }
        let harmless = !cut && spare.contains(&at);
        let (out, error) = read(&file, &read_in, engine);
        prop_assert_eq!(error.is_none(), harmless);
        prop_assert!(text.starts_with(&out), "not the plaintext's beginning");
        // Exactly the chunks that stand whole before the damage.
        if let (Some(in_chunks), false) = (at.checked_sub(spare.end + BODY_HEADER), harmless) {
            prop_assert_eq!(out.len(), (in_chunks / SEALED_CHUNK * CHUNK).min(text.len()));
        }
        prop_assert_eq!(decryptor_of(engine, |decryptor| decryptor.decrypt(&file)).is_ok(), harmless);
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in prop::collection::vec(any::<u8>(), 0..700), kept in 0..40_usize) {
        // A good beginning, so that the deeper parts of parsing see something.
        let mut file = [&MAGIC[..], &[0, 1, 0, 0], &[7; 16], &[0, 0, 1, 0x40, 0, 0]].concat();
        file.truncate(kept);
        file.extend(&bytes);
        let keyring = keyring();
        let decryptor = || Decryptor::new(&keyring).any_context();
        prop_assert!(decryptor().decrypt(&file).is_err());
        prop_assert!(decryptor().open(Cursor::new(&file)).is_err());
        let _ = inspect(&mut &file[..]);
        let _ = DetachedSlots::from_bytes(bytes);
    }

    #[test]
    fn any_context_opens_for_itself_alone(
        pairs in prop::collection::btree_map("[a-zä]{1,8}", "\\PC{0,12}", 0..6),
        others in prop::collection::btree_map("[a-zä]{1,8}", "\\PC{0,12}", 0..6),
    ) {
        let (context, other) =
            (EncryptionContext::from_pairs(pairs.clone()).unwrap(), EncryptionContext::from_pairs(others.clone()).unwrap());
        let by_hand: Vec<_> = pairs.iter().collect();
        let serialized = if pairs.is_empty() { Vec::new() } else { crate::raw::context(&by_hand) };
        let keyring = keyring();
        let file = Encryptor::new(&keyring, &name("main")).context(context.clone()).encrypt(b"x").unwrap();
        prop_assert_eq!(&file[34..34 + serialized.len()], &serialized[..]);
        prop_assert_eq!(Decryptor::new(&keyring).context(context).decrypt(&file).unwrap(), b"x");
        let answer = Decryptor::new(&keyring).context(other).decrypt(&file).map_err(|error| error.kind());
        prop_assert_eq!(answer.err(), (pairs != others).then_some(ErrorKind::ContextMismatch));
    }
}
