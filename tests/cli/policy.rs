//! `keyward policy`: what it prints and how it exits. None of it needs a token.

use crate::bench::Bench;

const POLICIES: &str = r#"// Who may do what.
@id("ops-rotate")
permit(principal in Keyward::Group::"ops", action == Keyward::Action::"RotateKey", resource);

@id("shop-opens-its-own")
permit(principal == Keyward::User::"shop", action == Keyward::Action::"Unwrap", resource in Keyward::Folder::"shop")
when { context.encryption_context.hasTag("tenant") && context.encryption_context.getTag("tenant") == "acme" };

forbid(principal, action, resource) when {
  resource is Keyward::Key && resource.state == "disabled"
};
"#;

#[test]
fn check() {
    let bench = Bench::new();
    bench.write("p.cedar", POLICIES);
    assert_eq!(bench.ok("policy check p.cedar"), "3 policies in 'p.cedar'\n");
    bench.write("one.cedar", "permit(principal, action, resource);");
    assert_eq!(bench.ok("policy check one.cedar"), "1 policy in 'one.cedar'\n");

    std::fs::create_dir(bench.path("dir")).unwrap();
    bench.refuses("policy check dir", 2, &["keyward: error: policy directory 'dir' has no file *.cedar"]);
    bench.write("dir/b.cedar", POLICIES);
    bench.write("dir/a.cedar", "permit(principal, action, resource);");
    assert_eq!(bench.ok("policy check dir"), "4 policies in 'dir'\n");

    bench.write("bad.cedar", POLICIES.replace("resource.state", "resource.stat"));
    bench.refuses(
        "policy check bad.cedar",
        2,
        &[
            "keyward: error: policy file 'bad.cedar', line 10, column 31: attribute `stat` on entity type `Keyward::Key` not found",
            "keyward: hint: did you mean `state`?",
        ],
    );
    bench.refuses(
        "policy check none.cedar",
        1,
        &["keyward: error: cannot read policy file 'none.cedar': No such file or directory (os error 2)"],
    );

    bench.write("empty.cedar", "// later\n");
    let done = bench.run("policy check empty.cedar");
    assert_eq!(done.stderr, "keyward: warning: policy file 'empty.cedar' has no policy: everything is denied\n");
    assert_eq!((done.text(), done.status), ("0 policies in 'empty.cedar'\n", 0));
    assert!(bench.run("--quiet policy check empty.cedar").stderr.is_empty());
}

#[test]
fn explain() {
    let bench = Bench::new();
    bench.write("p.cedar", POLICIES);
    let cases: &[(&str, i32, &str, &str)] = &[
        (
            "--principal shop --action Unwrap --key shop/orders --context tenant=acme --state retired",
            0,
            "allowed\n\
             policy   permit 'shop-opens-its-own', 'p.cedar' line 5\n\
             decided  once the token has described the key\n",
            "",
        ),
        (
            "--principal shop --action Unwrap --key shop/orders --context tenant=other",
            3,
            "denied\n\
             because  no policy allows 'shop' to Unwrap with key 'shop/orders:1'\n\
             decided  once the token has described the key\n",
            "keyward: hint: ask whoever keeps 'p.cedar' for: permit(principal == Keyward::User::\"shop\", \
             action == Keyward::Action::\"Unwrap\", resource == Keyward::Key::\"shop/orders\");\n",
        ),
        (
            "--principal alice --group ops --group staff --action RotateKey --key k --state disabled --version 7",
            3,
            "denied\n\
             because  the policy on line 9 of 'p.cedar' forbids 'alice' to RotateKey with key 'k:7'\n\
             policy   forbid, 'p.cedar' line 9\n\
             decided  once the token has described the key\n",
            "keyward: hint: ask whoever keeps 'p.cedar' whether it forbids more than was meant ('p.cedar', line 9)\n",
        ),
        (
            "--principal alice --action ListKeys",
            3,
            "denied\n\
             because  no policy allows 'alice' to ListKeys\n\
             decided  before the token is asked\n",
            "keyward: hint: ask whoever keeps 'p.cedar' for: permit(principal == Keyward::User::\"alice\", \
             action == Keyward::Action::\"ListKeys\", resource == Keyward::Folder::\"/\");\n",
        ),
    ];
    for (args, status, stdout, stderr) in cases {
        let done = bench.run(&format!("policy explain --policy p.cedar {args}"));
        assert_eq!((done.text(), done.stderr.as_str(), done.status), (*stdout, *stderr, *status), "{args}");
    }
}

