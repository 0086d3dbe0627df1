//! What is not accepted, with the place of what is wrong; and what is accepted with a warning.

use crate::asking::ask;
use keyward::ErrorKind;
use keyward::key::Operation::Unwrap;
use keyward::policy::Policies;
use std::fs;

/// What follows `permit(principal, action == Unwrap, resource)`, on the second line of a file.
fn unwrap(rest: &str) -> String {
    format!("// one\npermit(principal, action == Keyward::Action::\"Unwrap\", resource) {rest};")
}

#[test]
fn a_table_of_mistakes() {
    let cases = [
        ("permit(principal, action resource);".to_owned(), "1, column 26: unexpected token `resource`", ""),
        ("permit(principal, action, resource)".into(), "1, column 36: unexpected end of input", ""),
        ("\n\n  allow(principal, action, resource);".into(), "3, column 3: ", ""),
        ("permit(principal, action, resource); \"".into(), "1, column 38: invalid token", "strings are closed"),
        ("x \u{1b}[31m".into(), "1, column 3: invalid token", ""),
        (
            "permit(principal, action == Keyward::Action::\"Unrap\", resource);".into(),
            "1, column 29: unrecognized action `Keyward::Action::\"Unrap\"`",
            "did you mean `Keyward::Action::\"Wrap\"`?",
        ),
        (
            "permit(principal == Keyward::Usr::\"a\", action, resource);".into(),
            "1, column 21: unrecognized entity type `Keyward::Usr`",
            "did you mean `Keyward::User`?",
        ),
        (
            "permit(principal == User::\"a\", action, resource);".into(),
            "1, column 21: unrecognized entity type `User`",
            "",
        ),
        (
            unwrap("when { resource.nme == \"a\" }"),
            "2, column 73: attribute `nme` on entity type `Keyward::Key` not found",
            "did you mean `name`?",
        ),
        (unwrap("when { context.tim < context.time }"), "2, column 73: attribute `tim` in context", "`time`?"),
        (
            unwrap("when { resource.state == 3 }"),
            "2, column 73: the types Long and String are not compatible",
            "both operands",
        ),
        (unwrap("when { resource.version }"), "2, column 73: ", ""),
        (
            unwrap("when { context.encryption_context.getTag(\"a\") == \"b\" }"),
            "2, column 73: unable to guarantee safety of access to tag `\"a\"`",
            "`.hasTag(\"a\") && ..`",
        ),
        (unwrap("when { context.encryption_context.tenant == \"b\" }"), "2, column 73: attribute `tenant`", ""),
        (unwrap("when { context.time < datetime(\"soon\") }"), "2, column 88: ", "YYYY-MM-DD"),
        (unwrap("when { ip(resource.name).isLoopback() }"), "2, column 73: extension constructors", ""),
        (unwrap("when { [].contains(1) }"), "2, column 73: empty set literals", ""),
        (unwrap("when { 9223372036854775808 > resource.version }"), "2, column 73: integer", ""),
        // Of other keys and users nothing is known.
        (
            unwrap("when { Keyward::Key::\"a\".state == \"active\" }"),
            "2, column 73: entity literals cannot be dereferenced",
            "",
        ),
        (
            unwrap("when { Keyward::User::\"a\" in Keyward::Group::\"g\" }"),
            "2, column 73: entity literals cannot be dereferenced",
            "",
        ),
        // ListKeys has a folder, which has no state.
        (
            "permit(principal, action, resource) when { resource.state == \"active\" };".into(),
            "1, column 44: attribute `state` on entity type `Keyward::Folder` not found",
            "resource is Keyward::Key",
        ),
        (
            "permit(principal == ?principal, action, resource);".into(),
            "1, column 21: expected a static policy, got a template",
            "template slot",
        ),
        (unwrap("when { resource has state }"), "2, column 82: 'has' is not used here", "hasTag(\"KEY\")"),
        (unwrap("when { Keyward::Key::\"a\" has state }"), "2, column 91: 'has' is not used here", "hasTag"),
        (
            unwrap("when { (if true then resource else resource) has \"state\" }"),
            "2, column 111: 'has' is not used here",
            "hasTag",
        ),
        (
            unwrap("when { \"has\" == resource.name } unless { {a: 1} has b }"),
            "2, column 114: 'has' is not used here",
            "hasTag",
        ),
        ("@id(\"\") permit(principal, action, resource);".into(), "1, column 1: an @id is", ""),
        ("@id permit(principal, action, resource);".into(), "1, column 1: an @id is", ""),
        ("@id(\"a\\nb\") permit(principal, action, resource);".into(), "1, column 1: an @id is", ""),
        (format!("@id(\"{}\") permit(principal, action, resource);", "x".repeat(129)), "1, column 1: an @id is", ""),
        (
            "@id(\"a\") permit(principal, action, resource);\n @id(\"a\") forbid(principal, action, resource);".into(),
            "2, column 2: the @id of policy 'a' is that of the policy on line 1 of 'p.cedar'",
            "",
        ),
        (unwrap(&format!("when {{ {} }}", "(".repeat(40))), "2, column 104: brackets are nested more than 32 deep", ""),
        (
            unwrap(&format!("when {{ \"{}\" == \"\" }}", "x".repeat(16384))),
            "2, column 1: a policy is longer than 16 KiB",
            "",
        ),
    ];
    for (text, expected, hint) in cases {
        let error = Policies::parse("p.cedar", &text).expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let said = error.to_string();
        assert!(said.starts_with(&format!("policy file 'p.cedar', line {expected}")), "{text}\n{said}\n{expected}");
        assert!(!said.contains(char::is_control) && !said.contains("policy `"), "{said:?}");
        let given = error.hint().unwrap_or_default();
        assert!(
            given.contains(hint) && !given.contains(char::is_control) && !given.contains("for policy"),
            "{text}\n{given}"
        );
    }
}

