//! A ceremony that was done on tokens that are not there: what it tells of them is made up. Everything else is real.

use keyward::ceremony::{
    Answers, BackupMethod, Begin, Bundle, Custody, Fact, Hash, Id, Journal, ModuleFact, Name, ObjectFact, Plan,
    PlannedKey, Step, StepId, StepKind, WitnessSecret, expected_attributes, planned_id, script, shares,
};
use keyward::{KeyName, WrappingAlgorithm};
use minisign::KeyPair;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const PEM: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn hash(text: &str) -> Hash {
    // What the library makes of a plan's text is a plain SHA-256.
    Plan::hash(text)
}

/// A key of minisign that no password protects, and its public half.
pub(crate) fn witness() -> (String, String) {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    (pair.sk.to_box(None).unwrap().to_string(), pair.pk.to_base64())
}

pub(crate) struct Ceremony {
    pub(crate) directory: TempDir,
    pub(crate) text: String,
    pub(crate) plan: Plan,
    /// The secret keys of the witnesses, as minisign writes them.
    pub(crate) secrets: Vec<(Name, String)>,
}

impl Ceremony {
    /// A plan for two keys on two fresh tokens, with two witnesses.
    pub(crate) fn new() -> Self {
        let (wanda, walter) = (witness(), witness());
        let witnesses = vec![(name("wanda"), wanda.1.parse().unwrap()), (name("walter"), walter.1.parse().unwrap())];
        let keys = vec![
            ("payments".parse().unwrap(), WrappingAlgorithm::AesGcm),
            ("a/box".parse().unwrap(), WrappingAlgorithm::RsaOaep),
        ];
        let text = Answers { witnesses, keys, ..Answers::example() }.to_toml();
        Self::of(text, vec![(name("wanda"), wanda.0), (name("walter"), walter.0)])
    }

    pub(crate) fn of(text: String, secrets: Vec<(Name, String)>) -> Self {
        let plan = Plan::parse(&text).unwrap();
        assert_eq!(plan.lint(&text), []);
        Self { directory: tempfile::tempdir().unwrap(), text, plan, secrets }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::open(&self.path()).unwrap()
    }

    pub(crate) fn begin(&self) -> Journal {
        let bundle = Bundle::create(&self.path(), &self.text).unwrap();
        Journal::begin(&bundle, begin()).unwrap()
    }

    /// Everything done, closed, reported and signed.
    pub(crate) fn run(&self) -> Bundle {
        let mut journal = self.begin();
        for step in script(&self.plan) {
            self.step(&mut journal, &step);
        }
        journal.close().unwrap();
        let bundle = self.bundle();
        bundle.write_report().unwrap();
        for (witness, secret) in &self.secrets {
            sign(&bundle, witness, secret);
        }
        bundle
    }

    pub(crate) fn step(&self, journal: &mut Journal, step: &Step) {
        journal.intent(&step.id, &step.confirmed_by).unwrap();
        let facts = self.facts(journal.run(), step, journal);
        journal.done(&step.id, facts).unwrap();
    }

    /// What such a step would have seen.
    pub(crate) fn facts(&self, run: Id, step: &Step, journal: &Journal) -> Vec<Fact> {
        let plan = &self.plan;
        match &step.kind {
            StepKind::CheckHost => {
                let module = &plan.tokens[0];
                let host = Fact::Host {
                    tool_sha256: plan.tool_sha256,
                    modules: vec![ModuleFact::new(module.module.to_string_lossy(), module.module_sha256)],
                    swap: false,
                    core_dumps: false,
                    network: false,
                };
                vec![host, Fact::Libraries { files: vec![ModuleFact::new("/lib/libc.so.6", hash("libc"))] }]
            }
            StepKind::IdentifyToken { token } => {
                let planned = plan.token(token).unwrap();
                if planned.initialize {
                    return vec![self.token(token, "", "", None)];
                }
                let objects = vec![ObjectFact::new("data", "old"); planned.objects_before as usize];
                vec![
                    self.token(token, &serial(token), &planned.label, Some(random(token))),
                    Fact::Inventory { token: token.clone(), objects },
                ]
            }
            StepKind::InitializeToken { token } => {
                vec![self.token(token, &serial(token), &plan.token(token).unwrap().label, Some(random(token)))]
            }
            StepKind::HandOutShare { token, index, .. } => {
                let Custody::Shared { threshold, custodians, .. } = &plan.token(token).unwrap().custody else {
                    unreachable!("the plan splits it")
                };
                let digest = share(run, token, *index).digest(&run);
                let shares = u8::try_from(custodians.len()).unwrap();
                vec![Fact::Share { index: *index, threshold: *threshold, shares, digest }]
            }
            StepKind::SetPin { token } => {
                vec![Fact::Recombined { digests: [1, 3].map(|index| share(run, token, index).digest(&run)).into() }]
            }
            StepKind::EnterComponent { index, .. } => {
                vec![Fact::Component { index: *index, check_value: format!("{index:06x}") }]
            }
            StepKind::MakeKey { key, token } => {
                let mut facts = vec![self.key(run, key, token, step.id.as_str(), false)];
                facts.extend(self.exported(run, key));
                facts
            }
            StepKind::ReadBack { key, token } => {
                vec![self.key(run, key, token, &format!("key/{key}/generate"), false)]
            }
            StepKind::Canary { key, token } => vec![canary(key, token, id(run, token, &format!("key/{key}/generate")))],
            StepKind::BackUp { key, token } => {
                let planned = plan.key(key).unwrap();
                let made = match planned.backup.method {
                    BackupMethod::Sibling => id(run, token, step.id.as_str()),
                    _ => id(run, &planned.token, &format!("key/{key}/generate")),
                };
                let mut facts = vec![self.key(run, key, token, step.id.as_str(), true)];
                if let Fact::Key { id, .. } = &mut facts[0] {
                    *id = made;
                }
                facts.push(canary(key, token, made));
                facts
            }
            StepKind::RestoreTest { key, token } => {
                let backup = journal.progress().done(&StepId::from(format!("key/{key}/backup"))).unwrap();
                let Fact::Key { id, .. } = &backup.facts[0] else { unreachable!("the first is the key") };
                vec![Fact::Restored { token: token.clone(), id: *id, digest: hash(key.as_str()) }]
            }
            StepKind::Inventory { token } => vec![self.inventory(token)],
            StepKind::DestroyKey { token, label } => vec![Fact::Destroyed {
                token: token.clone(),
                label: label.clone(),
                id: Id::from_bytes([9; 16]),
                found: 0,
            }],
            _ => Vec::new(),
        }
    }

