//! Whether replicas are replicas: tokens with the same keys in the same states, each of which opens what another wrapped.
//! Otherwise it shows only in an outage.

use super::check::Check;
use super::token::Finding;
use crate::app::App;
use crate::governed;
use keyward::hsm::HsmProvider;
use keyward::key::{KeyDescription, KeyState};
use keyward::{DataKeyLength, EncryptionContext, ErrorKind, KeyProvider, Result};
use std::collections::BTreeMap;

const NAME: &str = "replicas";
const REMEDY: &str = "clone the keys by the vendor's means, or set failover = \"siblings\"";

/// Compares each token that was read with the first.
pub(super) fn compare(app: &App, tokens: &[Finding]) -> Vec<Check> {
    let mut read = tokens.iter().filter_map(|token| Some((&token.uri, token.read.as_ref()?)));
    let Some((_, first)) = read.next() else { return Vec::new() };
    let mut checks = Vec::new();
    for (uri, other) in read {
        let found = differences(&first.1, &other.1);
        let failures = found.iter().map(|what| Check::failure(NAME, format!("{what} on {uri}"), REMEDY));
        checks.extend(failures);
        if found.is_empty() {
            checks.push(prove(app, uri, &first.0, other));
        }
    }
    checks
}

/// Returns what the keys of `other` are not that those of `first` are.
fn differences(first: &[KeyDescription], other: &[KeyDescription]) -> Vec<String> {
    let by_id = |keys: &[KeyDescription]| -> BTreeMap<_, _> {
        let finished = keys.iter().filter(|key| key.state != KeyState::Pending);
        finished.map(|key| (key.kek_id, (key.label(), key.state))).collect()
    };
    let (first, other) = (by_id(first), by_id(other));
    let mut found = Vec::new();
    for (id, (label, state)) in &first {
        match other.get(id) {
            None => found.push(format!("key '{label}' with KEK id {id} is missing")),
            Some(there) if there.0 != *label => found.push(format!("key '{label}' is called '{}'", there.0)),
            Some((_, there)) if there != state => found.push(format!("key '{label}' is {there} and not {state}")),
            Some(_) => {}
        }
    }
    let more = other.iter().filter(|(id, _)| !first.contains_key(id));
    found.extend(more.map(|(id, (label, _))| format!("a key '{label}' with KEK id {id} that the first lacks is")));
    found
}

/// Opens on one what the other wrapped, with each key that may protect. Policies decide about it, and it is on record.
fn prove(app: &App, uri: &str, first: &HsmProvider, other: &(HsmProvider, Vec<KeyDescription>)) -> Check {
    let active = || other.1.iter().filter(|key| key.state == KeyState::Active);
    let opened = active().try_for_each(|key| {
        let (ours, theirs) = (governed(app, first)?, governed(app, &other.0)?);
        opens(&*ours, &*theirs, key)
    });
    match opened {
        Ok(()) => Check::ok(NAME, format!("{uri} has the keys of the first, and opens what that wrapped")),
        Err(error) if error.kind() == ErrorKind::PolicyDenied => {
            Check::warning(NAME, format!("not tried on {uri}: {error}"), "run it as a user who may use all keys")
        }
        Err(error) => Check::failure(NAME, format!("{uri} does not open what the first wrapped: {error}"), REMEDY),
    }
}

fn governed<'a>(app: &App, provider: &'a HsmProvider) -> Result<Box<dyn KeyProvider + 'a>> {
    Ok(match governed::rules(app, provider, || app.keepers())? {
        Ok(governed) => Box::new(governed),
        Err(provider) => Box::new(provider),
    })
}

fn opens(first: &dyn KeyProvider, other: &dyn KeyProvider, key: &KeyDescription) -> Result<()> {
    let context = EncryptionContext::new();
    let (_, wrapped) = first.generate_data_key(&key.name, &context, DataKeyLength::Bytes32)?;
    other.unwrap_data_key(&wrapped, &context).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward::{KekId, KeyVersion, WrappingAlgorithm};

    #[test]
    fn every_difference_is_named() {
        let key = |name: &str, id: u8, state| {
            let id = KekId::from_bytes([id; 16]);
            KeyDescription::new(name.parse().unwrap(), KeyVersion::FIRST, id, WrappingAlgorithm::AesGcm, state)
        };
        let first = [key("a", 1, KeyState::Active), key("b", 2, KeyState::Active), key("c", 3, KeyState::Active)];
        assert!(differences(&first, &first).is_empty());
        let other = [key("a", 9, KeyState::Active), key("x", 2, KeyState::Active), key("c", 3, KeyState::Disabled)];
        let found = differences(&first, &other);
        assert_eq!(found.len(), 4);
        for (found, part) in
            found.iter().zip(["'a:1' with KEK id 01", "is called 'x:1'", "disabled and not active", "09"])
        {
            assert!(found.contains(part), "{found}");
        }
        // What is being made does not count yet.
        assert!(differences(&first, &[&first[..], &[key("d", 4, KeyState::Pending)]].concat()).is_empty());
    }
}
