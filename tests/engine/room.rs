//! People who do as a script says. They have paper: shares that were handed out are still there in another process.

use keyward::ceremony::{CheckValueOf, Consent, Fact, Handout, Name, News, Room, Ruling, Step, Trouble, Wanted};
use keyward::hsm::backup::check_value;
use keyward::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(crate) const OFFICER_PIN: &str = "officer-pin-of-a-test";
pub(crate) const USER_PIN: &str = "user-pin-of-a-test";

type Answer = Option<String>;

/// What is done where everybody would do as expected.
pub(crate) type Instead = Box<dyn FnMut(&Wanted<'_>) -> Option<Answer>>;

pub(crate) struct Script {
    paper: PathBuf,
    /// Everything that was shown and asked, for assertions.
    pub(crate) said: Vec<String>,
    pub(crate) troubles: Vec<String>,
    /// What is decided, in order; where nothing is left, everybody leaves.
    pub(crate) rulings: VecDeque<Ruling>,
    /// What nobody expected, before the first step that is not done.
    pub(crate) exceptions: VecDeque<Consent>,
    /// Leaves before this step.
    pub(crate) leave_at: Option<String>,
    /// Answers in the place of the usual ones.
    pub(crate) instead: Instead,
    /// Is told of each step before it is confirmed, and whenever something was done.
    pub(crate) at: Box<dyn FnMut(&str)>,
    pub(crate) distrusts: bool,
    /// Which shares custodians bring, by their numbers.
    pub(crate) brings: [u8; 2],
}

impl Script {
    /// `paper` is where custodians keep what they wrote down.
    pub(crate) fn new(paper: &Path) -> Self {
        fs::create_dir_all(paper).unwrap();
        Self {
            paper: paper.to_owned(),
            said: Vec::new(),
            troubles: Vec::new(),
            rulings: VecDeque::new(),
            exceptions: VecDeque::new(),
            leave_at: None,
            instead: Box::new(|_| None),
            at: Box::new(|_| {}),
            distrusts: false,
            brings: [1, 3],
        }
    }

    pub(crate) fn decide_on(mut self, rulings: impl IntoIterator<Item = Ruling>) -> Self {
        self.rulings.extend(rulings);
        self
    }

    fn share_file(&self, token: &Name, index: u8) -> PathBuf {
        self.paper.join(format!("{token}-{index}"))
    }

    /// The share that a custodian has on paper.
    pub(crate) fn share(&self, token: &Name, index: u8) -> String {
        fs::read_to_string(self.share_file(token, index)).unwrap()
    }

    /// The component of this number of any key, in digits.
    pub(crate) fn component(index: u8) -> String {
        hex(&[index; 32])
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn accept(reason: &str) -> Ruling {
    Ruling::Accept { by: "olga".parse().unwrap(), reason: reason.into() }
}

pub(crate) fn stop(reason: &str) -> Ruling {
    Ruling::Stop { by: "olga".parse().unwrap(), reason: reason.into() }
}

impl Room for Script {
    fn confirm(&mut self, step: &Step, _: usize, _: usize) -> Result<Consent> {
        (self.at)(&format!("before {}", step.id));
        if self.leave_at.as_deref() == Some(step.id.as_str()) {
            return Ok(Consent::Leave);
        }
        if let Some(exception) = self.exceptions.pop_front() {
            return Ok(exception);
        }
        self.said.push(format!("{}: {}", step.confirmed_by, step.announce));
        Ok(Consent::Given)
    }

    fn tell(&mut self, news: &News<'_>) {
        self.said.push(match news {
            News::Done { step, facts } => {
                (self.at)(&format!("after {}", step.id));
                format!("done {}: {}", step.id, facts.iter().flat_map(Fact::sentences).collect::<Vec<_>>().join("; "))
            }
            News::Refused(why) => format!("refused: {why}"),
            other => format!("{other:?}"),
        });
    }

    fn decide(&mut self, trouble: &Trouble<'_>) -> Result<Ruling> {
        (self.at)(&format!("trouble {}", trouble.happened));
        self.troubles.push(trouble.happened.clone());
        let ruling = self.rulings.pop_front().unwrap_or(Ruling::Leave);
        match ruling {
            Ruling::Accept { .. } => assert!(trouble.may_accept, "{trouble:?}"),
            Ruling::Stop { .. } => assert!(trouble.may_stop, "{trouble:?}"),
            _ => {}
        }
        Ok(ruling)
    }

    fn secret(&mut self, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>> {
        (self.at)(&format!("asked {wanted:?}"));
        if let Some(answer) = (self.instead)(wanted) {
            return Ok(answer.map(Zeroizing::new));
        }
        let answer = match wanted {
            Wanted::NewOfficerPin { .. } | Wanted::OfficerPin { .. } => OFFICER_PIN.to_owned(),
            Wanted::NewUserPin { .. } | Wanted::UserPin { .. } => USER_PIN.to_owned(),
            Wanted::ShareBack { token, by } => {
                let index = ["carol", "dave", "erin"].iter().position(|name| *name == by.as_str()).unwrap();
                self.share(token, u8::try_from(index).unwrap() + 1)
            }
            Wanted::Share { token, place, .. } => self.share(token, self.brings[usize::from(*place) - 1]),
            Wanted::Component { index, .. } => Self::component(*index),
            other => return Err(Error::new(ErrorKind::Internal, format!("nobody knows what {other:?} is"))),
        };
        Ok(Some(answer.into()))
    }

    fn hand_out(&mut self, handout: &Handout<'_>) -> Result<()> {
        let path = self.share_file(handout.token, handout.share.index());
        fs::write(path, &*handout.share.to_text()).unwrap();
        Ok(())
    }

    fn check_value(&mut self, of: &CheckValueOf<'_>) -> Result<Option<String>> {
        // What two components make.
        let value = match of {
            CheckValueOf::Component { index, .. } => [*index; 32],
            _ => [1 ^ 2; 32],
        };
        Ok(Some(hex(&check_value(&value))))
    }

    fn trusts(&mut self, _: &Name, _: &Name, fingerprint: &str) -> Result<bool> {
        assert_eq!(fingerprint.len(), 64);
        Ok(!self.distrusts)
    }
}
