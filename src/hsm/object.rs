//! A master key as the token shows it: attributes read, checked, and turned into a description.

use super::record::{Record, RecordLookup};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    KekId, KeyDescription, KeyName, KeyState, KeyVersion, Provenance, PublicKey, WrappedKey, WrappingAlgorithm,
};
use crate::token::{Attribute, AttributeType, Attributes, ObjectHandle};

/// One version of a master key on the token.
#[derive(Debug)]
pub(super) struct MasterKey {
    pub(super) handle: ObjectHandle,
    pub(super) description: KeyDescription,
    /// Whether it is an AES key or an RSA private key.
    pub(super) class: KeyClass,
    /// The public half of an RSA key, from the private object's modulus and exponent.
    pub(super) public: Option<PublicKey>,
    /// What is recorded about it.
    pub(super) record: RecordLookup,
}

/// The two kinds of objects that can be master keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyClass {
    Aes,
    Rsa,
}

impl KeyClass {
    pub(super) const ALL: [Self; 2] = [Self::Aes, Self::Rsa];

    pub(super) fn of(algorithm: WrappingAlgorithm) -> Self {
        if algorithm.is_rsa() { Self::Rsa } else { Self::Aes }
    }

    /// What an object of this class may be for if nothing is recorded about it. The attributes that tell AES-GCM from
    /// AES-KW change with the key's state, and none tells the hash of RSA-OAEP.
    pub(super) fn algorithms_without_record(self) -> &'static [WrappingAlgorithm] {
        match self {
            Self::Aes => &[WrappingAlgorithm::AesGcm],
            Self::Rsa => &[WrappingAlgorithm::RsaOaep],
        }
    }
}

/// What is read of every key, one by one where the token fails the whole.
const COMMON: [AttributeType; 13] = [
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::Sign,
    AttributeType::Derive,
    AttributeType::Encrypt,
];

pub(super) fn attributes_of(class: KeyClass) -> Vec<AttributeType> {
    let more: &[AttributeType] = match class {
        KeyClass::Aes => &[AttributeType::Wrap, AttributeType::ValueLen],
        KeyClass::Rsa => &[AttributeType::Modulus, AttributeType::PublicExponent],
    };
    COMMON.iter().chain(more).copied().collect()
}

/// `NAME:VERSION`, or `NAME` for a key made elsewhere, which is version 1. Other labels name no key
/// of ours.
pub(super) fn parse_label(label: &[u8]) -> Option<(KeyName, KeyVersion)> {
    let label = std::str::from_utf8(label).ok()?;
    match label.rsplit_once(':') {
        Some((name, version)) => Some((name.parse().ok()?, version.parse().ok()?)),
        None => Some((label.parse().ok()?, KeyVersion::FIRST)),
    }
}

impl MasterKey {
    /// The key that these attributes show; `None` where label or id are not a master key's.
    pub(super) fn from_attributes(
        handle: ObjectHandle,
        class: KeyClass,
        shown: &Attributes,
        lookup: RecordLookup,
    ) -> Option<Self> {
        let record = lookup.found();
        let (name, version) = parse_label(shown.bytes(Attribute::Label)?)?;
        let kek_id = KekId::from_cka_id(shown.bytes(Attribute::Id)?)?;
        let usage = Usage::read(shown, class);
        let algorithm = usage.algorithm(class, record);
        let provenance = record.map_or(Provenance::Foreign, |record| record.provenance);

        let mut description = KeyDescription::new(name, version, kek_id, algorithm, usage.state(algorithm, &lookup));
        description.provenance = provenance;
        description.created = record.map(|record| record.created);
        description.destroy_after = record.and_then(|record| record.destroy_after);
        description.problems = protection_problems(shown, provenance);
        usage.add_problems(&mut description.problems, algorithm);
        description.problems.extend(match &lookup {
            RecordLookup::Absent => None,
            RecordLookup::Found(record) | RecordLookup::Claimed(record) => record.key.problem(),
            RecordLookup::Unreadable(why) => Some(format!("its record {why}")),
        });

        let mut public = None;
        match class {
            KeyClass::Aes => {
                // SoftHSM says 0 of every key that it unwrapped. Of one that Keyward let arrive it is known that
                // 32 bytes came, and nothing shorter.
                let unknown = |len| len == 0 && provenance.must_be_accepted();
                if shown.number(Attribute::ValueLen).is_some_and(|len| len != 32 && !unknown(len)) {
                    description.problems.push("it is not an AES-256 key".to_owned());
                }
            }
            KeyClass::Rsa => {
                public =
                    shown.bytes(Attribute::Modulus).zip(shown.bytes(Attribute::PublicExponent)).and_then(|(n, e)| {
                        let KeyDescription { name, version, kek_id, algorithm, .. } = &description;
                        PublicKey::from_parts(name.clone(), *version, *kek_id, *algorithm, n, e).ok()
                    });
                if public.is_none() {
                    description.problems.push("its modulus or public exponent cannot be read".to_owned());
                }
            }
        }
        Some(Self { handle, description, class, public, record: lookup })
    }

