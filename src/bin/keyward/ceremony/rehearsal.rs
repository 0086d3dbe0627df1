//! The throwaway tokens of a rehearsal.

use keyward::ceremony::Venue;
use keyward::{Error, ErrorKind, Result};
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions put SoftHSM's module.
const MODULES: [&str; 9] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/lib/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];
/// Names SoftHSM's configuration, which it reads when the module is initialized.
const CONFIGURATION: &str = "SOFTHSM2_CONF";
const FILE: &str = "softhsm2.conf";

/// SoftHSM with a directory of its own beside the bundle.
pub(super) struct Rehearsal {
    module: PathBuf,
    directory: PathBuf,
}

impl Rehearsal {
    /// Makes the directory, and starts this program anew with it: the environment of a process that runs cannot be
    /// changed safely.
    pub(super) fn begin(bundle: &Path, module: Option<&Path>) -> Result<Self> {
        let rehearsal = Self::of(bundle, module)?;
        if !rehearsal.is_set() {
            rehearsal.make()?;
            return Err(start_anew(&rehearsal.file()));
        }
        Ok(rehearsal)
    }

    /// The same with what an earlier run has left.
    pub(super) fn resume(bundle: &Path, module: Option<&Path>) -> Result<Self> {
        let rehearsal = Self::of(bundle, module)?;
        if !rehearsal.file().is_file() {
            let message = format!("the tokens of this rehearsal, '{}', are gone", rehearsal.directory.display());
            return Err(Error::new(ErrorKind::TokenNotFound, message)
                .with_hint("begin another with `keyward ceremony run --rehearse`"));
        }
        if !rehearsal.is_set() {
            return Err(start_anew(&rehearsal.file()));
        }
        Ok(rehearsal)
    }

    fn of(bundle: &Path, module: Option<&Path>) -> Result<Self> {
        let module = match module {
            Some(module) => std::path::absolute(module).ok().filter(|path| path.is_file()).ok_or_else(|| {
                let message = format!("there is no module '{}'", module.display());
                Error::new(ErrorKind::ModuleUnavailable, message)
            })?,
            None => MODULES.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
                Error::new(ErrorKind::ModuleUnavailable, "SoftHSM, on whose tokens a ceremony is rehearsed, is missing")
                    .with_hint("install it, as with `apt install softhsm2`, or name its module with --softhsm")
            })?,
        };
        let refused = |what: &str| Error::new(ErrorKind::InvalidArgument, format!("'{}' {what}", bundle.display()));
        let absolute = std::path::absolute(bundle).map_err(|_| refused("is no place for a bundle"))?;
        let mut name: OsString = absolute.file_name().ok_or_else(|| refused("is no name for a bundle"))?.to_owned();
        name.push(".tokens");
        let directory = absolute.with_file_name(name);
        // SoftHSM takes them for the beginning of a comment and the end of a line.
        if directory.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b'#' | b'\n')) {
            return Err(refused("is below a directory with '#' in its name, which SoftHSM cannot use"));
        }
        Ok(Self { module, directory })
    }

    pub(super) fn venue(&self) -> Venue {
        Venue::Rehearsal { module: self.module.clone() }
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn is_set(&self) -> bool {
        env::var_os(CONFIGURATION).is_some_and(|set| set == self.file())
    }

    fn make(&self) -> Result<()> {
        let failed = |error| {
            let message = format!("cannot make the directory of the throwaway tokens '{}'", self.directory.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        };
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match private.create(&self.directory) {
            // One that an earlier rehearsal left before anything was recorded.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.file().is_file() => {}
            made => made.map_err(failed)?,
        }
        let tokens = self.directory.join("tokens");
        private.recursive(true).create(&tokens).map_err(failed)?;
        let text =
            [b"directories.tokendir = ", tokens.as_os_str().as_encoded_bytes(), b"\nlog.level = ERROR\n"].concat();
        fs::write(self.file(), text).map_err(failed)
    }

    /// Removes the tokens.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory).map_err(|error| {
            let message = format!("cannot remove the throwaway tokens '{}'", self.directory.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })
    }
}

/// Puts this program anew in its own place: same process, same terminal, same arguments. It returns where that failed.
fn start_anew(configuration: &Path) -> Error {
    // The program that runs, even where another has taken its place on the disk: the plan names its hash.
    let program = match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => env::current_exe(),
    };
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "keyward".into());
    let error = match program {
        Ok(program) => Command::new(program).arg0(name).args(arguments).env(CONFIGURATION, configuration).exec(),
        Err(error) => error,
    };
    Error::new(ErrorKind::Io, "cannot start this program anew for the rehearsal").with_source(error)
}
