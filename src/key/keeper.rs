//! The tokens that keep an audit log: they sign its heads and hold its anchors.

use crate::error::Result;

/// What a token knows of audit logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeeperRecords {
    /// The public halves that verify heads, as uncompressed points (SEC 1), `04 ‖ x ‖ y`: first that of the key that
    /// signs now, then those of keys that it replaced and of keys on other tokens.
    pub points: Vec<[u8; 65]>,
    /// The texts of the anchors.
    pub anchors: Vec<String>,
}

/// A signature by a keeper's current key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSignature {
    /// The public half of the key: an uncompressed point.
    pub point: [u8; 65],
    /// `r ‖ s`, 32 bytes each.
    pub signature: [u8; 64],
}

/// How an anchor on a token relates to the one that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorOrder {
    /// An earlier state of the same chain, which the new anchor supersedes.
    Lower,
    /// The same state.
    Same,
    /// A later state of the same chain, which supersedes the new anchor.
    Higher,
    /// Nothing that this writer may judge. It stays as it is.
    Unrelated,
}

/// Signs the heads of audit logs with an ECDSA key on the curve P-256, and holds their anchors, which an attacker who
/// writes the log's files cannot reach.
pub trait HeadKeeper: Send + Sync {
    /// Returns the keys that verify heads and the anchors of the log `name`, or those of all logs without a name. One
    /// log has several anchors if a writer was stopped between writing one and removing the one before.
    ///
    /// # Errors
    /// `KeyNotFound` if the token has no audit key, and those of the token.
    fn read(&self, name: Option<&str>) -> Result<KeeperRecords>;

    /// Signs the SHA-256 hash of `message`.
    ///
    /// # Errors
    /// `KeyNotFound` if the token has no audit key, and those of the token.
    fn sign(&self, message: &[u8]) -> Result<HeadSignature>;

    /// Writes `text` as the anchor of the log `name`, unless a higher one is there. `order` compares every anchor of that
    /// name with the new one, before it is written and again afterwards: lower ones are destroyed once the new one is
    /// there, and the new one if a higher one arrived meanwhile.
    ///
    /// # Errors
    /// Those of `order`, after which nothing more is changed, and those of the token.
    fn set_anchor(&self, name: &str, text: &str, order: &dyn Fn(&str) -> Result<AnchorOrder>) -> Result<()>;
}
