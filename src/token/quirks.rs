//! Where tokens differ, in one table: what Keyward does otherwise on some, and why.
//!
//! A row applies where the token's manufacturer and model are those that it names, or the token lists
//! the mechanism that it names. Rows are read from the top; the last is for every other token.
//! Rows that are not tested are from the vendors' public manuals, which `docs/tokens.md` names.

use cryptoki::error::Result;
use cryptoki::mechanism::MechanismType;

/// How a token differs from the standard, or from what the standard leaves open.
#[derive(Debug)]
#[non_exhaustive]
pub struct Quirks {
    /// Whose tokens the row is for.
    pub vendor: &'static str,
    /// Whether Keyward's tests run on such a token. Otherwise the row is from public manuals.
    pub tested: bool,
    /// What an operator should know, each a sentence.
    pub notes: &'static [&'static str],
    token: Known,
    key_wrap: KeyWrap,
    pub(super) iv: Iv,
    /// Whether a write fails beside other calls of the process, or lets them fail.
    pub(super) writes_alone: bool,
    /// Whether `C_UnwrapKey` wants to be told how long the key is. Others refuse to be told.
    pub(super) unwrap_wants_length: bool,
}

/// What a token is known by. A `*` at the end stands for any text.
#[derive(Debug)]
enum Known {
    By { manufacturer: &'static str, model: &'static str },
    ByMechanism(u64),
    Any,
}

/// The mechanism for AES Key Wrap without padding (RFC 3394).
#[derive(Debug)]
enum KeyWrap {
    /// `CKM_AES_KEY_WRAP`, 0x2109.
    Standard,
    /// The same where the token lists it, else this one.
    StandardOr(u64),
    /// This one. The standard's number means something else here.
    Vendor(u64),
}

/// Who chooses the IV of AES-GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Iv {
    /// Keyward, from the token's generator.
    Ours,
    /// The token: it takes zeros and writes the one that it used in their place.
    Tokens,
}

const STANDARD: Quirks = Quirks {
    vendor: "no known vendor",
    tested: false,
    notes: &[],
    token: Known::Any,
    key_wrap: KeyWrap::Standard,
    iv: Iv::Ours,
    writes_alone: false,
    unwrap_wants_length: false,
};

static TABLE: [Quirks; 7] = [
    Quirks {
        vendor: "SoftHSM",
        tested: true,
        notes: &["no HSM: keys lie in files", "RSA-OAEP with SHA-1 only"],
        token: Known::By { manufacturer: "SoftHSM*", model: "*" },
        // Making or destroying a token object while another thread searches fails one or the other.
        writes_alone: true,
        ..STANDARD
    },
    Quirks {
        vendor: "Kryoptic",
        tested: true,
        notes: &["no HSM: keys lie in a database", "locks the PIN after ten wrong ones"],
        token: Known::By { manufacturer: "Kryoptic*", model: "*" },
        // Answers DEVICE_MEMORY to writes at the same time.
        writes_alone: true,
        ..STANDARD
    },
    Quirks {
        vendor: "Thales Luna",
        notes: &[
            "in FIPS mode the HSM chooses the IV of AES-GCM and appends it to the ciphertext, which is not supported: use aes-kw or rsa-oaep keys",
        ],
        token: Known::By { manufacturer: "SafeNet", model: "*" },
        key_wrap: KeyWrap::StandardOr(0x8000_0170), // CKM_AES_KW
        unwrap_wants_length: true,                  // before firmware 7.9.3
        ..STANDARD
    },
    Quirks {
        vendor: "AWS CloudHSM (Client SDK 5)",
        notes: &[
            "the PIN is USER:PASSWORD",
            "no C_SetAttributeValue and no data objects: make keys with CloudHSM's own tool; they can be used, not rotated or disabled",
        ],
        // CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, which nobody else lists.
        token: Known::ByMechanism(0x8000_2109),
        // In older SDKs 0x2109 pads.
        key_wrap: KeyWrap::Vendor(0x8000_2109),
        iv: Iv::Tokens,
        ..STANDARD
    },
    Quirks {
        vendor: "Entrust nShield",
        notes: &[
            "set CKNFAST_ASSUME_SINGLE_PROCESS=0, or keys that another process makes are not seen",
            "module-protected keys are public objects, which are not used: protect keys by a card set",
        ],
        token: Known::By { manufacturer: "nCipher*", model: "*" },
        iv: Iv::Tokens,
        ..STANDARD
    },
    Quirks {
        vendor: "YubiHSM 2",
        notes: &[
            "no AES-GCM and no AES key wrap: RSA-OAEP only",
            "attributes do not change and private data objects are refused: keys can be used, not made, rotated or disabled",
        ],
        token: Known::By { manufacturer: "Yubico*", model: "YubiHSM*" },
        ..STANDARD
    },
    STANDARD,
];

