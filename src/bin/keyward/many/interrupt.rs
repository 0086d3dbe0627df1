//! A signal that ends a run of many files: how far it got is told.

use super::summary::{files, grouped};
use crate::output::say;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A signal asks nobody who holds what.
static RUN: Counter = Counter { done: AtomicU64::new(0), all: AtomicU64::new(0), ending: AtomicBool::new(false) };

struct Counter {
    done: AtomicU64,
    /// None while no run is to be told of.
    all: AtomicU64,
    ending: AtomicBool,
}

/// From now on, an interruption is told.
pub(super) fn begin(files: usize) {
    RUN.done.store(0, Ordering::Relaxed);
    RUN.all.store(files as u64, Ordering::Relaxed);
}

/// So many files are done, or need nothing.
pub(super) fn add(done: u64) {
    RUN.done.fetch_add(done, Ordering::Relaxed);
}

pub(super) fn end() {
    RUN.all.store(0, Ordering::Relaxed);
}

/// The program ends: what fails from now on fails for that.
pub(crate) fn is_ending() {
    RUN.ending.store(true, Ordering::SeqCst);
}

/// Lets a thread go no further while the program ends.
pub(super) fn wait_if_ending() {
    while RUN.ending.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Tells how far the run got, where there is one.
pub(crate) fn tell() {
    let (done, all) = (RUN.done.load(Ordering::Relaxed), RUN.all.load(Ordering::Relaxed));
    if all == 0 {
        return;
    }
    let mut err = io::stderr();
    if err.is_terminal() {
        // Below the bar.
        let _ = writeln!(err);
    }
    say("note", &format!("interrupted: {} of {} done; the same command again goes on", grouped(done), files(all)));
}
