//! PKCS#11 URIs (RFC 7512): how a token is named.

use super::pin::Pin;
use crate::error::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which token of which module, and where its PIN is, as a PKCS#11 URI (RFC 7512):
/// `pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin`.
///
/// Path attributes: `token`, `serial`, `manufacturer`, `model`. Query attributes: `module-path`,
/// `pin-source`, `pin-value`. Others are refused rather than ignored: a URI that says more than is
/// acted on would name another token than its writer meant. `slot-id` is refused because slots are
/// renumbered.
///
/// `Display` and `Debug` never show the PIN.
///
/// ```
/// use keyward::token::TokenUri;
/// let uri: TokenUri = "pkcs11:token=my%20token?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
/// assert_eq!(uri.token(), Some("my token"));
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenUri {
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    module_path: Option<PathBuf>,
    pin_source: Option<PathBuf>,
    pin_value: Option<Pin>,
}

impl TokenUri {
    /// The URI of a token of this module, by its label and its serial number.
    #[must_use]
    pub fn of(token: &super::TokenInfo, module: &Path) -> Self {
        Self {
            token: Some(token.label.clone()),
            serial: Some(token.serial.clone()),
            module_path: Some(module.to_owned()),
            ..Self::default()
        }
    }

    /// The label of the token.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The serial number of the token.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The file of the module.
    #[must_use]
    pub fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// The same URI with another module where it names none.
    #[must_use]
    pub fn or_module_path(mut self, path: Option<PathBuf>) -> Self {
        self.module_path = self.module_path.or(path);
        self
    }

    /// The file of `pin-source`.
    #[must_use]
    pub fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    /// Whether the PIN itself stands in the URI.
    #[must_use]
    pub fn has_pin_value(&self) -> bool {
        self.pin_value.is_some()
    }

    /// The PIN: `pin-value`, or what the file of `pin-source` holds.
    ///
    /// # Errors
    /// `PinRequired` where that file gives none.
    pub fn pin(&self) -> Result<Option<Pin>> {
        match (&self.pin_value, &self.pin_source) {
            (Some(pin), _) => Ok(Some(pin.clone())),
            (None, Some(path)) => Pin::from_file(path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Whether a token with these properties is one that the URI names.
    pub(super) fn matches(&self, info: &super::TokenInfo) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.token, &info.label)
            && same(&self.serial, &info.serial)
            && same(&self.manufacturer, &info.manufacturer)
            && same(&self.model, &info.model)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let text = || decode_text(name, value);
        match name {
            "token" => once(name, &mut self.token, text()?),
            "serial" => once(name, &mut self.serial, text()?),
            "manufacturer" => once(name, &mut self.manufacturer, text()?),
            "model" => once(name, &mut self.model, text()?),
            "slot-id" => Err(invalid("a token is not named by slot number: slots are renumbered")
                .with_hint("name it by label or serial: pkcs11:token=LABEL or pkcs11:serial=NUMBER")),
            _ => Err(unknown(name)),
        }
    }

    fn set_query(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "module-path" => once(name, &mut self.module_path, decode_text(name, value)?.into()),
            "pin-value" => {
                check_encoding(name, value)?;
                let pin: Vec<u8> = percent_decode_str(value).collect();
                tracing::warn!("a PIN in a URI is seen by whoever sees the command line; use pin-source=file:…");
                once(name, &mut self.pin_value, Pin::new(pin))
            }
            "pin-source" => {
                let source = decode_text(name, value)?;
                let path = source.strip_prefix("file:").unwrap_or(&source);
                let path = path.strip_prefix("//").unwrap_or(path);
                if !path.starts_with('/') {
                    return Err(invalid("pin-source is not the absolute path of a file")
                        .with_hint("write pin-source=file:/path/to/pin"));
                }
                once(name, &mut self.pin_source, path.into())
            }
            "module-name" => {
                Err(invalid("module-name is not supported").with_hint("use module-path=/path/to/module.so"))
            }
            // Not repeated: an `&` in a PIN makes an attribute of what follows.
            _ => Err(invalid("an attribute after the ? of the token URI is not supported").with_hint(SUPPORTED)),
        }
    }
}

impl FromStr for TokenUri {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let scheme_end = s.find(':').filter(|&end| s[..end].eq_ignore_ascii_case("pkcs11"));
        let Some(end) = scheme_end else {
            // The text may hold a PIN, so it is not repeated.
            return Err(invalid("a token is named by a PKCS#11 URI")
                .with_hint("as in pkcs11:token=LABEL?module-path=/path/to/module.so"));
        };
        let rest = &s[end + 1..];
        let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, query)| (path, query));
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = attribute.split_once('=').ok_or_else(not_a_pair)?;
            uri.set(name, value)?;
        }
        for attribute in query.split('&').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = attribute.split_once('=').ok_or_else(not_a_pair)?;
            uri.set_query(name, value)?;
        }
        if uri.pin_value.is_some() && uri.pin_source.is_some() {
            // RFC 7512, section 2.4.
            return Err(invalid("pin-value and pin-source exclude each other"));
        }
        Ok(uri)
    }
}

