//! A plan, SoftHSM, and the people who answer what they are asked.

use super::screen::Screen;
use crate::bench::{KEYWARD, module};
use crate::ceremony::fixture::witness;
use keyward::ceremony::file_hash;
use pty_process::blocking::Command;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const OFFICER_PIN: &str = "0815-officer-pin";

/// How everything ends that waits for somebody.
const CONFIRM: &str = "type your name to confirm, 'note' to record what nobody expected, or 'leave' to go on later: ";
const READY: &str = "press Enter when you alone see the screen: ";
const WRITTEN: &str = "Press Enter once it is written down. It is not shown again: ";
const BACK: &str = "(nothing to see it once more):\n    ";
const SHARE: &str = "dave or erin):\n    ";
const OFFICER: [&str; 4] =
    ["PIN for 'primary': ", "PIN for 'second': ", "once more: ", "security officer's PIN of 'primary': "];
const TRUST: &str = "exported, yes or no: ";
pub(crate) const DECIDE: &str = "stop? ";

pub(crate) struct People {
    directory: TempDir,
    /// What was written down, by token and custodian.
    pub(crate) shares: BTreeMap<(String, String), String>,
    /// Shares that were written down and are worth nothing any more.
    pub(crate) old: Vec<String>,
}

/// What the program waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Who is to confirm which step.
    Confirm(String, String),
    Ready,
    /// A share is on the screen.
    Written,
    Back(String, String),
    /// A share of this token, the one in this place.
    Share(String, u8),
    Officer,
    Trust,
    Decide,
}

