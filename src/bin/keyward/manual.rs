//! Shell completions and manual pages, made from the command line's own description.

use crate::args::Cli;
use clap::{Args, CommandFactory};
use keyward::{Error, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward completions bash > ~/.local/share/bash-completion/completions/keyward")]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keyward", &mut script);
        Ok(crate::output::print(&String::from_utf8(script)?)?)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The directory; made where it is not there
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> keyward::Result<()> {
        let made = std::fs::create_dir_all(&self.directory);
        made.and_then(|()| clap_mangen::generate_to(Cli::command(), &self.directory)).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot write manual pages into '{}'", self.directory.display()))
                .with_source(error)
        })
    }
}
