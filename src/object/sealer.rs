//! Plaintext in pieces of any length, to chunks.

use crate::envelope::body::{BodyKey, CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::envelope::parts;
use crate::error::Result;
use zeroize::Zeroizing;

/// How many chunks are sealed at once: what is made stays in the second-level cache from the moment room is made for
/// it.
const BATCH: usize = 16;

/// Seals chunk after chunk.
pub(super) struct Sealer {
    key: BodyKey,
    index: u64,
    /// The beginning of a chunk.
    carry: Zeroizing<Vec<u8>>,
}

impl Sealer {
    pub(super) fn new(key: BodyKey) -> Self {
        Self { key, index: 0, carry: Zeroizing::new(Vec::new()) }
    }

    /// Appends the chunks that `text` completes.
    pub(super) fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if !self.carry.is_empty() {
            let (piece, rest) = text.split_at(text.len().min(CHUNK_LEN - self.carry.len()));
            self.carry.extend_from_slice(piece);
            text = rest;
            if self.carry.len() < CHUNK_LEN {
                return Ok(());
            }
            let carry = std::mem::take(&mut self.carry);
            self.seal(&carry, out)?;
        }
        let (whole, rest) = text.split_at(text.len() / CHUNK_LEN * CHUNK_LEN);
        for batch in whole.chunks(BATCH * CHUNK_LEN) {
            self.seal(batch, out)?;
        }
        if !rest.is_empty() {
            // So that it does not move and leave a copy behind.
            self.carry.reserve_exact(CHUNK_LEN);
            self.carry.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Appends whole chunks.
    fn seal(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let chunks = text.len() / CHUNK_LEN;
        let at = out.len();
        out.resize(at + chunks * SEALED_CHUNK_LEN, 0);
        parts::seal(&self.key, self.index, text, false, &mut out[at..])?;
        self.index += chunks as u64;
        Ok(())
    }

    /// Appends the last chunk.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        let at = out.len();
        out.resize(at + self.carry.len() + SEALED_CHUNK_LEN - CHUNK_LEN, 0);
        parts::seal(&self.key, self.index, &self.carry, true, &mut out[at..])
    }
}
