//! `keyward data-key`: data keys for other programs, as JSON with base64.

use crate::app::{App, Wants};
use crate::args::ContextArgs;
use crate::output::print_secret;
use base64ct::{Base64, Encoding};
use clap::Subcommand;
use keyward::{DataKey, DataKeyLength, Error, ErrorKind, KeyName, KeyProvider, WrappedKey, WrappedKeys};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::io::Read;
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub(crate) enum DataKeyCommand {
    /// Make a data key: print it, and the same wrapped
    ///
    /// The answer is {"plaintext": BASE64, "wrapped_keys": [BASE64]}. Keep the wrapped keys; forget the plaintext
    /// as soon as it is used.
    #[command(after_help = "Example:
  keyward data-key generate --key payments --context table=cards | jq '{wrapped_keys}' > cards.key")]
    Generate {
        /// The master key
        #[arg(long, short, value_name = "NAME")]
        key: KeyName,
        #[command(flatten)]
        context: ContextArgs,
        /// The length in bytes: 16 or 32
        #[arg(long, value_name = "BYTES", default_value = "32", value_parser = parse_length)]
        length: DataKeyLength,
    },
    /// Recover a data key from the JSON on standard input
    ///
    /// Reads what `generate` printed, with or without "plaintext", and answers {"plaintext": BASE64}.
    #[command(after_help = "Example:\n  keyward data-key unwrap --context table=cards < cards.key")]
    Unwrap {
        /// Only this master key may open it; needed for RSA keys; repeatable
        #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
        key: Vec<KeyName>,
        #[command(flatten)]
        context: ContextArgs,
    },
    /// Wrap a data key that another program made
    ///
    /// Reads {"plaintext": BASE64} from standard input, as `generate` and `unwrap` print it, and answers
    /// {"wrapped_keys": [BASE64]}.
    #[command(after_help = "Example, the same data key under another master key:
  keyward data-key unwrap --context table=cards < cards.key |
      keyward data-key wrap --key archive --context table=cards > archive.key")]
    Wrap {
        /// The master key
        #[arg(long, short, value_name = "NAME")]
        key: KeyName,
        #[command(flatten)]
        context: ContextArgs,
    },
}

fn parse_length(s: &str) -> keyward::Result<DataKeyLength> {
    s.parse()
        .ok()
        .and_then(DataKeyLength::from_bytes)
        .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "a data key is 16 or 32 bytes long"))
}

/// 16 wrapped keys under the longest RSA keys, in base64, with room to spare.
const MAX_INPUT: usize = 64 * 1024;

impl DataKeyCommand {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Generate { key, context, length } => {
                let context = context.to_context()?;
                let (data_key, wrapped) = app.provider()?.generate_data_key(&key, &context, length)?;
                Ok(print_secret(&to_json(Some(&data_key), Some(&wrapped)))?)
            }
            Self::Unwrap { key, context } => {
                let context = context.to_context()?;
                let wrapped = wrapped_in(&read(std::io::stdin().lock())?)?;
                let provider = app.provider_for(Wants { keys: &key, ..Wants::default() })?;
                let data_key = provider.unwrap_data_key(&wrapped, &context)?;
                Ok(print_secret(&to_json(Some(&data_key), None))?)
            }
            Self::Wrap { key, context } => {
                let context = context.to_context()?;
                let data_key = plaintext_in(&read(std::io::stdin().lock())?)?;
                let wrapped = app.provider()?.wrap_data_key(&key, &context, &data_key)?;
                Ok(print_secret(&to_json(None, Some(&wrapped)))?)
            }
        }
    }
}

/// The answer, built in one buffer that is wiped and never grows. Base64 needs no escaping.
fn to_json(data_key: Option<&DataKey>, wrapped: Option<&WrappedKeys>) -> Zeroizing<String> {
    let mut json = Zeroizing::new(String::with_capacity(2 * MAX_INPUT));
    let mut next = '{';
    if let Some(data_key) = data_key {
        let mut base64 = Zeroizing::new([0; 64]);
        let plaintext = Base64::encode(data_key.expose_secret(), &mut *base64).unwrap_or_default();
        json.push(next);
        json.push_str("\"plaintext\":\"");
        json.push_str(plaintext);
        json.push('"');
        next = ',';
    }
    if let Some(wrapped) = wrapped {
        let keys = wrapped.iter().map(|key| format!("\"{}\"", Base64::encode_string(&key.to_bytes())));
        json.push(next);
        json.push_str("\"wrapped_keys\":[");
        json.push_str(&keys.collect::<Vec<_>>().join(","));
        json.push(']');
    }
    json.push_str("}\n");
    json
}

