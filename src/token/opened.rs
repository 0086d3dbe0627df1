//! An opened token, and operations on it.

use super::connect;
use super::fault::Trouble;
use super::gate::Access;
use super::info::{Capabilities, TokenInfo};
use super::module::Module;
use super::options::TokenOptions;
use super::outage::Loss;
use super::pool::{Pool, unanswered};
use super::quirks::Quirks;
use super::session::Session;
use super::uri::TokenUri;
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::sync::{Arc, Weak};
use zeroize::Zeroizing;

/// A token that is logged in to. Clones share it; sessions are closed with the last.
///
/// Where the token goes away and comes back, its sessions are opened anew, the login is repeated and
/// keys are looked up again: see `docs/tokens.md`. A PIN that was refused is never tried again.
///
/// Open a token once for each process, and clone it.
///
/// One session, the anchor, is never lent: closing the last session of a process logs it out
/// (PKCS#11, `C_CloseSession`) and hides the private objects.
#[derive(Clone)]
pub struct Token(Arc<Pool>);

/// Whether an operation may be done again where it is not known whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing on the token, so it is tried once more after the token was in trouble.
    Once,
    Never,
}

impl Token {
    /// Finds and opens the token that `uri` names, with default options.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(uri: &TokenUri) -> Result<Self> {
        Self::open_with(uri, TokenOptions::default())
    }

    /// Finds the token that `uri` names, opens a session and logs in: with the PIN of the URI or of
    /// the options, at the PIN pad where the token has one, not at all where it needs no login.
    ///
    /// The login is that of the whole process. If another `Token` of this process has logged in, the PIN must be the same;
    /// it is compared in this process and not sent. If another library has logged in, no PIN can be compared, and the token
    /// is not opened: see [`TokenOptions::danger_accept_other_login`].
    ///
    /// # Errors
    /// `InvalidArgument` where the URI names no module, `ModuleUnavailable`, `TokenNotFound`,
    /// `TokenUnavailable`, `PinRequired` where a PIN is needed and none is given, `PinIncorrect`
    /// after one attempt at most, `PinLocked`, `Timeout` with a limit to calls or if another process holds SoftHSM's lock.
    pub fn open_with(uri: &TokenUri, mut options: TokenOptions) -> Result<Self> {
        let path = uri.module_path().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "the token URI names no module")
                .with_hint("add ?module-path=/path/to/module.so")
        })?;
        let workers = Workers::new(options.call_timeout);
        let path = path.to_owned();
        let softhsm = options.softhsm_directory.take();
        let load = move || Module::load_with(&path, softhsm.as_deref());
        let module = unanswered("load the module", workers.run_outside(load))??;
        let pin = match uri.pin()? {
            Some(pin) => Some(pin),
            None => options.pin.take(),
        };
        let found = match connect::find(&module, &workers, uri) {
            // A module that was loaded while its server was down may know of none ever after.
            Err(error) if error.kind() == ErrorKind::TokenUnavailable => {
                connect::restart(&module, &workers, &Weak::<Pool>::new(), error)?;
                connect::find(&module, &workers, uri)?
            }
            found => found?,
        };
        let (inside, token) = (Arc::clone(&module), found.clone());
        let profile = workers.run(&module.gate(), Access::Shared, move || inside.profile_inside(&token));
        let profile = unanswered("list the mechanisms", profile)??;
        let mut pool = Pool::new(module, uri.clone(), pin, workers, profile, found, options)?;
        let pool = Arc::new_cyclic(|me| {
            pool.me = me.clone();
            pool
        });
        // First, so that nobody starts the module anew under it.
        pool.module.add_user(pool.me.clone());
        pool.begin()?;
        tracing::debug!(token = %pool.label, quirks = pool.profile.quirks.vendor, "opened a token");
        Ok(Self(pool))
    }

    /// The token, as it described itself when it was opened.
    #[must_use]
    pub fn info(&self) -> &TokenInfo {
        self.0.info()
    }

    /// What the token can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.profile.capabilities
    }

    /// What Keyward does otherwise on this token than on others.
    #[must_use]
    pub fn quirks(&self) -> &'static Quirks {
        self.0.profile.quirks
    }

    /// Fills `bytes` from the token's own generator, as for the PIN of another user or token. Give it a
    /// buffer that wipes itself.
    ///
    /// # Errors
    /// `TokenUnavailable` where the token has no generator or fails.
    pub fn random(&self, bytes: &mut [u8]) -> Result<()> {
        let len = bytes.len();
        let random = self.run(Repeat::Once, |session| {
            let mut random = Zeroizing::new(vec![0; len]);
            session.random(&mut random)?;
            Ok(random)
        })?;
        bytes.copy_from_slice(&random);
        Ok(())
    }

    #[cfg(all(test, feature = "testkit"))]
    pub(crate) fn session(&self) -> Result<Session<'_>> {
        self.0.session(self.0.deadline(), true)
    }

    /// Does `work` on a session. Where the token turns out to be gone, it is opened again, and work
    /// that may be repeated is.
    pub(crate) fn run<T>(&self, repeat: Repeat, work: impl Fn(&Session<'_>) -> Result<T>) -> Result<T> {
        let pool = &*self.0;
        let deadline = pool.deadline();
        let attempt = |fresh| {
            let session = pool.session(deadline, fresh)?;
            let answer = work(&session);
            Ok((answer, session.trouble(), session.generation()))
        };
        let (answer, trouble, generation) = attempt(false)?;
        if trouble.is_suspicious() {
            pool.examine(generation);
        }
        if answer.is_ok() || repeat == Repeat::Never || !(trouble.is_suspicious() || trouble == Trouble::Call) {
            return answer;
        }
        let (answer, trouble, generation) = attempt(true)?;
        if answer.is_err() && trouble.is_suspicious() {
            // The token says that it is well and does not work.
            pool.lost(generation, Loss::of(trouble));
        }
        answer
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token('{}', serial {})", self.0.info().label, self.0.info().serial)
    }
}

#[cfg(test)]
#[cfg(feature = "testkit")]
mod tests {
    use super::*;
    use crate::testkit::SoftToken;
    use crate::token::Attribute;

    #[test]
    fn a_session_is_not_used_after_its_module_was_started_anew() {
        let soft = SoftToken::new();
        let token = soft.open();
        let find = |session: &Session<'_>| session.find(&[Attribute::Private(true)]);
        let before = token.session().unwrap();
        find(&before).unwrap();
        // As if it had been finalized and initialized: the number may be somebody else's now. No other test
        // of this process minds, or it opens its token again.
        token.0.module.begin_epoch();
        let generation = before.generation();
        let error = find(&before).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TokenUnavailable, "{error}");
        assert_eq!(before.trouble(), Trouble::Ended);
        drop(before);
        // What is known of the token ended with them.
        let after = token.run(Repeat::Once, |session| find(session).map(|_| session.generation())).unwrap();
        assert!(after > generation);
    }
}