impl Quirks {
    /// The row for a token that lists these mechanisms.
    pub(super) fn of(manufacturer: &str, model: &str, listed: &[MechanismType]) -> &'static Self {
        let applies = |row: &&Self| match row.token {
            Known::By { manufacturer: made_by, model: named } => fits(made_by, manufacturer) && fits(named, model),
            Known::ByMechanism(number) => lists(listed, number),
            Known::Any => true,
        };
        TABLE.iter().find(applies).unwrap_or(&TABLE[TABLE.len() - 1])
    }

    /// The mechanism for AES Key Wrap on a token that lists these.
    pub(super) fn key_wrap(&self, listed: &[MechanismType]) -> Result<MechanismType> {
        match self.key_wrap {
            KeyWrap::Vendor(number) => MechanismType::new_vendor_defined(number),
            KeyWrap::StandardOr(number) if !listed.contains(&MechanismType::AES_KEY_WRAP) => {
                MechanismType::new_vendor_defined(number)
            }
            _ => Ok(MechanismType::AES_KEY_WRAP),
        }
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

fn lists(listed: &[MechanismType], number: u64) -> bool {
    MechanismType::new_vendor_defined(number).is_ok_and(|vendor| listed.contains(&vendor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_what_it_says() {
        assert_eq!(Quirks::of("SoftHSM project", "SoftHSM v2", &[]).vendor, "SoftHSM");
        assert_eq!(Quirks::of("SafeNet", "LunaSA 7.4.0", &[]).vendor, "Thales Luna");
        // The eToken is no Luna.
        assert_eq!(Quirks::of("SafeNet, Inc.", "eToken", &[]).vendor, STANDARD.vendor);
        assert_eq!(Quirks::of("Yubico (www.yubico.com)", "YubiHSM", &[]).vendor, "YubiHSM 2");
        assert_eq!(Quirks::of("Yubico (www.yubico.com)", "YubiKey YK5", &[]).vendor, STANDARD.vendor);
        let cloud = MechanismType::new_vendor_defined(0x8000_2109).unwrap();
        assert_eq!(Quirks::of("", "", &[cloud]).vendor, "AWS CloudHSM (Client SDK 5)");
        assert_eq!(Quirks::of("", "", &[]).vendor, STANDARD.vendor);
    }

    #[test]
    fn key_wrap_is_the_mechanism_that_does_not_pad() {
        let standard = MechanismType::AES_KEY_WRAP;
        let number = |of: MechanismType| *of;
        assert_eq!(number(STANDARD.key_wrap(&[]).unwrap()), 0x2109);
        let luna = Quirks::of("SafeNet", "", &[]);
        assert_eq!(number(luna.key_wrap(&[standard]).unwrap()), 0x2109);
        assert_eq!(number(luna.key_wrap(&[]).unwrap()), 0x8000_0170);
        let cloud = MechanismType::new_vendor_defined(0x8000_2109).unwrap();
        assert_eq!(number(Quirks::of("", "", &[cloud]).key_wrap(&[standard, cloud]).unwrap()), 0x8000_2109);
    }
}