/// Standard input, in one buffer that is wiped and never grows: the plaintext may be in it.
fn read(input: impl Read) -> keyward::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    input
        .take(MAX_INPUT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot read standard input").with_source(error))?;
    Ok(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    /// Allowed, so that the output of `generate` can be given back as it is.
    #[serde(default, rename = "plaintext")]
    _plaintext: Option<IgnoredAny>,
    wrapped_keys: Vec<String>,
}

fn wrapped_in(input: &[u8]) -> keyward::Result<WrappedKeys> {
    let malformed = |what: &str| {
        malformed("a wrapped data key", what)
            .with_hint("it is {\"wrapped_keys\": [BASE64, …]}, as `keyward data-key generate` prints it")
    };
    let input: Wrapped = parse(input).map_err(|what| malformed(&what))?;
    let keys = input.wrapped_keys.iter().map(|key| {
        let bytes = Base64::decode_vec(key).map_err(|_| malformed("not base64"))?;
        WrappedKey::parse(&bytes)
    });
    WrappedKeys::new(keys.collect::<keyward::Result<_>>()?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    /// A part of the input, so that no copy is left behind. Base64 has nothing that must be escaped.
    plaintext: &'a str,
    /// Allowed, for the same reason.
    #[serde(default, rename = "wrapped_keys")]
    _wrapped_keys: Option<IgnoredAny>,
}

fn plaintext_in(input: &[u8]) -> keyward::Result<DataKey> {
    let malformed = |what: &str| {
        malformed("a data key", what)
            .with_hint("it is {\"plaintext\": BASE64} of 16 or 32 bytes, as `keyward data-key unwrap` prints it")
    };
    let input: Plain<'_> = parse(input).map_err(|what| malformed(&what))?;
    let mut bytes = Zeroizing::new([0; 64]);
    let bytes = Base64::decode(input.plaintext, &mut *bytes).map_err(|_| malformed("not base64 of a key"))?;
    DataKey::from_slice(bytes).map_err(|error| malformed(&error.to_string()))
}

/// What the text says, or where it does not: without what stands there.
fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    if text.len() > MAX_INPUT {
        return Err("too long".into());
    }
    serde_json::from_slice(text)
        .map_err(|error| format!("no such JSON at line {}, column {}", error.line(), error.column()))
}

fn malformed(what: &str, because: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("standard input is not {what}: {because}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward::{KekId, WrappingAlgorithm};

    #[test]
    fn the_answer_can_be_given_back() {
        let id = KekId::from_bytes([7; 16]);
        let key = WrappedKey::new(WrappingAlgorithm::AesKw, id, [], [9; 72]).unwrap();
        let wrapped = WrappedKeys::from(key);
        let data_key = DataKey::from_slice(&[1; 32]).unwrap();
        let json = to_json(Some(&data_key), Some(&wrapped));
        assert_eq!(wrapped_in(json.as_bytes()).unwrap(), wrapped);
        assert_eq!(plaintext_in(json.as_bytes()).unwrap().expose_secret(), [1; 32]);
        assert_eq!(
            *to_json(Some(&data_key), None),
            format!("{{\"plaintext\":\"{}\"}}\n", Base64::encode_string(&[1; 32]))
        );
    }

    #[test]
    fn refused() {
        for bad in
            ["", "{}", "[]", r#"{"wrapped_keys":[]}"#, r#"{"wrapped_keys":["%"]}"#, r#"{"wrapped_keys":["AA=="]}"#]
        {
            assert!(wrapped_in(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "{}", "[]", r#"{"plaintext":""}"#, r#"{"plaintext":"AA=="}"#, r#"{"plaintext":"%"}"#] {
            assert!(plaintext_in(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = format!("{{\"plaintext\":\"{}\"}}", "A".repeat(1000));
        assert!(plaintext_in(long.as_bytes()).is_err());
        let endless = read(std::io::repeat(b' ')).unwrap();
        assert!(wrapped_in(&endless).unwrap_err().to_string().ends_with("too long"));
    }
}
