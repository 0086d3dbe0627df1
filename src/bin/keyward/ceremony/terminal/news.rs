//! What is shown to everybody.

use super::{Terminal, listed};
use keyward::Result;
use keyward::ceremony::{Custody, Fact, Hash, Name, News, StepKind, words};

impl Terminal {
    pub(super) fn tell_news(&self, news: &News<'_>) -> Result<()> {
        match news {
            News::Done { step, facts } => {
                self.seen(facts)?;
                if step.kind == StepKind::CheckHost {
                    self.write_time()?;
                }
                self.write(2, "recorded")
            }
            News::Seen(facts) => self.seen(facts),
            News::Refused(why) => self.item("  Not taken: ", why),
            News::Opening { token, threshold } => self.opening(token, *threshold),
            News::Closed { head, plan } => self.closed(head, plan),
            _ => Ok(()),
        }
    }

    fn seen(&self, facts: &[Fact]) -> Result<()> {
        self.list("Seen:", facts.iter().flat_map(Fact::sentences))
    }

    fn opening(&self, token: &Name, threshold: Option<u8>) -> Result<()> {
        self.tty.write("\n")?;
        let custody = self.plan.token(token).map(|planned| &planned.custody);
        let who = match (threshold, custody) {
            (Some(threshold), Some(Custody::Shared { custodians, .. })) => {
                format!("{threshold} of {} type their shares, one after the other", listed(custodians, "and"))
            }
            (Some(threshold), _) => format!("{threshold} custodians type their shares"),
            (None, Some(Custody::Typed { by })) => format!("{by} types its PIN"),
            (None, _) => "its PIN is needed".to_owned(),
        };
        self.write(2, &format!("The token '{token}' is opened: {who}."))
    }

    fn closed(&self, head: &Hash, plan: &Hash) -> Result<()> {
        let rehearsal = if self.rehearsal { "REHEARSAL, " } else { "" };
        self.tty.write("\n")?;
        self.write(0, &format!("{rehearsal}{} is done, and its transcript is closed.", self.plan.id))?;
        for (what, hash) in [("The plan", plan), ("The head of the transcript", head)] {
            self.write(2, &format!("{what} is {hash}, in words:"))?;
            for line in words::lines(hash) {
                self.write(6, &line)?;
            }
        }
        let witnesses: Vec<Name> = self.plan.witnesses().map(|(name, _)| name.clone()).collect();
        self.write(
            2,
            &format!(
                "{} write these words down. Each signs a copy of the bundle on a machine of their own, where the same \
                 words have to come:",
                listed(&witnesses, "and")
            ),
        )?;
        self.write(6, &format!("keyward ceremony sign {} --key KEY", self.bundle.display()))
    }
}
