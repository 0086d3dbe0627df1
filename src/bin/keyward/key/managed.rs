//! What is not done to a managed key by mistake.

use clap::Args;
use keyward::{Error, ErrorKind, KeyName};

/// `--managed`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Managed {
    /// Also where it is a managed key, keyward/…, which protects what was encrypted without --key
    #[arg(long)]
    managed: bool,
}

impl Managed {
    /// Refuses to do `what` to a managed key unless it was asked for.
    pub(crate) fn allow(self, name: &KeyName, what: &str) -> keyward::Result<()> {
        if self.managed || !name.is_managed() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("'{name}' is a managed key and is not {what}"))
            .with_hint("it protects what was encrypted without --key; add --managed where you mean it"))
    }

    /// Refuses to give a key the name of a managed one.
    pub(crate) fn allow_name(self, name: &KeyName) -> keyward::Result<()> {
        if self.managed || !name.is_managed() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("'{name}' is the name of a managed key, which is made on first use"),
        )
        .with_hint("choose a name that does not begin with keyward/, or add --managed where you mean it"))
    }
}
