//! What looks like a PIN or another secret in a plan, its comments included.

use super::Plan;
use super::lint::Finding;
use crate::ceremony::shares::Share;

/// Words that are followed by a secret.
const WORDS: [&str; 10] =
    ["pin", "pins", "puk", "pass", "passwd", "password", "passphrase", "passwort", "kennwort", "secret"];

pub(super) fn find(plan: &Plan, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(what) = in_line(line) {
            // What stands there is not repeated.
            findings.push(Finding { place: format!("line {}", at + 1), message: what.into() });
        }
    }
    let people = plan.people.iter().flat_map(|person| {
        let place = format!("people.{}", person.name);
        [Some(person.name.as_str()), person.full_name.as_deref()].map(|text| (place.clone(), text))
    });
    let tokens = plan.tokens.iter().flat_map(|token| {
        let place = format!("tokens.{}", token.name);
        [Some(token.name.as_str()), Some(token.label.as_str())].map(|text| (place.clone(), text))
    });
    let keys = plan.keys.iter().map(|key| ("keys".to_owned(), Some(key.name.as_str())));
    for (place, text) in people.chain(tokens).chain(keys) {
        if text.is_some_and(|text| text.len() >= 4 && text.bytes().all(|b| b.is_ascii_digit())) {
            // A place that has the name in it would repeat it.
            let place = place.split_once('.').map_or(place.clone(), |(list, _)| list.to_owned());
            findings.push(Finding { place, message: "digits alone look like a PIN".into() });
        }
    }
    findings
}

/// What a line looks like, where it looks like a secret.
pub(in crate::ceremony) fn in_line(line: &str) -> Option<&'static str> {
    let lower = line.to_lowercase();
    if lower.contains("private key") || line.contains("RWRTY0Iy") || line.contains("RWQAAEIy") {
        return Some("this looks like a private key");
    }
    if lower.contains("pin-value") || lower.contains("pin-source") || names_a_secret(&lower) {
        return Some("this looks like a PIN or a password");
    }
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_share = words.filter(|word| word.len() >= 32).any(|word| Share::parse(word).is_ok());
    is_share.then_some("this is a share of a PIN")
}

/// Whether one of the words is there, and after it a colon or an equals sign and something that is no word of a
/// sentence.
fn names_a_secret(line: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric();
    let mut rest = line;
    while let Some(at) = rest.find([':', '=']) {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let last = before.trim_end_matches([' ', '\t', '"', '\'']).rsplit(|c| !is_word(c)).next().unwrap_or_default();
        let value = after.trim_start_matches([' ', '\t', '"', '\'', '=', ':']);
        if WORDS.contains(&last) && value.chars().take_while(|c| is_word(*c)).count() >= 4 {
            return true;
        }
        rest = after;
    }
    false
}
