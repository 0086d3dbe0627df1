//! The terminal itself: lines to and from it, and a screen that is gone afterwards.

use super::keys::{Keys, Then};
use super::overwrite::{self, Size};
use keyward::{Error, ErrorKind, Result};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::consts::SIGWINCH;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The longest line that is read, in bytes: what a terminal gives at most.
const MAX_LINE: usize = 4096;
/// The value of a key in `c_cc` that no key has (`_POSIX_VDISABLE`).
const NO_KEY: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

/// What has to be restored if the program is interrupted.
static OPEN: Mutex<Option<Open>> = Mutex::new(None);

struct Open {
    file: File,
    modes: Termios,
    /// Whether something secret is on the screen.
    is_secret: bool,
    /// Whether the window has changed its size since that was shown.
    resized: Arc<AtomicBool>,
}

impl Open {
    /// Overwrites what is secret. Where the window was resized, lines of it may have been moved to what can be scrolled
    /// back to, which is then forgotten as well by terminals that can.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_secret) {
            let forget = self.resized.load(Ordering::SeqCst) || is_console();
            let _ = self.file.write_all(overwrite::leave(size(&self.file), forget).as_bytes());
        }
    }
}

/// The console of Linux has one screen, and keeps what was scrolled away of it.
fn is_console() -> bool {
    std::env::var("TERM").is_ok_and(|term| term == "linux")
}

fn size(file: &File) -> Option<Size> {
    let size = tcgetwinsize(file).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(Size { rows: size.ws_row, columns: size.ws_col })
}

fn open() -> MutexGuard<'static, Option<Open>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the terminal right, for a signal that ends the program. Nothing secret is shown afterwards.
pub(crate) fn restore() {
    let mut guard = open();
    if let Some(open) = guard.as_mut() {
        open.leave();
        let _ = tcsetattr(&open.file, OptionalActions::Now, &open.modes);
        // Held for the rest of the process: who waits to show a share waits for good.
        std::mem::forget(guard);
    }
}

/// The terminal that the program was started at.
pub(super) struct Tty {
    file: File,
    can_hide: bool,
}

impl Tty {
    /// # Errors
    /// `InvalidArgument` where there is none.
    pub(super) fn open() -> Result<Self> {
        let refused =
            |what: &'static str, hint: &'static str| Error::new(ErrorKind::InvalidArgument, what).with_hint(hint);
        let none = || {
            let hint = "start it at the console or in a terminal window, without pipes: people confirm every step";
            refused("a ceremony needs a terminal, and there is none", hint)
        };
        // A script that answers for people is no ceremony.
        if !io::stdin().is_terminal() {
            return Err(none());
        }
        let file = File::options().read(true).write(true).open("/dev/tty").map_err(|_| none())?;
        let can_hide = overwrite::is_tested(&std::env::var("TERM").unwrap_or_default());
        Ok(Self { file, can_hide })
    }

    /// Refuses a terminal on which it was not tested that what is overwritten is gone.
    ///
    /// # Errors
    /// `InvalidArgument` if it is one.
    pub(super) fn check_hiding(&self) -> Result<()> {
        if self.can_hide {
            return Ok(());
        }
        let message = "shares of PINs could stay on this terminal, or in what can be scrolled back to";
        let hint = "hold it at an xterm or the console of Linux, which TERM names; or have the plan hand shares out on \
                    paper or in files: handout = \"paper\" or \"file\"";
        Err(Error::new(ErrorKind::InvalidArgument, message).with_hint(hint))
    }

