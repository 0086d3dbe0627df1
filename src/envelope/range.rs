//! Reading a part of an envelope, and no more of the file than that part needs.

use super::body::{BodyKey, CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, Work, read_full};
use super::open::Prefix;
use super::opening::Opening;
use super::reader::Decryptor;
use crate::cipher::TAG_LEN;
use crate::error::{Error, ErrorKind, Result};
use crate::key::EncryptionContext;
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use zeroize::Zeroizing;

/// How many chunks are read at once.
const BATCH: usize = 64;

/// An envelope whose header is opened and whose length is authenticated.
pub struct OpenEnvelope<R: Read + Seek> {
    source: R,
    key: BodyKey,
    context: EncryptionContext,
    opening: Opening,
    /// Where the first chunk begins.
    chunks_at: u64,
    /// The number of the last chunk.
    last: u64,
    len: u64,
    sealed: Vec<u8>,
    text: Zeroizing<Vec<u8>>,
    /// Of which part of the plaintext `text` is, where it is kept.
    loaded: std::ops::Range<u64>,
}

pub(super) fn open<R: Read + Seek>(decryptor: &Decryptor<'_>, mut source: R) -> Result<OpenEnvelope<R>> {
    let (core, copy) = decryptor.header(&mut source)?;
    let prefix = Prefix::read(&mut source)?;
    let (key, opening) = decryptor.opener.open(decryptor.engine, &core, &copy, &prefix)?;
    let chunks_at = core.body_at(&copy) + PREFIX_LEN as u64;
    let end = source.seek(SeekFrom::End(0)).map_err(cannot_read)?;
    let chunks_len = end.checked_sub(chunks_at).ok_or_else(Error::not_authentic)?;
    // The last chunk is shorter than the others, and a tag at least.
    let (last, last_len) = (chunks_len / SEALED_CHUNK_LEN as u64, chunks_len % SEALED_CHUNK_LEN as u64);
    let text_len = last_len.checked_sub(TAG_LEN as u64).ok_or_else(Error::not_authentic)?;
    let len = last
        .checked_mul(CHUNK_LEN as u64)
        .and_then(|len| len.checked_add(text_len))
        .ok_or_else(Error::not_authentic)?;
    let (sealed, text) = (Vec::new(), Zeroizing::new(Vec::new()));
    let mut envelope =
        OpenEnvelope { source, key, context: core.context, opening, chunks_at, last, len, sealed, text, loaded: 0..0 };
    // Whether this is the last chunk, and with it the length, is authenticated by opening it.
    match envelope.load(last, last)? {
        (_, Some(error)) => Err(error),
        (_, None) => Ok(envelope),
    }
}

impl<R: Read + Seek> OpenEnvelope<R> {
    /// The length of the plaintext in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the plaintext is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The encryption context, authenticated.
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        &self.context
    }

    /// Returns what opening the envelope has confirmed: which key opened it, and what follows from that.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Writes the plaintext from `first` up to and without `end` to `sink`; how much. An `end`
    /// beyond the plaintext means its end, as in an HTTP range.
    ///
    /// # Errors
    /// `InvalidArgument` where `first` is beyond the end of the plaintext or of the range;
    /// `NotAuthentic` where a chunk is altered, `Io` where reading or writing fails. What was
    /// written until then is authentic.
    pub fn read_range(&mut self, first: u64, end: u64, sink: &mut dyn Write) -> Result<u64> {
        if first > self.len || first > end {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the range begins at byte {first}, beyond its end or that of the {} bytes", self.len),
            ));
        }
        let end = end.min(self.len);
        let chunk_len = CHUNK_LEN as u64;
        let mut at = first;
        while at < end {
            let chunk = at / chunk_len;
            let last_wanted = (end - 1) / chunk_len;
            let start = chunk * chunk_len;
            // What is authentic before a chunk that is not comes out first.
            let (text, failed) = self.load(chunk, last_wanted.min(chunk + BATCH as u64 - 1))?;
            let from = usize::try_from(at - start).map_err(|_| Error::not_authentic())?;
            let to = usize::try_from(end - start).map_or(text.len(), |to| to.min(text.len()));
            let part = text.get(from..to).unwrap_or_default();
            sink.write_all(part).map_err(|error| Error::io("cannot write", error))?;
            at += part.len() as u64;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(end - first)
    }

    /// Reads from `at` on into `out`, with one copy; how much, 0 at the end. Chunks that were read last
    /// are not read again.
    pub(super) fn read_some(&mut self, at: u64, out: &mut [u8]) -> Result<usize> {
        let chunk_len = CHUNK_LEN as u64;
        let end = at.saturating_add(out.len() as u64).min(self.len);
        if at >= end {
            return Ok(0);
        }
        if !self.loaded.contains(&at) {
            let first = at / chunk_len;
            let last = ((end - 1) / chunk_len).min(first + BATCH as u64 - 1);
            let (text, failed) = self.load(first, last)?;
            let end = first * chunk_len + text.len() as u64;
            match failed {
                Some(error) if at >= end => return Err(error),
                _ => self.loaded = first * chunk_len..end,
            }
        }
        let from = usize::try_from(at - self.loaded.start).map_err(|_| Error::not_authentic())?;
        let text = self.text.get(from..).unwrap_or_default();
        let left = usize::try_from(self.loaded.end - at).unwrap_or(usize::MAX);
        let len = left.min(out.len()).min(text.len());
        out[..len].copy_from_slice(&text[..len]);
        Ok(len)
    }

    /// Reads and opens chunks; their plaintext, as far as they are authentic.
    fn load(&mut self, first: u64, last: u64) -> Result<(&[u8], Option<Error>)> {
        self.loaded = 0..0;
        let count = usize::try_from(last - first).map_err(|_| Error::not_authentic())? + 1;
        self.sealed.resize(count * SEALED_CHUNK_LEN, 0);
        self.text.resize(count * CHUNK_LEN, 0);
        let at = self.chunks_at + first * SEALED_CHUNK_LEN as u64;
        self.source.seek(SeekFrom::Start(at)).map_err(cannot_read)?;
        let len = read_full(&mut self.source, &mut self.sealed).map_err(cannot_read)?;
        // Only the last is shorter, and the last is always shorter.
        let is_last = len < self.sealed.len();
        if is_last != (last == self.last) {
            return Err(Error::not_authentic());
        }
        let run = Work::Open(&self.key).run(first, &self.sealed[..len], is_last, &mut self.text);
        Ok((&self.text[..run.len], run.failed))
    }
}

impl<R: Read + Seek> fmt::Debug for OpenEnvelope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenEnvelope").field("len", &self.len).field("context", &self.context).finish_non_exhaustive()
    }
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("cannot read the envelope", error)
}
