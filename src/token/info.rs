//! What a token says of itself: its description and what it can do.

use crate::key::WrappingAlgorithm;
use cryptoki::slot::{Limit, Slot, TokenInfo as RawTokenInfo};

/// A token, as it describes itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenInfo {
    pub(super) slot: Slot,
    /// The label.
    pub label: String,
    /// The serial number.
    pub serial: String,
    /// The manufacturer.
    pub manufacturer: String,
    /// The model.
    pub model: String,
    /// The version of the firmware.
    pub firmware: String,
    /// The version of the hardware.
    pub hardware: String,
    /// Whether it was initialized.
    pub initialized: bool,
    /// Whether it has a user PIN.
    pub user_pin_set: bool,
    /// Whether private objects need a login.
    pub login_required: bool,
    /// Whether the PIN is entered at the token itself, so that none is passed.
    pub pin_pad: bool,
    /// Whether a wrong PIN was entered since the last right one.
    pub pin_count_low: bool,
    /// Whether one more wrong PIN locks it.
    pub pin_final_try: bool,
    /// Whether the user PIN is locked.
    pub pin_locked: bool,
    /// Whether nothing can be written.
    pub write_protected: bool,
    /// The most sessions at once, where it says so.
    pub max_sessions: Option<u64>,
}

impl TokenInfo {
    pub(super) fn new(slot: Slot, info: &RawTokenInfo) -> Self {
        Self {
            slot,
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            firmware: info.firmware_version().to_string(),
            hardware: info.hardware_version().to_string(),
            initialized: info.token_initialized(),
            user_pin_set: info.user_pin_initialized(),
            login_required: info.login_required(),
            pin_pad: info.protected_authentication_path(),
            pin_count_low: info.user_pin_count_low(),
            pin_final_try: info.user_pin_final_try(),
            pin_locked: info.user_pin_locked(),
            write_protected: info.write_protected(),
            max_sessions: match info.max_session_count() {
                Limit::Max(max) if max > 0 => Some(max),
                _ => None,
            },
        }
    }

    /// The slot's number, for information: it may change at every start.
    #[must_use]
    pub fn slot_id(&self) -> u64 {
        self.slot.id()
    }
}

/// What a token can do for Keyward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Makes AES keys and encrypts with AES-GCM.
    pub aes_gcm: bool,
    /// Makes AES keys and wraps with AES Key Wrap.
    pub aes_kw: bool,
    /// Makes RSA keys and decrypts with OAEP. Which hashes it takes shows only in use.
    pub rsa_oaep: bool,
    /// The names of all mechanisms that it lists.
    pub mechanisms: Vec<String>,
}

impl Capabilities {
    /// Whether keys of `algorithm` can be made.
    #[must_use]
    pub fn supports(&self, algorithm: WrappingAlgorithm) -> bool {
        match algorithm {
            WrappingAlgorithm::AesGcm => self.aes_gcm,
            WrappingAlgorithm::AesKw => self.aes_kw,
            WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => self.rsa_oaep,
            WrappingAlgorithm::CustomerKey => false,
        }
    }
}
