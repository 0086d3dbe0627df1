//! The current file of a log, which the processes of a host share under a lock.

use super::chain::{Chain, End, Identity, LastSigned};
use super::files::{self, Snapshot, cannot};
use super::guard::{self, Guard};
use super::hash::{Hash, Id};
use super::head::Anchor;
use super::keepers::{Keepers, Trust};
use super::line::{self, Entry, FORMAT, Line};
use super::lock::{Locked, PATIENCE, is_not_found, is_same, wait_for_lock};
use super::name::LogName;
use super::tail::{self, Oversight, tampered};
use crate::durable::sync_directory;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How often what the keepers vouch for may change while the log is opened.
const ATTEMPTS: u32 = 8;

/// The current file of a log, and where the chain in it ends.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotate_at: u64,
    host: String,
    file: File,
    /// The bytes of the file that are taken in, and how many of them are the last line.
    len: u64,
    last_len: u64,
    chain: Chain,
    guard: Guard,
    /// Whether it was said that rotation does not work.
    warned: bool,
}

/// A line that is to be written, and when what it is about happened.
pub(super) type Draft = (String, Entry);

/// What happened to a signed head that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadWritten {
    Done,
    /// Another process has written a signed head meanwhile, which this one does not name.
    Overtaken,
}

impl LogFile {
    /// Opens the log at `path`, or begins it. Returns what its keepers vouch for, if any answers.
    pub(super) fn open(
        path: &Path,
        rotate_at: u64,
        name: &LogName,
        keepers: &Keepers,
    ) -> Result<(Self, Option<Trust>)> {
        let mut trust = keepers.read(name)?;
        for _ in 0..ATTEMPTS {
            let opened = Self::open_under(path, rotate_at, name, !keepers.is_empty(), trust.as_ref());
            if trust.is_none() || !opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::Tampered) {
                return opened.map(|file| (file, trust));
            }
            // Another process may have begun, retired or signed it between the two looks.
            let again = keepers.read(name)?;
            if again == trust {
                return opened.map(|file| (file, trust));
            }
            trust = again;
        }
        Err(Error::new(
            ErrorKind::Io,
            format!("the keys or anchors of the audit log '{}' change all the time", path.display()),
        ))
    }

    fn open_under(path: &Path, rotate_at: u64, name: &LogName, signed: bool, trust: Option<&Trust>) -> Result<Self> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let file = match Locked::open_existing(path) {
            Ok(locked) => locked.0,
            Err(error) if is_not_found(&error) => {
                guard::check_begin(path, trust)?;
                Locked::create(path)?.0
            }
            Err(error) => return Err(error),
        };
        let oversight = guard::oversight(signed, trust);
        let ((chain, len, last_len), guard) = match tail::read(path, &file, oversight)? {
            Some(tail) => {
                let guard = guard::check(path, &file, name, &tail, signed, trust)?;
                ((tail.chain, tail.len, tail.last_len), guard)
            }
            None => {
                let retired = guard::check_begin(path, trust)?;
                (begin(&file, path, &host, name, retired)?, Guard::new(signed, trust))
            }
        };
        let mut log = Self { path: path.to_owned(), rotate_at, host, file, len, last_len, chain, guard, warned: false };
        // What is torn is closed now, so that whoever looks at the log finds it in order.
        let closed = log.close_torn();
        log.unlock();
        closed.map(|()| log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the chain ended when it was last looked at.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Checks that the log extends what its keepers have seen: all of it the first time, later what is new. `asked` is
    /// what [`Guard::unverified`] was when they were asked.
    pub(super) fn check(&mut self, trust: &Trust, asked: usize) -> Result<()> {
        self.lock()?;
        let checked = self.close_torn().and_then(|()| match self.guard.is_checked() {
            true => self.guard.update(&self.path, &self.file, self.len, &self.chain, trust, asked),
            false => self.check_all(trust),
        });
        self.unlock();
        checked
    }

    fn check_all(&mut self, trust: &Trust) -> Result<()> {
        let tail = tail::read(&self.path, &self.file, Oversight::Trusted(trust))?;
        let tail = tail.filter(|tail| tail.chain.end() == self.chain.end());
        let tail = tail.ok_or_else(|| tampered(&self.path, "does not end where it was read to"))?;
        self.guard = guard::check(&self.path, &self.file, &self.chain.identity.name, &tail, true, Some(trust))?;
        // What was counted from a head that was not verified yet.
        self.chain = tail.chain;
        Ok(())
    }

    /// Writes lines, all or none of them, and syncs them where it is asked to.
    pub(super) fn append(&mut self, drafts: &[Draft], sync: bool) -> Result<()> {
        self.lock()?;
        let answer = self.append_locked(drafts, sync);
        self.unlock();
        answer
    }

    /// Writes and syncs a signed head, unless the last signed head is not the one before it any more.
    pub(super) fn append_head(&mut self, draft: Draft, previous: LastSigned) -> Result<HeadWritten> {
        self.lock()?;
        let answer = self.close_torn().and_then(|()| {
            if self.chain.signed != previous {
                return Ok(HeadWritten::Overtaken);
            }
            self.write(b"", &[draft], true).map(|()| HeadWritten::Done)
        });
        self.unlock();
        answer
    }

    fn append_locked(&mut self, drafts: &[Draft], sync: bool) -> Result<()> {
        self.close_torn()?;
        if self.len >= self.rotate_at {
            match self.rotate() {
                Ok(()) => self.warned = false,
                Err(error) if !self.warned => {
                    self.warned = true;
                    tracing::warn!(log = %self.path.display(), %error, "the audit log cannot be rotated and grows on");
                }
                Err(_) => {}
            }
        }
        self.write(b"", drafts, sync)
    }

    /// Syncs what this process and others wrote.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| cannot("sync", &self.path, error))
    }

    /// Takes in what others wrote, and closes what one of them left torn.
    fn close_torn(&mut self) -> Result<()> {
        match self.catch_up()? {
            End::Clean => Ok(()),
            End::NoNewline(length) => {
                let ended = self.file.write_all_at(b"\n", self.len + length).and_then(|()| self.file.sync_data());
                ended.map_err(|error| cannot("write", &self.path, error))?;
                self.close_torn()
            }
            End::Torn(torn) => {
                let (before, skipped): (&[u8], _) =
                    if torn.has_newline { (b"", torn.length + 1) } else { (b"\n", torn.length) };
                let good = (self.len, self.last_len);
                self.len += skipped;
                let mark = Entry::Torn { length: torn.length, sha256: torn.sha256 };
                let written = self.write(before, &[(line::now(), mark)], true);
                match &written {
                    Ok(()) => {
                        tracing::warn!(log = %self.path.display(), bytes = torn.length, "closed a torn end of the audit log");
                    }
                    // It is still to be closed.
                    Err(_) => (self.len, self.last_len) = good,
                }
                written
            }
        }
    }

    fn catch_up(&mut self) -> Result<End> {
        let failed = |error| cannot("read", &self.path, error);
        let len = self.file.metadata().map_err(failed)?.len();
        if len < self.len {
            // Nothing that Keyward does makes a log shorter under those who have read it.
            return Err(tampered(&self.path, "is shorter than it was"));
        }
        // The last line is read again: a file of the same length may have been written over it.
        let start = self.len - self.last_len;
        let mut bytes = vec![0; usize::try_from(len - start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, start).map_err(failed)?;
        let (last, new) = bytes.split_at(usize::try_from(self.last_len).unwrap_or(usize::MAX).min(bytes.len()));
        let last = last.strip_suffix(b"\n").and_then(Line::parse);
        if last.is_none_or(|last| (last.seq, last.hash) != (self.chain.seq, self.chain.hash)) {
            return Err(tampered(&self.path, &format!("has another entry {} than it had", self.chain.seq)));
        }
        let caught = self.chain.catch_up(new, &mut |chain, line| self.guard.look(chain, line));
        let (good, end) = caught.map_err(|what| tampered(&self.path, &what))?;
        self.take_in(&new[..good]);
        Ok(end)
    }

    /// Counts bytes that end with a line and were taken in.
    fn take_in(&mut self, good: &[u8]) {
        if let Some(before) = good.strip_suffix(b"\n") {
            let last = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            self.last_len = (good.len() - last) as u64;
            self.len += good.len() as u64;
        }
    }

    /// Writes `before` and lines at the end of what was taken in, or nothing.
    fn write(&mut self, before: &[u8], drafts: &[Draft], sync: bool) -> Result<()> {
        let mut chain = self.chain.clone();
        let mut bytes = before.to_vec();
        for (time, entry) in drafts {
            let line = Line::new(chain.seq + 1, time.clone(), entry.clone(), self.host.clone(), own_pid(), chain.hash);
            bytes.extend(line.to_bytes());
            bytes.push(b'\n');
            chain.follow(&line);
        }
        let written = self.file.write_all_at(&bytes, self.len);
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // No line of which it is not known whether it is there: what follows would not fit. Where this
            // fails too, the next writer finds a torn end.
            if let Err(error) = self.file.set_len(self.len) {
                tracing::warn!(log = %self.path.display(), %error, "what could not be written whole stays in part");
            }
            return Err(cannot("write", &self.path, error));
        }
        self.take_in(&bytes);
        self.chain = chain;
        Ok(())
    }

    /// Keeps the file under another name and begins the next, with the lock held on both. At no time
    /// is there no file at the path.
    fn rotate(&mut self) -> Result<()> {
        let failed = |error| cannot("rotate", &self.path, error);
        self.file.sync_data().map_err(failed)?;
        let first = files::first_line(&self.file).map_err(failed)?;
        let first = first.ok_or_else(|| tampered(&self.path, "begins with something else than a line"))?.seq;
        let kept = files::rotated(&self.path, first);
        let Chain { identity: Identity { log, name, retired }, seq, hash, wraps, .. } = &self.chain;
        let entry = Entry::Continued {
            log: *log,
            name: name.clone(),
            retired: retired.as_ref().map(|anchor| anchor.to_text()),
            file: kept.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            wraps: wraps.clone(),
        };
        let line = Line::new(seq + 1, line::now(), entry, self.host.clone(), own_pid(), *hash);
        let bytes = [&line.to_bytes()[..], b"\n"].concat();

        let prepared = files::prepared(&self.path);
        // What a rotation that was stopped has left, or what was planted there.
        match std::fs::remove_file(&prepared) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let next = files::create(&prepared).map_err(failed)?;
        flock(&next, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
        next.write_all_at(&bytes, 0).and_then(|()| next.sync_all()).map_err(failed)?;
        // A second name, not a rename: whoever comes meanwhile finds the file as it was.
        match std::fs::hard_link(&self.path, &kept) {
            Ok(()) if self.is(&kept) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is(&kept) => {}
            Ok(()) => return Err(tampered(&self.path, "was replaced while it was rotated")),
            Err(error) => return Err(failed(error)),
        }
        std::fs::rename(&prepared, &self.path).map_err(failed)?;
        sync_directory(&self.path).map_err(failed)?;
        (self.len, self.last_len) = (bytes.len() as u64, bytes.len() as u64);
        self.chain.follow(&line);
        self.file = next;
        Ok(())
    }

    fn is(&self, path: &Path) -> bool {
        is_same(&self.file, path).is_ok_and(|same| same)
    }

    /// Takes the lock on the file that is at the path now.
    fn lock(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        wait_for_lock(&self.file, &self.path, deadline)?;
        let here = is_same(&self.file, &self.path);
        if let Ok(true) = here {
            return Ok(());
        }
        self.unlock();
        match here {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(tampered(&self.path, "is gone")),
            here => here.map_err(|error| cannot("find", &self.path, error))?,
        };
        // Another process has rotated it.
        let locked = Locked::open_existing(&self.path)?;
        self.move_on(&locked.0)?;
        self.file = locked.0;
        Ok(())
    }

    /// Takes in what was written since the file was rotated, up to the end of the file that is there now.
    fn move_on(&mut self, file: &File) -> Result<()> {
        let failed = |error| cannot("read", &self.path, error);
        let replaced = || tampered(&self.path, "was replaced by one that does not go on where it ended");
        let first = files::first_line(file).map_err(failed)?.ok_or_else(replaced)?;
        let identity = Identity::of_first(&first).ok_or_else(replaced)?;
        if identity != self.chain.identity || first.seq <= self.chain.seq {
            return Err(replaced());
        }
        let len = file.metadata().map_err(failed)?.len();
        let files = Snapshot::of_open(&self.path, file.try_clone().map_err(failed)?, len)?;
        let (mut chain, guard) = (self.chain.clone(), &mut self.guard);
        let wrong = files.find_from(chain.seq + 1, |line| {
            if line.seq >= first.seq {
                return ControlFlow::Break(None);
            }
            match chain.is_linked(&line) && guard.look(&chain, &line).is_ok() && chain.follow(&line) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(Some(line.seq)),
            }
        })?;
        if wrong.is_some() {
            return Err(replaced());
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let caught = chain.catch_up(&bytes, &mut |chain, line| guard.look(chain, line));
        let (good, _) = caught.map_err(|what| tampered(&self.path, &what))?;
        self.chain = chain;
        self.len = 0;
        self.take_in(&bytes[..good]);
        Ok(())
    }

    fn unlock(&self) {
        // Closing the file would do it as well; nothing can be done about a failure.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Writes the first line of a new log.
fn begin(file: &File, path: &Path, host: &str, name: &LogName, retired: Option<&Anchor>) -> Result<(Chain, u64, u64)> {
    let retired = retired.map(Anchor::to_text);
    let entry = Entry::Begin { format: FORMAT, log: Id::random()?, name: name.clone(), retired };
    let line = Line::new(1, line::now(), entry, host.to_owned(), own_pid(), Hash::ZERO);
    let bytes = [&line.to_bytes()[..], b"\n"].concat();
    // What a process that was killed here had begun to write is written over.
    let written = file.write_all_at(&bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
    let written = written.and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    if let Err(error) = written {
        let _ = file.set_len(0);
        return Err(cannot("begin", path, error));
    }
    let chain = Chain::of_first(&line).ok_or_else(|| tampered(path, "cannot be begun"))?;
    Ok((chain, bytes.len() as u64, bytes.len() as u64))
}

fn own_pid() -> u32 {
    std::process::id()
}
