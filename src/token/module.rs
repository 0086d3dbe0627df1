//! PKCS#11 modules: loaded and initialized once per process, and the tokens they show.

use super::fault::fault;
use super::neighbours::Neighbours;
use super::pin::Pin;
use super::raw::Functions;
use super::uri::TokenUri;
use crate::error::{Error, ErrorKind, Result};
use crate::key::WrappingAlgorithm;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::UserType;
use cryptoki::slot::{Limit, Slot, TokenInfo as RawTokenInfo};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// PKCS#11 allows one `C_Initialize` per module and process (section 5.4), so who loaded what is
/// known to the whole process.
static REGISTRY: Mutex<Option<HashMap<PathBuf, Arc<Module>>>> = Mutex::new(None);

/// A loaded and initialized PKCS#11 module. It stays loaded until the process ends.
pub struct Module {
    path: PathBuf,
    pub(super) context: Pkcs11,
    /// None where the module keeps a state for each function list.
    pub(super) functions: Option<Functions>,
    /// Shared by every call, exclusive for writes to the token: on SoftHSM, making or destroying a
    /// token object while another thread searches fails one or the other.
    gate: RwLock<()>,
    pub(super) neighbours: Neighbours,
}

impl Module {
    /// The module at `path`, loaded and initialized where it is not yet.
    ///
    /// # Errors
    /// `ModuleUnavailable` where there is no file, it is no PKCS#11 module, or it does not start.
    pub fn load(path: &Path) -> Result<Arc<Self>> {
        let unavailable = |what: &str| Error::new(ErrorKind::ModuleUnavailable, format!("{what} '{}'", path.display()));
        let canonical = path.canonicalize().map_err(|error| {
            unavailable("cannot find the PKCS#11 module")
                .with_source(error)
                .with_hint("for SoftHSM on Debian: apt install softhsm2, module-path=/usr/lib/softhsm/libsofthsm2.so")
        })?;
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registry.get_or_insert_default();
        if let Some(module) = registry.get(&canonical) {
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
        let neighbours = Neighbours::of(&canonical);
        let quiet = neighbours.no_writer();
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another user in this process was there first: theirs serves us as well.
            Ok(()) | Err(Cause::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(cause) => return Err(unavailable("cannot initialize the PKCS#11 module").with_source(cause)),
        }
        drop(quiet);
        let functions = Functions::of_initialized(&canonical).map_err(not_a_module)?;
        tracing::debug!(path = %canonical.display(), "loaded a PKCS#11 module");
        let module = Arc::new(Self { path: canonical.clone(), context, functions, gate: RwLock::new(()), neighbours });
        registry.insert(canonical, Arc::clone(&module));
        Ok(module)
    }

    /// Where the module was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens that are present, initialized or not. One that does not describe itself is left
    /// out with a warning.
    ///
    /// # Errors
    /// `TokenUnavailable` where the module cannot list its slots.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let _gate = self.shared();
        self.list_tokens()
    }

    fn list_tokens(&self) -> Result<Vec<TokenInfo>> {
        let _quiet = self.neighbours.no_writer();
        let slots = self.context.get_slots_with_token().map_err(|cause| fault("list the slots", cause))?;
        let mut tokens = Vec::with_capacity(slots.len());
        for slot in slots {
            match self.context.get_token_info(slot) {
                Ok(info) => tokens.push(TokenInfo::new(slot, &info)),
                Err(cause) => tracing::warn!(slot = slot.id(), %cause, "a slot's token does not describe itself"),
            }
        }
        Ok(tokens)
    }

