//! Encrypting a stream, as it is written or from a source.

use super::body::{BodyKey, BodyWriter};
use super::pipeline::{Feed, Pipeline};
use super::room::Room;
use crate::error::{Error, Result};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

/// Encrypts what is written to it. [`finish`](Self::finish) writes the end; without it the envelope
/// is truncated, and readers refuse it.
#[derive(Debug)]
pub struct EncryptWriter<W: Write> {
    pub(super) body: BodyWriter<W>,
    room: Room,
    threads: Option<NonZeroUsize>,
}

impl<W: Write> EncryptWriter<W> {
    /// Writes everything that stands before the chunks.
    pub(super) fn begin(
        header: &[u8],
        key: BodyKey,
        mut inner: W,
        room: Room,
        threads: Option<NonZeroUsize>,
    ) -> Result<Self> {
        inner.write_all(header).map_err(|error| Error::io("cannot write", error))?;
        Ok(Self { body: BodyWriter::after_prefix(key, inner), room, threads })
    }

    /// Reads plaintext from `source` with one copy less than writing it; how much, 0 at its end.
    ///
    /// # Errors
    /// What reading or writing answers; `LimitExceeded` where there is more than [`Encryptor::max_len`](super::Encryptor::max_len).
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let len = self.body.read_from(source)?;
        self.room.take(len)?;
        Ok(len)
    }

    /// Encrypts all that is left in `source`, on all cores, and writes the end and flushes.
    ///
    /// ```no_run
    /// # fn example(encryptor: keyward::Encryptor<'_>) -> keyward::Result<()> {
    /// encryptor.writer(std::io::stdout())?.finish_from(std::io::stdin())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Io` where reading or writing fails; `LimitExceeded` where there is more than [`Encryptor::max_len`](super::Encryptor::max_len).
    pub fn finish_from(mut self, mut source: impl Read + Send) -> Result<W>
    where
        W: Send,
    {
        self.room.check()?;
        // A chunk in the making goes on with what the source gives. It has been counted.
        let begun = self.body.take_gathered();
        let mut all = begun.chain(Counted { source: &mut source, room: &mut self.room });
        let pipeline = Pipeline { threads: self.threads, progress: None };
        Ok(self.body.finish_from(Feed::stream(&mut all), pipeline)?.0)
    }

    /// Writes the end and flushes.
    ///
    /// # Errors
    /// `Io` where writing fails; `LimitExceeded` where more was written than [`Encryptor::max_len`](super::Encryptor::max_len).
    pub fn finish(self) -> Result<W> {
        self.room.check()?;
        self.body.finish()
    }
}

/// A source of which so much is left to be taken.
struct Counted<'a, R> {
    source: R,
    room: &'a mut Room,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.room.take(len)?;
        Ok(len)
    }
}

impl<W: Write> Write for EncryptWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.room.check_for(plaintext.len())?;
        let len = self.body.write(plaintext)?;
        self.room.take(len)?;
        Ok(len)
    }

    /// Does nothing: a chunk can only be written whole. [`finish`](Self::finish) flushes.
    fn flush(&mut self) -> io::Result<()> {
        self.body.flush()
    }
}
