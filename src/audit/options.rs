//! How a log is kept.

use super::keepers::Keepers;
use super::name::LogName;
use crate::key::HeadKeeper;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a log is kept: its name, the tokens that sign its heads and how often, and when a new file is begun.
#[derive(Clone)]
pub struct AuditOptions {
    pub(super) name: Option<LogName>,
    pub(super) keepers: Keepers,
    pub(super) sign_every: u64,
    pub(super) sign_after: Duration,
    pub(super) rotate_at: u64,
    pub(super) anchor_every: Duration,
    pub(super) anchor_at_close: bool,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            name: None,
            keepers: Keepers::default(),
            sign_every: 1000,
            sign_after: Duration::from_secs(60),
            rotate_at: 64 << 20,
            anchor_every: Duration::from_secs(3600),
            anchor_at_close: false,
        }
    }
}

impl AuditOptions {
    /// The log's name: that of the host by default. Logs with the same keeper need different names.
    #[must_use]
    pub fn name(mut self, name: LogName) -> Self {
        self.name = Some(name);
        self
    }

    /// A token that signs the heads and keeps their anchors; called again, another one. The first that answers signs, and
    /// every one that answers keeps the anchors. Without any, an attacker who can write the files can write all of the log.
    #[must_use]
    pub fn keeper(mut self, keeper: Arc<dyn HeadKeeper>) -> Self {
        self.keepers.add(keeper);
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

    /// Whether it is also anchored when the log is closed, which suits a service that runs for long: no by default.
    #[must_use]
    pub fn anchor_at_close(mut self, yes: bool) -> Self {
        self.anchor_at_close = yes;
        self
    }
}

impl fmt::Debug for AuditOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditOptions")
            .field("name", &self.name)
            .field("keepers", &self.keepers.len())
            .field("sign_every", &self.sign_every)
            .field("sign_after", &self.sign_after)
            .field("rotate_at", &self.rotate_at)
            .field("anchor_every", &self.anchor_every)
            .field("anchor_at_close", &self.anchor_at_close)
            .finish()
    }
}
