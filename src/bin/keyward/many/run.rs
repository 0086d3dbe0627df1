//! The run itself: threads that take one file after the other.

use super::bar::{Bar, Unit};
use super::descriptors::Descriptors;
use super::outputs::Job;
use super::summary::{Skip, Summary};
use super::{ManyArgs, Plan, interrupt};
use crate::app::App;
use crate::output::{one_line, print_line, say};
use crate::report;
use keyward::durable::{AtomicFile, Batch};
use keyward::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// From this size on, a file is put on the disk by itself.
const LARGE: u64 = 1 << 20;
/// So much is put on the disk together.
pub(super) const BATCH_FILES: u64 = 1024;
const BATCH_BYTES: u64 = 64 << 20;
/// How long what is finished waits for others: a run that is killed loses no more.
const BATCH_TIME: Duration = Duration::from_secs(2);
/// How often it is looked whether a batch has waited long enough, or the program ends.
const POLL: Duration = Duration::from_millis(100);

/// What was done with a file.
pub(crate) enum Did {
    /// Its output is whole, and waits for its name; what may be said of it then.
    Wrote(AtomicFile, String),
    /// It is done, and this may be said of it.
    Changed(String),
    /// It was done before; the same.
    Already(String),
    Skipped(Skip),
}

impl Did {
    /// What is said of it.
    pub(crate) fn line(self) -> String {
        match self {
            Self::Changed(line) | Self::Already(line) => line,
            Self::Wrote(..) | Self::Skipped(_) => String::new(),
        }
    }
}

/// Where it is said what became of each file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    Nowhere,
    /// On standard output: it is what was asked for.
    Output,
    /// On standard error.
    Notes,
}

/// How the files are worked on.
pub(crate) struct Run<'a> {
    pub(crate) app: &'a App,
    pub(crate) args: &'a ManyArgs,
    pub(crate) unit: Unit,
    pub(crate) lines: Lines,
    /// Which failures every other file would meet too: the run ends there.
    pub(crate) lasting: fn(&Error) -> bool,
}

impl Run<'_> {
    /// Works on all files of the plan. `work` gets a file, and a function to tell how many of its
    /// bytes are done.
    pub(crate) fn work<W>(&self, mut plan: Plan, work: W) -> anyhow::Result<Summary>
    where
        W: Fn(&Job, &(dyn Fn(u64) + Sync)) -> anyhow::Result<Did> + Sync,
    {
        let removed = plan.prepare()?;
        let Plan { found, jobs, .. } = plan;
        let bytes = jobs.iter().map(|job| job.len).sum();
        let threads = self.args.jobs(self.app).min(jobs.len());
        let descriptors = Descriptors::raised(threads);
        let threads = descriptors.threads(threads);
        let at_work = AtWork {
            run: self,
            jobs: &jobs,
            work,
            bar: Bar::new(self.app, self.unit, jobs.len() as u64, bytes),
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            patience: threads,
            batch_files: descriptors.batch_files(threads),
            state: Mutex::new(State {
                summary: Summary { skipped: found.skipped, removed, ..Summary::default() },
                ..State::default()
            }),
        };
        interrupt::begin(jobs.len(), !self.app.quiet());
        for (path, error) in found.failed {
            at_work.fail(&mut at_work.state(), &path, error.into());
        }
        let (full, batches) = mpsc::sync_channel(1);
        let at = &at_work;
        // A thread that cannot be had makes the run slower, and no smaller.
        let start = |name: &str| thread::Builder::new().name(format!("keyward-{name}"));
        thread::scope(|scope| {
            // Waiting for the disk keeps no other thread from the token.
            let committing = start("commit").spawn_scoped(scope, move || at.commit_all(&batches));
            let full = committing.is_ok().then_some(full);
            if full.is_none() {
                // Nothing waits for its name in vain.
                interrupt::committed();
            }
            thread::scope(|workers| {
                for _ in 1..threads {
                    if start("file").spawn_scoped(workers, || at.thread(full.as_ref())).is_err() {
                        break;
                    }
                }
                at.thread(full.as_ref());
            });
            // Not in one statement, which would hold the lock that committing takes.
            let rest = at.state().take_batch();
            at.hand_over(rest, full.as_ref());
            drop(full);
        });
        interrupt::end();
        Ok(at_work.finish())
    }
}

