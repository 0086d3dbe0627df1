//! PKCS#11 modules: loaded and initialized once per process, and the tokens they show.

use super::fault::fault;
use super::gate::{Access, Gate, Pass};
use super::info::TokenInfo;
use super::process_login::ProcessLogin;
use super::raw::Functions;
use super::softhsm::{FileUse, SoftHsmLock};
use super::uri::TokenUri;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cause, RvError};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

/// PKCS#11 allows one `C_Initialize` per module and process (section 5.4), so who loaded what is
/// known to the whole process.
static REGISTRY: Mutex<Option<HashMap<PathBuf, Entry>>> = Mutex::new(None);

/// A module, or that it is being loaded.
type Entry = Arc<Mutex<Option<Arc<Module>>>>;

/// A loaded and initialized PKCS#11 module. It stays loaded until the process ends.
pub struct Module {
    path: PathBuf,
    /// The function list. Another where the module was taken up anew beside calls that hang.
    context: RwLock<Pkcs11>,
    /// None where the module keeps a state for each function list.
    pub(super) functions: Option<Functions>,
    /// The calls that are inside. Another with each function list.
    gate: RwLock<Arc<Gate>>,
    pub(super) softhsm: SoftHsmLock,
    listing: Mutex<()>,
    /// The logins of this process, by serial number and label of the token.
    logins: Mutex<HashMap<(String, String), Weak<ProcessLogin>>>,
    /// Whether it was we who initialized it. Else somebody else in this process uses it as well.
    ours: AtomicBool,
    /// Counts the initializations. Session handles mean something within one only.
    epoch: AtomicU64,
    /// Who must agree before the module is started anew.
    users: Mutex<Vec<Weak<dyn User>>>,
}

/// A pool with sessions of a module.
pub(super) trait User: Send + Sync {
    /// Whether the token still serves it.
    fn is_served(&self) -> bool;
}

/// The process that loaded the first module. PKCS#11 forbids a child to go on with what its parent
/// initialized (section 5.4, `C_Initialize`), and modules crash or talk into the parent's connection.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whether the process was forked after it loaded a module.
pub(super) fn is_forked() -> bool {
    let loader = PROCESS.load(Ordering::Relaxed);
    loader != 0 && loader != std::process::id()
}

/// Refuses to work in a forked process.
pub(super) fn check_process() -> Result<()> {
    if is_forked() {
        return Err(Error::new(
            ErrorKind::ModuleUnavailable,
            "this process was forked from one that had a PKCS#11 module loaded, and cannot use it",
        )
        .with_hint("open tokens after forking, or start a new program in the child"));
    }
    Ok(())
}

impl Module {
    /// The module at `path`, loaded and initialized where it is not yet.
    ///
    /// # Errors
    /// `InvalidArgument` if the path is not absolute, `ModuleUnavailable` where there is no file, it is no PKCS#11 module, or it does not start.
    pub fn load(path: &Path) -> Result<Arc<Self>> {
        Self::load_with(path, None)
    }

    /// Loads SoftHSM's module as [`load`](Self::load) does, and takes turns with other processes that do the same by a
    /// lock file in `directory`, where SoftHSM keeps its tokens ([`softhsm_directory`](super::softhsm_directory)). Without
    /// it two processes at once can corrupt each other's view of the tokens. Of other modules it is of no use.
    ///
    /// # Errors
    /// As [`load`](Self::load); `ModuleUnavailable` if there is no such directory, `InvalidArgument` if the module was
    /// loaded with another one, `Timeout` if another process holds the lock, `TokenUnavailable` if the lock file cannot be
    /// opened.
    pub fn load_softhsm(path: &Path, directory: &Path) -> Result<Arc<Self>> {
        Self::load_with(path, Some(directory))
    }

