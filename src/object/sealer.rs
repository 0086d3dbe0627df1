//! Plaintext in pieces of any length, to ciphertext in pieces of one length.

use crate::envelope::body::{BodyKey, CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::envelope::parts;
use crate::error::Result;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Seals chunk after chunk, and cuts what comes of it.
pub(super) struct Sealer {
    key: BodyKey,
    index: u64,
    /// The beginning of a chunk.
    carry: Zeroizing<Vec<u8>>,
    /// The length of a piece.
    len: usize,
    /// The piece in the making, and how much of it there is.
    piece: Vec<u8>,
    filled: usize,
    pool: Arc<Pool>,
    done: Vec<Bytes>,
}

impl Sealer {
    /// An object that begins with `head`, in pieces of `len` bytes; the last may be shorter.
    pub(super) fn new(key: BodyKey, head: &[u8], len: usize) -> Self {
        let (carry, pool) = (Zeroizing::new(Vec::new()), Arc::default());
        let mut sealer = Self { key, index: 0, carry, len, piece: Vec::new(), filled: 0, pool, done: Vec::new() };
        sealer.append(head);
        sealer
    }

    /// Seals the chunks that `text` completes; the pieces that are whole then.
    pub(super) fn push(&mut self, text: &[u8]) -> Result<Vec<Bytes>> {
        let mut text = text;
        if !self.carry.is_empty() {
            let (piece, rest) = text.split_at(text.len().min(CHUNK_LEN - self.carry.len()));
            self.carry.extend_from_slice(piece);
            text = rest;
            if self.carry.len() == CHUNK_LEN {
                let carry = std::mem::take(&mut self.carry);
                self.seal(&carry)?;
            }
        }
        let (whole, rest) = text.split_at(text.len() / CHUNK_LEN * CHUNK_LEN);
        self.seal(whole)?;
        if !rest.is_empty() {
            // So that it does not move and leave a copy behind.
            self.carry.reserve_exact(CHUNK_LEN);
            self.carry.extend_from_slice(rest);
        }
        Ok(std::mem::take(&mut self.done))
    }

    /// Seals the last chunk; the pieces that are left.
    pub(super) fn finish(mut self) -> Result<Vec<Bytes>> {
        let mut chunk = vec![0; self.carry.len() + SEALED_CHUNK_LEN - CHUNK_LEN];
        parts::seal(&self.key, self.index, &self.carry, true, &mut chunk)?;
        self.append(&chunk);
        if self.filled > 0 {
            self.cut();
        }
        Ok(self.done)
    }

    /// Whole chunks: straight to their place, but for one that a cut goes through.
    fn seal(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            let room = self.room();
            let fit = (room.len() / SEALED_CHUNK_LEN).min(text.len() / CHUNK_LEN);
            let (now, later) = text.split_at(fit.max(1) * CHUNK_LEN);
            let (first, sealed_len) = (self.index, fit.max(1) * SEALED_CHUNK_LEN);
            if fit > 0 {
                let filled = self.filled;
                parts::seal(&self.key, first, now, false, &mut self.piece[filled..filled + sealed_len])?;
                self.filled += sealed_len;
            } else {
                let mut chunk = vec![0; sealed_len];
                parts::seal(&self.key, first, now, false, &mut chunk)?;
                self.append(&chunk);
            }
            self.index += fit.max(1) as u64;
            text = later;
        }
        Ok(())
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
    }

    /// What is left of the piece in the making, or of the next: never nothing.
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.len {
            self.cut();
        }
        if self.piece.is_empty() {
            self.piece = self.pool.take(self.len);
        }
        &mut self.piece[self.filled..]
    }

    fn cut(&mut self) {
        let (bytes, len) = (std::mem::take(&mut self.piece), std::mem::take(&mut self.filled));
        self.done.push(Bytes::from_owner(Lent { bytes, len, pool: Arc::clone(&self.pool) }));
    }
}

/// Pieces that were sent, for those that follow: memory that was used before saves much of the time that fresh memory
/// takes. They hold ciphertext, and go with the object.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self, len: usize) -> Vec<u8> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| vec![0; len])
    }
}

/// A piece on its way.
struct Lent {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
