//! What all commands work with: the configuration, and the way to the tokens.

use crate::args::Global;
use crate::cache::{self, CacheArgs};
use crate::config::{Config, Together};
use crate::{governed, output, pin, softhsm};
use keyward::audit::{AuditOptions, LogName};
use keyward::hsm::{HsmProvider, OpeningAuditKey};
use keyward::key::HeadKeeper;
use keyward::provider::{Failover, Member};
use keyward::token::{Token, TokenOptions, TokenUri};
use keyward::{Error, ErrorKind, KeyAdmin, KeyName, KeyProvider, KeyRef, Result};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) struct App {
    uris: Vec<String>,
    config: Arc<Config>,
    /// The configuration file, and whether it is what names the tokens.
    file: Option<PathBuf>,
    of_file: bool,
    /// Whether the token was to stand on the command line.
    is_given: bool,
    quiet: bool,
    /// The tokens that were opened: each once, so that a PIN is typed once.
    opened: Mutex<Vec<(TokenUri, Token)>>,
}

/// What uses and administers the keys of one token, or of several that serve together.
pub(crate) trait Keys: KeyProvider + KeyAdmin {}

impl<T: KeyProvider + KeyAdmin> Keys for T {}

pub(crate) type Provider = Box<dyn Keys>;

/// What a command wants of the provider.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wants<'a> {
    /// These keys alone; all that are allowed where there is none.
    pub(crate) keys: &'a [KeyName],
    pub(crate) cache: CacheArgs,
}

