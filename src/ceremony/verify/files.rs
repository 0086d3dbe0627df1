//! Whether the files beside the transcript are those that it and the plan tell of.

use super::Verification;
use crate::audit::Hash;
use crate::ceremony::bundle::Bundle;
use crate::ceremony::entry::Fact;
use crate::ceremony::interim;
use crate::ceremony::plan::Plan;
use crate::ceremony::statement::Statement;
use crate::ceremony::transcript::Transcript;
use std::collections::BTreeMap;

/// Public keys, and files that nobody knows.
pub(super) fn check(found: &mut Verification, bundle: &Bundle, files: &[String], plan: &Plan, transcript: &Transcript) {
    let told = public_keys(plan, transcript);
    for (name, hash) in &told {
        match bundle.file(name) {
            Ok(bytes) if Hash::of(&[&bytes]) == *hash => {}
            Ok(_) => found.find(name, "it is not the public key that the transcript tells of"),
            Err(error) => found.find(name, error.to_string()),
        }
    }
    for name in files {
        let is_signature = name.starts_with("signatures/");
        if !is_signature && !told.contains_key(name) && !Bundle::is_known_file(name) {
            found.find(name, "the transcript tells of no such file");
        }
    }
}

/// The files of public keys and their hashes, as the transcript has them.
fn public_keys(plan: &Plan, transcript: &Transcript) -> BTreeMap<String, Hash> {
    let mut told = BTreeMap::new();
    for step in crate::ceremony::script(plan) {
        for fact in transcript.progress().done(&step.id).map_or(&[][..], |done| &done.facts) {
            if let Fact::Key { token, label, public_key: Some(hash), .. } = fact {
                let key = label.split_once(':').map_or(label.as_str(), |(name, _)| name);
                told.insert(Bundle::key_file(key, token), *hash);
            }
        }
    }
    told
}

/// What the witnesses signed.
pub(super) fn signatures(
    found: &mut Verification,
    bundle: &Bundle,
    files: &[String],
    plan: &Plan,
    statement: &Statement,
    all_are_needed: bool,
) {
    let message = statement.to_string();
    let witnesses: BTreeMap<String, _> =
        plan.witnesses().map(|(name, key)| (Bundle::signature_file(name), (name, key))).collect();
    for (file, (name, key)) in &witnesses {
        if !files.contains(file) {
            if all_are_needed {
                found.find(file, format!("the signature of the witness {name} is missing"));
            }
            continue;
        }
        let signature = bundle.file(file).map(|bytes| String::from_utf8(bytes).unwrap_or_default());
        match signature.and_then(|signature| key.verify(message.as_bytes(), &signature)) {
            Ok(()) => found.signed_by.push((*name).clone()),
            Err(error) => found.find(file, error.to_string()),
        }
    }
    let is_interim = |file: &String| interim::parse(file).is_some();
    let others = files.iter().filter(|file| file.starts_with("signatures/") && !is_interim(file));
    for file in others.filter(|file| !witnesses.contains_key(*file)) {
        found.find(file, "the plan names no such witness");
    }
}
