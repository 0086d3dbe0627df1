//! The current file of a log, which the processes of a host share under a lock.

use super::chain::{Chain, End};
use super::files::{self, cannot};
use super::hash::Id;
use super::line::{self, Entry, FORMAT, Line};
use crate::durable::sync_directory;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long the lock is waited for. Whoever holds it writes and syncs a few lines.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts at the lock.
const PAUSE: Duration = Duration::from_micros(500);
/// How much is read at once from the end of a file.
const BLOCK: u64 = 1 << 16;

/// The current file of a log, and where the chain in it ends.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotate_at: u64,
    host: String,
    file: File,
    /// The bytes of the file that are taken in.
    len: u64,
    chain: Chain,
    /// Whether lines were written that were not synced.
    unsynced: bool,
    /// Whether it was said that rotation does not work.
    warned: bool,
}

/// A line that is to be written, and when what it is about happened.
pub(super) type Draft = (String, Entry);

impl LogFile {
    /// Opens the log at `path`, or begins it.
    pub(super) fn open(path: &Path, rotate_at: u64) -> Result<Self> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let locked = Locked::open(path)?;
        let found = match tail(&locked.0, path)? {
            Some(found) => found,
            None => begin(&locked.0, path, &host)?,
        };
        let (chain, len) = found;
        let Locked(file) = locked;
        let mut log = Self { path: path.to_owned(), rotate_at, host, file, len, chain, unsynced: false, warned: false };
        // What is torn is closed now, so that whoever looks at the log finds it in order.
        let closed = log.close_torn();
        log.unlock();
        closed.map(|()| log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Where the chain ended when it was last looked at.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Writes lines, all or none of them, and syncs them where it is asked to.
    pub(super) fn append(&mut self, drafts: &[Draft], sync: bool) -> Result<()> {
        self.lock()?;
        let answer = self.append_locked(drafts, sync);
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

    /// Syncs what this process wrote.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.unsynced {
            self.file.sync_data().map_err(|error| cannot("sync", &self.path, error))?;
            self.unsynced = false;
        }
        Ok(())
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
                let good = self.len;
                self.len += skipped;
                let mark = Entry::Torn { length: torn.length, sha256: torn.sha256 };
                let written = self.write(before, &[(line::now(), mark)], true);
                match &written {
                    Ok(()) => {
                        tracing::warn!(log = %self.path.display(), bytes = torn.length, "closed a torn end of the audit log");
                    }
                    // It is still to be closed.
                    Err(_) => self.len = good,
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
            return Err(out_of_order(&self.path, "is shorter than it was"));
        }
        let mut bytes = vec![0; usize::try_from(len - self.len).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, self.len).map_err(failed)?;
        let (good, end) =
            self.chain.catch_up(&bytes).ok_or_else(|| out_of_order(&self.path, "does not go on as it should"))?;
        self.len += good as u64;
        Ok(end)
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
        self.unsynced = !sync;
        self.len += bytes.len() as u64;
        self.chain = chain;
        Ok(())
    }

    /// Keeps the file under another name and begins the next, with the lock held on both. At no time
    /// is there no file at the path.
    fn rotate(&mut self) -> Result<()> {
        let failed = |error| cannot("rotate", &self.path, error);
        self.file.sync_data().map_err(failed)?;
        let first = files::first_line(&self.file).map_err(failed)?;
        let first = first.ok_or_else(|| out_of_order(&self.path, "begins with something else than a line"))?.seq;
        let kept = files::rotated(&self.path, first);
        let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Chain { log, seq, hash, ref wraps, ref anchored, .. } = self.chain;
        let entry = Entry::Continued { log, file: name, wraps: wraps.clone(), anchored: anchored.clone() };
        let line = Line::new(seq + 1, line::now(), entry, self.host.clone(), own_pid(), hash);
        let bytes = [&line.to_bytes()[..], b"\n"].concat();

        let prepared = files::prepared(&self.path);
        let next = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&prepared);
        let next = next.map_err(failed)?;
        flock(&next, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
        next.write_all_at(&bytes, 0).and_then(|()| next.sync_all()).map_err(failed)?;
        // A second name, not a rename: whoever comes meanwhile finds the file as it was.
        match std::fs::hard_link(&self.path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is(&kept) => {}
            linked => linked.map_err(failed)?,
        }
        std::fs::rename(&prepared, &self.path).map_err(failed)?;
        sync_directory(&self.path).map_err(failed)?;
        self.len = bytes.len() as u64;
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
        here.map_err(|error| cannot("find", &self.path, error))?;
        // Another process has rotated it.
        let locked = Locked::open_existing(&self.path)?;
        let found = tail(&locked.0, &self.path)?;
        let (chain, len) = found
            .filter(|(chain, _)| self.chain.log == chain.log && self.chain.seq < chain.seq)
            .ok_or_else(|| out_of_order(&self.path, "was replaced by one that does not go on where it ended"))?;
        (self.file, self.len, self.chain, self.unsynced) = (locked.0, len, chain, false);
        Ok(())
    }

