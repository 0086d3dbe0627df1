//! What has become of the keys since.

use crate::fixture::{Ceremony, findings, forget, key};
use crate::raw;
use cryptoki::object::Attribute;
use keyward::hsm::PlannedKey;
use keyward::key::VersionReuse;
use keyward::testkit::SoftToken;
use keyward::{KeyAdmin, KeyVersion, WrappingAlgorithm};

const FIRST: KeyVersion = KeyVersion::FIRST;
const ANOTHER: &str = "'payments:1' on primary: the canary of the ceremony does not open, or to another value: it is \
                       not the key that was made in it";

/// Changes a key past Keyward.
fn change(token: &SoftToken, label: &str, to: Attribute) {
    let session = raw::logged_in(token);
    let [object] = raw::find(&session, label)[..] else { panic!("there is one") };
    session.update_attributes(object, &[to]).unwrap();
}

#[test]
fn a_key_that_was_rotated_or_disabled_is_told_and_is_no_finding() {
    let held = Ceremony::of_one_key();
    let hsm = held.primary.provider();
    hsm.rotate_key(&key("payments"), None).unwrap();
    let living = held.compared(&held.primary);
    assert_eq!(findings(&living), [""; 0]);
    assert_eq!(living.changed, ["'payments:1' on primary is retired: CKA_ENCRYPT was true and is false"]);
    assert_eq!((living.proven.len(), living.not_asked.len()), (1, 0));

    hsm.disable_key(&key("payments"), FIRST).unwrap();
    let living = held.compared(&held.primary);
    assert_eq!(findings(&living), [""; 0]);
    assert_eq!(
        living.changed,
        ["'payments:1' on primary is disabled: CKA_DECRYPT and CKA_ENCRYPT were true and are false"]
    );
    assert_eq!(living.not_asked, ["'payments:1' on primary: it is disabled, and opens nothing"]);
    assert_eq!((living.proven.as_slice(), living.others.as_slice()), (&[][..], &[][..]));
    // The other token is as it was.
    assert_eq!(held.compared(&held.second).proven.len(), 1);
}

#[test]
fn a_key_that_was_made_anew_with_its_label_and_id_is_another() {
    let held = Ceremony::of_one_key();
    let (hsm, id) = (held.primary.provider(), held.id("primary", "payments:1"));
    hsm.destroy_key(&key("payments"), FIRST, VersionReuse::Refuse).unwrap();
    forget(&held.primary, "payments");
    hsm.create_planned(&PlannedKey::new(key("payments"), WrappingAlgorithm::AesGcm, id)).unwrap();
    let living = held.compared(&held.primary);
    let told = findings(&living);
    assert!(told[0].starts_with("'payments:1' on primary: its check value is ") && told[0].ends_with("another key"));
    assert_eq!(told[1..], [ANOTHER]);
    assert_eq!(
        (living.proven.as_slice(), living.others.as_slice()),
        (&[][..], &[held.claim("primary", "payments:1").id][..])
    );

    // By another tool, which keeps no record.
    hsm.destroy_key(&key("payments"), FIRST, VersionReuse::Refuse).unwrap();
    raw::generate(&raw::logged_in(&held.primary), "payments:1", id.as_bytes(), &[]);
    let told = findings(&held.compared(&held.primary));
    assert!(told.contains(&ANOTHER.to_owned()), "{told:?}");
}

#[test]
fn a_disabled_key_that_was_made_anew_is_told_apart_by_its_check_value() {
    let held = Ceremony::of_one_key();
    let (hsm, id) = (held.primary.provider(), held.id("primary", "payments:1"));
    hsm.destroy_key(&key("payments"), FIRST, VersionReuse::Refuse).unwrap();
    forget(&held.primary, "payments");
    hsm.create_planned(&PlannedKey::new(key("payments"), WrappingAlgorithm::AesGcm, id)).unwrap();
    hsm.disable_key(&key("payments"), FIRST).unwrap();
    let living = held.compared(&held.primary);
    assert_eq!((living.findings.len(), living.not_asked.len()), (1, 1), "{living:?}");
    assert!(findings(&living)[0].contains("its check value is "));
}

