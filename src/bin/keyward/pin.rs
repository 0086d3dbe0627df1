//! PINs: from the environment, from a file, or typed at the terminal without being shown.

use keyward::token::Pin;
use keyward::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The PIN in `KEYWARD_PIN`.
pub(crate) fn from_environment() -> Option<Pin> {
    let value = std::env::var_os("KEYWARD_PIN").filter(|value| !value.is_empty())?;
    Some(Pin::new(value.into_vec()))
}

/// Whether there is a terminal to ask at.
pub(crate) fn can_ask() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Asks at the terminal, once.
pub(crate) fn ask(prompt: &str) -> Result<Pin> {
    let prompt = format!("{}: ", crate::output::one_line(prompt));
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Error::new(ErrorKind::PinRequired, "no PIN was entered").with_source(error))?;
    if typed.is_empty() {
        return Err(Error::new(ErrorKind::PinRequired, "no PIN was entered"));
    }
    Ok(Pin::new(typed.into_bytes()))
}

/// A PIN to be set: what the file holds, else what is typed twice.
pub(crate) fn new_pin(what: &str, flag: &str, file: Option<&Path>) -> Result<Pin> {
    if let Some(path) = file {
        return Pin::from_file(path);
    }
    if !can_ask() {
        return Err(Error::new(
            ErrorKind::PinRequired,
            format!("no {what} is given and there is no terminal to ask at"),
        )
        .with_hint(format!("name a file that holds it: {flag} FILE")));
    }
    let pin = ask(&format!("New {what}"))?;
    if ask(&format!("New {what} again"))? != pin {
        return Err(Error::new(ErrorKind::InvalidArgument, "the two PINs are not the same"));
    }
    Ok(pin)
}
