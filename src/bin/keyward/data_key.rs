//! `keyward data-key`: data keys for other programs, as JSON with base64.

use crate::app::{App, Wants};
use crate::args::ContextArgs;
use crate::output::print_secret;
use base64ct::{Base64, Encoding};
use clap::{Args, Subcommand};
use keyward::{
    DataKey, DataKeyLength, Error, ErrorKind, KeyName, KeyProvider, Origin, UnwrappedKey, WrappedKey, WrappedKeys,
    WrappingAlgorithm,
};
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
    /// Reads what `generate` printed, with or without "plaintext", and answers {"plaintext": BASE64, "key": NAME,
    /// "algorithm": ALGORITHM}: the data key, and the master key that unwrapped it.
    ///
    /// To name a key is not to vouch for what it opens: what an RSA key opens can have been made by anyone with its
    /// public half, and is given out only with --danger-assert-origin as well.
    #[command(after_help = "Example:\n  keyward data-key unwrap --context table=cards < cards.key")]
    Unwrap {
        /// Only this master key may open it; needed for RSA keys; repeatable
        #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
        key: Vec<KeyName>,
        #[command(flatten)]
        context: ContextArgs,
        /// Assert that you know who made what an RSA key opens
        #[arg(long)]
        danger_assert_origin: bool,
    },
    /// Wrap a data key that another program made
    ///
    /// Reads {"plaintext": BASE64} from standard input, as `generate` and `unwrap` print it, and answers
    /// {"wrapped_keys": [BASE64]}. What `unwrap` recovered with an RSA key is not wrapped under a symmetric one: anyone
    /// with the public key can have made it.
    #[command(after_help = "Example:
  printf '{\"plaintext\":\"%s\"}' \"$(openssl rand -base64 32)\" |
      keyward data-key wrap --key payments --context table=cards > cards.key")]
    Wrap {
        /// The master key
        #[arg(long, short, value_name = "NAME")]
        key: KeyName,
        #[command(flatten)]
        context: ContextArgs,
        #[command(flatten)]
        origin: OriginArgs,
    },
    /// Move a wrapped data key to another master key, or to the current version of its own
    ///
    /// Reads what `generate` printed, with or without "plaintext", and answers {"wrapped_keys": [BASE64]}. Only
    /// wrapped keys that open here are replaced; the others stay.
    #[command(after_help = "Example:
  keyward data-key rewrap --key archive -c table=cards < cards.key > new.key")]
    Rewrap {
        /// The master key to move to
        #[arg(long, short, value_name = "NAME")]
        key: KeyName,
        /// Only this master key may open it; needed for RSA keys; repeatable
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        from_key: Vec<KeyName>,
        #[command(flatten)]
        context: ContextArgs,
        #[command(flatten)]
        origin: OriginArgs,
    },
}

/// What the user knows of who made a data key.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OriginArgs {
    /// Assert that you know who made what an RSA key opens, and move it under a symmetric key
    #[arg(long)]
    danger_assert_origin: bool,
}

