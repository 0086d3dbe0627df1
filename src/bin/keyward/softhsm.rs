//! Where SoftHSM keeps its tokens, which its environment and configuration files say: the library asks neither.

use keyward::Result;
use keyward::token::{Module, softhsm_directory};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration files of the system, one of which is compiled into SoftHSM.
const SYSTEM: [&str; 4] = [
    "/etc/softhsm/softhsm2.conf",
    "/etc/softhsm2.conf",
    "/usr/local/etc/softhsm/softhsm2.conf",
    "/opt/homebrew/etc/softhsm/softhsm2.conf",
];

/// The directory of the tokens of this module, if it is SoftHSM's and its configuration is found. Its file name says what
/// it is: whose module it is has to be known before it is loaded. `keyward doctor` asks the token.
pub(crate) fn directory_of(module: &Path) -> Option<PathBuf> {
    let real = module.canonicalize().ok()?;
    let name = real.file_name()?.to_string_lossy().to_ascii_lowercase();
    name.contains("softhsm").then(|| softhsm_directory(&configuration()?)).flatten()
}

/// The configuration file that SoftHSM reads: as it searches itself.
fn configuration() -> Option<PathBuf> {
    if let Some(named) = env::var_os("SOFTHSM2_CONF") {
        return Some(named.into());
    }
    let own = env::home_dir().map(|home| home.join(".config/softhsm2/softhsm2.conf"));
    if let Some(own) = own.filter(|path| path.is_file()) {
        return Some(own);
    }
    let mut found = SYSTEM.iter().map(PathBuf::from).filter(|path| path.is_file());
    // Of several it is not known which one it is.
    found.next().filter(|_| found.next().is_none())
}

/// Loads a module, SoftHSM's with the lock of its tokens.
pub(crate) fn load(path: &Path) -> Result<Arc<Module>> {
    match directory_of(path) {
        Some(directory) => Module::load_softhsm(path, &directory),
        None => Module::load(path),
    }
}
