//! A ceremony on two tokens of SoftHSM that was held, signed and verified.

use crate::room::{Obliging, PIN};
use cryptoki::object::{Attribute, ObjectClass};
use keyward::ceremony::{
    Bundle, Ended, Engine, Hash, KeyClaim, Living, Plan, Statement, Venue, Verification, Verify, WitnessSecret,
    compare, file_hash,
};
use keyward::hsm::HsmProvider;
use keyward::key::Provenance;
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, KekId, KeyAdmin, KeyName, WrappingAlgorithm};
use minisign::KeyPair;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

pub(crate) struct Ceremony {
    directory: TempDir,
    pub(crate) primary: SoftToken,
    pub(crate) second: SoftToken,
    secret: String,
}

pub(crate) fn key(name: &str) -> KeyName {
    name.parse().unwrap()
}

fn sibling(name: &str, algorithm: &str, usage: &str) -> String {
    format!(
        "[[keys]]\nname = \"{name}\"\ntoken = \"primary\"\nalgorithm = \"{algorithm}\"\nprovenance = \"generated\"\n\
         usage = [{usage}]\nbackup = {{ token = \"second\" }}\n"
    )
}

/// The keys of [`Ceremony::of_all_kinds`] that are neither an AES key with a sibling nor RSA keys.
const COPIED: &str = "[[keys]]
name = \"archive\"
token = \"primary\"
algorithm = \"aes-kw\"
provenance = \"generated\"
usage = [\"wrap\", \"unwrap\"]
never_extractable = false
backup = { method = \"trusted-wrap\", token = \"second\", mechanism = \"rsa-oaep-sha1\" }
[[keys]]
name = \"vault\"
token = \"primary\"
algorithm = \"aes-gcm\"
provenance = \"imported-components\"
components = [\"carol\", \"dave\"]
usage = [\"encrypt\", \"decrypt\"]
never_extractable = false
backup = { method = \"imported-components\", token = \"second\" }
";

impl Ceremony {
    /// `payments` with a sibling is made; `old`, which lay on the first token, is destroyed.
    pub(crate) fn of_one_key() -> Self {
        Self::hold(&sibling("payments", "aes-gcm", "\"encrypt\", \"decrypt\""), 1)
    }

    /// The same with an RSA key, one that is exported while it is made, and one that comes in components.
    pub(crate) fn of_all_kinds() -> Self {
        let siblings = [
            sibling("payments", "aes-gcm", "\"encrypt\", \"decrypt\""),
            sibling("a/box", "rsa-oaep-sha1", "\"decrypt\""),
        ];
        Self::hold(&(siblings.concat() + COPIED), 4)
    }

    fn hold(keys: &str, count: u32) -> Self {
        let (primary, second) = (SoftToken::new(), SoftToken::new());
        let gcm = AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm);
        primary.provider().create_key(&key("old"), gcm).unwrap();
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        // This program is large, and hashing it without optimization slow.
        static TOOL: LazyLock<Hash> = LazyLock::new(|| file_hash(Path::new("/proc/self/exe")).unwrap());
        let tool = &*TOOL;
        let module = SoftToken::module_path();
        let hash = file_hash(&module).unwrap();
        let mut text = format!("format = 2\nid = \"2026-11-payments\"\ntool_sha256 = \"{tool}\"\n");
        for (name, role) in [("olga", "operator"), ("oscar", "officer"), ("carol", "custodian"), ("dave", "custodian")]
        {
            text += &format!("[[people]]\nname = \"{name}\"\nroles = [\"{role}\"]\n");
        }
        let witness = pair.pk.to_base64();
        text += &format!("[[people]]\nname = \"wanda\"\nroles = [\"witness\"]\nminisign = \"{witness}\"\n");
        for (name, token, before) in [("primary", &primary, 2), ("second", &second, 0)] {
            let opened = token.open();
            let (serial, label) = (&opened.info().serial, &opened.info().label);
            text += &format!(
                "[[tokens]]\nname = \"{name}\"\nserial = \"{serial}\"\nlabel = \"{label}\"\nmodule = \"{}\"\n\
                 module_sha256 = \"{hash}\"\ninitialize = false\nofficer = \"oscar\"\n\
                 custody = {{ typed_by = \"oscar\" }}\nobjects_before = {before}\nobjects_after = {}\n",
                module.display(),
                2 * count
            );
        }
        text += keys;
        text += "[[destroy]]\ntoken = \"primary\"\nkey = \"old:1\"\n";
        assert_eq!(Plan::parse(&text).unwrap().lint(&text), []);
        let secret = pair.sk.to_box(None).unwrap().to_string();
        let held = Self { directory: tempfile::tempdir().unwrap(), primary, second, secret };
        let bundle = Bundle::create(&held.path(), &text).unwrap();
        let ended = Engine::begin(&bundle, "test", Venue::Tokens, &mut Obliging).unwrap().run();
        assert!(matches!(ended, Ok(Ended::Closed { .. })), "{ended:?}");
        held.sign();
        held
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    fn sign(&self) {
        let bundle = Bundle::open(&self.path()).unwrap();
        bundle.write_report().unwrap();
        let report = bundle.report_bytes().unwrap();
        let statement = Statement::new(&bundle.transcript().unwrap(), &report).unwrap();
        let key = WitnessSecret::open(&self.secret, None).unwrap();
        let signature = key.sign(statement.to_string().as_bytes(), "a test").unwrap();
        bundle.write_signature(&"wanda".parse().unwrap(), &signature).unwrap();
    }

    /// What the bundle tells, with nothing wrong.
    #[track_caller]
    pub(crate) fn verified(&self) -> Verification {
        let found = Verify::new(&Bundle::open(&self.path()).unwrap()).run().unwrap();
        assert_eq!(found.findings, []);
        found
    }

    /// What the bundle tells of a key of one of the tokens.
    pub(crate) fn claim(&self, token: &str, label: &str) -> KeyClaim {
        let mut keys = self.verified().keys.into_iter();
        keys.find(|key| key.token.as_str() == token && key.label == label).unwrap()
    }

    pub(crate) fn id(&self, token: &str, label: &str) -> KekId {
        KekId::from_bytes(*self.claim(token, label).id.as_bytes())
    }

    /// Something else was seen, and the witnesses signed it: each line without its hashes as `change` makes it.
    pub(crate) fn forge(&self, change: impl Fn(String) -> String) {
        let path = self.path().join("transcript.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let mut prev = None;
        let mut forged = String::new();
        for line in text.lines() {
            let (head, tail) = line.split_once(",\"prev\":\"").unwrap();
            let first = tail.split_once('"').unwrap().0.to_owned();
            let body = format!("{},\"prev\":\"{}\"", change(head.to_owned()), prev.unwrap_or(first));
            let hash = Sha256::new().chain_update(b"keyward.ceremony.v1\0").chain_update(&body).finalize();
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            forged += &format!("{body},\"hash\":\"{hash}\"}}\n");
            prev = Some(hash);
        }
        assert_ne!(forged, text, "nothing was changed");
        fs::write(path, forged).unwrap();
        fs::remove_file(self.path().join("signatures/wanda.minisig")).unwrap();
        self.sign();
    }

    /// Compares the bundle with one of its tokens, or with another.
    #[track_caller]
    pub(crate) fn compared(&self, token: &SoftToken) -> Living {
        let found = self.verified();
        compare(&found, &provider(&found, token)).unwrap()
    }

    /// The program, run beside the bundle without any setting. It sees a copy of this token alone: those of other tests
    /// come and go.
    pub(crate) fn command(&self, token: &SoftToken, args: &[&str]) -> Command {
        let tokens = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        let conf = fs::read_to_string(std::env::var("SOFTHSM2_CONF").unwrap()).unwrap();
        let all = conf.lines().find_map(|line| line.strip_prefix("directories.tokendir = ")).unwrap();
        let serial = token.open().info().serial.clone();
        // SoftHSM names its directories by a UUID whose end is the serial number.
        let is_it = |path: &PathBuf| path.to_string_lossy().replace('-', "").ends_with(&serial);
        let directory = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).find(is_it).unwrap();
        let copy = tokens.join(directory.file_name().unwrap());
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let file = tokens.join("softhsm2.conf");
        fs::write(&file, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.env_clear().env("SOFTHSM2_CONF", file).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.directory.path()).stdin(Stdio::null()).args(args);
        command
    }
}

pub(crate) fn provider(found: &Verification, token: &SoftToken) -> HsmProvider {
    HsmProvider::new(token.open()).only(found.key_names()).accept([Provenance::TrustedWrap, Provenance::Components])
}

/// The findings as lines.
pub(crate) fn findings(living: &Living) -> Vec<String> {
    living.findings.iter().map(ToString::to_string).collect()
}

/// The URI of a token, without its PIN.
pub(crate) fn uri(token: &SoftToken) -> String {
    let with = token.uri_with_pin();
    with.strip_suffix(&format!("&pin-value={PIN}")).unwrap().to_owned()
}

/// Lets the token forget the numbers of a destroyed key, as only another tool does.
pub(crate) fn forget(token: &SoftToken, name: &str) {
    let label = format!("keyward tombstone {name}");
    let session = crate::raw::logged_in(token);
    let template = [Attribute::Class(ObjectClass::DATA), Attribute::Label(label.into_bytes())];
    let [tombstone] = session.find_objects(&template).unwrap()[..] else { panic!("there is one") };
    session.destroy_object(tombstone).unwrap();
}
