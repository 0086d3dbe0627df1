//! The command line's configuration file. Nothing panics; a mistake is named with a line of the file;
//! and what is said of one does not depend on a PIN in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the command line reads it all")]
#[path = "../../src/bin/keyward/config.rs"]
mod config;

// The tables that it has from their commands.
#[allow(dead_code, reason = "the command line reads it all")]
#[path = "../../src/bin/keyward/cache"]
mod cache {
    pub(crate) mod table;
}
#[allow(dead_code, reason = "the command line reads it all")]
#[path = "../../src/bin/keyward/object"]
mod object {
    pub(crate) mod table;
}

use config::Config;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text) {
        Ok(config) => {
            let names = config.keys.unwrap_or_default();
            assert!(names.iter().all(|name| !name.as_str().is_empty() && name.as_str().len() <= 64));
            assert_ne!(config.max_sessions.map(std::num::NonZeroUsize::get), Some(0));
        }
        Err((line, _)) => {
            // One more than there are lines is where the text ends too early.
            let lines = text.matches('\n').count() + 1;
            assert!((1..=lines).contains(&line), "line {line} of {lines}");
        }
    }

    // The token where it belongs and where it does not; the text on lines of its own, and as what is
    // wrong with that line.
    for (field, end) in
        [("token", "\n"), ("token", ""), ("keys", "\n"), ("max_sessions", "\n"), ("max_gcm_wraps", "\n")]
    {
        let mistake = |pin: &str| {
            let text = format!("{field} = 'pkcs11:token=demo?pin-value={pin}'{end}{text}");
            Config::parse(&text).map(drop)
        };
        assert_eq!(mistake("1234"), mistake("4321"));
    }
    let mistake = |pin: &str| Config::parse(&format!("keys = ['a', 'pkcs11:?pin-value={pin}']\n{text}")).map(drop);
    assert_eq!(mistake("1234"), mistake("4321"));
});
