//! Wrappers that implement [`KeyProvider`](crate::KeyProvider) around others.

mod cached;
mod failover;
#[cfg(feature = "governed")]
mod governed;
mod health;
mod managed;
mod member;
mod members;
mod watched;

#[cfg(feature = "object-store")]
pub(crate) use cached::Kept;
pub use cached::{CacheLimits, CacheStats, Cached};
pub use failover::Failover;
#[cfg(feature = "governed")]
pub use governed::Governed;
pub use health::MemberHealth;
pub use managed::{ManagedKey, managed_key};
pub use member::Member;
