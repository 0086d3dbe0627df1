//! Chunks in parallel on all cores, with bounded buffers and the output in order.
//!
//! All threads are alike: each takes a batch of chunks from the [feed](Feed), works on it, and hands
//! it in. Whoever hands in a batch while nobody writes becomes the writer, and writes what is next in
//! order for as long as there is some; the others go on meanwhile. So there is one writer at any time,
//! because two would contend for the lock of one file, and no thread that does nothing but write or
//! read, whose core would idle where that is not the bottleneck.
//!
//! A buffer for the output is had before a batch is taken: the first batch that is not written yet
//! always has one, so that waiting for buffers comes to an end.

pub(super) use super::feed::Feed;

use super::body::{Run, Work};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize;

/// How many chunks are worked on at once: `docs/performance.md` has what other numbers cost.
const BATCH: usize = 32;
/// How many batches each thread may be ahead of the writer.
const AHEAD: usize = 4;

/// On how many threads, and who is told of the progress.
#[derive(Clone, Copy)]
pub(super) struct Pipeline<'a> {
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Pipeline<'_> {
    /// Works on all that `feed` gives, the first chunk of which has the number `first`, and writes
    /// it to `sink` in order; how much plaintext it was.
    ///
    /// The first error in the order of the input is the answer. What was written until then is
    /// exactly what comes before it.
    pub(super) fn run(self, work: Work<'_>, first: u64, feed: Feed<'_>, sink: &mut (dyn Write + Send)) -> Result<u64> {
        // A batch is longer than a short input, so that its end is seen with its first batch.
        let chunks = feed.hint.map_or(BATCH, |len| (len / work.input_chunk() as u64 + 1).min(BATCH as u64) as usize);
        let shop = Shop {
            work,
            first,
            chunks,
            feed,
            sink: Mutex::new(sink),
            progress: self.progress,
            state: Mutex::new(State { buffers: 1, ..State::default() }),
            changed: Condvar::new(),
        };
        // Most inputs are short, and threads cost more than they save there.
        let mut input = shop.input();
        shop.step(&mut input);
        let threads = if shop.feed.has_ended() { 1 } else { self.threads.unwrap_or_else(all_cores).get() };
        if threads == 1 {
            while shop.step(&mut input) {}
        } else {
            shop.lock().buffers = AHEAD * threads;
            std::thread::scope(|scope| {
                for _ in 1..threads {
                    let worker = || {
                        let mut input = shop.input();
                        while shop.step(&mut input) {}
                    };
                    // With fewer threads than asked for it takes longer, and that is all.
                    if std::thread::Builder::new().name("keyward-bulk".into()).spawn_scoped(scope, worker).is_err() {
                        break;
                    }
                }
                while shop.step(&mut input) {}
            });
        }
        let state = shop.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.outcome.unwrap_or_else(|| Err(Error::new(crate::ErrorKind::Internal, "the input has no end")))
    }
}

/// Looked up once: it takes twenty system calls, which is more than a small file takes.
pub(super) fn all_cores() -> NonZeroUsize {
    static CORES: LazyLock<NonZeroUsize> =
        LazyLock::new(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    *CORES
}

/// A buffer that is wiped on drop as far as it was ever used: to wipe takes longer than to encrypt, and most inputs
/// are much shorter than their buffers.
struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        Self { bytes: vec![0; len], used: 0 }
    }

    /// Lends all of it to `work`, which says how much it has used. All counts as used where that panics.
    fn with<T>(&mut self, work: impl FnOnce(&mut [u8]) -> (usize, T)) -> T {
        let before = std::mem::replace(&mut self.used, self.bytes.len());
        let (used, answer) = work(&mut self.bytes);
        self.used = before.max(used).min(self.bytes.len());
        answer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes[..self.used].zeroize();
    }
}

/// What the threads share.
struct Shop<'a, 'f> {
    work: Work<'a>,
    first: u64,
    /// How many chunks make a batch.
    chunks: usize,
    feed: Feed<'f>,
    sink: Mutex<&'a mut (dyn Write + Send)>,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many more buffers may be made.
    buffers: usize,
    free: Vec<Buffer>,
    /// Batches that wait for their turn to be written.
    waiting: BTreeMap<u64, Batch>,
    /// The number of the batch whose turn it is.
    turn: u64,
    /// The plaintext that was written.
    done: u64,
    somebody_writes: bool,
    /// Set when all is over: the end was written, or something has failed.
    outcome: Option<Result<u64>>,
    panicked: bool,
}

