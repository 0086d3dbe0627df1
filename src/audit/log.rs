//! The log as those who do operations see it.

use super::event::{Event, Outcome};
use super::file::LogFile;
use super::hash::Id;
use super::head::Anchor;
use super::head_signer::HeadSigner;
use super::line;
use super::name::LogName;
use super::options::AuditOptions;
use super::writer::{self, Message, Wraps, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KekId;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The audit log of this host. Clones share it, and so do processes that open the same file.
///
/// ```no_run
/// use keyward::audit::{AuditLog, AuditOptions, Event, Outcome};
/// use keyward::key::{Operation, Principal};
/// # fn unwrap_it() -> keyward::Result<()> { Ok(()) }
/// let log = AuditLog::open("/var/log/keyward/audit.log".as_ref(), AuditOptions::default())?;
/// let alice = Principal::new("alice")?;
/// // On the disk before the token is asked, or the token is not asked.
/// let pending = log.begin(Event::new(Operation::Unwrap, &alice))?;
/// let answer = unwrap_it();
/// pending.finish(Outcome::of(&answer));
/// log.close()?;
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuditLog(Arc<Shared>);

struct Shared {
    path: PathBuf,
    messages: Sender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
    wraps: Wraps,
    closed: AtomicBool,
    /// The process whose writer it is: a child that was forked has none.
    process: u32,
}

impl AuditLog {
    /// Opens the log at `path`, or begins it if there is none. What a process that was killed left half written is closed
    /// and marked.
    ///
    /// A log that is [signed](AuditOptions::keeper) must extend what its keepers have seen of it: the line that is
    /// anchored is there, the last signed head is good, its links lead back to the anchor, and the lines after it hash. The
    /// lines between are the work of [`Verify`](super::Verify). A new log is anchored before this returns. If no keeper
    /// answers, the log goes on under heads that are not signed, and is checked as soon as one does.
    ///
    /// # Errors
    /// `Tampered` if the log is not the one that its keepers have seen, or is not in order; `Io` if it cannot be read or
    /// written, or another process keeps its lock; `KeyNotFound` if no keeper has an audit key; `InvalidArgument` if it is
    /// given no name and the host's name is none; and those of the keepers, but for their absence.
    pub fn open(path: &Path, options: AuditOptions) -> Result<Self> {
        let name = options.name.clone().map_or_else(LogName::of_host, Ok)?;
        let (file, trust) = LogFile::open(path, options.rotate_at, &name, &options.keepers)?;
        let log = file.chain().identity.log;
        let is_anchored = trust.is_none_or(|trust| trust.highest(log).is_some()) || !file.guard().is_checked();
        let (messages, received) = mpsc::channel();
        let no_thread = |error| Error::io("there is no thread for the audit log", error);
        let signer = if options.keepers.is_empty() {
            None
        } else {
            let (tasks, taken) = mpsc::channel();
            let signer = HeadSigner { keepers: options.keepers.clone() };
            let answers = messages.clone();
            let thread = thread::Builder::new().name(format!("{}-sign", writer::NAME));
            Some((tasks, thread.spawn(move || signer.run(&taken, &answers)).map_err(no_thread)?))
        };
        let wraps = Wraps::default();
        let writer = Writer::new(file, options, received, signer, Arc::clone(&wraps));
        let thread = thread::Builder::new().name(writer::NAME.to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(no_thread)?;
        let log = Self(Arc::new(Shared {
            path: path.to_owned(),
            messages,
            writer: Mutex::new(Some(writer)),
            wraps,
            closed: AtomicBool::new(false),
            process: std::process::id(),
        }));
        if !is_anchored {
            match log.anchor() {
                Err(error) if error.kind().is_unavailable() => {
                    tracing::warn!(%error, "the audit log begins without an anchor");
                }
                anchored => drop(anchored?),
            }
        }
        Ok(log)
    }

    /// Says that an operation is about to be done. It may be done when this returns, and not before:
    /// the line is on the disk then. Many who do this at once share one sync.
    ///
    /// # Errors
    /// `Io` if the line could not be written and synced, the log is [closed](Self::close), or this is a forked child of
    /// the process that opened it; `Tampered` if the log is not as it was. The operation must not be done then.
    pub fn begin(&self, event: Event) -> Result<Pending> {
        self.0.check_usable()?;
        let request = Id::random()?;
        let draft = (line::now(), event.intent(request));
        self.0.ask(|answer| Message::Intent(draft, answer))?;
        Ok(Pending { log: Arc::clone(&self.0), request, finished: false })
    }

    /// Records an operation that was refused before anything was asked of a key. It is not waited for:
    /// the line is written with the next group, and kept until then where it cannot be.
    pub fn refused(&self, event: Event, error: &Error) {
        // Without a random id the line is still worth having.
        let request = Id::random().unwrap_or(Id::from_bytes([0; 16]));
        self.0.tell((line::now(), event.refused(request, error)));
    }

    /// How many AES-GCM wraps under this key the log knows of: on this host, by all its processes,
    /// ever. An intent counts, whatever came of it. What other processes wrote since this one last
    /// wrote is not yet counted.
    #[must_use]
    pub fn wraps(&self, kek: KekId) -> u64 {
        let wraps = self.0.wraps.lock().unwrap_or_else(PoisonError::into_inner);
        wraps.get(&Id::from_bytes(*kek.as_bytes())).copied().unwrap_or(0)
    }

    /// Waits until everything that was said before is on the disk.
    ///
    /// # Errors
    /// `Io` where it could not be written. It is kept and tried again.
    pub fn flush(&self) -> Result<()> {
        self.0.check_process()?;
        self.0.ask(Message::Flush)
    }

    /// Signs the head and anchors it on the token, now.
    ///
    /// # Errors
    /// `InvalidArgument` if the log has no keeper, `Tampered` if it is not the one that its keepers have seen, the errors
    /// of the token, `Io`.
    pub fn anchor(&self) -> Result<Anchor> {
        self.0.check_usable()?;
        let anchor = self.0.ask(Message::Anchor)?;
        self.flush()?;
        Ok(anchor)
    }

    /// Writes what is left, signs the head, and refuses every operation from then on. The outcomes of
    /// those that are still being done are written. A token that does not sign is no error.
    ///
    /// Dropping the last clone closes the log too, and tells no error.
    ///
    /// # Errors
    /// `Io` where something could not be written.
    pub fn close(&self) -> Result<()> {
        self.0.check_process()?;
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.ask(Message::Close)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// An operation that is being done. Dropped without [`finish`](Self::finish), as by a panic, its
/// outcome is unknown, and the log says so.
#[derive(Debug)]
#[must_use = "its outcome would be recorded as unknown"]
pub struct Pending {
    log: Arc<Shared>,
    request: Id,
    finished: bool,
}

impl Pending {
    /// Says what came of it. It is not waited for: the line is written with the next group.
    pub fn finish(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    /// The id that joins intent and outcome.
    #[must_use]
    pub fn request(&self) -> Id {
        self.request
    }

    fn tell(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.finished, true) {
            self.log.tell((line::now(), outcome.entry(self.request)));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.tell(Outcome::unknown());
    }
}

impl Shared {
    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let message = format!("the audit log '{}' was opened before this process was forked", self.path.display());
        Err(Error::new(ErrorKind::Io, message).with_hint("open it in each process"))
    }

    fn check_usable(&self) -> Result<()> {
        self.check_process()?;
        if !self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let message = format!("the audit log '{}' is closed; nothing was done", self.path.display());
        Err(Error::new(ErrorKind::Io, message))
    }

    fn ask<T>(&self, message: impl FnOnce(Sender<Result<T>>) -> Message) -> Result<T> {
        let (answer, answered) = mpsc::channel();
        let gone = |_| writer::is_gone(&self.path);
        self.messages.send(message(answer)).map_err(|_| writer::is_gone(&self.path))?;
        answered.recv().map_err(gone)?
    }

    fn tell(&self, draft: super::file::Draft) {
        // In a forked child nobody would write it.
        if self.check_process().is_err() || self.messages.send(Message::Line(draft)).is_err() {
            tracing::error!(log = %self.path.display(), "a line of the audit log is lost");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.check_process().is_err() {
            return;
        }
        let _ = self.messages.send(Message::End);
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!(log = %self.path.display(), "the audit log was not closed");
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.path.display())
    }
}
