//! Administering the keys of several tokens at once.

use super::siblings::of_member;
use super::{Failover, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    Adoption, AlgorithmChoice, DestroyedKey, KeyAdmin, KeyDescription, KeyName, KeyProvider, KeyRef, KeyVersion,
    PublicKey, UsedNumbers, VersionReuse,
};
use crate::provider::members::AskNext;
use std::time::SystemTime;

impl<P: KeyProvider + KeyAdmin + 'static> KeyAdmin for Failover<P> {
    fn create_key(&self, name: &KeyName, algorithm: AlgorithmChoice) -> Result<KeyDescription> {
        let made = self.change(Some(ErrorKind::KeyExists), |provider| provider.create_key(name, algorithm))?;
        match made.into_iter().next().flatten() {
            Some(made) => Ok(made),
            // The first had it, and others did not.
            None => self.of_first(|provider| provider.describe_key(KeyRef::Name(name))),
        }
    }

    fn list_keys(&self) -> Result<Vec<KeyDescription>> {
        let mut keys = self.list(P::list_keys)?;
        // Stable: of one name and version, in the order of the members.
        keys.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
        Ok(keys)
    }

    fn list_destroyed_keys(&self) -> Result<Vec<DestroyedKey>> {
        let mut keys = self.list(P::list_destroyed_keys)?;
        keys.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(keys)
    }

    fn rotate_key(&self, name: &KeyName, made_before: Option<SystemTime>) -> Result<KeyDescription> {
        self.check_may_change()?;
        // A rotation cannot be taken back, so whoever lacks the key is found out before the first.
        for member in self.members.iter() {
            let described = self.members.call(member, |provider| provider.describe_key(KeyRef::Name(name)));
            described.map_err(|error| of_member(&member.name, error))?;
        }
        // Where only old keys are rotated, one that is new already is as it is to be: another host, or an
        // earlier attempt that ended half way, has been there.
        let done = made_before.map(|_| ErrorKind::KeyExists);
        first_of(self.change(done, |provider| provider.rotate_key(name, made_before))?)
    }

    fn disable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        first_of(self.change(Some(ErrorKind::KeyNotFound), |provider| provider.disable_key(name, version))?)
    }

    fn enable_key(&self, name: &KeyName, version: KeyVersion) -> Result<KeyDescription> {
        first_of(self.change(None, |provider| provider.enable_key(name, version))?)
    }

    fn destroy_key(&self, name: &KeyName, version: KeyVersion, reuse: VersionReuse) -> Result<UsedNumbers> {
        let destroy = |provider: &P| provider.destroy_key(name, version, reuse);
        let changed = self.change(Some(ErrorKind::KeyNotFound), destroy)?;
        match changed.contains(&Some(UsedNumbers::Forgotten)) {
            true => Ok(UsedNumbers::Forgotten),
            false => Ok(UsedNumbers::Remembered),
        }
    }

    fn schedule_destruction(
        &self,
        name: &KeyName,
        version: KeyVersion,
        not_before: SystemTime,
    ) -> Result<KeyDescription> {
        let schedule = |provider: &P| provider.schedule_destruction(name, version, not_before);
        first_of(self.change(Some(ErrorKind::KeyNotFound), schedule)?)
    }

    fn expire_key(&self, name: &KeyName, version: KeyVersion, now: SystemTime) -> Result<()> {
        self.change(Some(ErrorKind::KeyNotFound), |provider| provider.expire_key(name, version, now)).map(drop)
    }

    fn adopt_key(&self, _: &str) -> Result<Adoption> {
        // A label is one token's.
        Err(Error::new(ErrorKind::Unsupported, "keys are adopted on one token at a time")
            .with_hint("name one token with --token"))
    }

    fn public_key(&self, name: &KeyName) -> Result<PublicKey> {
        self.first(AskNext::IfUnavailable, |provider| provider.public_key(name))
    }
}

impl<P: KeyProvider + KeyAdmin + 'static> Failover<P> {
    /// Makes one change on every sibling in order, where all of them answer. Those that answer
    /// `done` are as they are to be (none), unless all answer it.
    fn change<T>(&self, done: Option<ErrorKind>, change: impl Fn(&P) -> Result<T>) -> Result<Vec<Option<T>>> {
        self.check_may_change()?;
        let mut changed = Vec::new();
        let mut was_done = None;
        for member in self.members.iter() {
            match self.members.call(member, &change) {
                Ok(change) => changed.push(Some(change)),
                Err(error) if Some(error.kind()) == done => {
                    changed.push(None);
                    was_done = was_done.or(Some(error));
                }
                Err(error) => return Err(self.half_way(&member.name, error, &changed)),
            }
        }
        match was_done {
            Some(error) if changed.iter().all(Option::is_none) => Err(error),
            _ => Ok(changed),
        }
    }

    /// Lists what the first replica has, or what all siblings have.
    fn list<T>(&self, list: impl Fn(&P) -> Result<Vec<T>>) -> Result<Vec<T>> {
        if self.kind == Kind::Replicas {
            return self.first(AskNext::IfUnavailable, list);
        }
        let mut all = Vec::new();
        for member in self.members.iter() {
            let listed = self.members.call(member, &list);
            all.extend(listed.map_err(|error| of_member(&member.name, error))?);
        }
        Ok(all)
    }

    fn check_may_change(&self) -> Result<()> {
        if self.kind == Kind::Replicas {
            return Err(Error::new(ErrorKind::Unsupported, "the keys of replicas are not changed through all of them")
                .with_hint("the keys of replicas are cloned by the vendor's means; name one token with --token"));
        }
        let outage = self.members.probe();
        match outage.is_empty() {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TokenUnavailable,
                format!("nothing was changed, because not all siblings answer: {}", outage.describe()),
            )
            .with_hint("keys are changed on all siblings or on none; try again when all are up")),
        }
    }

    /// What went wrong, with where the change has been made nevertheless.
    fn half_way<T>(&self, member: &str, error: Error, changed: &[Option<T>]) -> Error {
        let names = self.members.iter().map(|member| member.name.as_str());
        let done: Vec<_> = names.zip(changed).filter(|(_, change)| change.is_some()).map(|(name, _)| name).collect();
        let error = of_member(member, error);
        if done.is_empty() {
            return error;
        }
        let message = format!("{error}; the change was made on {} already", done.join(", "));
        error.with_message(message).with_hint("finish it on the other tokens, each named with --token")
    }

    fn of_first<T>(&self, work: impl Fn(&P) -> Result<T>) -> Result<T> {
        let member = &self.members[0];
        self.members.call(member, work).map_err(|error| of_member(&member.name, error))
    }
}

/// What the first of those that changed says.
fn first_of<T>(changed: Vec<Option<T>>) -> Result<T> {
    changed.into_iter().flatten().next().ok_or_else(|| Error::new(ErrorKind::Internal, "no member was changed"))
}
