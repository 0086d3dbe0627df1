//! Chunks in parallel: what comes out is what one thread makes, in order, up to the first error.

use crate::fixture::{assert_kind, context, decrypt, from_io, keyring, name};
use crate::raw::{BODY_HEADER, CHUNK, Parts, SEALED_CHUNK, open_body};
use crate::streams::{sealed, text};
use keyward::durable::Replace;
use keyward::envelope::{Recipients, Reencrypt};
use keyward::{Decryptor, Encryptor, Engine, ErrorKind, KeyProvider, WrappedKey};
use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The chunks that are worked on at once.
const BATCH: usize = 32;

fn threads(threads: usize) -> NonZeroUsize {
    NonZeroUsize::new(threads).unwrap()
}

/// Lengths around the borders of chunks and batches.
fn lengths() -> Vec<usize> {
    let around = |len: usize| [len - 1, len, len + 1];
    let borders = [CHUNK, BATCH * CHUNK, (BATCH + 1) * CHUNK, 2 * BATCH * CHUNK, 5 * BATCH * CHUNK];
    [0, 1].into_iter().chain(borders.into_iter().flat_map(around)).collect()
}

/// Hands out a few bytes at a time, then ends or fails.
struct Slow<'a>(&'a [u8], usize, Option<io::ErrorKind>);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.0.len().min(self.1).min(out.len());
        out[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        match (len, self.2) {
            (0, Some(kind)) => Err(kind.into()),
            _ => Ok(len),
        }
    }
}

/// Fails at the write that goes beyond so many bytes, and is not to be called again.
struct Full {
    room: usize,
    failed: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.failed, "written to after an error");
        self.failed = bytes.len() > self.room;
        self.room = self.room.saturating_sub(bytes.len());
        if self.failed { Err(io::Error::from_raw_os_error(5)) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn any_number_of_threads_makes_and_reads_the_same_body() {
    let keyring = keyring();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for len in lengths() {
        let text = text(len);
        fs::write(path("plain"), &text).unwrap();
        for (n, engine) in [(1, Engine::ALL[0]), (2, Engine::AesGcm), (2, Engine::ALL[0]), (7, Engine::ALL[0])] {
            let case = format!("{len} bytes, {n} threads, {engine}");
            let encryptor =
                Encryptor::new(&keyring, &name("main")).context(context()).engine(engine).threads(threads(n));
            let decryptor = Decryptor::new(&keyring).context(context()).engine(engine).threads(threads(n));
            let done = encryptor.encrypt_file(&path("plain"), &path("sealed"), Replace::Yes).unwrap();
            assert_eq!(done, len as u64, "{case}");
            let file = fs::read(path("sealed")).unwrap();
            let stream = encryptor.writer(Vec::new()).unwrap().finish_from(Slow(&text, 50_000, None)).unwrap();
            let mut memory = vec![9; 100];
            encryptor.encrypt_into(&text, &mut memory).unwrap();
            for made in [&file, &stream, &memory] {
                assert_eq!(Parts::of(made).body.len(), BODY_HEADER + len + 16 * (len / CHUNK + 1), "{case}");
                // By one thread, chunk after chunk.
                let mut read = Vec::new();
                decryptor.reader(&made[..]).unwrap().read_to_end(&mut read).unwrap();
                assert!(read == text, "{case}");
                let mut read = vec![9; 100_000];
                decryptor.decrypt_into(made, &mut read).unwrap();
                assert!(read == text, "{case}");
                let mut read = Vec::new();
                let mut reader = decryptor.reader(Slow(made, 70_000, None)).unwrap();
                assert_eq!(reader.write_all_to(&mut read).unwrap(), len as u64);
                assert_eq!(reader.write_all_to(&mut read).unwrap(), 0, "the end stays the end");
                assert!(read == text, "{case}");
            }
            decryptor.decrypt_file(&path("sealed"), &path("opened"), Replace::Yes).unwrap();
            assert!(fs::read(path("opened")).unwrap() == text, "{case}");
            let reencrypt = Reencrypt::new(decryptor.clone(), Recipients::Named(encryptor.clone())).threads(threads(n));
            reencrypt.file(&path("sealed")).unwrap();
            let again = fs::read(path("sealed")).unwrap();
            assert!(again != file && decrypt(&again).unwrap() == text, "{case}");
        }
    }
}

#[test]
fn what_several_threads_make_is_what_another_implementation_opens() {
    let keyring = keyring();
    let text = text(5 * BATCH * CHUNK + 17);
    let encryptor = Encryptor::new(&keyring, &name("main")).context(context()).threads(threads(4));
    let file = encryptor.writer(Vec::new()).unwrap().finish_from(&text[..]).unwrap();
    for file in [file, encryptor.encrypt(&text).unwrap()] {
        let parts = Parts::of(&file);
        let entry = WrappedKey::parse(&parts.current().1[0]).unwrap();
        let dek = keyring.unwrap_data_key(&entry.into(), &context()).unwrap();
        assert!(open_body(dek.expose_secret().try_into().unwrap(), &parts.core, &parts.body) == text);
    }
}

#[test]
fn a_stream_that_was_begun_by_hand_goes_on_in_parallel() {
    let keyring = keyring();
    let text = text(3 * BATCH * CHUNK + 5);
    let encryptor = Encryptor::new(&keyring, &name("main")).context(context()).threads(threads(3));
    for begun in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 9, 16 * CHUNK, 20 * CHUNK + 1, text.len()] {
        let mut writer = encryptor.writer(Vec::new()).unwrap();
        writer.write_all(&text[..begun]).unwrap();
        let file = writer.finish_from(&text[begun..]).unwrap();
        assert!(decrypt(&file).unwrap() == text, "{begun}");
        let decryptor = Decryptor::new(&keyring).context(context()).threads(threads(3));
        for piece in [100, 2 * CHUNK] {
            let mut reader = decryptor.reader(&file[..]).unwrap();
            let mut out = Vec::new();
            let mut buffer = vec![0; piece];
            while out.len() < begun {
                let got = reader.read(&mut buffer).unwrap();
                out.extend(&buffer[..got]);
            }
            reader.write_all_to(&mut out).unwrap();
            assert!(out == text, "{begun}, {piece}");
        }
    }
}