    /// Its record, if there is one.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.found()
    }

    /// What it wrapped when it was made and must recover ever after; `None` for keys made elsewhere.
    pub(super) fn canary(&self) -> Option<&WrappedKey> {
        self.record().and_then(|record| record.canary.as_ref())
    }

    /// Refuses a key of which a record says more than can be read.
    pub(super) fn check_record(&self) -> Result<()> {
        match &self.record {
            RecordLookup::Unreadable(why) => {
                Err(why.refuse(&format!("the record of key '{}'", self.description.label())))
            }
            _ => Ok(()),
        }
    }

    /// Whether the key is still being made: its record is not finished.
    pub(super) fn is_pending(&self) -> bool {
        self.description.state == KeyState::Pending
    }

    /// Refuses a key that is not what a protected master key must be.
    pub(super) fn check_usable(&self) -> Result<()> {
        self.check_record()?;
        if self.description.problems.is_empty() {
            return Ok(());
        }
        let (label, problems) = (self.description.label(), self.description.problems.join("; "));
        Err(Error::new(ErrorKind::KeyAttributes, format!("key '{label}' is refused: {problems}")).with_hint(
            "where another tool made it, `keyward key adopt` narrows its usage and records that you vouch for it",
        ))
    }

    pub(super) fn wrong_state(&self, verb: &str) -> Error {
        let label = self.description.label();
        Error::new(ErrorKind::KeyState, format!("key '{label}' is {} and may not {verb}", self.description.state))
            .with_hint(match self.description.state {
                KeyState::Disabled => format!("`keyward key enable {label}` allows it again"),
                KeyState::Pending => "it is just being made; try again, or create it anew if its maker died".to_owned(),
                _ => "rotate the key to make a version that may".to_owned(),
            })
    }
}

/// What the usage attributes allow.
struct Usage {
    encrypt: bool,
    decrypt: bool,
    wrap: bool,
    unwrap: bool,
    sign: bool,
    derive: bool,
}

impl Usage {
    fn read(shown: &Attributes, class: KeyClass) -> Self {
        let flag = |of| shown.flag(of).unwrap_or(false);
        Self {
            // Private keys have no CKA_ENCRYPT and CKA_WRAP; some tokens show them nevertheless.
            encrypt: class == KeyClass::Aes && flag(Attribute::Encrypt),
            decrypt: flag(Attribute::Decrypt),
            wrap: class == KeyClass::Aes && flag(Attribute::Wrap),
            unwrap: flag(Attribute::Unwrap),
            sign: flag(Attribute::Sign),
            derive: flag(Attribute::Derive),
        }
    }

    fn algorithm(&self, class: KeyClass, record: Option<&Record>) -> WrappingAlgorithm {
        match record.map(|record| record.algorithm) {
            Some(algorithm) if KeyClass::of(algorithm) == class => algorithm,
            _ => match class {
                KeyClass::Rsa => WrappingAlgorithm::RsaOaep,
                // One that can both is for AES-GCM, and its other purpose is what is wrong with it.
                KeyClass::Aes if (self.wrap || self.unwrap) && !(self.encrypt && self.decrypt) => {
                    WrappingAlgorithm::AesKw
                }
                KeyClass::Aes => WrappingAlgorithm::AesGcm,
            },
        }
    }

    /// May it protect, may it recover?
    fn allows(&self, algorithm: WrappingAlgorithm) -> (bool, bool) {
        match algorithm {
            WrappingAlgorithm::AesGcm => (self.encrypt, self.decrypt),
            WrappingAlgorithm::AesKw => (self.wrap, self.unwrap),
            // Protecting happens on the host: whether this is the current version decides.
            _ => (self.decrypt, self.decrypt),
        }
    }

    fn state(&self, algorithm: WrappingAlgorithm, lookup: &RecordLookup) -> KeyState {
        // Until its record is finished a key is its maker's alone, whatever it may do already: the
        // maker destroys it if the proof fails, and it must not have been used by then. So it is with one that
        // another host has claimed.
        match lookup {
            RecordLookup::Claimed(_) => return KeyState::Pending,
            RecordLookup::Found(record) if record.canary.is_none() => return KeyState::Pending,
            _ => {}
        }
        match self.allows(algorithm) {
            (true, true) => KeyState::Active,
            (false, true) => KeyState::Retired,
            _ => KeyState::Disabled,
        }
    }