#[test]
fn explain_takes_time_and_new_keys() {
    let bench = Bench::new();
    bench.write(
        "p.cedar",
        "permit(principal, action == Keyward::Action::\"Wrap\", resource) when { context.time < datetime(\"2026-01-01\") };\n\
         permit(principal, action == Keyward::Action::\"CreateKey\", resource) when { resource.algorithm == \"aes-kw\" };",
    );
    let status =
        |args: &str| bench.run(&format!("policy explain --policy p.cedar --principal a --key k {args}")).status;
    assert_eq!(status("--action Wrap --at 2025-12-31T23:59:59Z"), 0);
    assert_eq!(status("--action Wrap --at 2025-12-31T23:59:59-01:00"), 3);
    assert_eq!(status("--action Wrap"), 3);
    assert_eq!(status("--action CreateKey"), 3);
    assert_eq!(status("--action CreateKey --algorithm aes-kw"), 0);
}

#[test]
fn explain_as_json() {
    let bench = Bench::new();
    bench.write("p.cedar", POLICIES);
    let run = |args: &str| {
        let done = bench.run(&format!("policy explain --json --policy p.cedar {args}"));
        assert!(done.stderr.is_empty(), "{}", done.stderr);
        (done.status, serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap())
    };
    let (status, json) = run("--principal alice --group ops --action RotateKey --key k");
    assert_eq!(
        (status, json),
        (
            0,
            serde_json::json!({
                "decision": "allowed",
                "decided_by_name": false,
                "policies": [{"id": "ops-rotate", "effect": "permit", "file": "p.cedar", "line": 2}],
            })
        )
    );
    let (status, json) = run("--principal alice --action RotateKey --key k --state disabled");
    assert_eq!(status, 3);
    assert_eq!((&json["decision"], &json["reason"]), (&"denied".into(), &"forbidden".into()));
    assert_eq!(json["message"], "the policy on line 9 of 'p.cedar' forbids 'alice' to RotateKey with key 'k:1'");
    assert_eq!(json["policies"], serde_json::json!([{"id": null, "effect": "forbid", "file": "p.cedar", "line": 9}]));
    assert!(json["hint"].as_str().unwrap().starts_with("ask whoever keeps 'p.cedar'"));
}

#[test]
fn the_configuration_names_policies_beside_itself() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("etc")).unwrap();
    bench.write("etc/keyward.toml", "policy = 'p.cedar'\n");
    bench.write("etc/p.cedar", POLICIES);
    let explain = "policy explain --principal alice --group ops --action RotateKey --key k";
    let said = bench.ok(&format!("--config etc/keyward.toml {explain}"));
    assert!(said.contains("'etc/p.cedar' line 2"), "{said}");

    bench.refuses(
        explain,
        2,
        &[
            "keyward: error: no policies are named",
            "keyward: hint: give --policy FILE, or a configuration file with a line policy = \"FILE\"",
        ],
    );
}

#[test]
fn wrong_usage() {
    let bench = Bench::new();
    bench.write("p.cedar", POLICIES);
    let how = "keyward: hint: `keyward policy explain --help` says how";
    let cases: &[(&str, &[&str])] = &[
        ("--principal a --action Unwrap", &["keyward: error: --key is missing", how]),
        (
            "--principal a --action ListKeys --key k",
            &["keyward: error: ListKeys is asked of no key: leave --key away", how],
        ),
        (
            "--principal a --action CreateKey --key k --state active",
            &["keyward: error: a key that is to be made has no --version, --state or --provenance yet", how],
        ),
        (
            "--principal a --action unwrap --key k",
            &[
                "keyward: error: invalid value 'unwrap' for '--action <ACTION>': there is no operation 'unwrap'",
                "keyward: hint: one of GenerateDataKey, Wrap, Unwrap, Rewrap, CreateKey, RotateKey, DisableKey, EnableKey, \
                 DestroyKey, AdoptKey, DescribeKey, ListKeys, GetPublicKey",
            ],
        ),
        (
            "--principal a --action Unwrap --key k --context tenant",
            &[
                "keyward: error: invalid value 'tenant' for '--context <KEY=VALUE>': a context pair has no '='",
                "keyward: hint: write --context KEY=VALUE, as in --context tenant=acme",
            ],
        ),
    ];
    for (args, stderr) in cases {
        bench.refuses(&format!("policy explain --policy p.cedar {args}"), 2, stderr);
    }
}

#[test]
fn schema() {
    let bench = Bench::new();
    let schema = bench.ok("policy schema");
    assert!(schema.contains("namespace Keyward {") && schema.contains("action ListKeys appliesTo"));
}
