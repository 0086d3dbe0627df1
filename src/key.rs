//! What keys are called, what data keys and wrapped keys are, and the two traits that are the seam
//! of the whole crate: [`KeyProvider`] and [`KeyAdmin`].

mod advice;
mod context;
mod customer;
mod data_key;
mod destroyed;
mod keeper;
mod locked;
mod name;
mod operation;
mod origin;
mod principal;
mod provenance;
mod provider;
mod public;
mod unwrapped;
mod wrapped;

pub use context::EncryptionContext;
pub use customer::CustomerKey;
pub use data_key::{DataKey, DataKeyLength};
pub use destroyed::{DestroyedKey, DestroyedVersion, UsedNumbers, VersionReuse};
pub use keeper::{AnchorOrder, HeadKeeper, HeadSignature, KeeperRecords};
pub use name::{KekId, KeyName, KeyVersion};
pub use operation::Operation;
pub use origin::Origin;
pub use principal::Principal;
pub use provenance::Provenance;
pub use provider::{Adoption, AlgorithmChoice, KeyAdmin, KeyDescription, KeyProvider, KeyRef, KeyState};
pub use public::{PublicKey, PublicKeyProvider};
pub use unwrapped::UnwrappedKey;
pub use wrapped::{WrapOccasion, WrappedKey, WrappedKeys, WrappingAlgorithm};

pub(crate) use unwrapped::{first_that_opens, rewrap};
pub(crate) use wrapped::{binding, binding_digest};