/// What the URI names, for messages: never a PIN, nor where it is.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ];
        f.write_str("pkcs11:")?;
        let mut separator = "";
        for (name, value) in attributes {
            if let Some(value) = value {
                let value = percent_encoding::utf8_percent_encode(value, PATH_RESERVED);
                write!(f, "{separator}{name}={value}")?;
                separator = ";";
            }
        }
        Ok(())
    }
}

/// What a path attribute's value may not hold as it is (RFC 7512, section 2.3, `pk11-pchar`).
const PATH_RESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'+')
    .remove(b'@');

fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        // RFC 7512, section 2.3: an attribute MUST NOT occur twice.
        return Err(invalid(format!("{name} is given twice in the token URI")));
    }
    Ok(())
}

fn decode_text(name: &str, value: &str) -> Result<String> {
    check_encoding(name, value)?;
    let text = percent_decode_str(value).decode_utf8();
    let text = text.map_err(|_| invalid(format!("{name} in the token URI is not UTF-8")))?;
    if text.contains('\0') {
        return Err(invalid(format!("{name} in the token URI holds a zero byte")));
    }
    Ok(text.into_owned())
}

/// Every `%` is followed by two hexadecimal digits.
fn check_encoding(name: &str, value: &str) -> Result<()> {
    let escapes = value.split('%').skip(1);
    let well_formed = |tail: &str| tail.len() >= 2 && tail.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if escapes.into_iter().all(well_formed) {
        return Ok(());
    }
    Err(invalid(format!("{name} in the token URI holds a % that is not followed by two hexadecimal digits")))
}

fn not_a_pair() -> Error {
    invalid("the token URI holds an attribute without '='")
}

const SUPPORTED: &str = "supported: token, serial, manufacturer, model; then ? and module-path, pin-source, pin-value (an & in a PIN is %26)";

fn unknown(name: &str) -> Error {
    invalid(format!("'{}' in the token URI is not supported", name.escape_debug())).with_hint(SUPPORTED)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(s: &str) -> Result<TokenUri> {
        s.parse()
    }

    #[test]
    fn all_attributes() {
        let uri = parse(
            "pkcs11:token=The%20Software%20PKCS%2311;manufacturer=Snake%20Oil,%20Inc.;serial=1;model=1.0\
             ?module-path=/usr/lib/p%26q.so&pin-source=file:/etc/token_pin",
        )
        .unwrap();
        assert_eq!(uri.token(), Some("The Software PKCS#11"));
        assert_eq!(uri.manufacturer.as_deref(), Some("Snake Oil, Inc."));
        assert_eq!(uri.serial(), Some("1"));
        assert_eq!(uri.model.as_deref(), Some("1.0"));
        assert_eq!(uri.module_path(), Some(Path::new("/usr/lib/p&q.so")));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("/etc/token_pin")));
        assert_eq!(
            uri.to_string(),
            "pkcs11:token=The%20Software%20PKCS%2311;serial=1;manufacturer=Snake%20Oil%2C%20Inc.;model=1.0"
        );
        assert_eq!(parse("pkcs11:").unwrap(), TokenUri::default());
        assert_eq!(parse("PKCS11:?pin-source=file:///p").unwrap().pin_source.as_deref(), Some(Path::new("/p")));
    }

    #[test]
    fn refused() {
        for (bad, why) in [
            ("", "PKCS#11 URI"),
            ("token=x", "PKCS#11 URI"),
            ("pkcs11:token", "without '='"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:slot-id=0", "slot number"),
            ("pkcs11:object=x", "not supported"),
            ("pkcs11:token=%2", "two hexadecimal"),
            ("pkcs11:token=%zz", "two hexadecimal"),
            ("pkcs11:token=%é1", "two hexadecimal"),
            ("pkcs11:token=%ff", "not UTF-8"),
            ("pkcs11:token=a%00", "zero byte"),
            ("pkcs11:token=a?pin-value=1&pin-source=file:/p", "exclude"),
            ("pkcs11:token=a?pin-source=relative", "absolute"),
            ("pkcs11:token=a?pin-source=http://x", "absolute"),
            ("pkcs11:token=a?x=y", "not supported"),
        ] {
            let error = parse(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn the_pin_never_shows() {
        let uri = parse("pkcs11:token=a?pin-value=s%65cret").unwrap();
        assert_eq!(uri.pin().unwrap(), Some(Pin::new("secret")));
        assert!(!format!("{uri:?} {uri}").contains("ecret"));
    }
}
