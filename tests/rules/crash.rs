//! Rewraps that are cut short.

use crate::fixture::{TEXT, name};
use crate::place::{Place, both_keys, new_key, old_key, read_file, rewrap};
use crate::raw::{Parts, SlotCopy};
use keyward::envelope::inspect;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

/// How often the child is killed.
const KILLS: u64 = 30;
const CHILD: &str = "KEYWARD_TEST_REWRAP_FILE";

/// It opens, and the next rewrap leaves one slot copy, under the new version.
fn opens_and_is_repaired(parts: &Parts, case: &str) {
    let place = Place::new(&parts.bytes());
    assert_eq!(place.read(&both_keys()).expect(case), TEXT, "{case}");
    rewrap(&both_keys()).file(&place.path).expect(case);
    let repaired = place.parts();
    let (a, b) = repaired.slot_copies();
    assert_eq!([a, b].iter().filter(|copy| copy.iter().all(|byte| *byte == 0)).count(), 1, "{case}");
    assert_eq!((&repaired.core, &repaired.body), (&parts.core, &parts.body), "{case}");
    assert_eq!(place.read(&new_key()).expect(case), TEXT, "{case}");
}

/// A file before and after a rewrap.
fn before_and_after() -> (Parts, Parts) {
    let place = Place::sealed();
    let before = place.parts();
    rewrap(&both_keys()).file(&place.path).unwrap();
    (before, place.parts())
}

#[test]
fn a_first_write_cut_at_any_byte_loses_nothing() {
    let (before, after) = before_and_after();
    let area_len = before.slots.len() / 2;
    let older = SlotCopy::new(1, &[vec![0xee; 81]]);
    // What the area B may hold at the time: nothing, what an earlier kill has left, any bytes.
    let mut left = [vec![0; area_len], older.bytes()[..90].to_vec(), vec![0xff; area_len]];
    for under in &mut left {
        under.resize(area_len, 0);
        for cut in 0..=area_len {
            let mut parts = before.clone();
            parts.slots[area_len..].copy_from_slice(under);
            parts.slots[area_len..area_len + cut].copy_from_slice(&after.slots[area_len..area_len + cut]);
            opens_and_is_repaired(&parts, &format!("first write cut after {cut}"));
        }
    }
}

#[test]
fn a_second_write_cut_at_any_byte_loses_nothing() {
    let (before, after) = before_and_after();
    let area_len = before.slots.len() / 2;
    for cut in 0..=area_len {
        let mut parts = after.clone();
        parts.slots[cut..area_len].copy_from_slice(&before.slots[cut..area_len]);
        let case = format!("second write cut after {cut}");
        // From the first write on, the old version is not needed any more.
        assert_eq!(Place::new(&parts.bytes()).read(&new_key()).expect(&case), TEXT, "{case}");
        opens_and_is_repaired(&parts, &case);
    }
}

#[test]
fn sectors_of_a_write_may_arrive_in_any_order() {
    let (before, after) = before_and_after();
    let area_len = before.slots.len() / 2;
    for arrived in 0_u8..16 {
        let mut parts = before.clone();
        for quarter in (0..4).filter(|quarter| arrived >> quarter & 1 == 1) {
            let range = area_len + quarter * area_len / 4..area_len + (quarter + 1) * area_len / 4;
            parts.slots[range.clone()].copy_from_slice(&after.slots[range]);
        }
        opens_and_is_repaired(&parts, &format!("quarters {arrived:04b}"));
    }
}

#[test]
fn a_repair_with_the_old_key_alone_keeps_the_file() {
    let (mut parts, after) = before_and_after();
    let area_len = parts.slots.len() / 2;
    parts.slots[area_len..area_len + 60].copy_from_slice(&after.slots[area_len..area_len + 60]);
    let place = Place::new(&parts.bytes());
    rewrap(&old_key()).file(&place.path).unwrap();
    assert!(place.parts().slot_copies().1.iter().all(|byte| *byte == 0));
    assert_eq!(place.read(&old_key()).unwrap(), TEXT);
}

/// What the child does until it is killed. Without the variable it is no child and does nothing.
#[test]
#[ignore = "started by the test that kills it"]
fn child_that_rewraps_until_it_is_killed() {
    let Some(path) = env::var_os(CHILD) else { return };
    let provider = crate::fixture::keyring();
    for to in ["other", "main"].iter().cycle() {
        rewrap(&provider).to(&name(to)).file(Path::new(&path)).unwrap();
    }
}

fn start_child(path: &Path) -> std::process::Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_rewraps_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_file_opens_whenever_its_rewrap_is_killed() {
    let place = Place::sealed();
    let provider = crate::fixture::keyring();
    let before = place.parts();
    let generation = || inspect(&mut &place.bytes()[..]).unwrap().generation.unwrap();
    for kill in 0..KILLS {
        let first = generation();
        let mut child = start_child(&place.path);
        for _ in 0..2000 {
            // Also while it is at work, though a look at the bytes may fall between two writes.
            if inspect(&mut &place.bytes()[..]).is_ok_and(|it| it.generation != Some(first)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(137 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(generation() > first, "the child has done nothing");
        assert_eq!(read_file(&place.path, &provider).unwrap(), TEXT, "kill {kill}");
        let after = place.parts();
        assert_eq!((&after.core, &after.body), (&before.core, &before.body));
    }
    rewrap(&provider).file(&place.path).unwrap();
    assert_eq!(read_file(&place.path, &provider).unwrap(), TEXT);
    assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 1);
}
