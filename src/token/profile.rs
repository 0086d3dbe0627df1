//! What a token can do, and how it differs from others.

use super::fault::fault;
use super::gate::Access;
use super::info::{Capabilities, TokenInfo};
use super::module::Module;
use super::quirks::Quirks;
use crate::error::Result;
use cryptoki::mechanism::MechanismType;

/// What a token can do, and how it differs from others.
pub(super) struct TokenProfile {
    pub(super) capabilities: Capabilities,
    pub(super) quirks: &'static Quirks,
    /// The mechanism for AES Key Wrap without padding.
    pub(super) key_wrap: MechanismType,
}

impl Module {
    /// Returns what the token can do, by the mechanisms and flags that it lists.
    ///
    /// # Errors
    /// `TokenUnavailable` where it cannot list them.
    pub fn capabilities(&self, token: &TokenInfo) -> Result<Capabilities> {
        let _pass = self.enter(Access::Shared)?;
        Ok(self.profile_inside(token)?.capabilities)
    }

    /// Returns the profile of a token, for a caller that is inside the module.
    pub(super) fn profile_inside(&self, token: &TokenInfo) -> Result<TokenProfile> {
        let action = "list the mechanisms";
        let context = self.context();
        let listed = match &self.functions {
            Some(functions) => functions.mechanisms(token.slot),
            None => context.get_mechanism_list(token.slot),
        };
        let listed = listed.map_err(|cause| fault(action, cause))?;
        let quirks = Quirks::of(&token.manufacturer, &token.model, &listed);
        let key_wrap = quirks.key_wrap(&listed).map_err(|cause| fault(action, cause))?;
        // A mechanism that is listed and then not described is not counted on.
        let info = |mechanism| {
            listed.contains(&mechanism).then(|| context.get_mechanism_info(token.slot, mechanism).ok()).flatten()
        };
        let aes_keys = info(MechanismType::AES_KEY_GEN).is_some_and(|info| info.generate());
        let rsa_keys = info(MechanismType::RSA_PKCS_KEY_PAIR_GEN).is_some_and(|info| info.generate_key_pair());
        let capabilities = Capabilities {
            aes_gcm: aes_keys && info(MechanismType::AES_GCM).is_some_and(|info| info.encrypt() && info.decrypt()),
            aes_kw: aes_keys && info(key_wrap).is_some_and(|info| info.wrap() && info.unwrap()),
            rsa_oaep: rsa_keys && info(MechanismType::RSA_PKCS_OAEP).is_some_and(|info| info.decrypt()),
            mechanisms: listed.iter().map(ToString::to_string).collect(),
        };
        Ok(TokenProfile { capabilities, quirks, key_wrap })
    }
}
