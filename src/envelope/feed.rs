//! Where the pipeline's input comes from: a source that can be read anywhere, by all threads at
//! once, or a stream, which is read from front to back by one at a time.

use super::body::read_full;
use super::read_at::{ReadAt, read_full_at};
use crate::error::{Error, Result};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

/// Input in batches, numbered from 0.
pub(super) struct Feed<'a> {
    source: Source<'a>,
    state: Mutex<State>,
    /// How long the whole is thought to be: no more than a hint.
    pub(super) hint: Option<u64>,
}

enum Source<'a> {
    /// A source, and where in it the input begins.
    At(&'a dyn ReadAt, u64),
    Stream(Mutex<&'a mut (dyn Read + Send)>),
}

#[derive(Default)]
struct State {
    next: u64,
    ended: bool,
}

/// A batch that was read, or tried to be.
pub(super) struct Taken {
    pub(super) number: u64,
    /// How much was read. What is not full is the last.
    pub(super) len: Result<usize>,
}

impl<'a> Feed<'a> {
    pub(super) fn at(source: &'a dyn ReadAt, start: u64) -> Self {
        let hint = source.size().ok().and_then(|size| size.checked_sub(start));
        Self { source: Source::At(source, start), state: Mutex::default(), hint }
    }

    pub(super) fn stream(source: &'a mut (dyn Read + Send)) -> Self {
        Self { source: Source::Stream(Mutex::new(source)), state: Mutex::default(), hint: None }
    }

    /// Reads the next batch into `buffer`, which has the same length in every call; none where the
    /// end was seen.
    ///
    /// Batches behind the one that ends the input may be read as well, where the source grows
    /// meanwhile. Whoever puts the batches in order leaves them out.
    pub(super) fn take(&self, buffer: &mut [u8]) -> Option<Taken> {
        let (number, len) = match &self.source {
            Source::At(source, start) => {
                let number = self.next()?;
                let at = number.checked_mul(buffer.len() as u64).and_then(|at| at.checked_add(*start));
                (number, at.map_or(Ok(0), |at| read_full_at(*source, buffer, at)))
            }
            Source::Stream(stream) => {
                // Numbered and read under one lock: the numbers are in the order of the stream.
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let number = self.next()?;
                let len = read_full(&mut *stream, buffer);
                if !matches!(len, Ok(len) if len == buffer.len()) {
                    self.end();
                }
                (number, len)
            }
        };
        if !matches!(len, Ok(len) if len == buffer.len()) {
            self.end();
        }
        Some(Taken { number, len: len.map_err(|error| Error::io("cannot read the input", error)) })
    }

    /// Whether the end was seen.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    fn next(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (!state.ended).then_some(state.next)?;
        state.next += 1;
        Some(number)
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    }
}
