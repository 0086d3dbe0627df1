//! Planned keys, and keys that come to a second token, with a failure or a death at one call after another.
//! Whoever asks again gets exactly the planned objects: none is missing, none is there twice, and nothing is left
//! that could be extracted.

use super::*;
use keyward::hsm::backup::{Component, TransportKey, check_value, import_components, prove_same, trusted_wrap};
use keyward::hsm::{Inventory, PlannedKey};
use keyward::key::{KeyState, Provenance};
use keyward::token::{Pin, Token, TokenUri};
use keyward::{KekId, KeyAdmin};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use zeroize::Zeroizing;

const TRANSPORT: KekId = KekId::from_bytes([0xfe; 16]);

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Generate(WrappingAlgorithm),
    Import(WrappingAlgorithm),
    /// The key pair under which others come.
    Transport,
    Wrap(WrappingAlgorithm),
}

impl Work {
    /// The last is interrupted where `KEYWARD_EVERY_CALL` is set; otherwise it is in ceremonies alone (`tests/engine`).
    const ALL: [Self; 6] = [
        Self::Generate(WrappingAlgorithm::AesGcm),
        Self::Generate(WrappingAlgorithm::RsaOaepSha1),
        Self::Import(WrappingAlgorithm::AesGcm),
        Self::Transport,
        Self::Wrap(WrappingAlgorithm::AesGcm),
        Self::Wrap(WrappingAlgorithm::AesKw),
    ];

    fn interrupted() -> &'static [Self] {
        match std::env::var_os("KEYWARD_EVERY_CALL") {
            Some(_) => &Self::ALL,
            None => &Self::ALL[..Self::ALL.len() - 1],
        }
    }

    fn plan(self, run: u16) -> PlannedKey {
        let mut id = [0xcc; 16];
        id[..2].copy_from_slice(&run.to_be_bytes());
        let algorithm = match self {
            Self::Generate(algorithm) | Self::Import(algorithm) | Self::Wrap(algorithm) => algorithm,
            Self::Transport => WrappingAlgorithm::AesGcm,
        };
        // Each run has the next version: no number is used twice.
        let version = (u32::from(run) + 1).to_string();
        PlannedKey::new("a".parse().unwrap(), algorithm, KekId::from_bytes(id)).version(version.parse().unwrap())
    }

    /// Does it, on the second token or on both.
    fn run(self, source: &HsmProvider, backup: &HsmProvider, plan: &PlannedKey) -> keyward::Result<()> {
        match self {
            Self::Generate(_) => backup.create_planned(plan).map(drop),
            Self::Import(_) => {
                let component = |byte| {
                    let value = Zeroizing::new([byte; 32]);
                    let check = check_value(&value);
                    Component::new(value, check)
                };
                import_components(backup, plan, &[component(1)?, component(2)?], check_value(&[3; 32])).map(drop)
            }
            Self::Transport => TransportKey::create(backup.token(), plan.kek_id).map(drop),
            Self::Wrap(_) => {
                let transport = TransportKey::create(backup.token(), TRANSPORT)?;
                let pinned = transport.public().fingerprint()?;
                trusted_wrap(source, backup, plan, &transport, &pinned).map(drop)
            }
        }
    }

    /// Which calls are disturbed, with their numbers: those that write and the ones after them, because between two
    /// writes the token is as it was; all of them where `KEYWARD_EVERY_CALL` is set, which takes long.
    fn disturbed(calls: &[String]) -> Vec<(usize, &str)> {
        let all = std::env::var_os("KEYWARD_EVERY_CALL").is_some();
        let writes = |at: usize| calls.get(at).is_some_and(|function| WRITING.contains(&function.as_str()));
        let worth = |at: &usize| all || writes(*at) || at.checked_sub(1).is_some_and(writes);
        (0..calls.len()).filter(worth).map(|at| (at + 1, calls[at].as_str())).collect()
    }

    /// How many keys and records are there when it is done, over what was there before.
    fn counts(self, of_source: bool) -> (usize, usize, usize) {
        match self {
            Self::Generate(algorithm) if algorithm.is_rsa() => (0, usize::from(!of_source), usize::from(!of_source)),
            Self::Generate(_) | Self::Import(_) => (usize::from(!of_source), 0, usize::from(!of_source)),
            Self::Transport => (0, usize::from(!of_source), 0),
            Self::Wrap(_) => (1, 0, 1),
        }
    }
}

fn provider(token: Token) -> HsmProvider {
    HsmProvider::new(token).only(["a".parse().unwrap()]).accept([Provenance::TrustedWrap, Provenance::Components])
}

