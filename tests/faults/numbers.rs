//! Making and destroying versions, with a failure or a death at one call after another: no number is used twice, by
//! whoever goes on.

use super::*;
use cryptoki::object::{Attribute, ObjectClass};
use keyward::key::{KeyState, VersionReuse};
use keyward::token::{Pin, Token, TokenUri};
use keyward::{AlgorithmChoice, KekId, KeyAdmin, KeyVersion};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// What is interrupted.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// The highest of two versions is destroyed.
    DestroyNewest,
    /// The older of two is.
    DestroyOldest,
    /// The only one is.
    DestroyLast,
    /// A key of a name whose versions were destroyed is made.
    Create,
    /// The next version is made, after the highest was destroyed.
    Rotate,
}

impl Work {
    const ALL: [Self; 5] = [Self::DestroyNewest, Self::DestroyOldest, Self::DestroyLast, Self::Create, Self::Rotate];

    fn prepare(self, hsm: &HsmProvider, key: &KeyName, known: &mut Known) {
        known.made(&hsm.create_key(key, AlgorithmChoice::Auto).unwrap());
        if !matches!(self, Self::DestroyLast | Self::Create) {
            known.made(&hsm.rotate_key(key, None).unwrap());
        }
        match self {
            Self::Create => destroy(hsm, key, 1).unwrap(),
            Self::Rotate => destroy(hsm, key, 2).unwrap(),
            _ => {}
        }
    }

    fn run(self, hsm: &HsmProvider, key: &KeyName) -> keyward::Result<()> {
        match self {
            Self::DestroyNewest => destroy(hsm, key, 2),
            Self::DestroyOldest | Self::DestroyLast => destroy(hsm, key, 1),
            Self::Create => hsm.create_key(key, AlgorithmChoice::Auto).map(drop),
            Self::Rotate => hsm.rotate_key(key, None).map(drop),
        }
    }
}

fn destroy(hsm: &HsmProvider, key: &KeyName, version: u32) -> keyward::Result<()> {
    let version: KeyVersion = version.to_string().parse().unwrap();
    hsm.destroy_key(key, version, VersionReuse::Refuse).map(drop)
}

/// The key that each number was used for.
#[derive(Default)]
struct Known(BTreeMap<KeyVersion, KekId>);

impl Known {
    fn made(&mut self, key: &keyward::key::KeyDescription) {
        let before = self.0.insert(key.version, key.kek_id);
        assert!(before.is_none_or(|before| before == key.kek_id), "{} is a second key", key.label());
    }

    /// Goes on with what is there, and asks that only numbers are used that were not.
    fn go_on(&mut self, hsm: &HsmProvider, soft: &keyward::testkit::SoftToken, key: &KeyName, what: &str) {
        // A maker that died is waited for; not here.
        remove_pending(soft, key);
        let found = |hsm: &HsmProvider| {
            let mut keys = hsm.list_keys().unwrap();
            keys.retain(|one| one.name == *key && one.state != KeyState::Pending);
            keys
        };
        found(hsm).iter().for_each(|key| self.made(key));
        let highest = *self.0.keys().next_back().unwrap();
        let make = || match found(hsm).is_empty() {
            true => hsm.create_key(key, AlgorithmChoice::Auto),
            false => hsm.rotate_key(key, None),
        };
        let next = make().unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(Some(next.version), highest.next(), "{what}");
        self.made(&next);
        for key in found(hsm) {
            hsm.destroy_key(&key.name, key.version, VersionReuse::Refuse).unwrap();
        }
        let remembered = hsm.list_destroyed_keys().unwrap().into_iter().find(|one| one.name == *key).unwrap();
        assert_eq!(remembered.highest_version, next.version, "{what}");
    }
}

/// Destroys what was being made, as a repair would after it has waited.
fn remove_pending(soft: &keyward::testkit::SoftToken, key: &KeyName) {
    let session = recovery::raw::logged_in(soft);
    let pending = soft.provider().list_keys().unwrap().into_iter();
    for pending in pending.filter(|one| one.name == *key && one.state == KeyState::Pending) {
        let id = Attribute::Id(pending.kek_id.as_bytes().to_vec());
        for object in session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), id]).unwrap() {
            session.destroy_object(object).unwrap();
        }
    }
}

const WRITING: [&str; 4] = ["C_GenerateKey", "C_CreateObject", "C_SetAttributeValue", "C_DestroyObject"];

