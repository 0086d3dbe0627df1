//! How a token is opened.

use super::pin::Pin;
use std::path::PathBuf;
use std::time::Duration;

/// How a token is opened.
#[derive(Debug)]
pub struct TokenOptions {
    pub(super) pin: Option<Pin>,
    pub(super) max_sessions: usize,
    pub(super) session_timeout: Duration,
    pub(super) call_timeout: Option<Duration>,
    pub(super) softhsm_directory: Option<PathBuf>,
    pub(super) accept_other_login: bool,
}

impl Default for TokenOptions {
    /// The PIN of the URI, at most 16 sessions, 30 seconds of waiting for one, no limit to a call.
    fn default() -> Self {
        Self {
            pin: None,
            max_sessions: 16,
            session_timeout: Duration::from_secs(30),
            call_timeout: None,
            softhsm_directory: None,
            accept_other_login: false,
        }
    }
}

impl TokenOptions {
    /// The PIN, where the URI gives none. It is kept, wiped when the token is closed, so that a
    /// token that was away can be logged in to again.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The most sessions at once, beside the one that holds the login. The token's own limit goes
    /// before; at least one.
    #[must_use]
    pub fn max_sessions(mut self, max: usize) -> Self {
        self.max_sessions = max.max(1);
        self
    }

    /// How long an operation waits for a session, and for a token that went away to be opened again
    /// by another thread.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How long the token may take to answer one call; after that the caller gets
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    ///
    /// A C call cannot be cancelled. So with this limit calls are made on threads of their own, which
    /// costs some microseconds for each; one that hangs is left behind until it comes back. Without
    /// it calls are made by the calling thread, and one that hangs, hangs. Generating an RSA key
    /// takes some tokens ten seconds and more.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Where SoftHSM keeps its tokens, so that this process takes turns with others as
    /// [`Module::load_softhsm`](super::Module::load_softhsm) says. Only for SoftHSM.
    #[must_use]
    pub fn softhsm_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.softhsm_directory = Some(directory.into());
        self
    }

    /// Opens the token also if another library of this process is logged in to it. The token then compares no PIN, so
    /// **any PIN opens it**. Choose it only if the caller who gives the PIN may use the token in any case.
    #[must_use]
    pub fn danger_accept_other_login(mut self) -> Self {
        self.accept_other_login = true;
        self
    }
}
