//! Every line in turn changed, deleted, doubled, swapped, by somebody who does not repair the hashes
//! that follow: found at that line, with the right diagnosis.

use crate::forged_chain::rehashed;
use crate::{Forgery, anchored_log};
use keyward::audit::Diagnosis;

#[test]
fn a_changed_line_is_found() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    for at in 0..lines.len() {
        let line = &lines[at];
        // A byte of every field, and its newline.
        let middle = [2, 20, line.len() / 3, line.len() / 2, line.len() - 100, line.len() - 40, line.len() - 1];
        for byte in middle {
            let mut changed = lines.clone();
            let with = if line.as_bytes()[byte] == b'7' { "8" } else { "7" };
            changed[at].replace_range(byte..=byte, with);
            let case = format!("line {} byte {byte}", at + 1);
            let found = forgery.finding(&changed, &case);
            assert_eq!(
                (found.diagnosis, found.line, found.seq),
                (Diagnosis::Changed, at as u64 + 1, Some(at as u64 + 1)),
                "{case}: {found:?}"
            );
        }
    }
}

#[test]
fn a_changed_line_with_a_hash_of_its_own_is_found() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    // The last line is covered by nothing yet.
    for at in 0..lines.len() - 1 {
        let mut changed = lines.clone();
        changed[at] = rehashed(&lines[at].replacen("\"pid\":", "\"pid\":1", 1));
        let case = format!("line {}", at + 1);
        let found = forgery.finding(&changed, &case);
        assert_eq!((found.diagnosis, found.line), (Diagnosis::Changed, at as u64 + 1), "{case}: {found:?}");
    }
}

#[test]
fn a_removed_line_is_found() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    for many in [1, 2, 5] {
        for at in 0..lines.len() - many {
            let mut removed = lines.clone();
            removed.drain(at..at + many);
            let case = format!("{many} lines from line {}", at + 1);
            let found = forgery.finding(&removed, &case);
            let next = (at + many) as u64 + 1;
            assert_eq!(
                (found.diagnosis, found.line, found.seq),
                (Diagnosis::Removed, at as u64 + 1, Some(next)),
                "{case}: {found:?}"
            );
        }
    }
}

#[test]
fn a_doubled_line_is_found_wherever_the_copy_stands() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    for from in 0..lines.len() {
        for to in [from + 1, from + 2, lines.len()] {
            if to > lines.len() {
                continue;
            }
            let mut doubled = lines.clone();
            doubled.insert(to, lines[from].clone());
            let case = format!("line {} again at {}", from + 1, to + 1);
            let found = forgery.finding(&doubled, &case);
            assert_eq!((found.diagnosis, found.line), (Diagnosis::Inserted, to as u64 + 1), "{case}: {found:?}");
        }
    }
}

#[test]
fn swapped_and_moved_lines_are_found() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    for from in 0..lines.len() - 1 {
        for distance in [1, 2, 7] {
            let to = from + distance;
            if to >= lines.len() {
                continue;
            }
            let mut swapped = lines.clone();
            swapped.swap(from, to);
            let mut moved = lines.clone();
            let line = moved.remove(from);
            moved.insert(to, line);
            for (what, order) in [("swapped", swapped), ("moved", moved)] {
                let case = format!("{what} {} and {}", from + 1, to + 1);
                let found = forgery.finding(&order, &case);
                assert_eq!((found.diagnosis, found.line), (Diagnosis::Reordered, from as u64 + 1), "{case}: {found:?}");
            }
        }
    }
}

#[test]
fn an_inserted_line_is_found() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    for at in 1..lines.len() {
        // One that follows the line before it as it should, and says something else than the line that did.
        let mut forged = lines.clone();
        forged.insert(at, rehashed(&lines[at].replacen("\"pid\":", "\"pid\":1", 1)));
        let case = format!("a forged line at {}", at + 1);
        let found = forgery.finding(&forged, &case);
        // At the end nobody can tell which of two lines was there first.
        let line = if at + 1 == lines.len() { at + 2 } else { at + 1 };
        assert_eq!((found.diagnosis, found.line), (Diagnosis::Inserted, line as u64), "{case}: {found:?}");
        let mut noise = lines.clone();
        noise.insert(at, "no line at all".into());
        let found = forgery.finding(&noise, "noise");
        assert_eq!((found.diagnosis, found.line), (Diagnosis::Inserted, at as u64 + 1), "{case}: {found:?}");
    }
}
