//! `keyward ceremony sign`, on a witness's own machine.

use super::{BundlePath, verify};
use crate::app::App;
use crate::output::{print, print_line, say};
use crate::report::NOT_AUTHENTIC;
use clap::Args;
use keyward::ceremony::{Bundle, InterimStatement, Name, Plan, Statement, Verify, WitnessSecret, words};
use keyward::{Error, ErrorKind};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Sign the bundle of a ceremony as one of its witnesses
///
/// Needs the bundle and the witness's secret key of minisign, and nothing else: it is for a machine of her own. The
/// bundle is verified first, and nothing is signed where anything is wrong with it. What is signed is shown in words, to
/// be compared with those that were shown in the room.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward ceremony sign bundle --key ~/.minisign/minisign.key
  keyward ceremony sign bundle --interim --key ~/.minisign/minisign.key      # at a pause
  keyward ceremony sign bundle --statement > statement && minisign -Sm statement -x bundle/signatures/wanda.minisig")]
pub(crate) struct Sign {
    #[command(flatten)]
    bundle: BundlePath,
    /// The witness's secret key, as `minisign -G` makes it
    #[arg(long, value_name = "FILE", required_unless_present = "statement")]
    key: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Sign the bundle of a rehearsal with --yes, and no other
    #[arg(long, requires = "yes")]
    rehearsal: bool,
    /// Sign the transcript up to a pause, before the ceremony goes on
    ///
    /// `keyward ceremony resume` then refuses a transcript with another beginning.
    #[arg(long)]
    interim: bool,
    /// Print what is to be signed and sign nothing, for a key that minisign itself has
    #[arg(long, conflicts_with_all = ["key", "yes"])]
    statement: bool,
}

impl Sign {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let bundle = self.bundle.open()?;
        if self.interim {
            return self.run_interim(&bundle);
        }
        let found = Verify::new(&bundle).before_signing().run()?;
        if !found.is_intact() {
            verify::tell(&found, None, app)?;
            say("error", "nothing is signed: the bundle is not as it should be");
            return Ok(NOT_AUTHENTIC);
        }
        let statement = statement(&bundle)?;
        let Some(path) = &self.key else {
            print(&statement.to_string())?;
            return Ok(0);
        };
        self.check_confirmable(&statement.transcript)?;
        let key = open(path)?;
        let witness = whose(&bundle.plan()?, &key)?;
        verify::tell(&found, None, app)?;
        self.confirm(&statement.transcript)?;
        let comment = format!("{} as witness {witness}", statement.transcript.ceremony);
        bundle.write_signature(&witness, &key.sign(statement.to_string().as_bytes(), &comment)?)?;
        print_line(&format!("signed as {witness}"))?;
        Ok(0)
    }

    /// Refuses what cannot be confirmed, and what a script that signs ceremonies did not expect.
    fn check_confirmable(&self, statement: &InterimStatement) -> keyward::Result<()> {
        let refused = |what: &'static str, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidArgument, format!("nothing is signed: {what}")).with_hint(hint))
        };
        match (self.yes, statement.rehearsal) {
            (false, _) if std::io::stdin().is_terminal() => Ok(()),
            (false, _) => refused("it was not confirmed", "at a terminal you are asked; in a script, add --yes"),
            (true, true) if !self.rehearsal => {
                refused("it is a REHEARSAL", "a script that signs rehearsals adds --rehearsal")
            }
            (true, false) if self.rehearsal => {
                refused("it is no rehearsal", "leave --rehearsal out to sign a ceremony")
            }
            (true, _) => Ok(()),
        }
    }

    /// Shows what is signed in words, and has it confirmed. A rehearsal is confirmed with another word than a ceremony,
    /// so that neither is signed in the place of the other.
    fn confirm(&self, statement: &InterimStatement) -> anyhow::Result<()> {
        print(&format!(
            "\nThe plan:\n\n    {}\n\nThe head of the transcript:\n\n    {}\n\n",
            words::lines(&statement.plan).join("\n    "),
            words::lines(&statement.head).join("\n    "),
        ))?;
        if self.yes {
            return Ok(());
        }
        let word = if statement.rehearsal { "rehearsal" } else { statement.ceremony.as_str() };
        let what = if statement.rehearsal { "This is a REHEARSAL. " } else { "" };
        let mut err = std::io::stderr().lock();
        write!(err, "{what}Are these the words that were shown in the room? Type {word} to sign: ")?;
        err.flush()?;
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed)?;
        if typed.trim() != word {
            return Err(anyhow::anyhow!("nothing is signed: '{}' is not '{word}'", typed.trim()));
        }
        Ok(())
    }

    /// Signs the transcript as it is at a pause.
    fn run_interim(&self, bundle: &Bundle) -> anyhow::Result<u8> {
        let statement = InterimStatement::new(&bundle.transcript()?)
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "there is nothing to sign: nothing was done"))?;
        let plan = bundle.plan()?;
        if statement.plan != Plan::hash(&bundle.plan_text()?) {
            let message = "the plan in the bundle is not the one that was begun with";
            return Err(Error::new(ErrorKind::NotAuthentic, message).into());
        }
        let Some(path) = &self.key else {
            print(&statement.to_string())?;
            return Ok(0);
        };
        self.check_confirmable(&statement)?;
        let key = open(path)?;
        let witness = whose(&plan, &key)?;
        self.confirm(&statement)?;
        let comment = format!("{} as witness {witness}, at a pause", statement.ceremony);
        let signature = key.sign(statement.to_string().as_bytes(), &comment)?;
        bundle.write_interim_signature(&witness, statement.entries, &signature)?;
        print_line(&format!("signed the first {} entries as {witness}", statement.entries))?;
        Ok(0)
    }
}

fn statement(bundle: &Bundle) -> anyhow::Result<Statement> {
    let transcript = bundle.transcript()?;
    let made = Statement::new(&transcript, &bundle.report_bytes()?);
    Ok(made.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "there is nothing to sign: nothing was done"))?)
}

/// The secret key in a file, whose password is asked for where it has one.
fn open(path: &Path) -> anyhow::Result<WitnessSecret> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the secret key '{}'", path.display())).with_source(error)
    })?;
    let password = if WitnessSecret::needs_password(&text)? {
        let typed = rpassword::prompt_password(format!("Password of '{}': ", path.display()));
        Some(Zeroizing::new(
            typed.map_err(|error| Error::new(ErrorKind::PinRequired, "no password was entered").with_source(error))?,
        ))
    } else {
        None
    };
    Ok(WitnessSecret::open(&text, password)?)
}

/// The witness whose key it is.
fn whose(plan: &Plan, key: &WitnessSecret) -> anyhow::Result<Name> {
    let public = key.public_key()?;
    let found = plan.witnesses().find(|(_, own)| **own == public).map(|(name, _)| name.clone());
    Ok(found.ok_or_else(|| {
        let message = format!("the key {} is no witness's of this plan", public.id());
        Error::new(ErrorKind::InvalidArgument, message)
    })?)
}
