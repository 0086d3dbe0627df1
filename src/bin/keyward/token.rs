//! `keyward token`: what tokens there are, what one can do, and a new one.

use crate::app::App;
use crate::args::Format;
use crate::output::{print_fields, print_json, print_line, print_table, yes_no};
use crate::pin::new_pin;
use crate::softhsm;
use clap::Subcommand;
use keyward::token::{Capabilities, Module, TokenInfo, TokenInit};
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List the tokens of a module; needs no PIN
    #[command(after_help = "Example:\n  keyward token list --module /usr/lib/softhsm/libsofthsm2.so")]
    List {
        /// The PKCS#11 module, where the token URI names none
        #[arg(long, value_name = "PATH")]
        module: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Show one token and what it can do; needs no PIN
    Info {
        #[command(flatten)]
        format: Format,
    },
    /// Initialize a blank token and set its PINs
    ///
    /// Takes the first token that is not initialized. One that is holds keys, and is not touched without
    /// --danger-erase.
    #[command(after_help = "Example:
  keyward token init --label demo --module /usr/lib/softhsm/libsofthsm2.so

Without files the PINs are asked for at the terminal, each twice.")]
    Init {
        /// The name of the new token, at most 32 bytes
        #[arg(long)]
        label: String,
        /// The PKCS#11 module, where the token URI names none
        #[arg(long, value_name = "PATH")]
        module: Option<PathBuf>,
        /// A file with the security officer's PIN
        #[arg(long, value_name = "FILE")]
        so_pin_file: Option<PathBuf>,
        /// A file with the user's PIN
        #[arg(long, value_name = "FILE")]
        pin_file: Option<PathBuf>,
        /// Destroy all that is on the initialized token with this serial number, and initialize it anew
        #[arg(long, value_name = "SERIAL")]
        danger_erase: Option<String>,
    },
}

impl TokenCommand {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::List { module, format } => {
                let module = load(app, module)?;
                list(&module, format)
            }
            Self::Info { format } => info(app, format),
            Self::Init { label, module, so_pin_file, pin_file, danger_erase } => {
                let module = load(app, module)?;
                let so_pin = new_pin("security officer's PIN", "--so-pin-file", so_pin_file.as_deref())?;
                let pin = new_pin("user PIN", "--pin-file", pin_file.as_deref())?;
                let mut init = TokenInit::new(label, so_pin).user_pin(pin);
                if let Some(serial) = danger_erase {
                    init = init.danger_erase(serial);
                }
                let token = module.initialize(&init)?;
                print_line(&format!("initialized token '{}', serial {}", token.label, token.serial))?;
                app.note(&format!("`keyward token list` shows it; name it by pkcs11:serial={}?…", token.serial));
                Ok(())
            }
        }
    }
}

/// The module of `--module`, else of the URI.
fn load(app: &App, path: Option<PathBuf>) -> anyhow::Result<Arc<Module>> {
    let path = match path {
        Some(path) => Some(path),
        None => app.uri_if_named()?.and_then(|uri| uri.module_path().map(ToOwned::to_owned)),
    };
    let path = path.ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "no module is named")
            .with_hint("give --module PATH, as in --module /usr/lib/softhsm/libsofthsm2.so")
    })?;
    Ok(softhsm::load(&path)?)
}

fn list(module: &Module, format: Format) -> anyhow::Result<()> {
    let tokens = module.tokens()?;
    if format.json {
        return print_json(&tokens.iter().map(TokenJson::new).collect::<Vec<_>>());
    }
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            let state = if token.initialized { pin_state(token) } else { "not initialized".into() };
            let label = if token.initialized { &token.label } else { "" };
            [label.to_owned(), token.serial.clone(), token.manufacturer.clone(), token.model.clone(), state]
        })
        .collect();
    Ok(print_table(["LABEL", "SERIAL", "MANUFACTURER", "MODEL", "STATE"], &rows)?)
}

fn pin_state(token: &TokenInfo) -> String {
    match token {
        TokenInfo { pin_locked: true, .. } => "PIN locked",
        TokenInfo { pin_final_try: true, .. } => "one try left for the PIN",
        TokenInfo { pin_count_low: true, .. } => "a wrong PIN was entered",
        _ => "ready",
    }
    .to_owned()
}

fn info(app: &App, format: Format) -> anyhow::Result<()> {
    let uri = app.uri()?;
    let module = load(app, None)?;
    let token = module.find(&uri)?;
    let able = module.capabilities(&token)?;
    if format.json {
        return print_json(&InfoJson { token: TokenJson::new(&token), capabilities: CapabilitiesJson::new(&able) });
    }
    Ok(print_fields(&[
        ("label", token.label.clone()),
        ("serial", token.serial.clone()),
        ("manufacturer", token.manufacturer.clone()),
        ("model", token.model.clone()),
        ("firmware", token.firmware.clone()),
        ("hardware", token.hardware.clone()),
        ("module", module.path().display().to_string()),
        ("state", pin_state(&token)),
        ("login required", yes_no(token.login_required)),
        ("PIN pad", yes_no(token.pin_pad)),
        ("write-protected", yes_no(token.write_protected)),
        ("sessions", token.max_sessions.map_or_else(|| "no limit stated".into(), |max| format!("at most {max}"))),
        ("aes-gcm keys", yes_no(able.aes_gcm)),
        ("aes-kw keys", yes_no(able.aes_kw)),
        ("rsa-oaep keys", yes_no(able.rsa_oaep)),
        ("mechanisms", able.mechanisms.join(" ")),
    ])?)
}

#[derive(Serialize)]
struct TokenJson<'a> {
    label: &'a str,
    serial: &'a str,
    manufacturer: &'a str,
    model: &'a str,
    firmware: &'a str,
    hardware: &'a str,
    slot: u64,
    initialized: bool,
    login_required: bool,
    pin_pad: bool,
    pin_count_low: bool,
    pin_final_try: bool,
    pin_locked: bool,
    write_protected: bool,
    max_sessions: Option<u64>,
}

impl<'a> TokenJson<'a> {
    fn new(token: &'a TokenInfo) -> Self {
        Self {
            label: &token.label,
            serial: &token.serial,
            manufacturer: &token.manufacturer,
            model: &token.model,
            firmware: &token.firmware,
            hardware: &token.hardware,
            slot: token.slot_id(),
            initialized: token.initialized,
            login_required: token.login_required,
            pin_pad: token.pin_pad,
            pin_count_low: token.pin_count_low,
            pin_final_try: token.pin_final_try,
            pin_locked: token.pin_locked,
            write_protected: token.write_protected,
            max_sessions: token.max_sessions,
        }
    }
}

#[derive(Serialize)]
struct InfoJson<'a> {
    #[serde(flatten)]
    token: TokenJson<'a>,
    capabilities: CapabilitiesJson<'a>,
}

#[derive(Serialize)]
struct CapabilitiesJson<'a> {
    aes_gcm: bool,
    aes_kw: bool,
    rsa_oaep: bool,
    mechanisms: &'a [String],
}

impl<'a> CapabilitiesJson<'a> {
    fn new(able: &'a Capabilities) -> Self {
        Self { aes_gcm: able.aes_gcm, aes_kw: able.aes_kw, rsa_oaep: able.rsa_oaep, mechanisms: &able.mechanisms }
    }
}
