//! Whole ceremonies in windows of GNU screen and tmux, with and without a second screen: nothing of a share stays in what
//! can be scrolled back to, in a hardcopy, or in the memory of GNU screen. That of tmux is not looked at: buffers of what
//! it passed on may hold some of it.

use super::people::{OFFICER_PIN, People, written};
use super::screen::Screen;
use crate::bench::KEYWARD;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take. What is waited for comes much sooner.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the window is looked at: neither program says when it has changed.
const LOOK: Duration = Duration::from_millis(20);
const NAMES: [&str; 7] = ["olga", "oscar", "carol", "dave", "erin", "wanda", "walter"];
/// How the questions end, without blanks: lines are broken anywhere.
const CONFIRM: &str = ",typeyournametoconfirm,'note'torecordwhatnobodyexpected,or'leave'togoonlater:";
const READY: &str = ",pressEnterwhenyoualoneseethescreen:";
const WRITTEN: &str = "PressEnteronceitiswrittendown.Itisnotshownagain:";
const BACK: &str = "'back(nothingtoseeitoncemore):";
const SHARE: &str = "'(carol,daveorerin):";
const OFFICER: [&str; 3] = ["PINfor'primary':", "PINfor'second':", "oncemore:"];
const DECIDE: &str = "stop?";
const ENDED: &str = "endedwith0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Screen,
    Tmux,
}

/// A window that is kept by a program of its own, and the terminal at which it is looked at.
struct Window {
    kind: Kind,
    directory: PathBuf,
    terminal: Option<Screen>,
}

impl Window {
    fn open(people: &People, kind: Kind, settings: &str) -> Self {
        let directory = people.path("window");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let mut window = Self { kind, directory, terminal: None };
        fs::write(window.directory.join("settings"), settings).unwrap();
        // The window stays after the end, for what it keeps.
        let run = format!("'{KEYWARD}' ceremony run plan.toml; echo ended with $?; exec sleep 1000");
        let (program, mut args) = window.program();
        args.extend(match kind {
            Kind::Screen => ["sh", "-c", &run].map(ToOwned::to_owned).to_vec(),
            Kind::Tmux => ["new-session", "-s", "room", &run].map(ToOwned::to_owned).to_vec(),
        });
        let command = pty_process::blocking::Command::new(program).env_clear().envs(window.environment());
        let command = command.args(args).current_dir(people.path(""));
        window.terminal = Some(Screen::at(command.env("SOFTHSM2_CONF", people.path("softhsm2.conf"))));
        window
    }

    fn program(&self) -> (&'static str, Vec<String>) {
        let path = |name: &str| self.directory.join(name).to_str().unwrap().to_owned();
        match self.kind {
            Kind::Screen => ("screen", vec!["-c".into(), path("settings"), "-S".into(), "room".into()]),
            Kind::Tmux => ("tmux", vec!["-f".into(), path("settings"), "-S".into(), path("socket")]),
        }
    }

    fn environment(&self) -> [(&'static str, String); 5] {
        let directory = self.directory.to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap();
        let fixed = [("LC_ALL", "C.UTF-8"), ("SHELL", "/bin/sh"), ("TERM", "xterm")].map(|(k, v)| (k, v.to_owned()));
        let [locale, shell, term] = fixed;
        [("PATH", path), ("SCREENDIR", directory), locale, shell, term]
    }

    /// Asks the program that keeps the window.
    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let (program, own) = self.program();
        let output = Command::new(program).env_clear().envs(self.environment()).args(own).args(args).output();
        let output = output.expect("screen or tmux is missing: `softhsm/install screen tmux` installs them");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{:?}: {said}", self.kind);
        said
    }

    fn terminal(&self) -> &Screen {
        self.terminal.as_ref().unwrap()
    }

    /// Waits for another question than the one before: what stands in the window, and the same without blanks. Either
    /// program draws a window bit by bit, so a question counts once it stands there twice. An answer that comes too
    /// early all the same is discarded, or refused and asked for again.
    #[track_caller]
    fn next(&self, before: &str) -> (String, String) {
        let began = Instant::now();
        let mut last = String::new();
        loop {
            let contents = self.terminal().contents();
            let text: String = contents.chars().filter(|c| !c.is_whitespace()).collect();
            let ends = [CONFIRM, READY, WRITTEN, BACK, SHARE, DECIDE, ENDED].into_iter().chain(OFFICER);
            if text != before && text == last && ends.into_iter().any(|end| text.ends_with(end)) {
                return (contents, text);
            }
            last = text;
            assert!(began.elapsed() < PATIENCE, "{:?}\n{contents}", self.kind);
            sleep(LOOK);
        }
    }

    /// What stands in the window, and all that can be scrolled back to.
    fn all_that_stays(&self) -> String {
        if self.kind == Kind::Tmux {
            return self.ask(&["capture-pane", "-p", "-S", "-", "-E", "-"]);
        }
        let file = self.directory.join("hardcopy");
        self.ask(&["-p", "0", "-X", "hardcopy", "-h", file.to_str().unwrap()]);
        let began = Instant::now();
        loop {
            match fs::read_to_string(&file) {
                Ok(text) if text.contains("ended with 0") => return text,
                _ => assert!(began.elapsed() < PATIENCE, "no hardcopy"),
            }
            sleep(LOOK);
        }
    }

