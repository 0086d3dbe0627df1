//! The command line.

#![warn(clippy::unwrap_used)]

mod app;
mod args;
mod audit;
mod cache;
mod caller;
mod ceremony;
mod config;
mod customer;
mod data_key;
mod decrypt;
mod doctor;
mod duration;
mod encrypt;
mod files;
mod governed;
mod headers;
mod inspect;
mod key;
mod log;
mod manual;
mod many;
mod object;
mod output;
mod pin;
mod policy;
mod progress;
mod range;
mod reencrypt;
mod report;
mod rewrap;
mod signals;
mod softhsm;
mod token;

use crate::app::App;
use crate::args::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    keep_out_of_core_dumps();
    let status = match Cli::read() {
        Ok(cli) => {
            log::start(cli.global.level());
            signals::clean_up_on_termination();
            run(cli).unwrap_or_else(|error| report::failure(&error))
        }
        Err(error) => report::usage(&error),
    };
    ExitCode::from(status)
}

/// Runs one command and gives the exit status of a run that went through.
fn run(cli: Cli) -> anyhow::Result<u8> {
    let app = App::new(cli.global)?;
    match cli.command {
        Command::Token(command) => command.run(&app)?,
        Command::Key(command) => return command.run(&app),
        Command::Encrypt(args) => return args.run(&app),
        Command::Decrypt(args) => return args.run(&app),
        Command::Inspect(args) => args.run()?,
        Command::Rewrap(args) => return args.run(&app),
        Command::Reencrypt(args) => return args.run(&app),
        Command::DataKey(command) => command.run(&app)?,
        Command::Policy(command) => return command.run(&app),
        Command::Audit(command) => return command.run(&app),
        Command::Object(command) => return command.run(&app),
        Command::Ceremony(command) => return command.run(&app),
        Command::Doctor(args) => return args.run(&app),
        Command::Completions(args) => args.run()?,
        Command::Man(args) => args.run()?,
    }
    Ok(0)
}

/// Keys live in this process. Neither a crash nor another process of the same user gets at them.
/// Where the system does not allow it, the work is done all the same.
fn keep_out_of_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
