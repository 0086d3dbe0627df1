//! Envelopes in memory: from the caller's slice straight into the output, in one pass.

use super::body::{BodyKey, Run, Work};
use crate::error::{Error, Result};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroize;

/// How many chunks a thread takes at once: few enough that no thread waits long for another.
const BATCH: usize = 16;
/// The chunks below which a second thread costs more than it saves.
const WORTH_A_THREAD: usize = 32;

/// Makes `out` the concatenation of `header` and the sealed chunks of `plaintext`.
pub(super) fn seal(key: &BodyKey, header: &[&[u8]], plaintext: &[u8], out: &mut Vec<u8>, threads: usize) -> Result<()> {
    let header_len: usize = header.iter().map(|part| part.len()).sum();
    let work = Work::Seal(key);
    let len = work.output_len(plaintext.len()).and_then(|len| len.checked_add(header_len)).ok_or_else(too_long)?;
    set_len(out, len);
    let (mut head, chunks) = out.split_at_mut(header_len);
    for part in header {
        let (place, rest) = head.split_at_mut(part.len());
        place.copy_from_slice(part);
        head = rest;
    }
    run(work, plaintext, chunks, threads)
}

/// Makes `out` the plaintext of `chunks`; empty where they are not authentic.
pub(super) fn open(key: &BodyKey, chunks: &[u8], out: &mut Vec<u8>, threads: usize) -> Result<()> {
    let work = Work::Open(key);
    let len = work.output_len(chunks.len()).ok_or_else(Error::not_authentic)?;
    set_len(out, len);
    run(work, chunks, out, threads).inspect_err(|_| {
        // The chunks before the bad one: a caller that overlooks the error finds nothing.
        out.zeroize();
    })
}

fn run(work: Work<'_>, input: &[u8], output: &mut [u8], threads: usize) -> Result<()> {
    let chunks = input.len() / work.input_chunk() + 1;
    let threads = threads.min(chunks / WORTH_A_THREAD).max(1);
    let answer = |run: Run| run.failed.map_or(Ok(()), Err);
    if threads == 1 {
        return answer(work.run(0, input, true, output));
    }
    // The last batch has the last chunk, which may be empty: the input is then a batch short of the
    // number of batches.
    let batches = chunks.div_ceil(BATCH);
    let (mut input, mut output) = (input, output);
    let batches: Vec<_> = (0..batches)
        .map(|batch| {
            let last = batch + 1 == batches;
            let cut = |len: usize, chunk: usize| if last { len } else { len.min(BATCH * chunk) };
            let (from, rest) = input.split_at(cut(input.len(), work.input_chunk()));
            input = rest;
            let taken = std::mem::take(&mut output);
            let (to, rest) = taken.split_at_mut(cut(taken.len(), work.output_chunk()));
            output = rest;
            ((batch * BATCH) as u64, from, last, to)
        })
        .collect();
    let queue = Mutex::new(batches.into_iter());
    let failed = Mutex::new(None);
    let worker = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((first, from, last, to)) = next else { break };
            if let Err(error) = answer(work.run(first, from, last, to)) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            if std::thread::Builder::new().name("keyward-bulk".into()).spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Makes `out` so long. Its old content stays where it is until it is overwritten: to fill 64 MiB with
/// zeros first costs as much as to encrypt them, and fresh pages cost several times that.
fn set_len(out: &mut Vec<u8>, len: usize) {
    if out.capacity() < len {
        // What is moved elsewhere leaves its bytes behind.
        out.zeroize();
        *out = vec![0; len];
    }
    out.resize(len, 0);
}

fn too_long() -> Error {
    Error::new(crate::ErrorKind::LimitExceeded, "a plaintext of this length does not fit into memory")
}