    /// All memory that GNU screen may write to.
    fn memory(&self) -> Vec<u8> {
        let names = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut process = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".room")?.to_owned()));
        let process = format!("/proc/{}", process.next().unwrap());
        let memory = File::open(format!("{process}/mem")).expect("the memory of screen can be read, as by root");
        let mut all = Vec::new();
        for line in fs::read_to_string(format!("{process}/maps")).unwrap().lines() {
            let mut fields = line.split(' ');
            let (start, end) = fields.next().unwrap().split_once('-').unwrap();
            if fields.next().unwrap().starts_with("rw") {
                let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).unwrap());
                let mut part = vec![0; usize::try_from(end - start).unwrap()];
                memory.read_exact_at(&mut part, start).unwrap();
                all.extend(part);
            }
        }
        all
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let (program, own) = self.program();
        let end: &[&str] = if self.kind == Kind::Screen { &["-X", "quit"] } else { &["kill-server"] };
        let _ = Command::new(program).env_clear().envs(self.environment()).args(own).args(end).output();
    }
}

/// Holds a ceremony, and gives what was handed out.
fn hold(people: &mut People, window: &Window) -> Vec<String> {
    let mut before = String::new();
    loop {
        let (contents, text) = window.next(&before);
        let named = |end: &str| {
            let before = text.strip_suffix(end)?;
            NAMES.into_iter().find(|name| before.ends_with(name))
        };
        // `share 2 of the 2 that open 'primary' (…`, and `carol: type your share of 'primary' back (…`
        let token = |end: &str| text.strip_suffix(end)?.rsplit('\'').next().map(ToOwned::to_owned);
        let answer = if text.ends_with(ENDED) {
            return people.shares.values().cloned().collect();
        } else if let Some(name) = named(CONFIRM) {
            name.to_owned()
        } else if text.ends_with(WRITTEN) {
            let (token, custodian, share) = written(&contents);
            people.shares.insert((token, custodian), share);
            String::new()
        } else if let Some(token) = token(BACK) {
            let name = NAMES.into_iter().find(|name| text.ends_with(&format!("{name}:typeyourshareof'{token}{BACK}")));
            // One that was gone before it was read is shown once more.
            people.shares.get(&(token, name.unwrap().to_owned())).cloned().unwrap_or_default()
        } else if let Some(token) = token(SHARE) {
            let first = text.ends_with(&format!("share1ofthe2thatopen'{token}{SHARE}"));
            people.shares[&(token, if first { "erin" } else { "carol" }.to_owned())].clone()
        } else if text.ends_with(READY) {
            String::new()
        } else if text.ends_with(DECIDE) {
            "again".to_owned()
        } else {
            OFFICER_PIN.to_owned()
        };
        window.terminal().line(&answer);
        before = text;
    }
}

#[track_caller]
fn nothing_stays(kind: Kind, settings: &str) {
    let mut people = People::with_one_key();
    let window = Window::open(&people, kind, settings);
    let shares = hold(&mut people, &window);
    assert_eq!(shares.len(), 6);
    // Before anything is asked that would copy the window.
    let memory = match kind {
        Kind::Screen if rustix::process::geteuid().is_root() => window.memory(),
        Kind::Screen => {
            eprintln!("not looked at: the memory of GNU screen, which root alone may read");
            Vec::new()
        }
        Kind::Tmux => Vec::new(),
    };
    let stays = window.all_that_stays();
    // What else was said can be scrolled back to: it is looked for in the right place.
    assert!(stays.contains("Step 1 of 22") && stays.contains("ended with 0"), "{stays}");
    for share in &shares {
        for (number, group) in (1..).zip(share.split('-')) {
            let shown = format!("{number:>2}: {group}");
            assert!(!stays.contains(&shown), "{kind:?} {settings:?}: can be scrolled back to\n{stays}");
            let is_there = memory.windows(shown.len()).any(|bytes| bytes == shown.as_bytes());
            assert!(!is_there, "{kind:?} {settings:?}: in memory");
        }
    }
}

#[test]
fn gnu_screen_with_its_own_settings_keeps_nothing() {
    nothing_stays(Kind::Screen, "startup_message off\ndefscrollback 10000\n");
}

#[test]
fn gnu_screen_with_a_second_screen_keeps_nothing() {
    nothing_stays(Kind::Screen, "startup_message off\ndefscrollback 10000\naltscreen on\n");
}

#[test]
fn tmux_with_its_own_settings_keeps_nothing() {
    nothing_stays(Kind::Tmux, "set -g history-limit 10000\nset -g status off\n");
}

#[test]
fn tmux_without_a_second_screen_keeps_nothing() {
    nothing_stays(Kind::Tmux, "set -g history-limit 10000\nset -g status off\nset -wg alternate-screen off\n");
}