#[test]
fn the_first_error_in_the_order_of_the_stream_wins_and_nothing_after_it_is_written() {
    let keyring = keyring();
    let len = 6 * BATCH * CHUNK + 100;
    let (file, text) = (sealed(len), text(len));
    let chunks_at = file.len() - Parts::of(&file).body.len() + BODY_HEADER;
    let decryptor = |n| Decryptor::new(&keyring).context(context()).threads(threads(n));
    let last = len / CHUNK;
    for n in [1, 2, 5] {
        for bad in [0, 1, BATCH - 1, BATCH, 3 * BATCH + 7, last] {
            let mut bytes = file.clone();
            bytes[chunks_at + bad * SEALED_CHUNK + 3] ^= 1;
            // A second one later on must not be noticed first.
            *bytes.last_mut().unwrap() ^= 1;
            // Nor a source that fails, in a later batch.
            for cut in [None, Some(io::ErrorKind::BrokenPipe).filter(|_| bad < last)] {
                let mut out = Vec::new();
                let mut reader = decryptor(n).reader(Slow(&bytes, 1 << 20, cut)).unwrap();
                assert_kind(reader.write_all_to(&mut out), ErrorKind::NotAuthentic, format!("{bad}, {n} threads"));
                assert!(out == text[..bad * CHUNK], "{bad}, {n} threads: {} bytes", out.len());
                assert_kind(reader.write_all_to(&mut out), ErrorKind::NotAuthentic, "once more");
            }
            // Reading fails before the bad chunk is reached.
            let mut out = Vec::new();
            let cut = Slow(&bytes[..chunks_at + bad * SEALED_CHUNK], 1 << 20, Some(io::ErrorKind::BrokenPipe));
            assert_kind(decryptor(n).reader(cut).unwrap().write_all_to(&mut out), ErrorKind::Io, "a broken input");
            assert!(out == text[..bad / BATCH * BATCH * CHUNK], "{bad}, {n} threads: {} bytes", out.len());
            let mut out = vec![1];
            assert_kind(decryptor(n).decrypt_into(&bytes, &mut out), ErrorKind::NotAuthentic, "in memory");
            assert!(out.is_empty(), "plaintext of a bad envelope is left");
        }
    }
}

