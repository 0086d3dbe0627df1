//! A program at a pseudo terminal, and what its screen shows.

use pty_process::blocking::{Command, Pty, open};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const ROWS: u16 = 40;
const COLUMNS: u16 = 120;
/// How long a program may take for anything. What is waited for comes much sooner.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Screen {
    child: Child,
    pty: Arc<Pty>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    reader: Option<JoinHandle<()>>,
    /// Up to where of the log everything was looked at.
    at: usize,
}

struct Shown {
    /// Every byte that the program wrote.
    log: Vec<u8>,
    /// What an xterm makes of them.
    terminal: vt100::Parser,
    ended: bool,
}

impl Screen {
    /// Runs the program at a terminal of its own, which controls it. Its standard output is the file.
    pub(crate) fn of(command: Command, stdout: &Path) -> Self {
        Self::at(command.stdout(File::options().create(true).append(true).open(stdout).unwrap()))
    }

    /// The same, with its standard output at the terminal as well.
    pub(crate) fn at(command: Command) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(pty_process::Size::new(ROWS, COLUMNS)).unwrap();
        let child = command.spawn(pts).unwrap();
        let shown = Shown { log: Vec::new(), terminal: parser(), ended: false };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let pty = Arc::new(pty);
        let reader = {
            let (pty, shown) = (Arc::clone(&pty), Arc::clone(&shown));
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                loop {
                    // EIO once nobody has the other end open any more.
                    let read = (&*pty).read(&mut bytes).unwrap_or(0);
                    let mut now = shown.0.lock().unwrap();
                    now.log.extend(&bytes[..read]);
                    now.terminal.process(&bytes[..read]);
                    now.ended = read == 0;
                    shown.1.notify_all();
                    if read == 0 {
                        return;
                    }
                }
            })
        };
        Self { child, pty, shown, reader: Some(reader), at: 0 }
    }

    /// Waits until what was written since the last time ends with one of these, and gives all of it.
    #[track_caller]
    pub(crate) fn until(&mut self, ends: &[&str]) -> String {
        let began = Instant::now();
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let new = String::from_utf8_lossy(&shown.log[self.at..]).replace("\r\n", "\n");
            if ends.iter().any(|end| new.ends_with(end)) {
                self.at = shown.log.len();
                return new;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(!shown.ended && !left.is_zero(), "none of {ends:?} came, but:\n{new}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Makes the window another size, which the program is informed of by a signal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.pty.resize(pty_process::Size::new(rows, columns)).unwrap();
    }

    pub(crate) fn write(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn line(&self, text: &str) {
        self.write(&format!("{text}\r"));
    }

    /// What stands on the screen now.
    pub(crate) fn contents(&self) -> String {
        self.shown.0.lock().unwrap().terminal.screen().contents()
    }

    /// The last line that was written.
    pub(crate) fn last_line(&self) -> String {
        self.log().rsplit(['\n', '\r']).next().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_second(&self) -> bool {
        self.shown.0.lock().unwrap().terminal.screen().alternate_screen()
    }

    /// Whether what is typed is shown, and how many of Ctrl-Z and Ctrl-\ do what they do.
    pub(crate) fn modes(&self) -> (bool, usize) {
        let modes = tcgetattr(&*self.pty).unwrap();
        let codes = &modes.special_codes;
        let keys = [rustix::termios::SpecialCodeIndex::VSUSP, rustix::termios::SpecialCodeIndex::VQUIT];
        (
            modes.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON),
            keys.iter().filter(|key| codes[**key] != 0).count(),
        )
    }

    /// What is left of it all: the screen, and what was scrolled away, line by line.
    pub(crate) fn all_that_stays(&self) -> String {
        all_lines(&mut self.shown.0.lock().unwrap().terminal)
    }

    /// The same at a terminal that has one screen only, as the console of Linux.
    pub(crate) fn all_that_stays_on_one(&self) -> String {
        let log = self.log().replace("\x1b[?1049h", "").replace("\x1b[?1049l", "");
        let mut terminal = parser();
        terminal.process(log.as_bytes());
        all_lines(&mut terminal)
    }

    /// Everything that was ever written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.shown.0.lock().unwrap().log).into_owned()
    }

    /// Waits for its end: the status, and what it said last.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        let mut shown = self.shown.0.lock().unwrap();
        while !shown.ended {
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(!left.is_zero(), "it does not end:\n{}", shown.terminal.screen().contents());
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
        let last = String::from_utf8_lossy(&shown.log[self.at..]).replace("\r\n", "\n");
        self.at = shown.log.len();
        drop(shown);
        (self.child.wait().unwrap(), last)
    }

    /// Its end by a signal.
    #[track_caller]
    pub(crate) fn signal(&mut self) -> Option<i32> {
        self.end().0.signal()
    }
}

fn parser() -> vt100::Parser {
    let size = |number| NonZeroU16::new(number).unwrap();
    vt100::Parser::new(size(ROWS), size(COLUMNS), 10_000)
}

fn all_lines(terminal: &mut vt100::Parser) -> String {
    let screen = terminal.screen_mut();
    let mut all = Vec::new();
    for above in (0..=screen.scrollback_len()).rev() {
        screen.set_scrollback(above);
        all.extend(screen.rows(0, COLUMNS).next());
    }
    all.push(screen.contents());
    all.join("\n")
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