/// A run while it lasts.
struct AtWork<'a, W> {
    run: &'a Run<'a>,
    jobs: &'a [Job],
    work: W,
    bar: Bar,
    next: AtomicUsize,
    stopped: AtomicBool,
    /// After so many files in a row that the token did not serve, none is tried any more.
    patience: usize,
    batch_files: usize,
    state: Mutex<State>,
}

/// Outputs that wait for their names; whose they are, and what is said of them.
type Waiting = (Batch, Vec<(usize, String)>);

#[derive(Default)]
struct State {
    summary: Summary,
    batch: Batch,
    waiting: Vec<(usize, String)>,
    since: Option<Instant>,
    through: u64,
    /// How many files in a row the token did not serve.
    unserved: usize,
    /// What is to be said of files, in their order, from this one on.
    lines: BTreeMap<usize, Option<String>>,
    next_line: usize,
    hints: BTreeSet<String>,
    broken: Option<std::io::Error>,
}

impl State {
    fn take_batch(&mut self) -> Waiting {
        self.since = None;
        (std::mem::take(&mut self.batch), std::mem::take(&mut self.waiting))
    }
}

impl<W> AtWork<'_, W>
where
    W: Fn(&Job, &(dyn Fn(u64) + Sync)) -> anyhow::Result<Did> + Sync,
{
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn thread(&self, full: Option<&SyncSender<Waiting>>) {
        while !self.stopped.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(index) else { break };
            let told = AtomicU64::new(0);
            let tell = |done: u64| self.bar.bytes(done.saturating_sub(told.swap(done, Ordering::Relaxed)));
            let answer = (self.work)(job, &tell);
            self.bar.bytes(job.len.saturating_sub(told.into_inner()));
            interrupt::wait_if_ending();
            match answer {
                Ok(Did::Wrote(file, told)) if job.len < LARGE => self.add((index, told), file, full),
                Ok(Did::Wrote(file, told)) => {
                    let answer = file.commit().map(|()| Did::Changed(told));
                    interrupt::wait_if_over();
                    self.settle(&mut self.state(), index, answer.map_err(Into::into));
                }
                other => self.settle(&mut self.state(), index, other),
            }
        }
    }

    fn add(&self, whose: (usize, String), file: AtomicFile, full: Option<&SyncSender<Waiting>>) {
        let mut state = self.state();
        state.batch.add(file);
        state.waiting.push(whose);
        let since = *state.since.get_or_insert_with(Instant::now);
        let is_full = state.batch.len() >= self.batch_files || state.batch.bytes() >= BATCH_BYTES;
        if is_full || since.elapsed() >= BATCH_TIME {
            let batch = state.take_batch();
            drop(state);
            self.hand_over(batch, full);
        }
    }

    /// Gives a batch to the thread that commits, or commits it if there is none.
    fn hand_over(&self, batch: Waiting, full: Option<&SyncSender<Waiting>>) {
        match full {
            // It fails only if the other thread has panicked, and then this run does.
            Some(full) => drop(full.send(batch)),
            None => self.commit(batch),
        }
    }

    /// Commits the batches that are full, those that have waited long enough, and what is ready when the program ends.
    fn commit_all(&self, batches: &Receiver<Waiting>) {
        loop {
            match batches.recv_timeout(POLL) {
                Ok(batch) => self.commit(batch),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if interrupt::is_ending() => {
                    let batch = self.state().take_batch();
                    self.commit(batch);
                    interrupt::committed();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let mut state = self.state();
                    if state.since.is_some_and(|since| since.elapsed() >= BATCH_TIME) {
                        let batch = state.take_batch();
                        drop(state);
                        self.commit(batch);
                    }
                }
            }
        }
    }

    fn commit(&self, (batch, waiting): Waiting) {
        let answers = batch.commit();
        interrupt::wait_if_over();
        let mut state = self.state();
        for ((index, told), answer) in waiting.into_iter().zip(answers) {
            let answer = answer.map(|()| Did::Changed(told));
            self.settle(&mut state, index, answer.map_err(Into::into));
        }
    }

    /// Notes what became of a file.
    fn settle(&self, state: &mut State, index: usize, answer: anyhow::Result<Did>) {
        state.through += 1;
        self.bar.file(state.through);
        let line = match answer {
            Ok(did) => {
                state.unserved = 0;
                interrupt::add(1);
                match did {
                    Did::Changed(line) => {
                        state.summary.done += 1;
                        Some(line)
                    }
                    Did::Already(line) => {
                        state.summary.already += 1;
                        Some(line)
                    }
                    Did::Wrote(..) => None,
                    Did::Skipped(why) => {
                        state.summary.skipped.add(why);
                        None
                    }
                }
            }
            Err(error) => {
                self.fail(state, &self.jobs[index].input.path(), error);
                None
            }
        };
        if self.run.lines != Lines::Nowhere {
            self.tell_in_order(state, index, line);
        }
    }

    /// Says what became of each file in the order in which they were named, whichever is through first.
    fn tell_in_order(&self, state: &mut State, index: usize, line: Option<String>) {
        state.lines.insert(index, line);
        while let Some(line) = state.lines.remove(&state.next_line) {
            let path = self.jobs[state.next_line].input.path();
            state.next_line += 1;
            let Some(line) = line.filter(|line| !line.is_empty()) else { continue };
            let line = format!("{}: {line}", path.display());
            let mut answer = Ok(());
            self.bar.aside(|| match self.run.lines {
                Lines::Notes => say("note", &line),
                _ => answer = print_line(&line),
            });
            if let Err(error) = answer {
                state.broken = Some(error);
                self.stopped.store(true, Ordering::Relaxed);
            }
        }
    }

    fn fail(&self, state: &mut State, path: &Path, error: anyhow::Error) {
        let name = path.display().to_string();
        let own = error.chain().find_map(report::as_own);
        let kind = own.map(Error::kind);
        let lasts = own.is_some_and(self.run.lasting);
        let status = report::status(&error);
        // With the same PIN, no file would fare better.
        let is_of_the_pin =
            matches!(kind, Some(ErrorKind::PinRequired | ErrorKind::PinIncorrect | ErrorKind::PinLocked));
        let unserved = kind.is_some_and(ErrorKind::is_unavailable);
        state.unserved = if unserved { state.unserved + 1 } else { 0 };
        if lasts || is_of_the_pin || unserved && state.unserved >= self.patience {
            state.summary.stopped.get_or_insert(status);
            self.stopped.store(true, Ordering::Relaxed);
        }
        let message = report::message(&error);
        let message = if message.contains(&format!("'{name}'")) { message } else { format!("{name}: {message}") };
        // What to do is said once, however many it would help.
        let hint = report::hint(&error).filter(|hint| state.hints.insert(hint.clone()));
        self.bar.aside(|| {
            say("error", &message);
            if let Some(hint) = hint {
                say("hint", &hint);
            }
        });
        state.summary.failures.push((path.to_owned(), one_line(&message)));
    }

    fn finish(self) -> Summary {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut summary = state.summary;
        summary.not_begun = self.jobs.len() as u64 - state.through;
        if state.broken.is_some() {
            summary.stopped.get_or_insert(1);
        }
        summary
    }
}

/// What every file meets that is encrypted under the same keys with the same context.
pub(crate) fn lasting(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::KeyNotFound
            | ErrorKind::KeyState
            | ErrorKind::KeyAttributes
            | ErrorKind::DuplicateKey
            | ErrorKind::PolicyDenied
            | ErrorKind::LimitExceeded
            | ErrorKind::Unsupported
    )
}
