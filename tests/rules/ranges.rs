//! Parts of an envelope.

use crate::fixture::{assert_kind, context, keyring};
use crate::raw::{BODY_HEADER, CHUNK, Parts, SEALED_CHUNK};
use crate::streams::{sealed, text};
use keyward::envelope::OpenEnvelope;
use keyward::{Decryptor, ErrorKind, Result};
use std::io::{Cursor, Read, Seek, SeekFrom};

fn open<R: Read + Seek>(stream: R) -> Result<OpenEnvelope<R>> {
    Decryptor::new(&keyring()).context(context()).open(stream)
}

fn range<R: Read + Seek>(envelope: &mut OpenEnvelope<R>, first: u64, end: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let written = envelope.read_range(first, end, &mut out)?;
    assert_eq!(written, out.len() as u64);
    Ok(out)
}

/// Where the chunks of a file begin.
fn chunks_at(file: &[u8]) -> usize {
    file.len() - Parts::of(file).body.len() + BODY_HEADER
}

#[test]
fn ranges_around_every_border_are_those_of_the_plaintext() {
    // The last is longer than what is read at once.
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1, 3 * CHUNK, 130 * CHUNK + 7] {
        let (file, text) = (sealed(len), text(len));
        let mut envelope = open(Cursor::new(&file)).unwrap();
        assert_eq!(envelope.len(), len as u64);
        let borders = [0, CHUNK, 2 * CHUNK, 64 * CHUNK, 128 * CHUNK, len / CHUNK * CHUNK, len];
        let points = borders.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 1]);
        let mut points: Vec<_> = points.filter(|at| *at <= len).collect();
        points.sort_unstable();
        points.dedup();
        for first in &points {
            for end in points.iter().filter(|end| *end >= first) {
                let read = range(&mut envelope, *first as u64, *end as u64).unwrap();
                assert!(read == text[*first..*end], "{first}..{end} of {len}");
            }
        }
    }
}

#[test]
fn ends_are_clamped_and_beginnings_are_not() {
    for len in [0, 1, 100, CHUNK, CHUNK + 1] {
        let (file, text) = (sealed(len), text(len));
        let mut envelope = open(Cursor::new(&file)).unwrap();
        let end = len as u64;
        for beyond in [end + 1, end + CHUNK as u64, 1 << 52, u64::MAX] {
            assert!(range(&mut envelope, 0, beyond).unwrap() == text, "to {beyond} of {len}");
            assert!(range(&mut envelope, end, beyond).unwrap().is_empty(), "from the end of {len}");
            assert_kind(range(&mut envelope, end + 1, beyond), ErrorKind::InvalidArgument, "first beyond the end");
            assert_kind(range(&mut envelope, beyond, u64::MAX), ErrorKind::InvalidArgument, "first beyond the end");
        }
        assert!(range(&mut envelope, end, end).unwrap().is_empty());
        if len > 0 {
            assert_kind(range(&mut envelope, 1, 0), ErrorKind::InvalidArgument, "end before first");
        }
    }
}

#[test]
fn the_length_is_authenticated_before_anything_is_read() {
    let file = sealed(3 * CHUNK + 50);
    let at = chunks_at(&file);
    let cuts = [at, at + 15, at + 16, at + 100, at + SEALED_CHUNK, at + 2 * SEALED_CHUNK + 16, at + 3 * SEALED_CHUNK];
    for cut in cuts.into_iter().chain([at + 3 * SEALED_CHUNK + 16, file.len() - 1]) {
        assert_kind(open(Cursor::new(&file[..cut])), ErrorKind::NotAuthentic, format!("cut to {cut}"));
    }
    for extra in [1, 16, 17, SEALED_CHUNK - 66, SEALED_CHUNK] {
        let bytes = [&file[..], &vec![0; extra]].concat();
        assert_kind(open(Cursor::new(&bytes)), ErrorKind::NotAuthentic, format!("{extra} more"));
    }
    let mut bytes = file;
    *bytes.last_mut().unwrap() ^= 1;
    assert_kind(open(Cursor::new(&bytes)), ErrorKind::NotAuthentic, "the last chunk altered");
}

#[test]
fn an_altered_chunk_is_refused_where_it_is_part_of_the_range_and_only_there() {
    let len = 5 * CHUNK;
    let (mut file, text) = (sealed(len), text(len));
    let at = chunks_at(&file) + 2 * SEALED_CHUNK + 77;
    file[at] ^= 1;
    let mut envelope = open(Cursor::new(&file)).unwrap();
    let chunk = CHUNK as u64;
    for (first, end) in [(0, 2 * chunk), (2 * chunk, 2 * chunk), (3 * chunk, 5 * chunk), (2 * chunk - 1, 2 * chunk)] {
        let read = range(&mut envelope, first, end).unwrap();
        assert!(read == text[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]);
    }
    for (first, end) in [(0, 2 * chunk + 1), (2 * chunk, 2 * chunk + 1), (3 * chunk - 1, 4 * chunk), (0, u64::MAX)] {
        let mut out = Vec::new();
        let answer = envelope.read_range(first, end, &mut out);
        assert_kind(answer, ErrorKind::NotAuthentic, format!("{first}..{end}"));
        assert!(text[usize::try_from(first).unwrap()..].starts_with(&out), "only what is authentic");
    }
}

/// Counts what is read.
struct Counted<R>(R, std::rc::Rc<std::cell::Cell<usize>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let got = self.0.read(bytes)?;
        self.1.set(self.1.get() + got);
        Ok(got)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn only_the_chunks_of_the_range_are_read() {
    let file = sealed(200 * CHUNK);
    let read = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut envelope = open(Counted(Cursor::new(&file), read.clone())).unwrap();
    assert!(read.get() < 2 * SEALED_CHUNK, "{} bytes to open", read.get());
    for (first, end, chunks) in [(0, 1, 1), (CHUNK - 1, CHUNK + 1, 2), (150 * CHUNK, 151 * CHUNK, 1), (7, 7, 0)] {
        read.set(0);
        range(&mut envelope, first as u64, end as u64).unwrap();
        assert_eq!(read.get(), chunks * SEALED_CHUNK, "{first}..{end}");
    }
}
