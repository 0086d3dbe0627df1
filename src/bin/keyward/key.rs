//! `keyward key`: the life of a master key.

use crate::app::App;
use crate::args::{Format, KeyPattern, KeySpec};
use crate::output::{self, count, print_fields, print_json, print_line, print_table};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use keyward::key::{AlgorithmChoice, KeyDescription, KeyState, PublicKey};
use keyward::{Error, ErrorKind, KeyAdmin, KeyName, WrappingAlgorithm};
use serde::Serialize;
use std::io::{IsTerminal, Write};
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
        format: Format,
    },
    /// List all versions of all keys
    List {
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
    /// Make the next version of a key; the older ones only open files from then on
    #[command(after_help = "Example:
  keyward key rotate payments
  keyward rewrap --key payments *.kw       # moves files to the new version

The older versions stay on the token until `keyward key destroy`.")]
    Rotate {
        /// The key
        name: KeyName,
        #[command(flatten)]
        format: Format,
    },
    /// Forbid one version every use, until it is enabled again
    Disable {
        /// The version
        #[arg(value_name = "NAME:VERSION")]
        key: KeySpec,
        #[command(flatten)]
        format: Format,
    },
    /// Allow a disabled version again what it may do
    Enable {
        /// The version
        #[arg(value_name = "NAME:VERSION")]
        key: KeySpec,
        #[command(flatten)]
        format: Format,
    },
    /// Destroy one version for good; what it alone protects is lost
    Destroy {
        /// The version
        #[arg(value_name = "NAME:VERSION")]
        key: KeySpec,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take over a key that another tool made
    ///
    /// Checks its attributes, narrows its usage where the token allows it, and says what is not as it should be.
    Adopt {
        /// The key's label on the token: NAME or NAME:VERSION
        label: String,
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
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Create { name, algorithm, format } => {
                app.check_allowed(&name)?;
                done("created", &app.provider()?.create_key(&name, algorithm.into())?, format)
            }
            Self::List { format } => list(app, format),
            Self::Show { key, format } => show(app, &key, format),
            Self::Rotate { name, format } => {
                done("rotated; current is", &app.provider()?.rotate_key(&name, None)?, format)
            }
            Self::Disable { key, format } => {
                done("disabled", &app.provider()?.disable_key(&key.name, key.version)?, format)
            }
            Self::Enable { key, format } => {
                done("enabled", &app.provider()?.enable_key(&key.name, key.version)?, format)
            }
            Self::Destroy { key, yes } => destroy(app, &key, yes),
            Self::Adopt { label, format } => adopt(app, &label, format),
            Self::Public { name } => public(app, &name),
            Self::Fingerprint { file } => Ok(print_line(&read_public(&file)?.fingerprint()?)?),
        }
    }
}

/// Tells what was done to a key.
fn done(what: &str, key: &KeyDescription, format: Format) -> anyhow::Result<()> {
    if format.json {
        return print_json(&KeyJson::new(key));
    }
    let KeyDescription { algorithm, state, kek_id, .. } = key;
    Ok(print_line(&format!("{what} {} ({algorithm}, {state}, KEK id {kek_id})", key.label()))?)
}

fn list(app: &App, format: Format) -> anyhow::Result<()> {
    let keys = app.provider()?.list_keys()?;
    if format.json {
        return print_json(&keys.iter().map(KeyJson::new).collect::<Vec<_>>());
    }
    if keys.is_empty() {
        app.note("there is no key on this token; `keyward key create NAME` makes one");
        return Ok(());
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.label(),
                key.algorithm.to_string(),
                key.state.to_string(),
                created(key).unwrap_or_else(|| "-".into()),
                key.kek_id.to_string(),
                remarks(key),
            ]
        })
        .collect();
    print_table(["KEY", "ALGORITHM", "STATE", "CREATED", "KEK ID", "REMARKS"], &rows)?;
    for key in &keys {
        for problem in &key.problems {
            output::say("warning", &format!("key '{}' is not used: {problem}", key.label()));
        }
    }
    Ok(())
}

