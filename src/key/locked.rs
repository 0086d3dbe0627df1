//! Locked memory for data keys: small slots out of pages that the kernel does not swap out.
//!
//! A page is taken from the heap once, locked, and kept for reuse for as long as the process lives,
//! so there are as many pages as the most keys that ever lived at once need. The list of free slots
//! is one for the process because the limit on locked memory (`RLIMIT_MEMLOCK`) is, too.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroize;

/// The longest data key.
pub(super) const SLOT_LEN: usize = 32;
/// At least the page size of every target we know, so that no lock covers half a page of others.
const PAGE_LEN: usize = 16384;

#[repr(C, align(16384))]
struct Page([[u8; SLOT_LEN]; PAGE_LEN / SLOT_LEN]);

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), warned: false });

struct Pool {
    free: Vec<&'static mut [u8; SLOT_LEN]>,
    warned: bool,
}

impl Pool {
    fn grow(&mut self) {
        let page: &'static mut Page = Box::leak(Box::new(Page([[0; SLOT_LEN]; PAGE_LEN / SLOT_LEN])));
        match region::lock(page as *const Page, PAGE_LEN) {
            // The page is never given back, so neither is the lock.
            Ok(guard) => std::mem::forget(guard),
            Err(error) if !self.warned => {
                self.warned = true;
                tracing::warn!(%error, "data keys may be swapped out: memory could not be locked; raise RLIMIT_MEMLOCK");
            }
            Err(_) => {}
        }
        self.free.extend(page.0.iter_mut());
    }
}

/// 32 bytes of locked memory, zero at first and wiped when dropped.
pub(super) struct LockedSlot(Option<&'static mut [u8; SLOT_LEN]>);

impl LockedSlot {
    pub(super) fn new() -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.is_empty() {
            pool.grow();
        }
        Self(pool.free.pop())
    }

    pub(super) fn bytes(&self) -> &[u8; SLOT_LEN] {
        self.0.as_deref().expect("a slot is only given back on drop")
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; SLOT_LEN] {
        self.0.as_deref_mut().expect("a slot is only given back on drop")
    }
}

impl Drop for LockedSlot {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.zeroize();
            POOL.lock().unwrap_or_else(PoisonError::into_inner).free.push(slot);
        }
    }
}

impl fmt::Debug for LockedSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_wiped() {
        // More slots than a page has, so that reused and fresh ones are among them.
        for _ in 0..2 {
            let mut slots: Vec<_> = (0..600).map(|_| LockedSlot::new()).collect();
            for slot in &mut slots {
                assert_eq!(slot.bytes(), &[0; SLOT_LEN]);
                slot.bytes_mut().fill(0xAA);
            }
        }
    }

    #[test]
    fn slots_are_apart() {
        let (mut a, mut b) = (LockedSlot::new(), LockedSlot::new());
        a.bytes_mut().fill(1);
        b.bytes_mut().fill(2);
        assert_eq!(a.bytes(), &[1; SLOT_LEN]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_page_is_locked() {
        let _slot = LockedSlot::new();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        let kib: usize = locked.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib >= PAGE_LEN / 1024, "{locked}");
    }
}
