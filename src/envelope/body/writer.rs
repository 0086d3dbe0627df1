//! Writing a body.

use super::{BodyKey, CHUNK_LEN, SALT_LEN, SEALED_CHUNK_LEN, Work, write_failed};
use crate::cipher::TAG_LEN;
use crate::envelope::pipeline::{Feed, Pipeline};
use crate::error::Result;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// How many chunks go to the inner writer at once: 256 KiB, which stay in the second-level cache.
const BATCH: usize = 16;

/// Writes a body. [`finish`](Self::finish) writes its last chunk; without it the body is truncated,
/// and readers refuse it.
pub struct BodyWriter<W: Write> {
    inner: W,
    key: BodyKey,
    /// The plaintext of the chunk in the making, where it did not come in one piece.
    text: Zeroizing<Vec<u8>>,
    /// How much of it there is.
    text_len: usize,
    /// Sealed chunks.
    sealed: Vec<u8>,
    sealed_len: usize,
    /// The number of the chunk in the making.
    index: u64,
    failed: bool,
}

impl<W: Write> BodyWriter<W> {
    /// A writer that has written salt and commitment to `inner`.
    ///
    /// # Errors
    /// `Io` where that fails.
    pub fn new(key: BodyKey, salt: &[u8; SALT_LEN], mut inner: W) -> Result<Self> {
        let prefix = [&salt[..], &key.commitment].concat();
        inner.write_all(&prefix).map_err(write_failed)?;
        Ok(Self::after_prefix(key, inner))
    }

    /// The same where salt and commitment are written already.
    pub(in crate::envelope) fn after_prefix(key: BodyKey, inner: W) -> Self {
        let (text, sealed) = (Zeroizing::new(Vec::new()), Vec::new());
        Self { inner, key, text, text_len: 0, sealed, sealed_len: 0, index: 0, failed: false }
    }

    /// Reads plaintext from `source` straight into the chunk in the making; how much, 0 at its end.
    ///
    /// # Errors
    /// What reading or writing answers.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.check()?;
        self.text.resize(CHUNK_LEN, 0);
        let taken = loop {
            match source.read(&mut self.text[self.text_len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => break answer?.min(CHUNK_LEN - self.text_len),
            }
        };
        self.text_len += taken;
        self.seal_gathered()?;
        Ok(taken)
    }

    /// Writes the last chunk and flushes.
    ///
    /// # Errors
    /// `Io` where writing fails.
    pub fn finish(mut self) -> Result<W> {
        self.check().map_err(write_failed)?;
        self.sealed.resize(self.sealed_len + self.text_len + TAG_LEN, 0);
        let text = &self.text[..self.text_len];
        self.key.seal_chunk(self.index, text, &mut self.sealed[self.sealed_len..])?;
        self.inner.write_all(&self.sealed).and_then(|()| self.inner.flush()).map_err(write_failed)?;
        Ok(self.inner)
    }

    /// Encrypts all that `feed` gives, on as many threads as `pipeline` has, and writes the last chunk
    /// and flushes; the length of the plaintext. What was written before has to be whole chunks.
    pub(in crate::envelope) fn finish_from(mut self, feed: Feed<'_>, pipeline: Pipeline<'_>) -> Result<(W, u64)>
    where
        W: Send,
    {
        self.check().map_err(write_failed)?;
        self.inner.write_all(&self.sealed[..self.sealed_len]).map_err(write_failed)?;
        let done = pipeline.run(Work::Seal(&self.key), self.index, feed, &mut self.inner)?;
        self.inner.flush().map_err(write_failed)?;
        Ok((self.inner, done))
    }

    /// The key and the sink, where no plaintext was written yet.
    pub(in crate::envelope) fn into_parts(self) -> (BodyKey, W) {
        (self.key, self.inner)
    }

    /// The plaintext of the chunk in the making, which is taken out.
    pub(in crate::envelope) fn take_gathered(&mut self) -> Zeroizing<Vec<u8>> {
        let mut text = std::mem::take(&mut self.text);
        text.truncate(std::mem::take(&mut self.text_len));
        text
    }

    /// A full chunk is never the last: it can be sealed, and another will follow.
    fn seal_gathered(&mut self) -> io::Result<()> {
        if self.text_len < CHUNK_LEN {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        let answer = self.seal(&text);
        self.text = text;
        self.text_len = 0;
        answer
    }

    fn seal(&mut self, text: &[u8]) -> io::Result<()> {
        self.failed = true;
        self.sealed.resize(BATCH * SEALED_CHUNK_LEN, 0);
        let end = self.sealed_len + SEALED_CHUNK_LEN;
        self.key.seal_chunk(self.index, text, &mut self.sealed[self.sealed_len..end])?;
        self.index += 1;
        self.sealed_len = end;
        if end == self.sealed.len() {
            self.inner.write_all(&self.sealed)?;
            self.sealed_len = 0;
        }
        self.failed = false;
        Ok(())
    }

    /// After a failed write it is not known what went out: nothing more does.
    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write failed")) } else { Ok(()) }
    }
}

impl<W: Write> Write for BodyWriter<W> {
    /// Whole chunks are sealed straight from `plaintext`; only what is left between two calls is copied.
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.check()?;
        let mut rest = plaintext;
        while !rest.is_empty() {
            if let Some((chunk, after)) = rest.split_at_checked(CHUNK_LEN).filter(|_| self.text_len == 0) {
                self.seal(chunk)?;
                rest = after;
                continue;
            }
            self.text.resize(CHUNK_LEN, 0);
            let (piece, after) = rest.split_at(rest.len().min(CHUNK_LEN - self.text_len));
            self.text[self.text_len..self.text_len + piece.len()].copy_from_slice(piece);
            self.text_len += piece.len();
            rest = after;
            self.seal_gathered()?;
        }
        Ok(plaintext.len())
    }

    /// Does nothing: a chunk can only be written whole. [`finish`](Self::finish) flushes.
    fn flush(&mut self) -> io::Result<()> {
        self.check()
    }
}

impl<W: Write> std::fmt::Debug for BodyWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyWriter").field("index", &self.index).finish_non_exhaustive()
    }
}
