//! What all commands work with: the configuration, and the way to the token.

use crate::args::Global;
use crate::config::Config;
use crate::{output, pin};
use keyward::hsm::HsmProvider;
use keyward::token::{Token, TokenOptions, TokenUri};
use keyward::{Error, ErrorKind, KeyName, KeyRef, Result};
use std::time::Duration;

pub(crate) struct App {
    uri: Option<String>,
    config: Config,
    quiet: bool,
}

impl App {
    pub(crate) fn new(global: Global) -> Result<Self> {
        let config = match &global.config {
            Some(path) if !path.as_os_str().is_empty() => Config::read(path)?,
            _ => Config::default(),
        };
        let uri = global.token.filter(|uri| !uri.is_empty()).or_else(|| config.token.clone());
        Ok(Self { uri, config, quiet: global.quiet })
    }

    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Tells something that is no failure.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            output::say("note", text);
        }
    }

    /// The token that is named, where one is.
    pub(crate) fn uri_if_named(&self) -> Result<Option<TokenUri>> {
        self.uri.as_deref().map(str::parse).transpose()
    }

    pub(crate) fn uri(&self) -> Result<TokenUri> {
        self.uri_if_named()?.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "no token is named").with_hint(
                "give --token URI or set KEYWARD_TOKEN, as in pkcs11:token=LABEL?module-path=/path/to/module.so",
            )
        })
    }

    /// Opens the token. The PIN comes from the URI, else from the environment, else from whoever
    /// sits at the terminal; it is tried once.
    fn open(&self) -> Result<Token> {
        let uri = self.uri()?;
        let options = |pin| {
            let mut options = TokenOptions::default();
            if let Some(max) = self.config.max_sessions {
                options = options.max_sessions(max.get());
            }
            if let Some(seconds) = self.config.session_timeout_seconds {
                options = options.session_timeout(Duration::from_secs(seconds));
            }
            match pin {
                Some(pin) => options.pin(pin),
                None => options,
            }
        };
        let given = pin::from_environment();
        let none_given = given.is_none();
        match Token::open_with(&uri, options(given)) {
            // Not where the URI names a file for the PIN that cannot be read: that is to be told.
            Err(error)
                if error.kind() == ErrorKind::PinRequired
                    && none_given
                    && matches!(uri.pin(), Ok(None))
                    && pin::can_ask() =>
            {
                let typed = pin::ask(&format!("PIN for {uri}"))?;
                Token::open_with(&uri, options(Some(typed)))
            }
            answer => answer,
        }
    }

    /// The provider of the token, for the keys that the configuration allows.
    pub(crate) fn provider(&self) -> Result<HsmProvider> {
        self.provider_for(&[])
    }

    /// The same for these keys alone; for all that are allowed where none is given.
    pub(crate) fn provider_for(&self, names: &[KeyName]) -> Result<HsmProvider> {
        for name in names {
            self.check_allowed(name)?;
        }
        let mut provider = HsmProvider::new(self.open()?);
        if let Some(max) = self.config.max_gcm_wraps {
            provider = provider.max_gcm_wraps(max);
        }
        let only = if names.is_empty() { self.config.keys.clone() } else { Some(names.to_vec()) };
        Ok(match only {
            Some(only) => provider.only(only),
            None => provider,
        })
    }

    /// Whether the configuration lets a key be used.
    pub(crate) fn check_allowed(&self, name: &KeyName) -> Result<()> {
        match &self.config.keys {
            Some(keys) if !keys.contains(name) => Err(Error::new(
                ErrorKind::KeyNotFound,
                format!("{} is not among the keys that the configuration file allows", KeyRef::Name(name)),
            )),
            _ => Ok(()),
        }
    }
}
