//! Locked memory for data keys: small slots out of pages that the kernel does not swap out, writes into no core dump, and
//! gives to no child.
//!
//! A page is taken from the heap once, locked, and kept for reuse for as long as the process lives,
//! so there are as many pages as the most keys that ever lived at once need. The list of free slots
//! is one for the process because the limit on locked memory (`RLIMIT_MEMLOCK`) is, too.

use super::advice;
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
    free: Vec<Slot>,
    warned: bool,
}

/// A slot, and the first one of its page, which is never handed out: it is all zeros only in a child that was forked,
/// where the page was wiped.
struct Slot {
    bytes: &'static mut [u8; SLOT_LEN],
    mark: &'static [u8; SLOT_LEN],
}

impl Slot {
    fn is_wiped(&self) -> bool {
        *self.mark == [0; SLOT_LEN]
    }
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
        advice::keep_out_of_dumps_and_children(page.0.as_flattened_mut());
        let [mark, slots @ ..] = &mut page.0;
        mark.fill(1);
        let mark = &*mark;
        self.free.extend(slots.iter_mut().map(|bytes| Slot { bytes, mark }));
    }
}

/// 32 bytes of locked memory, zero at first and wiped when dropped.
///
/// A child that was forked does not have what is in it. There, to use it is a panic: a data key of zeros would protect
/// nothing.
pub(super) struct LockedSlot(Option<Slot>);

impl LockedSlot {
    pub(super) fn new() -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of a page that was wiped are of the parent.
        while pool.free.pop_if(|slot| slot.is_wiped()).is_some() {}
        if pool.free.is_empty() {
            pool.grow();
        }
        Self(pool.free.pop())
    }

    pub(super) fn bytes(&self) -> &[u8; SLOT_LEN] {
        let slot = self.0.as_ref().expect("a slot is only given back on drop");
        assert!(!slot.is_wiped(), "a data key is used in a child that was forked, which does not have it");
        slot.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; SLOT_LEN] {
        let slot = self.0.as_mut().expect("a slot is only given back on drop");
        assert!(!slot.is_wiped(), "a data key is used in a child that was forked, which does not have it");
        slot.bytes
    }
}

impl Drop for LockedSlot {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.bytes.zeroize();
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

    /// `proc_pid_smaps(5)`: `dd` stays out of dumps, `wf` is wiped in children.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_page_stays_out_of_dumps_and_children() {
        let slot = LockedSlot::new();
        let at = slot.bytes().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let is_it = |line: &&str| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            let [start, end] = [start, end].map(|digits| usize::from_str_radix(digits, 16));
            Some((start.ok()?..end.ok()?).contains(&at))
        };
        let rest = maps.lines().skip_while(|line| is_it(line) != Some(true));
        let flags = rest.skip(1).find(|line| line.starts_with("VmFlags:")).unwrap();
        for flag in [" dd", " wf"] {
            assert!(flags.contains(flag), "{flag}: {flags}");
        }
    }
}
