//! How a log is kept.

use crate::key::{AnchorStore, Signer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a log is kept: who signs its heads, how often, and when a new file is begun.
#[derive(Clone)]
pub struct AuditOptions {
    pub(super) signer: Option<Arc<dyn Signer>>,
    pub(super) anchors: Option<Arc<dyn AnchorStore>>,
    pub(super) sign_every: u64,
    pub(super) sign_after: Duration,
    pub(super) rotate_at: u64,
    pub(super) anchor_every: Duration,
    pub(super) anchor_at_close: bool,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            signer: None,
            anchors: None,
            sign_every: 1000,
            sign_after: Duration::from_secs(60),
            rotate_at: 64 << 20,
            anchor_every: Duration::from_secs(3600),
            anchor_at_close: false,
        }
    }
}

impl AuditOptions {
    /// Who signs the heads; nobody by default, and then whoever can write the file can write it anew.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Where signed heads are anchored; nowhere by default, and then the end can be cut off unnoticed.
    /// It has an effect together with a [signer](Self::signer) alone.
    #[must_use]
    pub fn anchors(mut self, anchors: Arc<dyn AnchorStore>) -> Self {
        self.anchors = Some(anchors);
        self
    }

    /// After how many lines a head is signed: 1000. 0 is taken as 1.
    #[must_use]
    pub fn sign_every(mut self, lines: u64) -> Self {
        self.sign_every = lines.max(1);
        self
    }

    /// After how long a head is signed where there are fewer lines than that: a minute.
    #[must_use]
    pub fn sign_after(mut self, time: Duration) -> Self {
        self.sign_after = time;
        self
    }

    /// At what size a new file is begun: 64 MiB.
    #[must_use]
    pub fn rotate_at(mut self, bytes: u64) -> Self {
        self.rotate_at = bytes;
        self
    }

    /// How often at most a head is anchored by itself: once an hour, because writing wears a token out.
    #[must_use]
    pub fn anchor_every(mut self, time: Duration) -> Self {
        self.anchor_every = time;
        self
    }

    /// Whether it is also anchored when the log is closed, as it should be by a service that runs for long:
    /// no by default.
    #[must_use]
    pub fn anchor_at_close(mut self, yes: bool) -> Self {
        self.anchor_at_close = yes;
        self
    }
}

impl fmt::Debug for AuditOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditOptions")
            .field("signer", &self.signer.is_some())
            .field("anchors", &self.anchors.is_some())
            .field("sign_every", &self.sign_every)
            .field("sign_after", &self.sign_after)
            .field("rotate_at", &self.rotate_at)
            .field("anchor_every", &self.anchor_every)
            .field("anchor_at_close", &self.anchor_at_close)
            .finish()
    }
}
