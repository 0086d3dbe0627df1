//! What each command asks for: the table in `docs/policies.md`, against the command line and what the audit log records.

use crate::bench::{Bench, Done};
use crate::life::{json, rewrite, tool};
use crate::object::Objects;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const PAGE: &str = include_str!("../../docs/policies.md");
const CONFIG: &str = "policy = 'all.cedar'\n[audit]\nlog = 'audit.log'\nsign = false\n";

/// What is in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The operations that each command asks for.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let rows = PAGE.split_once("## What each command asks for").unwrap().1.split("\n## ").next().unwrap();
    let mut table = BTreeMap::new();
    for row in rows.lines().filter(|line| line.starts_with("| `")) {
        let (commands, asked) = row[2..].split_once(" | ").unwrap();
        let operation = |word: &&str| word.parse::<keyward::key::Operation>().is_ok();
        let asked: BTreeSet<String> = quoted(asked).filter(operation).map(ToOwned::to_owned).collect();
        for command in quoted(commands) {
            assert!(table.insert(command.to_owned(), asked.clone()).is_none(), "'{command}' stands there twice");
        }
    }
    table
}

#[test]
fn table_of_policies_has_every_command() {
    let bench = Bench::new();
    bench.ok("man pages");
    let pages = fs::read_dir(bench.path("pages")).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = pages.map(|page| page.trim_end_matches(".1").to_owned()).collect();
    // One with commands of its own is no command.
    let is_group = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name}-")));
    let plain = |name: &String| name.trim_start_matches("keyward-").to_owned();
    let commands: BTreeSet<String> = names.iter().filter(|name| !is_group(name)).map(plain).collect();
    // Manual pages join words with what stands in some of them.
    let listed: BTreeSet<String> = table().keys().map(|command| command.replace(' ', "-")).collect();
    assert_eq!(listed, commands);
}

/// Runs command lines one after the other, each of which has to succeed, and compares what they ask for.
#[track_caller]
fn asks(run: &dyn Fn(&str) -> Done, bench: &Bench, command: &str, lines: &[&str]) {
    let _ = fs::remove_file(bench.path("audit.log"));
    for line in lines {
        let done = run(&format!("--config keyward.toml {line}"));
        assert_eq!(done.status, 0, "{line}: {}", done.stderr);
    }
    let mut asked = BTreeSet::new();
    if bench.path("audit.log").exists() {
        let shown = json(&bench.ok("--config keyward.toml audit show --json"));
        let operations = shown["operations"].as_array().unwrap().iter();
        asked.extend(operations.map(|one| one["operation"].as_str().unwrap().to_owned()));
    }
    assert_eq!(Some(&asked), table().get(command), "{command}");
}

fn governed(bench: &Bench) {
    bench.write("all.cedar", "permit(principal, action, resource);");
    bench.write("keyward.toml", CONFIG);
    bench.write("plain", "hello");
    bench.write("other", "hello");
}

#[test]
fn commands_ask_what_the_table_says() {
    let bench = Bench::new();
    governed(&bench);
    let run = |line: &str| bench.run(line);
    let check = |command: &str, lines: &[&str]| asks(&run, &bench, command, lines);
    check("key create", &["key create payments", "key create other", "key create mailbox --algorithm rsa-oaep-sha1"]);
    check("encrypt", &["encrypt plain -o managed", "encrypt --key payments --key other plain -o two"]);
    check("decrypt", &["decrypt managed -o opened"]);
    check("inspect", &["inspect two"]);
    check("key rotate", &["key rotate payments", "key rotate payments --if-older-than 1d"]);
    check("rewrap", &["rewrap --key payments two"]);
    bench.ok("encrypt --key payments --key other plain -o three");
    check("reencrypt", &["reencrypt three --keep-keys", "reencrypt --key payments managed two"]);
    check("data-key generate", &["data-key generate --key payments"]);
    let generated = bench.ok("data-key generate --key payments");
    let pipe = |line: &str| bench.pipe(line, generated.as_bytes());
    asks(&pipe, &bench, "data-key unwrap", &["data-key unwrap"]);
    asks(&pipe, &bench, "data-key rewrap", &["data-key rewrap --key other"]);
    asks(&pipe, &bench, "data-key wrap", &["data-key wrap --key payments"]);
    check("key list", &["key list", "key list --destroyed"]);
    check("key show", &["key show payments"]);
    check("key prove", &["key prove payments"]);
    check("key usage", &["key usage payments ."]);
    check("key public", &["key public mailbox"]);
    check("key disable", &["key disable payments:1"]);
    check("key enable", &["key enable payments:1"]);
    check("key destroy", &["key destroy payments:1 --yes --used-in .", "key destroy other:1 --yes --after 1s"]);
    bench.ok("key create short");
    bench.ok("key destroy short:1 --yes --after 1s");
    rewrite(&bench, "short:1", |text| {
        let lines = text.lines().map(|line| match line.starts_with("destroy-after ") {
            true => "destroy-after 1000000000\n".to_owned(),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
    check("key expire", &["key expire"]);
    let vendor = ["--keygen", "--key-type", "AES:32", "--private", "--sensitive", "--usage-decrypt", "--id", "aa01"];
    tool(&bench, &[&vendor[..], &["--label", "vendor"]].concat());
    check("key adopt", &["key adopt vendor"]);
    check("token list", &[&format!("token list --module {}", bench.module.display())]);
    check("token info", &["token info"]);
}

#[test]
fn commands_on_objects_ask_what_the_table_says() {
    let objects = Objects::new();
    let bench = &objects.bench;
    governed(bench);
    let run = |line: &str| objects.run(line);
    let check = |command: &str, lines: &[&str]| asks(&run, bench, command, lines);
    check(
        "object put",
        &["object put plain S3/a --sse aws:kms --sse-kms-key-id payments", "object put plain S3/b --sse AES256"],
    );
    check("object get", &["object get S3/a a.txt", "object get S3/b b.txt"]);
    check("object ls", &["object ls S3/"]);
    check("object head", &["object head S3/a"]);
    check("object cp", &["object cp S3/a S3/c", "object cp S3/a S3/d --sse aws:kms --sse-kms-key-id payments"]);
    check("object usage", &["object usage S3/"]);
    check("object rm", &["object rm S3/a"]);
    // Only of a store with detached slots.
    let objects = Objects::new();
    let bench = &objects.bench;
    governed(bench);
    bench.write("keyward.toml", format!("{CONFIG}[object]\ndetached_slots = true\n"));
    let put = "object put plain S3/a --sse aws:kms --sse-kms-key-id payments";
    objects.run(&format!("--config keyward.toml {put}")).ok();
    bench.ok("key rotate payments");
    asks(&|line| objects.run(line), bench, "object rewrap", &["object rewrap S3"]);
}
