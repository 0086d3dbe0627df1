//! One plan for each thing that may contradict itself.

use crate::fixture::{Ceremony, witness};
use base64ct::{Base64, Encoding};
use keyward::ErrorKind;
use keyward::ceremony::{Begin, Bundle, Journal, Plan, WitnessKey, script};

/// What lint says of a good plan with `from` replaced by `to`.
fn findings(plan: &str, from: &str, to: &str) -> Vec<String> {
    assert!(plan.contains(from), "{from}");
    let text = plan.replacen(from, to, 1);
    let plan = Plan::parse(&text).unwrap_or_else(|error| panic!("{from} → {to}: {error}"));
    plan.lint(&text).iter().map(ToString::to_string).collect()
}

/// A key in full, to be put in the place of another.
const SIBLING: &str = "backup = { method = \"sibling\", token = \"second\" }";
const IMPORTED: &str =
    "provenance = \"imported-components\"\ncomponents = [\"carol\", \"dave\"]\nnever_extractable = false\n#";
const TRUSTED: &str =
    "never_extractable = false\nbackup = { method = \"trusted-wrap\", token = \"second\", mechanism = \"rsa-oaep\" }";

#[test]
fn every_contradiction_is_told_with_its_place() {
    let ceremony = Ceremony::new();
    let plan = ceremony.text.as_str();
    let shares: Vec<_> = (0..17).map(|i| format!("\"c{i}\"")).collect();
    let people: String = (0..17).map(|i| format!("[[people]]\nname = \"c{i}\"\nroles = [\"custodian\"]\n\n")).collect();
    let crowd = plan.replacen("[[people]]", &format!("{people}[[people]]"), 1);
    let all_of_them = crowd.replacen(
        "custodians = [\"carol\", \"dave\", \"erin\"]",
        &format!("custodians = [{}]", shares.join(", ")),
        1,
    );
    let same_key = {
        let keys: Vec<&str> = plan.lines().filter(|line| line.starts_with("minisign")).collect();
        (keys[0].to_owned(), keys[1].to_owned())
    };
    let generated = "provenance = \"generated\"            #";
    for (from, to, told) in [
        ("", "", ""),
        // People.
        ("name = \"dave\"", "name = \"carol\"", "people.carol: there are two of this name"),
        ("roles = [\"operator\"]", "roles = []", "people: nobody has the role operator"),
        ("roles = [\"operator\"]", "roles = []", "people.olga: no role is given"),
        ("roles = [\"officer\"]", "roles = [\"officer\", \"operator\"]", "people: more than one has the role operator"),
        (
            "roles = [\"operator\"]",
            "roles = [\"operator\", \"witness\"]",
            "people.olga: a witness needs her public key",
        ),
        (
            "roles = [\"witness\"]",
            "roles = [\"witness\", \"operator\"]",
            "people.walter: the operator cannot be a witness as well",
        ),
        (
            "roles = [\"witness\"]",
            "roles = [\"custodian\"]",
            "people.walter: a public key is given for somebody who is no",
        ),
        (&same_key.0, &same_key.1, "people.wanda: another witness has the same public key"),
        // Tokens.
        ("name = \"second\"", "name = \"primary\"", "tokens.primary: there are two of this name"),
        ("label = \"2026-11-payments-b\"", "label = \"2026-11-payments-a\"", "another token has the same label"),
        ("initialize = true ", "initialize = false ", "tokens.primary: a free token has to be initialized"),
        ("initialize = true ", "initialize = false ", "the PIN of a token that is not initialized cannot be split"),
        ("officer = \"oscar\"", "", "tokens.primary: to initialize it, an 'officer' is needed"),
        (
            "officer = \"oscar\"",
            "officer = \"nobody\"",
            "tokens.primary.officer: 'nobody' is nobody that 'people' lists",
        ),
        ("officer = \"oscar\"", "officer = \"carol\"", "tokens.primary.officer: 'carol' has not the role officer"),
        ("objects_before = 0", "objects_before = 1", "tokens.primary: a free token has no objects"),
        ("objects_after = 4", "objects_after = 5", "tokens.primary: 'objects_after' does not fit"),
        // Shares.
        ("threshold = 2", "threshold = 1", "tokens.primary.custody: a threshold below 2 is no sharing"),
        ("threshold = 2", "threshold = 4", "tokens.primary.custody: the threshold 4 is over the 3 shares"),
        ("length = 24", "length = 33", "tokens.primary.custody: the PIN has 8 to 32 characters"),
        ("\"dave\", \"erin\"]", "\"dave\", \"carol\"]", "tokens.primary.custody: 'carol' stands there twice"),
        ("\"dave\", \"erin\"]", "\"dave\", \"nobody\"]", "tokens.primary.custody: 'nobody' is nobody"),
        ("\"dave\", \"erin\"]", "\"dave\", \"olga\"]", "tokens.primary.custody: 'olga' has not the role custodian"),
        (
            "custody = { length = 24, threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }",
            "custody = { typed_by = \"nobody\" }",
            "tokens.primary.custody: 'nobody' is nobody",
        ),
        // Keys.
        ("name = \"a/box\"", "name = \"payments\"", "keys.payments: there are two of this name"),
        (
            "token = \"primary\"\nalg",
            "token = \"third\"\nalg",
            "keys.payments: 'third' is no token that 'tokens' lists",
        ),
        (
            "\"encrypt\", \"decrypt\"",
            "\"decrypt\", \"wrap\"",
            "the usage of a key for aes-gcm is encrypt and decrypt, no more",
        ),
        ("\"encrypt\", \"decrypt\"", "\"decrypt\", \"decrypt\", \"encrypt\"", "the usage of a key for aes-gcm is"),
        (
            generated,
            "provenance = \"generated\"\ncomponents = [\"carol\"]\n#",
            "a key that is generated has no components",
        ),
        (generated, IMPORTED, ""),
        (generated, &IMPORTED.replace(", \"dave\"", ""), "keys.payments.components: one component would be the key"),
        (generated, &IMPORTED.replace("dave", "carol"), "keys.payments.components: 'carol' stands there twice"),
        (generated, &IMPORTED.replace("dave", "olga"), "keys.payments.components: 'olga' has not the role custodian"),
        (
            generated,
            &IMPORTED.replace("false", "true"),
            "keys.payments: it is to be never-extractable, and it is imported",
        ),
        (SIBLING, "never_extractable = false\nbackup = { token = \"second\" }", "nothing takes it out of its token"),
        // Backups.
        (SIBLING, "backup = { token = \"second\" }", ""),
        (SIBLING, "backup = {}", "keys.payments.backup: 'token' has to say which is the second token"),
        (
            SIBLING,
            "backup = { token = \"primary\" }",
            "keys.payments.backup: the second token is the one of the key itself",
        ),
        (SIBLING, "backup = { token = \"third\" }", "keys.payments.backup: 'third' is no token that 'tokens' lists"),
        (SIBLING, "backup = { method = \"none\", token = \"second\" }", "there is no backup, and a token for it"),
        (SIBLING, "backup = { method = \"hsm-clone\", token = \"second\" }", ""),
        (SIBLING, &SIBLING.replace("sibling", "imported-components"), "a key that is generated cannot be imported"),
        (SIBLING, &SIBLING.replace(" }", ", mechanism = \"rsa-oaep\" }"), "and nothing is exported"),
        (SIBLING, TRUSTED, ""),
        (
            SIBLING,
            &TRUSTED.replace("false", "true"),
            "keys.payments: it is to be never-extractable, and its backup is exported",
        ),
        (
            SIBLING,
            &TRUSTED.replace(", mechanism = \"rsa-oaep\"", ""),
            "'mechanism' has to say what it is exported with",
        ),
    ] {
        let found = findings(plan, from, to);
        if told.is_empty() {
            assert_eq!(found, [""; 0], "{to}");
        } else {
            assert!(found.iter().any(|finding| finding.contains(told)), "{to}: {told}\n{found:#?}");
        }
    }
    let found = findings(&all_of_them, "", "");
    assert_eq!(found, ["tokens.primary.custody: 17 shares are too many: 16 at most"]);

    // What takes more than one change.
    let rsa = plan.replace(SIBLING, TRUSTED);
    assert!(findings(&rsa, "", "").contains(
        &"keys.a/box.backup: an RSA key is too long for RSA-OAEP: let the second token make a sibling".to_owned()
    ));
    let rsa = plan.replace(generated, IMPORTED);
    assert!(
        findings(&rsa, "", "").iter().any(|f| f == "keys.a/box.components: an RSA key does not come in components")
    );
    let twice =
        plan.replacen(generated, IMPORTED, 1).replacen(SIBLING, &TRUSTED.replace("never_extractable = false", ""), 1);
    assert!(findings(&twice, "", "").iter().any(|f| f.ends_with("is imported again and not exported")));
    let no_witness = plan.replace("\"witness\"", "\"custodian\"");
    assert!(findings(&no_witness, "", "").contains(&"people: nobody has the role witness".to_owned()));
    let serials = plan.replace("serial = \"free\"", "serial = \"0123abcd\"");
    assert!(findings(&serials, "", "").contains(&"tokens.second: another token has the same serial number".to_owned()));
    let at = plan.find("module_sha256").unwrap();
    let modules = format!("{}module_sha256 = \"{}\"{}", &plan[..at], "0".repeat(64), &plan[at + 82..]);
    assert!(
        findings(&modules, "", "")
            .contains(&"tokens.second: another token has the same module with another hash".to_owned())
    );
    let unused = plan.replace("keys]]", "destroy]]").split("[[destroy]]").next().unwrap().to_owned();
    let unused = unused.replace("objects_after = 4", "objects_after = 0");
    assert_eq!(findings(&unused, "", ""), ["keys: no key is made, and none is destroyed"]);
}