fn remarks(key: &KeyDescription) -> String {
    let mut remarks = Vec::new();
    if key.provenance != keyward::key::Provenance::Generated {
        remarks.push(key.provenance.to_string());
    }
    if !key.enforced_by_token {
        remarks.push("not enforced by the token".into());
    }
    if !key.problems.is_empty() {
        remarks.push(count(key.problems.len(), "problem"));
    }
    remarks.join(", ")
}

fn show(app: &App, wanted: &KeyPattern, format: Format) -> anyhow::Result<()> {
    let mut keys = app.provider()?.list_keys()?;
    keys.retain(|key| key.name == wanted.name && wanted.version.is_none_or(|version| version == key.version));
    if keys.is_empty() {
        let what = wanted.version.map_or_else(|| wanted.name.to_string(), |v| format!("{}:{v}", wanted.name));
        return Err(Error::new(ErrorKind::KeyNotFound, format!("there is no key '{what}'"))
            .with_hint("`keyward key list` shows those that there are")
            .into());
    }
    if format.json {
        return print_json(&keys.iter().map(KeyJson::new).collect::<Vec<_>>());
    }
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            output::print("\n")?;
        }
        let mut fields = vec![
            ("key", key.label()),
            ("algorithm", key.algorithm.to_string()),
            ("state", key.state.to_string()),
            ("enforced by", if key.enforced_by_token { "the token" } else { "Keyward alone" }.into()),
            ("KEK id", key.kek_id.to_string()),
            ("provenance", key.provenance.to_string()),
            ("created", created(key).unwrap_or_else(|| "not recorded".into())),
        ];
        fields.extend(key.problems.iter().map(|problem| ("problem", problem.clone())));
        print_fields(&fields)?;
    }
    Ok(())
}

fn destroy(app: &App, key: &KeySpec, yes: bool) -> anyhow::Result<()> {
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("nothing is destroyed: nobody confirmed '{key}'"))
            .with_hint("at a terminal you are asked; in a script, add --yes")
            .into());
    }
    let provider = app.provider()?;
    let all = provider.list_keys()?;
    let found = all.iter().find(|one| one.name == key.name && one.version == key.version);
    let found = found.ok_or_else(|| Error::new(ErrorKind::KeyNotFound, format!("there is no key '{key}'")))?;
    if !yes {
        confirm(found)?;
    }
    provider.destroy_key(&key.name, key.version)?;
    Ok(print_line(&format!("destroyed {key} (KEK id {})", found.kek_id))?)
}

fn confirm(key: &KeyDescription) -> anyhow::Result<()> {
    let label = key.label();
    output::say("warning", &format!("files that '{label}' alone protects can never be read again"));
    if key.state == KeyState::Active {
        output::say("warning", &format!("'{label}' is in use: new files are protected with it"));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Type {label} to destroy it: ")?;
    err.flush()?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != label {
        return Err(anyhow::anyhow!("nothing is destroyed: '{}' is not '{label}'", typed.trim()));
    }
    Ok(())
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

fn created(key: &KeyDescription) -> Option<String> {
    Some(Timestamp::try_from(key.created?).ok()?.to_string())
}

#[derive(Serialize)]
struct KeyJson<'a> {
    name: &'a str,
    version: u32,
    kek_id: String,
    algorithm: &'static str,
    state: &'static str,
    enforced_by_token: bool,
    provenance: &'static str,
    created: Option<String>,
    problems: &'a [String],
}

impl<'a> KeyJson<'a> {
    fn new(key: &'a KeyDescription) -> Self {
        Self {
            name: key.name.as_str(),
            version: key.version.get(),
            kek_id: key.kek_id.to_string(),
            algorithm: key.algorithm.name(),
            state: key.state.name(),
            enforced_by_token: key.enforced_by_token,
            provenance: key.provenance.name(),
            created: created(key),
            problems: &key.problems,
        }
    }
}

#[derive(Serialize)]
struct AdoptionJson<'a> {
    key: KeyJson<'a>,
    changes: &'a [String],
    warnings: &'a [String],
}
