//! Rewraps beside readers, beside one another, and of files that are replaced meanwhile.

use crate::fixture::{TEXT, context, name};
use crate::keyring::Keyring;
use crate::place::{Place, both_keys, new_key, old_envelope, read_file, rewrap};
use crate::raw::SlotCopy;
use keyward::Decryptor;
use keyward::envelope::RewrapOutcome;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Long enough for a thread to come to its lock.
const A_WHILE: Duration = Duration::from_millis(200);

#[test]
fn readers_always_get_the_plaintext_while_a_file_is_rewrapped() {
    const REWRAPS: u32 = 300;
    let place = Place::sealed();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let provider = crate::fixture::keyring();
                let mut reads = 0;
                while reads < 20 || !done.load(Ordering::SeqCst) {
                    assert_eq!(read_file(&place.path, &provider).unwrap(), TEXT);
                    let file = File::open(&place.path).unwrap();
                    let mut open = Decryptor::new(&provider).context(context()).open(file).unwrap();
                    let mut out = Vec::new();
                    open.read_range(4, 13, &mut out).unwrap();
                    assert_eq!(out, TEXT[4..13]);
                    reads += 1;
                }
            });
        }
        let provider = crate::fixture::keyring();
        for (_, to) in (0..REWRAPS).zip(["other", "main"].iter().cycle()) {
            rewrap(&provider).to(&name(to)).file(&place.path).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(place.parts().current().0, 1 + REWRAPS);
}

#[test]
fn rewraps_wait_for_one_another() {
    const EACH: u32 = 25;
    let place = Place::sealed();
    thread::scope(|scope| {
        for first in [["other", "main"], ["main", "third"]] {
            let path = &place.path;
            scope.spawn(move || {
                let provider = Keyring::new(&[("main", 1), ("main", 2), ("other", 1), ("third", 1)]);
                let mut written = 0;
                for to in first.iter().cycle() {
                    if rewrap(&provider).to(&name(to)).file(path).unwrap() != RewrapOutcome::Unchanged {
                        written += 1;
                    }
                    if written == EACH {
                        break;
                    }
                }
            });
        }
    });
    // Not one of them was lost, and so none worked on what another was changing.
    assert_eq!(place.parts().current().0, 1 + 2 * EACH);
    let provider = Keyring::new(&[("main", 1), ("main", 2), ("other", 1), ("third", 1)]);
    assert_eq!(read_file(&place.path, &provider).unwrap(), TEXT);
}

/// A file whose slots are read torn so many times before they are read whole.
struct Torn {
    inner: Cursor<Vec<u8>>,
    slots_at: u64,
    times: usize,
}

impl Read for Torn {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let at_slots = self.inner.position() == self.slots_at;
        let got = self.inner.read(bytes)?;
        if at_slots && self.times > 0 {
            self.times -= 1;
            bytes[..got].fill(0xee);
        }
        Ok(got)
    }
}

impl Seek for Torn {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_reader_that_finds_no_valid_copy_looks_once_more() {
    let envelope = crate::fixture::good();
    let provider = crate::fixture::keyring();
    let open = |times| {
        let (inner, slots_at) = (Cursor::new(envelope.bytes()), envelope.core.bytes().len() as u64);
        Decryptor::new(&provider).context(context()).open(Torn { inner, slots_at, times })
    };
    let mut out = Vec::new();
    open(1).unwrap().read_range(0, u64::MAX, &mut out).unwrap();
    assert_eq!(out, TEXT);
    // It gives up in the end.
    crate::fixture::assert_kind(open(1000), keyward::ErrorKind::NotAnEnvelope, "never whole");
}

/// Starts a rewrap while the file is locked, lets `meanwhile` happen, and unlocks it.
fn while_locked(place: &Place, copy: bool, meanwhile: impl FnOnce()) -> keyward::Result<RewrapOutcome> {
    let lock = File::open(&place.path).unwrap();
    lock.lock().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || sender.send(rewrap(&both_keys()).copy(copy).file(&place.path)).unwrap());
        let early = receiver.recv_timeout(A_WHILE);
        assert!(early.is_err(), "the lock was not waited for: {early:?}");
        meanwhile();
        lock.unlock().unwrap();
        receiver.recv_timeout(Duration::from_secs(20)).unwrap()
    })
}

#[test]
fn a_file_that_is_replaced_while_its_lock_is_awaited_is_left_alone() {
    for copy in [false, true] {
        let place = Place::sealed();
        let old = place.directory.path().join("old");
        let new = place.directory.path().join("new");
        fs::hard_link(&place.path, &old).unwrap();
        let replaced = fs::read(&old).unwrap();
        fs::write(&new, Place::sealed().bytes()).unwrap();
        while_locked(&place, copy, || fs::rename(&new, &place.path).unwrap()).unwrap();
        assert!(fs::read(&old).unwrap() == replaced, "the file that stood there before was written");
        assert_eq!(place.read(&new_key()).unwrap(), TEXT, "the one that stands there now was rewrapped");
    }
}

#[test]
fn a_file_that_is_removed_while_its_lock_is_awaited_is_an_error() {
    let place = Place::sealed();
    let old = place.directory.path().join("old");
    fs::hard_link(&place.path, &old).unwrap();
    let before = fs::read(&old).unwrap();
    let answer = while_locked(&place, false, || fs::remove_file(&place.path).unwrap());
    assert_eq!(answer.unwrap_err().kind(), keyward::ErrorKind::Io);
    assert!(fs::read(&old).unwrap() == before);
    assert!(!place.path.exists());
}

#[test]
fn the_slots_are_read_under_the_lock() {
    // Meanwhile somebody else rewraps the same inode: what they wrote must not be undone.
    for copy in [false, true] {
        let place = Place::new(&old_envelope(1).bytes());
        let mut theirs = old_envelope(1);
        theirs.a = Vec::new();
        theirs.b = SlotCopy::new(9, &[crate::place::old_entry(), vec![7; 7]]).bytes();
        let outcome = while_locked(&place, copy, || {
            let slots_at = theirs.core.bytes().len() as u64;
            let file = File::options().write(true).open(&place.path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &theirs.slots(), slots_at).unwrap();
        });
        assert!(matches!(outcome.unwrap(), RewrapOutcome::Rewrapped { generation: 10, .. }));
        assert_eq!(place.parts().current().1[1], vec![7; 7]);
        assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    }
}
