//! Chains of audit lines as someone writes them who repairs every hash, which needs no key.

use sha2::{Digest, Sha256};

/// The line with the hash that its bytes have.
pub(crate) fn rehashed(line: &str) -> String {
    let body = &line[..line.rfind(",\"hash\":").unwrap()];
    let digest = Sha256::new().chain_update(b"keyward.audit.v1\0").chain_update(body).finalize();
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body},\"hash\":\"{hash}\"}}")
}

/// What stands between two texts in a line.
pub(crate) fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

fn hash_of(line: &str) -> String {
    between(line, ",\"hash\":\"", "\"").to_owned()
}

/// A chain of these lines, numbered from 1. With `heads`, what heads say fits too, all but their signatures.
pub(crate) fn chained(lines: &[String], heads: bool) -> Vec<String> {
    let mut hashes: Vec<String> = Vec::new();
    // What heads name a line by, before and after.
    let mut names: Vec<(String, String)> = Vec::new();
    let mut prev = "0".repeat(64);
    let mut forged = Vec::new();
    for (seq, original) in (1..).zip(lines) {
        let before = format!("{{\"seq\":{}", between(original, "\"seq\":", ","));
        let mut line = original.replacen(&before, &format!("{{\"seq\":{seq}"), 1);
        line = line
            .replace(&format!("\"prev\":\"{}\"", between(&line, "\"prev\":\"", "\"")), &format!("\"prev\":\"{prev}\""));
        let own = |line: &str| {
            let seq = between(line, "\"seq\":", ",");
            format!("\"count\":{seq},\"head\":\"{}\"", hash_of(line))
        };
        let name = own(original);
        if heads && line.contains("\"kind\":\"head\"") && !hashes.is_empty() {
            let count: usize = between(&line, "\"count\":", ",").parse().unwrap();
            let count = count.min(hashes.len());
            let old = format!(
                "\"count\":{},\"head\":\"{}\"",
                between(&line, "\"count\":", ","),
                between(&line, "\"head\":\"", "\"")
            );
            line = line.replace(&old, &format!("\"count\":{count},\"head\":\"{}\"", hashes[count - 1]));
        }
        if heads {
            for (old, new) in &names {
                line = line.replace(old, new);
            }
        }
        let line = rehashed(&line);
        names.push((name, own(&line)));
        prev = hash_of(&line);
        hashes.push(prev.clone());
        forged.push(line);
    }
    forged
}
