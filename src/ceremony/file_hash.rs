//! Hashes of programs and modules.

use crate::audit::Hash;
use crate::error::{Error, Result};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The SHA-256 hash of a file, as `sha256sum` has it: of the program itself, or of a module.
///
/// # Errors
/// `Io` where it cannot be read, or is no file.
pub fn file_hash(path: &Path) -> Result<Hash> {
    let hash = || -> io::Result<Hash> {
        // Without waiting for the writer of a pipe. A pipe or a device would be read without end.
        let mut file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Hash::from_bytes(hash.finalize().into())),
                Ok(len) => hash.update(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    hash().map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))
}
