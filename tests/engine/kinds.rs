//! Keys that come in components, keys that are destroyed, tokens that are there already, and rehearsals.

use crate::plans::{AES_GCM, Parts, Planned, TYPED, free, imported, new_label, sibling, wrapped};
use crate::room::{OFFICER_PIN, Script, USER_PIN, accept};
use crate::whole::{assert_closed, resume, run};
use keyward::ceremony::{Bundle, Ended, Engine, Fact, StepId, Venue, Verify, Wanted};
use keyward::hsm::backup::{Component, check_value, import_components};
use keyward::hsm::{HsmProvider, PlannedKey};
use keyward::testkit::SoftToken;
use keyward::token::{Pin, Token, TokenInfo, TokenInit, TokenOptions, TokenUri};
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyVersion, WrappingAlgorithm};
use zeroize::Zeroizing;

/// A token that is there before the ceremony, with one key.
fn there(key: &str) -> (TokenInfo, HsmProvider) {
    let module = SoftToken::load_module();
    let init = TokenInit::new(new_label(), Pin::new(OFFICER_PIN)).user_pin(Pin::new(USER_PIN));
    let info = module.initialize(&init).unwrap();
    let hsm = HsmProvider::new(open(&info.label));
    hsm.create_key(&key.parse().unwrap(), AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).unwrap();
    (info, hsm)
}

fn open(label: &str) -> Token {
    let uri: TokenUri = format!("pkcs11:token={label}").parse().unwrap();
    let uri = uri.or_module_path(Some(SoftToken::module_path()));
    Token::open_with(&uri, TokenOptions::default().pin(Pin::new(USER_PIN))).unwrap()
}

/// As a plan has it.
fn known(token: &TokenInfo, before: u32, after: u32) -> String {
    format!(
        "serial = \"{}\"\nlabel = \"{}\"\ninitialize = false\n{TYPED}\nobjects_before = {before}\nobjects_after = {after}\n",
        token.serial, token.label
    )
}

fn typed(label: &str, after: u32) -> String {
    free(label, after).replace(crate::plans::SHARED, TYPED)
}

/// A key that the vendor's tool is to copy, and the labels of the two tokens.
fn cloned() -> (Planned, [String; 2]) {
    let mut parts = Parts::of(vec![imported("legacy", "hsm-clone")]);
    let labels = [new_label(), new_label()];
    parts.tokens = [typed(&labels[0], 2), typed(&labels[1], 2)];
    (Planned::new(&parts), labels)
}

fn facts(planned: &Planned, step: &str) -> Vec<Fact> {
    let transcript = Bundle::open(&planned.path()).unwrap().transcript().unwrap();
    transcript.progress().done(&StepId::from(step)).unwrap().facts.clone()
}

#[test]
fn components_make_the_same_key_on_both_tokens() {
    let planned = Planned::new(&Parts::of(vec![imported("legacy", "imported-components")]));
    let mut room = Script::new(&planned.directory.path().join("paper"));
    // The first attempt is mistyped, and what is no component is asked for again.
    let mut times = 0;
    room.instead = Box::new(move |wanted| {
        matches!(wanted, Wanted::Component { .. }).then(|| {
            times += 1;
            match times {
                1 => Some(Some("not a component".into())),
                2 => Some(Some(Script::component(7))),
                _ => None,
            }
        })?
    });
    room.rulings.push_back(keyward::ceremony::Ruling::Again);
    assert_closed(run(&planned, &mut room));
    assert_eq!(room.troubles, ["the component's check value is not the one that goes with it"]);
    assert!(room.said.contains(&"refused: a component is 64 hexadecimal digits".to_owned()));
    let seen = planned.assert_verifies().seen;
    let told = "'legacy:1' was put together from components: it was whole outside a token".to_owned();
    assert!(seen.contains(&told), "{seen:?}");
    let value = check_value(&[3; 32]).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for step in ["key/legacy/attributes", "key/legacy/backup"] {
        let told = facts(&planned, step);
        assert!(
            matches!(&told[0], Fact::Key { check_value: Some(told), attributes, .. }
                if *told == value && !attributes["CKA_LOCAL"] && !attributes["CKA_EXTRACTABLE"]),
            "{told:?}"
        );
    }
}

#[test]
fn components_are_typed_anew_where_a_run_was_left_between_the_two_tokens() {
    let planned = Planned::new(&Parts::of(vec![imported("legacy", "imported-components")]));
    let paper = planned.directory.path().join("paper");
    let mut room = Script::new(&paper);
    room.leave_at = Some("key/legacy/backup".into());
    assert_eq!(run(&planned, &mut room).unwrap(), Ended::Left);
    let mut room = Script::new(&paper);
    assert_closed(resume(&planned, &mut room));
    assert!(room.said.iter().any(|said| said.starts_with("done key/legacy/component:carol")));
    assert!(!room.said.iter().any(|said| said.starts_with("done key/legacy/generate")));
    planned.assert_verifies();
}

