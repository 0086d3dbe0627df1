//! A token's beginning: it is initialized, gets its PINs, and gives random bytes for them.
//!
//! Initializing takes two calls, `C_InitToken` and `C_InitPIN`, and a process may die between them. So each
//! can be made alone, and [`Module::standing`] tells which of them were.

use super::fault::fault;
use super::gate::Access;
use super::info::TokenInfo;
use super::module::Module;
use super::pin::Pin;
use super::softhsm::FileUse;
use super::uri::TokenUri;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::session::{SessionState, UserType};
use cryptoki::slot::Slot;
use zeroize::Zeroizing;

/// How a token is to be initialized.
///
/// ```no_run
/// use keyward::token::{Module, Pin, TokenInit};
/// # let (so_pin, user_pin) = (Pin::new("so"), Pin::new("user"));
/// let module = Module::load("/usr/lib/softhsm/libsofthsm2.so".as_ref())?;
/// let token = module.initialize(&TokenInit::new("demo", so_pin).user_pin(user_pin))?;
/// println!("serial {}, firmware {}", token.serial, token.firmware);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug)]
pub struct TokenInit {
    label: String,
    so_pin: Pin,
    user_pin: Option<Pin>,
    uri: Option<TokenUri>,
    erase: Option<String>,
}

impl TokenInit {
    /// The first blank token gets this label and this PIN of its security officer, and no user PIN yet.
    #[must_use]
    pub fn new(label: impl Into<String>, so_pin: Pin) -> Self {
        Self { label: label.into(), so_pin, user_pin: None, uri: None, erase: None }
    }

    /// The security officer sets this user PIN as well.
    #[must_use]
    pub fn user_pin(mut self, pin: Pin) -> Self {
        self.user_pin = Some(pin);
        self
    }

    /// The one blank token that this URI names, by what it says of itself before it is initialized: its serial
    /// number, manufacturer or model. SoftHSM's blank token has no serial number.
    #[must_use]
    pub fn uri(mut self, uri: TokenUri) -> Self {
        self.uri = Some(uri);
        self
    }

    /// Not a blank token, but the initialized one with this serial number. **Everything on it is destroyed.**
    /// The PIN of the security officer is the one that it has: most tokens ask for it.
    #[must_use]
    pub fn danger_erase(mut self, serial: impl Into<String>) -> Self {
        self.erase = Some(serial.into());
        self
    }
}

/// How far a token has come, for whoever resumes what was interrupted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// No initialized token matches.
    Absent,
    /// It is initialized and has no user PIN.
    WithoutUserPin(TokenInfo),
    /// It is initialized, and the user PIN was refused. One more wrong PIN has been counted by it.
    PinRefused(TokenInfo),
    /// It is initialized and the user PIN logs in.
    Ready(TokenInfo),
}

impl Module {
    /// Initializes the first token that is not initialized, and sets its user PIN.
    ///
    /// # Errors
    /// As [`initialize`](Self::initialize).
    pub fn init_token(&self, label: &str, so_pin: &Pin, user_pin: &Pin) -> Result<TokenInfo> {
        self.initialize(&TokenInit::new(label, so_pin.clone()).user_pin(user_pin.clone()))
    }

