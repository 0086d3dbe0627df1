//! What is not as it should be: people decide, and what they decide is recorded.

use super::Engine;
use crate::ceremony::entry::Decision;
use crate::ceremony::journal::Journal;
use crate::ceremony::name::Name;
use crate::ceremony::plan::secrets;
use crate::ceremony::room::{News, Ruling, Trouble};
use crate::ceremony::step::{Step, StepId, StepKind};
use crate::error::{Error, ErrorKind, Result};
use std::error::Error as _;

/// The longest text of ours in an exception, in bytes.
const MAX_TEXT: usize = 1000;

/// What kind of failure it is that something is not as planned.
pub(super) fn kind(step: &Step) -> ErrorKind {
    match step.kind {
        StepKind::CheckHost => ErrorKind::ModuleUnavailable,
        StepKind::IdentifyToken { .. } | StepKind::InitializeToken { .. } => ErrorKind::TokenNotFound,
        _ => ErrorKind::KeyAttributes,
    }
}

/// A message and its cause, for people.
pub(super) fn with_causes(error: &Error) -> String {
    match error.source() {
        Some(cause) if error.kind() == ErrorKind::Io => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

impl Engine<'_> {
    /// Has people decide on something that is not as planned and that they may accept. `None`: they have, and it is
    /// recorded.
    pub(super) fn accept(&mut self, step: &Step, problem: &Error) -> Result<Option<Ruling>> {
        let expected = step.expect.join("; ");
        loop {
            let ruling = self.room.decide(&Trouble {
                step: Some(step),
                expected: expected.clone(),
                happened: problem.to_string(),
                hint: None,
                may_accept: true,
                may_stop: true,
            })?;
            let Ruling::Accept { by, reason } = ruling else { return Ok(Some(ruling)) };
            match self.exception(&step.id, &expected, problem, Decision::Accepted, (&reason, &by)) {
                Ok(()) => return Ok(None),
                // What they said looks like a secret.
                Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                    self.room.tell(&News::Refused(&error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Records something that nobody asked about.
    pub(super) fn unexpected(&mut self, told: [&str; 3], by: &Name) -> Result<()> {
        match self.record(|journal| journal.exception(None, told, Decision::Accepted, by)) {
            // What they said looks like a secret, or is nothing.
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                self.room.tell(&News::Refused(&error.to_string()));
                Ok(())
            }
            answer => answer,
        }
    }

    pub(super) fn exception(
        &mut self,
        step: &StepId,
        expected: &str,
        happened: &Error,
        decision: Decision,
        (reason, by): (&str, &Name),
    ) -> Result<()> {
        let expected = recordable(expected).unwrap_or_else(|| "as the plan says".into());
        // A message may hold what a token said of itself.
        let happened = recordable(&happened.to_string()).unwrap_or_else(|| format!("{:?}", happened.kind()));
        self.record(|journal| journal.exception(Some(step), [&expected, &happened, reason], decision, by))
    }

    /// Writes into the transcript. Where the disk is full or the clock went backwards, people mend that, or know of it.
    ///
    /// # Errors
    /// What could not be recorded, where people leave because of it.
    pub(super) fn record<T>(&mut self, mut write: impl FnMut(&mut Journal) -> Result<T>) -> Result<T> {
        loop {
            let error = match write(&mut self.journal) {
                Err(error) if error.kind() == ErrorKind::Io => error,
                answer => return answer,
            };
            let clock = self.journal.is_clock_backwards();
            let expected = if clock { "time goes on" } else { "the transcript can be written" };
            let ruling = self.room.decide(&Trouble {
                step: None,
                expected: expected.into(),
                happened: with_causes(&error),
                hint: error.hint().map(ToOwned::to_owned),
                may_accept: clock,
                may_stop: false,
            })?;
            match ruling {
                Ruling::Again => {}
                Ruling::Accept { by, reason } if clock => match self.journal.clock(&reason, &by) {
                    Ok(()) => {}
                    Err(error) => self.room.tell(&News::Refused(&with_causes(&error))),
                },
                _ => return Err(error),
            }
        }
    }
}

/// A text of ours as it may stand in a transcript; none where it looks like a secret, wherever that came from.
fn recordable(text: &str) -> Option<String> {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while line.len() > MAX_TEXT {
        line.pop();
    }
    (!line.is_empty() && secrets::in_line(&line).is_none()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceremony::room::{CheckValueOf, Consent, Handout, Room, Wanted};
    use crate::ceremony::{Answers, Begin, Bundle, Entry, Plan, Venue};
    use std::cell::Cell;
    use zeroize::Zeroizing;

    thread_local! {
        /// The second that it is.
        static SECOND: Cell<u32> = const { Cell::new(30) };
    }

    fn now() -> String {
        format!("2026-01-31T08:15:{:02}.000000Z", SECOND.get())
    }

    /// People who set the clock right when they are asked first, and know of it afterwards.
    #[derive(Default)]
    struct Clockmakers(Vec<String>);

    impl Room for Clockmakers {
        fn decide(&mut self, trouble: &Trouble<'_>) -> Result<Ruling> {
            self.0.push(trouble.happened.clone());
            assert!(trouble.may_accept && !trouble.may_stop && trouble.step.is_none());
            let accept = |reason: &str| Ruling::Accept { by: "olga".parse().unwrap(), reason: reason.into() };
            Ok(match self.0.len() {
                1 => {
                    SECOND.set(40);
                    Ruling::Again
                }
                2 => accept("my PIN: 12345678"),
                3 => accept("the battery was empty"),
                _ => Ruling::Leave,
            })
        }

        fn tell(&mut self, news: &News<'_>) {
            assert!(matches!(news, News::Refused(why) if why.contains("looks like a PIN")), "{news:?}");
        }

        fn confirm(&mut self, _: &Step, _: usize, _: usize) -> Result<Consent> {
            unreachable!("no step is read aloud here")
        }

        fn secret(&mut self, _: &Wanted<'_>) -> Result<Option<Zeroizing<String>>> {
            unreachable!("nothing secret is asked for here")
        }

        fn hand_out(&mut self, _: &Handout<'_>) -> Result<()> {
            unreachable!("nothing is handed out here")
        }

        fn check_value(&mut self, _: &CheckValueOf<'_>) -> Result<Option<String>> {
            unreachable!("nothing is checked here")
        }

        fn trusts(&mut self, _: &Name, _: &Name, _: &str) -> Result<bool> {
            unreachable!("nothing is trusted here")
        }
    }

    #[test]
    fn a_clock_that_goes_backwards_is_set_right_or_known_or_everybody_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let text = Answers::example().to_toml();
        let bundle = Bundle::create(&directory.path().join("bundle"), &text).unwrap();
        let begin = Begin { rehearsal: false, tool: "test".into() };
        let journal = Journal::begin_with(&bundle, begin, now).unwrap();
        let mut room = Clockmakers::default();
        let mut engine = Engine::new(&bundle, Plan::parse(&text).unwrap(), journal, Venue::Tokens, &mut room);
        let step = engine.steps[0].clone();
        SECOND.set(20);
        engine.record(|journal| journal.intent(&step.id, &step.confirmed_by)).unwrap();
        SECOND.set(10);
        engine.record(|journal| journal.done(&step.id, Vec::new())).unwrap();
        SECOND.set(5);
        let error = engine.record(|journal| journal.intent(&step.id, &step.confirmed_by)).unwrap_err();
        assert!(error.to_string().starts_with("the clock went backwards: it is 2026-01-31T08:15:05"), "{error}");
        let clocks = engine.journal.lines().iter().filter(|line| matches!(&line.entry, Entry::Clock { .. })).count();
        assert_eq!((clocks, engine.journal.lines().len()), (1, 4));
        drop(engine);
        assert_eq!(room.0.len(), 4);
    }
}