/// Two tokens behind a module each, with a transport key on the second.
struct Pair {
    source: Faulty,
    backup: Faulty,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { source: Faulty::new(), backup: Faulty::new() };
        TransportKey::create(&pair.backup.soft.open(), TRANSPORT).unwrap();
        pair
    }

    /// Providers past the modules that inject faults.
    fn providers(&self) -> [HsmProvider; 2] {
        [&self.source, &self.backup].map(|faulty| provider(faulty.soft.open()))
    }

    /// Finishes what was interrupted, looks at all that is there, and clears it away.
    fn finish_and_check(
        [source, backup]: &[HsmProvider; 2],
        work: Work,
        plan: &PlannedKey,
        before: &[Inventory; 2],
        what: &str,
    ) {
        // What could leave a token is nowhere, before anybody asks again and after.
        for hsm in [source, backup] {
            let sweep = hsm.sweep(&[plan.kek_id]).unwrap();
            assert!(sweep.is_clean(), "{what}: {sweep:?}");
            assert_eq!(sweep.destroyed, [], "{what}");
        }
        work.run(source, backup, plan).unwrap_or_else(|error| panic!("{what}: asked again: {error:?}"));
        for (hsm, (before, of_source)) in [source, backup].into_iter().zip(before.iter().zip([true, false])) {
            let sweep = hsm.sweep(&[plan.kek_id]).unwrap();
            assert!(sweep.is_clean() && sweep.destroyed.is_empty(), "{what}: {sweep:?}");
            let mut expected = *before;
            let (secret, private, records) = work.counts(of_source);
            expected.secret_keys += secret;
            expected.private_keys += private;
            expected.records += records;
            expected.data_objects += records;
            expected.keys += records;
            expected.transport_keys += private - if records > 0 { private } else { 0 };
            assert_eq!(hsm.inventory().unwrap(), expected, "{what}");
            assert_eq!(hsm.leftovers().unwrap(), [], "{what}");
            if records == 0 {
                continue;
            }
            let key = &hsm.list_keys().unwrap()[0];
            assert_eq!(
                (key.kek_id, key.algorithm, key.state),
                (plan.kek_id, plan.algorithm, KeyState::Active),
                "{what}"
            );
            assert_eq!(key.problems, <[String; 0]>::default(), "{what}");
            assert!(hsm.open_recorded_canary(plan.kek_id).unwrap(), "{what}");
            assert_works(hsm, &plan.name);
        }
        match work {
            Work::Wrap(_) => {
                prove_same(source, backup, plan.kek_id).unwrap();
                assert!(source.destroy_with_proof(&plan.name, plan.version).unwrap().is_proven(), "{what}");
                assert!(backup.destroy_with_proof(&plan.name, plan.version).unwrap().is_proven(), "{what}");
            }
            Work::Transport => TransportKey::create(backup.token(), plan.kek_id).unwrap().destroy().unwrap(),
            _ => assert!(backup.destroy_with_proof(&plan.name, plan.version).unwrap().is_proven(), "{what}"),
        }
    }
}

fn inventories(providers: &[HsmProvider; 2]) -> [Inventory; 2] {
    [providers[0].inventory().unwrap(), providers[1].inventory().unwrap()]
}

/// The functions that it calls on each token, in order.
fn calls(pair: &Pair, child: impl FnOnce()) -> [Vec<String>; 2] {
    let both = [&pair.source, &pair.backup];
    both.iter().for_each(|faulty| faulty.script("* * log"));
    child();
    both.map(|faulty| {
        faulty.well();
        faulty.log().into_iter().map(|(function, _)| function).collect()
    })
}

/// Those that may have changed something although they say that they have not.
const WRITING: [&str; 7] = [
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_CreateObject",
    "C_CopyObject",
    "C_UnwrapKey",
    "C_SetAttributeValue",
    "C_DestroyObject",
];