    fn token(&self, token: &Name, serial: &str, label: &str, random: Option<Id>) -> Fact {
        Fact::Token {
            token: token.clone(),
            serial: serial.into(),
            label: label.into(),
            manufacturer: "nobody".into(),
            model: "made up".into(),
            firmware: "0.0".into(),
            random,
        }
    }

    fn key(&self, run: Id, key: &KeyName, token: &Name, step: &str, is_backup: bool) -> Fact {
        let planned: &PlannedKey = self.plan.key(key).unwrap();
        let attributes: BTreeMap<String, bool> =
            expected_attributes(planned, is_backup).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let public_key = planned
            .algorithm
            .is_rsa()
            .then(|| self.bundle().write_public_key(key, token, &format!("{token}\n{PEM}")).unwrap());
        Fact::Key {
            token: token.clone(),
            label: planned.label(),
            id: id(run, token, step),
            algorithm: planned.algorithm.name().into(),
            attributes,
            check_value: (!planned.algorithm.is_rsa()).then(|| "0a1b2c".into()),
            public_key,
        }
    }

    fn exported(&self, run: Id, key: &KeyName) -> Option<Fact> {
        let planned = self.plan.key(key).unwrap();
        Some(Fact::Exported {
            token: planned.backup.token.clone()?,
            id: id(run, &planned.token, &format!("key/{key}/generate")),
            mechanism: planned.backup.mechanism?.name().into(),
            fingerprint: "f00d".into(),
            trusted_by: self.plan.token(&planned.token)?.officer.clone()?,
        })
    }

    fn inventory(&self, token: &Name) -> Fact {
        let on_it = |key: &&PlannedKey| key.token == *token || key.backup.token.as_ref() == Some(token);
        let planned = self.plan.token(token).unwrap();
        let before = if planned.initialize { 0 } else { planned.objects_before };
        let mut objects = vec![ObjectFact::new("data", "old"); before as usize];
        for key in self.plan.keys.iter().filter(on_it) {
            let class = if key.algorithm.is_rsa() { "private-key" } else { "secret-key" };
            objects.extend([class, "data"].map(|class| ObjectFact::new(class, key.label())));
        }
        Fact::Inventory { token: token.clone(), objects }
    }

    pub(crate) fn change(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "{file} was not changed");
        fs::write(path, changed).unwrap();
    }
}

pub(crate) fn begin() -> Begin {
    Begin::new("test")
}

pub(crate) fn serial(token: &Name) -> String {
    format!("serial-{token}")
}

/// What the token's generator would have given.
fn random(token: &Name) -> Id {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash(token.as_str()).as_bytes()[..16]);
    Id::from_bytes(bytes)
}

pub(crate) fn id(run: Id, token: &Name, step: &str) -> Id {
    planned_id(&run, &serial(token), Some(&random(token)), &StepId::from(step))
}

fn canary(key: &KeyName, token: &Name, id: Id) -> Fact {
    Fact::Canary { token: token.clone(), id, wrapped: "c0ffee".into(), digest: hash(key.as_str()) }
}

/// The same share of the same PIN whenever it is asked for.
pub(crate) fn share(run: Id, token: &Name, index: u8) -> shares::Share {
    let pin = shares::SharedPin::from_random(&[7; 24]).unwrap();
    let set = shares::Set::new(&run, token);
    let not_random = |bytes: &mut [u8]| {
        bytes.iter_mut().zip(1..).for_each(|(byte, place)| *byte = place);
        Ok(())
    };
    shares::split(&pin, &set, 2, 3, not_random).unwrap().remove(usize::from(index) - 1)
}

pub(crate) fn sign(bundle: &Bundle, witness: &Name, secret: &str) {
    let report = bundle.report_bytes().unwrap();
    let statement = keyward::ceremony::Statement::new(&bundle.transcript().unwrap(), &report).unwrap();
    let key = WitnessSecret::open(secret, None).unwrap();
    bundle.write_signature(witness, &key.sign(statement.to_string().as_bytes(), "a test").unwrap()).unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
