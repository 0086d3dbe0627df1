//! Bringing a file to the disk while the rest of it is still being written.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How much is written before it is brought to the disk: `docs/performance.md` has what other lengths
/// cost. What is shorter is synced once, at its end.
const EVERY: u64 = 16 << 20;

/// A thread that syncs a long file now and then, so that the disk works from the first megabytes on
/// and the last sync has little left to wait for.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    written: u64,
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl Writeback {
    /// So much more was written to `file`.
    pub(super) fn wrote(&mut self, file: &File, len: usize) {
        let before = self.written;
        self.written += len as u64;
        if before / EVERY == self.written / EVERY {
            return;
        }
        if self.thread.is_none() {
            self.thread = start(file);
        }
        if let Some((more, _)) = &self.thread {
            // A sync that is under way is followed by one more, not by one for each time.
            let _ = more.try_send(());
        }
    }

    #[cfg(test)]
    pub(super) fn is_at_work(&self) -> bool {
        self.thread.is_some()
    }

    /// Waits for the thread; the first error that syncing met.
    ///
    /// The operating system tells an error once: what the thread was told, the last sync is not told
    /// again, and the file would pass for written.
    pub(super) fn finish(self) -> io::Result<()> {
        let Some((more, thread)) = self.thread else { return Ok(()) };
        drop(more);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has panicked")))
    }
}

/// Without a thread, all is left to the last sync.
fn start(file: &File) -> Option<(SyncSender<()>, JoinHandle<io::Result<()>>)> {
    let file = file.try_clone().ok()?;
    let (more, wanted) = sync_channel::<()>(1);
    let sync = move || wanted.iter().try_for_each(|()| file.sync_data());
    let thread = std::thread::Builder::new().name("keyward-sync".into()).spawn(sync).ok()?;
    Some((more, thread))
}
