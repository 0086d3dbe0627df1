//! A key that people bring in parts.

use super::*;
use keyward::hsm::Claim;
use keyward::hsm::backup::{Component, check_value, import_components, prove_same};
use zeroize::Zeroizing;

fn component(byte: u8) -> Component {
    let value = Zeroizing::new([byte; 32]);
    let check = check_value(&value);
    Component::new(value, check).unwrap()
}

#[test]
fn the_same_components_make_the_same_key_on_two_tokens() {
    for algorithm in AES {
        let (one, other) = (provider(), provider());
        let plan = plan("records", algorithm);
        let whole = check_value(&[1 ^ 2 ^ 8; 32]);
        let imported = import_components(&one, &plan, &[component(1), component(2), component(8)], whole).unwrap();
        assert_eq!((imported.provenance, &imported.problems[..]), (Provenance::Components, &[][..]));
        import_components(&other, &plan, &[component(8), component(1), component(2)], whole).unwrap();
        prove_same(&one, &other, plan.kek_id).unwrap();
        assert_opens(&one, &other, &plan.name);
        let report = one.read_back(plan.kek_id).unwrap();
        let claims: Vec<_> = report.attributes.iter().map(|one| format!("{}={}", one.name, one.claim)).collect();
        println!("{algorithm}: {}; check value {:?}", claims.join(" "), report.check_value);
        for (name, is) in [("CKA_LOCAL", false), ("CKA_EXTRACTABLE", false), ("CKA_SENSITIVE", true)] {
            assert_eq!(report.claim(name), Some(&Claim::Flag(is)), "{name}");
        }
        if let Some(check) = report.check_value {
            assert_eq!(check.bytes(), whole);
        }
        let sweep = one.sweep(&[plan.kek_id]).unwrap();
        assert!(sweep.is_clean() && sweep.destroyed.is_empty(), "{sweep:?}");
        let inventory = one.inventory().unwrap();
        assert_eq!((inventory.secret_keys, inventory.private_keys, inventory.session_objects), (1, 0, 0));
    }
}

#[test]
fn what_was_imported_is_found_again_and_held_against_its_components() {
    for algorithm in AES {
        let hsm = provider();
        let plan = plan("records", algorithm);
        let import = |parts: &[Component], sum: u8| import_components(&hsm, &plan, parts, check_value(&[sum; 32]));
        let imported = import(&[component(1), component(2)], 3).unwrap();
        let before = hsm.inventory().unwrap();
        assert_eq!(import(&[component(1), component(2)], 3).unwrap(), imported);
        let error = assert_kind(import(&[component(1), component(4)], 5), ErrorKind::KeyExists);
        assert!(error.to_string().contains("not the one that these components make"), "{error}");
        assert_eq!(hsm.inventory().unwrap(), before);
        assert_kind(hsm.create_planned(&plan), ErrorKind::KeyExists);
    }
}

#[test]
fn components_that_do_not_fit_are_refused_before_the_token_is_asked() {
    let hsm = provider();
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    let whole = check_value(&[3; 32]);
    let mut wrong = check_value(&[1; 32]);
    wrong[0] ^= 0x80;
    assert_kind(Component::new(Zeroizing::new([1; 32]), wrong), ErrorKind::InvalidArgument);
    for parts in
        [vec![], vec![component(3)], vec![component(1), component(1), component(3)], vec![component(1), component(4)]]
    {
        assert_kind(import_components(&hsm, &plan, &parts, whole), ErrorKind::InvalidArgument);
    }
    let rsa = PlannedKey::new(name("records"), WrappingAlgorithm::RsaOaepSha1, plan.kek_id);
    assert_kind(import_components(&hsm, &rsa, &[component(1), component(2)], whole), ErrorKind::InvalidArgument);
    let inventory = hsm.inventory().unwrap();
    assert_eq!((inventory.secret_keys, inventory.data_objects), (0, 0));
}

#[test]
fn an_imported_key_is_used_only_where_its_provenance_is_accepted() {
    let hsm = provider();
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    import_components(&hsm, &plan, &[component(1), component(2)], check_value(&[3; 32])).unwrap();
    let refused = strict(hsm.token()).accept([Provenance::TrustedWrap]);
    let answer = refused.generate_data_key(&plan.name, &EncryptionContext::new(), DataKeyLength::Bytes32);
    assert_kind(answer, ErrorKind::KeyAttributes);
    assert_opens(&strict(hsm.token()).accept([Provenance::Components]), &hsm, &plan.name);
}
