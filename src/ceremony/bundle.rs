//! The directory that a ceremony leaves behind.

use super::interim;
use super::journal::is_locked;
use super::name::Name;
use super::plan::{self, Plan};
use super::transcript::{MAX_TRANSCRIPT, Transcript};
use crate::audit::Hash;
use crate::durable::{AtomicFile, Replace, is_temporary, sync_entry};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyName;
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest of the other files of a bundle, in bytes.
const MAX_FILE: u64 = 16 << 20;

const PLAN: &str = "plan.toml";
const TRANSCRIPT: &str = "transcript.jsonl";
const REPORT: &str = "report.md";
const KEYS: &str = "keys";
const SIGNATURES: &str = "signatures";

/// The directory of one run of a plan.
///
/// | file | what it is |
/// |---|---|
/// | `plan.toml` | the plan, byte for byte |
/// | `transcript.jsonl` | what was done, a line each, every line hashed over the one before |
/// | `keys/NAME@TOKEN.pem` | the public halves of RSA keys |
/// | `report.md` | the transcript for people, made from plan and transcript alone when it is closed; its bytes are what is signed |
/// | `signatures/WITNESS.minisig` | what witnesses signed |
/// | `signatures/WITNESS@ENTRIES.minisig` | what a witness signed at a pause |
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// Makes the directory and puts the plan into it.
    ///
    /// # Errors
    /// `OutputExists` where there is something else than what this call leaves when it is interrupted; `InvalidArgument`
    /// where the text is no plan; `Io`.
    pub fn create(path: &Path, plan_text: &str) -> Result<Self> {
        Plan::parse(plan_text)?;
        let bundle = Self { path: path.to_owned() };
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && bundle.is_unbegun(plan_text) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!("'{}' exists already", path.display());
                return Err(Error::new(ErrorKind::OutputExists, message));
            }
            Err(error) => return Err(Error::io(format!("cannot make the bundle '{}'", path.display()), error)),
        }
        bundle.write(PLAN, plan_text.as_bytes())?;
        for directory in [KEYS, SIGNATURES] {
            bundle.make_directory(directory)?;
        }
        sync_entry(path)?;
        Ok(bundle)
    }

    /// Whether all that is there is what an interrupted [`create`](Self::create) of this plan leaves.
    fn is_unbegun(&self, plan_text: &str) -> bool {
        let Ok(names) = self.names("") else { return false };
        names.iter().all(|name| match name.as_str() {
            PLAN => self.plan_text().is_ok_and(|text| text == plan_text),
            KEYS | SIGNATURES => self.names(name).is_ok_and(|names| names.is_empty()),
            _ => false,
        })
    }

    /// The bundle at this path.
    ///
    /// # Errors
    /// `Io` where there is no directory.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot open the bundle '{}'", path.display()), error);
        let metadata = path.metadata().map_err(failed)?;
        if !metadata.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn transcript_path(&self) -> PathBuf {
        self.path.join(TRANSCRIPT)
    }

    /// The text of its plan.
    ///
    /// # Errors
    /// `Io` where it cannot be read; `InvalidArgument` where it is not text or too long.
    pub fn plan_text(&self) -> Result<String> {
        self.text(PLAN, plan::MAX_LEN as u64)
    }

    /// Its transcript, as it is now. Nothing is changed, a torn end least of all.
    ///
    /// # Errors
    /// `Io` where it cannot be read; `NotAuthentic` where its chain is broken, with the line.
    pub fn transcript(&self) -> Result<Transcript> {
        Transcript::parse(&self.bytes(TRANSCRIPT, MAX_TRANSCRIPT)?).map_err(|broken| {
            Error::new(ErrorKind::NotAuthentic, format!("the transcript is not as it was written: {broken}"))
                .with_hint("`keyward ceremony verify` says what else is wrong with the bundle")
        })
    }

    pub(super) fn transcript_bytes(&self) -> Result<Vec<u8>> {
        self.bytes(TRANSCRIPT, MAX_TRANSCRIPT)
    }

    /// Puts the public half of a key into it, and gives the hash that its transcript has to tell.
    ///
    /// # Errors
    /// `Io`.
    pub fn write_public_key(&self, key: &KeyName, token: &Name, pem: &str) -> Result<Hash> {
        self.make_directory(KEYS)?;
        self.write(&Self::key_file(key.as_str(), token), pem.as_bytes())?;
        Ok(Hash::of(&[pem.as_bytes()]))
    }

    /// The file of the public half of a key on a token: siblings have one name, and public halves of their own.
    pub(super) fn key_file(key: &str, token: &Name) -> String {
        // A slash would be a directory, and a name that begins with a dot a hidden file.
        format!("{KEYS}/{}@{token}.pem", key.replace('/', "%2F").replace('.', "%2E"))
    }

    /// Writes the report, over one that is there.
    ///
    /// # Errors
    /// As [`transcript`](Self::transcript) and [`plan_text`](Self::plan_text); `Io`.
    pub fn write_report(&self) -> Result<()> {
        let report = super::report(&self.plan()?, &self.transcript()?);
        self.write(REPORT, report.as_bytes())
    }

    /// Returns the bytes of its report, which witnesses sign.
    ///
    /// # Errors
    /// `Io` if there is none or it cannot be read; `InvalidArgument` if it is too long.
    pub fn report_bytes(&self) -> Result<Vec<u8>> {
        self.bytes(REPORT, MAX_FILE)
    }

    /// Its plan.
    ///
    /// # Errors
    /// As [`plan_text`](Self::plan_text), and `InvalidArgument` where it is no plan.
    pub fn plan(&self) -> Result<Plan> {
        Plan::parse(&self.plan_text()?)
    }

    /// Puts what a witness signed into it.
    ///
    /// # Errors
    /// `OutputExists` where there is one of hers already; `Io`.
    pub fn write_signature(&self, witness: &Name, signature: &str) -> Result<()> {
        self.make_directory(SIGNATURES)?;
        let path = self.path.join(Self::signature_file(witness));
        let mut file = AtomicFile::create(&path, Replace::No).map_err(|error| match error.kind() {
            ErrorKind::OutputExists => {
                error.with_hint("this witness has signed already; to sign anew, remove that file")
            }
            _ => error,
        })?;
        file.write_all(signature.as_bytes()).map_err(|error| cannot_write(&path, error))?;
        file.commit()
    }

    /// Puts what a witness signed at a pause, after this many entries, into it.
    ///
    /// # Errors
    /// `OutputExists` if there is one already; `Io`.
    pub fn write_interim_signature(&self, witness: &Name, entries: u64, signature: &str) -> Result<()> {
        self.make_directory(SIGNATURES)?;
        let path = self.path.join(interim::file_name(witness, entries));
        let mut file = AtomicFile::create(&path, Replace::No)?;
        file.write_all(signature.as_bytes()).map_err(|error| cannot_write(&path, error))?;
        file.commit()
    }

    pub(super) fn signature_file(witness: &Name) -> String {
        format!("{SIGNATURES}/{witness}.minisig")
    }

    /// All files in it, as paths below it; what an interrupted write left is not among them.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for name in self.names("")? {
            if [KEYS, SIGNATURES].contains(&name.as_str()) {
                all.extend(self.names(&name)?.iter().map(|inner| format!("{name}/{inner}")));
            } else {
                all.push(name);
            }
        }
        all.sort();
        Ok(all)
    }

    pub(super) fn is_known_file(name: &str) -> bool {
        [PLAN, TRANSCRIPT, REPORT].contains(&name)
    }

    fn names(&self, below: &str) -> Result<Vec<String>> {
        let path = self.path.join(below);
        let failed = |error: io::Error| Error::io(format!("cannot read '{}'", path.display()), error);
        let directory = self.open_inside(below, OFlags::DIRECTORY).map_err(failed)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(|error| failed(error.into()))? {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && !is_temporary(name) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// The bytes of a file in it.
    pub(super) fn file(&self, name: &str) -> Result<Vec<u8>> {
        self.bytes(name, MAX_FILE)
    }

    fn text(&self, name: &str, max: u64) -> Result<String> {
        String::from_utf8(self.bytes(name, max)?).map_err(|_| {
            let path = self.path.join(name);
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is not text", path.display()))
        })
    }

    fn bytes(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        let mut bytes = Vec::new();
        // Without waiting for the writer of a pipe.
        let file = self.open_inside(name, OFlags::NONBLOCK).map_err(failed)?;
        // A pipe or a device would be read without end.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > max {
            let message = format!("'{}' is longer than {max} bytes", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(bytes)
    }

    /// Opens what is in the bundle itself: a link at any place below its directory is an error, because what it leads to
    /// is not what is copied, archived and signed.
    fn open_inside(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The path of the bundle itself may be a link: the caller has chosen it.
        let mut at = openat(CWD, &self.path, directory, Mode::empty())?;
        if name.is_empty() {
            return Ok(at.into());
        }
        let (above, last) = name.rsplit_once('/').map_or((None, name), |(above, last)| (Some(above), last));
        if let Some(above) = above {
            at = openat(&at, above, directory | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(openat(&at, last, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let mut file = AtomicFile::create(&path, Replace::Yes)?;
        file.write_all(bytes).map_err(|error| cannot_write(&path, error))?;
        file.commit()
    }

    fn make_directory(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        let failed = |error| Error::io(format!("cannot make '{}'", path.display()), error);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            // What is written belongs into the bundle, and not where a link leads.
            Err(_) if !path.symlink_metadata().map_err(failed)?.is_dir() => {
                Err(failed(io::ErrorKind::NotADirectory.into()))
            }
            _ => sync_entry(&path),
        }
    }

    /// Whether a run has it open.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        is_locked(&self.transcript_path())
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write '{}'", path.display()), error)
}
