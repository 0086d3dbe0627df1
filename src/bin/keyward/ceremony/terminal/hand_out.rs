//! Giving a share to one custodian alone: on the screen, on paper, or in a file.

use super::{Terminal, nobody, overwrite};
use keyward::ceremony::{Handout, HandoutWay};
use keyward::{Error, ErrorKind, Result};
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How many groups stand on a line.
const ON_A_LINE: usize = 4;
/// More than the text of any share takes on the screen, so that it never moves to a larger place and leaves a copy.
const ROOM: usize = 4096;
const WRITTEN: &str = "  Press Enter once it is written down. It is not shown again: ";

impl Terminal {
    pub(super) fn hand_share_out(&self, handout: &Handout<'_>) -> Result<()> {
        match handout.way {
            HandoutWay::Screen => self.show_share(handout),
            HandoutWay::Paper => {
                let prompt = format!("{}, the device of the printer, as in /dev/usb/lp0: ", handout.custodian);
                let path = self.put_share(handout, &prompt, print)?;
                self.write(2, &format!("It went to '{}'. {} takes the paper.", path.display(), handout.custodian))
            }
            HandoutWay::File => {
                let prompt = format!("{}, a new file for your share, on a medium of your own: ", handout.custodian);
                let path = self.put_share(handout, &prompt, |path, text| self.write_file(path, text))?;
                let taken = format!("It is in '{}'. {} takes the medium out.", path.display(), handout.custodian);
                self.write(2, &taken)
            }
            way => Err(Error::new(ErrorKind::Internal, format!("shares are not handed out on {}", way.name()))),
        }
    }

    fn show_share(&self, handout: &Handout<'_>) -> Result<()> {
        let Handout { custodian, token, .. } = handout;
        let share = handout.share.index();
        self.write(2, &format!("{custodian} comes to the screen. EVERYBODY ELSE LOOKS AWAY, and no camera sees it."))?;
        let text = share_text(handout);
        loop {
            let ready = format!("{custodian}, press Enter when you alone see the screen: ");
            self.tty.ask(&ready)?.ok_or_else(nobody)?;
            // A line more, for the end of what is typed. Where the size is not known, it cannot be seen to.
            let size = self.tty.size();
            let needed = |columns| overwrite::rows(&text, columns) + overwrite::rows(WRITTEN, columns);
            match size {
                Some(size) if needed(size.columns) > usize::from(size.rows) => self.write(
                    2,
                    &format!(
                        "The window has {} lines of {}, and the share needs {}: what is scrolled away could be scrolled \
                         back to. Make it larger.",
                        size.rows,
                        size.columns,
                        needed(size.columns)
                    ),
                )?,
                _ => break,
            }
        }
        let shown = self.tty.show_secret(&text)?;
        drop(text);
        // Without an echo: what is typed would scroll the share away.
        let written = self.tty.ask_hidden(WRITTEN, false)?;
        let resized = shown.hide();
        written.ok_or_else(nobody)?;
        if resized {
            self.write(
                2,
                &format!(
                    "THE WINDOW CHANGED ITS SIZE while share {share} of '{token}' was on it. Part of it may be in what can \
                     be scrolled back to: look, and where it is, end that terminal, leave, and resume."
                ),
            )?;
        }
        self.write(2, &format!("{custodian} has written it down, and it is gone from the screen."))
    }

    /// Asks where a share goes until it went there.
    fn put_share(
        &self,
        handout: &Handout<'_>,
        prompt: &str,
        put: impl Fn(&Path, &str) -> Result<()>,
    ) -> Result<PathBuf> {
        let text = share_text(handout);
        loop {
            let typed = self.tty.ask(prompt)?.ok_or_else(nobody)?;
            if typed.is_empty() {
                continue;
            }
            let path = PathBuf::from(typed.as_str());
            match put(&path, &text) {
                Ok(()) => return Ok(path),
                Err(error) => self.item("  Not taken: ", &crate::report::message(&error.into()))?,
            }
        }
    }

    /// Writes a share into a file of its own, which its owner alone may read. Directly and not by way of a temporary
    /// file: if that were left behind, it would not be looked for.
    fn write_file(&self, path: &Path, text: &str) -> Result<()> {
        let is_in_bundle = || {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok::<_, io::Error>(above.canonicalize()?.starts_with(self.bundle.canonicalize()?))
        };
        if is_in_bundle().map_err(|error| cannot_write(path, error))? {
            let message = "a share has no place in the bundle, which everybody may read";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(|error| cannot_write(path, error))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| {
            // Nothing of a share stays.
            let _ = std::fs::remove_file(path);
            cannot_write(path, error)
        })
    }
}

/// Prints a share at a printer that is attached to this machine: a spooler would keep the page.
fn print(path: &Path, text: &str) -> Result<()> {
    let failed = |error| cannot_write(path, error);
    let is_device = |metadata: &Metadata| metadata.file_type().is_char_device();
    // Before it is opened: a pipe would be waited for.
    if !is_device(&path.metadata().map_err(failed)?) {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a device", path.display())));
    }
    let mut file = File::options().write(true).open(path).map_err(failed)?;
    // It would be on a screen.
    if file.is_terminal() {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is a terminal", path.display())));
    }
    let mut page = Zeroizing::new(String::with_capacity(2 * ROOM));
    for line in text.lines() {
        page.push_str(line);
        page.push_str("\r\n");
    }
    page.push('\x0c');
    file.write_all(page.as_bytes()).map_err(failed)
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write '{}'", path.display())).with_source(error)
}

/// A share with all that its custodian has to know.
fn share_text(handout: &Handout<'_>) -> Zeroizing<String> {
    let Handout { custodian, token, share, shares, .. } = handout;
    let which = format!("share {} of {shares} of the PIN of '{token}'", share.index());
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    let mut lines = vec![format!("{custodian}: {which}; {} of them open it.", share.threshold())];
    if handout.rehearsal {
        lines.push("THIS IS A REHEARSAL: it opens nothing that is worth anything.".into());
    }
    if handout.way == HandoutWay::Screen {
        lines.push("Write down what it is of, and all groups.".into());
    }
    lines.push("The number before a group is not part of it.".into());
    for line in lines {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    push_groups(&mut text, &share.to_text());
    text
}

/// The groups of a share, each with its number.
fn push_groups(text: &mut String, share: &str) {
    for (at, group) in share.split('-').enumerate() {
        text.push_str(if at % ON_A_LINE == 0 { "\n\n    " } else { "      " });
        // The number alone: what `format!` makes nobody wipes.
        text.push_str(&format!("{:>2}: ", at + 1));
        text.push_str(group);
    }
    text.push_str("\n\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbered_so_that_a_wrong_one_is_found() {
        let mut text = String::with_capacity(ROOM);
        push_groups(&mut text, "AAAA-BBBB-CCCC-DDDD-EEEE");
        assert_eq!(text, "\n\n     1: AAAA       2: BBBB       3: CCCC       4: DDDD\n\n     5: EEEE\n\n\n");
        // The longest: a PIN of 32.
        let mut text = String::with_capacity(ROOM);
        push_groups(&mut text, &"0123-".repeat(16));
        assert_eq!(text.capacity(), ROOM);
    }

    #[test]
    fn a_share_is_printed_at_a_device_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(print(&file, "a share").unwrap_err().to_string().ends_with("is not a device"));
        assert_eq!(std::fs::read(&file).unwrap(), b"");
        let pty = Path::new("/dev/ptmx");
        assert!(print(pty, "a share").unwrap_err().to_string().ends_with("is a terminal"));
        print(Path::new("/dev/null"), "a share").unwrap();
    }
}
