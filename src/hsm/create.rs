//! Making a key version so that many may do it at once and one wins.
//!
//! PKCS#11 has no unique labels and no locks, so creation is a protocol. A new key is *pending*: it
//! may do nothing, its record has no canary, and so nobody uses it. Only then does its maker look who
//! else is there:
//!
//! - another host whose key is finished has won: destroy one's own;
//! - another pending key with a lower `CKA_ID`: destroy one's own and wait until the other is done;
//! - another pending key with a higher `CKA_ID`: wait until it is gone, or finished after all, because
//!   its maker may have looked before one's own key was there;
//! - none: read the numbers once more ([`Numbers`]). If one's own is free, enable the key, prove it with a canary, and
//!   finish the record. If not, it was used and destroyed meanwhile: destroy one's own.
//!
//! All pending keys of a name compete, whatever their numbers: so the numbers do not grow while they are read.
//!
//! A pending key whose maker died is destroyed by the next who waited long enough. Should that maker be alive after all,
//! it either finishes the key first, and keeps it, or finds it claimed, and does not report it ([`claim`]).

use super::canary::prove;
use super::claim::{self, Abandoned};
use super::lookup;
use super::numbering::Numbers;
use super::object::{KeyClass, MasterKey};
use super::record::{KeyMetadata, Record, keeps_no_records};
use super::{template, tombstone};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyState, KeyVersion, Provenance, WrappedKey, WrappingAlgorithm};
use crate::token::{Attribute, Session};
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// How long a pending key of somebody else is waited for before it is held to be abandoned.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often one tries again after those in front have given up.
const ATTEMPTS: u32 = 3;
/// Between two looks at the token.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the next version of a key, or fails with `KeyExists` if another was faster.
pub(super) fn create(session: &Session<'_>, numbers: &Numbers, algorithm: WrappingAlgorithm) -> Result<MasterKey> {
    let (name, version) = (numbers.name(), numbers.next()?);
    let label = format!("{name}:{version}");
    let metadata = numbers.metadata(session, version)?;
    // A version that was finished since: another host did what is being done here.
    let base = numbers.finished().next_back().map(|key| key.description.version);
    for _ in 0..ATTEMPTS {
        let mut id = [0; 16];
        session.random(&mut id)?;
        let record = Record::new(KekId::from_bytes(id), algorithm, Provenance::Generated, metadata.clone());
        let (mine, draft) = generate(session, Draft::new(label.clone(), record))?;
        let outcome = match compete(session, &mine, |finished| Some(finished) > base) {
            Ok(Standing::Won) => match enable_and_prove(session, &mine) {
                // From here on others use it, and it is never destroyed: what is wrong is only reported.
                Ok(canary) => match finish(session, &mine, canary, draft) {
                    Err(error) if error.kind() == ErrorKind::LimitExceeded && is_pending(session, &mine)? => Err(error),
                    answer => return answer,
                },
                Err(error) => Err(error),
            },
            Ok(Standing::Lost) => Err(exists(&winner(session, numbers)?.unwrap_or_else(|| label.clone()))),
            Ok(Standing::Again) => Ok(()),
            Err(error) => Err(error),
        };
        // Nobody has used it. That it is gone already is no news.
        if let Err(error) = discard(session, &mine, &label) {
            tracing::warn!(label, %error, "a key that was not finished could not be destroyed");
        }
        outcome?;
    }
    Err(Error::new(ErrorKind::TokenUnavailable, format!("others keep making and giving up key '{label}'"))
        .with_hint("try again"))
}

/// How an attempt to make a key stands among the others.
pub(super) enum Standing {
    Won,
    Lost,
    /// Those who were in front have given up.
    Again,
}

/// The record of a key version that is being made.
pub(super) struct Draft {
    label: String,
    record: Record,
    /// Whether it is on the token: not if the token keeps no data objects.
    written: bool,
}

impl Draft {
    /// A draft that is not on the token yet.
    pub(super) fn new(label: String, mut record: Record) -> Self {
        record.shorten_history(&label);
        Self { label, record, written: false }
    }

    /// The draft of a pending key that an interrupted call left.
    pub(super) fn of_pending(key: &MasterKey, metadata: KeyMetadata) -> Option<Self> {
        let record = Record { key: metadata, ..key.record()?.clone() };
        Some(Self { label: key.description.label(), record, written: true })
    }