#[test]
fn a_key_that_is_gone_is_missed() {
    let held = Ceremony::of_one_key();
    held.second.provider().destroy_key(&key("payments"), FIRST, VersionReuse::Refuse).unwrap();
    let id = held.id("second", "payments:1");
    let told = findings(&held.compared(&held.second));
    assert_eq!(told, [format!("'payments:1' on second: no key on the token has its CKA_ID {id}")]);
}

#[test]
fn a_key_of_another_label_is_told_apart() {
    let held = Ceremony::of_one_key();
    change(&held.primary, "payments:1", Attribute::Label("payments:9".into()));
    let living = held.compared(&held.primary);
    assert_eq!(findings(&living)[0], "'payments:1' on primary: its label is 'payments:9'");
    // A name that the bundle does not know: it is not asked to open anything.
    change(&held.primary, "payments:9", Attribute::Label("other:1".into()));
    let living = held.compared(&held.primary);
    let told = findings(&living);
    assert_eq!(told[0], "'payments:1' on primary: its label is 'other:1'");
    assert!(told[1].starts_with("'payments:1' on primary: it is not as a key of Keyward is, and was not asked: "));
    assert_eq!((told.len(), living.proven.len()), (2, 0));
}

#[test]
fn usage_that_was_given_is_a_finding() {
    let held = Ceremony::of_one_key();
    change(&held.primary, "payments:1", Attribute::Wrap(true));
    let living = held.compared(&held.primary);
    let told = findings(&living);
    assert_eq!(told[0], "'payments:1' on primary: CKA_WRAP is true, and was false: it may be used for more than then");
    assert!(told[1].starts_with("'payments:1' on primary: it is refused, and opens nothing: CKA_WRAP"), "{told:?}");
    assert_eq!((told.len(), living.changed.len(), living.proven.len()), (2, 0, 0));
}

#[test]
fn a_second_key_of_its_id_is_a_finding() {
    let held = Ceremony::of_one_key();
    let id = held.id("primary", "payments:1");
    // Whoever has no PIN can plant one that is public.
    let session = raw::session(held.primary.uri().token().unwrap());
    raw::generate(&session, "payments:1", id.as_bytes(), &[Attribute::Private(false)]);
    let living = held.compared(&held.primary);
    assert_eq!(findings(&living), [format!("'payments:1' on primary: 2 keys on the token have its CKA_ID {id}")]);
    assert_eq!(living.proven.len(), 1);
}

#[test]
fn a_destroyed_key_that_is_back_is_a_finding() {
    let held = Ceremony::of_one_key();
    let old = held.verified().destroyed.remove(0);
    assert_eq!((old.token.as_str(), old.name, old.version), ("primary", key("old"), FIRST));
    let session = raw::logged_in(&held.primary);
    let planted = raw::generate(&session, "elsewhere", old.id.as_bytes(), &[]);
    let living = held.compared(&held.primary);
    let by_id = "'old:1' on primary: it was destroyed, and a search by CKA_ID finds 1 of its secret keys";
    assert_eq!(findings(&living), [by_id]);
    assert!(!living.claimed.iter().any(|line| line.contains("old:1")), "{:?}", living.claimed);
    session.update_attributes(planted, &[Attribute::Id(vec![5; 16]), Attribute::Label("old:1".into())]).unwrap();
    let by_label = "'old:1' on primary: it was destroyed, and a search by CKA_LABEL finds 1 of its secret keys";
    assert_eq!(findings(&held.compared(&held.primary)), [by_label]);
    // It was never on the other token.
    assert_eq!(findings(&held.compared(&held.second)), [""; 0]);
}
