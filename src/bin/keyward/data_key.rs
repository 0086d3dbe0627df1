//! `keyward data-key`: data keys for other programs, as JSON with base64.

use crate::app::App;
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
                Ok(print_secret(&to_json(&data_key, Some(&wrapped)))?)
            }
            Self::Unwrap { key, context } => {
                let context = context.to_context()?;
                let wrapped = read(std::io::stdin().lock())?;
                let data_key = app.provider_for(&key, false)?.unwrap_data_key(&wrapped, &context)?;
                Ok(print_secret(&to_json(&data_key, None))?)
            }
        }
    }
}

/// The answer, built in one buffer that is wiped and never grows. Base64 needs no escaping.
fn to_json(data_key: &DataKey, wrapped: Option<&WrappedKeys>) -> Zeroizing<String> {
    let mut json = Zeroizing::new(String::with_capacity(2 * MAX_INPUT));
    let mut base64 = Zeroizing::new([0; 64]);
    let plaintext = Base64::encode(data_key.expose_secret(), &mut *base64).unwrap_or_default();
    json.push_str("{\"plaintext\":\"");
    json.push_str(plaintext);
    json.push('"');
    if let Some(wrapped) = wrapped {
        let keys = wrapped.iter().map(|key| format!("\"{}\"", Base64::encode_string(&key.to_bytes())));
        json.push_str(",\"wrapped_keys\":[");
        json.push_str(&keys.collect::<Vec<_>>().join(","));
        json.push(']');
    }
    json.push_str("}\n");
    json
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Allowed, so that the output of `generate` can be given back as it is.
    #[serde(default, rename = "plaintext")]
    _plaintext: Option<IgnoredAny>,
    wrapped_keys: Vec<String>,
}

fn read(input: impl Read) -> keyward::Result<WrappedKeys> {
    // The plaintext may be in it.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    input
        .take(MAX_INPUT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot read standard input").with_source(error))?;
    let malformed = |what: String| {
        Error::new(ErrorKind::InvalidArgument, format!("standard input is not a wrapped data key: {what}"))
            .with_hint("it is {\"wrapped_keys\": [BASE64, …]}, as `keyward data-key generate` prints it")
    };
    if text.len() > MAX_INPUT {
        return Err(malformed("too long".into()));
    }
    let input: Input = serde_json::from_slice(&text)
        // Without what stands there.
        .map_err(|error| malformed(format!("no such JSON at line {}, column {}", error.line(), error.column())))?;
    let keys = input.wrapped_keys.iter().map(|key| {
        let bytes = Base64::decode_vec(key).map_err(|_| malformed("not base64".into()))?;
        WrappedKey::parse(&bytes)
    });
    WrappedKeys::new(keys.collect::<keyward::Result<_>>()?)
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
        let json = to_json(&data_key, Some(&wrapped));
        assert_eq!(read(json.as_bytes()).unwrap(), wrapped);
        assert_eq!(*to_json(&data_key, None), format!("{{\"plaintext\":\"{}\"}}\n", Base64::encode_string(&[1; 32])));
    }

    #[test]
    fn refused() {
        for bad in
            ["", "{}", "[]", r#"{"wrapped_keys":[]}"#, r#"{"wrapped_keys":["%"]}"#, r#"{"wrapped_keys":["AA=="]}"#]
        {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read([b' '; MAX_INPUT + 1].as_slice()).is_err());
    }
}
