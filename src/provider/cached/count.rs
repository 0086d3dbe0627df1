//! What is counted, for whoever asks and for the `metrics` facade, where the feature of that name is on.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `keyward_data_key_cache_total` | counter | `operation` (`generate`, `unwrap`), `outcome` (`hit`, `miss`) |
//! | `keyward_data_key_cache_evicted_total` | counter | `operation`, `reason` (`age`, `count`, `used up`, `cleared`) |

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Cached`](super::Cached) provider has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// How often a data key for a message was one that was kept.
    pub generate_hits: u64,
    /// How often it was not, and was generated.
    pub generate_misses: u64,
    /// How often a data key was recovered from memory.
    pub unwrap_hits: u64,
    /// How often it was not there, and the provider inside was asked.
    pub unwrap_misses: u64,
    /// How many data keys were kept and are not any more.
    pub evicted: u64,
    /// How many are kept now.
    pub kept: usize,
}

/// Why a data key is kept no longer.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    Age,
    Count,
    UsedUp,
    Cleared,
}

impl Reason {
    #[cfg(feature = "metrics")]
    fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Count => "count",
            Self::UsedUp => "used up",
            Self::Cleared => "cleared",
        }
    }
}

pub(super) struct Counts {
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    operation: &'static str,
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

impl Counts {
    pub(super) fn of(operation: &'static str) -> Self {
        Self { operation, hits: AtomicU64::new(0), misses: AtomicU64::new(0), evicted: AtomicU64::new(0) }
    }

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.asked("hit");
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.asked("miss");
    }

    #[cfg(feature = "metrics")]
    fn asked(&self, outcome: &'static str) {
        metrics::counter!("keyward_data_key_cache_total", "operation" => self.operation, "outcome" => outcome)
            .increment(1);
    }

    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    pub(super) fn evicted(&self, reason: Reason, count: usize) {
        if count == 0 {
            return;
        }
        self.evicted.fetch_add(count as u64, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!("keyward_data_key_cache_evicted_total", "operation" => self.operation, "reason" => reason.name())
            .increment(count as u64);
    }

    /// Hits, misses and evictions.
    pub(super) fn read(&self) -> [u64; 3] {
        [&self.hits, &self.misses, &self.evicted].map(|count| count.load(Ordering::Relaxed))
    }
}