#[test]
fn the_first_mistake_is_the_one_that_is_told() {
    let text = unwrap("when { resource.b }") + &unwrap("when { resource.a }") + "\n" + &unwrap("when { resource.c }");
    let error = Policies::parse("p", &text).unwrap_err();
    assert!(error.to_string().contains("line 2, column 73: attribute `b`"), "{error}");
}

#[test]
fn what_looks_like_has_and_is_not() {
    for text in [
        unwrap("when { resource.name == \"it has state\" }"),
        unwrap("when { context.encryption_context.hasTag(\"has\") } // has\n"),
        "@has(\"x\") permit(principal, action, resource);".into(),
    ] {
        Policies::parse("p", &text).unwrap();
    }
}

#[test]
fn warnings_have_places_as_well() {
    let warned = |text: &str| Policies::parse("p", text).unwrap().warnings().to_vec();
    assert!(warned(&unwrap("when { resource.state == \"active\" }")).is_empty());
    let never = warned("\npermit(principal, action == Keyward::Action::\"Wrap\", resource is Keyward::Folder);");
    assert!(never[0].starts_with("policy file 'p', line 2, column 1: "), "{never:?}");
    assert!(never.iter().any(|warning| warning.contains("policy is impossible")), "{never:?}");
    let turned = warned(&unwrap("when { resource.name == \"a\u{202e}\" }"));
    assert!(turned[0].contains("BIDI") && !turned[0].contains('\u{202e}'), "{turned:?}");
    assert_eq!(warned("// nothing\n"), ["policy file 'p' has no policy: everything is denied"]);
}