    fn unlock(&self) {
        // Closing the file would do it as well; nothing can be done about a failure.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// A file with its lock held.
struct Locked(File);

impl Locked {
    /// The file at `path`, made where there is none.
    fn open(path: &Path) -> Result<Self> {
        Self::with(path, || File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path))
    }

    fn open_existing(path: &Path) -> Result<Self> {
        Self::with(path, || File::options().read(true).write(true).open(path))
    }

    fn with(path: &Path, open: impl Fn() -> io::Result<File>) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = open().map_err(|error| cannot("open", path, error))?;
            wait_for_lock(&file, path, deadline)?;
            if is_same(&file, path).map_err(|error| cannot("find", path, error))? {
                return Ok(Self(file));
            }
        }
    }
}

/// The first line of a new log.
fn begin(file: &File, path: &Path, host: &str) -> Result<(Chain, u64)> {
    if !files::before(path)?.is_empty() {
        // Beginning anew would hide that the end of the log is gone.
        return Err(out_of_order(path, "is gone or empty, and its older files are there"));
    }
    let entry = Entry::Begin { format: FORMAT, log: Id::random()? };
    let line = Line::new(1, line::now(), entry, host.to_owned(), own_pid(), super::Hash::ZERO);
    let bytes = [&line.to_bytes()[..], b"\n"].concat();
    // What a process that was killed here had begun to write is written over.
    let written = file.write_all_at(&bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
    let written = written.and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    if let Err(error) = written {
        let _ = file.set_len(0);
        return Err(cannot("begin", path, error));
    }
    let chain = Chain::of_first(&line).ok_or_else(|| out_of_order(path, "cannot be begun"))?;
    Ok((chain, bytes.len() as u64))
}

/// Where the chain of a file ends, and after how many bytes; none where nothing was written whole.
/// Read from the end: what is before the last head is not needed.
fn tail(file: &File, path: &Path) -> Result<Option<(Chain, u64)>> {
    let failed = |error| cannot("read", path, error);
    let len = file.metadata().map_err(failed)?.len();
    let mut wanted = BLOCK;
    loop {
        let start = len.saturating_sub(wanted);
        let mut bytes = vec![0; usize::try_from(len - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start).map_err(failed)?;
        if let Some((chain, good)) = Chain::of_tail(&bytes, start == 0) {
            // The log's id is in the first line alone.
            let first = files::first_line(file).map_err(failed)?;
            let first = first.as_ref().and_then(Chain::of_first);
            let first = first.ok_or_else(|| out_of_order(path, "begins with something else than a log"))?;
            return Ok(Some((Chain { log: first.log, ..chain }, start + good as u64)));
        }
        if start == 0 {
            return if is_unbegun(&bytes) { Ok(None) } else { Err(out_of_order(path, "is not in order")) };
        }
        wanted = wanted.saturating_mul(2);
    }
}

/// Whether this is all that is left of a first line whose writer was stopped. Any other file that lies
/// at the path is none of ours to write over.
fn is_unbegun(bytes: &[u8]) -> bool {
    let start = b"{\"seq\":1,\"time\":\"";
    let common = bytes.len().min(start.len());
    !bytes.contains(&b'\n') && (bytes.iter().all(|byte| *byte == 0) || bytes[..common] == start[..common])
}

fn wait_for_lock(file: &File, path: &Path, deadline: Instant) -> Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(cannot("lock", path, error.into())),
        }
    }
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let (open, there) = (file.metadata()?, path.metadata()?);
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}

fn out_of_order(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, format!("the audit log '{}' {what}", path.display()))
        .with_hint("`keyward audit verify` says what is wrong; to begin a new log, move all files of this one away")
}

fn own_pid() -> u32 {
    std::process::id()
}
