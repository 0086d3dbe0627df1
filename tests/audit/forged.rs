//! The same by somebody who repairs every hash that follows, which needs no key: the signed heads and
//! the anchor find it.

use crate::forged_chain::{between, chained};
use crate::{Forgery, Place, anchored_log};
use keyward::audit::{Diagnosis, Verify};
use std::fs;

/// The line of the first head that covers the line `at`, both counted from 1.
fn covering_head(lines: &[String], at: usize, signed: bool) -> usize {
    let covers = |line: &String| {
        line.contains(if signed { "\"signature\"" } else { "\"kind\":\"head\"" })
            && between(line, "\"count\":", ",").parse::<usize>().unwrap() >= at
    };
    lines.iter().position(covers).unwrap() + 1
}

#[test]
fn repairing_nothing_changes_nothing() {
    let place = anchored_log();
    let lines = place.lines();
    assert_eq!(chained(&lines, false), lines);
    assert_eq!(chained(&lines, true), lines);
}

#[test]
fn a_log_that_is_rewritten_from_a_line_on_is_found_by_the_next_head() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    let covered = lines.len() - 1;
    for at in 0..covered {
        let mut changed = lines.clone();
        changed[at] = changed[at].replacen("\"pid\":", "\"pid\":1", 1);
        for (what, heads) in [("chain", false), ("chain and heads", true)] {
            let head = covering_head(&lines, at + 1, heads);
            let case = format!("line {}, {what}", at + 1);
            let found = forgery.finding(&chained(&changed, heads), &case);
            assert_eq!((found.diagnosis, found.line), (Diagnosis::Changed, head as u64), "{case}: {found:?}");
        }
        for (what, edit) in [("deleted", 0), ("doubled", 1), ("swapped", 2)] {
            if edit == 1 && at + 1 == covered {
                // The copy comes after what is covered.
                continue;
            }
            let mut edited = lines.clone();
            match edit {
                0 => drop(edited.remove(at)),
                1 => edited.insert(at, lines[at].clone()),
                _ => edited.swap(at, at + 1),
            }
            for heads in [false, true] {
                let case = format!("line {} {what}, {heads}", at + 1);
                forgery.finding(&chained(&edited, heads), &case);
            }
        }
    }
}

#[test]
fn without_its_heads_a_log_is_unsigned_or_not_what_the_token_has_seen() {
    let place = anchored_log();
    let own: Vec<_> = place.lines().into_iter().filter(|line| !line.contains("\"kind\":\"head\"")).collect();
    let forged = chained(&own, false);
    let forgery = Forgery::of(&place);
    let found = forgery.finding(&forged, "with the anchor");
    assert_eq!(found.diagnosis, Diagnosis::Cut);
    place.keeper.clear();
    let found = forgery.finding(&forged, "without the anchor");
    assert_eq!(found.diagnosis, Diagnosis::Unsigned, "{found:?}");
}

#[test]
fn a_head_signed_by_another_key_counts_for_nothing() {
    let mut place = anchored_log();
    place.keeper = std::sync::Arc::new(crate::FakeKeeper::new(2));
    // The token knows all keys that ever signed.
    let found = place.verify().finding.unwrap();
    assert_eq!(
        (found.diagnosis, found.explanation.as_str()),
        (Diagnosis::Changed, "the head in it is signed by an unknown key")
    );
    let report = Verify::new(place.path()).key(place.keeper.public_key()).run().unwrap();
    assert_eq!(report.finding.unwrap().diagnosis, Diagnosis::Unsigned);
    assert!((report.heads, report.heads_not_verified > 2) == (0, true));
}

#[test]
fn without_a_key_the_report_says_that_signatures_are_not_verified() {
    let place = anchored_log();
    let mut lines = place.lines();
    lines[2] = lines[2].replacen("\"pid\":", "\"pid\":1", 1);
    fs::write(place.path(), crate::text(&chained(&lines, true))).unwrap();
    let report = Verify::new(place.path()).run().unwrap();
    // It cannot know better, and does not say that it does.
    assert_eq!(report.finding, None);
    assert!((report.heads, report.signed_to, report.heads_not_verified > 2) == (0, None, true));
    assert_eq!(place.verify().finding.unwrap().diagnosis, Diagnosis::Changed);
}

#[test]
fn the_counts_of_wraps_cannot_be_rewritten() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    let kek = "07".repeat(16);
    for at in 0..lines.len() - 1 {
        let changed = match lines[at].contains("\"kind\":\"head\"") {
            true if !lines[at].contains(&kek) => continue,
            true => {
                let count = between(&lines[at], &format!("\"{kek}\":"), "}");
                lines[at].replace(&format!("\"{kek}\":{count}"), &format!("\"{kek}\":1"))
            }
            false => lines[at].replace(&format!(",\"wraps\":[\"{kek}\"]"), ""),
        };
        if changed != lines[at] {
            let mut forged = lines.clone();
            forged[at] = changed;
            let found = forgery.finding(&chained(&forged, true), &format!("line {}", at + 1));
            assert_eq!(found.diagnosis, Diagnosis::Changed);
            if lines[at].contains("\"kind\":\"head\"") {
                // Whatever its signature is worth.
                assert_eq!(found.line, at as u64 + 1);
                assert_eq!(found.explanation, "the counts of wraps in it are not those of the log");
            }
        }
    }
}

#[test]
fn another_log_under_the_same_key_is_not_taken_for_this_one() {
    let place = anchored_log();
    let other = Place { directory: tempfile::tempdir().unwrap(), keeper: place.keeper.clone() };
    let log = other.open(other.signed(crate::never().name("other".parse().unwrap())));
    crate::operate(&log);
    log.close().unwrap();
    let report = other.ok();
    assert_eq!(report.other_anchors.len(), 1);
    assert_eq!(report.other_anchors[0].log(), place.ok().log.unwrap());
    // In the place of the first, under its name or not, it is found.
    fs::copy(other.path(), place.path()).unwrap();
    let name = keyward::audit::LogName::of_host().unwrap();
    let report = Verify::new(place.path()).name(name).keeper(&*place.keeper).unwrap().run().unwrap();
    assert_eq!(report.finding.unwrap().diagnosis, Diagnosis::Replaced);
}
