//! The PIN: a secret that reaches the token and nothing else.

use crate::error::{Error, ErrorKind, Result};
use cryptoki::types::{AuthPin, RawAuthPin};
use hmac::digest::Update;
use std::fmt;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// A PIN, wiped on drop and never printed. PINs are bytes: not every token's are UTF-8.
pub struct Pin(Zeroizing<Vec<u8>>);

/// No token takes a longer one; a larger file is something else.
const MAX_LEN: usize = 1024;

impl Pin {
    /// The PIN of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The PIN in a file, without one line end at its end.
    ///
    /// Logs a warning where others than the owner may read the file.
    ///
    /// # Errors
    /// `PinRequired` where the file cannot be read, is empty, or is too long for a PIN.
    pub fn from_file(path: &Path) -> Result<Self> {
        let failed = |what: &str| Error::new(ErrorKind::PinRequired, format!("{what} PIN file '{}'", path.display()));
        let file = std::fs::File::open(path).map_err(|error| failed("cannot open").with_source(error))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0) {
                tracing::warn!(path = %path.display(), "others may read this PIN file; make it 0600");
            }
        }
        // Reserved in whole, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
        file.take(MAX_LEN as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed("cannot read").with_source(error))?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        match bytes.len() {
            0 => Err(failed("empty")),
            len if len > MAX_LEN => Err(failed("too much in")),
            _ => Ok(Self(bytes)),
        }
    }

    /// Puts the PIN into a MAC.
    pub(super) fn feed(&self, mac: &mut impl Update) {
        mac.update(&self.0);
    }

    pub(super) fn expose_raw(&self) -> RawAuthPin {
        RawAuthPin::new(Box::new(self.0.to_vec()))
    }

    /// `C_InitToken` and `C_InitPIN` take text.
    pub(super) fn expose_text(&self) -> Result<AuthPin> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Ok(AuthPin::from(text)),
            Err(_) => Err(Error::new(ErrorKind::InvalidArgument, "a new PIN must be UTF-8")),
        }
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl PartialEq for Pin {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_line_without_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        for (content, pin) in [("1234", "1234"), ("1234\n", "1234"), ("12 34\r\n", "12 34"), ("1234\n\n", "1234\n")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Pin::from_file(&path).unwrap(), Pin::new(pin), "{content:?}");
        }
        for content in ["", "\n", &"1".repeat(1025)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Pin::from_file(&path).unwrap_err().kind(), ErrorKind::PinRequired);
        }
        assert!(Pin::from_file(&dir.path().join("none")).is_err());
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Pin::new("1234")), "Pin(redacted)");
    }
}
