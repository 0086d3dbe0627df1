#![allow(missing_docs)]
use keyward::policy::*;
#[test]
fn x() {
    for text in [
        "permit(principal, action, resource);",
        "permit(principal, action resource);",
        "permit(principal, action, resource)",
        "permit(principal, action, resource) when { resource.nme == \"a\" };",
        "permit(principal, action == Keyward::Action::\"Foo\", resource);",
        "permit(principal == Keyward::Usr::\"Foo\", action, resource);",
        "permit(principal == ?principal, action, resource);",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { resource has state };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { resource.state == 3 };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { Keyward::Key::\"a\".state == \"a\" };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { context.encryption_context.getTag(\"a\") == \"a\" };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { context.foo };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { ip(resource.name).isLoopback() };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { context.time < datetime(\"x\") };",
        "permit(principal, action == Keyward::Action::\"ListKeys\", resource) when { resource.name == \"a\" };",
        "permit(principal, action == Keyward::Action::\"ListKeys\", resource == Keyward::Key::\"a\");",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { resource.state == \"a\" && resource.version > 2 && false };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { resource.hasTag(\"x\") };",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource is Keyward::Folder);",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when { \"a\u{202e}\" == resource.name };",
        "permit(principal, action, resource) when { [] == [] };",
        "permit(principal, action, resource) when { 99999999999999999999 == 1 };",
        "permit(principal, action, resource) when { foo(1) };",
        "x \u{1b}[31m",
        "\"",
        "@id permit(principal,action,resource);",
        "permit(principal, action in [], resource);",
        "",
    ] {
        match Policies::parse("p.cedar", text) {
            Ok(p) => println!("OK  {text}\n    {:?}", p.warnings()),
            Err(e) => println!("ERR {text}\n    {e}\n    {:?}", e.hint()),
        }
    }
}
