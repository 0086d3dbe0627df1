//! Plans for tokens of SoftHSM.

use keyward::ceremony::{Bundle, Name, Plan, Verify, WitnessSecret, file_hash};
use keyward::testkit::SoftToken;
use minisign::KeyPair;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What a plan is made of, as TOML tables. Two free tokens that share a PIN and are each other's second, unless changed.
pub(crate) struct Parts {
    pub(crate) module: PathBuf,
    pub(crate) tokens: [String; 2],
    pub(crate) keys: Vec<String>,
    pub(crate) more: String,
}

/// A label that nobody else has.
pub(crate) fn new_label() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("engine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) const SHARED: &str = "custody = { threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }";
pub(crate) const TYPED: &str = "custody = { typed_by = \"oscar\" }";

/// A token that is initialized by the ceremony.
pub(crate) fn free(label: &str, after: u32) -> String {
    format!(
        "serial = \"free\"\nlabel = \"{label}\"\ninitialize = true\nofficer = \"oscar\"\n{SHARED}\nobjects_before = 0\n\
         objects_after = {after}\n"
    )
}

pub(crate) fn sibling(name: &str, algorithm: &str, usage: &str) -> String {
    format!(
        "name = \"{name}\"\ntoken = \"primary\"\nalgorithm = \"{algorithm}\"\nprovenance = \"generated\"\n\
         usage = [{usage}]\nbackup = {{ token = \"second\" }}\n"
    )
}

pub(crate) fn wrapped(name: &str) -> String {
    format!(
        "name = \"{name}\"\ntoken = \"primary\"\nalgorithm = \"aes-kw\"\nprovenance = \"generated\"\n\
         usage = [\"wrap\", \"unwrap\"]\nnever_extractable = false\n\
         backup = {{ method = \"trusted-wrap\", token = \"second\", mechanism = \"rsa-oaep-sha1\" }}\n"
    )
}

pub(crate) fn imported(name: &str, method: &str) -> String {
    sibling(name, AES_GCM.0, AES_GCM.1).replace("\"generated\"", "\"imported-components\"").replace(
        "backup = { token",
        &format!(
            "components = [\"carol\", \"dave\"]\nnever_extractable = false\nbackup = {{ method = \"{method}\", token"
        ),
    )
}

pub(crate) const AES_GCM: (&str, &str) = ("aes-gcm", "\"encrypt\", \"decrypt\"");
pub(crate) const RSA: (&str, &str) = ("rsa-oaep-sha1", "\"decrypt\"");

impl Parts {
    /// An AES and an RSA key with siblings, and one that is exported.
    pub(crate) fn new() -> Self {
        let keys = vec![sibling("payments", AES_GCM.0, AES_GCM.1), sibling("a/box", RSA.0, RSA.1), wrapped("archive")];
        Self::of(keys)
    }

    pub(crate) fn of(keys: Vec<String>) -> Self {
        let after = 2 * u32::try_from(keys.len()).unwrap();
        let tokens = [free(&new_label(), after), free(&new_label(), after)];
        // Loaded here, because the engine does not know that there is a lock.
        let _ = SoftToken::load_module();
        Self { module: SoftToken::module_path(), tokens, keys, more: String::new() }
    }

    fn to_toml(&self, witness: &str) -> String {
        let tool = file_hash(Path::new("/proc/self/exe")).unwrap();
        let (module, hash) = (self.module.display(), file_hash(&self.module).unwrap());
        let mut text = format!("format = 2\nid = \"2026-11-payments\"\ntool_sha256 = \"{tool}\"\n");
        let people = [("olga", "operator"), ("oscar", "officer"), ("carol", "custodian"), ("dave", "custodian")];
        for (name, role) in people.into_iter().chain([("erin", "custodian")]) {
            text += &format!("[[people]]\nname = \"{name}\"\nroles = [\"{role}\"]\n");
        }
        text += &format!("[[people]]\nname = \"wanda\"\nroles = [\"witness\"]\nminisign = \"{witness}\"\n");
        for (name, token) in ["primary", "second"].iter().zip(&self.tokens) {
            text +=
                &format!("[[tokens]]\nname = \"{name}\"\nmodule = \"{module}\"\nmodule_sha256 = \"{hash}\"\n{token}");
        }
        for key in &self.keys {
            text += &format!("[[keys]]\n{key}");
        }
        text + &self.more
    }
}

/// A plan, a place for its bundle, and the witness's key.
pub(crate) struct Planned {
    pub(crate) directory: TempDir,
    pub(crate) text: String,
    secret: String,
}

impl Planned {
    pub(crate) fn new(parts: &Parts) -> Self {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let text = parts.to_toml(&pair.pk.to_base64());
        assert_eq!(Plan::parse(&text).unwrap().lint(&text), []);
        let secret = pair.sk.to_box(None).unwrap().to_string();
        Self { directory: tempfile::tempdir().unwrap(), text, secret }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub(crate) fn create(&self) -> Bundle {
        Bundle::create(&self.path(), &self.text).unwrap()
    }

    /// Has the witness sign, and verifies.
    #[track_caller]
    pub(crate) fn assert_verifies(&self) -> keyward::ceremony::Verification {
        let bundle = Bundle::open(&self.path()).unwrap();
        let found = Verify::new(&bundle).before_signing().run().unwrap();
        assert_eq!(found.findings, []);
        let report = bundle.report_bytes().unwrap();
        let statement = keyward::ceremony::Statement::new(&bundle.transcript().unwrap(), &report).unwrap();
        let key = WitnessSecret::open(&self.secret, None).unwrap();
        bundle.write_signature(&name("wanda"), &key.sign(statement.to_string().as_bytes(), "a test").unwrap()).unwrap();
        let found = Verify::new(&bundle).run().unwrap();
        assert_eq!(found.findings, []);
        found
    }
}

/// What may have changed something although nobody heard of it.
pub(crate) const WRITING: [&str; 9] = [
    "C_InitToken",
    "C_InitPIN",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_CreateObject",
    "C_CopyObject",
    "C_UnwrapKey",
    "C_SetAttributeValue",
    "C_DestroyObject",
];

/// The module that goes wrong as a script says.
pub(crate) fn built_fault_module() -> PathBuf {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
    assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
    built
}
