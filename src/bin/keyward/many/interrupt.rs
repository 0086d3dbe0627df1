//! A signal that ends a run of many files: what is ready gets its name, and how far the run got is reported.

use super::summary::{files, grouped};
use crate::output::say;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an end by a signal waits until what is ready has its name.
const PATIENCE: Duration = Duration::from_secs(5);

/// A signal that ends the program has no other way to the run.
static RUN: Counter = Counter {
    done: AtomicU64::new(0),
    all: AtomicU64::new(0),
    reported: AtomicBool::new(false),
    ending: AtomicBool::new(false),
    committed: AtomicBool::new(false),
    over: AtomicBool::new(false),
};

struct Counter {
    done: AtomicU64,
    /// 0 while there is no run.
    all: AtomicU64,
    reported: AtomicBool,
    /// No more files are begun.
    ending: AtomicBool,
    /// What was ready has its name.
    committed: AtomicBool,
    /// The temporary files are removed: what fails from now on fails for that.
    over: AtomicBool,
}

/// From now on, an interruption ends a run, and reports it if `reported` says so.
pub(super) fn begin(files: usize, reported: bool) {
    RUN.done.store(0, Ordering::Relaxed);
    RUN.reported.store(reported, Ordering::Relaxed);
    RUN.all.store(files as u64, Ordering::SeqCst);
}

/// Counts files that are done, or need nothing.
pub(super) fn add(done: u64) {
    RUN.done.fetch_add(done, Ordering::Relaxed);
}

pub(super) fn end() {
    RUN.all.store(0, Ordering::SeqCst);
}

/// Ends a run: no more files are begun, and what is ready gets its name, within some seconds. Afterwards the temporary
/// files may be removed.
pub(crate) fn end_run() {
    RUN.ending.store(true, Ordering::SeqCst);
    let began = Instant::now();
    while RUN.all.load(Ordering::SeqCst) > 0 && !RUN.committed.load(Ordering::SeqCst) && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    RUN.over.store(true, Ordering::SeqCst);
}

/// Whether the program ends.
pub(super) fn is_ending() -> bool {
    RUN.ending.load(Ordering::SeqCst)
}

/// What was ready has its name.
pub(super) fn committed() {
    RUN.committed.store(true, Ordering::SeqCst);
}

/// Keeps a thread from beginning or reporting anything while the program ends.
pub(super) fn wait_if_ending() {
    while is_ending() {
        thread::park();
    }
}

/// Keeps a thread from reporting what failed because the program ends.
pub(super) fn wait_if_over() {
    while RUN.over.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Tells how far the run got, where there is one.
pub(crate) fn tell() {
    let (done, all) = (RUN.done.load(Ordering::Relaxed), RUN.all.load(Ordering::Relaxed));
    if all == 0 || !RUN.reported.load(Ordering::Relaxed) {
        return;
    }
    let mut err = io::stderr();
    if err.is_terminal() {
        // Below the bar.
        let _ = writeln!(err);
    }
    say("note", &format!("interrupted: {} of {} done; the same command again goes on", grouped(done), files(all)));
}
