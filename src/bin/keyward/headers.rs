//! Which key versions a file is under: its header says it, to anyone.

use keyward::KekId;
use keyward::envelope::{InspectedEntry, inspect};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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

/// Reads the header of a file. An error says why it cannot be told.
pub(crate) fn header(path: &Path) -> Result<Header, String> {
    let (file, start) = begin(path).map_err(|error| error.to_string())?;
    if start != MAGIC {
        return Ok(Header::Other);
    }
    let found = inspect(&mut start.chain(file)).map_err(|error| error.to_string())?;
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

/// Whether a file begins as an envelope does.
pub(crate) fn is_envelope(path: &Path) -> io::Result<bool> {
    Ok(begin(path)?.1 == MAGIC)
}

fn begin(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut start = Vec::with_capacity(MAGIC.len());
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok((file, start))
}
