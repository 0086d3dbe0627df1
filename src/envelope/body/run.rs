//! What is done to a run of chunks: sealing, opening, or both.

use super::{BodyKey, CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::cipher::TAG_LEN;
use crate::error::{Error, Result};
use zeroize::Zeroizing;

/// What becomes of each chunk. All of it goes from one buffer into another, without a copy.
#[derive(Clone, Copy)]
pub(in crate::envelope) enum Work<'a> {
    Seal(&'a BodyKey),
    Open(&'a BodyKey),
    /// Opens under the first key and seals under the second, chunk by chunk.
    Reseal(&'a BodyKey, &'a BodyKey),
}

/// What came of a run of chunks.
pub(in crate::envelope) struct Run {
    /// The bytes of output: those of the chunks before the one that failed.
    pub(in crate::envelope) len: usize,
    /// How much plaintext that is.
    pub(in crate::envelope) text: usize,
    pub(in crate::envelope) failed: Option<Error>,
}

impl Work<'_> {
    /// The length of every input chunk but the last.
    pub(in crate::envelope) fn input_chunk(self) -> usize {
        match self {
            Self::Seal(_) => CHUNK_LEN,
            Self::Open(_) | Self::Reseal(..) => SEALED_CHUNK_LEN,
        }
    }

    /// The length of every output chunk but the last.
    pub(in crate::envelope) fn output_chunk(self) -> usize {
        match self {
            Self::Open(_) => CHUNK_LEN,
            Self::Seal(_) | Self::Reseal(..) => SEALED_CHUNK_LEN,
        }
    }

    /// The length of the output of so much input, all of it to the end; nothing where no body is so long.
    pub(in crate::envelope) fn output_len(self, input: usize) -> Option<usize> {
        let (chunks, rest) = (input / self.input_chunk(), input % self.input_chunk());
        let rest = match self {
            Self::Seal(_) => rest + TAG_LEN,
            Self::Open(_) => rest.checked_sub(TAG_LEN)?,
            Self::Reseal(..) => rest,
        };
        chunks.checked_mul(self.output_chunk())?.checked_add(rest)
    }

    /// Works on the chunks in `input`, the first of which has the number `first`. The input is whole
    /// chunks, unless it is the `last` of the body: then a shorter one follows them, which may be empty.
    pub(in crate::envelope) fn run(self, first: u64, input: &[u8], last: bool, output: &mut [u8]) -> Run {
        let mut run = Run { len: 0, text: 0, failed: None };
        let mut scratch = Zeroizing::new(match self {
            Self::Reseal(..) => vec![0; CHUNK_LEN],
            _ => Vec::new(),
        });
        let chunks = input.chunks_exact(self.input_chunk());
        let rest = chunks.remainder();
        for (index, chunk) in (first..).zip(chunks.chain(last.then_some(rest))) {
            // What is left of the output has room for every whole chunk, and the last is never whole.
            let room = output.get_mut(run.len..).unwrap_or_default();
            match self.chunk(index, chunk, &mut scratch, room) {
                Ok((len, text)) => {
                    run.len += len;
                    run.text += text;
                }
                Err(error) => {
                    run.failed = Some(error);
                    break;
                }
            }
        }
        run
    }

    /// One chunk; the length of what it became, and that of its plaintext.
    fn chunk(self, index: u64, input: &[u8], scratch: &mut [u8], room: &mut [u8]) -> Result<(usize, usize)> {
        let text_len = match self {
            Self::Seal(_) => input.len(),
            // A body that ends after a full chunk lacks its last one: that is a tag at least.
            Self::Open(_) | Self::Reseal(..) => input.len().checked_sub(TAG_LEN).ok_or_else(Error::not_authentic)?,
        };
        let len = text_len + self.output_chunk() - CHUNK_LEN;
        let output = room.get_mut(..len).ok_or_else(Error::not_authentic)?;
        match self {
            Self::Seal(key) => key.seal_chunk(index, input, output)?,
            Self::Open(key) => key.open_chunk(index, input, output)?,
            Self::Reseal(from, to) => {
                let text = scratch.get_mut(..text_len).ok_or_else(Error::not_authentic)?;
                from.open_chunk(index, input, text)?;
                to.seal_chunk(index, text, output)?;
            }
        }
        Ok((len, text_len))
    }
}
