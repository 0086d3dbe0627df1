//! How many files a run has open at once, within the limit of the process.

use super::run::BATCH_FILES;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process has open beside the files of a run: its streams, the token's module, the audit log.
const OTHERS: u64 = 20;
/// The files that a thread works with: input, output, their directories, and what syncs a long one.
const OF_A_THREAD: u64 = 6;

/// How many descriptors there are for the files of a run; `None` if there is no limit.
pub(super) struct Descriptors(Option<u64>);

impl Descriptors {
    /// What the limit leaves now.
    pub(super) fn now() -> Self {
        Self(getrlimit(Resource::Nofile).current.map(|limit| limit.saturating_sub(OTHERS)))
    }

    /// The same, after the limit was raised as far as `threads` have use for it.
    pub(super) fn raised(threads: usize) -> Self {
        let wanted = OTHERS + threads as u64 * OF_A_THREAD + batches(threads) * 2 * BATCH_FILES;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        if current.is_some_and(|current| current < raised) {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
        }
        Self::now()
    }

    /// How many threads have room, of those that are wanted.
    pub(super) fn threads(&self, wanted: usize) -> usize {
        self.0.map_or(wanted, |spare| wanted.min(number(spare / OF_A_THREAD)))
    }

    /// How many directories may stay open.
    pub(super) fn directories(&self, wanted: usize) -> usize {
        self.0.map_or(wanted, |spare| wanted.min(number(spare / 8)))
    }

    /// How many outputs go onto the disk together. Each of them is open, and so may be its directory; the same for the
    /// batches that wait.
    pub(super) fn batch_files(&self, threads: usize) -> usize {
        let rest = |spare: u64| spare.saturating_sub(threads as u64 * OF_A_THREAD);
        let files = self.0.map_or(BATCH_FILES, |spare| rest(spare) / (2 * batches(threads)));
        number(files.min(BATCH_FILES))
    }
}

/// How many batches have files open: one that is filled, one that waits, one that is put on the disk, and what each
/// thread adds when they are full.
fn batches(threads: usize) -> u64 {
    threads as u64 + 3
}

/// One at least: it fails later if even that is too much.
fn number(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_make_a_run_slower_and_no_smaller() {
        let few = Descriptors(Some(12));
        assert_eq!((few.threads(16), few.directories(64), few.batch_files(2)), (2, 1, 1));
        assert_eq!(Descriptors(Some(0)).threads(16), 1);
        let many = Descriptors(Some(1 << 20));
        assert_eq!((many.threads(16), many.directories(64), many.batch_files(16)), (16, 64, 1024));
        assert_eq!(Descriptors(None).batch_files(16), 1024);
    }
}