impl From<OriginArgs> for Origin {
    fn from(args: OriginArgs) -> Self {
        if args.danger_assert_origin { Self::DangerAsserted } else { Self::Unverified }
    }
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
                Ok(print_secret(&to_json(Some(&data_key), None, Some(&wrapped)))?)
            }
            Self::Unwrap { key, context, danger_assert_origin } => {
                let context = context.to_context()?;
                let wrapped = wrapped_in(&read(std::io::stdin().lock())?)?;
                let provider = app.provider_for(Wants { keys: &key, ..Wants::default() })?;
                let unwrapped = provider.unwrap_data_key(&wrapped, &context)?;
                if unwrapped.wrapped.algorithm().is_rsa() && !danger_assert_origin {
                    let what = "an RSA key opened this, which proves nothing about its writer; it is not given out";
                    return Err(Error::new(ErrorKind::OriginUnverified, what).into());
                }
                Ok(print_secret(&to_json(Some(&unwrapped.data_key), Some(&unwrapped), None))?)
            }
            Self::Wrap { key, context, origin } => {
                let context = context.to_context()?;
                let (data_key, source) = plaintext_in(&read(std::io::stdin().lock())?)?;
                let wrapped = app.provider()?.wrap_data_key(&key, &context, &data_key)?;
                if let Some(source) = source {
                    Origin::from(origin).check(source, wrapped.iter().map(WrappedKey::algorithm))?;
                }
                Ok(print_secret(&to_json(None, None, Some(&wrapped)))?)
            }
            Self::Rewrap { key, from_key, context, origin } => {
                let context = context.to_context()?;
                let wrapped = wrapped_in(&read(std::io::stdin().lock())?)?;
                app.check_allowed(&key)?;
                let names: Vec<_> = match from_key.is_empty() {
                    true => Vec::new(),
                    false => from_key.into_iter().chain([key.clone()]).collect(),
                };
                let provider = app.provider_for(Wants { keys: &names, ..Wants::default() })?;
                let moved = provider.rewrap_data_key(&wrapped, &context, &key, origin.into())?;
                Ok(print_secret(&to_json(None, None, Some(&moved)))?)
            }
        }
    }
}

/// The answer, built in one buffer that is wiped and never grows. Base64 and key names need no escaping.
fn to_json(
    data_key: Option<&DataKey>,
    unwrapped: Option<&UnwrappedKey>,
    wrapped: Option<&WrappedKeys>,
) -> Zeroizing<String> {
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
    if let Some(UnwrappedKey { wrapped, key, .. }) = unwrapped {
        json.push(next);
        json.push_str(&format!("\"key\":\"{}\",\"algorithm\":\"{}\"", key.name, wrapped.algorithm()));
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
    #[serde(default, rename = "key")]
    _key: Option<IgnoredAny>,
    #[serde(default, rename = "algorithm")]
    _algorithm: Option<IgnoredAny>,
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
    #[serde(default, rename = "key")]
    _key: Option<IgnoredAny>,
    /// What unwrapped it.
    #[serde(default)]
    algorithm: Option<&'a str>,
}

/// The data key, and what unwrapped it, if the input says so.
fn plaintext_in(input: &[u8]) -> keyward::Result<(DataKey, Option<WrappingAlgorithm>)> {
    let malformed = |what: &str| {
        malformed("a data key", what)
            .with_hint("it is {\"plaintext\": BASE64} of 16 or 32 bytes, as `keyward data-key unwrap` prints it")
    };
    let input: Plain<'_> = parse(input).map_err(|what| malformed(&what))?;
    let mut bytes = Zeroizing::new([0; 64]);
    let bytes = Base64::decode(input.plaintext, &mut *bytes).map_err(|_| malformed("not base64 of a key"))?;
    let data_key = DataKey::from_slice(bytes).map_err(|error| malformed(&error.to_string()))?;
    Ok((data_key, input.algorithm.map(str::parse).transpose()?))
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
    use keyward::{KekId, WrapOccasion, WrappingAlgorithm};

    #[test]
    fn the_answer_can_be_given_back() {
        let id = KekId::from_bytes([7; 16]);
        let key = WrappedKey::new(WrapOccasion::Generation, WrappingAlgorithm::AesKw, id, [], [9; 72]).unwrap();
        let wrapped = WrappedKeys::from(key);
        let data_key = DataKey::from_slice(&[1; 32]).unwrap();
        let json = to_json(Some(&data_key), None, Some(&wrapped));
        assert_eq!(wrapped_in(json.as_bytes()).unwrap(), wrapped);
        assert_eq!(plaintext_in(json.as_bytes()).unwrap().0.expose_secret(), [1; 32]);
        assert_eq!(
            *to_json(Some(&data_key), None, None),
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
