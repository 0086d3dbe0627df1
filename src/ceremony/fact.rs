//! What was seen in a step, in sentences: for reports, and for those who look on.

use super::entry::Fact;
use std::collections::BTreeMap;

impl Fact {
    /// What it says, a sentence or more. Labels come from tokens: whoever shows them sees to what may be shown.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::Host { tool_sha256, modules, swap, core_dumps, network } => {
                let is = |on: &bool| if *on { "on" } else { "off" };
                let mut all = vec![format!("program: {tool_sha256}")];
                all.extend(modules.iter().map(|module| format!("module {}: {}", module.path, module.sha256)));
                all.push(format!("swap {}, core dumps {}, network {}", is(swap), is(core_dumps), is(network)));
                all
            }
            Self::Libraries { files } => {
                files.iter().map(|file| format!("library {}: {}", file.path, file.sha256)).collect()
            }
            Self::Token { token, serial, label, manufacturer, model, firmware, random } => {
                let mut all = vec![format!(
                    "{token}: serial '{serial}', label '{label}', manufacturer '{manufacturer}', model '{model}', \
                     firmware {firmware}"
                )];
                all.extend(random.iter().map(|random| format!("random bytes of its generator: {random}")));
                all
            }
            Self::Share { index, threshold, shares, digest } => {
                vec![format!("share {index} of {shares}, {threshold} needed, digest {digest}")]
            }
            Self::Recombined { digests } => {
                let mut all = vec![format!("the PIN was put together from {} shares", digests.len())];
                all.extend(digests.iter().map(|digest| format!("digest {digest}")));
                all
            }
            Self::Component { index, check_value } => vec![format!("component {index}, check value {check_value}")],
            Self::Key { token, label, id, algorithm, attributes, check_value, public_key } => {
                let mut all = vec![format!("{token}: '{label}', CKA_ID {id}, {algorithm}")];
                all.extend([true, false].iter().filter_map(|wanted| said(attributes, *wanted)));
                all.extend(check_value.iter().map(|value| format!("check value {value}")));
                all.extend(public_key.iter().map(|hash| format!("public key {hash}")));
                all
            }
            Self::Exported { token, id, mechanism, fingerprint, trusted_by } => vec![
                format!("'{id}' was wrapped with {mechanism} and unwrapped by {token}"),
                format!("under the key with the fingerprint {fingerprint}, which {trusted_by} trusts"),
            ],
            Self::Canary { token, id, digest, .. } => {
                vec![format!("{token}: a data key {digest} was wrapped and unwrapped by {id}")]
            }
            Self::Restored { token, id, digest } => {
                vec![format!("{token}: {id} alone opened the data key {digest}")]
            }
            Self::Destroyed { token, label, id, found } => {
                vec![format!("{token}: '{label}', CKA_ID {id}, was destroyed; {found} objects were found afterwards")]
            }
            Self::Inventory { token, objects } => {
                let mut all = vec![format!("{token}: {} objects", objects.len())];
                all.extend(objects.iter().map(|object| {
                    let out = if object.extractable { ", EXTRACTABLE" } else { "" };
                    format!("{} '{}' {}{out}", object.class, object.label, object.id).trim_end().to_owned()
                }));
                all
            }
            Self::Note { text } => vec![text.clone()],
        }
    }
}

fn said(attributes: &BTreeMap<String, bool>, wanted: bool) -> Option<String> {
    let names: Vec<_> =
        attributes.iter().filter(|(_, value)| **value == wanted).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| format!("{wanted}: {}", names.join(", ")))
}