    /// Writes it, or finds that the token keeps no data objects. Then only a key whose object alone shows its
    /// algorithm may be made.
    fn write(&mut self, session: &Session<'_>) -> Result<()> {
        let Err(error) = self.record.write(session, &self.label) else {
            self.written = true;
            return Ok(());
        };
        if !keeps_no_records(session, &error)? {
            return Err(error);
        }
        let (label, algorithm) = (&self.label, self.record.algorithm);
        if !KeyClass::of(algorithm).algorithms_without_record().contains(&algorithm) {
            let message = format!(
                "cannot make key '{label}' for {algorithm}: the token keeps no data objects, and its keys do not show it"
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("on this token, choose aes-gcm or rsa-oaep")
                .with_source(error));
        }
        tracing::warn!(label, %error, "this token keeps no records; the key's age and provenance will be unknown");
        Ok(())
    }

    /// Writes it, or fails: without a record no one could tell a key that is being made from one that is finished.
    pub(super) fn write_or_refuse(&mut self, session: &Session<'_>, refusal: impl FnOnce() -> Error) -> Result<()> {
        match self.record.write(session, &self.label) {
            Ok(()) => {
                self.written = true;
                Ok(())
            }
            Err(error) if keeps_no_records(session, &error)? => Err(refusal().with_source(error)),
            Err(error) => Err(error),
        }
    }
}

/// Generates a pending key and writes its record.
pub(super) fn generate(session: &Session<'_>, mut draft: Draft) -> Result<(MasterKey, Draft)> {
    // The record first: a key is never there without one, so that a key which is not finished is
    // always known as such.
    draft.write(session)?;
    let key = generate_key(session, &draft)?;
    Ok((key, draft))
}

/// Generates the pending key of a draft that was written.
pub(super) fn generate_key(session: &Session<'_>, draft: &Draft) -> Result<MasterKey> {
    let Draft { label, record, .. } = draft;
    let class = KeyClass::of(record.algorithm);
    let id = *record.kek_id.as_bytes();
    let made = match class {
        KeyClass::Aes => session.generate_key(template::generate(class), template::new_key(class, label, id)),
        KeyClass::Rsa => session
            .generate_key_pair(
                template::generate(class),
                template::new_public_key(),
                template::new_key(class, label, id),
            )
            .map(|(public, private)| {
                session.destroy_session_object(public);
                private
            }),
    };
    let handle = match made {
        Ok(handle) => handle,
        Err(error) => {
            if let Err(left) = clear_up(session, draft) {
                // Its record stays with it, so that it is known as one that was not finished.
                tracing::warn!(label, %left, "what was being made may be left behind");
            }
            return Err(error);
        }
    };
    let key = lookup::read(session, handle, class)?
        .ok_or_else(|| Error::new(ErrorKind::TokenUnavailable, "the token does not show the key that it just made"))?;
    // What the token made of the template is what counts.
    if let Err(error) = key.check_usable() {
        discard(session, &key, label)?;
        return Err(error);
    }
    Ok(key)
}

/// Destroys what may have been made although the token says that it was not, and its record.
pub(super) fn clear_up(session: &Session<'_>, draft: &Draft) -> Result<()> {
    let mut template = template::search(KeyClass::of(draft.record.algorithm));
    template.push(Attribute::Id(draft.record.kek_id.as_bytes().to_vec()));
    session.find(&template)?.into_iter().try_for_each(|made| session.destroy_object(made))?;
    Record::destroy(session, draft.record.kek_id, &draft.label)
}

/// Whether a key whose record was refused is pending still, so that no host uses it.
pub(super) fn is_pending(session: &Session<'_>, mine: &MasterKey) -> Result<bool> {
    Ok(lookup::read(session, mine.handle, mine.class)?.is_none_or(|key| key.is_pending()))
}