#[test]
fn a_copy_that_the_vendors_tool_made_is_tested() {
    let (planned, [first, second]) = cloned();
    let mut room = Script::new(&planned.directory.path().join("paper"));
    // The tool: it brings the same value to the second token, with the label and id of the first.
    room.at = Box::new(move |what| {
        if !what.starts_with("trouble") {
            return;
        }
        let key = HsmProvider::new(open(&first)).list_keys().unwrap().remove(0);
        let component = |byte| Component::new(Zeroizing::new([byte; 32]), check_value(&[byte; 32])).unwrap();
        let plan = PlannedKey::new(key.name, key.algorithm, key.kek_id);
        let second = HsmProvider::new(open(&second));
        import_components(&second, &plan, &[component(1), component(2)], check_value(&[3; 32])).unwrap();
    });
    // It was confirmed before it was done.
    room.rulings.push_back(keyward::ceremony::Ruling::Again);
    assert_closed(run(&planned, &mut room));
    assert_eq!(room.troubles.len(), 1, "{:?}", room.troubles);
    planned.assert_verifies();
}

#[test]
fn a_copy_that_is_another_key_fails_its_restore_test() {
    let (planned, [first, second]) = cloned();
    let mut room = Script::new(&planned.directory.path().join("paper"));
    room.at = Box::new(move |what| {
        if what != "before key/legacy/backup" {
            return;
        }
        let key = HsmProvider::new(open(&first)).list_keys().unwrap().remove(0);
        let plan = PlannedKey::new(key.name, key.algorithm, key.kek_id);
        HsmProvider::new(open(&second)).create_planned(&plan).unwrap();
    });
    let error = run(&planned, &mut room).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAuthentic);
    assert_eq!(room.troubles.len(), 1);
    let bundle = Bundle::open(&planned.path()).unwrap();
    let found = Verify::new(&bundle).run().unwrap();
    assert!(
        found.findings.iter().any(|f| f.to_string().starts_with("key/legacy/restore-test: it failed")),
        "{found:?}"
    );
}

#[test]
fn a_key_is_destroyed_and_it_is_shown_that_it_is_gone() {
    let (info, hsm) = there("old");
    let id = hsm.list_keys().unwrap()[0].kek_id;
    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = known(&info, 2, 2);
    parts.more = "[[destroy]]\ntoken = \"primary\"\nkey = \"old:1\"\n".into();
    let planned = Planned::new(&parts);
    let mut room = Script::new(&planned.directory.path().join("paper"));
    assert_closed(run(&planned, &mut room));
    planned.assert_verifies();
    let told = facts(&planned, "token/primary/destroy:old:1");
    assert!(
        matches!(&told[..], [Fact::Destroyed { label, id: told, found: 0, .. }]
            if label == "old:1" && told.as_bytes() == id.as_bytes()),
        "{told:?}"
    );
    assert!(hsm.prove_absence(&"old".parse().unwrap(), KeyVersion::FIRST, id).unwrap().is_proven());
}

#[test]
fn a_key_that_an_interrupted_run_destroyed_is_shown_to_be_gone() {
    let (info, hsm) = there("old");
    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = known(&info, 2, 2);
    parts.more = "[[destroy]]\ntoken = \"primary\"\nkey = \"old:1\"\n".into();
    let planned = Planned::new(&parts);
    let paper = planned.directory.path().join("paper");
    let mut room = Script::new(&paper);
    room.leave_at = Some("token/primary/destroy:old:1".into());
    assert_eq!(run(&planned, &mut room).unwrap(), Ended::Left);
    hsm.destroy_with_proof(&"old".parse().unwrap(), KeyVersion::FIRST).unwrap();
    assert_closed(resume(&planned, &mut Script::new(&paper)));
    planned.assert_verifies();
    assert!(matches!(facts(&planned, "token/primary/destroy:old:1")[..], [Fact::Destroyed { found: 0, .. }]));
}

#[test]
fn a_token_that_is_named_is_erased_and_another_is_not_taken_for_it() {
    let (info, _) = there("doomed");
    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = free(&new_label(), 2).replace("\"free\"", &format!("\"{}\"", info.serial));
    let planned = Planned::new(&parts);
    let mut room = Script::new(&planned.directory.path().join("paper"));
    // The security officer mistypes, once.
    let mut times = 0;
    room.instead = Box::new(move |wanted| {
        if !matches!(wanted, Wanted::OfficerPin { .. }) {
            return None;
        }
        times += 1;
        (times == 1).then(|| Some("not-the-officers-pin".into()))
    });
    room.rulings.push_back(keyward::ceremony::Ruling::Again);
    assert_closed(run(&planned, &mut room));
    assert_eq!(room.troubles.len(), 1, "{:?}", room.troubles);
    planned.assert_verifies();

    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = free(&new_label(), 2).replace("\"free\"", "\"0123456789abcdef\"");
    let planned = Planned::new(&parts);
    let mut room = Script::new(&planned.directory.path().join("paper"));
    let error = run(&planned, &mut room).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenNotFound);
    assert_eq!(error.to_string(), "no token has the serial number 0123456789abcdef of 'primary'");
    assert!(error.hint().unwrap().contains(&info.serial), "{:?}", error.hint());
}

