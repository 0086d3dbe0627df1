//! What stands on every command line, and what several commands share.

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use keyward::{EncryptionContext, Error, ErrorKind, KeyName, KeyVersion};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use tracing_subscriber::filter::LevelFilter;

/// Envelope encryption under master keys that never leave a PKCS#11 token.
///
/// Each file gets a data key of its own. A master key on the token wraps it, and the wrapped key
/// is stored with the file. The token sees 32 bytes per file; this host encrypts the rest.
#[derive(Debug, Parser)]
#[command(
    name = "keyward",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    infer_subcommands = false,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    after_long_help = LONG_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line of this process.
    pub(crate) fn read() -> std::result::Result<Self, clap::Error> {
        Self::read_from(std::env::args_os())
    }

    fn read_from(args: impl IntoIterator<Item = OsString>) -> std::result::Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(args)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        // A global option has its source wherever it stands.
        cli.global.token_is_given = matches.value_source("token") == Some(ValueSource::CommandLine);
        Ok(cli)
    }
}

const EXAMPLES: &str = "\
Examples:
  export KEYWARD_TOKEN='pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so'
  keyward key create payments
  keyward encrypt --key payments --context tenant=acme report.pdf -o report.pdf.kw
  keyward decrypt --context tenant=acme report.pdf.kw -o report.pdf

'keyward --help' says more, 'keyward COMMAND --help' about one command.";

const LONG_HELP: &str = "\
Examples:
  export KEYWARD_TOKEN='pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so'
  keyward key create payments
  keyward encrypt --key payments --context tenant=acme report.pdf -o report.pdf.kw
  keyward decrypt --context tenant=acme report.pdf.kw -o report.pdf
  keyward key rotate payments
  keyward rewrap --key payments report.pdf.kw
  keyward encrypt --key payments -r records --output-dir /backup

Many files:
  encrypt, decrypt, rewrap and reencrypt take several files, and with -r directories. What fails is told and keeps
  nothing else from being done; the exit status is 1 then. Where the token goes away the run ends early, with 5. The
  same command again goes on with what is not done yet: an output has its name only once it is whole and on the disk.
  What .NAME.XXXXXX.keyward-tmp a killed run leaves is never taken for a file; the next run over many files removes it
  from where its own results go, unless somebody is still writing it. Where stderr is no terminal, a line every ten
  seconds tells how far the run is.

  On a token that is far away, most of the time goes into asking it for each file. With --cache-data-keys, encrypt
  gives one data key to up to 1,000 files of the run that are smaller than 1 GiB, and decrypt and reencrypt ask once
  for each data key. Files that share a data key are all open to whoever gets that. Policies are asked, and the audit
  log is written, for each file all the same. What reencrypt writes has data keys of its own, always.

The PIN:
  Taken from pin-source in the token URI, else from KEYWARD_PIN, else asked for at the terminal.
  A file of mode 0600, named by pin-source, is best: what is in the environment can be read in
  /proc by this user and root. A PIN that the token refuses is not tried again.