    /// The one token that `uri` names.
    ///
    /// # Errors
    /// `TokenNotFound` where none or more than one matches, `TokenUnavailable` where there is no
    /// slot at all.
    pub fn find(&self, uri: &TokenUri) -> Result<TokenInfo> {
        let all = self.tokens()?;
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
            (None, _) => {
                let labels: Vec<_> =
                    all.iter().filter(|info| info.initialized).map(|info| format!("'{}'", info.label)).collect();
                let there = if labels.is_empty() { "no initialized token".to_owned() } else { labels.join(", ") };
                Err(Error::new(ErrorKind::TokenNotFound, format!("no token matches {uri}"))
                    .with_hint(format!("the module shows: {there}")))
            }
        }
    }

    /// Initializes the first token that is not initialized, and sets its user PIN.
    ///
    /// # Errors
    /// `TokenNotFound` where every token is initialized, `InvalidArgument` where the label is empty
    /// or longer than 32 bytes, and what the token answers.
    pub fn init_token(&self, label: &str, so_pin: &Pin, user_pin: &Pin) -> Result<TokenInfo> {
        if label.trim().is_empty() || label.len() > 32 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a token label is 1 to 32 bytes long"));
        }
        let (so_pin, user_pin) = (so_pin.expose_text()?, user_pin.expose_text()?);
        // Until it is done, no other thread takes the same blank token.
        let _gate = self.exclusive();
        let blank = self.list_tokens()?.into_iter().find(|info| !info.initialized);
        let blank = blank.ok_or_else(|| {
            Error::new(ErrorKind::TokenNotFound, "no slot has a token that is not initialized")
                .with_hint("initializing anew destroys all keys; do that with the token's own tool")
        })?;
        let what = "initialize the token";
        let _quiet = self.neighbours.nobody();
        self.context.init_token(blank.slot, &so_pin, label).map_err(|cause| fault(what, cause))?;
        let set_pin = || -> cryptoki::error::Result<RawTokenInfo> {
            let session = self.context.open_rw_session(blank.slot)?;
            session.login(UserType::So, Some(&so_pin))?;
            session.init_pin(&user_pin)?;
            session.logout()?;
            self.context.get_token_info(blank.slot)
        };
        let info = set_pin().map_err(|cause| fault("set the user PIN", cause))?;
        Ok(TokenInfo::new(blank.slot, &info))
    }

    /// What the token can do, by the mechanisms and flags that it lists.
    ///
    /// # Errors
    /// `TokenUnavailable` where it cannot list them.
    pub fn capabilities(&self, token: &TokenInfo) -> Result<Capabilities> {
        let _gate = self.shared();
        let context = &self.context;
        let listed = context.get_mechanism_list(token.slot).map_err(|cause| fault("list the mechanisms", cause))?;
        // A mechanism that is listed and then not described is not counted on.
        let info = |mechanism| {
            listed.contains(&mechanism).then(|| context.get_mechanism_info(token.slot, mechanism).ok()).flatten()
        };
        let aes_keys = info(MechanismType::AES_KEY_GEN).is_some_and(|info| info.generate());
        let rsa_keys = info(MechanismType::RSA_PKCS_KEY_PAIR_GEN).is_some_and(|info| info.generate_key_pair());
        Ok(Capabilities {
            aes_gcm: aes_keys && info(MechanismType::AES_GCM).is_some_and(|info| info.encrypt() && info.decrypt()),
            aes_kw: aes_keys && info(MechanismType::AES_KEY_WRAP).is_some_and(|info| info.wrap() && info.unwrap()),
            rsa_oaep: rsa_keys && info(MechanismType::RSA_PKCS_OAEP).is_some_and(|info| info.decrypt()),
            mechanisms: listed.iter().map(ToString::to_string).collect(),
        })
    }

    pub(super) fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn exclusive(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A token, as it describes itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenInfo {
    pub(super) slot: Slot,
    /// The label.
    pub label: String,
    /// The serial number.
    pub serial: String,
    /// The manufacturer.
    pub manufacturer: String,
    /// The model.
    pub model: String,
    /// The version of the firmware.
    pub firmware: String,
    /// Whether it was initialized.
    pub initialized: bool,
    /// Whether private objects need a login.
    pub login_required: bool,
    /// Whether the PIN is entered at the token itself, so that none is passed.
    pub pin_pad: bool,
    /// Whether a wrong PIN was entered since the last right one.
    pub pin_count_low: bool,
    /// Whether one more wrong PIN locks it.
    pub pin_final_try: bool,
    /// Whether the user PIN is locked.
    pub pin_locked: bool,
    /// Whether nothing can be written.
    pub write_protected: bool,
    /// The most sessions at once, where it says so.
    pub max_sessions: Option<u64>,
}

impl TokenInfo {
    fn new(slot: Slot, info: &RawTokenInfo) -> Self {
        Self {
            slot,
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            firmware: info.firmware_version().to_string(),
            initialized: info.token_initialized(),
            login_required: info.login_required(),
            pin_pad: info.protected_authentication_path(),
            pin_count_low: info.user_pin_count_low(),
            pin_final_try: info.user_pin_final_try(),
            pin_locked: info.user_pin_locked(),
            write_protected: info.write_protected(),
            max_sessions: match info.max_session_count() {
                Limit::Max(max) if max > 0 => Some(max),
                _ => None,
            },
        }
    }

    /// The slot's number, for information: it may change at every start.
    #[must_use]
    pub fn slot_id(&self) -> u64 {
        self.slot.id()
    }
}

/// What a token can do for Keyward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Makes AES keys and encrypts with AES-GCM.
    pub aes_gcm: bool,
    /// Makes AES keys and wraps with AES Key Wrap.
    pub aes_kw: bool,
    /// Makes RSA keys and decrypts with OAEP. Which hashes it takes shows only in use.
    pub rsa_oaep: bool,
    /// The names of all mechanisms that it lists.
    pub mechanisms: Vec<String>,
}

impl Capabilities {
    /// Whether keys of `algorithm` can be made.
    #[must_use]
    pub fn supports(&self, algorithm: WrappingAlgorithm) -> bool {
        match algorithm {
            WrappingAlgorithm::AesGcm => self.aes_gcm,
            WrappingAlgorithm::AesKw => self.aes_kw,
            WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => self.rsa_oaep,
            WrappingAlgorithm::CustomerKey => false,
        }
    }
}

/// Whether a session could not be had because there are as many as the token allows.
pub(super) fn is_session_limit(cause: &Cause) -> bool {
    matches!(cause, Cause::Pkcs11(RvError::SessionCount, Function::OpenSession))
}
