//! Rewrapping: new wrapped keys for the same data key. The body is not touched, so it costs the same
//! for 1 KiB and 1 TiB.
//!
//! Rewrapping is not revocation: whoever kept the old slots and may still use the old key can open
//! the file.

mod file_system;
mod in_place;
mod plan;
mod unchanged;

use super::core::{Core, SlotsForm, truncated};
use super::open::{Expected, Prefix};
use super::slots::{self, Active, DetachedSlots, SlotCopy, area_len};
use crate::durable::{AtomicFile, Location, Replace};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{EncryptionContext, KeyName, KeyProvider, Origin};
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use unchanged::Unchanged;

/// Moves envelopes to the current versions of their keys, or to another key.
#[derive(Clone)]
pub struct Rewrap<'a> {
    provider: &'a dyn KeyProvider,
    to: Option<KeyName>,
    expected: Expected,
    origin: Origin,
    copy: bool,
}

/// What a rewrap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrapOutcome {
    /// Every entry that the provider knows is under the current version already.
    Unchanged,
    /// There are new entries.
    Rewrapped {
        /// How often the slots were written, counted from 1.
        generation: u32,
        /// How many entries are new.
        entries: usize,
    },
}

impl<'a> Rewrap<'a> {
    /// Replaces each entry under an older version of a key that `provider` can open by one under the
    /// current version of that key. Entries that it cannot open stay as they are.
    #[must_use]
    pub fn new(provider: &'a dyn KeyProvider) -> Self {
        Self {
            provider,
            to: None,
            expected: Expected::Exactly(EncryptionContext::new()),
            origin: Origin::Unverified,
            copy: false,
        }
    }

    /// Replaces all entries that `provider` can open by one under the current version of `key`.
    #[must_use]
    pub fn to(mut self, key: &KeyName) -> Self {
        self.to = Some(key.clone());
        self
    }

    /// The encryption context that the envelope must have; the empty one unless said.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.expected = Expected::Exactly(context);
        self
    }

    /// Accepts any encryption context. It stays as it is, and no plaintext is shown.
    #[must_use]
    pub fn any_context(mut self) -> Self {
        self.expected = Expected::Any;
        self
    }

    /// Moves data keys that an RSA key opened under symmetric keys, too. The caller knows who wrote the files.
    #[must_use]
    pub fn danger_assert_origin(mut self) -> Self {
        self.origin = Origin::DangerAsserted;
        self
    }

    /// Always writes a copy of the file and renames it over, instead of changing the slots in place:
    /// for devices that may damage what lies beside a write when the power fails. On file systems
    /// that are not known to leave it alone (network, user space, FAT) that is done anyway.
    #[must_use]
    pub fn copy(mut self, copy: bool) -> Self {
        self.copy = copy;
        self
    }

    /// Rewraps the file at `path`. A process killed at any instant leaves a file that opens.
    ///
    /// # Errors
    /// `KeyNotFound` where the provider knows none of its keys, `NotAuthentic` where none that it
    /// knows opens, `InvalidArgument` for files under a customer's key or with detached slots,
    /// `LimitExceeded` where the new entries do not fit, what the provider answers, `Io`. The file
    /// is then as it was.
    pub fn file(&self, path: &Path) -> Result<RewrapOutcome> {
        let failed = |error| Error::io(format!("cannot rewrap '{}'", path.display()), error);
        self.at(&Location::resolve(path).map_err(failed)?)
    }

    /// Rewraps the regular file at a location.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn at(&self, location: &Location) -> Result<RewrapOutcome> {
        in_place::with_locked(location, !self.copy, |file| {
            let (core, active, prefix) = self.read(file, location.path())?;
            let plan = self.plan(&core, &active.copy, &prefix)?;
            match self.copy || core.is_compact() || !file_system::takes_writes_in_place(file) {
                true => copy(location, file, self.provider, &core, &active, plan),
                false => in_place::write(location, file, self.provider, &core, &active, plan),
            }
        })
    }

    /// Rewraps detached slots. `envelope` is read, not written; the new slots replace the old ones
    /// as a whole. `None` where there is nothing to change.
    ///
    /// # Errors
    /// As [`file`](Self::file); `InvalidArgument` where the envelope holds its slots itself.
    pub fn detached<R: Read + Seek>(&self, envelope: &mut R, slots: &DetachedSlots) -> Result<Option<DetachedSlots>> {
        let core = Core::read(envelope)?;
        if !core.is_detached() {
            return Err(Error::new(ErrorKind::InvalidArgument, "this envelope holds its wrapped keys itself"));
        }
        self.expected.check(&core)?;
        envelope
            .seek(SeekFrom::Start(core.body_at(slots.copy())))
            .map_err(|error| Error::io("cannot read the envelope", error))?;
        let prefix = Prefix::read(envelope)?;
        match self.plan(&core, slots.copy(), &prefix)? {
            None => Ok(None),
            Some(plan) => {
                plan.verify(self.provider, &core)?;
                DetachedSlots::from_copy(plan.successor(slots.copy())?).map(Some)
            }
        }
    }

    /// Rewraps a compact envelope in memory, and returns what replaces it, or `None` if there is nothing to change.
    ///
    /// ```
    /// # #[cfg(feature = "testkit")] {
    /// # use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName, envelope::Rewrap};
    /// # let provider = keyward::testkit::MemoryProvider::new();
    /// # let key: KeyName = "records".parse()?;
    /// # provider.create_key(&key, AlgorithmChoice::Auto)?;
    /// let record = Encryptor::new(&provider, &key).compact().encrypt(b"Ada Lovelace")?;
    /// assert_eq!(Rewrap::new(&provider).compact(&record)?, None);
    ///
    /// provider.rotate_key(&key, None)?;
    /// let rewrapped = Rewrap::new(&provider).compact(&record)?.expect("the key has a newer version");
    /// assert_eq!(Decryptor::new(&provider).decrypt(&rewrapped)?, b"Ada Lovelace");
    /// # }
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`file`](Self::file); `InvalidArgument` if the envelope is not compact.
    pub fn compact(&self, envelope: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut source = envelope;
        let core = Core::read(&mut source)?;
        if !core.is_compact() {
            return Err(Error::new(ErrorKind::InvalidArgument, "this envelope is not compact"));
        }
        self.expected.check(&core)?;
        let copy = SlotCopy::read_compact(&mut source)?;
        let body = source;
        let Some(plan) = self.plan(&core, &copy, &Prefix::read(&mut source)?)? else { return Ok(None) };
        plan.verify(self.provider, &core)?;
        Ok(Some([core.as_bytes(), &plan.successor(&copy)?.encode_compact()?, body].concat()))
    }

    fn plan(&self, core: &Core, copy: &SlotCopy, prefix: &Prefix) -> Result<Option<plan::Plan>> {
        plan::plan(self.provider, self.to.as_ref(), self.origin, core, copy, prefix)
    }

    fn read(&self, file: &mut std::fs::File, path: &Path) -> Result<(Core, Active, Prefix)> {
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        file.rewind().map_err(failed)?;
        let core = Core::read(file)?;
        self.expected.check(&core)?;
        let active = match core.form {
            SlotsForm::Detached(_) => {
                return Err(Error::new(ErrorKind::InvalidArgument, "this envelope keeps its wrapped keys apart")
                    .with_hint("rewrap its detached slots"));
            }
            SlotsForm::Compact => Active { copy: SlotCopy::read_compact(file)?, position: 0, other_is_empty: true },
            SlotsForm::Attached(_) => slots::active(&core.read_slots(file)?)?.ok_or_else(slots::no_valid_copy)?,
        };
        let prefix = Prefix::read(file)?;
        Ok((core, active, prefix))
    }
}

