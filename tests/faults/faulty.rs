//! A SoftHSM token behind a module that goes wrong as a script says (`tests/fault`).

use keyward::hsm::HsmProvider;
use keyward::testkit::SoftToken;
use keyward::token::{Token, TokenOptions, TokenUri};
use keyward::{AlgorithmChoice, KeyAdmin, KeyName, WrappingAlgorithm};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct Faulty {
    pub(crate) soft: Arc<SoftToken>,
    module: PathBuf,
    dir: TempDir,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self::of(Arc::new(SoftToken::new()))
    }

    /// Another module in front of the same token: as that of another host.
    pub(crate) fn twin(&self) -> Self {
        Self::of(Arc::clone(&self.soft))
    }

    fn of(soft: Arc<SoftToken>) -> Self {
        let built = std::env::current_exe().unwrap();
        let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
        assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
        let dir = tempfile::tempdir().unwrap();
        // A copy of its own, with a state and a script of its own. Its name says that SoftHSM is behind it.
        let module = dir.path().join("libsofthsm2-fault.so");
        std::fs::copy(built, &module).unwrap();
        Self { soft, module, dir }
    }

    /// Puts a script in place.
    pub(crate) fn script(&self, script: &str) {
        let new = self.beside(".new");
        std::fs::write(&new, script).unwrap();
        std::fs::rename(new, self.beside(".script")).unwrap();
    }

    /// From now on all is well.
    pub(crate) fn well(&self) {
        self.script("");
    }

    /// The calls that a script logged since the last time: function and code.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        // Each line is written to the file that has the name then.
        let taken = self.beside(".log.taken");
        let text = match std::fs::rename(self.beside(".log"), &taken) {
            Ok(()) => std::fs::read_to_string(&taken).unwrap(),
            Err(_) => String::new(),
        };
        let words = |line: &str| line.split_once(' ').map(|(function, code)| (function.to_owned(), code.to_owned()));
        text.lines().filter_map(words).collect()
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.module.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// A directory of its own, for the lock of SoftHSM.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Its module, which another process can load as well.
    pub(crate) fn module(&self) -> &std::path::Path {
        &self.module
    }

    pub(crate) fn uri(&self) -> TokenUri {
        let uri: TokenUri = format!("pkcs11:token={}", self.soft.uri().token().unwrap()).parse().unwrap();
        uri.or_module_path(Some(self.module.clone()))
    }

    pub(crate) fn options(&self) -> TokenOptions {
        let options = TokenOptions::default().pin(self.soft.pin()).session_timeout(Duration::from_secs(10));
        // SoftHSM is loaded by its own path as well. And a lock of its own: a call that hangs in it holds that.
        options.danger_accept_other_login().softhsm_directory(self.directory())
    }

    pub(crate) fn open(&self, options: TokenOptions) -> keyward::Result<HsmProvider> {
        Ok(HsmProvider::new(Token::open_with(&self.uri(), options)?).only(["a", "b"].map(|name| name.parse().unwrap())))
    }

    /// A provider with a key `a` that was found already.
    pub(crate) fn with_key(&self, algorithm: WrappingAlgorithm, options: TokenOptions) -> (HsmProvider, KeyName) {
        let hsm = self.open(options).unwrap();
        let key: KeyName = "a".parse().unwrap();
        hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
        (hsm, key)
    }
}
