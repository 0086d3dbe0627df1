//! `kill -9` between any two steps, and in every call that changes a token. Whoever resumes gets what an undisturbed run
//! makes: nothing is there twice, nothing is missing, and nothing could leave a token.
//!
//! Between two calls that change a token it is as it was, so a process that is killed right after each of them, and before
//! the first of a step, is killed in every state that there is. With `KEYWARD_EVERY_CALL` set it is killed before each
//! call that there is as well, which takes long.

use crate::plans::{AES_GCM, Parts, Planned, RSA, WRITING, built_fault_module, imported, sibling, wrapped};
use crate::room::Script;
use keyward::ceremony::shares::{Set, Share, combine};
use keyward::ceremony::{Bundle, Custody, Ended, Engine, StepId, Venue, Verify, script};
use keyward::hsm::HsmProvider;
use keyward::testkit::SoftToken;
use keyward::token::{Module, Pin, Token, TokenOptions, TokenUri};
use rustix::process::{Signal, getpid, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A ceremony that other processes hold: its bundle, paper and tokens, which can be put back to what they were.
struct Stage {
    planned: Planned,
}

impl Stage {
    fn new(keys: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Its name says that SoftHSM is behind it.
        let module = directory.path().join("libsofthsm2-fault.so");
        fs::copy(built_fault_module(), &module).unwrap();
        let mut parts = Parts::of(keys);
        parts.module = module;
        let mut planned = Planned::new(&parts);
        planned.directory = directory;
        let stage = Self { planned };
        fs::create_dir_all(stage.at("work/tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", stage.at("work/tokens").display());
        fs::write(stage.at("softhsm2.conf"), conf).unwrap();
        fs::write(stage.at("plan.toml"), &stage.planned.text).unwrap();
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.planned.directory.path().join(name)
    }

    /// A script for the module, from its first call on.
    fn script(&self, script: &str) {
        fs::write(self.at("script.new"), script).unwrap();
        fs::rename(self.at("script.new"), self.at("libsofthsm2-fault.so.script")).unwrap();
    }

    /// The functions that were called since the last time.
    fn log(&self) -> Vec<String> {
        let log = self.at("libsofthsm2-fault.so.log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        text.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    }

    fn save(&self, name: &str) {
        let _ = fs::remove_dir_all(self.at(name));
        copy(&self.at("work"), &self.at(name));
    }

    fn put_back(&self, name: &str) {
        fs::remove_dir_all(self.at("work")).unwrap();
        copy(&self.at(name), &self.at("work"));
    }

    /// Another process goes on until this step, or to the end.
    fn go_on(&self, until: &str, events: bool) -> Output {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "killed::child_process", "--ignored", "--nocapture"])
            .env("KEYWARD_KILLED", self.planned.directory.path())
            .env("KEYWARD_KILLED_UNTIL", until)
            .env("KEYWARD_FAULT_MODULE", SoftToken::module_path())
            .env("SOFTHSM2_CONF", self.at("softhsm2.conf"));
        if events {
            child.env("KEYWARD_KILLED_EVENTS", self.at("events"));
        }
        child.output().unwrap()
    }

    /// The same undisturbed: the objects that are on the tokens then.
    #[track_caller]
    fn go_on_well(&self, until: &str, what: &str) -> Vec<String> {
        let output = self.go_on(until, false);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{what}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let mut objects: Vec<_> =
            said.lines().filter(|line| line.starts_with("OBJECT ")).map(ToOwned::to_owned).collect();
        // Slots come in any order.
        objects.sort();
        objects
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "the other side of the tests here"]
fn child_process() {
    let base = PathBuf::from(std::env::var_os("KEYWARD_KILLED").unwrap());
    let until = std::env::var("KEYWARD_KILLED_UNTIL").unwrap();
    let mut room = Script::new(&base.join("work/paper"));
    if let Some(events) = std::env::var_os("KEYWARD_KILLED_EVENTS") {
        room.at = Box::new(move |event| {
            let before = fs::read_to_string(&events).unwrap_or_default();
            if !before.lines().any(|line| line == event) {
                fs::write(&events, before + event + "\n").unwrap();
                kill_process(getpid(), Signal::KILL).unwrap();
            }
        });
    }
    room.leave_at = Some(until.clone());
    let path = base.join("work/bundle");
    let began = fs::read(path.join("transcript.jsonl")).is_ok_and(|text| text.contains(&b'\n'));
    let bundle = match began {
        true => Bundle::open(&path).unwrap(),
        false => Bundle::create(&path, &fs::read_to_string(base.join("plan.toml")).unwrap()).unwrap(),
    };
    let engine = match began {
        true => Engine::resume(&bundle, "test", Venue::Tokens, None, &mut room),
        false => Engine::begin(&bundle, "test", Venue::Tokens, &mut room),
    };
    let ended = engine.and_then(Engine::run);
    match until.as_str() {
        "" => assert!(matches!(ended, Ok(Ended::Closed { .. })), "{ended:?} {:?}", room.troubles),
        _ => assert_eq!(ended.unwrap(), Ended::Left, "{:?}", room.troubles),
    }
    look(&bundle, &room);
}

/// Says which objects are on tokens whose PIN is set.
fn look(bundle: &Bundle, room: &Script) {
    let (plan, transcript) = (bundle.plan().unwrap(), bundle.transcript().unwrap());
    let run = match &transcript.lines()[0].entry {
        keyward::ceremony::Entry::Begun { run, .. } => *run,
        other => panic!("{other:?}"),
    };
    for token in &plan.tokens {
        let set = StepId::from(format!("token/{}/set-pin", token.name));
        if transcript.progress().done(&set).is_none() {
            continue;
        }
        assert!(matches!(token.custody, Custody::Shared { .. }));
        let shares = [1, 3].map(|index| Share::parse(&room.share(&token.name, index)).unwrap());
        let pin = combine(&shares, &Set::new(&run, &token.name)).unwrap();
        let uri: TokenUri = format!("pkcs11:token={}", token.label).parse().unwrap();
        let uri = uri.or_module_path(Some(token.module.clone()));
        let hsm =
            HsmProvider::new(Token::open_with(&uri, TokenOptions::default().pin(Pin::new(pin.as_str()))).unwrap());
        let inventory = hsm.inventory().unwrap();
        assert_eq!(inventory.session_objects, 0);
        for object in hsm.objects().unwrap() {
            // Session objects of a process that was killed are gone; nothing else could leave the token.
            assert!(!object.extractable, "{object:?}");
            println!("OBJECT {} {} {}", token.name, object.class, object.label);
        }
    }
    let tokens = Module::load(&plan.tokens[0].module).unwrap().tokens().unwrap();
    tokens.iter().filter(|token| token.initialized).for_each(|token| println!("OBJECT token {}", token.label));
}

fn kill_in_every_call(keys: Vec<String>) {
    let all = std::env::var_os("KEYWARD_EVERY_CALL").is_some();
    let stage = Stage::new(keys);
    let plan = keyward::ceremony::Plan::parse(&stage.planned.text).unwrap();
    let steps: Vec<String> = script(&plan).iter().map(|step| step.id.to_string()).collect();
    let mut killed = 0;
    for (at, step) in steps.iter().enumerate() {
        let until = steps.get(at + 1).map_or("", String::as_str);
        stage.save("before");
        stage.script("* * log");
        let objects = stage.go_on_well(until, step);
        let calls = stage.log();
        stage.save("after");
        for (number, function) in (1..).zip(&calls) {
            let writes = WRITING.contains(&function.as_str());
            let how = [("kill-after", writes), ("kill", all)];
            for (action, _) in how.into_iter().filter(|(_, wanted)| *wanted) {
                let what = format!("{step}, {action} call {number}, {function}");
                stage.put_back("before");
                stage.script(&format!("* {number} {action}"));
                let output = stage.go_on(until, false);
                stage.script("");
                assert_eq!(output.status.signal(), Some(9), "{what}: {}", String::from_utf8_lossy(&output.stdout));
                killed += 1;
                assert_eq!(stage.go_on_well(until, &what), objects, "{what}");
                let bundle = Bundle::open(&stage.at("work/bundle")).unwrap();
                let found = Verify::new(&bundle).before_signing().run().unwrap();
                for finding in found.findings {
                    let is_to_come = steps[at + 1..].contains(&finding.place) && finding.message == "it was not done";
                    let is_open = ["transcript.jsonl", "report.md"].contains(&finding.place.as_str());
                    assert!(is_to_come || is_open && !until.is_empty(), "{what}: {finding}");
                }
            }
        }
        stage.put_back("after");
    }
    // Every step that changes a token was interrupted.
    assert!(killed > 10, "{killed}");
    println!("killed in {killed} calls");
}

#[test]
fn generated_keys_survive_a_kill_in_every_call_that_changes_a_token() {
    kill_in_every_call(vec![sibling("payments", AES_GCM.0, AES_GCM.1), sibling("a/box", RSA.0, RSA.1)]);
}

#[test]
fn exported_and_imported_keys_survive_a_kill_in_every_call_that_changes_a_token() {
    kill_in_every_call(vec![wrapped("archive"), imported("legacy", "imported-components")]);
}

#[test]
fn a_kill_before_and_after_every_step_and_at_every_question_changes_nothing() {
    let keys =
        vec![sibling("payments", AES_GCM.0, AES_GCM.1), wrapped("archive"), imported("legacy", "imported-components")];
    let stage = Stage::new(keys);
    let mut kills = 0;
    let objects = loop {
        let output = stage.go_on("", true);
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            break said.lines().filter(|line| line.starts_with("OBJECT ")).count();
        }
        assert_eq!(output.status.signal(), Some(9), "{said}");
        kills += 1;
    };
    let events = fs::read_to_string(stage.at("events")).unwrap();
    let plan = keyward::ceremony::Plan::parse(&stage.planned.text).unwrap();
    for step in script(&plan) {
        for when in ["before", "after"] {
            assert!(events.lines().any(|line| line == format!("{when} {}", step.id)), "{when} {}", step.id);
        }
    }
    assert_eq!(events.lines().count(), kills);
    // A key and its record for each, on both tokens; and the tokens.
    assert_eq!(objects, 2 * 2 * 3 + 2);
    fs::rename(stage.at("work/bundle"), stage.at("bundle")).unwrap();
    stage.planned.assert_verifies();
}
