//! The room in which a ceremony takes place: what a run shows to people, and asks of them.

use super::entry::Fact;
use super::name::Name;
use super::plan::HandoutWay;
use super::shares::Share;
use super::step::Step;
use crate::audit::Hash;
use crate::error::Result;
use crate::key::KeyName;
use zeroize::Zeroizing;

/// The people in a room, and whatever they look at and type on.
///
/// A run ([`Engine`](super::Engine)) neither prints nor asks: a terminal does it, or a test. An error of any of these
/// ends the run where it is; it can be resumed.
pub trait Room {
    /// Reads a step aloud, and has it confirmed by the person whom it names, before anything of it is done. `number` of
    /// `all` steps of the plan.
    ///
    /// # Errors
    /// Where nobody can be asked.
    fn confirm(&mut self, step: &Step, number: usize, all: usize) -> Result<Consent>;

    /// Shows something.
    fn tell(&mut self, news: &News<'_>);

    /// Shows what is not as it should be, and has people decide.
    ///
    /// # Errors
    /// Where nobody can be asked.
    fn decide(&mut self, trouble: &Trouble<'_>) -> Result<Ruling>;

    /// Asks for something secret, which is not shown while it is typed. None where whoever is asked gives it up.
    ///
    /// # Errors
    /// Where nobody can be asked.
    fn secret(&mut self, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>>;

    /// Gives a share to its custodian alone, by the way that the plan names. One that is shown is shown until she says
    /// that she has written it down, and cannot be seen afterwards.
    ///
    /// # Errors
    /// Where it cannot be shown, or nobody says so.
    fn hand_out(&mut self, handout: &Handout<'_>) -> Result<()>;

    /// Asks for a check value, six hexadecimal digits. It is no secret.
    ///
    /// # Errors
    /// Where nobody can be asked.
    fn check_value(&mut self, of: &CheckValueOf<'_>) -> Result<Option<String>>;

    /// Asks the security officer whether the key with this fingerprint is the one under which others may be exported.
    ///
    /// # Errors
    /// Where nobody can be asked.
    fn trusts(&mut self, officer: &Name, token: &Name, fingerprint: &str) -> Result<bool>;
}

/// What becomes of a step that is read aloud.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consent {
    /// It was confirmed.
    Given,
    /// Something happened in the room that nobody expected, and it is to stand in the transcript. The step is read aloud
    /// again afterwards.
    Exception {
        /// What was expected.
        expected: String,
        /// What happened.
        happened: String,
        /// Why people go on all the same.
        reason: String,
        /// Who decided that.
        by: Name,
    },
    /// Everybody leaves for now.
    Leave,
}

/// Something that people are to see.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum News<'a> {
    /// A step is done and recorded.
    Done {
        /// Which.
        step: &'a Step,
        /// What was seen.
        facts: &'a [Fact],
    },
    /// What was seen in a step, before people decide.
    Seen(&'a [Fact]),
    /// What was typed is not right, and is asked for again.
    Refused(&'a str),
    /// A token is opened with the shares of its PIN, or by whoever types it.
    Opening {
        /// The token.
        token: &'a Name,
        /// How many shares are needed, where it is shared.
        threshold: Option<u8>,
    },
    /// The transcript is closed: every step is done.
    Closed {
        /// Its head, which the witnesses sign.
        head: &'a Hash,
        /// The hash of the plan, which they sign as well.
        plan: &'a Hash,
    },
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trouble<'a> {
    /// At which step; none where it is at none.
    pub step: Option<&'a Step>,
    /// What was expected.
    pub expected: String,
    /// What happened instead.
    pub happened: String,
    /// What may help.
    pub hint: Option<String>,
    /// Whether people may accept it. What makes a key what it is, they may not.
    pub may_accept: bool,
    /// Whether a decision can be recorded, and so whether the ceremony can be ended here.
    pub may_stop: bool,
}

/// What people decide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ruling {
    /// It is tried again.
    Again,
    /// Everybody leaves for now, and the run can be resumed.
    Leave,
    /// What is not as planned is accepted. Every report says so.
    Accept {
        /// By whom.
        by: Name,
        /// Why.
        reason: String,
    },
    /// The ceremony ends here for good.
    Stop {
        /// By whom.
        by: Name,
        /// Why.
        reason: String,
    },
}

/// Something secret that somebody types.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Wanted<'a> {
    /// The PIN that the security officer gives to a token. It is to be typed twice.
    NewOfficerPin {
        /// The token.
        token: &'a Name,
        /// Who types it.
        by: &'a Name,
    },
    /// The PIN of a token's security officer.
    OfficerPin {
        /// The token.
        token: &'a Name,
        /// Who types it.
        by: &'a Name,
    },
    /// The user PIN that somebody gives to a token. It is to be typed twice.
    NewUserPin {
        /// The token.
        token: &'a Name,
        /// Who types it.
        by: &'a Name,
    },
    /// The user PIN of a token.
    UserPin {
        /// The token.
        token: &'a Name,
        /// Who types it.
        by: &'a Name,
    },
    /// A share that was just handed out, typed back. Where it is given up it is shown once more.
    ShareBack {
        /// The token.
        token: &'a Name,
        /// Who types it.
        by: &'a Name,
    },
    /// A share of a token's PIN, of whichever custodian.
    Share {
        /// The token.
        token: &'a Name,
        /// Which one it is that is typed now, from 1.
        place: u8,
        /// How many are needed.
        threshold: u8,
    },
    /// A component of a key, 64 hexadecimal digits.
    Component {
        /// The key.
        key: &'a KeyName,
        /// Who types it.
        by: &'a Name,
        /// Which one, from 1.
        index: u8,
    },
}

/// A share that is handed out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Handout<'a> {
    /// Who gets it.
    pub custodian: &'a Name,
    /// Of which token's PIN it is.
    pub token: &'a Name,
    /// The share.
    pub share: &'a Share,
    /// How many shares there are.
    pub shares: usize,
    /// By which way the plan has her get it.
    pub way: HandoutWay,
    /// Whether it is a rehearsal, whose shares open nothing.
    pub rehearsal: bool,
}

/// What a check value is of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CheckValueOf<'a> {
    /// A component of a key, as its custodian has it on paper.
    Component {
        /// The key.
        key: &'a KeyName,
        /// The custodian.
        by: &'a Name,
        /// Which one, from 1.
        index: u8,
    },
    /// The whole key, as whoever made the components wrote it down.
    Key {
        /// The key.
        key: &'a KeyName,
    },
}