struct Batch {
    output: Buffer,
    run: Run,
    last: bool,
}

impl Shop<'_, '_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn input(&self) -> Buffer {
        Buffer::new(self.chunks * self.work.input_chunk())
    }

    /// One batch from the feed to the writer; whether there may be more.
    fn step(&self, input: &mut Buffer) -> bool {
        let _guard = Unblock(&self.state, &self.changed);
        let Some(mut output) = self.buffer() else { return false };
        let taken = input.with(|bytes| {
            let taken = self.feed.take(bytes);
            // A read that failed may have left something.
            let used = match &taken {
                None => 0,
                Some(taken) => *taken.len.as_ref().unwrap_or(&bytes.len()),
            };
            (used, taken)
        });
        let Some(taken) = taken else {
            self.lock().free.push(output);
            self.changed.notify_one();
            return false;
        };
        let (run, last) = match taken.len {
            Ok(len) => {
                let last = len < input.bytes.len();
                let first = self.first + taken.number * self.chunks as u64;
                let run = output.with(|bytes| {
                    let run = self.work.run(first, &input.bytes[..len], last, bytes);
                    (if run.failed.is_some() { bytes.len() } else { run.len }, run)
                });
                (run, last)
            }
            Err(error) => (Run { len: 0, text: 0, failed: Some(error) }, true),
        };
        self.hand_in(taken.number, Batch { output, run, last });
        true
    }

    /// A buffer for the output, as soon as there is one; none when all is over.
    fn buffer(&self) -> Option<Buffer> {
        let mut state = self.lock();
        loop {
            if state.outcome.is_some() || state.panicked {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                return Some(buffer);
            }
            if state.buffers > 0 {
                state.buffers -= 1;
                drop(state);
                return Some(Buffer::new(self.chunks * self.work.output_chunk()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes what is next in order, unless somebody does already, who will then write this as well.
    fn hand_in(&self, number: u64, batch: Batch) {
        let mut state = self.lock();
        state.waiting.insert(number, batch);
        if state.somebody_writes {
            return;
        }
        state.somebody_writes = true;
        while state.outcome.is_none() {
            let turn = state.turn;
            let Some(batch) = state.waiting.remove(&turn) else { break };
            drop(state);
            let written = self.write(&batch);
            state = self.lock();
            state.turn += 1;
            state.done += batch.run.text as u64;
            let done = state.done;
            match written.and_then(|()| batch.run.failed.map_or(Ok(()), Err)) {
                Err(error) => state.outcome = Some(Err(error)),
                Ok(()) if batch.last => state.outcome = Some(Ok(done)),
                Ok(()) => {}
            }
            state.free.push(batch.output);
            match state.outcome.is_some() {
                true => self.changed.notify_all(),
                false => self.changed.notify_one(),
            }
            if let Some(progress) = self.progress {
                drop(state);
                progress(done);
                state = self.lock();
            }
        }
        state.somebody_writes = false;
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(&batch.output.bytes[..batch.run.len]).map_err(|error| Error::io("cannot write", error))
    }
}

/// A thread that panics, in what a caller has given us, must not leave the others waiting for it.
struct Unblock<'a>(&'a Mutex<State>, &'a Condvar);

impl Drop for Unblock<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).panicked = true;
            self.1.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_knows_how_far_it_was_ever_used() {
        let mut buffer = Buffer::new(100);
        for (used, all) in [(0, 0), (30, 30), (10, 30), (200, 100)] {
            buffer.with(|bytes| {
                assert_eq!(bytes.len(), 100);
                (used, ())
            });
            assert_eq!(buffer.used, all);
        }
        let mut buffer = Buffer::new(100);
        let panics = std::panic::AssertUnwindSafe(|| buffer.with::<()>(|_| panic!("a panic that is part of the test")));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(buffer.used, 100);
    }
}
