//! Keys that are on two tokens, or come to one from outside: by which ways, and what that costs.
//!
//! | way | how | what the token says afterwards |
//! |---|---|---|
//! | sibling | each token makes a key of its own of the same name ([`create_planned`]), and data keys are wrapped under both ([`Failover`]) | never extractable, local |
//! | [`trusted_wrap`] | generated on one token and wrapped there, with RSA-OAEP, under a public key whose private half is on the other | was extractable for a moment |
//! | [`import_components`] | people bring components; their XOR is the key | neither local nor always sensitive |
//! | clone | the vendor's own means; [`prove_same`] tells whether it worked | as the vendor does it |
//!
//! The sibling is the way to choose: nothing is ever exported. Keys that came by the next two are used only by
//! providers that [accept](crate::hsm::HsmProvider::accept) that.
//!
//! Nothing here wraps a key under an AES key. Where it is the security officer who made one, its value lies
//! in clear on SoftHSM; RSA-OAEP under a key whose private half never left the backup token is the only way out.
//!
//! [`create_planned`]: crate::hsm::HsmProvider::create_planned
//! [`Failover`]: crate::provider::Failover

mod arrival;
mod components;
mod transport;
mod trusted_wrap;

pub use components::{Component, check_value, import_components};
pub use transport::{TransportKey, TransportPublicKey};
pub use trusted_wrap::{TrustedWrap, trusted_wrap};

use super::HsmProvider;
use crate::error::{Error, ErrorKind, Result};
use crate::key::KekId;

/// The label of transport keys. With a blank, it is no key's name.
pub(super) const TRANSPORT_LABEL: &str = "keyward transport";

/// Proves that two tokens hold the same key: each opens what the other wrapped.
///
/// ```no_run
/// # let (one, other): (keyward::hsm::HsmProvider, keyward::hsm::HsmProvider) = unimplemented!();
/// # let id = keyward::KekId::from_bytes([7; 16]);
/// keyward::hsm::backup::prove_same(&one, &other, id)?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `NotAuthentic` where the keys are two; `InvalidArgument` where the tokens are one; `KeyNotFound` where one of
/// them has no key of that id; and as [`HsmProvider::make_canary`].
pub fn prove_same(one: &HsmProvider, other: &HsmProvider, id: KekId) -> Result<()> {
    refuse_same_token(one, other)?;
    other.open_canary(&one.make_canary(id)?)?;
    one.open_canary(&other.make_canary(id)?)
}

/// A token is no backup of itself.
fn refuse_same_token(one: &HsmProvider, other: &HsmProvider) -> Result<()> {
    let (one, other) = (one.token().info(), other.token().info());
    let same = |of: fn(&crate::token::TokenInfo) -> &str| of(one) == of(other);
    match same(|info| &info.serial) && same(|info| &info.manufacturer) && same(|info| &info.model) {
        true => Err(Error::new(ErrorKind::InvalidArgument, format!("both are the token '{}'", one.label))),
        false => Ok(()),
    }
}