#[test]
fn a_source_that_fails_and_a_sink_that_fails_are_errors_and_the_sink_is_left_alone() {
    let keyring = keyring();
    let text = text(6 * BATCH * CHUNK);
    let file = sealed(text.len());
    for n in [1, 2, 5] {
        let encryptor = Encryptor::new(&keyring, &name("main")).context(context()).threads(threads(n));
        let decryptor = Decryptor::new(&keyring).context(context()).threads(threads(n));
        let broken = Slow(&text, 99_999, Some(io::ErrorKind::TimedOut));
        let answer = encryptor.writer(io::sink()).unwrap().finish_from(broken);
        assert_kind(answer.map(|_| ()), ErrorKind::Io, "a broken input");
        for room in [4000, BATCH * SEALED_CHUNK + 4000, 4 * BATCH * SEALED_CHUNK] {
            let writer = encryptor.writer(Full { room, failed: false }).unwrap();
            assert_kind(writer.finish_from(&text[..]).map(|_| ()), ErrorKind::Io, format!("room for {room}"));
            let mut reader = decryptor.reader(&file[..]).unwrap();
            let answer = reader.write_all_to(&mut Full { room, failed: false });
            assert_kind(answer, ErrorKind::Io, format!("room for {room}"));
            let mut nothing = [0; 10];
            assert_eq!(from_io(reader.read(&mut nothing).unwrap_err()).kind(), ErrorKind::NotAuthentic);
        }
    }
}

#[test]
fn a_panic_of_the_callers_own_comes_out_and_nobody_waits_for_ever() {
    let keyring = keyring();
    let directory = tempfile::tempdir().unwrap();
    let (plain, out) = (directory.path().join("plain"), directory.path().join("out"));
    fs::write(&plain, text(20 * BATCH * CHUNK)).unwrap();
    for n in [1, 2, 5] {
        let panics = |done: u64| assert!(done < 1 << 20, "enough");
        let encryptor = Encryptor::new(&keyring, &name("main")).threads(threads(n)).progress(&panics);
        let answer = catch_unwind(AssertUnwindSafe(|| encryptor.encrypt_file(&plain, &out, Replace::No)));
        assert!(answer.is_err(), "{n} threads");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{n} threads: something is left");
    }
}

#[test]
fn progress_goes_up_to_the_end() {
    let keyring = keyring();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let len = 20 * BATCH * CHUNK + 1;
    fs::write(path("plain"), text(len)).unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let tell = |done| seen.lock().unwrap().push(done);
    Encryptor::new(&keyring, &name("main"))
        .progress(&tell)
        .encrypt_file(&path("plain"), &path("sealed"), Replace::No)
        .unwrap();
    Decryptor::new(&keyring).progress(&tell).decrypt_file(&path("sealed"), &path("out"), Replace::No).unwrap();
    let seen = seen.into_inner().unwrap();
    let ends: Vec<_> = seen.iter().enumerate().filter(|(_, done)| **done == len as u64).collect();
    assert_eq!(ends.len(), 2, "{seen:?}");
    assert!(seen[..=ends[0].0].is_sorted() && seen[ends[0].0 + 1..].is_sorted(), "{seen:?}");
}
