//! The content of an envelope as a file that can be read and sought in.

use crate::fixture::{assert_kind, context, from_io, keyring};
use crate::raw::{BODY_HEADER, CHUNK, Parts, SEALED_CHUNK};
use crate::streams::{sealed, text};
use keyward::envelope::{Content, Positioned, ReadAt};
use keyward::{Decryptor, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is read, and answers with short reads.
struct Counted<'a>(&'a [u8], AtomicUsize);

impl ReadAt for Counted<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = buffer.len().min(10_000);
        let got = self.0.read_at(&mut buffer[..len], offset)?;
        self.1.fetch_add(got, Ordering::Relaxed);
        Ok(got)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn open<S: ReadAt>(source: S) -> Result<Content<Positioned<S>>> {
    Ok(Content::new(Decryptor::new(&keyring()).context(context()).open(Positioned::new(source))?))
}

#[test]
fn a_content_reads_and_seeks_as_its_plaintext_does() {
    for len in [0, 1, CHUNK, 3 * CHUNK - 1, 70 * CHUNK + 9] {
        let (file, text) = (sealed(len), text(len));
        let mut content = open(&file).unwrap();
        let mut expected = Cursor::new(&text);
        assert_eq!((content.len(), content.is_empty()), (len as u64, len == 0));
        let mut random = 7_u64;
        for _ in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 20) % (len as u64 + 100);
            let to = match random >> 62 {
                0 => SeekFrom::Start(at),
                1 => SeekFrom::End(-i64::try_from(at).unwrap()),
                2 => SeekFrom::Current(i64::try_from(at).unwrap() - i64::try_from(len / 2).unwrap()),
                _ => SeekFrom::Current(0),
            };
            assert_eq!(content.seek(to).ok(), expected.seek(to).ok(), "{to:?} of {len}");
            let mut pieces = (vec![0; (random >> 40) as usize % 40_000], Vec::new());
            pieces.1.clone_from(&pieces.0);
            let got = expected.read(&mut pieces.1).unwrap();
            content.read_exact(&mut pieces.0[..got]).unwrap();
            assert!(pieces.0 == pieces.1, "{to:?} of {len}");
        }
        content.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(content.read(&mut [0; 9]).unwrap(), 0);
        assert!(content.seek(SeekFrom::End(-1 - len as i64)).is_err(), "before the beginning");
    }
}

#[test]
fn only_the_chunks_that_are_asked_for_are_read_and_none_twice_in_a_row() {
    let file = sealed(200 * CHUNK + 5);
    let counted = Counted(&file, AtomicUsize::new(0));
    let mut content = open(&counted).unwrap();
    assert!(counted.1.load(Ordering::Relaxed) < 2048 + SEALED_CHUNK, "to open");
    for (at, len, chunks) in [(0, 1, 1), (1, 1000, 0), (CHUNK - 1, 2, 2), (150 * CHUNK, 3 * CHUNK, 3)] {
        counted.1.store(0, Ordering::Relaxed);
        content.seek(SeekFrom::Start(at as u64)).unwrap();
        content.read_exact(&mut vec![0; len]).unwrap();
        let read = counted.1.load(Ordering::Relaxed);
        assert!(read <= chunks * SEALED_CHUNK, "{read} bytes for {len} at {at}");
    }
}

#[test]
fn a_bad_chunk_is_an_error_where_it_is_read_and_nowhere_else() {
    let len = 5 * CHUNK + 3;
    let (mut file, text) = (sealed(len), text(len));
    let at = file.len() - Parts::of(&file).body.len() + BODY_HEADER + 2 * SEALED_CHUNK;
    file[at] ^= 1;
    let mut content = open(&file).unwrap();
    let mut out = Vec::new();
    assert_eq!(from_io(content.read_to_end(&mut out).unwrap_err()).kind(), ErrorKind::NotAuthentic);
    assert!(text[..2 * CHUNK].starts_with(&out));
    content.seek(SeekFrom::Start(3 * CHUNK as u64)).unwrap();
    let mut out = Vec::new();
    content.read_to_end(&mut out).unwrap();
    assert!(out == text[3 * CHUNK..]);
    *file.last_mut().unwrap() ^= 1;
    assert_kind(open(&file).map(|_| ()), ErrorKind::NotAuthentic, "the last chunk altered");
    assert_kind(open(&file[..file.len() - 9]).map(|_| ()), ErrorKind::NotAuthentic, "cut");
}

#[test]
fn files_and_bytes_are_sources() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealed");
    let file = sealed(3 * CHUNK);
    std::fs::write(&path, &file).unwrap();
    let sources: [Box<dyn ReadAt>; 3] = [Box::new(File::open(&path).unwrap()), Box::new(file.clone()), Box::new(&file)];
    for source in sources {
        let mut out = Vec::new();
        open(source).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == text(3 * CHUNK));
    }
}
