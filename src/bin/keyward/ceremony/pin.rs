//! `keyward ceremony pin`: custodians open a token for a service.

use super::BundlePath;
use super::terminal::Terminal;
use crate::output::print_line;
use clap::Args;
use keyward::ceremony::{Name, shared_pin};
use keyward::{Error, ErrorKind};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Put a token's PIN together from its shares, for a service
///
/// The custodians type their shares at this terminal, as in a ceremony, and the PIN goes into a new file that its owner
/// alone may read: what a token URI names as pin-source. Let it lie where it is gone when the machine is switched off, such
/// as below /run. Whoever can read it can use the keys of the token.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward ceremony pin 2026-11-payments primary --out /run/keyward/pin
  keyward key list --token 'pkcs11:token=…?module-path=…&pin-source=file:/run/keyward/pin'")]
pub(crate) struct MakePin {
    #[command(flatten)]
    bundle: BundlePath,
    /// The token, as the plan calls it
    #[arg(value_name = "NAME")]
    token: String,
    /// The file for the PIN, which must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl MakePin {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        super::check_loader()?;
        let bundle = self.bundle.open()?;
        let token: Name = self.token.parse()?;
        // Before anybody types anything.
        if self.out.symlink_metadata().is_ok() {
            return Err(exists(&self.out).into());
        }
        let pin = shared_pin(&bundle, &token, &mut Terminal::open(&bundle.plan()?, bundle.path(), false)?)?;
        let mut file = create(&self.out)?;
        if let Err(error) = file.write_all(pin.as_str().as_bytes()).and_then(|()| file.sync_all()) {
            // Nothing of a PIN stays.
            let _ = fs::remove_file(&self.out);
            return Err(cannot_write(&self.out, error).into());
        }
        Ok(print_line(&format!("wrote '{}'", self.out.display()))?)
    }
}

/// Directly and not by way of a temporary file: where that were left behind nobody would look for a PIN.
fn create(path: &Path) -> keyward::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot_write(path, error),
    })
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::OutputExists, format!("'{}' exists already", path.display()))
        .with_hint("a service may be using it; remove it, or name another file")
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write '{}'", path.display())).with_source(error)
}
