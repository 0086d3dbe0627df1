//! Key ceremonies: making master keys in front of witnesses, so that years later anyone can check how they were made.
//!
//! A [`Plan`] says who makes which keys on which tokens; [`Plan::lint`] finds what contradicts itself in it; [`script()`]
//! turns it into [`Step`]s, always the same ones. An [`Engine`] does them on the tokens, with people in a [`Room`]. It
//! writes a [`Journal`] into a [`Bundle`] directory: the intent of each step before it is done, what came of it afterwards,
//! every line hashed over the one before. [`Verify`] checks a bundle offline, against its plan and the signatures of its
//! witnesses, and [`compare`] holds what it claims against the objects of a token, years later.
//!
//! What a bundle proves and what it does not: the chain and the witnesses' signatures prove that nothing in it was
//! changed after they signed. That the keys are what it says is what the module said and the witnesses saw. No token
//! attests AES keys over PKCS#11.
//!
//! PINs are split into [`shares`]. That is done by this program and not by the token: PKCS#11 has no M of N, and the
//! PIN is whole in memory whenever it is used.

mod bundle;
mod engine;
mod entry;
mod expect;
mod fact;
mod file_hash;
mod format;
mod id;
mod interim;
mod journal;
mod line;
mod living;
mod minisign;
mod name;
mod plan;
mod report;
mod room;
mod script;
pub mod shares;
mod statement;
mod status;
mod step;
mod transcript;
mod verify;
pub mod words;

pub use bundle::Bundle;
pub use engine::{Ended, Engine, Venue, shared_pin};
pub use entry::{Decision, Entry, Fact, ModuleFact, ObjectFact, Outcome};
pub use expect::expected_attributes;
pub use file_hash::file_hash;
pub use id::{RunId, planned_id};
pub use journal::{Begin, Journal};
pub use line::Line;
pub use living::{Living, compare, compare_key};
pub use minisign::{WitnessKey, WitnessSecret};
pub use name::{Name, Serial};
pub use plan::{
    Answers, Backup, BackupMethod, Custody, Destruction, ExportMechanism, Finding, HandoutWay, KeyOrigin, Person, Plan,
    PlannedKey, PlannedToken, Role, Usage,
};
pub use report::report;
pub use room::{CheckValueOf, Consent, Handout, News, Room, Ruling, Trouble, Wanted};
pub use script::{script, to_markdown};
pub use statement::{InterimStatement, Statement};
pub use status::{Status, StepStatus};
pub use step::{Step, StepId, StepKind};
pub use transcript::{Attempt, Progress, Torn, Transcript};
pub use verify::{DestroyedClaim, KeyClaim, TokenClaim, Verdict, Verification, Verify};

pub use crate::audit::{Hash, Id};