#[test]
fn what_is_destroyed_must_be_there_and_not_just_made() {
    let ceremony = Ceremony::new();
    // A token that is not initialized, and whose PIN somebody knows.
    let old = ceremony
        .text
        .replacen("serial = \"free\"", "serial = \"0123\"", 1)
        .replacen("initialize = true", "initialize = false", 1)
        .replacen(
            "custody = { length = 24, threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }",
            "custody = { typed_by = \"olga\" }",
            1,
        )
        .replacen("objects_before = 0", "objects_before = 2", 1);
    let destroy = |key: &str, token: &str| format!("[[destroy]]\ntoken = \"{token}\"\nkey = \"{key}\"\n");
    let plan = |end: &str, after: u32| {
        let text = format!("{}\n{end}", old.replacen("objects_after = 4", &format!("objects_after = {after}"), 1));
        Plan::parse(&text).unwrap().lint(&text).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(plan(&destroy("old:1", "primary"), 4), [""; 0]);
    // One that another tool made has no record.
    assert_eq!(plan(&destroy("old:1", "primary"), 5), [""; 0]);
    assert_eq!(
        plan(&destroy("old:1", "primary"), 6),
        ["tokens.primary: 'objects_after' does not fit: what is made and destroyed leaves 4 to 5"]
    );
    for (end, told) in [
        (destroy("old:1", "third"), "destroy.old:1: 'third' is no token that 'tokens' lists"),
        (destroy("old:1", "second"), "destroy.old:1: its token is initialized, and nothing is left on it"),
        (destroy("old:1", "primary").repeat(2), "destroy.old:1: it is destroyed twice"),
        (destroy("payments:1", "primary"), "destroy.payments:1: the same key is made by this plan"),
    ] {
        let found = plan(&end, 4);
        assert!(found.iter().any(|finding| finding.starts_with(told)), "{told}\n{found:#?}");
    }
}

#[test]
fn one_witness_does_nothing_but_watch() {
    let plan = Ceremony::new().text;
    let told = "people: every witness does something else as well: one at least has to do nothing but watch";
    let custodian = |plan: &str| plan.replacen("roles = [\"witness\"]", "roles = [\"witness\", \"custodian\"]", 1);
    let one = custodian(&plan);
    assert_eq!(findings(&one, "", ""), [""; 0]);
    assert_eq!(findings(&custodian(&one), "", ""), [told]);
    // One who knows a PIN has no role for that.
    let shared = "custody = { length = 24, threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }";
    for witness in ["wanda", "walter"] {
        let found = findings(&one, shared, &format!("custody = {{ typed_by = \"{witness}\" }}"));
        assert_eq!(found.contains(&told.to_owned()), witness == "wanda", "{witness}");
    }
}

#[test]
fn what_is_not_seen_on_paper_is_told_with_its_line() {
    let plan = Ceremony::new().text;
    for (c, code) in
        [('\u{202e}', "202E"), ('\u{2066}', "2066"), ('\u{200b}', "200B"), ('\u{feff}', "FEFF"), ('\u{ad}', "00AD")]
    {
        let told = |line| format!("line {line}: a character that is not seen, U+{code}, stands there");
        let named = findings(&plan, "name = \"carol\"", &format!("name = \"carol\"\nfull_name = \"Ca{c}rol\""));
        let line = plan.lines().position(|line| line == "name = \"carol\"").unwrap() + 2;
        assert_eq!(named, [told(line)]);
        assert_eq!(findings(&plan, "# The plan", &format!("# The {c}plan")), [told(1)]);
    }
    assert_eq!(findings(&plan, "name = \"carol\"", "name = \"carol\"\nfull_name = \"Ørsted 李明\""), [""; 0]);
}

/// Keys of small order: anyone signs for such a witness.
#[test]
fn witness_keys_of_small_order_are_refused() {
    let points = [
        [0; 32],
        std::array::from_fn(|at| u8::from(at == 0)),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ];
    for mut point in points {
        for _ in 0..2 {
            let key = [&b"Ed12345678"[..], &point].concat();
            let error = Base64::encode_string(&key).parse::<WitnessKey>().unwrap_err().to_string();
            assert_eq!(error, "anyone can sign for this public key: it is a point of small order");
            // The other sign.
            point[31] ^= 0x80;
        }
    }
}

fn hex(digits: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn plan_of_an_older_format_is_not_run() {
    let ceremony = Ceremony::new();
    let old = findings(&ceremony.text, "format = 2", "format = 1");
    assert_eq!(old, ["format: the plan is of format 1, and a new ceremony needs format 2"]);
    let text = ceremony.text.replacen("format = 2", "format = 1", 1);
    let bundle = Bundle::create(&ceremony.path(), &text).unwrap();
    let error = Journal::begin(&bundle, Begin::new("test")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn shares_are_handed_out_as_the_plan_says() {
    let plan = Ceremony::new().text;
    for (way, told) in [("screen", "alone looks at the screen"), ("paper", "is printed"), ("file", "goes into a file")]
    {
        let text = plan.replacen("threshold = 2", &format!("threshold = 2, handout = \"{way}\""), 1);
        let plan = Plan::parse(&text).unwrap();
        assert_eq!(plan.lint(&text), []);
        let step = script(&plan).into_iter().find(|step| step.id.as_str() == "token/primary/share:carol").unwrap();
        assert!(step.announce.contains(told), "{}", step.announce);
    }
}

#[test]
fn what_looks_like_a_secret_is_told_and_not_repeated() {
    let ceremony = Ceremony::new();
    let share = {
        let set = keyward::ceremony::shares::Set::new(
            &keyward::ceremony::Id::from_bytes([1; 16]),
            &"primary".parse().unwrap(),
        );
        let pin = keyward::ceremony::shares::SharedPin::from_random(&[9; 24]).unwrap();
        keyward::ceremony::shares::split(&pin, &set, 2, 2, |_| Ok(())).unwrap()[0].to_text().to_string()
    };
    let secret = witness().0;
    let secret = secret.lines().nth(1).unwrap();
    for (line, told) in [
        ("# PIN: 4711", "this looks like a PIN or a password"),
        ("# so-pin = \"hunter2\"", "this looks like a PIN or a password"),
        ("# Passwort: geheim", "this looks like a PIN or a password"),
        ("# pkcs11:token=x?pin-value=4711", "this looks like a PIN or a password"),
        ("# -----BEGIN PRIVATE KEY-----", "this looks like a private key"),
        (&format!("# {secret}"), "this looks like a private key"),
        (&format!("# {share}"), "this is a share of a PIN"),
    ] {
        let found = findings(&ceremony.text, "format = 2", &format!("format = 2\n{line}"));
        let at = ceremony.text.lines().position(|line| line == "format = 2").unwrap() + 2;
        assert_eq!(found, [format!("line {at}: {told}")], "{line}");
    }
    let found = findings(&ceremony.text, "name = \"carol\"", "name = \"carol\"\nfull_name = \"471100\"");
    assert_eq!(found, ["people: digits alone look like a PIN"]);
    for harmless in ["# the PIN is split: see below", "# pins: 2 of 3", "# who types the PIN = oscar? no"] {
        let found = findings(&ceremony.text, "format = 2", &format!("format = 2\n{harmless}"));
        assert!(found.is_empty() || harmless.contains("oscar"), "{harmless} {found:?}");
    }
}

#[test]
fn a_plan_that_is_none_is_refused_with_its_line_and_without_its_text() {
    let ceremony = Ceremony::new();
    for (from, to, told) in [
        ("format = 2", "format = 2\npin = \"4711\"", "unknown field `pin`"),
        ("format = 2", "format = 4711", "the format of a plan is 2"),
        ("initialize = true", "initialise = true", "unknown field `initialise`"),
        ("label = \"2026-11-payments-a\"", "label = \"0123456789012345678901234567894711\"", "1 to 32 bytes of text"),
        ("serial = \"free\"", "serial = \"4711 4711\"", "a serial is 1 to 16 characters without blanks"),
        ("module_sha256 = \"", "module_sha256 = \"4711", "a SHA-256 hash is 64 lower-case hexadecimal digits"),
        ("tool_sha256 = \"", "tool_sha256 = \"4711", "a SHA-256 hash is 64 lower-case hexadecimal digits"),
        ("module = \"/", "module = \"4711/", "expected an absolute path"),
        ("name = \"carol\"", "name = \"4711 x\"", "a name here is 1 to 40 of: a-z 0-9 -"),
        ("name = \"payments\"", "name = \"4711 x\"", "a key name is 1 to 64 of"),
        (
            "algorithm = \"aes-gcm\"",
            "algorithm = \"4711\"",
            "an algorithm is aes-gcm, aes-kw, rsa-oaep or rsa-oaep-sha1",
        ),
        ("algorithm = \"aes-gcm\"", "algorithm = \"customer-key\"", "an algorithm is aes-gcm"),
        (
            "roles = [\"operator\"]",
            "roles = [\"4711\"]",
            "expected one of `operator`, `officer`, `custodian`, `witness`",
        ),
        ("provenance = \"generated\"", "provenance = \"4711\"", "expected `generated` or `imported-components`"),
        ("length = 24", "typed_by = \"olga\"", "custody is either 'threshold' and 'custodians', or 'typed_by' alone"),
        ("token = \"second\" }", "token = \"second\", mechanism = \"aes-cbc-pad\" }", "only RSA-OAEP may export"),
        ("minisign = \"RW", "minisign = \"4711", "this is not a minisign public key"),
        ("threshold = 2", "threshold = 4711", "expected u8"),
        ("# version = 1", "version = 0", "a version is a whole number from 1"),
    ] {
        let text = ceremony.text.replacen(from, to, 1);
        let error = Plan::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("the plan is not valid: line ") && error.contains(told), "{to}: {error}");
        assert!(!error.contains("4711"), "{error}");
    }
}
