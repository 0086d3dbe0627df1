//! One provider out of several on different tokens, which goes on while one of them is down.

mod admin;
mod siblings;

use super::health::MemberHealth;
use super::member::Member;
use super::members::{AskNext, Members};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KeyDescription, KeyName, KeyProvider, KeyRef, Origin, UnwrappedKey,
    WrappedKeys, rewrap,
};
use siblings::of_member;
use std::collections::BTreeMap;
use std::fmt;

/// Several providers on different tokens that serve as one: an ordered list of which one is asked
/// while it answers, and the next where it does not.
///
/// The members are either **replicas**, tokens with the same master keys (same `CKA_ID`, cloned by
/// the vendor's means), any of which may serve; or **siblings**, each with master keys of its own
/// under the same names. Siblings need no cloning: what is protected is wrapped once for each of
/// them, and any of them recovers it.
///
/// Only an error that [is an unavailability](ErrorKind::is_unavailable) makes it ask another member.
/// Everything else is an answer: a ciphertext that one replica refuses, no other is asked to accept.
/// (A key that is not there may be on another token, so recovering asks on.)
///
/// # Health
///
/// A member that is unavailable is down: it is passed over, without a call, until it is back. A
/// thread named `keyward-probe` finds that out; it runs only while a member is down, and asks first
/// after 100 ms, then less and less often, to once in 30 s. Where all are down every call tries all
/// of them. A member that refused its PIN is never asked again, because a few wrong PINs lock a
/// token. [`health`](Self::health) tells how the members are.
///
/// A call that hangs keeps its caller, and a probe that hangs delays the probes of the others: open
/// tokens with a [`call_timeout`](crate::token::TokenOptions::call_timeout).
///
/// # Errors
///
/// Those of the members; where they were unavailable, the message has the name of each and what it
/// said. Administration: see [`replicas`](Self::replicas) and [`siblings`](Self::siblings).
///
/// # Panics
///
/// Where a member panics.
///
/// ```no_run
/// use keyward::provider::{Failover, Member};
/// use keyward::{Decryptor, Encryptor, KeyName, hsm::HsmProvider, token::Token};
///
/// let member = |name: &str| {
///     let uri = format!("pkcs11:token={name}?module-path=/usr/lib/vendor.so&pin-source=file:/run/{name}.pin");
///     Member::opening(name, move || Ok(HsmProvider::new(Token::open(&uri.parse()?)?)))
/// };
/// let failover = Failover::siblings([member("berlin"), member("paris")])?;
/// let key: KeyName = "records".parse()?;
///
/// // Wrapped on both tokens; either opens it.
/// let sealed = Encryptor::new(&failover, &key).encrypt(b"hello")?;
/// assert_eq!(Decryptor::new(&failover).decrypt(&sealed)?, b"hello");
///
/// for member in failover.health() {
///     println!("{}: {}", member.name, if member.available { "up" } else { "down" });
/// }
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct Failover<P: KeyProvider + 'static> {
    members: Members<P>,
    kind: Kind,
    /// How many siblings must have wrapped what is protected.
    required: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Replicas,
    Siblings,
}