/// Replaces the file by a copy with other slots. If nothing changes but an old slot copy is still there, the copy is
/// without it.
fn copy(
    location: &Location,
    mut file: &std::fs::File,
    provider: &dyn KeyProvider,
    core: &Core,
    active: &Active,
    plan: Option<plan::Plan>,
) -> Result<RewrapOutcome> {
    let copy = match &plan {
        Some(plan) => plan.successor(&active.copy)?,
        None if active.other_is_empty => return Ok(RewrapOutcome::Unchanged),
        None => active.copy.clone(),
    };
    let area = match core.is_compact() {
        true => copy.encode_compact()?,
        false => {
            let mut area = copy.encode(area_len(core.slots_len()))?;
            area.resize(core.slots_len(), 0);
            area
        }
    };
    let outcome = match plan {
        None => RewrapOutcome::Unchanged,
        Some(plan) => {
            plan.verify(provider, core)?;
            RewrapOutcome::Rewrapped { generation: copy.generation, entries: plan.new_entries() }
        }
    };
    let unchanged = Unchanged::new(location, file, core, active)?;
    let mut target = AtomicFile::create_at(location, Replace::Yes, 0o600)?.expecting(unchanged.version()?);
    let failed = |error| Error::io(format!("cannot write a copy of '{}'", location.path().display()), error);
    target.write_all(core.as_bytes()).and_then(|()| target.write_all(&area)).map_err(failed)?;
    let body_at = core.body_at(&active.copy);
    file.seek(SeekFrom::Start(body_at)).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len().checked_sub(body_at).ok_or_else(truncated)?;
    let copied = std::io::copy(&mut file, &mut target.file()).map_err(failed)?;
    if copied != expected {
        return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    unchanged.check()?;
    target.commit()?;
    Ok(outcome)
}

impl fmt::Debug for Rewrap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrap").field("to", &self.to).field("copy", &self.copy).finish_non_exhaustive()
    }
}
