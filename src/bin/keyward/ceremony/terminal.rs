//! A ceremony's room at a terminal: steps are read from it, and confirmed by typing a name.

mod ask;
mod decide;
mod hand_out;
mod keys;
mod news;
mod overwrite;
mod secret;
mod tty;

pub(crate) use tty::restore;

use crate::output::one_line;
use keyward::ceremony::{
    CheckValueOf, Consent, Custody, Handout, HandoutWay, Hash, Name, News, Plan, PlannedToken, Room, Ruling, Step,
    StepKind, Trouble, Wanted, words,
};
use keyward::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use tty::Tty;
use zeroize::Zeroizing;

/// The widest lines, however wide the terminal is: longer ones are hard to read aloud.
const MAX_WIDTH: usize = 100;

/// The people at this terminal.
pub(super) struct Terminal {
    tty: Tty,
    plan: Plan,
    bundle: PathBuf,
    rehearsal: bool,
}

impl Terminal {
    /// Whether there is a terminal that will do for this plan.
    ///
    /// # Errors
    /// `InvalidArgument` where there is none, or where shares would be shown on one that may keep them.
    pub(super) fn check(plan: &Plan) -> Result<()> {
        let tty = Tty::open()?;
        let is_shown =
            |token: &PlannedToken| matches!(token.custody, Custody::Shared { handout: HandoutWay::Screen, .. });
        if plan.tokens.iter().any(is_shown) { tty.check_hiding() } else { Ok(()) }
    }

    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn open(plan: &Plan, bundle: &Path, rehearsal: bool) -> Result<Self> {
        let tty = Tty::open()?;
        tty.take()?;
        Ok(Self { tty, plan: plan.clone(), bundle: bundle.to_owned(), rehearsal })
    }

    /// Says what is about to begin, with the words of the plan, which everybody compares with their paper.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub(super) fn greet(&self, text: &str) -> Result<()> {
        let what = if self.rehearsal { "REHEARSAL of the key ceremony" } else { "Key ceremony" };
        self.write(0, &format!("{what} {}", self.plan.id))?;
        let hash = Plan::hash(text);
        self.write(2, &format!("The plan is {hash}, in words:"))?;
        words::lines(&hash).iter().try_for_each(|line| self.write(6, line))?;
        self.write(2, "They have to be those on everybody's paper. If they are not, leave.")
    }

    /// Says how far a ceremony is that goes on.
    ///
    /// # Errors
    /// As [`greet`](Self::greet).
    pub(super) fn tell_progress(&self, done: usize, all: usize) -> Result<()> {
        self.write(2, &format!("It was interrupted: {done} of {all} steps are done. It goes on."))
    }

    /// Shows the head of the transcript that goes on, to be compared with what was written down when it was left.
    ///
    /// # Errors
    /// As [`greet`](Self::greet).
    pub(super) fn show_head(&self, head: &Hash) -> Result<()> {
        self.write(2, &format!("The head of the transcript is {head}, in words:"))?;
        words::lines(head).iter().try_for_each(|line| self.write(6, line))?;
        self.write(
            2,
            "They have to be those that were written down at the pause. If they are not, leave: what was recorded before \
             was rewritten.",
        )
    }

    /// A paragraph, indented by so many blanks. What tokens call themselves may be in it.
    fn write(&self, indent: usize, text: &str) -> Result<()> {
        self.item(&" ".repeat(indent), text)
    }

    /// A paragraph that begins with a mark, below which its other lines are set in.
    fn item(&self, mark: &str, text: &str) -> Result<()> {
        let below = " ".repeat(mark.len());
        let width = self.tty.width().min(MAX_WIDTH);
        let options = textwrap::Options::new(width).initial_indent(mark).subsequent_indent(&below);
        // A hash or a serial number stays whole, and one that is read aloud has no hyphen that is not its own.
        let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
        self.tty.write(&(textwrap::fill(&one_line(text), options) + "\n"))
    }

    fn list(&self, title: &str, items: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            self.write(2, title)?;
        }
        items.try_for_each(|item| self.item("    - ", item.as_ref()))
    }

    /// The people who keep shares of a token's PIN, or type it.
    fn keepers(&self, token: &Name) -> String {
        match self.plan.token(token).map(|token| &token.custody) {
            Some(Custody::Shared { custodians, .. }) => listed(custodians, "or"),
            Some(Custody::Typed { by }) => by.to_string(),
            _ => String::new(),
        }
    }

    /// The step, what is announced, and what has to be seen.
    fn announce(&self, step: &Step, number: usize, all: usize) -> Result<()> {
        let rehearsal = if self.rehearsal { "REHEARSAL, " } else { "" };
        self.tty.write("\n")?;
        self.write(0, &format!("{rehearsal}Step {number} of {all}: {}", step.id))?;
        self.write(2, &step.announce)?;
        self.list("Expected:", &step.expect)?;
        if step.kind == StepKind::CheckHost {
            self.write_time()?;
        }
        Ok(())
    }

    fn write_time(&self) -> Result<()> {
        let now = jiff::Timestamp::now().strftime("%A, %-d %B %Y, %H:%M:%S UTC");
        self.write(2, &format!("The clock of this host says {now}. Compare it with a watch."))
    }
}

impl Room for Terminal {
    fn confirm(&mut self, step: &Step, number: usize, all: usize) -> Result<Consent> {
        self.announce(step, number, all)?;
        let name = &step.confirmed_by;
        let question = format!(
            "{name}, type your name to confirm, 'note' to record what nobody expected, or 'leave' to go on later: "
        );
        loop {
            match self.tty.ask(&question)?.as_deref().map(String::as_str) {
                None | Some("leave") => return Ok(Consent::Leave),
                Some(typed) if typed == name.as_str() => return Ok(Consent::Given),
                Some("note") => {
                    if let Some(noted) = self.ask_note()? {
                        return Ok(noted);
                    }
                }
                Some(_) => self.write(2, &format!("Nothing is confirmed: that is not '{name}'."))?,
            }
        }
    }

    fn tell(&mut self, news: &News<'_>) {
        // A terminal that is gone is found out by the next question.
        let _ = self.tell_news(news);
    }

    fn decide(&mut self, trouble: &Trouble<'_>) -> Result<Ruling> {
        self.decide_trouble(trouble)
    }

    fn secret(&mut self, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>> {
        self.ask_secret(wanted)
    }

    fn hand_out(&mut self, handout: &Handout<'_>) -> Result<()> {
        self.hand_share_out(handout)
    }

    fn check_value(&mut self, of: &CheckValueOf<'_>) -> Result<Option<String>> {
        self.ask_check_value(of)
    }

    fn trusts(&mut self, officer: &Name, token: &Name, fingerprint: &str) -> Result<bool> {
        self.ask_trust(officer, token, fingerprint)
    }
}

/// Nobody is there any more.
fn nobody() -> Error {
    Error::new(ErrorKind::Io, "nobody is at the terminal any more: its input has ended")
}

/// `carol, dave or erin`.
fn listed(names: &[Name], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., end] => {
            let first: Vec<_> = first.iter().map(Name::as_str).collect();
            format!("{} {last} {end}", first.join(", "))
        }
    }
}
