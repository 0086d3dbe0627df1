//! Which key versions a file is under: its header says it, to anyone.

use crate::inspect::inspect_file;
use keyward::KekId;
use keyward::envelope::{InspectedEntry, Positioned};
use std::fs::File;
use std::io::{self, Read};

/// What every envelope begins with (`docs/format.md`).
const MAGIC: &[u8] = b"\x89KWE\r\n\x1a\n";

/// What a file is under.
pub(crate) enum Header {
    /// It is no envelope.
    Other,
    Envelope {
        ids: Vec<KekId>,
        /// Whether that is all: no entry is of an unknown kind.
        complete: bool,
    },
}

/// Reads the header of an open file. An error says why that cannot be done.
pub(crate) fn header(file: &File) -> Result<Header, String> {
    if !is_envelope(file).map_err(|error| error.to_string())? {
        return Ok(Header::Other);
    }
    let found = inspect_file(file).map_err(|error| error.to_string())?;
    if found.detached {
        return Err("its wrapped keys are kept apart".to_owned());
    }
    let mut complete = true;
    let ids = found.entries.iter().filter_map(|entry| match entry {
        InspectedEntry::Known(key) => Some(key.kek_id()),
        InspectedEntry::Unknown { .. } => {
            complete = false;
            None
        }
    });
    let ids = ids.collect();
    Ok(Header::Envelope { ids, complete })
}

/// Whether an open file begins as an envelope does. Its position stays as it is.
pub(crate) fn is_envelope(file: &File) -> io::Result<bool> {
    let mut start = Vec::with_capacity(MAGIC.len());
    Positioned::new(file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}
