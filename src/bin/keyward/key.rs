//! `keyward key`: the life of a master key.

mod destroy;
pub(crate) mod destroyed;
mod expire;
pub(crate) mod listing;
mod managed;
mod prove;
mod rotate;
mod usage;
mod used_in;

use self::listing::{KeyJson, done, list, show};
use self::managed::Managed;
use crate::app::App;
use crate::args::{Format, KeyPattern, KeySpec};
use crate::output::{self, print_json, print_line};
use clap::{Subcommand, ValueEnum};
use keyward::key::{AlgorithmChoice, PublicKey};
use keyward::{Error, ErrorKind, KeyAdmin, KeyName, WrappingAlgorithm};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a master key
    ///
    /// Where many do it at once, one succeeds and the others are told that the key exists.
    #[command(after_help = "Examples:
  keyward key create payments
  keyward key create mailbox --algorithm rsa-oaep    # hosts without a token can encrypt to it")]
    Create {
        /// 1 to 64 of A-Z a-z 0-9 . _ / -
        name: KeyName,
        /// How it wraps data keys; auto is aes-gcm where the token has it, else aes-kw
        #[arg(long, value_enum, default_value_t = Algorithm::Auto)]
        algorithm: Algorithm,
        #[command(flatten)]
        managed: Managed,
        #[command(flatten)]
        format: Format,
    },
    /// List all versions of all keys
    List {
        /// List the keys whose versions were all destroyed instead
        #[arg(long)]
        destroyed: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Show all versions of one key, or one version
    Show {
        /// The key
        #[arg(value_name = "NAME[:VERSION]")]
        key: KeyPattern,
        #[command(flatten)]
        format: Format,
    },
    Prove(prove::Prove),
    Rotate(rotate::Rotate),
    /// Forbid one version every use, until it is enabled again
    Disable {
        /// The version
        #[arg(value_name = "NAME:VERSION")]
        key: KeySpec,
        #[command(flatten)]
        managed: Managed,
        #[command(flatten)]
        format: Format,
    },
    /// Allow a disabled version again what it may do; a scheduled destruction is cancelled
    Enable {
        /// The version
        #[arg(value_name = "NAME:VERSION")]
        key: KeySpec,
        #[command(flatten)]
        format: Format,
    },
    Destroy(destroy::Destroy),
    Expire(expire::Expire),
    Usage(usage::Usage),
    /// Take over a key that another tool made
    ///
    /// Checks its attributes, narrows its usage where the token allows it, and says what is not as it should be.
    Adopt {
        /// The key's label on the token: NAME or NAME:VERSION
        label: String,
        #[command(flatten)]
        managed: Managed,
        #[command(flatten)]
        format: Format,
    },
    /// Print the public half of an RSA key, for hosts without a token
    #[command(after_help = "Example:
  keyward key public mailbox > mailbox.pub
  keyward encrypt --recipient mailbox.pub letter.txt -o letter.kw       # on another host

The fingerprint is told on stderr. Compare it over another channel with that of the copy:
  keyward key fingerprint mailbox.pub")]
    Public {
        /// The key
        name: KeyName,
        #[command(flatten)]
        managed: Managed,
    },
    /// Print the fingerprint of a public key file; needs no token
    Fingerprint {
        /// What `keyward key public` printed
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Algorithm {
    Auto,
    AesGcm,
    AesKw,
    RsaOaep,
    #[value(name = "rsa-oaep-sha1")]
    RsaOaepSha1,
}

impl From<Algorithm> for AlgorithmChoice {
    fn from(algorithm: Algorithm) -> Self {
        Self::Exactly(match algorithm {
            Algorithm::Auto => return Self::Auto,
            Algorithm::AesGcm => WrappingAlgorithm::AesGcm,
            Algorithm::AesKw => WrappingAlgorithm::AesKw,
            Algorithm::RsaOaep => WrappingAlgorithm::RsaOaep,
            Algorithm::RsaOaepSha1 => WrappingAlgorithm::RsaOaepSha1,
        })
    }
}

impl KeyCommand {
    /// Runs one, and gives the exit status of a run that went through.
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        // For all of them, before a token is opened.
        self.key_name().map_or(Ok(()), |name| app.check_allowed(&name))?;
        match self {
            Self::Create { name, algorithm, managed, format } => {
                managed.allow_name(&name)?;
                done("created", &app.provider()?.create_key(&name, algorithm.into())?, format)?;
            }
            Self::List { destroyed: false, format } => list(app, format)?,
            Self::List { destroyed: true, format } => destroyed::list(app, format)?,
            Self::Show { key, format } => show(app, &key, format)?,
            Self::Prove(args) => return args.run(app),
            Self::Rotate(args) => args.run(app)?,
            Self::Disable { key, managed, format } => {
                managed.allow(&key.name, "disabled")?;
                done("disabled", &app.provider()?.disable_key(&key.name, key.version)?, format)?;
            }
            Self::Enable { key, format } => {
                done("enabled", &app.provider()?.enable_key(&key.name, key.version)?, format)?;
            }
            Self::Destroy(args) => args.run(app)?,
            Self::Expire(args) => return args.run(app),
            Self::Usage(args) => args.run(app)?,
            Self::Adopt { label, managed, format } => {
                if let Ok(pattern) = label.parse::<KeyPattern>() {
                    managed.allow_name(&pattern.name)?;
                }
                adopt(app, &label, format)?;
            }
            Self::Public { name, managed } => {
                managed.allow(&name, "exported")?;
                public(app, &name)?;
            }
            Self::Fingerprint { file } => print_line(&read_public(&file)?.fingerprint()?)?,
        }
        Ok(0)
    }
}

impl KeyCommand {
    /// The key of the token that the command names.
    fn key_name(&self) -> Option<KeyName> {
        Some(match self {
            Self::Create { name, .. } | Self::Public { name, .. } => name.clone(),
            Self::Show { key, .. } => key.name.clone(),
            Self::Disable { key, .. } | Self::Enable { key, .. } => key.name.clone(),
            Self::Prove(args) => args.key_name().clone(),
            Self::Rotate(args) => args.key_name().clone(),
            Self::Destroy(args) => args.key_name().clone(),
            Self::Usage(args) => args.key_name().clone(),
            // A label that is no key's name is refused later.
            Self::Adopt { label, .. } => label.parse::<KeyPattern>().ok()?.name,
            Self::List { .. } | Self::Expire(_) | Self::Fingerprint { .. } => return None,
        })
    }
}

fn adopt(app: &App, label: &str, format: Format) -> anyhow::Result<()> {
    let adoption = app.provider()?.adopt_key(label)?;
    if format.json {
        return print_json(&AdoptionJson {
            key: KeyJson::new(&adoption.key),
            changes: &adoption.changes,
            warnings: &adoption.warnings,
        });
    }
    for change in &adoption.changes {
        app.note(change);
    }
    for warning in &adoption.warnings {
        output::say("warning", warning);
    }
    done("adopted", &adoption.key, format)
}

fn public(app: &App, name: &KeyName) -> anyhow::Result<()> {
    let key = app.provider()?.public_key(name)?;
    output::print(&key.to_text()?)?;
    app.note(&format!("fingerprint {}", key.fingerprint()?));
    Ok(())
}

/// Reads a public key file.
pub(crate) fn read_public(path: &Path) -> anyhow::Result<PublicKey> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the public key '{}'", path.display())).with_source(error)
    })?;
    PublicKey::parse(&text).map_err(|error| anyhow::Error::from(error).context(path.display().to_string()))
}

#[derive(Serialize)]
struct AdoptionJson<'a> {
    key: KeyJson<'a>,
    changes: &'a [String],
    warnings: &'a [String],
}
