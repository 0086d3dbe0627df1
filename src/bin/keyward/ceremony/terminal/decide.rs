//! What people decide where something is not as it should be.

use super::Terminal;
use crate::output::one_line;
use keyward::Result;
use keyward::ceremony::{Consent, Name, Ruling, Trouble};

/// The longest reason that a transcript takes, in bytes.
const MAX_REASON: usize = 2000;

impl Terminal {
    pub(super) fn decide_trouble(&self, trouble: &Trouble<'_>) -> Result<Ruling> {
        self.tty.write("\n")?;
        let at = trouble.step.map(|step| format!(" at {}", step.id)).unwrap_or_default();
        self.write(0, &format!("NOT AS IT SHOULD BE{at}"))?;
        self.item("  expected: ", &trouble.expected)?;
        self.item("  happened: ", &trouble.happened)?;
        if let Some(hint) = &trouble.hint {
            self.item("  hint:     ", hint)?;
        }
        self.item("  again:    ", "it is tried again")?;
        self.item("  leave:    ", "everybody leaves for now, and the ceremony goes on later")?;
        let mut words = vec!["again", "leave"];
        if trouble.may_accept {
            self.item("  accept:   ", "it stays as it is; the transcript and every report say so, and by whom")?;
            words.push("accept");
        }
        if trouble.may_stop {
            self.item("  stop:     ", "the ceremony ends here for good")?;
            words.push("stop");
        }
        let question = format!("{}? ", words.join(", "));
        loop {
            match self.tty.ask(&question)?.as_deref().map(String::as_str) {
                Some("again") => return Ok(Ruling::Again),
                None | Some("leave") => return Ok(Ruling::Leave),
                Some("accept") if trouble.may_accept => {
                    if let Some((by, reason)) = self.by_whom_and_why()? {
                        return Ok(Ruling::Accept { by, reason });
                    }
                }
                Some("stop") if trouble.may_stop => {
                    if let Some((by, reason)) = self.by_whom_and_why()?
                        && self.is_to_end()?
                    {
                        return Ok(Ruling::Stop { by, reason });
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// None where they think better of it.
    fn by_whom_and_why(&self) -> Result<Option<(Name, String)>> {
        let by = loop {
            let Some(typed) = self.tty.ask("who decides, as the plan calls them (nothing to go back): ")? else {
                return Ok(None);
            };
            match typed.parse() {
                _ if typed.is_empty() => return Ok(None),
                Ok(name) if self.plan.person(&name).is_some() => break name,
                _ => self.write(2, "The plan has no such person.")?,
            }
        };
        let why = self.text(&format!("{by}, why? It stands in the transcript for everybody to read: "))?;
        Ok(why.map(|why| (by, why)))
    }

    /// A text for the transcript, without control characters, which none takes. None where nothing is typed.
    fn text(&self, question: &str) -> Result<Option<String>> {
        loop {
            let Some(typed) = self.tty.ask(question)? else { return Ok(None) };
            match typed.len() {
                0 => return Ok(None),
                1..=MAX_REASON => return Ok(Some(one_line(&typed))),
                _ => self.write(2, "Shorter, please.")?,
            }
        }
    }

    /// What nobody expected, such as that somebody came in. None where they think better of it.
    pub(super) fn ask_note(&self) -> Result<Option<Consent>> {
        let Some(expected) = self.text("what was expected (nothing to go back): ")? else { return Ok(None) };
        let Some(happened) = self.text("what happened instead: ")? else { return Ok(None) };
        let decided = self.by_whom_and_why()?;
        Ok(decided.map(|(by, reason)| Consent::Exception { expected, happened, reason, by }))
    }

    fn is_to_end(&self) -> Result<bool> {
        let id = &self.plan.id;
        let typed = self.tty.ask(&format!("type the ceremony's id, {id}, to end it for good: "))?;
        let is = typed.is_some_and(|typed| *typed == id.as_str());
        if !is {
            self.write(2, "It does not end here.")?;
        }
        Ok(is)
    }
}