    /// Initializes a token, and sets its user PIN where one is given. Tells what it is now: on SoftHSM it
    /// has got a serial number.
    ///
    /// A token that is initialized is refused, unless [`TokenInit::danger_erase`] names its serial number.
    /// No session on it may be open in this process.
    ///
    /// # Errors
    /// `TokenNotFound` where no blank token is there, or several that a URI names; `InvalidArgument` where the
    /// label is empty or longer than 32 bytes, or a PIN is not UTF-8; `PinIncorrect` where a token that is to
    /// be erased has another PIN of the security officer; and what the token answers.
    pub fn initialize(&self, wanted: &TokenInit) -> Result<TokenInfo> {
        let TokenInit { label, so_pin, user_pin, uri, erase } = wanted;
        if label.trim().is_empty() || label.len() > 32 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a token label is 1 to 32 bytes long"));
        }
        let pin = so_pin.expose_text()?;
        user_pin.as_ref().map(Pin::expose_text).transpose()?;
        // Until it is done, no other thread takes the same blank token.
        let _pass = self.enter(Access::Alone)?;
        let tokens = self.list_tokens()?;
        let named = uri.as_ref();
        let slot = match erase {
            Some(serial) => one_to_erase(&tokens, serial, named)?.slot,
            None => blank(&tokens, named)?.slot,
        };
        {
            let _guard = self.softhsm.acquire(FileUse::Write)?;
            self.context().init_token(slot, &pin, label).map_err(|cause| fault("initialize the token", cause))?;
        }
        match user_pin {
            Some(user_pin) => self.set_pin_inside(slot, so_pin, user_pin),
            None => self.info_inside(slot),
        }
    }

    /// Sets the user PIN of the one initialized token that `uri` names, as its security officer (`C_InitPIN`).
    /// One that it had before is replaced.
    ///
    /// # Errors
    /// As [`find`](Self::find); `PinIncorrect` after one attempt where the security officer's PIN is another;
    /// `InvalidArgument` where a PIN is not UTF-8; and what the token answers.
    pub fn set_user_pin(&self, uri: &TokenUri, so_pin: &Pin, user_pin: &Pin) -> Result<TokenInfo> {
        let _pass = self.enter(Access::Alone)?;
        let slot = self.find_inside(uri)?.slot;
        self.set_pin_inside(slot, so_pin, user_pin)
    }

    /// How far the token that `uri` names has come, and whether this user PIN logs in. The PIN is tried once.
    ///
    /// # Errors
    /// `TokenNotFound` where several match; `TokenUnavailable` where this process is logged in to it already,
    /// because then no token compares the PIN; `PinLocked`; and what the token answers.
    pub fn standing(&self, uri: &TokenUri, user_pin: &Pin) -> Result<Standing> {
        let _pass = self.enter(Access::Alone)?;
        let tokens = self.list_tokens()?;
        let mut matching = tokens.into_iter().filter(|token| token.initialized && uri.matches(token));
        let token = match (matching.next(), matching.next()) {
            (None, _) => return Ok(Standing::Absent),
            (Some(one), None) => one,
            _ => return Err(several(uri)),
        };
        if !token.user_pin_set {
            return Ok(Standing::WithoutUserPin(token));
        }
        let _guard = self.softhsm.acquire(FileUse::Write)?;
        let log_in = || -> cryptoki::error::Result<()> {
            let session = self.context().open_rw_session(token.slot)?;
            // A token that is logged in to compares nothing, and is not sent a PIN in vain.
            if matches!(session.get_session_info()?.session_state(), SessionState::RwUser | SessionState::RoUser) {
                return Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login));
            }
            session.login_with_raw(UserType::User, &user_pin.expose_raw())?;
            session.logout()
        };
        match log_in() {
            Ok(()) => Ok(Standing::Ready(token)),
            Err(Cause::Pkcs11(RvError::UserPinNotInitialized, _)) => Ok(Standing::WithoutUserPin(token)),
            Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Err(Error::new(
                ErrorKind::TokenUnavailable,
                format!("this process is logged in to token '{}' already, so its PIN cannot be tried", token.label),
            )),
            Err(cause) => match fault("log in", cause) {
                error if error.kind() == ErrorKind::PinIncorrect => Ok(Standing::PinRefused(token)),
                error => Err(error),
            },
        }
    }

    /// Fills `bytes` from the generator of a token that is initialized, without a login: for the PIN that it
    /// is to get. Give it a buffer that wipes itself.
    ///
    /// # Errors
    /// As [`find`](Self::find), and `TokenUnavailable` where the token has no generator or fails.
    pub fn random(&self, uri: &TokenUri, bytes: &mut [u8]) -> Result<()> {
        let _pass = self.enter(Access::Shared)?;
        let slot = self.find_inside(uri)?.slot;
        let _guard = self.softhsm.acquire(FileUse::Read)?;
        // Not into the caller's buffer, which keeps what it had where the token fails half-way.
        let mut random = Zeroizing::new(vec![0; bytes.len()]);
        let session = self.context().open_ro_session(slot).map_err(|cause| fault("open a session", cause))?;
        let answer = session.generate_random_slice(&mut random);
        answer.map_err(|cause| fault("get random bytes from the token", cause))?;
        bytes.copy_from_slice(&random);
        Ok(())
    }

    fn set_pin_inside(&self, slot: Slot, so_pin: &Pin, user_pin: &Pin) -> Result<TokenInfo> {
        let (so_pin, user_pin) = (so_pin.expose_text()?, user_pin.expose_text()?);
        {
            let _guard = self.softhsm.acquire(FileUse::Write)?;
            let set = || -> cryptoki::error::Result<()> {
                let session = self.context().open_rw_session(slot)?;
                session.login(UserType::So, Some(&so_pin))?;
                let answer = session.init_pin(&user_pin);
                // However it ends: what logs in next is the user.
                session.logout()?;
                answer
            };
            set().map_err(|cause| fault("set the user PIN", cause))?;
        }
        self.info_inside(slot)
    }

    fn info_inside(&self, slot: Slot) -> Result<TokenInfo> {
        let _guard = self.softhsm.acquire(FileUse::Read)?;
        let info = self.context().get_token_info(slot).map_err(|cause| fault("look at the token", cause))?;
        Ok(TokenInfo::new(slot, &info))
    }
}

fn blank<'a>(tokens: &'a [TokenInfo], uri: Option<&TokenUri>) -> Result<&'a TokenInfo> {
    let mut blank = tokens.iter().filter(|token| !token.initialized && uri.is_none_or(|uri| uri.matches(token)));
    let first = blank.next().ok_or_else(|| {
        Error::new(ErrorKind::TokenNotFound, "no slot has a token that is not initialized, or that the URI names")
            .with_hint("a token that is initialized is not touched; to destroy all that is on it, name its serial number: --danger-erase SERIAL")
    })?;
    match (uri, blank.next()) {
        (Some(uri), Some(_)) => Err(several(uri)),
        _ => Ok(first),
    }
}

fn one_to_erase<'a>(tokens: &'a [TokenInfo], serial: &str, uri: Option<&TokenUri>) -> Result<&'a TokenInfo> {
    let named =
        |token: &&TokenInfo| token.initialized && token.serial == serial && uri.is_none_or(|uri| uri.matches(token));
    let mut found = tokens.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (found, _) => {
            let how_many = if found.is_some() { "more than one token has" } else { "no initialized token has" };
            Err(Error::new(ErrorKind::TokenNotFound, format!("{how_many} the serial number that is to be erased"))
                .with_hint("`keyward token list` shows the serial numbers"))
        }
    }
}

fn several(uri: &TokenUri) -> Error {
    Error::new(ErrorKind::TokenNotFound, format!("several tokens match {uri}"))
        .with_hint("add serial=… to the URI; `keyward token list` shows the serial numbers")
}
