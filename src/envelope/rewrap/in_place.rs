//! Changing the slots of a file where it lies, so that at every instant one slot copy is whole
//! (`docs/format.md`, "Rewrapping in place").

use super::RewrapOutcome;
use super::plan::Plan;
use super::unchanged::Unchanged;
use crate::durable::{FileId, Location};
use crate::envelope::core::Core;
use crate::envelope::slots::{self, Active, SlotCopy, area_len};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyProvider;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How often a file may be replaced by another while it is waited for.
const ATTEMPTS: usize = 100;

/// Does `work` with the file at `location` while no other process rewraps it.
pub(super) fn with_locked<T>(
    location: &Location,
    writable: bool,
    work: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    let failed = |error| Error::io(format!("cannot rewrap '{}'", location.path().display()), error);
    for _ in 0..ATTEMPTS {
        let opened = if writable { location.open_for_writing() } else { location.open() };
        let mut file = opened.map_err(failed)?;
        file.lock().map_err(failed)?;
        // While this process waited, another may have renamed a copy over the name: then the lock is on a file that
        // has no name any more.
        if FileId::from(&file.metadata().map_err(failed)?) == location.id().map_err(failed)? {
            return work(&mut file);
        }
    }
    Err(failed(std::io::Error::other("other processes replace it all the time")))
}

/// Writes the planned entries, and takes away what is not current.
pub(super) fn write(
    location: &Location,
    file: &File,
    provider: &dyn KeyProvider,
    core: &Core,
    active: &Active,
    plan: Option<Plan>,
) -> Result<RewrapOutcome> {
    let area = Area { path: location.path(), file, core };
    let unchanged = Unchanged::new(location, file, core, active)?;
    let Some(plan) = plan else {
        if !active.other_is_empty {
            area.clear(1 - active.position)?;
        }
        return Ok(RewrapOutcome::Unchanged);
    };
    let next = plan.successor(&active.copy)?;
    let bytes = next.encode(area_len(core.slots_len()))?;
    let position = 1 - active.position;
    // Before anything is written: what takes long is to ask the token.
    plan.verify(provider, core)?;
    unchanged.check()?;
    area.write(position, &bytes)?;
    if let Err(error) = area.read_back(&next) {
        // The old slot copy is still whole. What was written instead must not be taken for newer.
        unchanged.check()?;
        area.clear(position)?;
        return Err(error);
    }
    unchanged.check()?;
    area.clear(active.position)?;
    Ok(RewrapOutcome::Rewrapped { generation: next.generation, entries: plan.new_entries() })
}

/// The SLOTS of a file on the disk.
struct Area<'a> {
    path: &'a Path,
    file: &'a File,
    core: &'a Core,
}

impl Area<'_> {
    /// Writes one slot copy and waits until it is on the disk: the order of the writes is the point.
    fn write(&self, position: usize, bytes: &[u8]) -> Result<()> {
        let at = self.core.slots_at() + (position * area_len(self.core.slots_len())) as u64;
        let answer = self.file.write_all_at(bytes, at).and_then(|()| self.file.sync_data());
        answer.map_err(|error| Error::io(format!("cannot write '{}'", self.path.display()), error))
    }

    fn clear(&self, position: usize) -> Result<()> {
        self.write(position, &vec![0; area_len(self.core.slots_len())])
    }

    /// Reads the slots again: what was written must be there, and be what readers take.
    fn read_back(&self, next: &SlotCopy) -> Result<()> {
        let wrong =
            || Error::new(ErrorKind::Io, format!("'{}' does not read back as it was written", self.path.display()));
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.core.slots_at())).map_err(|_| wrong())?;
        match slots::active(&self.core.read_slots(&mut file)?)? {
            Some(active) if active.copy == *next => Ok(()),
            _ => Err(wrong()),
        }
    }
}