#[test]
fn a_label_that_another_token_has_is_refused_before_anything_is_made() {
    let (info, _) = there("other");
    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = free(&info.label, 2);
    let planned = Planned::new(&parts);
    let mut room = Script::new(&planned.directory.path().join("paper"));
    let error = run(&planned, &mut room).unwrap_err();
    assert_eq!(error.to_string(), format!("a token with the label '{}' is there already", info.label));
    // It was when the token was looked for: later it could be taken for one of ours.
    let transcript = Bundle::open(&planned.path()).unwrap().transcript().unwrap();
    assert_eq!(transcript.progress().attempts(&StepId::from("token/primary/initialize")), []);
}

#[test]
fn what_is_on_a_token_that_nobody_knows_is_a_deviation_that_people_may_accept() {
    let (info, _) = there("unknown");
    let mut parts = Parts::of(vec![sibling("new", AES_GCM.0, AES_GCM.1)]);
    parts.tokens[0] = known(&info, 0, 2);
    let planned = Planned::new(&parts);
    let mut room = Script::new(&planned.directory.path().join("paper"))
        .decide_on([accept("it is an old key of ours"), accept("it is the same old key")]);
    assert_closed(run(&planned, &mut room));
    assert_eq!(
        room.troubles,
        ["there were 2 objects before, and the plan says 0", "there were 4 objects, and the plan says 2"]
    );
    let found = planned.assert_verifies();
    assert_eq!(found.deviations.len(), 2, "{:?}", found.deviations);
}

#[test]
fn a_transport_key_that_the_officer_does_not_trust_exports_nothing() {
    let mut parts = Parts::of(vec![wrapped("archive")]);
    let labels = [new_label(), new_label()];
    parts.tokens = [typed(&labels[0], 2), typed(&labels[1], 2)];
    let planned = Planned::new(&parts);
    let paper = planned.directory.path().join("paper");
    let mut room = Script::new(&paper);
    room.distrusts = true;
    let error = run(&planned, &mut room).unwrap_err();
    assert_eq!(error.to_string(), "the officer does not trust the transport key");
    for label in &labels {
        let inventory = HsmProvider::new(open(label)).inventory().unwrap();
        assert_eq!((inventory.secret_keys, inventory.records), (0, 0));
    }
    assert_closed(resume(&planned, &mut Script::new(&paper)));
    planned.assert_verifies();
    for label in &labels {
        let inventory = HsmProvider::new(open(label)).inventory().unwrap();
        assert_eq!((inventory.keys, inventory.transport_keys, inventory.session_objects), (1, 0, 0));
    }
}

#[test]
fn a_rehearsal_is_the_same_plan_on_other_tokens_and_marked() {
    let mut parts = Parts::new();
    parts.tokens[0] = format!(
        "serial = \"not-here\"\nlabel = \"{}\"\nfirmware = \"7.7\"\ninitialize = false\nofficer = \"oscar\"\n{TYPED}\n\
         objects_before = 9\nobjects_after = 13\n",
        new_label()
    );
    parts.more = "[[destroy]]\ntoken = \"primary\"\nkey = \"old:3\"\n".into();
    let mut planned = Planned::new(&parts);
    // A module that is not there.
    let module = format!("module = \"{}\"", SoftToken::module_path().display());
    planned.text = planned.text.replace(&module, "module = \"/opt/vendor/libvendor.so\"");
    let mut room = Script::new(&planned.directory.path().join("paper"));
    let venue = || Venue::Rehearsal { module: SoftToken::module_path() };
    let bundle = planned.create();
    room.leave_at = Some("key/payments/backup".into());
    assert_eq!(Engine::begin(&bundle, "test", venue(), &mut room).unwrap().run().unwrap(), Ended::Left);
    // It does not go on as if it were none.
    let error = resume(&planned, &mut room).unwrap_err();
    assert_eq!(error.to_string(), "this is a rehearsal");
    room.leave_at = None;
    assert_closed(Engine::resume(&bundle, "test", venue(), None, &mut room).unwrap().run());
    assert_eq!(room.troubles, [""; 0]);
    assert!(planned.assert_verifies().rehearsal);
    let report = std::fs::read_to_string(planned.path().join("report.md")).unwrap();
    assert!(report.contains("**REHEARSAL: the keys of this run are worth nothing.**"));
    assert!(matches!(facts(&planned, "token/primary/destroy:old:3")[..], [Fact::Destroyed { found: 0, .. }]));
}
