//! Writing a plan.

use crate::audit::Hash;
use crate::ceremony::expect::usage_of;
use crate::ceremony::format::CURRENT;
use crate::ceremony::minisign::WitnessKey;
use crate::ceremony::name::Name;
use crate::ceremony::shares::PIN_LEN;
use crate::key::{KeyName, WrappingAlgorithm};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What has to be known to write a plan for two fresh tokens, each of which is the other's sibling.
///
/// Everything else is written as comments, for an editor.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What the ceremony is called.
    pub id: Name,
    /// The hash of the program that will run it.
    pub tool_sha256: Hash,
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// Its hash.
    pub module_sha256: Hash,
    /// Who sits at the keyboard.
    pub operator: Name,
    /// Who knows the security officer's PINs.
    pub officer: Name,
    /// Who keep shares of the user PINs.
    pub custodians: Vec<Name>,
    /// How many of them open one.
    pub threshold: u8,
    /// Who sign.
    pub witnesses: Vec<(Name, WitnessKey)>,
    /// Which keys are made.
    pub keys: Vec<(KeyName, WrappingAlgorithm)>,
}

impl Answers {
    /// Those of an example. Its witness's key is the one of minisign's documentation.
    ///
    /// # Panics
    /// Never: what it has is fixed.
    #[must_use]
    pub fn example() -> Self {
        let name = |text: &str| text.parse::<Name>();
        let made = || -> crate::error::Result<Self> {
            Ok(Self {
                id: name("2026-11-payments")?,
                tool_sha256: Hash::of(&[b"the program"]),
                module: "/usr/lib/softhsm/libsofthsm2.so".into(),
                module_sha256: Hash::of(&[b"the module"]),
                operator: name("olga")?,
                officer: name("oscar")?,
                custodians: vec![name("carol")?, name("dave")?, name("erin")?],
                threshold: 2,
                witnesses: vec![(name("wanda")?, "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse()?)],
                keys: vec![("payments".parse()?, WrappingAlgorithm::AesGcm)],
            })
        };
        match made() {
            Ok(answers) => answers,
            Err(error) => unreachable!("{error}"),
        }
    }

    /// The plan as text. Where the answers make sense, it has nothing that [`lint`](super::Plan::lint) finds.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self { id, tool_sha256, .. } = self;
        let mut out = format!(
            "# The plan of a key ceremony. `keyward ceremony plan lint` says what contradicts itself in it, `plan words`\n\
             # gives its hash in words to read aloud, `run --dry-run` prints its steps for paper.\n\
             # No secret stands here: who takes part in a ceremony may read all of it.\n\n\
             format = {CURRENT}\n\
             id = \"{id}\"\n\
             # SHA-256 of the program that runs it: sha256sum \"$(command -v keyward)\"\n\
             tool_sha256 = \"{tool_sha256}\"\n\n\
             # Who takes part. Roles: operator (one), officer, custodian, witness. 'full_name' is for paper.\n"
        );
        self.write_people(&mut out);
        for (name, label) in [("primary", "a"), ("second", "b")] {
            self.write_token(&mut out, name, label);
        }
        for (name, algorithm) in &self.keys {
            let usage: Vec<_> = usage_of(*algorithm).iter().map(|usage| format!("\"{}\"", usage.name())).collect();
            out += &format!(
                "[[keys]]\n\
                 name = \"{name}\"\n\
                 # version = 1\n\
                 token = \"primary\"\n\
                 algorithm = \"{algorithm}\"              # aes-gcm, aes-kw, rsa-oaep, rsa-oaep-sha1\n\
                 provenance = \"generated\"            # or imported-components, with components = [\"carol\", \"dave\"]\n\
                 usage = [{}]\n\
                 # never_extractable = true          # false for what is exported or imported\n\
                 # sibling: the second token makes a key of its own, nothing is exported. Others: trusted-wrap (with\n\
                 # mechanism = \"rsa-oaep\"), imported-components, hsm-clone, none.\n\
                 backup = {{ method = \"sibling\", token = \"second\" }}\n\n",
                usage.join(", ")
            );
        }
        out += "# Keys that are destroyed, with proof that they are gone:\n\
                # [[destroy]]\n\
                # token = \"primary\"\n\
                # key = \"old:1\"\n";
        out
    }

    fn write_people(&self, out: &mut String) {
        let mut people: BTreeMap<&Name, (Vec<&str>, Option<&WitnessKey>)> = BTreeMap::new();
        let mut add = |name, role, key: Option<_>| {
            let (roles, own) = people.entry(name).or_default();
            if !roles.contains(&role) {
                roles.push(role);
            }
            *own = key.or(*own);
        };
        add(&self.operator, "operator", None);
        add(&self.officer, "officer", None);
        self.custodians.iter().for_each(|name| add(name, "custodian", None));
        self.witnesses.iter().for_each(|(name, key)| add(name, "witness", Some(key)));
        for (name, (roles, key)) in people {
            let roles: Vec<_> = roles.iter().map(|role| format!("\"{role}\"")).collect();
            *out += &format!("[[people]]\nname = \"{name}\"\nroles = [{}]\n", roles.join(", "));
            if let Some(key) = key {
                *out += &format!("minisign = \"{}\"\n", key.to_base64());
            }
            out.push('\n');
        }
    }

    fn write_token(&self, out: &mut String, name: &str, suffix: &str) {
        // What JSON writes of a text without control characters, TOML reads.
        let module = serde_json::Value::from(self.module.to_string_lossy()).to_string();
        let custodians: Vec<_> = self.custodians.iter().map(|name| format!("\"{name}\"")).collect();
        let label: String = format!("{}-{suffix}", self.id).chars().rev().take(32).collect();
        let label: String = label.chars().rev().collect();
        *out += &format!(
            "[[tokens]]\n\
             name = \"{name}\"\n\
             serial = \"free\"                     # or the serial number; a free token has none before it is initialized\n\
             label = \"{label}\"\n\
             module = {module}\n\
             module_sha256 = \"{}\"\n\
             # firmware = \"2.6\"                  # where only this version will do\n\
             initialize = true                   # destroys whatever is on it\n\
             officer = \"{}\"\n\
             # The user PIN is generated on the token and split, and shares are shown on the screen; handout = \"paper\" prints\n\
             # them, handout = \"file\" writes each to a file of its own. typed_by = \"{}\" where somebody knows it instead.\n\
             custody = {{ length = {PIN_LEN}, threshold = {}, custodians = [{}] }}\n\
             # Objects that a user sees: a master key is two, itself and its record.\n\
             objects_before = 0\n\
             objects_after = {}\n\n",
            self.module_sha256,
            self.officer,
            self.officer,
            self.threshold,
            custodians.join(", "),
            2 * self.keys.len()
        );
    }
}