#[test]
fn files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let policy = |id: &str| format!("@id(\"{id}\") permit(principal, action, resource);\n");

    let error = Policies::read(path("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = Policies::read(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().ends_with("has no file *.cedar"), "{error}");

    fs::write(path("b.cedar"), policy("b1") + &policy("b2")).unwrap();
    fs::write(path("a.cedar"), policy("a")).unwrap();
    fs::write(path("notes.txt"), "no policy").unwrap();
    let policies = Policies::read(dir.path()).unwrap();
    let ids: Vec<_> = policies.rules().iter().map(|rule| (rule.id().unwrap(), rule.line())).collect();
    assert_eq!(ids, [("a", 1), ("b1", 1), ("b2", 2)]);
    assert_eq!(policies.rules()[2].file(), path("b.cedar").display().to_string());

    // An @id is given once in all files together.
    fs::write(path("c.cedar"), policy("a")).unwrap();
    let error = Policies::read(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("c.cedar', line 1, column 1: the @id of policy 'a'") && error.contains("a.cedar"),
        "{error}"
    );

    fs::write(path("c.cedar"), b"// \xc3\xa9\n// x\xffy").unwrap();
    let error = Policies::read(dir.path()).unwrap_err();
    assert!(error.to_string().ends_with("c.cedar', line 2, column 5: not UTF-8"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    fs::write(path("c.cedar"), "/".repeat(Policies::MAX_LEN + 1)).unwrap();
    let error = Policies::read(path("c.cedar")).unwrap_err();
    assert!(error.to_string().ends_with("more than 1024 KiB of policies"), "{error}");
    fs::write(path("c.cedar"), "/".repeat(Policies::MAX_LEN)).unwrap();
    assert!(Policies::read(path("c.cedar")).is_ok());
    assert!(Policies::read(dir.path()).is_err(), "all files together");
    // A device that does not end is not read to its end.
    assert!(Policies::read("/dev/zero").is_err());
}

#[test]
fn as_many_policies_as_are_allowed() {
    let text = "permit(principal,action,resource);".repeat(Policies::MAX_POLICIES);
    assert_eq!(Policies::parse("p", &text).unwrap().rules().len(), Policies::MAX_POLICIES);
    let error = Policies::parse("p", &(text + " permit(principal,action,resource);")).unwrap_err();
    assert!(error.to_string().ends_with("there are more than 10000 policies"), "{error}");
}

/// Whatever recurses into a policy has to come to its end on the stack of a small thread.
#[test]
fn the_longest_policies_need_no_deep_stack() {
    let repeat = |part: &str, times: usize| part.repeat(times);
    let texts = move |times: usize| {
        [
            format!("{}true", repeat("true && ", times)),
            format!("{}true", repeat("false || ", times)),
            format!("{}1 == 1", repeat("1 + ", times)),
            format!("{}1 == 1", repeat("2 * ", times)),
            format!("{}true", repeat("if true then true else ", times)),
            format!("{}true", repeat("if ", times)),
            format!("{}true", repeat("!", times)),
            format!("{}1 == 1", repeat("-", times)),
            format!("context{}", repeat(".a", times)),
            format!("context{}", repeat(".a()", times)),
            format!("resource.name{}", repeat("[\"a\"]", times)),
            format!("resource.name == \"{}\"", repeat("\\u{61}", times)),
            format!("resource.name like \"{}\"", repeat("*a", times)),
            format!("[{}1] == [1]", repeat("1,", times)),
            format!("{}a::\"x\" == resource", repeat("a::", times)),
            repeat("true } unless { ", times) + "true",
            format!("{}true{}", repeat("(", 30), repeat(")", 30)),
            format!("{}1{} == 1", repeat("-(", 30), repeat(")", 30)),
            format!("{}true{}", repeat("[", 30), repeat("]", 30)),
        ]
    };
    let work = move || {
        let mut loaded = 0;
        for text in [100, 250, 500, 1000, 2000, 5000].into_iter().flat_map(texts) {
            let Ok(policies) = Policies::parse("p", &unwrap(&format!("when {{ {text} }}"))) else { continue };
            let _ = ask("alice", Unwrap, "k").of(&policies);
            loaded += 1;
        }
        loaded
    };
    let loaded = std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
    assert!(loaded > 20, "{loaded} of them were policies");
}