Configuration file (TOML), every line of it optional:
  token = \"pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so\"
  keys = [\"payments\"]             # the only master keys that may be used
  max_sessions = 16
  session_timeout_seconds = 30    # how long to wait for a session, or for a token that went away
  call_timeout_seconds = 10       # how long a token may take to answer one call; no limit where not set
  max_gcm_wraps = 1000000         # this host's share of the 2^32 wraps of one AES-GCM key version
  policy = \"policies.cedar\"       # who may do what: a file, or a directory of *.cedar; beside this file
  In place of one token, several that serve together while one of them is down:
  tokens = [\"pkcs11:token=berlin?…\", \"pkcs11:token=paris?…\"]
  failover = \"siblings\"           # each has keys of its own; or \"replicas\", clones with the same keys
  require_siblings = 1            # so many at least must wrap what is encrypted
  How much --cache-data-keys keeps, which it does only where it is given:
  [cache]
  max_age_seconds = 300           # how old a data key may become, at most a day
  max_messages = 1000             # how many files it encrypts, at most 32768; with 1, each has its own
  max_keys = 1000                 # how many are kept in memory
  The audit log, at the end of the file:
  [audit]
  log = \"/var/log/keyward/audit.log\"
  The table [object] is for stores of objects; `keyward object --help` says what is in it.

Exit status:
  0  done
  1  failed: no such key, key or output exists, input or output trouble
  2  wrong usage
  3  refused by a policy
  4  not an envelope, or not authentic, or of another encryption context; an audit log or a
     ceremony's bundle that was changed, or a token that is not as the bundle tells
  5  token or module unavailable
  6  PIN missing, wrong or locked";

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The token, as a PKCS#11 URI
    #[arg(
        long,
        value_name = "URI",
        global = true,
        env = "KEYWARD_TOKEN",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) token: Option<String>,
    /// Whether the token stands on this command line, and not in the environment.
    #[arg(skip)]
    pub(crate) token_is_given: bool,
    /// A configuration file; none is searched for
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "KEYWARD_CONFIG",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Say nothing but errors: no notes, warnings or progress, nor what became of each file
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

impl Global {
    pub(crate) fn level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List, describe and initialize tokens
    #[command(subcommand)]
    Token(crate::token::TokenCommand),
    /// Make, list, rotate and destroy master keys
    #[command(subcommand)]
    Key(crate::key::KeyCommand),
    Encrypt(crate::encrypt::Encrypt),
    Decrypt(crate::decrypt::Decrypt),
    Inspect(crate::inspect::Inspect),
    Rewrap(crate::rewrap::Rewrap),
    Reencrypt(crate::reencrypt::Reencrypt),
    /// Data keys for scripts and other programs, as JSON
    #[command(subcommand)]
    DataKey(crate::data_key::DataKeyCommand),
    /// Check and try out policies: who may do what with which key; needs no token
    #[command(subcommand)]
    Policy(crate::policy::PolicyCommand),
    /// The log of what was asked of keys: verify it, show it, sign it
    #[command(subcommand)]
    Audit(crate::audit::AuditCommand),
    /// Make master keys in front of witnesses, and prove years later how: plan, script, sign, verify
    #[command(subcommand)]
    Ceremony(crate::ceremony::CeremonyCommand),
    #[command(subcommand)]
    Object(crate::object::ObjectCommand),
    Doctor(crate::doctor::Doctor),
    /// Print a completion script for a shell
    Completions(crate::manual::Completions),
    /// Write the manual pages into a directory
    Man(crate::manual::Man),
}

/// Where a listing may also be JSON.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--context KEY=VALUE`.
#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    /// A pair of the encryption context, which is authenticated but not secret; repeatable
    #[arg(long = "context", short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    pairs: Vec<(String, String)>,
}

impl ContextArgs {
    pub(crate) fn is_given(&self) -> bool {
        !self.pairs.is_empty()
    }

    pub(crate) fn to_context(&self) -> keyward::Result<EncryptionContext> {
        EncryptionContext::from_pairs(self.pairs.iter().cloned())
    }
}

pub(crate) fn parse_pair(s: &str) -> keyward::Result<(String, String)> {
    let (key, value) = s.split_once('=').ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "a context pair has no '='")
            .with_hint("write --context KEY=VALUE, as in --context tenant=acme")
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `NAME:VERSION`.
#[derive(Clone, Debug)]
pub(crate) struct KeySpec {
    pub(crate) name: KeyName,
    pub(crate) version: KeyVersion,
}

impl FromStr for KeySpec {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let (name, version) = s.split_once(':').ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' names no version", s.escape_debug()))
                .with_hint("write NAME:VERSION, as in payments:2")
        })?;
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl std::fmt::Display for KeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

/// `NAME` or `NAME:VERSION`.
#[derive(Clone, Debug)]
pub(crate) struct KeyPattern {
    pub(crate) name: KeyName,
    pub(crate) version: Option<KeyVersion>,
}

impl FromStr for KeyPattern {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let (name, version) = s.split_once(':').map_or((s, None), |(name, version)| (name, Some(version)));
        Ok(Self { name: name.parse()?, version: version.map(str::parse).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_given_wherever_it_stands_on_the_command_line() {
        let read = |line: &str| Cli::read_from(line.split(' ').map(OsString::from)).unwrap().global;
        for given in ["keyward --token pkcs11:token=a key list", "keyward key list --token pkcs11:token=a"] {
            let global = read(given);
            assert_eq!((global.token.as_deref(), global.token_is_given), (Some("pkcs11:token=a"), true), "{given}");
        }
        // What the environment says is tested from outside.
        assert!(!read("keyward key list").token_is_given);
    }

    #[test]
    fn keys_and_versions() {
        let spec: KeySpec = "a/b:2".parse().unwrap();
        assert_eq!(spec.to_string(), "a/b:2");
        for bad in ["a", "a:", ":1", "a:0", "a:1:2", "a b:1"] {
            assert!(bad.parse::<KeySpec>().is_err(), "{bad}");
        }
        assert_eq!("a".parse::<KeyPattern>().unwrap().version, None);
        assert!("a:x".parse::<KeyPattern>().is_err());
    }

    #[test]
    fn context_pairs_split_at_the_first_sign() {
        assert_eq!(parse_pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(parse_pair("a=").unwrap(), ("a".into(), String::new()));
        assert!(parse_pair("a").is_err());
    }
}
