//! Reading a part of an envelope, and no more of the file than that part needs.

use super::body::{BodyKey, CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, read_full};
use super::open::Prefix;
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
    /// Where the first chunk begins.
    chunks_at: u64,
    /// The number of the last chunk.
    last: u64,
    len: u64,
    buffer: Zeroizing<Vec<u8>>,
}

pub(super) fn open<R: Read + Seek>(decryptor: &Decryptor<'_>, mut source: R) -> Result<OpenEnvelope<R>> {
    let (core, half) = decryptor.header(&mut source)?;
    let prefix = Prefix::read(&mut source)?;
    let key = decryptor.opener.body_key(decryptor.engine, &core, &half, &prefix)?;
    let chunks_at = core.body_at() + PREFIX_LEN as u64;
    let end = source.seek(SeekFrom::End(0)).map_err(cannot_read)?;
    let chunks_len = end.checked_sub(chunks_at).ok_or_else(Error::not_authentic)?;
    // The last chunk is shorter than the others, and a tag at least.
    let (last, last_len) = (chunks_len / SEALED_CHUNK_LEN as u64, chunks_len % SEALED_CHUNK_LEN as u64);
    let text_len = last_len.checked_sub(TAG_LEN as u64).ok_or_else(Error::not_authentic)?;
    let len = last
        .checked_mul(CHUNK_LEN as u64)
        .and_then(|len| len.checked_add(text_len))
        .ok_or_else(Error::not_authentic)?;
    let buffer = Zeroizing::new(Vec::new());
    let mut envelope = OpenEnvelope { source, key, context: core.context, chunks_at, last, len, buffer };
    // Whether this is the last chunk, and with it the length, is authenticated by opening it.
    envelope.load(last, last)?;
    Ok(envelope)
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
            let loaded = self.load(chunk, last_wanted.min(chunk + BATCH as u64 - 1))?;
            for (index, text) in (chunk..).zip(loaded) {
                let start = index * chunk_len;
                let from = usize::try_from(at - start).unwrap_or(CHUNK_LEN);
                let to = usize::try_from((end - start).min(chunk_len)).unwrap_or(CHUNK_LEN);
                let text = &self.buffer[text];
                let part = text.get(from..to).ok_or_else(Error::not_authentic)?;
                sink.write_all(part).map_err(|error| Error::io("cannot write", error))?;
                at += part.len() as u64;
            }
        }
        Ok(end - first)
    }

    /// Reads and opens chunks; where in the buffer the plaintext of each is.
    fn load(&mut self, first: u64, last: u64) -> Result<Vec<std::ops::Range<usize>>> {
        let count = usize::try_from(last - first).map_err(|_| Error::not_authentic())? + 1;
        self.buffer.resize(count * SEALED_CHUNK_LEN, 0);
        let at = self.chunks_at + first * SEALED_CHUNK_LEN as u64;
        self.source.seek(SeekFrom::Start(at)).map_err(cannot_read)?;
        let len = read_full(&mut self.source, &mut self.buffer).map_err(cannot_read)?;
        let mut texts = Vec::with_capacity(count);
        for index in 0..count {
            let start = index * SEALED_CHUNK_LEN;
            let end = len.min(start + SEALED_CHUNK_LEN);
            let number = first + index as u64;
            let chunk = self.buffer.get_mut(start..end).ok_or_else(Error::not_authentic)?;
            // Only the last is shorter, and the last is always shorter.
            if (chunk.len() < SEALED_CHUNK_LEN) != (number == self.last) {
                return Err(Error::not_authentic());
            }
            self.key.open_chunk(number, chunk)?;
            texts.push(start..end - TAG_LEN);
        }
        Ok(texts)
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