impl App {
    pub(crate) fn new(global: Global) -> Result<Self> {
        let file = global.config.filter(|path| !path.as_os_str().is_empty());
        let mut config = file.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        // One that is named on the command line is used alone.
        let named = global.token.filter(|uri| !uri.is_empty());
        let of_file = named.is_none();
        let uris = match named {
            Some(uri) => vec![uri],
            None => config.tokens.take().unwrap_or_else(|| config.token.take().into_iter().collect()),
        };
        let is_given = global.token_is_given;
        let quiet = global.quiet;
        Ok(Self { uris, config: Arc::new(config), file, of_file, is_given, quiet, opened: Mutex::default() })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// How the configuration wants the audit log kept.
    pub(crate) fn audit_options(&self, mut options: AuditOptions) -> AuditOptions {
        let Some(audit) = &self.config.audit else { return options };
        if let Some(name) = &audit.name {
            options = options.name(name.clone());
        }
        if let Some(lines) = audit.sign_every {
            options = options.sign_every(lines.get());
        }
        if let Some(seconds) = audit.sign_after_seconds {
            options = options.sign_after(Duration::from_secs(seconds));
        }
        if let Some(bytes) = audit.rotate_bytes {
            options = options.rotate_at(bytes.get());
        }
        if let Some(seconds) = audit.anchor_after_seconds {
            options = options.anchor_every(Duration::from_secs(seconds));
        }
        options
    }

    /// The name of the audit log that the configuration names.
    pub(crate) fn log_name(&self) -> Result<LogName> {
        let configured = self.config.audit.as_ref().and_then(|audit| audit.name.clone());
        configured.map_or_else(LogName::of_host, Ok)
    }

    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// The policies that the configuration names.
    pub(crate) fn policy_path(&self) -> Option<&Path> {
        self.config.policy.as_deref()
    }

    /// Tells something that is no failure.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            output::say("note", text);
        }
    }

    /// The configuration file, where one is named.
    pub(crate) fn config_path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether it is the configuration file that names the tokens.
    pub(crate) fn tokens_are_of_the_file(&self) -> bool {
        self.of_file
    }

    /// All tokens that are named.
    pub(crate) fn uris(&self) -> Result<Vec<TokenUri>> {
        if self.uris.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "no token is named").with_hint(
                "give --token URI or set KEYWARD_TOKEN, as in pkcs11:token=LABEL?module-path=/path/to/module.so",
            ));
        }
        self.uris.iter().map(|uri| uri.parse()).collect()
    }

    /// Whether any token is named.
    pub(crate) fn names_a_token(&self) -> bool {
        !self.uris.is_empty()
    }

    /// The token that is named, where one is.
    pub(crate) fn uri_if_named(&self) -> Result<Option<TokenUri>> {
        if self.uris.is_empty() { Ok(None) } else { self.uri().map(Some) }
    }

    /// The one token that is named.
    pub(crate) fn uri(&self) -> Result<TokenUri> {
        let mut uris = self.uris()?;
        match (uris.pop(), uris.len()) {
            (Some(one), 0) => Ok(one),
            _ => Err(Error::new(ErrorKind::InvalidArgument, "the configuration names several tokens")
                .with_hint("name one with --token URI; `keyward doctor` looks at all of them")),
        }
    }

    /// The token that stands on the command line, for what asks none that is named elsewhere.
    pub(crate) fn uri_given(&self) -> Result<Option<TokenUri>> {
        match (self.is_given, self.of_file) {
            (false, _) => Ok(None),
            // An option without a value is no wish to leave it out.
            (true, true) => Err(Error::new(ErrorKind::InvalidArgument, "--token names no token")),
            (true, false) => self.uri().map(Some),
        }
    }

    /// How several tokens serve together, where there are several.
    pub(crate) fn together(&self) -> Option<Together> {
        self.config.failover.filter(|_| self.uris.len() > 1)
    }

    /// The provider of the token, for the keys that the configuration allows.
    pub(crate) fn provider(&self) -> Result<Provider> {
        self.provider_for(Wants::default())
    }

    /// The provider that a command wants.
    pub(crate) fn provider_for(&self, wants: Wants<'_>) -> Result<Provider> {
        let Wants { keys: names, cache } = wants;
        for name in names {
            self.check_allowed(name)?;
        }
        let only = if names.is_empty() { self.config.keys.clone() } else { Some(names.to_vec()) };
        let dress = move |token: Token, config: &Config| {
            let mut provider = HsmProvider::new(token).accept(config.accept.iter().copied());
            if let Some(max) = config.max_gcm_wraps {
                provider = provider.max_gcm_wraps(max);
            }
            if let Some(only) = &only {
                provider = provider.only(only.iter().cloned());
            }
            provider
        };
        let Some(together) = self.together() else {
            let token = self.open()?;
            let provider = cache::keep(self, Box::new(dress(token.clone(), &self.config)), cache)?;
            return governed::govern(self, provider, || Ok(vec![keeper(move || Ok(token.clone()))]));
        };
        let dress = Arc::new(dress);
        let members = self.uris()?.into_iter().map(|uri| {
            let (config, dress) = (Arc::clone(&self.config), Arc::clone(&dress));
            // Nobody is asked for the PIN of a token that is opened in the background.
            Member::opening(uri.to_string(), move || {
                let token = Token::open_with(&uri, options(&config, &uri, pin::from_environment()))?;
                Ok(dress(token, &config))
            })
        });
        let required = self.config.require_siblings.map_or(1, NonZeroUsize::get);
        let provider: Provider = match together {
            Together::Replicas => Box::new(Failover::replicas(members)?),
            Together::Siblings => Box::new(Failover::siblings(members)?.require_siblings(required)),
        };
        governed::govern(self, cache::keep(self, provider, cache)?, || self.keepers())
    }

    /// The tokens that keep the audit log, by URI: the one, or all that serve together.
    pub(crate) fn uris_to_keep(&self) -> Result<Vec<TokenUri>> {
        match self.together() {
            None => Ok(vec![self.uri()?]),
            Some(_) => self.uris(),
        }
    }

    /// The tokens that keep the audit log: all that are named. Of several, each is opened when it is asked.
    pub(crate) fn keepers(&self) -> Result<governed::Keepers> {
        if self.together().is_none() {
            let token = self.open()?;
            return Ok(vec![keeper(move || Ok(token.clone()))]);
        }
        let uris = self.uris()?.into_iter();
        Ok(uris
            .map(|uri| {
                let config = Arc::clone(&self.config);
                // As when they serve: no PIN is asked for.
                keeper(move || Token::open_with(&uri, options(&config, &uri, pin::from_environment())))
            })
            .collect())
    }

    /// Opens the token. The PIN comes from the URI, else from the environment, else from whoever
    /// sits at the terminal; it is tried once.
    fn open(&self) -> Result<Token> {
        self.open_one(&self.uri()?)
    }

    /// Opens one of the tokens that are named, or gives it again.
    pub(crate) fn open_one(&self, uri: &TokenUri) -> Result<Token> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, token)) = opened.iter().find(|(known, _)| known == uri) {
            return Ok(token.clone());
        }
        let given = pin::from_environment();
        let none_given = given.is_none();
        let token = match Token::open_with(uri, options(&self.config, uri, given)) {
            // Not where the URI names a file for the PIN that cannot be read: the error says so.
            Err(error)
                if error.kind() == ErrorKind::PinRequired
                    && none_given
                    && matches!(uri.pin(), Ok(None))
                    && pin::can_ask() =>
            {
                let typed = pin::ask(&format!("PIN for {uri}"))?;
                Token::open_with(uri, options(&self.config, uri, Some(typed)))?
            }
            answer => answer?,
        };
        opened.push((uri.clone(), token.clone()));
        Ok(token)
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

fn keeper(open: impl Fn() -> Result<Token> + Send + Sync + 'static) -> Arc<dyn HeadKeeper> {
    Arc::new(OpeningAuditKey::new(open))
}

fn options(config: &Config, uri: &TokenUri, pin: Option<keyward::token::Pin>) -> TokenOptions {
    let mut options = TokenOptions::default();
    if let Some(directory) = uri.module_path().and_then(softhsm::directory_of) {
        options = options.softhsm_directory(directory);
    }
    if let Some(max) = config.max_sessions {
        options = options.max_sessions(max.get());
    }
    if let Some(seconds) = config.session_timeout_seconds {
        options = options.session_timeout(Duration::from_secs(seconds));
    }
    if let Some(seconds) = config.call_timeout_seconds {
        options = options.call_timeout(Duration::from_secs(seconds.get()));
    }
    match pin {
        Some(pin) => options.pin(pin),
        None => options,
    }
}
