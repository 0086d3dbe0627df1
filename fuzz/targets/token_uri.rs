//! Token URIs. What is shown of one, and every message about one, is the same whatever its PIN;
//! what is shown names the same token.

#![no_main]

use keyward::Error;
use keyward::token::TokenUri;
use libfuzzer_sys::fuzz_target;
use std::error::Error as _;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(uri) = text.parse::<TokenUri>() else { return no_pin_is_shown(text) };

    let shown = uri.to_string();
    let again: TokenUri = shown.parse().expect("what is shown of a URI is one");
    assert_eq!((again.token(), again.serial()), (uri.token(), uri.serial()));
    assert_eq!(again.to_string(), shown);
    no_pin_is_shown(text);
});

/// Two texts that differ in the PIN alone look the same.
fn no_pin_is_shown(text: &str) {
    let with = |pin: &str| {
        // Where the text has a PIN already, that one is exchanged; else there is one at its end.
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut found = false;
        let mut attributes: Vec<String> = query
            .split('&')
            .map(|attribute| match attribute.strip_prefix("pin-value=") {
                Some(_) => {
                    found = true;
                    format!("pin-value={pin}")
                }
                None => attribute.to_owned(),
            })
            .collect();
        if !found {
            attributes.push(format!("pin-value={pin}"));
        }
        format!("{path}?{}", attributes.join("&"))
    };
    assert_eq!(all_that_is_shown(&with("1234")), all_that_is_shown(&with("S%C3%A9same")));
}

fn all_that_is_shown(text: &str) -> String {
    match text.parse::<TokenUri>() {
        Ok(uri) => format!("{uri} {uri:?} {uri:#?}"),
        Err(error) => messages(&error),
    }
}

fn messages(error: &Error) -> String {
    let mut all = format!("{error} {error:?} {:?}", error.hint());
    let mut source = error.source();
    while let Some(cause) = source {
        all += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    all
}