#[test]
fn any_call_may_fail() {
    let began = Instant::now();
    let mut failed = 0;
    for work in Work::interrupted().iter().copied() {
        let pair = Pair::new();
        // Open all the time: SoftHSM takes its time for a login.
        let well = pair.providers();
        let before = inventories(&well);
        let [source, backup] = [&pair.source, &pair.backup]
            .map(|faulty| provider(Token::open_with(&faulty.uri(), faulty.options()).unwrap()));
        let mut run = 0;
        let plan = work.plan(run);
        let [of_source, of_backup] = calls(&pair, || work.run(&source, &backup, &plan).unwrap());
        Pair::finish_and_check(&well, work, &plan, &before, "undisturbed");
        for (faulty, calls) in [(&pair.source, &of_source), (&pair.backup, &of_backup)] {
            for (at, function) in Work::disturbed(calls) {
                let late = WRITING.contains(&function).then_some("late CKR_DEVICE_ERROR");
                // Not done and not known to be; done and not known to be.
                for how in std::iter::once("answer CKR_DEVICE_ERROR").chain(late) {
                    run += 1;
                    let plan = work.plan(run);
                    faulty.script(&format!("* {at} {how}"));
                    failed += usize::from(work.run(&source, &backup, &plan).is_err());
                    faulty.well();
                    let token = if std::ptr::eq(faulty, &pair.source) { "source" } else { "backup" };
                    Pair::finish_and_check(&well, work, &plan, &before, &format!("{work:?}, {token}: * {at} {how}"));
                }
            }
        }
        let calls = [of_source.len(), of_backup.len()];
        println!("{work:?}: {calls:?} calls on source and backup, {run} runs ({:?})", began.elapsed());
    }
    println!("{failed} of these failed and were asked for again");
    assert!(failed > 80, "{failed}");
}

#[test]
fn any_call_may_be_the_last() {
    let began = Instant::now();
    let mut killed = 0;
    for (number, work) in Work::interrupted().iter().copied().enumerate() {
        let pair = Pair::new();
        let well = pair.providers();
        let before = inventories(&well);
        let plan = work.plan(0);
        let [of_source, of_backup] = calls(&pair, || assert!(child(&pair, number, &plan).success()));
        Pair::finish_and_check(&well, work, &plan, &before, "undisturbed");
        let mut run = 0;
        for (faulty, calls) in [(&pair.source, &of_source), (&pair.backup, &of_backup)] {
            // Before each call: that is after the one before it, and after all that the other token did meanwhile.
            for (at, _) in Work::disturbed(calls) {
                run += 1;
                let plan = work.plan(run);
                faulty.script(&format!("* {at} kill"));
                let status = child(&pair, number, &plan);
                faulty.well();
                // What it does last may differ from run to run by a call: a search that is cut in two, and the like.
                assert!(
                    status.signal() == Some(9) || (status.success() && at + 3 > calls.len()),
                    "{work:?} {at}: {status}"
                );
                killed += usize::from(status.signal() == Some(9));
                let token = if std::ptr::eq(faulty, &pair.source) { "source" } else { "backup" };
                Pair::finish_and_check(&well, work, &plan, &before, &format!("{work:?}, {token}: * {at} kill"));
            }
        }
        let calls = [of_source.len(), of_backup.len()];
        println!("{work:?}: {calls:?} calls on source and backup, {run} runs ({:?})", began.elapsed());
    }
    println!("{killed} processes were killed");
    assert!(killed > 60, "{killed}");
}

/// Does it in a process of its own.
fn child(pair: &Pair, work: usize, plan: &PlannedKey) -> std::process::ExitStatus {
    let uri = |faulty: &Faulty| faulty.soft.uri().token().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crossing::child_process", "--ignored", "--nocapture"])
        .env("KEYWARD_CROSSING", format!("{work} {}:{}", plan.version, plan.kek_id))
        .env("KEYWARD_CROSSING_SOURCE", uri(&pair.source))
        .env("KEYWARD_CROSSING_BACKUP", uri(&pair.backup))
        .env("KEYWARD_CROSSING_SOURCE_MODULE", pair.source.module())
        .env("KEYWARD_CROSSING_BACKUP_MODULE", pair.backup.module())
        .env("KEYWARD_CROSSING_PIN", SOFT_PIN)
        .output()
        .unwrap();
    if !output.status.success() && output.status.signal().is_none() {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    output.status
}

/// The user PIN of the test kit's tokens.
const SOFT_PIN: &str = "test-user-pin";

/// Not a test: what the child process does.
#[test]
#[ignore = "run by any_call_may_be_the_last"]
fn child_process() {
    let env = |name: &str| std::env::var(format!("KEYWARD_CROSSING{name}")).unwrap();
    let asked = env("");
    let (work, planned) = asked.split_once(' ').unwrap();
    let (version, id) = planned.split_once(':').unwrap();
    let work = Work::ALL[work.parse::<usize>().unwrap()];
    let open = |which: &str| {
        let uri: TokenUri = format!("pkcs11:token={}", env(which)).parse().unwrap();
        let uri = uri.or_module_path(Some(PathBuf::from(env(&format!("{which}_MODULE")))));
        provider(Token::open_with(&uri, child_options(Pin::new(env("_PIN")))).unwrap())
    };
    let (source, backup) = (open("_SOURCE"), open("_BACKUP"));
    let mut plan = work.plan(0).version(version.parse().unwrap());
    plan.kek_id = id.parse().unwrap();
    work.run(&source, &backup, &plan).unwrap();
}