    pub(super) fn load_with(path: &Path, softhsm: Option<&Path>) -> Result<Arc<Self>> {
        // Before the lock below, which another thread may have held when this process was forked.
        check_process()?;
        // Code from whatever directory the program happens to be started in would run.
        if path.is_relative() {
            let message = format!("the path of the PKCS#11 module is not absolute: '{}'", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message)
                .with_hint("as in module-path=/usr/lib/softhsm/libsofthsm2.so"));
        }
        let unavailable = |what: &str| Error::new(ErrorKind::ModuleUnavailable, format!("{what} '{}'", path.display()));
        let canonical = path.canonicalize().map_err(|error| {
            unavailable("cannot find the PKCS#11 module")
                .with_source(error)
                .with_hint("for SoftHSM on Debian: apt install softhsm2, module-path=/usr/lib/softhsm/libsofthsm2.so")
        })?;
        // The lock over all is not held while one of them is loaded: it may hang.
        let entry = {
            let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(registry.get_or_insert_default().entry(canonical.clone()).or_default())
        };
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = &*entry {
            softhsm.map_or(Ok(()), |directory| module.softhsm.set_directory(directory))?;
            return Ok(Arc::clone(module));
        }
        let not_a_module = |cause| match cause {
            Cause::LibraryLoading(_) => unavailable("cannot load the PKCS#11 module").with_source(cause),
            Cause::MissingSymbol(_) | Cause::NullFunctionPointer => {
                unavailable("not a PKCS#11 module (it has no C_GetFunctionList):")
            }
            _ => unavailable("cannot start the PKCS#11 module").with_source(cause),
        };
        let context = Pkcs11::new(&canonical).map_err(not_a_module)?;
        PROCESS.store(std::process::id(), Ordering::Relaxed);
        let lock = SoftHsmLock::default();
        softhsm.map_or(Ok(()), |directory| lock.set_directory(directory))?;
        let guard = lock.acquire(FileUse::Read)?;
        let ours = match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => true,
            // Another user in this process was there first: theirs serves us as well.
            Err(Cause::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(cause) => return Err(unavailable("cannot initialize the PKCS#11 module").with_source(cause)),
        };
        drop(guard);
        let functions = Functions::of_initialized(&canonical).map_err(not_a_module)?;
        tracing::debug!(path = %canonical.display(), "loaded a PKCS#11 module");
        let module = Arc::new(Self {
            path: canonical,
            context: RwLock::new(context),
            functions,
            gate: RwLock::default(),
            softhsm: lock,
            listing: Mutex::default(),
            logins: Mutex::default(),
            ours: AtomicBool::new(ours),
            epoch: AtomicU64::new(0),
            users: Mutex::default(),
        });
        *entry = Some(Arc::clone(&module));
        Ok(module)
    }

    /// Where the module was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory whose lock this process takes before it reads or writes SoftHSM's files, if it was given one.
    #[must_use]
    pub fn softhsm_directory(&self) -> Option<&Path> {
        self.softhsm.directory()
    }

    /// What this process knows of its login to a token. All sessions on the token share it, while there are any.
    pub(super) fn process_login(&self, token: &TokenInfo) -> Result<Arc<ProcessLogin>> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| login.strong_count() > 0);
        let key = (token.serial.clone(), token.label.clone());
        if let Some(login) = logins.get(&key).and_then(Weak::upgrade) {
            return Ok(login);
        }
        let login = Arc::new(ProcessLogin::new()?);
        logins.insert(key, Arc::downgrade(&login));
        Ok(login)
    }

    /// The tokens that are present, initialized or not. One that does not describe itself is left
    /// out with a warning.
    ///
    /// # Errors
    /// `TokenUnavailable` where the module cannot list its slots.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let _pass = self.enter(Access::Shared)?;
        self.list_tokens()
    }

    pub(super) fn list_tokens(&self) -> Result<Vec<TokenInfo>> {
        Ok(self.look_into_slots()?.0)
    }

    /// The tokens that describe themselves, and how many are there and fail to.
    fn look_into_slots(&self) -> Result<(Vec<TokenInfo>, usize)> {
        let slots = {
            // SoftHSM adds a slot with a blank token while it lists, without a lock of its own: two threads that list at
            // once add the same one, and it aborts the process.
            let _alone = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
            let _guard = self.softhsm.acquire(FileUse::Write)?;
            self.context().get_slots_with_token().map_err(|cause| fault("list the slots", cause))?
        };
        let _guard = self.softhsm.acquire(FileUse::Read)?;
        let (mut tokens, mut failing) = (Vec::with_capacity(slots.len()), 0);
        for slot in slots {
            match self.context().get_token_info(slot) {
                Ok(info) => tokens.push(TokenInfo::new(slot, &info)),
                Err(cause) => {
                    tracing::warn!(slot = slot.id(), %cause, "a slot's token does not describe itself");
                    let gone =
                        matches!(cause, Cause::Pkcs11(RvError::TokenNotPresent | RvError::TokenNotRecognized, _));
                    failing += usize::from(!gone);
                }
            }
        }
        Ok((tokens, failing))
    }

    /// The one token that `uri` names.
    ///
    /// # Errors
    /// `TokenNotFound` where none or more than one matches, `TokenUnavailable` where there is no
    /// slot at all.
    pub fn find(&self, uri: &TokenUri) -> Result<TokenInfo> {
        let _pass = self.enter(Access::Shared)?;
        self.find_inside(uri)
    }

    /// The same for who is inside already.
    pub(super) fn find_inside(&self, uri: &TokenUri) -> Result<TokenInfo> {
        let (all, failing) = self.look_into_slots()?;
        if all.is_empty() {
            // A p11-kit client whose server is down answers with zero slots, not with an error.
            return Err(Error::new(
                ErrorKind::TokenUnavailable,
                format!("the module '{}' shows no token at all", self.path.display()),
            )
            .with_hint("is the HSM, or the server that the module connects to, up and configured?"));
        }
        let mut matching: Vec<_> = all.iter().filter(|info| info.initialized && uri.matches(info)).cloned().collect();
        match (matching.pop(), matching.len()) {
            (Some(one), 0) => Ok(one),
            (Some(_), others) => {
                Err(Error::new(ErrorKind::TokenNotFound, format!("{} tokens match {uri}", others + 1))
                    .with_hint("add serial=… to the URI; `keyward token list` shows the serial numbers"))
            }
            // It may be one of those.
            (None, _) if failing > 0 => {
                Err(Error::new(ErrorKind::TokenUnavailable, format!("no token that answers matches {uri}")))
            }
            (None, _) => {
                let labels: Vec<_> =
                    all.iter().filter(|info| info.initialized).map(|info| format!("'{}'", info.label)).collect();
                let there = if labels.is_empty() { "no initialized token".to_owned() } else { labels.join(", ") };
                Err(Error::new(ErrorKind::TokenNotFound, format!("no token matches {uri}"))
                    .with_hint(format!("the module shows: {there}")))
            }
        }
    }

    /// Which initialization the module is in.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes sure that the module is not started anew while `user` is served.
    pub(super) fn add_user(&self, user: Weak<dyn User>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| user.strong_count() > 0);
        users.push(user);
    }

    /// Whether the module may be started anew for the sake of `user`: nobody else in this process
    /// initialized it, and no other token of it serves anybody.
    pub(super) fn may_restart_for(&self, user: &Weak<dyn User>) -> bool {
        if !self.ours.load(Ordering::Relaxed) {
            return false;
        }
        let others: Vec<_> = {
            let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.iter().filter(|other| !other.ptr_eq(user)).filter_map(Weak::upgrade).collect()
        };
        !others.iter().any(|other| other.is_served())
    }

    /// Starts the module anew, for who is alone inside: some modules, such as p11-kit's client, find
    /// their token again in no other way. All sessions end.
    pub(super) fn restart_inside(&self, seen: u64) -> Result<()> {
        if self.epoch() != seen {
            // Another was faster.
            return Ok(());
        }
        let _guard = self.softhsm.acquire(FileUse::Read)?;
        // From here on the handles that are out mean nothing.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        tracing::debug!(path = %self.path.display(), "starting the PKCS#11 module anew");
        match self.context().finalize() {
            Ok(()) | Err(Cause::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            // It may be that a second C_Initialize is all that it takes.
            Err(cause) => tracing::debug!(%cause, "the module does not finalize"),
        }
        match self.context().initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Cause::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(cause) => Err(fault("start the module anew", cause)),
        }
    }

    /// Whether it keeps a state for each function list, so that it can be taken up anew beside calls that
    /// hang in an old one.
    pub(super) fn can_be_taken_up_anew(&self) -> bool {
        self.functions.is_none()
    }

    /// Takes up the module anew, with a function list and a state of its own: p11-kit's client, whose calls
    /// may hang for good when its server dies. The old state is left to them, and never freed.
    pub(super) fn take_up_anew_inside(&self, seen: u64) -> Result<()> {
        let action = "take up the module anew";
        let new = Pkcs11::new(&self.path).map_err(|cause| fault(action, cause))?;
        // Before the lock: it may hang.
        match new.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Cause::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(cause) => return Err(fault(action, cause)),
        }
        let mut context = self.context.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() != seen {
            // Another was faster.
            return new.finalize().or(Ok(()));
        }
        tracing::warn!(path = %self.path.display(), "took up the PKCS#11 module anew, beside calls that hang in it");
        self.epoch.fetch_add(1, Ordering::AcqRel);
        *context = new;
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        Ok(())
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The functions, for who is inside the module.
    pub(super) fn context(&self) -> Pkcs11 {
        self.context.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn enter(&self, access: Access) -> Result<Pass> {
        check_process()?;
        self.gate().enter(access, None).ok_or_else(|| {
            Error::new(ErrorKind::Timeout, format!("a call hangs in the module '{}'", self.path.display()))
        })
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("path", &self.path).finish_non_exhaustive()
    }
}
