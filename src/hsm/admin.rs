//! Administering master keys.

use super::numbering::Numbers;
use super::object::MasterKey;
use super::record::data_objects;
use super::tombstone::{self, Tombstone};
use super::{HsmProvider, adopt, create, destroy, lookup, rotate, template};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    Adoption, AlgorithmChoice, DestroyedKey, KeyAdmin, KeyDescription, KeyName, KeyState, KeyVersion, PublicKey,
    UsedNumbers, VersionReuse, WrappingAlgorithm,
};
use crate::token::{Repeat, Session};
use std::time::SystemTime;

// What changes keys is never repeated by itself: where the token goes away meanwhile it may be done or
// not, and whoever asked for it looks.
impl KeyAdmin for HsmProvider {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        let algorithm = self.choose(algorithm)?;
        self.change_key(name, |session| {
            let numbers = Numbers::read(session, name)?;
            if let Some(key) = numbers.finished().next() {
                let message = format!("key '{}' exists already", key.description.label());
                return Err(
                    Error::new(ErrorKind::KeyExists, message).with_hint("`keyward key rotate` makes the next version")
                );
            }
            Ok(create::create(session, &numbers, algorithm)?.description)
        })
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        let keys = self.token.run(Repeat::Once, lookup::all)?;
        let mut keys: Vec<_> = keys.into_iter().map(|key| self.judged(key.description)).collect();
        for index in 1..keys.len() {
            // One that is still being made is used by nobody, and gives way.
            let finished = [index - 1, index].iter().all(|at| keys[*at].state != KeyState::Pending);
            if finished && keys[index - 1].label() == keys[index].label() {
                let problem = |id| format!("another key has the same name and version: KEK id {id}");
                let (one, other) = (keys[index - 1].kek_id, keys[index].kek_id);
                keys[index].problems.push(problem(one));
                keys[index - 1].problems.push(problem(other));
            }
        }
        Ok(keys)
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        self.token.run(Repeat::Once, |session| {
            // Before the keys: one that is destroyed after they were listed is not listed as destroyed, but as a key.
            let objects = data_objects(session, None)?;
            let keys = lookup::all(session)?;
            let tombstones = objects.iter().filter_map(|object| match Tombstone::read(object)? {
                Ok(tombstone) => Some(tombstone),
                Err(why) => {
                    tracing::warn!(label = object.label, "a tombstone {why}; it is passed over");
                    None
                }
            });
            let is_left = |name: &KeyName| keys.iter().any(|key| !key.is_pending() && key.description.name == *name);
            Ok(tombstone::destroyed_keys(tombstones.collect(), is_left))
        })
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.change_key(name, |session| rotate::rotate(session, name, made_before))
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.change_key(name, |session| change(session, name, version, |_| KeyState::Disabled))
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        self.change_key(name, |session| {
            // First, so that a key which may do anything is never one that a schedule destroys.
            destroy::cancel(session, name, version)?;
            change(session, name, version, |newest| if newest { KeyState::Active } else { KeyState::Retired })
        })
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        self.change_key(name, |session| {
            destroy::destroy(session, name, version, reuse, |_| Ok(())).map(|(_, numbers)| numbers)
        })
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        self.change_key(name, |session| destroy::schedule(session, name, version, not_before))
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.change_key(name, |session| {
            destroy::destroy(session, name, version, VersionReuse::Refuse, |key| match key.is_expired(now) {
                true => Ok(()),
                false => Err(Error::not_expired(key)),
            })
            .map(drop)
        })
    }

    fn adopt_key(&self, label: &str) -> Result<Adoption> {
        let (name, version) = adopt::parse_label(label)?;
        self.change_key(&name, |session| adopt::adopt(session, label, &name, version))
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.check_named(name)?;
        let key = self.token.run(Repeat::Once, |session| self.cache.current(session, name))?;
        self.check_usable(&key)?;
        key.public.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("key '{name}' is for {} and has no public half", key.description.algorithm),
            )
            .with_hint("make one with --algorithm rsa-oaep")
        })
    }
}

impl HsmProvider {
    fn choose(&self, choice: AlgorithmChoice) -> Result<WrappingAlgorithm> {
        match choice {
            AlgorithmChoice::Auto => [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw]
                .into_iter()
                .find(|algorithm| self.token.capabilities().supports(*algorithm))
                .ok_or_else(|| self.lacking("aes-gcm or aes-kw")),
            AlgorithmChoice::Exactly(algorithm) => self.check_able(algorithm).map(|()| algorithm),
        }
    }

    /// Refuses an algorithm that the token does not have.
    pub(super) fn check_able(&self, algorithm: WrappingAlgorithm) -> Result<()> {
        match self.token.capabilities().supports(algorithm) {
            true => Ok(()),
            false => Err(self.lacking(algorithm.name())),
        }
    }

    fn lacking(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("token '{}' cannot do {what}", self.token.info().label))
            .with_hint("`keyward token info` shows what it can do")
    }

    /// Does what changes a key, if this provider may use it: everything that changes one comes through here.
    pub(super) fn change_key<T>(&self, name: &KeyName, work: impl Fn(&Session<'_>) -> Result<T>) -> Result<T> {
        self.check_named(name)?;
        self.change_token(work)
    }

    /// Does what changes keys, and forgets what is known of them, however it ends.
    pub(super) fn change_token<T>(&self, work: impl Fn(&Session<'_>) -> Result<T>) -> Result<T> {
        let answer = self.token.run(Repeat::Never, work);
        self.cache.clear();
        answer
    }
}

/// Changes what a version may do, and reads back that it is so. `state` is told whether it is the newest.
pub(super) fn change(
    session: &Session<'_>,
    name: &KeyName,
    version: KeyVersion,
    state: impl Fn(bool) -> KeyState,
) -> Result<KeyDescription> {
    let versions = lookup::versions(session, name)?;
    let newest = versions.iter().rev().find(|key| !key.is_pending()).map(|key| key.description.version);
    let key = lookup::exactly_one(name, version, &versions)?;
    key.check_record()?;
    let wanted = state(newest == Some(version));
    refuse_to_forget_usage(key, wanted)?;
    session.set_attributes(key.handle, template::usage(key.description.algorithm, wanted))?;
    let now = lookup::one_version(session, name, version)?.description;
    if now.state != wanted {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the token does not change what key '{}' may do: it is still {}", now.label(), now.state),
        ));
    }
    Ok(now)
}

/// Refuses to disable a key if only the attributes that disabling erases say what it is for.
fn refuse_to_forget_usage(key: &MasterKey, wanted: KeyState) -> Result<()> {
    let algorithm = key.description.algorithm;
    let shows_it = key.class.algorithms_without_record().contains(&algorithm);
    if wanted != KeyState::Disabled || key.record().is_some() || shows_it {
        return Ok(());
    }
    let (label, name) = (key.description.label(), &key.description.name);
    let message = format!("cannot disable key '{label}': nothing but its state records that it is for {algorithm}");
    Err(Error::new(ErrorKind::Unsupported, message).with_hint(format!("`keyward key adopt {name}` records it")))
}
