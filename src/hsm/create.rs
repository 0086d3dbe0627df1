//! Making a key version so that many may do it at once and one wins.
//!
//! PKCS#11 has no unique labels and no locks, so creation is a protocol. A new key is *pending*: it
//! may do nothing, its record has no canary, and so nobody uses it. Only then does its maker look who
//! else is there:
//!
//! - somebody whose key is finished has won: destroy one's own;
//! - somebody pending with a lower `CKA_ID`: destroy one's own and wait until the other is done;
//! - somebody pending with a higher `CKA_ID`: wait until it is gone, or finished after all, because
//!   it may have looked before one's own key was there;
//! - nobody: enable one's own, prove it with a canary, finish the record.
//!
//! A pending key whose maker died is destroyed by the next who waited long enough. Should that maker
//! live after all, its key is gone, and it loses.

use super::canary::prove;
use super::lookup;
use super::object::{KeyClass, MasterKey};
use super::record::{Record, no_data_objects};
use super::template;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription, KeyName, KeyState, KeyVersion, Provenance, WrappedKey, WrappingAlgorithm};
use crate::token::{Attribute, Session};
use std::thread;
use std::time::{Duration, Instant};

/// How long a pending key of somebody else is waited for before it is held to be abandoned.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often one tries again after those in front have given up.
const ATTEMPTS: u32 = 3;
/// Between two looks at the token.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes a version of a key, or fails with `KeyExists` where it is there or another was faster.
pub(super) fn create(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    algorithm: WrappingAlgorithm,
) -> Result<MasterKey> {
    let label = format!("{name}:{version}");
    for _ in 0..ATTEMPTS {
        if claimants(session, name, version)?.iter().any(|key| !key.is_pending()) {
            return Err(exists(&label));
        }
        let mut id = [0; 16];
        session.random(&mut id)?;
        let mine = generate(session, &label, algorithm, KekId::from_bytes(id))?;
        let outcome = match compete(session, name, version, &mine) {
            Ok(Standing::Won) => match enable_and_prove(session, &mine) {
                // From here on others use it, and it is never destroyed: what is wrong is only told.
                Ok(canary) => return finish(session, &mine, canary, Provenance::Generated),
                Err(error) => Err(error),
            },
            Ok(Standing::Lost) => Err(exists(&label)),
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

/// Generates a pending key with this id and writes its record.
pub(super) fn generate(
    session: &Session<'_>,
    label: &str,
    algorithm: WrappingAlgorithm,
    kek_id: KekId,
) -> Result<MasterKey> {
    let class = KeyClass::of(algorithm);
    let id = *kek_id.as_bytes();
    let record = Record::new(kek_id, algorithm, Provenance::Generated);
    // The record first: a key is never there without one, so that a key which is not finished is
    // always known as such.
    write_record(session, &record, label)?;
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
            if let Err(left) = clear_up(session, class, &record, label) {
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
pub(super) fn clear_up(session: &Session<'_>, class: KeyClass, record: &Record, label: &str) -> Result<()> {
    let mut template = template::search(class);
    template.push(Attribute::Id(record.kek_id.as_bytes().to_vec()));
    session.find(&template)?.into_iter().try_for_each(|made| session.destroy_object(made))?;
    Record::destroy(session, record.kek_id, label)
}

pub(super) fn write_record(session: &Session<'_>, record: &Record, label: &str) -> Result<()> {
    match record.write(session, label) {
        Err(error) if no_data_objects(&error) => {
            tracing::warn!(label, %error, "this token keeps no records; the key's age and provenance will be unknown");
            Ok(())
        }
        answer => answer,
    }
}

/// Waits until it is clear who has won.
pub(super) fn compete(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    mine: &MasterKey,
) -> Result<Standing> {
    let label = mine.description.label();
    let my_id = mine.description.kek_id;
    let deadline = Instant::now() + PATIENCE;
    let mut given_up = false;
    loop {
        let (own, rivals): (Vec<_>, Vec<_>) =
            claimants(session, name, version)?.into_iter().partition(|key| key.description.kek_id == my_id);
        if rivals.iter().any(|rival| !rival.is_pending()) {
            return Ok(Standing::Lost);
        }
        if rivals.is_empty() {
            return Ok(match own.is_empty() {
                true if given_up => Standing::Again,
                true => Standing::Lost,
                false => Standing::Won,
            });
        }
        if Instant::now() >= deadline {
            for rival in &rivals {
                let kek_id = rival.description.kek_id;
                // Once more: it may have been finished just now.
                match lookup::read(session, rival.handle, rival.class)? {
                    Some(still) if still.is_pending() => {}
                    _ => continue,
                }
                tracing::warn!(label, %kek_id, "destroying a key that was never finished");
                discard(session, rival, &label)?;
            }
            continue;
        }
        if !given_up && rivals.iter().any(|rival| rival.description.kek_id < my_id) {
            // From here on this one only waits, so that who loses finds the winner's key when told so.
            discard(session, mine, &label)?;
            given_up = true;
        }
        thread::sleep(PAUSE);
    }
}

/// Enables a key that won and proves that it works. It is still pending: nobody else uses it.
pub(super) fn enable_and_prove(session: &Session<'_>, mine: &MasterKey) -> Result<WrappedKey> {
    // Where the waiting of another ended first, this fails: the object is gone.
    session.set_attributes(mine.handle, template::usage(mine.description.algorithm, KeyState::Active))?;
    prove(session, mine)
}

/// Finishes the record of a key that is proven, with the canary that stays in it.
pub(super) fn finish(
    session: &Session<'_>,
    mine: &MasterKey,
    canary: WrappedKey,
    // Not what is read of the key: where its first record could not be written, that says nothing.
    provenance: Provenance,
) -> Result<MasterKey> {
    let KeyDescription { kek_id, algorithm, .. } = mine.description;
    let label = &mine.description.label();
    let mut record = Record::new(kek_id, algorithm, provenance);
    record.canary = Some(canary);
    // Where this fails it is not known whether the record was written. If it was not, the key is pending, and
    // the next who makes it destroys it.
    write_record(session, &record, label)?;
    let key = lookup::read(session, mine.handle, mine.class)?
        .ok_or_else(|| Error::new(ErrorKind::TokenUnavailable, format!("the new key '{label}' is gone")))?;
    key.check_usable()?;
    Ok(key)
}

pub(super) fn claimants(session: &Session<'_>, name: &KeyName, version: KeyVersion) -> Result<Vec<MasterKey>> {
    let mut found = Vec::new();
    // By label: cheaper than a look at every key. A key made elsewhere without a version is version 1.
    let mut labels = vec![format!("{name}:{version}")];
    if version == KeyVersion::FIRST {
        labels.push(name.to_string());
    }
    for label in labels {
        for class in KeyClass::ALL {
            let mut template = template::search(class);
            template.push(Attribute::Label(label.as_bytes().to_vec()));
            for handle in session.find(&template)? {
                found.extend(lookup::read(session, handle, class)?);
            }
        }
    }
    Ok(found)
}

/// Destroys a key that nobody has used, and its record.
pub(super) fn discard(session: &Session<'_>, key: &MasterKey, label: &str) -> Result<()> {
    match session.destroy_object(key.handle) {
        Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
        answer => answer?,
    }
    Record::destroy(session, key.description.kek_id, label)
}

pub(super) fn exists(label: &str) -> Error {
    Error::new(ErrorKind::KeyExists, format!("key '{label}' exists already"))
        .with_hint("`keyward key rotate` makes the next version")
}
