//! The body: Cobblestone-256 as published at <https://c2sp.org/chunked-encryption>, verbatim, so
//! that anyone can decrypt it with another implementation once they hold the data key.
//!
//! `salt (24) ‖ commitment (32) ‖ chunks`. Each chunk is 16384 bytes of plaintext and a 16-byte tag;
//! the last is always shorter and may be empty. The key, the base nonce and the commitment are
//! derived from the data key, the salt and a context with HKDF-Expand-SHA-512; chunk `k` has the
//! base nonce XOR `k`.
//!
//! Envelopes use this with the context `"keyward.envelope.v1\0" ‖ CORE`. It is public for those who
//! bring a context of their own.

use crate::cipher::{Engine, Gcm, NONCE_LEN, TAG_LEN, hkdf_expand_sha512};
use crate::error::{Error, ErrorKind, Result};
use crate::key::DataKey;
use std::io::{self, Read, Write};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The length of the salt.
pub const SALT_LEN: usize = 24;
/// The length of the commitment.
pub const COMMITMENT_LEN: usize = 32;
/// The length of salt and commitment.
pub const PREFIX_LEN: usize = SALT_LEN + COMMITMENT_LEN;
/// The plaintext in every chunk but the last.
pub const CHUNK_LEN: usize = 16384;
/// The length of every chunk but the last, with its tag.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// The most chunks of a body: 4 PiB less one byte of plaintext.
const MAX_CHUNKS: u64 = 1 << 38;

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// What is derived for one body: the AEAD key, the base nonce and the commitment.
pub struct BodyKey {
    gcm: Gcm,
    base_nonce: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl BodyKey {
    /// Derives the key of a body from a data key of 32 bytes, its salt, and the concatenation of
    /// `context`.
    ///
    /// # Errors
    /// `InvalidArgument` where the data key has another length.
    pub fn derive(engine: Engine, data_key: &DataKey, salt: &[u8; SALT_LEN], context: &[&[u8]]) -> Result<Self> {
        if data_key.expose_secret().len() != 32 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a body needs a data key of 32 bytes"));
        }
        let mut info: Vec<&[u8]> = vec![LABEL, salt];
        info.extend(context);
        let mut derived = Zeroizing::new([0; 32 + NONCE_LEN + COMMITMENT_LEN]);
        hkdf_expand_sha512(data_key.expose_secret(), &info, &mut *derived)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&derived[..32]);
        let mut base_nonce = [0; NONCE_LEN];
        base_nonce.copy_from_slice(&derived[32..32 + NONCE_LEN]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&derived[32 + NONCE_LEN..]);
        Ok(Self { gcm: Gcm::new(engine, &key)?, base_nonce, commitment })
    }

    /// What commits to data key, salt and context, and tells the right data key from others before
    /// anything is decrypted.
    #[must_use]
    pub fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Whether the body with this commitment is under this key; in constant time.
    #[must_use]
    pub fn commits_to(&self, commitment: &[u8; COMMITMENT_LEN]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    /// The number of the chunk goes into the last bytes of the nonce, big-endian.
    fn nonce(&self, index: u64) -> Result<[u8; NONCE_LEN]> {
        if index >= MAX_CHUNKS {
            return Err(Error::new(ErrorKind::LimitExceeded, "a plaintext of 4 PiB or more does not fit an envelope"));
        }
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Ok(nonce)
    }

    fn seal_chunk(&self, index: u64, chunk: &mut [u8]) -> Result<()> {
        self.gcm.seal(self.nonce(index)?, &[], chunk)
    }

    /// Opens one chunk in place; its plaintext is all but the last 16 bytes.
    pub(super) fn open_chunk(&self, index: u64, chunk: &mut [u8]) -> Result<()> {
        let nonce = self.nonce(index).map_err(|_| Error::not_authentic())?;
        self.gcm.open(nonce, &[], chunk)
    }
}

impl std::fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyKey(redacted)")
    }
}

/// How many chunks go to the inner writer, or come from the inner reader, at once: 256 KiB, which stays in
/// the second-level cache. Measured here: 1 MiB costs decryption 13 % in memory.
const BATCH: usize = 16;

/// Writes a body. [`finish`](Self::finish) writes its last chunk; without it the body is truncated,
/// and readers refuse it.
pub struct BodyWriter<W: Write> {
    inner: W,
    key: BodyKey,
    /// Chunks, each with room for its tag: the full ones sealed already, the last one in the making.
    buffer: Zeroizing<Vec<u8>>,
    /// Where the next plaintext byte goes.
    end: usize,
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
        let buffer = Zeroizing::new(vec![0; BATCH * SEALED_CHUNK_LEN]);
        Ok(Self { inner, key, buffer, end: 0, index: 0, failed: false })
    }

    /// Reads plaintext from `source` straight into the buffer; how much, 0 at its end.
    ///
    /// # Errors
    /// What reading or writing answers.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.take(|room| {
            loop {
                match source.read(room) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    answer => break answer,
                }
            }
        })
    }

    /// Writes the last chunk and flushes.
    ///
    /// # Errors
    /// `Io` where writing fails.
    pub fn finish(mut self) -> Result<W> {
        self.check().map_err(write_failed)?;
        let start = self.end - self.end % SEALED_CHUNK_LEN;
        let end = self.end + TAG_LEN;
        self.key.seal_chunk(self.index, &mut self.buffer[start..end])?;
        self.inner.write_all(&self.buffer[..end]).and_then(|()| self.inner.flush()).map_err(write_failed)?;
        Ok(self.inner)
    }

    /// Lets `fill` put plaintext into what is left of the chunk in the making.
    fn take(&mut self, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.check()?;
        let start = self.end - self.end % SEALED_CHUNK_LEN;
        let full = start + CHUNK_LEN;
        let taken = fill(&mut self.buffer[self.end..full])?.min(full - self.end);
        self.end += taken;
        if self.end == full {
            // A full chunk is never the last: it can be sealed, and another will follow.
            self.failed = true;
            self.key.seal_chunk(self.index, &mut self.buffer[start..full + TAG_LEN])?;
            self.index += 1;
            self.end += TAG_LEN;
            if self.end == self.buffer.len() {
                self.inner.write_all(&self.buffer)?;
                self.end = 0;
            }
            self.failed = false;
        }
        Ok(taken)
    }

    /// After a failed write it is not known what went out: nothing more does.
    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write failed")) } else { Ok(()) }
    }
}

