//! Nothing has happened since.

use crate::fixture::{Ceremony, findings, provider};
use keyward::ErrorKind;
use keyward::ceremony::{Bundle, Verify, compare, compare_key};
use keyward::testkit::SoftToken;
use std::fs;

#[test]
fn every_key_of_a_ceremony_is_proven_on_both_tokens() {
    let held = Ceremony::of_all_kinds();
    for (name, token) in [("primary", &held.primary), ("second", &held.second)] {
        let living = held.compared(token);
        assert_eq!(findings(&living), [""; 0]);
        assert_eq!((living.tokens.len(), living.tokens[0].as_str()), (1, name));
        assert_eq!(living.serial, token.open().info().serial);
        // Siblings and copies as well: a copy opens what its original wrapped.
        for label in ["payments:1", "a/box:1", "archive:1", "vault:1"] {
            let proven =
                format!("'{label}' on {name} opened the canary of the ceremony: it is the key that was made in it");
            assert!(living.proven.contains(&proven), "{:?}", living.proven);
            let begin = format!("'{label}' on {name}: ");
            assert!(living.claimed.iter().any(|line| line.starts_with(&begin) && line.ends_with("as they were")));
        }
        assert_eq!(living.proven.len(), 4);
        let gone = living.claimed.iter().filter(|line| line.starts_with("'old:1' on primary is gone: ")).count();
        assert_eq!(gone, usize::from(name == "primary"));
        assert_eq!((living.changed.as_slice(), living.others.as_slice()), (&[][..], &[][..]));
        // SoftHSM tells no check value of what it unwrapped or was given, now as then.
        assert_eq!(living.not_asked, [""; 0]);
    }
    let copy = held.claim("second", "archive:1");
    assert_eq!(
        (copy.id, &copy.canary),
        (held.claim("primary", "archive:1").id, &held.claim("primary", "archive:1").canary)
    );
}

#[test]
fn a_token_of_another_serial_number_is_named() {
    let held = Ceremony::of_one_key();
    let other = SoftToken::new();
    let living = held.compared(&other);
    let serials = [&held.primary, &held.second, &other].map(|token| token.open().info().serial.clone());
    let [primary, second, serial] = &serials;
    let message = format!(
        "serial number {serial}: it is no token of this bundle, whose serial numbers are {primary} of primary and \
         {second} of second"
    );
    assert_eq!(findings(&living), [message]);
    assert!(living.proven.is_empty() && living.claimed.is_empty() && living.tokens.is_empty());
    // One key alone, where a copy is on a token that nobody was told of.
    let found = held.verified();
    let living = compare_key(&held.claim("primary", "payments:1"), &provider(&found, &held.second)).unwrap();
    assert!(findings(&living)[0].ends_with(&format!("on the token primary with the serial number {primary}")));
}

#[test]
fn a_bundle_that_was_changed_is_not_compared() {
    let held = Ceremony::of_one_key();
    let path = held.path().join("transcript.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("olga", "mallory", 1)).unwrap();
    let found = Verify::new(&Bundle::open(&held.path()).unwrap()).run().unwrap();
    assert!(!found.is_intact());
    let error = compare(&found, &provider(&found, &held.primary)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAuthentic);
}
