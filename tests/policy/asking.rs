//! Questions to policies, in few words.

use keyward::key::{AlgorithmChoice, KeyDescription, KeyState, Operation, Principal, Provenance};
use keyward::policy::{Decision, Policies, Request, Resource};
use keyward::{EncryptionContext, KekId, KeyName, WrappingAlgorithm};
use std::time::SystemTime;

/// A question, all of whose parts can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) principal: Principal,
    pub(crate) operation: Operation,
    /// None for all keys.
    pub(crate) key: Option<KeyDescription>,
    pub(crate) context: EncryptionContext,
    pub(crate) time: SystemTime,
}

/// `alice` asks for an operation on a key, `NAME` or `NAME:VERSION`; on all where the name is empty.
pub(crate) fn ask(principal: &str, operation: Operation, key: &str) -> Ask {
    Ask {
        principal: Principal::new(principal).unwrap(),
        operation,
        key: (!key.is_empty()).then(|| description(key)),
        context: EncryptionContext::new(),
        time: at("2026-06-15T12:00:00Z"),
    }
}

/// An active AES-GCM key that Keyward made.
pub(crate) fn description(label: &str) -> KeyDescription {
    let (name, version) = label.split_once(':').unwrap_or((label, "1"));
    let mut key = KeyDescription::new(
        name.parse().unwrap(),
        version.parse().unwrap(),
        KekId::from_bytes([1; 16]),
        WrappingAlgorithm::AesGcm,
        KeyState::Active,
    );
    key.provenance = Provenance::Generated;
    key
}

pub(crate) fn at(time: &str) -> SystemTime {
    time.parse::<jiff::Timestamp>().unwrap().try_into().unwrap()
}

impl Ask {
    pub(crate) fn groups(mut self, groups: &[&str]) -> Self {
        self.principal = self.principal.in_groups(groups.iter().copied()).unwrap();
        self
    }

    pub(crate) fn context(mut self, pairs: &[(&str, &str)]) -> Self {
        self.context = EncryptionContext::from_pairs(pairs.iter().copied()).unwrap();
        self
    }

    pub(crate) fn at(mut self, time: &str) -> Self {
        self.time = at(time);
        self
    }

    pub(crate) fn key(mut self, change: impl FnOnce(&mut KeyDescription)) -> Self {
        self.key.as_mut().map(change);
        self
    }

    fn request<'a>(&'a self, resource: Resource<'a>) -> Request<'a> {
        Request::new(&self.principal, self.operation, resource).context(&self.context).at(self.time)
    }

    /// What is decided knowing all of the key.
    pub(crate) fn of(&self, policies: &Policies) -> Decision {
        policies.decide(&self.request(self.key.as_ref().map_or(Resource::All, Resource::Key)))
    }

    /// What is decided knowing the key's name.
    pub(crate) fn by_name(&self, policies: &Policies) -> Decision {
        policies.decide(&self.request(self.key.as_ref().map_or(Resource::All, |key| Resource::Named(&key.name))))
    }

    /// What is decided of a key of this name that is to be made.
    pub(crate) fn new_key(&self, policies: &Policies, algorithm: AlgorithmChoice) -> Decision {
        let name: &KeyName = &self.key.as_ref().unwrap().name;
        policies.decide(&self.request(Resource::New { name, algorithm }))
    }
}

/// The names of the policies that decided, `-` for one without.
pub(crate) fn deciding(decision: &Decision) -> Vec<String> {
    let rules = match decision {
        Decision::Allowed { by } => by.as_slice(),
        Decision::Denied(denial) => denial.rules(),
        Decision::NeedsKey => &[],
    };
    rules.iter().map(|rule| rule.id().unwrap_or("-").to_owned()).collect()
}
