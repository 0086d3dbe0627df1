//! Lines of ceremonies' transcripts, shares of PINs, and witnesses' keys. Nothing panics; what is read is written again
//! the same; and a line is not read with another hash.

#![no_main]

use keyward::ceremony::shares::Share;
use keyward::ceremony::{Line, WitnessKey, WitnessSecret};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|input: &[u8]| {
    read_again(input);
    // The hash is what almost no input has right.
    if let Some(body) = input.strip_suffix(b"}") {
        let end = body.windows(9).rposition(|window| window == b",\"hash\":\"").unwrap_or(body.len());
        let hash = Sha256::new().chain_update(b"keyward.ceremony.v1\0").chain_update(&body[..end]).finalize();
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut line = [&body[..end], format!(",\"hash\":\"{digits}\"}}").as_bytes()].concat();
        if read_again(&line) {
            let digit = line.len() - 3;
            line[digit] = if line[digit] == b'0' { b'1' } else { b'0' };
            assert!(Line::parse(&line).is_none());
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(share) = Share::parse(text) {
        assert!(share.check_typed(text).is_ok());
    }
    if let Ok(key) = text.parse::<WitnessKey>() {
        assert_eq!(key.to_base64().parse::<WitnessKey>().expect("a key that was written"), key);
    }
    // One that asks for a password would be given one for a second each.
    if WitnessSecret::needs_password(text).is_ok_and(|needs| !needs) {
        let _ = WitnessSecret::open(text, None);
    }
});

fn read_again(bytes: &[u8]) -> bool {
    let line = Line::parse(bytes);
    if let Some(line) = &line {
        assert_eq!(line.to_bytes(), bytes);
        assert!(!bytes.contains(&b'\n'));
    }
    line.is_some()
}
