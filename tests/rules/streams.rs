//! Streams: of any granularity, and never a byte that is not authenticated.

use crate::fixture::{assert_kind, context, decrypt, from_io, keyring, name, read};
use crate::raw::{BODY_HEADER, CHUNK, Parts, SEALED_CHUNK, open_body};
use keyward::{Decryptor, Encryptor, ErrorKind};
use std::io::Read;

pub(crate) fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

pub(crate) fn sealed(len: usize) -> Vec<u8> {
    crate::fixture::sealed(&text(len))
}

/// Reads to the end or to the first error, a few bytes at a time.
fn read_some(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<ErrorKind>) {
    let keyring = keyring();
    let mut reader = match Decryptor::new(&keyring).context(context()).reader(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error.kind())),
    };
    let (mut seen, mut buffer) = (Vec::new(), vec![0xaa; piece]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return (seen, None),
            Ok(n) => seen.extend(&buffer[..n]),
            Err(error) => {
                // Whoever goes on reading gets nothing but the error.
                assert!(reader.read(&mut buffer).is_err());
                return (seen, Some(from_io(error).kind()));
            }
        }
    }
}

#[test]
fn a_reader_yields_exactly_the_chunks_before_one_that_was_altered() {
    // More than are worked on at once.
    for chunks in [3, 66] {
        let len = chunks * CHUNK + 100;
        let file = sealed(len);
        let chunks_at = file.len() - Parts::of(&file).body.len() + BODY_HEADER;
        for altered in (0..=chunks).filter(|chunk| chunks < 10 || [0, 1, 63, 64, 65, 66].contains(chunk)) {
            let sealed_len = if altered == chunks { 100 + 16 } else { SEALED_CHUNK };
            for at in [0, sealed_len / 2, sealed_len - 16, sealed_len - 1] {
                let mut bytes = file.clone();
                bytes[chunks_at + altered * SEALED_CHUNK + at] ^= 0x10;
                let (seen, error) = read_some(&bytes, 5000);
                assert_eq!(error, Some(ErrorKind::NotAuthentic));
                assert!(seen == text(len)[..altered * CHUNK], "chunk {altered} of {chunks}, byte {at}: {}", seen.len());
            }
        }
    }
}

#[test]
fn a_body_cut_at_a_chunk_is_refused_by_every_way_of_reading() {
    for len in [CHUNK, 3 * CHUNK, 3 * CHUNK + 9] {
        let file = sealed(len);
        let chunks_at = file.len() - Parts::of(&file).body.len() + BODY_HEADER;
        for kept in 0..=len / CHUNK {
            let cut = &file[..chunks_at + kept * SEALED_CHUNK];
            assert_kind(read(cut), ErrorKind::NotAuthentic, format!("{kept} chunks of {len} bytes"));
            let (seen, error) = read_some(cut, CHUNK);
            assert_eq!(error, Some(ErrorKind::NotAuthentic));
            assert!(seen == text(len)[..kept * CHUNK]);
        }
    }
}

#[test]
fn chunks_are_bound_to_their_place() {
    let len = 4 * CHUNK;
    let file = sealed(len);
    let chunks_at = file.len() - Parts::of(&file).body.len() + BODY_HEADER;
    let chunk = |k: usize| &file[chunks_at + k * SEALED_CHUNK..chunks_at + (k + 1) * SEALED_CHUNK];
    let (head, last) = (&file[..chunks_at], &file[chunks_at + 4 * SEALED_CHUNK..]);
    let cases: [(&str, Vec<&[u8]>, usize); 6] = [
        ("swapped", vec![chunk(0), chunk(2), chunk(1), chunk(3), last], 1),
        ("repeated", vec![chunk(0), chunk(0), chunk(1), chunk(2), chunk(3), last], 1),
        ("one left out", vec![chunk(0), chunk(2), chunk(3), last], 1),
        ("the first left out", vec![chunk(1), chunk(2), chunk(3), last], 0),
        ("the last but one left out", vec![chunk(0), chunk(1), chunk(2), last], 3),
        ("the last twice", vec![chunk(0), chunk(1), chunk(2), chunk(3), last, last], 4),
    ];
    for (case, chunks, whole) in cases {
        let bytes = [head, &chunks.concat()].concat();
        assert_kind(read(&bytes), ErrorKind::NotAuthentic, case);
        let (seen, _) = read_some(&bytes, 777);
        assert!(seen == text(len)[..whole * CHUNK], "{case}: {}", seen.len());
    }
}

#[test]
fn the_body_is_what_another_implementation_opens() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK] {
        let keyring = keyring();
        let file = Encryptor::new(&keyring, &name("main")).context(context()).encrypt(&text(len)).unwrap();
        let parts = Parts::of(&file);
        assert_eq!(parts.slots.len(), 2048);
        assert_eq!(parts.body.len(), BODY_HEADER + len + 16 * (len / CHUNK + 1));
        // The key by way of the one entry.
        let entry = keyward::WrappedKey::parse(&parts.current().1[0]).unwrap();
        let dek = keyward::KeyProvider::unwrap_data_key(&keyring, &entry.into(), &context()).unwrap();
        let dek: [u8; 32] = dek.expose_secret().try_into().unwrap();
        assert!(open_body(&dek, &parts.core, &parts.body) == text(len), "{len}");
        assert!(decrypt(&file).unwrap() == text(len), "{len}");
    }
}
