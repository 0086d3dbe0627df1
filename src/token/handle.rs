//! One open session of a module, which is closed exactly once or not at all.

use super::gate::Access;
use super::info::TokenInfo;
use super::module::{Module, is_forked};
use super::workers::is_left_behind;
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::session::{Session as RawSession, SessionState};
use std::sync::Arc;

/// A session. Its number means something within one initialization of its module only: after the
/// next, the same number may be somebody else's, and is neither used nor closed.
pub(super) struct Handle {
    raw: Option<RawSession>,
    module: Arc<Module>,
    epoch: u64,
}

impl Handle {
    /// A new session, for who is inside the module.
    pub(super) fn open(module: &Arc<Module>, token: &TokenInfo) -> Result<Self, Cause> {
        let epoch = module.epoch();
        let raw = if token.write_protected {
            module.context().open_ro_session_no_drop(token.slot)?
        } else {
            module.context().open_rw_session_no_drop(token.slot)?
        };
        Ok(Self { raw: Some(raw), module: Arc::clone(module), epoch })
    }

    /// The session, for who is inside the module.
    pub(super) fn raw(&self) -> Result<&RawSession, Cause> {
        let current = self.epoch == self.module.epoch();
        let ended = Cause::Pkcs11(RvError::SessionHandleInvalid, Function::GetSessionInfo);
        self.raw.as_ref().filter(|_| current).ok_or(ended)
    }

    /// The initialization of the module that it belongs to.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn module(&self) -> &Module {
        &self.module
    }

    /// Whether the user is logged in on this session.
    pub(super) fn is_logged_in(&self) -> Result<bool, Cause> {
        let state = self.raw()?.get_session_info()?.session_state();
        Ok(matches!(state, SessionState::RwUser | SessionState::RoUser))
    }

    /// Closes the session, for who is inside the module.
    pub(super) fn close(mut self) {
        self.close_inside();
    }

    /// Leaves the session as it is: the token has ended it.
    pub(super) fn forget(mut self) {
        // Opened so that `cryptoki` closes it only when told to.
        self.raw = None;
    }

    fn close_inside(&mut self) {
        let raw = self.raw.take();
        if self.epoch == self.module.epoch()
            && let Some(Err(cause)) = raw.map(RawSession::close)
        {
            tracing::debug!(%cause, "a session could not be closed");
        }
    }
}

impl Drop for Handle {
    /// Closes only where nobody waits: on a thread that was left behind by a call that hung. Everybody else
    /// says what is to become of a session; here it would be closed without a deadline, or under a call.
    fn drop(&mut self) {
        if self.raw.is_none() || is_forked() || !is_left_behind() {
            return;
        }
        if let Some(_pass) = self.module.gate().enter(Access::Shared, None) {
            self.close_inside();
        }
    }
}