impl People {
    pub(crate) fn new(keys: &str, objects: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let people = Self { directory, shares: BTreeMap::new(), old: Vec::new() };
        fs::create_dir(people.path("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", people.path("tokens").display());
        fs::write(people.path("softhsm2.conf"), conf).unwrap();
        fs::write(people.path("plan.toml"), people.plan(keys, objects)).unwrap();
        people
    }

    /// One key with a sibling.
    pub(crate) fn with_one_key() -> Self {
        Self::new(&key("payments", "aes-gcm", "\"encrypt\", \"decrypt\"", SIBLING), 2)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn plan(&self, keys: &str, objects: u32) -> String {
        let mut text = format!(
            "format = 2\nid = \"2026-11-payments\"\ntool_sha256 = \"{}\"\n",
            file_hash(Path::new(KEYWARD)).unwrap()
        );
        for (name, role) in [
            ("olga", "operator"),
            ("oscar", "officer"),
            ("carol", "custodian"),
            ("dave", "custodian"),
            ("erin", "custodian"),
        ] {
            text += &format!("[[people]]\nname = \"{name}\"\nroles = [\"{role}\"]\n");
        }
        for name in ["wanda", "walter"] {
            let (secret, public) = witness();
            fs::write(self.path(&format!("{name}.key")), secret).unwrap();
            text += &format!("[[people]]\nname = \"{name}\"\nroles = [\"witness\"]\nminisign = \"{public}\"\n");
        }
        let module = module();
        let hash = file_hash(&module).unwrap();
        for name in ["primary", "second"] {
            text += &format!(
                "[[tokens]]\nname = \"{name}\"\nserial = \"free\"\nlabel = \"payments-{name}\"\nmodule = \"{}\"\n\
                 module_sha256 = \"{hash}\"\ninitialize = true\nofficer = \"oscar\"\nobjects_before = 0\n\
                 custody = {{ threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }}\nobjects_after = {objects}\n",
                module.display()
            );
        }
        text + keys
    }

    /// Puts the program to a terminal, in the directory of the people.
    pub(crate) fn start(&self, args: &[&str]) -> Screen {
        self.start_at("xterm-256color", args)
    }

    /// The same at another kind of terminal.
    pub(crate) fn start_at(&self, term: &str, args: &[&str]) -> Screen {
        self.start_with("TERM", term, args)
    }

    /// The same with this variable.
    pub(crate) fn start_with(&self, variable: &str, value: &str, args: &[&str]) -> Screen {
        let mut command = Command::new(KEYWARD).env_clear().current_dir(self.directory.path());
        command = command.args(["ceremony"]).args(args).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        command = command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env(variable, value);
        Screen::of(command, &self.path("stdout"))
    }

    /// What is asked next, and all that was said before.
    #[track_caller]
    pub(crate) fn asked(&self, screen: &mut Screen) -> (Asked, String) {
        let ends = [&[CONFIRM, READY, WRITTEN, BACK, SHARE, TRUST, DECIDE][..], &OFFICER].concat();
        let said = screen.until(&ends);
        let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
        let quoted = || last.split('\'').nth(1).unwrap_or_default().to_owned();
        let asked = match () {
            () if said.ends_with(CONFIRM) => {
                let step = said.lines().rev().find_map(|line| Some(line.split_once("Step ")?.1.split_once(": ")?.1));
                Asked::Confirm(last.split_once(',').unwrap().0.into(), step.unwrap_or_default().into())
            }
            () if said.ends_with(READY) => Asked::Ready,
            () if said.ends_with(WRITTEN) => Asked::Written,
            () if said.ends_with(BACK) => Asked::Back(quoted(), last.split_once(':').unwrap().0.into()),
            () if said.ends_with(SHARE) => Asked::Share(quoted(), last["share ".len()..][..1].parse().unwrap()),
            () if said.ends_with(TRUST) => Asked::Trust,
            () if said.ends_with(DECIDE) => Asked::Decide,
            () => Asked::Officer,
        };
        (asked, said)
    }

    /// Does what is asked as it should be done.
    #[track_caller]
    pub(crate) fn answer(&mut self, screen: &Screen, asked: &Asked) {
        match asked {
            Asked::Confirm(name, _) => screen.line(name),
            Asked::Ready => screen.line(""),
            Asked::Written => {
                let (token, custodian, share) = written(&screen.contents());
                self.old.extend(self.shares.insert((token, custodian), share));
                screen.line("");
            }
            Asked::Back(token, custodian) => {
                screen.line(&self.shares[&(token.clone(), custodian.clone())].to_lowercase());
            }
            Asked::Share(token, place) => {
                let custodian = ["erin", "carol"][usize::from(*place) - 1];
                screen.line(&self.shares[&(token.clone(), custodian.to_owned())]);
            }
            Asked::Officer => screen.line(OFFICER_PIN),
            Asked::Trust => screen.line("yes"),
            Asked::Decide => panic!("nobody expected this:\n{}", screen.contents()),
        }
    }

    /// Answers everything until this is asked.
    #[track_caller]
    pub(crate) fn answer_until(&mut self, screen: &mut Screen, is: impl Fn(&Asked) -> bool) -> String {
        let mut all = String::new();
        loop {
            let (asked, said) = self.asked(screen);
            all += &said;
            if is(&asked) {
                return all;
            }
            self.answer(screen, &asked);
        }
    }

    /// Answers everything until this step is to be confirmed.
    #[track_caller]
    pub(crate) fn until_step(&mut self, screen: &mut Screen, id: &str) -> String {
        self.answer_until(screen, |asked| matches!(asked, Asked::Confirm(_, step) if step == id))
    }

    /// Every secret that anybody knows or typed.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let shares = self.shares.values().chain(&self.old);
        let plain = shares.clone().map(|share| share.replace('-', ""));
        let mut all: Vec<_> = shares.cloned().chain(plain).collect();
        // A group is four signs: eight in a row are not there by chance.
        all.extend(self.shares.values().chain(&self.old).map(|share| share[15..24].to_owned()));
        all.push(OFFICER_PIN.into());
        all
    }

    /// Every file of a directory as text, one after the other.
    pub(crate) fn all_files(&self, below: &str) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(self.path(below)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}/{}", entry.file_name().into_string().unwrap());
            match entry.path().is_dir() {
                true => all += &self.all_files(&name),
                false => all += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap()),
            }
        }
        all
    }

    /// A command without a terminal.
    pub(crate) fn run(&self, args: &[&str]) -> crate::bench::Done {
        let mut command = std::process::Command::new(KEYWARD);
        command.env_clear().current_dir(self.directory.path()).arg("ceremony").args(args).env("TERM", "xterm");
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).stdin(std::process::Stdio::null());
        crate::bench::Done::of(&args.join(" "), command.output().unwrap())
    }
}

/// Token, custodian and share, as they stand on the screen.
#[track_caller]
pub(crate) fn written(contents: &str) -> (String, String, String) {
    let first = contents.lines().find(|line| line.contains("of the PIN of '")).expect(contents);
    let custodian = first.trim().split_once(':').unwrap().0.to_owned();
    let token = first.split('\'').nth(1).unwrap().to_owned();
    let lines = contents.lines().filter(|line| line.starts_with("    ") && line.contains(": "));
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    let mut groups = Vec::new();
    for (place, pair) in (1..).zip(words.chunks(2)) {
        assert_eq!(pair[0], format!("{place}:"), "{contents}");
        groups.push(pair[1]);
    }
    assert_eq!(groups.len(), 11, "{contents}");
    (token, custodian, groups.join("-"))
}

pub(crate) const SIBLING: &str = "backup = { method = \"sibling\", token = \"second\" }";
pub(crate) const TRUSTED: &str = "never_extractable = false\n\
                                  backup = { method = \"trusted-wrap\", token = \"second\", mechanism = \"rsa-oaep-sha1\" }";

/// A key that the first token generates.
pub(crate) fn key(name: &str, algorithm: &str, usage: &str, backup: &str) -> String {
    format!(
        "[[keys]]\nname = \"{name}\"\ntoken = \"primary\"\nalgorithm = \"{algorithm}\"\nprovenance = \"generated\"\n\
         usage = [{usage}]\n{backup}\n"
    )
}
