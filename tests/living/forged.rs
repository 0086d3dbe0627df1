//! Bundles that tell of keys what their tokens do not, signed by witnesses who looked away.

use crate::fixture::{Ceremony, findings};
use sha2::{Digest, Sha256};
use std::fs;

#[test]
fn an_attribute_that_is_another_is_a_finding() {
    let held = Ceremony::of_one_key();
    assert!(held.claim("primary", "payments:1").attributes["CKA_MODIFIABLE"]);
    held.forge(|line| line.replace("\"CKA_MODIFIABLE\":true", "\"CKA_MODIFIABLE\":false"));
    for (name, token) in [("primary", &held.primary), ("second", &held.second)] {
        let living = held.compared(token);
        let message = format!("'payments:1' on {name}: CKA_MODIFIABLE is true, and was false");
        assert_eq!(findings(&living), [message]);
        assert_eq!(living.proven.len(), 1, "it is the key all the same");
        assert!(!living.claimed.iter().any(|line| line.ends_with("as they were")));
    }
}

#[test]
fn an_attribute_that_is_told_no_more_or_was_not_told_is_a_finding() {
    let held = Ceremony::of_one_key();
    held.forge(|line| line.replace("\"CKA_MODIFIABLE\":true", "\"CKA_MODIFIED\":true"));
    let told = findings(&held.compared(&held.primary));
    assert_eq!(told, ["'payments:1' on primary: CKA_MODIFIED is not told, and was true"]);
}

#[test]
fn usage_that_was_not_told_is_a_finding() {
    let held = Ceremony::of_one_key();
    let verifies = held.claim("primary", "payments:1").attributes["CKA_VERIFY"];
    let told = format!(",\"CKA_VERIFY\":{verifies}");
    held.forge(|line| line.replace(&told, ""));
    let session = crate::raw::logged_in(&held.primary);
    let [object] = crate::raw::find(&session, "payments:1")[..] else { panic!("there is one") };
    session.update_attributes(object, &[cryptoki::object::Attribute::Verify(true)]).unwrap();
    let message = "'payments:1' on primary: CKA_VERIFY is true, and was not told: it may be used for more than then";
    assert_eq!(findings(&held.compared(&held.primary)), [message]);
}

#[test]
fn a_check_value_that_is_another_is_a_finding() {
    let held = Ceremony::of_one_key();
    let value = held.claim("primary", "payments:1").check_value.unwrap();
    let other = if value == "000000" { "000001" } else { "000000" };
    held.forge(|line| line.replace(&format!("\"check_value\":\"{value}\""), &format!("\"check_value\":\"{other}\"")));
    let message = format!("'payments:1' on primary: its check value is {value}, and was {other}: it is another key");
    assert_eq!(findings(&held.compared(&held.primary)), [message]);
}

#[test]
fn a_canary_that_opens_to_another_value_is_a_finding() {
    let held = Ceremony::of_one_key();
    let digest = held.claim("primary", "payments:1").canary.unwrap().1.to_string();
    held.forge(|line| line.replace(&digest, &"5a".repeat(32)));
    let living = held.compared(&held.primary);
    assert_eq!((living.findings.len(), living.others.len()), (1, 1), "{living:?}");
    assert!(findings(&living)[0].contains("the canary of the ceremony does not open, or to another value"));
    assert!(living.proven.is_empty());
}

#[test]
fn the_canary_of_another_key_proves_nothing_of_this_one() {
    let held = Ceremony::of_all_kinds();
    let [payments, vault] = ["payments:1", "vault:1"].map(|label| held.claim("primary", label).canary.unwrap());
    let sibling = held.claim("second", "payments:1").canary.unwrap();
    held.forge(|line| {
        let line = line.replace(&payments.0, &vault.0).replace(&sibling.0, &vault.0);
        line.replace(&payments.1.to_string(), &vault.1.to_string())
    });
    for (name, token) in [("primary", &held.primary), ("second", &held.second)] {
        let living = held.compared(token);
        assert_eq!(
            findings(&living),
            [format!("'payments:1' on {name}: the canary in the transcript is of another key")]
        );
        assert_eq!(living.proven.len(), 3);
    }
    held.forge(|line| line.replace(&format!("\"wrapped\":\"{}\"", vault.0), "\"wrapped\":\"00\""));
    let told = findings(&held.compared(&held.primary));
    assert!(told.iter().all(|line| line.ends_with("the canary in the transcript is no wrapped data key")), "{told:?}");
}

#[test]
fn a_public_half_that_is_another_is_a_finding() {
    let held = Ceremony::of_all_kinds();
    let path = held.path().join("keys/a%2Fbox@primary.pem");
    let there = fs::read_to_string(&path).unwrap();
    let hash = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let other = fs::read_to_string(held.path().join("keys/a%2Fbox@second.pem")).unwrap();
    held.forge(|line| line.replace(&hash(&there), &hash(&other)));
    fs::write(path, other).unwrap();
    assert_eq!(
        findings(&held.compared(&held.primary)),
        ["'a/box:1' on primary: its public half is not the one in the bundle"]
    );
}

#[test]
fn a_token_of_another_make_is_a_finding() {
    let held = Ceremony::of_one_key();
    let maker = held.verified().tokens[0].manufacturer.clone();
    held.forge(|line| line.replace(&format!("\"manufacturer\":\"{maker}\""), "\"manufacturer\":\"Acme\""));
    let told = findings(&held.compared(&held.primary));
    assert!(told.len() == 1 && told[0].starts_with("primary: it is a '") && told[0].ends_with("by 'Acme'"), "{told:?}");
}
