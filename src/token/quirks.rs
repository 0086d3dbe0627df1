//! Where tokens differ, in one table: what Keyward does otherwise on some, and why.
//!
//! A row applies where the token's manufacturer and model begin with what it says. Rows are read
//! from the top; the last is for every token that no other names, and says what the standard says.

use super::info::TokenInfo;
use cryptoki::error::Result;
use cryptoki::mechanism::MechanismType;

/// How a token differs from the standard, or from what the standard leaves open.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Whose tokens the row is for.
    pub vendor: &'static str,
    manufacturer: &'static str,
    model: &'static str,
    /// The number of the mechanism for AES Key Wrap without padding (RFC 3394), where it is not the
    /// standard's.
    key_wrap: Option<u64>,
    /// Who chooses the IV of AES-GCM.
    pub(super) iv: Iv,
    /// Whether a write fails beside other calls of the process, or lets them fail.
    pub(super) writes_alone: bool,
    /// Whether Keyward's tests run on such a token. Otherwise the row is from its public manuals.
    pub tested: bool,
}

/// Who chooses the IV of AES-GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Iv {
    /// Keyward, from the token's generator.
    Ours,
    /// The token: it takes zeros and writes the one that it used in their place.
    Tokens,
}

/// For tokens that no row names.
const STANDARD: Quirks = Quirks {
    vendor: "any other",
    manufacturer: "",
    model: "",
    key_wrap: None,
    iv: Iv::Ours,
    writes_alone: false,
    tested: false,
};

const TABLE: [Quirks; 3] = [
    // Making or destroying a token object while another thread searches fails one or the other.
    Quirks { vendor: "SoftHSM", manufacturer: "SoftHSM", writes_alone: true, tested: true, ..STANDARD },
    // Answers DEVICE_MEMORY to writes at the same time.
    Quirks { vendor: "Kryoptic", manufacturer: "Kryoptic", writes_alone: true, tested: true, ..STANDARD },
    STANDARD,
];

impl Quirks {
    /// The row for a token.
    pub(super) fn of(token: &TokenInfo) -> &'static Self {
        let applies =
            |row: &&Self| token.manufacturer.starts_with(row.manufacturer) && token.model.starts_with(row.model);
        TABLE.iter().find(applies).unwrap_or(&TABLE[TABLE.len() - 1])
    }

    pub(super) fn vendor_key_wrap(&self) -> Result<Option<MechanismType>> {
        self.key_wrap.map(MechanismType::new_vendor_defined).transpose()
    }
}