impl<P: KeyProvider + 'static> Failover<P> {
    /// Members with the same master keys, in the order in which they are asked.
    ///
    /// As [`KeyAdmin`](crate::KeyAdmin) it lists keys and gives public halves. It changes no keys
    /// (`Unsupported`): what is changed on one token is not changed on its clones.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no member.
    pub fn replicas(members: impl IntoIterator<Item = Member<P>>) -> Result<Self> {
        Ok(Self { members: Members::new(members)?, kind: Kind::Replicas, required: 1 })
    }

    /// Members with master keys of their own under the same names, at most 16. The wrapped keys of
    /// what is protected are in this order.
    ///
    /// Protecting leaves out those that are down, within the limit of
    /// [`require_siblings`](Self::require_siblings), and logs that once in each outage. One that
    /// answers and cannot protect, because it has no such key or the key is disabled, fails the
    /// call: it would be missed only on the day when it is needed.
    ///
    /// As [`KeyAdmin`](crate::KeyAdmin) it makes its changes on every member, and refuses them
    /// (`TokenUnavailable`) before the first where one does not answer. Versions are counted on each
    /// token by itself. Creating, disabling and destroying may be repeated where they failed half
    /// way: members that have the key already, or have it no longer, are left as they are. Listing
    /// lists the keys of all members, and fails where one does not answer.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no member, or more than the 16 that an envelope has room for.
    pub fn siblings(members: impl IntoIterator<Item = Member<P>>) -> Result<Self> {
        let members = Members::new(members)?;
        if members.len() > WrappedKeys::MAX {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{} siblings; a data key is wrapped at most {} times", members.len(), WrappedKeys::MAX),
            ));
        }
        Ok(Self { members, kind: Kind::Siblings, required: 1 })
    }

    /// Protecting fails with `TokenUnavailable` unless at least so many siblings wrapped: 1 unless
    /// said. With replicas it has no meaning.
    #[must_use]
    pub fn require_siblings(mut self, at_least: usize) -> Self {
        self.required = at_least.max(1);
        self
    }

    /// How each member is, in their order, from what is known: no member is asked.
    #[must_use]
    pub fn health(&self) -> Vec<MemberHealth> {
        self.members.iter().map(|member| member.health()).collect()
    }

    /// Asks every member now, one after the other, and tells how each is. One that refused its PIN
    /// is not asked.
    pub fn probe(&self) -> Vec<MemberHealth> {
        self.members.probe();
        self.health()
    }

    /// A data key that one member generates, wrapped by it, and by all of them where they are siblings.
    fn generate(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        generate: impl Fn(&P) -> Result<(DataKey, WrappedKeys)>,
    ) -> Result<(DataKey, WrappedKeys)> {
        if self.kind == Kind::Replicas {
            return self.first(AskNext::IfUnavailable, generate);
        }
        let mut generated = None;
        let wrapped = self.on_siblings(BTreeMap::new(), |provider| match &generated {
            Some(data_key) => provider.wrap_data_key(key, context, data_key),
            None => {
                let (data_key, wrapped) = generate(provider)?;
                generated = Some(data_key);
                Ok(wrapped)
            }
        })?;
        let data_key = generated.ok_or_else(|| Error::new(ErrorKind::Internal, "wrapped and not generated"))?;
        Ok((data_key, wrapped))
    }

    /// The first answer, where it does not matter who gives it.
    fn first<T>(&self, next: AskNext, work: impl Fn(&P) -> Result<T>) -> Result<T> {
        self.members.first(next, work).map(|(_, answer)| answer)
    }
}

impl<P: KeyProvider + 'static> KeyProvider for Failover<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        let next = match key {
            KeyRef::Name(_) => AskNext::IfUnavailable,
            // Of siblings one at most has it; a replica may not have got it yet.
            KeyRef::Kek(_) => AskNext::IfNotFound,
        };
        let (first, mut described) = self.members.first(next, |provider| provider.describe_key(key))?;
        if self.kind == Kind::Siblings && matches!(key, KeyRef::Name(_)) {
            for (index, member) in self.members.iter().enumerate() {
                if index == first {
                    continue;
                }
                // Those that are down are left out when something is protected, too.
                if self.members.passes_over(member) {
                    described.siblings_unknown = true;
                    continue;
                }
                match self.members.call(member, |provider| provider.describe_key(key)) {
                    Ok(other) => described.also.push(other.kek_id),
                    // One that is up and lacks the key fails what is protected with it. To say that the key
                    // is not there lets whoever makes it on first use complete it.
                    Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                        return Err(of_member(&member.name, error));
                    }
                    Err(_) => described.siblings_unknown = true,
                }
            }
            // Members before the first that answered are down.
            described.siblings_unknown |= first > 0;
        }
        Ok(described)
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate(key, context, |provider| provider.generate_data_key(key, context, length))
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate(key, context, |provider| provider.data_key_for_message(key, context, length, message_len))
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        let wrap = |provider: &P| provider.wrap_data_key(key, context, data_key);
        match self.kind {
            Kind::Replicas => self.first(AskNext::IfUnavailable, wrap),
            Kind::Siblings => self.on_siblings(BTreeMap::new(), wrap),
        }
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        let next = match self.kind {
            Kind::Replicas => AskNext::IfNotFound,
            // One sibling's refusal says nothing about what was wrapped for another.
            Kind::Siblings => AskNext::Always,
        };
        self.first(next, |provider| provider.unwrap_data_key(wrapped, context))
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        if self.kind == Kind::Replicas {
            return self.first(AskNext::IfNotFound, |provider| provider.rewrap_data_key(wrapped, context, to, origin));
        }
        let unwrap = |these: &WrappedKeys| self.unwrap_data_key(these, context);
        rewrap(wrapped, origin, unwrap, |data_key| self.wrap_data_key(to, context, data_key))
    }
}

impl<P: KeyProvider + 'static> fmt::Debug for Failover<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("kind", &self.kind)
            .field("required", &self.required)
            .field("members", &self.health())
            .finish()
    }
}
