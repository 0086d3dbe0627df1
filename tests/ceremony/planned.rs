//! What a plan is turned into, always the same.

use crate::fixture::{Ceremony, name};
use base64ct::{Base64, Encoding};
use keyward::ErrorKind;
use keyward::ceremony::{
    Answers, Id, Plan, Step, StepId, WitnessKey, WitnessSecret, expected_attributes, planned_id, script, to_markdown,
    words,
};
use std::collections::BTreeSet;

fn ids(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn the_steps_of_a_plan_and_who_confirms_them() {
    let plan = Plan::parse(&Answers::example().to_toml()).unwrap();
    let steps = script(&plan);
    let told: Vec<_> = steps.iter().map(|step| format!("{} {}", step.id, step.confirmed_by)).collect();
    assert_eq!(
        told,
        [
            "host/check olga",
            "token/primary/identify olga",
            "token/primary/initialize oscar",
            "token/primary/share:carol carol",
            "token/primary/share:dave dave",
            "token/primary/share:erin erin",
            "token/primary/set-pin olga",
            "token/second/identify olga",
            "token/second/initialize oscar",
            "token/second/share:carol carol",
            "token/second/share:dave dave",
            "token/second/share:erin erin",
            "token/second/set-pin olga",
            "key/payments/generate olga",
            "key/payments/attributes olga",
            "key/payments/canary olga",
            "key/payments/backup olga",
            "key/payments/restore-test olga",
            "token/primary/inventory olga",
            "token/second/inventory olga",
            "witness/wanda/sign-off wanda",
        ]
    );
    assert!(steps.iter().all(|step| step.id == step.kind.id() && !step.announce.is_empty()));
    assert_eq!(ids(&steps).iter().collect::<BTreeSet<_>>().len(), steps.len());
}

#[test]
fn components_and_destructions_have_steps_of_their_own() {
    let ceremony = Ceremony::new();
    let backup = "backup = { method = \"sibling\", token = \"second\" }";
    let text = ceremony
        .text
        .replacen(
            "provenance = \"generated\"",
            "provenance = \"imported-components\"\ncomponents = [\"carol\", \"erin\"]",
            1,
        )
        .replacen(backup, "never_extractable = false\nbackup = { method = \"none\" }", 1)
        + "[[destroy]]\ntoken = \"second\"\nkey = \"old/one:3\"\n";
    let plan = Plan::parse(&text).unwrap();
    let steps = script(&plan);
    let all = ids(&steps);
    let at = |id: &str| all.iter().position(|one| *one == id).unwrap_or_else(|| panic!("{id} {all:#?}"));
    assert!(at("key/payments/component:carol") < at("key/payments/component:erin"));
    assert!(at("key/payments/component:erin") < at("key/payments/generate"));
    assert!(!all.contains(&"key/payments/restore-test") && all.contains(&"key/a/box/restore-test"));
    assert!(at("key/a/box/restore-test") < at("token/second/destroy:old/one:3"));
    assert!(at("token/second/destroy:old/one:3") < at("token/second/inventory"));
}

#[test]
fn an_imported_or_exported_key_is_expected_to_say_so() {
    let ceremony = Ceremony::new();
    let backup = "backup = { method = \"sibling\", token = \"second\" }";
    let trusted = "never_extractable = false\nbackup = { method = \"trusted-wrap\", token = \"second\", mechanism = \"rsa-oaep\" }";
    let key = |from: &str, to: &str| Plan::parse(&ceremony.text.replacen(from, to, 1)).unwrap().keys[0].clone();
    let is = |key: &keyward::ceremony::PlannedKey, is_backup| {
        let all = expected_attributes(key, is_backup);
        ["CKA_LOCAL", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_EXTRACTABLE"]
            .map(|name| all.get(name).copied())
    };
    let generated = key("", "");
    let own = [Some(true), Some(true), Some(true), Some(false)];
    let foreign = [Some(false), Some(false), Some(false), Some(false)];
    assert_eq!((is(&generated, false), is(&generated, true)), (own, own));
    let exported = key(backup, trusted);
    assert_eq!((is(&exported, false), is(&exported, true)), ([None, None, Some(false), Some(false)], foreign));
    let imported = key("provenance = \"generated\"", "provenance = \"imported-components\"\nnever_extractable = false");
    assert_eq!((is(&imported, false), is(&imported, true)), (foreign, own));
    let cloned = key("method = \"sibling\"", "method = \"hsm-clone\"");
    assert_eq!((is(&cloned, false), is(&cloned, true)), (own, [None, None, None, Some(false)]));
    let aes = expected_attributes(&generated, false);
    assert_eq!(
        ["CKA_ENCRYPT", "CKA_DECRYPT", "CKA_WRAP", "CKA_UNWRAP"].map(|name| aes[name]),
        [true, true, false, false]
    );
    let rsa = expected_attributes(&Plan::parse(&ceremony.text).unwrap().keys[1], false);
    assert_eq!((rsa["CKA_DECRYPT"], rsa["CKA_UNWRAP"], rsa.get("CKA_ENCRYPT")), (true, false, None));
}

#[test]
fn the_script_for_paper_names_everybody_and_the_hash() {
    let text =
        Answers::example().to_toml().replace("name = \"carol\"", "name = \"carol\"\nfull_name = \"Carol | <Smith>\"");
    let plan = Plan::parse(&text).unwrap();
    let paper = to_markdown(&plan, &text, &script(&plan));
    assert_eq!(paper, to_markdown(&plan, &text, &script(&plan)));
    let hash = Plan::hash(&text);
    for told in [
        &format!("`{hash}`"),
        &words::lines(&hash)[0],
        "| carol | Carol \\| \\<Smith\\> | custodian | |",
        "### 21. `witness/wanda/sign-off`",
        "| payments:1 | primary | aes-gcm | generated | sibling on second |",
        "- [ ] what comes out is the data key of the canary",
    ] {
        assert!(paper.contains(told), "{told}\n{paper}");
    }
    assert_eq!(paper.matches("Initials: ________").count(), 21);
}

/// Computed with Python: hashlib.sha256(b"keyward.ceremony.cka-id.v1\0" + bytes([7]*16) + bytes([8]) + b"0123abcd" +
/// b"key/payments/generate"), and with v2 and bytes([9]*16) after the run.
#[test]
fn the_id_of_a_planned_key() {
    let run = Id::from_bytes([7; 16]);
    let random = Id::from_bytes([9; 16]);
    let step = StepId::from("key/payments/generate");
    let of = |run, serial, step| planned_id(run, serial, Some(&random), step);
    let one = of(&run, "0123abcd", &step);
    assert_eq!(planned_id(&run, "0123abcd", None, &step).to_string(), "1e503f1b0ddfbed97514d415c9e211d6");
    assert_eq!(one.to_string(), "d616e00dfd9072013a4af649d70d4fb5");
    let others = [
        planned_id(&run, "0123abcd", None, &step),
        planned_id(&run, "0123abcd", Some(&Id::from_bytes([8; 16])), &step),
        of(&Id::from_bytes([8; 16]), "0123abcd", &step),
        of(&run, "0123abce", &step),
        of(&run, "0123abc", &StepId::from("dkey/payments/generate")),
        of(&run, "0123abcd", &StepId::from("key/payments/backup")),
    ];
    let all: BTreeSet<_> = others.into_iter().chain([one]).collect();
    assert_eq!(all.len(), 7);
}

/// The first is the example of the article that describes the list; the others are those of two programs that read
/// fingerprints aloud.
#[test]
fn published_vectors_of_the_pgp_word_list() {
    for (digits, said) in [
        (
            "E58294F2E9A227486E8B061B31CC528FD7FA3F19",
            "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa afflict bravado chatter \
             revolver Dupont midsummer stopwatch whimsical cowbell bottomless",
        ),
        (
            "D1D464C004F00FB5C9A4C8D8E433E7FB7FF56256",
            "stairway souvenir flytrap recipe adrift upcoming artist positive spearhead Pandora spaniel stupendous tonic \
             concurrent transit Wichita lockup visitor flagpole escapade",
        ),
        (
            "EA5B81C564988C73EE90DEE9BAF1E07233CDE511",
            "Trojan exodus minnow resistor flytrap narrative offload hurricane tycoon millionaire tactics ultimate shadow \
             vacancy tapeworm holiness chisel sandalwood topmost Babylon",
        ),
        ("DC0D33", "sweatband asteroid chisel"),
        ("00000101FFFF", "aardvark adroitness absurd adviser Zulu Yucatan"),
    ] {
        let bytes: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(words::words(&bytes).collect::<Vec<_>>().join(" "), said, "{digits}");
    }
    // 512 words, none of them twice, but for case.
    let each: Vec<u8> = (0..=255).flat_map(|byte| [byte, byte]).collect();
    let all: BTreeSet<_> = words::words(&each).map(str::to_lowercase).collect();
    assert_eq!(all.len(), 512);
}

#[test]
fn a_plan_that_is_written_from_answers_lints_clean() {
    let ceremony = Ceremony::new();
    assert_eq!(ceremony.plan.lint(&ceremony.text), []);
    let same = Answers { officer: name("olga"), custodians: vec![name("olga"), name("oscar")], ..Answers::example() };
    let text = same.to_toml();
    assert_eq!(Plan::parse(&text).unwrap().lint(&text), []);
    let odd = Answers { module: "/tmp/a \"b\" \\c/ü.so".into(), ..Answers::example() };
    assert_eq!(Plan::parse(&odd.to_toml()).unwrap().tokens[0].module, odd.module);
}

/// Key, signature and message are those of minisign's own documentation.
#[test]
fn witness_keys_are_those_of_minisign() {
    let key: WitnessKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse().unwrap();
    assert_eq!(key.id(), "E7620F1842B4E81F");
    let file = format!("untrusted comment: minisign public key E7620F1842B4E81F\n{}\n", key.to_base64());
    assert_eq!(file.parse::<WitnessKey>().unwrap(), key);
    for bad in [
        "",
        "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO",
        "x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    ] {
        assert!(bad.parse::<WitnessKey>().is_err(), "{bad}");
    }
}

#[test]
fn a_secret_key_asks_for_its_password_and_is_never_printed() {
    let (secret, public) = crate::fixture::witness();
    assert!(!WitnessSecret::needs_password(&secret).unwrap());
    let opened = WitnessSecret::open(&secret, None).unwrap();
    assert_eq!(opened.public_key().unwrap().to_base64(), public);
    assert_eq!(format!("{opened:?}"), "WitnessSecret(…)");
    let locked = minisign::KeyPair::generate_encrypted_keypair(Some("open sesame".into())).unwrap();
    let text = locked.sk.to_box(None).unwrap().to_string();
    assert!(WitnessSecret::needs_password(&text).unwrap());
    assert_eq!(WitnessSecret::open(&text, None).unwrap_err().kind(), ErrorKind::PinRequired);
    let with = |password: &str| WitnessSecret::open(&text, Some(password.to_owned().into()));
    assert_eq!(with("open barley").unwrap_err().kind(), ErrorKind::PinIncorrect);
    assert_eq!(with("open sesame").unwrap().public_key().unwrap().to_base64(), locked.pk.to_base64());
    // One whose halves do not belong together: a byte of the seed is another, and the checksum is left out.
    let mut bytes =
        minisign::SecretKeyBox::from_string(&secret).unwrap().into_unencrypted_secret_key().unwrap().to_bytes();
    let whole = |bytes: &[u8]| format!("untrusted comment: a test\n{}\n", Base64::encode_string(bytes));
    bytes[126..].fill(0);
    assert!(WitnessSecret::open(&whole(&bytes), None).unwrap().sign(b"x", "y").is_ok());
    bytes[62] ^= 1;
    let damaged = WitnessSecret::open(&whole(&bytes), None).unwrap().sign(b"x", "y").unwrap_err();
    assert_eq!(damaged.to_string(), "this secret key is damaged: what it signs is not valid");
    bytes[157] = 1;
    assert_eq!(WitnessSecret::open(&whole(&bytes), None).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(WitnessSecret::open(&public, None).unwrap_err().kind(), ErrorKind::InvalidArgument);
}
