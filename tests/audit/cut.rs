//! The end cut off, at every length: the anchor on the token finds it.

use crate::{Forgery, anchored_log, text};
use keyward::audit::Diagnosis;

#[test]
fn an_end_that_is_cut_off_is_found_at_every_line() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    let anchored = place.ok().anchor.unwrap().count() as usize;
    for left in 0..lines.len() {
        let report = forgery.report_of(&lines[..left]);
        if left >= anchored {
            // What is gone is the lines that tell of the head and its anchor themselves. Without the last head
            // the anchor alone still covers everything.
            assert_eq!(report.finding, None, "{left} lines");
            continue;
        }
        let found = report.finding.unwrap_or_else(|| panic!("{left} lines: nothing was found"));
        assert_eq!((found.diagnosis, found.line, found.seq), (Diagnosis::Cut, left as u64 + 1, Some(left as u64 + 1)));
    }
}

#[test]
fn an_end_that_is_cut_off_is_found_at_every_byte() {
    let place = anchored_log();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    let anchored = place.ok().anchor.unwrap().count() as usize;
    let whole = text(&lines);
    let covered = text(&lines[..anchored]).len();
    let from = text(&lines[..anchored - 2]).len();
    for left in (from..whole.len()).rev() {
        let report = forgery.report_without_keys(&whole.as_bytes()[..left]);
        let found = report.finding.map(|found| found.diagnosis);
        // A line that lacks its newline alone is whole.
        let expected = if left + 1 >= covered { None } else { Some(Diagnosis::Cut) };
        assert_eq!(found, expected, "{left} of {} bytes", whole.len());
        assert_eq!(report.torn_end, whole.as_bytes()[left - 1] != b'\n', "{left}");
    }
}

#[test]
fn without_the_anchor_the_report_says_up_to_where_the_log_is_signed() {
    let place = anchored_log();
    place.keeper.clear();
    let (lines, forgery) = (place.lines(), Forgery::of(&place));
    // Nobody can tell that there was more, and the report does not say so: that is what anchors are for.
    let report = forgery.report_of(&lines[..lines.len() - 4]);
    assert_eq!(report.finding, None);
    assert!(report.anchor.is_none());
    assert!(report.signed_to.unwrap() < report.last);
}
