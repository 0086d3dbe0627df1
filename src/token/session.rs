//! A lent session and the calls that are made on it.
//!
//! What a call reads and writes is its own: one that hangs keeps it until it comes back.

use super::fault::{Code, Trouble, ckr, judge, no_answer, of_writing};
use super::gate::Access;
use super::handle::Handle;
use super::module::Module;
use super::observe;
use super::pool::Pool;
use super::softhsm::FileUse;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::error::Error as Cause;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::Attribute;
use cryptoki::session::Session as RawSession;
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// A session that goes back to its pool when dropped. One whose call failed is closed instead: an
/// operation may still be active on it.
pub(crate) struct Session<'pool> {
    pub(super) pool: &'pool Pool,
    generation: u64,
    /// None where a call that hangs has taken it.
    handle: RefCell<Option<Handle>>,
    pub(super) trouble: Cell<Trouble>,
    failed: Cell<bool>,
    /// Whether calls past `cryptoki` are made where the module allows it.
    direct: bool,
}

/// What a call works with, inside the module.
pub(super) struct Inside<'a> {
    pub(super) module: &'a Module,
    pub(super) raw: &'a RawSession,
    pub(super) key_wrap: MechanismType,
    pub(super) direct: bool,
}

/// Why a call has no result.
enum NotDone {
    /// The token answered with an error.
    Refused(Cause),
    /// Other processes kept SoftHSM's files.
    NotLocked(Error),
}

impl<'pool> Session<'pool> {
    pub(super) fn new(pool: &'pool Pool, handle: Handle, generation: u64) -> Self {
        Self {
            pool,
            generation,
            handle: RefCell::new(Some(handle)),
            trouble: Cell::new(Trouble::None),
            failed: Cell::new(false),
            direct: true,
        }
    }

    /// As with a module that does not let us make calls past `cryptoki`.
    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn through_cryptoki(mut self) -> Self {
        self.direct = false;
        self
    }

    /// What is known of the token is known for this generation of its sessions.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the last call that failed says about the token.
    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.get()
    }

    /// The code of the last call that failed, where it left doubt.
    pub(crate) fn doubted_code(&self) -> Option<Code> {
        match self.trouble.get() {
            Trouble::Doubt(code) => Some(code),
            _ => None,
        }
    }

    /// For the metrics.
    pub(crate) fn cache_was_asked(&self, hit: bool) {
        observe::cached(&self.pool.label, hit);
    }

    pub(super) fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        self.call(action, function, Access::Shared, FileUse::None, call)
    }

    /// For calls that look at token objects.
    pub(super) fn read_objects<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        self.call(action, function, Access::Shared, FileUse::Read, call)
    }

    /// For calls that change token objects.
    pub(super) fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        let access = if self.pool.profile.quirks.writes_alone { Access::Alone } else { Access::Shared };
        self.call(action, function, access, FileUse::Write, move |inside| {
            if inside.module.softhsm_directory().is_some() {
                // A search takes in what others wrote, before this write could hide it.
                inside.raw.find_objects(&[Attribute::Id(vec![0; 16]), Attribute::Private(true)])?;
            }
            call(inside)
        })
        .map_err(of_writing)
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        access: Access,
        files: FileUse,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        let pool = self.pool;
        let _span = tracing::trace_span!("token_call", function, token = &*pool.label).entered();
        let Some(handle) = self.handle.take() else {
            return Err(Error::new(ErrorKind::TokenUnavailable, "a call still hangs on this session"));
        };
        let (key_wrap, direct) = (pool.profile.key_wrap, self.direct);
        let began = Instant::now();
        let answer = pool.workers.run_with(&pool.module.gate(), access, handle, move |handle| {
            let module = handle.module();
            let raw = handle.raw().map_err(NotDone::Refused)?;
            let _guard = module.softhsm.acquire(files).map_err(NotDone::NotLocked)?;
            call(&Inside { module, raw, key_wrap, direct }).map_err(NotDone::Refused)
        });
        let (error, trouble) = match answer {
            Ok((handle, Ok(value))) => {
                self.handle.replace(Some(handle));
                observe::called(&pool.label, function, "CKR_OK", began);
                pool.answered();
                return Ok(value);
            }
            // The call was not made.
            Ok((handle, Err(NotDone::NotLocked(error)))) => {
                self.handle.replace(Some(handle));
                return Err(error);
            }
            Ok((handle, Err(NotDone::Refused(cause)))) => {
                self.handle.replace(Some(handle));
                let code = match &cause {
                    Cause::Pkcs11(code, _) => ckr(*code),
                    _ => "none".to_owned(),
                };
                observe::called(&pool.label, function, &code, began);
                pool.answered();
                judge(action, cause)
            }
            Err((none, handle)) => {
                self.handle.replace(handle);
                observe::called(&pool.label, function, "none", began);
                no_answer(action, none)
            }
        };
        self.failed.set(true);
        self.trouble.set(trouble);
        if trouble == Trouble::Silence {
            pool.silent(self.generation);
        }
        Err(error)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let handle = self.handle.take();
        if !self.failed.get() {
            return self.pool.take_back(handle);
        }
        // Closed before it is counted out, so that nobody opens the token again meanwhile.
        if let Some(handle) = handle {
            match self.trouble.get() {
                Trouble::Ended => handle.forget(),
                _ => self.pool.close(handle),
            }
        }
        self.pool.take_back(None);
    }
}