/// Waits until it is clear who has won: another host if a version that it finished says so to `is_beaten_by`.
pub(super) fn compete(
    session: &Session<'_>,
    mine: &MasterKey,
    is_beaten_by: impl Fn(KeyVersion) -> bool,
) -> Result<Standing> {
    let KeyDescription { ref name, version, kek_id: my_id, .. } = mine.description;
    let mut waits = Waits::default();
    let mut given_up = false;
    loop {
        let versions = lookup::versions(session, name)?;
        let of_others = || versions.iter().filter(|key| key.description.kek_id != my_id);
        if of_others().any(|rival| !rival.is_pending() && is_beaten_by(rival.description.version)) {
            return Ok(Standing::Lost);
        }
        let rivals: Vec<_> = of_others().filter(|rival| rival.is_pending()).collect();
        if rivals.is_empty() {
            let (own, others): (Vec<_>, Vec<_>) = versions.into_iter().partition(|key| key.description.kek_id == my_id);
            return Ok(match !own.is_empty() {
                true if Numbers::beside(session, name, others)?.is_free(version) => Standing::Won,
                false if given_up => Standing::Again,
                _ => Standing::Lost,
            });
        }
        for rival in &rivals {
            let (label, kek_id) = (rival.description.label(), rival.description.kek_id);
            if !waits.is_over(kek_id) {
                continue;
            }
            tracing::warn!(label, %kek_id, "destroying a key that was never finished");
            if claim::destroy_abandoned(session, rival)? == Abandoned::NotAbandoned && waits.again(kek_id) {
                let message = format!("key '{label}' with KEK id {kek_id} is claimed by a host that died");
                return Err(Error::new(ErrorKind::TokenUnavailable, message)
                    .with_hint("`keyward doctor --repair` removes the claim"));
            }
        }
        if !given_up && rivals.iter().any(|rival| rival.description.kek_id < my_id) {
            // From here on this one only waits, so that who loses finds the winner's key when told so.
            discard(session, mine, &mine.description.label())?;
            given_up = true;
        }
        thread::sleep(PAUSE);
    }
}

/// How long each pending key of others was waited for.
#[derive(Default)]
struct Waits(HashMap<KekId, (Instant, u32)>);

impl Waits {
    /// Whether this host has seen a key pending for the time after which it is taken for abandoned.
    fn is_over(&mut self, kek_id: KekId) -> bool {
        let now = Instant::now();
        let (since, _) = self.0.entry(kek_id).or_insert((now, 0));
        now.duration_since(*since) >= PATIENCE
    }

    /// Begins the wait for a key once more. Returns whether that was done before.
    fn again(&mut self, kek_id: KekId) -> bool {
        let (since, before) = self.0.entry(kek_id).or_insert((Instant::now(), 0));
        *since = Instant::now();
        *before += 1;
        *before > 1
    }
}

/// Enables a key that won and proves that it works. It is still pending: nobody else uses it.
pub(super) fn enable_and_prove(session: &Session<'_>, mine: &MasterKey) -> Result<WrappedKey> {
    // Where the waiting of another ended first, this fails: the object is gone.
    session.set_attributes(mine.handle, template::usage(mine.description.algorithm, KeyState::Active))?;
    prove(session, mine)
}

/// Finishes the record of a key that is proven, with the canary that stays in it.
pub(super) fn finish(session: &Session<'_>, mine: &MasterKey, canary: WrappedKey, draft: Draft) -> Result<MasterKey> {
    let Draft { label, mut record, written } = draft;
    if written {
        record.canary = Some(canary);
        record.shorten_history(&label);
        // Where this fails it is not known whether the record was written. If it was not, the key is pending, and
        // the next who makes it destroys it.
        record.write(session, &label)?;
    }
    let key = claim::survive(session, mine, &label)?;
    // Its own record has the highest number now. A tombstone that stays says nothing wrong.
    if written && let Err(error) = tombstone::remove_below(session, &key.description.name, key.description.version) {
        tracing::warn!(label, %error, "a tombstone that is not needed stays on the token");
    }
    key.check_usable()?;
    Ok(key)
}

/// Destroys a key of one's own that was not finished, and its record. Those of others: [`claim::destroy_abandoned`].
pub(super) fn discard(session: &Session<'_>, key: &MasterKey, label: &str) -> Result<()> {
    match session.destroy_object(key.handle) {
        Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
        answer => answer?,
    }
    Record::destroy(session, key.description.kek_id, label)
}

/// Returns the label of the newest finished version: the one that won. Its number is not always that of the loser's own
/// key, which may have read the winner's record before the winner's key.
fn winner(session: &Session<'_>, numbers: &Numbers) -> Result<Option<String>> {
    let versions = lookup::versions(session, numbers.name())?;
    Ok(versions.iter().rfind(|key| !key.is_pending()).map(|key| key.description.label()))
}

pub(super) fn exists(label: &str) -> Error {
    Error::new(ErrorKind::KeyExists, format!("key '{label}' exists already"))
        .with_hint("`keyward key rotate` makes the next version")
}
