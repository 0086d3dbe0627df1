//! Whether a file is still the one that a rewrap has read.

use crate::durable::{FileId, FileVersion, Location, changed_meanwhile};
use crate::envelope::core::Core;
use crate::envelope::slots::{Active, area_len};
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a file was when its slots were read: its name, its length, CORE and the active slot copy.
///
/// The lock keeps other rewraps away. It keeps no program away that writes a file through the same inode, as `cp` and
/// `rsync --inplace` do: new wrapped keys in what such a program wrote would destroy it. So the file is read again
/// immediately before each write; between the two calls remains a window, which `docs/format.md` names.
pub(super) struct Unchanged<'a> {
    location: &'a Location,
    file: &'a File,
    id: FileId,
    len: u64,
    core: &'a Core,
    /// Where the active slot copy begins, and its bytes.
    copy: (u64, Vec<u8>),
}

impl<'a> Unchanged<'a> {
    /// Notes what the file is, which must be what `core` and `active` were read from.
    pub(super) fn new(location: &'a Location, file: &'a File, core: &'a Core, active: &Active) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot read '{}'", location.path().display()), error);
        let bytes = match core.is_compact() {
            true => active.copy.encode_compact()?,
            false => {
                let mut bytes = active.copy.encode(area_len(core.slots_len()))?;
                bytes.resize(area_len(core.slots_len()), 0);
                bytes
            }
        };
        let at = core.slots_at() + (active.position * area_len(core.slots_len())) as u64;
        let found = file.metadata().map_err(failed)?;
        let unchanged = Self { location, file, id: FileId::from(&found), len: found.len(), core, copy: (at, bytes) };
        unchanged.check()?;
        Ok(unchanged)
    }

    /// Returns the version of the file as it is now.
    pub(super) fn version(&self) -> Result<FileVersion> {
        FileVersion::of(self.file)
            .map_err(|error| Error::io(format!("cannot read '{}'", self.location.path().display()), error))
    }

    /// Fails if the file has another name, length, CORE or active slot copy than before.
    pub(super) fn check(&self) -> Result<()> {
        match self.is_unchanged() {
            Ok(true) => Ok(()),
            Ok(false) => Err(changed_meanwhile(self.location.path())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(changed_meanwhile(self.location.path())),
            Err(error) => Err(Error::io(format!("cannot read '{}'", self.location.path().display()), error)),
        }
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let is_same = |expected: &[u8], at: u64| {
            let mut found = vec![0; expected.len()];
            self.file.read_exact_at(&mut found, at).map(|()| found == expected)
        };
        Ok(self.file.metadata()?.len() == self.len
            && self.location.id()? == self.id
            && is_same(self.core.as_bytes(), 0)?
            && is_same(&self.copy.1, self.copy.0)?)
    }
}
