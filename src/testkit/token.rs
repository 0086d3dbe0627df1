//! A fresh token on SoftHSM. SoftHSM is no HSM: its keys lie in files.

use crate::hsm::HsmProvider;
use crate::token::{Module, Pin, Token, TokenInfo, TokenOptions, TokenUri, softhsm_directory};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where distributions put SoftHSM's module.
const MODULES: [&str; 7] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/lib/libsofthsm2.so",
];

const PIN: &str = "test-user-pin";

/// A SoftHSM token of its own label, initialized when made and removed when dropped.
///
/// Any number live side by side in one process, so tests need no lock. SoftHSM reads where its
/// tokens are from the file that `SOFTHSM2_CONF` names, when the first is made. Cargo sets that for
/// all tests of a project, with an `[env]` table in `.cargo/config.toml`; `docs/testing.md` has both
/// files. The directory that the second names is made where it is missing.
pub struct SoftToken {
    module: Arc<Module>,
    info: TokenInfo,
    directory: Option<PathBuf>,
}

impl SoftToken {
    /// A fresh token.
    ///
    /// # Panics
    /// With one line that says what to do: where SoftHSM is not installed, `SOFTHSM2_CONF` is not
    /// set, or the token cannot be made.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tokens = directory_of_tokens();
        // SoftHSM does not start without it. Where it cannot be made, SoftHSM says more.
        if let Some(tokens) = &tokens {
            let _ = std::fs::create_dir_all(tokens);
        }
        let label = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = load(tokens.as_deref()).and_then(|module| {
            let info = module.init_token(&label, &Pin::new("test-so-pin"), &Pin::new(PIN))?;
            Ok((module, info))
        });
        match made {
            Ok((module, info)) => {
                let directory = tokens.and_then(|tokens| directory_of_token(&tokens, &info.serial));
                Self { module, info, directory }
            }
            Err(error) => panic!("cannot make a SoftHSM token: {error} ({})", error.hint().unwrap_or("no hint")),
        }
    }

    /// The file of SoftHSM's module: `KEYWARD_TEST_MODULE` where it is set, else where
    /// distributions put it.
    ///
    /// # Panics
    /// Where there is none, with one line that says what to install.
    #[must_use]
    #[track_caller]
    pub fn module_path() -> PathBuf {
        if let Some(path) = std::env::var_os("KEYWARD_TEST_MODULE") {
            return path.into();
        }
        match MODULES.iter().map(Path::new).find(|path| path.exists()) {
            Some(path) => path.to_owned(),
            None => panic!("SoftHSM is not installed: apt install softhsm2, or name its module in KEYWARD_TEST_MODULE"),
        }
    }

    /// SoftHSM's module, loaded so that tests in other processes take turns with this one.
    ///
    /// # Panics
    /// If it cannot be loaded, and as [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub fn load_module() -> Arc<Module> {
        load(directory_of_tokens().as_deref()).unwrap_or_else(|error| panic!("cannot load SoftHSM: {error}"))
    }

    /// The URI of the token, without its PIN.
    ///
    /// # Panics
    /// Never: the label is of our making.
    #[must_use]
    pub fn uri(&self) -> TokenUri {
        let uri: TokenUri = format!("pkcs11:token={}", self.info.label).parse().expect("a plain label");
        uri.or_module_path(Some(self.module.path().to_owned()))
    }

    /// The URI of the token with its module and its PIN, for the configuration of a program under test.
    ///
    /// ```no_run
    /// use keyward::{testkit::SoftToken, token::Token};
    /// let token = SoftToken::new();
    /// let opened = Token::open(&token.uri_with_pin().parse()?)?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    #[must_use]
    pub fn uri_with_pin(&self) -> String {
        let module = self.module.path().as_os_str().as_encoded_bytes();
        let module = percent_encoding::percent_encode(module, percent_encoding::NON_ALPHANUMERIC);
        format!("pkcs11:token={}?module-path={module}&pin-value={PIN}", self.info.label)
    }

    /// The user PIN.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::new(PIN)
    }

    /// The token, opened and logged in to. Another library of the process may be logged in to it already, as where a test
    /// looks at the token past this one.
    ///
    /// # Panics
    /// Where it cannot be opened.
    #[must_use]
    #[track_caller]
    pub fn open(&self) -> Token {
        Token::open_with(&self.uri(), TokenOptions::default().pin(self.pin()).danger_accept_other_login())
            .unwrap_or_else(|error| panic!("cannot open the test token: {error}"))
    }

    /// A provider that may use every symmetric key of the token.
    ///
    /// # Panics
    /// Where the token cannot be opened.
    #[must_use]
    #[track_caller]
    pub fn provider(&self) -> HsmProvider {
        HsmProvider::new(self.open())
    }
}

impl Default for SoftToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SoftToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftToken('{}')", self.info.label)
    }
}

impl Drop for SoftToken {
    fn drop(&mut self) {
        // PKCS#11 has no call that removes a token, so its directory is removed.
        if let Some(directory) = &self.directory
            && let Err(error) = std::fs::remove_dir_all(directory)
        {
            tracing::debug!(%error, directory = %directory.display(), "a test token is left behind");
        }
    }
}

/// Where SoftHSM keeps its tokens by its configuration, if that says so.
#[track_caller]
fn directory_of_tokens() -> Option<PathBuf> {
    match std::env::var_os("SOFTHSM2_CONF") {
        Some(conf) => softhsm_directory(Path::new(&conf)),
        None => panic!(
            "SOFTHSM2_CONF is not set: docs/testing.md says how; in Keyward's repository, run softhsm/with COMMAND"
        ),
    }
}

fn load(tokens: Option<&Path>) -> crate::error::Result<Arc<Module>> {
    let path = SoftToken::module_path();
    tokens.map_or_else(|| Module::load(&path), |tokens| Module::load_softhsm(&path, tokens))
}

/// The directory of the token with this serial number: SoftHSM names it by a UUID whose last 16
/// digits are the serial number.
fn directory_of_token(tokens: &Path, serial: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(tokens).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.replace('-', "").ends_with(serial)
    })
}
