//! The one thread of a process that writes to a log. What is queued while it writes and syncs is its
//! next group: one write and one sync for all of it.

mod heads;

use super::file::{Draft, LogFile};
use super::hash::Id;
use super::head::Anchor;
use super::head_signer::{Done, Task};
use super::options::AuditOptions;
use crate::error::{Error, ErrorKind, Result};
use heads::Signing;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The most messages in one group.
const GROUP: usize = 1024;
/// How many lines that could not be written are kept for later.
const KEPT: usize = 1 << 16;
/// How long closing waits for the token.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a failed write it is tried again where nothing else is to be written.
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// Nothing is due.
const LONG: Duration = Duration::from_secs(3600);

pub(super) type Answer<T> = Sender<Result<T>>;

pub(super) enum Message {
    /// A line that must be on the disk before it is answered.
    Intent(Draft, Answer<()>),
    /// A line that nobody waits for.
    Line(Draft),
    /// Everything that was sent before is to be on the disk.
    Flush(Answer<()>),
    /// The head is to be signed and anchored now.
    Anchor(Answer<Anchor>),
    /// The head is to be signed now.
    Close(Answer<()>),
    /// From the thread that asks the keepers.
    Done(Box<Done>),
    /// There will be no more.
    End,
}

/// The counts of wraps, for whoever asks.
pub(super) type Wraps = Arc<Mutex<BTreeMap<Id, u64>>>;

pub(super) struct Writer {
    file: LogFile,
    options: AuditOptions,
    messages: Receiver<Message>,
    signer: Option<Sender<Task>>,
    /// The thread at the other end, which is joined before this one ends.
    signer_thread: Option<JoinHandle<()>>,
    wraps: Wraps,
    /// What could not be written yet.
    kept: Vec<Draft>,
    /// When the oldest line came that no head covers.
    unsigned_since: Option<Instant>,
    /// The signature that the keepers are asked for, and who waits for its anchor.
    signing: Option<Signing>,
    anchoring: Vec<Answer<Anchor>>,
    /// Not before these times is it tried again by itself.
    sign_again: Instant,
    anchor_again: Instant,
    /// What was asked for and not begun.
    head_wanted: bool,
    anchor_wanted: Vec<Answer<Anchor>>,
    anchor_at_close: bool,
    /// Who waits for the close, with its result so far and until when.
    closing: Vec<(Answer<()>, Result<()>)>,
    ending: bool,
    patience: Option<Instant>,
    /// Why no operation is recorded any more: evidence of tampering.
    refused: Option<Error>,
}

#[derive(Default)]
struct Group {
    drafts: Vec<Draft>,
    intents: Vec<(usize, Answer<()>)>,
    flushes: Vec<Answer<()>>,
    closes: Vec<Answer<()>>,
}

impl Writer {
    pub(super) fn new(
        file: LogFile,
        options: AuditOptions,
        messages: Receiver<Message>,
        signer: Option<(Sender<Task>, JoinHandle<()>)>,
        wraps: Wraps,
    ) -> Self {
        let (signer, signer_thread) = signer.unzip();
        let now = Instant::now();
        let mut writer = Self {
            file,
            options,
            messages,
            signer,
            signer_thread,
            wraps,
            kept: Vec::new(),
            unsigned_since: None,
            signing: None,
            anchoring: Vec::new(),
            sign_again: now,
            anchor_again: now,
            head_wanted: false,
            anchor_wanted: Vec::new(),
            anchor_at_close: false,
            closing: Vec::new(),
            ending: false,
            patience: None,
            refused: None,
        };
        writer.look_at_chain();
        writer
    }

