//! Wrappers that implement [`KeyProvider`](crate::KeyProvider) around others.

mod failover;
mod health;
mod managed;
mod member;
mod members;
mod watched;

pub use failover::Failover;
pub use health::MemberHealth;
pub use managed::{ManagedKey, managed_key};
pub use member::Member;
