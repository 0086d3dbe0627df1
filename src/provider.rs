//! Wrappers that implement [`KeyProvider`](crate::KeyProvider) around others.

mod failover;
mod health;
mod member;
mod members;
mod watched;

pub use failover::Failover;
pub use health::MemberHealth;
pub use member::Member;