/// The calls that a run makes and that are worth a disturbance: those that write and the ones after them.
fn disturbed(log: &[(String, String)]) -> Vec<(usize, String)> {
    let writes = |at: usize| log.get(at).is_some_and(|(function, _)| WRITING.contains(&function.as_str()));
    let worth = |at: &usize| writes(*at) || at.checked_sub(1).is_some_and(writes);
    (0..log.len()).filter(worth).map(|at| (at + 1, log[at].0.clone())).collect()
}

fn name(work: Work, run: usize) -> KeyName {
    format!("{work:?}-{run}").parse().unwrap()
}

fn provider(faulty: &Faulty) -> HsmProvider {
    HsmProvider::new(Token::open_with(&faulty.uri(), faulty.options()).unwrap())
}

#[test]
fn a_failed_call_makes_no_number_free() {
    let mut failed = 0;
    for work in Work::ALL {
        let faulty = Faulty::new();
        let (well, hsm) = (faulty.soft.provider(), provider(&faulty));
        let mut run = 0;
        let mut known = Known::default();
        let key = name(work, run);
        work.prepare(&well, &key, &mut known);
        faulty.script("* * log");
        work.run(&hsm, &key).unwrap();
        faulty.well();
        known.go_on(&well, &faulty.soft, &key, "undisturbed");
        for (at, function) in disturbed(&faulty.log()) {
            let late = WRITING.contains(&function.as_str()).then_some("late CKR_DEVICE_ERROR");
            for how in std::iter::once("answer CKR_DEVICE_ERROR").chain(late) {
                run += 1;
                let (key, mut known) = (name(work, run), Known::default());
                work.prepare(&well, &key, &mut known);
                faulty.script(&format!("* {at} {how}"));
                failed += usize::from(work.run(&hsm, &key).is_err());
                faulty.well();
                known.go_on(&well, &faulty.soft, &key, &format!("{work:?}: {function} {at} {how}"));
            }
        }
    }
    assert!(failed > 40, "{failed}");
}

#[test]
fn a_killed_process_makes_no_number_free() {
    let mut killed = 0;
    for (number, work) in Work::ALL.into_iter().enumerate() {
        let faulty = Faulty::new();
        let well = faulty.soft.provider();
        let mut run = 0;
        let (key, mut known) = (name(work, run), Known::default());
        work.prepare(&well, &key, &mut known);
        faulty.script("* * log");
        assert!(child(&faulty, number, &key).success());
        faulty.well();
        known.go_on(&well, &faulty.soft, &key, "undisturbed");
        for (at, function) in disturbed(&faulty.log()) {
            run += 1;
            let (key, mut known) = (name(work, run), Known::default());
            work.prepare(&well, &key, &mut known);
            faulty.script(&format!("* {at} kill"));
            let status = child(&faulty, number, &key);
            faulty.well();
            killed += usize::from(status.signal() == Some(9));
            known.go_on(&well, &faulty.soft, &key, &format!("{work:?}: killed before {function} {at}"));
        }
    }
    assert!(killed > 40, "{killed}");
}

/// Does it in a process of its own.
fn child(faulty: &Faulty, work: usize, key: &KeyName) -> ExitStatus {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "numbers::child_process", "--ignored", "--nocapture"])
        .env("KEYWARD_NUMBERS", format!("{work} {key}"))
        .env("KEYWARD_NUMBERS_TOKEN", faulty.soft.uri().token().unwrap())
        .env("KEYWARD_NUMBERS_MODULE", faulty.module())
        .output()
        .unwrap();
    if !output.status.success() && output.status.signal().is_none() {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    output.status
}

/// Not a test: what the child process does.
#[test]
#[ignore = "run by a_killed_process_makes_no_number_free"]
fn child_process() {
    let env = |name: &str| std::env::var(format!("KEYWARD_NUMBERS{name}")).unwrap();
    let asked = env("");
    let (work, key) = asked.split_once(' ').unwrap();
    let uri: TokenUri = format!("pkcs11:token={}", env("_TOKEN")).parse().unwrap();
    let uri = uri.or_module_path(Some(env("_MODULE").into()));
    // The user PIN of the test kit's tokens.
    let options = child_options(Pin::new("test-user-pin".to_owned()));
    let hsm = HsmProvider::new(Token::open_with(&uri, options).unwrap());
    Work::ALL[work.parse::<usize>().unwrap()].run(&hsm, &key.parse().unwrap()).unwrap();
}