impl<W: Write> Write for BodyWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        let mut rest = plaintext;
        while !rest.is_empty() {
            let taken = self.take(|room| {
                let len = room.len().min(rest.len());
                room[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            })?;
            rest = &rest[taken..];
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

/// Reads a body whose salt and commitment were read and checked: only authenticated chunks come
/// out. That the body is whole is known when the end is reached.
pub struct BodyReader<R: Read> {
    inner: R,
    key: BodyKey,
    buffer: Zeroizing<Vec<u8>>,
    /// The plaintext in the buffer that was not handed out yet.
    ready: std::ops::Range<usize>,
    index: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    More,
    Ended,
    Failed,
}

impl<R: Read> BodyReader<R> {
    /// A reader of the chunks in `inner`.
    pub fn new(key: BodyKey, inner: R) -> Self {
        let buffer = Zeroizing::new(vec![0; BATCH * SEALED_CHUNK_LEN]);
        Self { inner, key, buffer, ready: 0..0, index: 0, state: State::More }
    }

    /// Writes the next authenticated plaintext to `sink`; how much, 0 at the end.
    ///
    /// # Errors
    /// `NotAuthentic` where the body is altered or truncated, `Io` where reading or writing fails.
    pub fn write_to(&mut self, sink: &mut (impl Write + ?Sized)) -> Result<usize> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        let ready = &self.buffer[self.ready.clone()];
        sink.write_all(ready).map_err(write_failed)?;
        let written = ready.len();
        self.ready = 0..0;
        Ok(written)
    }

    fn fill(&mut self) -> Result<()> {
        match self.state {
            State::Ended => return Ok(()),
            State::Failed => return Err(Error::not_authentic()),
            State::More => self.state = State::Failed,
        }
        let len = read_full(&mut self.inner, &mut self.buffer)
            .map_err(|error| Error::io("cannot read the envelope", error))?;
        let ended = len < self.buffer.len();
        let mut plaintext = 0;
        let mut start = 0;
        while start < len || ended {
            let end = len.min(start + SEALED_CHUNK_LEN);
            let last = end - start < SEALED_CHUNK_LEN;
            // A body that ends after a full chunk lacks its last one: that is a tag at least.
            if let Err(error) = self.key.open_chunk(self.index, &mut self.buffer[start..end]) {
                // The chunks before it are authentic and come out first; the next call fails.
                self.ready = 0..plaintext;
                return if plaintext > 0 { Ok(()) } else { Err(error) };
            }
            let text_end = end - TAG_LEN;
            self.buffer.copy_within(start..text_end, plaintext);
            plaintext += text_end - start;
            self.index += 1;
            start = end;
            if last {
                break;
            }
        }
        self.ready = 0..plaintext;
        self.state = if ended { State::Ended } else { State::More };
        Ok(())
    }
}

impl<R: Read> Read for BodyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() && !out.is_empty() {
            self.fill()?;
        }
        let len = out.len().min(self.ready.len());
        out[..len].copy_from_slice(&self.buffer[self.ready.start..self.ready.start + len]);
        self.ready.start += len;
        Ok(len)
    }
}

impl<R: Read> std::fmt::Debug for BodyReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A whole body of `plaintext`, for those who bring salt and context.
///
/// The salt must be random and is never used twice with one data key and context.
///
/// # Errors
/// As [`BodyKey::derive`].
pub fn seal(
    engine: Engine,
    data_key: &DataKey,
    context: &[u8],
    salt: &[u8; SALT_LEN],
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let key = BodyKey::derive(engine, data_key, salt, &[context])?;
    let mut writer = BodyWriter::new(key, salt, Vec::with_capacity(sealed_len(plaintext.len())))?;
    writer.write_all(plaintext).map_err(write_failed)?;
    writer.finish()
}

/// The plaintext of a whole body.
///
/// # Errors
/// `NotAuthentic` where data key or context are not the body's, or it is altered or truncated.
pub fn open(engine: Engine, data_key: &DataKey, context: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    let (salt, rest) = body.split_first_chunk::<SALT_LEN>().ok_or_else(Error::not_authentic)?;
    let (commitment, chunks) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or_else(Error::not_authentic)?;
    let key = BodyKey::derive(engine, data_key, salt, &[context]).map_err(|_| Error::not_authentic())?;
    if !key.commits_to(commitment) {
        return Err(Error::not_authentic());
    }
    let mut plaintext = Vec::with_capacity(chunks.len());
    let mut reader = BodyReader::new(key, chunks);
    while reader.write_to(&mut plaintext)? > 0 {}
    Ok(plaintext)
}

/// The length of a body of so much plaintext; a hint for allocation.
pub(super) fn sealed_len(plaintext: usize) -> usize {
    PREFIX_LEN + plaintext + (plaintext / CHUNK_LEN + 1) * TAG_LEN
}

/// Reads until `buffer` is full or the source ends; how much.
pub(super) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match source.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn write_failed(error: io::Error) -> Error {
    Error::io("cannot write", error)
}