    pub(super) fn run(mut self) {
        loop {
            let mut group = Group::default();
            match self.messages.recv_timeout(self.until_due()) {
                Ok(first) => self.sort(first, &mut group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.sort(Message::End, &mut group),
            }
            for _ in 1..GROUP {
                let Ok(next) = self.messages.try_recv() else { break };
                self.sort(next, &mut group);
            }
            self.commit(group);
            self.consider_head();
            if self.is_closed() {
                let synced = self.file.sync();
                for (answer, result) in self.closing.drain(..) {
                    let _ = answer.send(result.and_then(|()| synced.as_ref().copied().map_err(again)));
                }
                self.patience = None;
                if self.ending {
                    if !self.kept.is_empty() {
                        let (path, lost) = (self.file.path().display(), self.kept.len());
                        tracing::error!(log = %path, lost, "lines of the audit log are lost: they could not be written");
                    }
                    self.end_signer();
                    return;
                }
            }
        }
    }

    /// Waits for the thread that asks the keepers, unless a token holds it up.
    fn end_signer(&mut self) {
        self.signer = None;
        if self.signing.is_none()
            && let Some(thread) = self.signer_thread.take()
            && thread.join().is_err()
        {
            tracing::error!(log = %self.file.path().display(), "the thread that signs the audit log has failed");
        }
    }

    /// Puts a message where it belongs.
    fn sort(&mut self, message: Message, group: &mut Group) {
        match message {
            Message::Intent(draft, answer) => {
                if let Some(refused) = &self.refused {
                    let _ = answer.send(Err(again(refused)));
                    return;
                }
                group.intents.push((group.drafts.len(), answer));
                group.drafts.push(draft);
            }
            Message::Line(draft) => group.drafts.push(draft),
            Message::Flush(answer) => group.flushes.push(answer),
            Message::Anchor(answer) => self.anchor_wanted.push(answer),
            Message::Close(answer) => group.closes.push(answer),
            Message::Done(done) => self.go_on(*done),
            Message::End => {
                self.ending = true;
                self.want_close();
            }
        }
    }

    /// Writes a group and answers those who wait for it.
    fn commit(&mut self, mut group: Group) {
        let waits = !(group.intents.is_empty() && group.flushes.is_empty() && group.closes.is_empty());
        let mut drafts = std::mem::take(&mut self.kept);
        let earlier = drafts.len();
        drafts.append(&mut group.drafts);
        if drafts.is_empty() && !waits {
            return;
        }
        let written = self.file.append(&drafts, waits);
        self.look_at_chain();
        let failure = match written {
            Ok(()) => None,
            Err(error) => {
                // Those who wait are told. What nobody waits for is written as soon as it can be.
                let mut intents = group.intents.iter().map(|(index, _)| earlier + index).peekable();
                let kept = drafts.into_iter().enumerate().filter(|(n, _)| intents.next_if_eq(n).is_none());
                self.kept = kept.map(|(_, draft)| draft).collect();
                tracing::warn!(log = %self.file.path().display(), %error, "the audit log cannot be written");
                if self.kept.len() > KEPT {
                    let lost = self.kept.len() - KEPT;
                    tracing::error!(log = %self.file.path().display(), lost, "lines of the audit log are lost");
                    self.kept.truncate(KEPT);
                }
                Some(Arc::new(error))
            }
        };
        let result = |what: &str| match &failure {
            None => Ok(()),
            Some(cause) => {
                let message = format!("the audit log '{}' cannot be written{what}", self.file.path().display());
                let error = Error::new(cause.kind(), message).with_source(Arc::clone(cause));
                Err(match cause.hint() {
                    Some(hint) => error.with_hint(hint.to_owned()),
                    None => error,
                })
            }
        };
        for (_, answer) in group.intents {
            let _ = answer.send(result("; nothing was done"));
        }
        for answer in group.flushes {
            let _ = answer.send(result(""));
        }
        let closes: Vec<_> = group.closes.into_iter().map(|answer| (answer, result(""))).collect();
        if !closes.is_empty() {
            self.closing.extend(closes);
            self.want_close();
        }
    }

    fn want_close(&mut self) {
        self.head_wanted = true;
        self.anchor_at_close = self.options.anchor_at_close;
        self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
    }

    /// Whether all is done that closing waits for.
    fn is_closed(&self) -> bool {
        let Some(patience) = self.patience else { return false };
        let idle = !(self.signing.is_some() || self.head_wanted) && self.anchor_wanted.is_empty();
        idle || Instant::now() >= patience
    }

    fn look_at_chain(&mut self) {
        let chain = self.file.chain();
        match chain.unsigned {
            0 => self.unsigned_since = None,
            _ => _ = self.unsigned_since.get_or_insert_with(Instant::now),
        }
        self.wraps.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&chain.wraps);
    }

    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let head = match self.unsigned_since {
            Some(since) if self.signer.is_some() && self.signing.is_none() && self.refused.is_none() => {
                Some((since + self.options.sign_after).max(self.sign_again))
            }
            _ => None,
        };
        let kept = (!self.kept.is_empty()).then(|| now + WRITE_PAUSE);
        let due = [head, self.patience, kept].into_iter().flatten().min();
        due.map_or(LONG, |due| due.saturating_duration_since(now))
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    let same = Error::new(error.kind(), error.to_string());
    match error.hint() {
        Some(hint) => same.with_hint(hint.to_owned()),
        None => same,
    }
}

/// The beginning of the names of a log's threads.
pub(super) const NAME: &str = "keyward-audit";

/// What is told to whoever asks a writer that is gone.
pub(super) fn is_gone(path: &Path) -> Error {
    let message = format!("the audit log '{}' is not being written any more; nothing was done", path.display());
    Error::new(ErrorKind::Io, message)
}