    /// One purpose per key: one that can both wrap and decrypt gives its data keys away.
    fn add_problems(&self, problems: &mut Vec<String>, algorithm: WrappingAlgorithm) {
        let foreign: &[(bool, &str)] = match algorithm {
            WrappingAlgorithm::AesKw => &[(self.encrypt, "CKA_ENCRYPT"), (self.decrypt, "CKA_DECRYPT")],
            _ => &[(self.wrap, "CKA_WRAP"), (self.unwrap, "CKA_UNWRAP")],
        };
        let never = [(self.sign, "CKA_SIGN"), (self.derive, "CKA_DERIVE")];
        for (_, attribute) in foreign.iter().chain(&never).filter(|(set, _)| *set) {
            problems.push(format!("{attribute} is true on a key for {algorithm}: a key has one purpose"));
        }
        if self.allows(algorithm) == (true, false) {
            problems.push("it may protect but not recover".to_owned());
        }
    }
}

/// What is missing of the protection that a master key must have.
///
/// A key that an operator adopted was made elsewhere, perhaps imported on purpose; of that one only
/// what holds now is asked, not what always held. So it is with a key that was wrapped for another token or
/// put together: its record says so, and who uses it has to accept that ([`HsmProvider::accept`]).
///
/// [`HsmProvider::accept`]: super::HsmProvider::accept
fn protection_problems(shown: &Attributes, provenance: Provenance) -> Vec<String> {
    /// An attribute, what it must be, and its name.
    type Wanted = (fn(bool) -> Attribute, bool, &'static str);
    let now: [Wanted; 3] = [
        (Attribute::Private, true, "CKA_PRIVATE"),
        (Attribute::Sensitive, true, "CKA_SENSITIVE"),
        (Attribute::Extractable, false, "CKA_EXTRACTABLE"),
    ];
    let ever: [Wanted; 3] = [
        (Attribute::AlwaysSensitive, true, "CKA_ALWAYS_SENSITIVE"),
        (Attribute::NeverExtractable, true, "CKA_NEVER_EXTRACTABLE"),
        (Attribute::Local, true, "CKA_LOCAL"),
    ];
    let asked = match provenance {
        Provenance::Adopted | Provenance::TrustedWrap | Provenance::Components => &[][..],
        Provenance::Generated | Provenance::Foreign => &ever[..],
    };
    // What a token keeps of a key's past contradicts what the key is now. No token does that by itself.
    let impossible = [
        (
            Attribute::Extractable as fn(bool) -> Attribute,
            true,
            Attribute::NeverExtractable as fn(bool) -> Attribute,
            "CKA_EXTRACTABLE is true and CKA_NEVER_EXTRACTABLE as well",
        ),
        (
            Attribute::Sensitive,
            false,
            Attribute::AlwaysSensitive,
            "CKA_SENSITIVE is false and CKA_ALWAYS_SENSITIVE true",
        ),
    ];
    let tampered = impossible
        .iter()
        .filter(|(is, value, was, _)| shown.flag(*is) == Some(*value) && shown.flag(*was) == Some(true));
    let tampered = tampered.map(|(_, _, _, what)| format!("tampering: {what}, which no token does by itself"));
    let missing = now.iter().chain(asked).filter_map(|(of, wanted, name)| match shown.flag(*of) {
        Some(is) if is == *wanted => None,
        Some(is) => Some(format!("{name} is {is}, not {wanted}")),
        // What cannot be seen is not believed.
        None => Some(format!("{name} cannot be read")),
    });
    tampered.chain(missing).collect()
}

/// The same for an adoption, where all of it is told.
pub(super) fn history_warnings(shown: &Attributes) -> Vec<String> {
    protection_problems(shown, Provenance::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let parsed =
            |label: &str| parse_label(label.as_bytes()).map(|(name, version)| (name.to_string(), version.get()));
        assert_eq!(parsed("a:1"), Some(("a".into(), 1)));
        assert_eq!(parsed("a/b.c:42"), Some(("a/b.c".into(), 42)));
        assert_eq!(parsed("vendor-key"), Some(("vendor-key".into(), 1)));
        for other in ["", ":1", "a:", "a:0", "a:01", "a:x", "a:1:2", "with space", "a b:1"] {
            assert_eq!(parsed(other), None, "{other}");
        }
        assert_eq!(parse_label(b"\xff:1"), None);
    }
}