    /// Takes the terminal: until it is given back, Ctrl-Z and Ctrl-\ do nothing, which would leave a share on the
    /// screen.
    pub(super) fn take(&self) -> Result<()> {
        let failed = |error: rustix::io::Errno| cannot("use", error.into());
        let modes = tcgetattr(&self.file).map_err(failed)?;
        let file = self.file.try_clone().map_err(|error| cannot("use", error))?;
        let resized = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGWINCH, Arc::clone(&resized)).map_err(|error| cannot("use", error))?;
        *open() = Some(Open { file, modes: modes.clone(), is_secret: false, resized });
        let mut own = modes;
        own.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        own.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        tcsetattr(&self.file, OptionalActions::Now, &own).map_err(failed)
    }

    /// How many signs fit on a line; 80 where it does not say.
    pub(super) fn width(&self) -> usize {
        match self.size() {
            Some(size) if size.columns >= 40 => usize::from(size.columns),
            _ => 80,
        }
    }

    pub(super) fn size(&self) -> Option<Size> {
        size(&self.file)
    }

    pub(super) fn write(&self, text: &str) -> Result<()> {
        (&self.file).write_all(text.as_bytes()).map_err(|error| cannot("write to", error))
    }

    /// Forgets what was typed before anything was asked: it answers nothing.
    fn forget_typed(&self) {
        let _ = tcflush(&self.file, QueueSelector::IFlush);
    }

    /// Asks for something secret. None where the input ends.
    pub(super) fn ask_hidden(&self, question: &str, stars: bool) -> Result<Option<Zeroizing<String>>> {
        // Before it is asked for: who types at once would be seen.
        let _hidden = self.hide_typed()?;
        self.write(question)?;
        let mut keys = Keys::new(stars);
        let mut key = Zeroizing::new([0]);
        let ended = loop {
            match (&self.file).read(&mut *key) {
                Ok(0) => break true,
                Ok(_) => match keys.key(key[0]) {
                    Then::Show(text) => self.write(text)?,
                    Then::Done => break false,
                    Then::Ended => break true,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(cannot("read from", error)),
            }
        };
        self.write("\n")?;
        Ok((!ended).then(|| keys.into_text()))
    }

    /// Key by key and without an echo, until what this gives is dropped. What was typed before is forgotten.
    fn hide_typed(&self) -> Result<Hidden<'_>> {
        let failed = |error: rustix::io::Errno| cannot("use", error.into());
        let before = tcgetattr(&self.file).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&self.file, OptionalActions::Flush, &hidden).map_err(failed)?;
        Ok(Hidden { tty: self, before })
    }

    /// Asks, and reads a line without blanks around it. None where the input ends.
    pub(super) fn ask(&self, question: &str) -> Result<Option<Zeroizing<String>>> {
        self.forget_typed();
        self.write(question)?;
        // Wiped, because somebody may type a secret in the wrong place.
        let mut line = Zeroizing::new([0; MAX_LINE]);
        let mut len = 0;
        loop {
            match (&self.file).read(&mut line[len..]) {
                Ok(0) if len == 0 => {
                    self.write("\n")?;
                    return Ok(None);
                }
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cannot("read from", error)),
            }
            if len == MAX_LINE || line[..len].ends_with(b"\n") {
                break;
            }
        }
        // What is no text is no answer.
        let text = std::str::from_utf8(&line[..len]).unwrap_or_default();
        Ok(Some(Zeroizing::new(text.trim().to_owned())))
    }

    /// Shows something that is overwritten once what this gives is dropped or hidden. It has to fit on the screen
    /// together with whatever is written after it: what is scrolled away cannot be overwritten.
    ///
    /// # Errors
    /// `InvalidArgument` as [`check_hiding`](Self::check_hiding); `Io`.
    pub(super) fn show_secret(&self, text: &str) -> Result<SecretScreen> {
        self.check_hiding()?;
        let mut guard = open();
        if let Some(open) = guard.as_mut() {
            // With the lock, so that a signal finds either nothing on the screen or what it has to overwrite.
            open.resized.store(false, Ordering::SeqCst);
            open.is_secret = true;
            let shown = open.file.write_all(overwrite::ENTER.as_bytes());
            if let Err(error) = shown.and_then(|()| open.file.write_all(text.as_bytes())) {
                open.leave();
                return Err(cannot("write to", error));
            }
        }
        Ok(SecretScreen)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        if let Some(mut open) = open().take() {
            open.leave();
            let _ = tcsetattr(&open.file, OptionalActions::Now, &open.modes);
        }
    }
}

/// What is typed is not shown.
struct Hidden<'a> {
    tty: &'a Tty,
    before: Termios,
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty.file, OptionalActions::Now, &self.before);
    }
}

/// Something secret that is on the screen.
pub(super) struct SecretScreen;

impl SecretScreen {
    /// Overwrites it, and returns whether the window changed its size meanwhile: then part of it may have been moved
    /// to where nothing overwrites it.
    pub(super) fn hide(self) -> bool {
        drop(self);
        open().as_ref().is_some_and(|open| open.resized.load(Ordering::SeqCst))
    }
}

impl Drop for SecretScreen {
    fn drop(&mut self) {
        if let Some(open) = open().as_mut() {
            open.leave();
        }
    }
}

fn cannot(what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what} the terminal")).with_source(error)
}
