//! Who signs the audit log's heads, and who keeps the last of them where no file can be cut.

use crate::error::Result;

/// Signs with an ECDSA key on the curve P-256 that stays where it is.
pub trait Signer: Send + Sync {
    /// The public half: an uncompressed point (SEC 1), `04 ‖ x ‖ y`.
    fn public_point(&self) -> [u8; 65];

    /// The signature of the SHA-256 hash of `message`: `r ‖ s`, 32 bytes each.
    ///
    /// # Errors
    /// Those of the token that holds the key.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64]>;
}

/// Keeps the anchors of audit logs: a short text for each log.
pub trait AnchorStore: Send + Sync {
    /// The anchors of all logs. One log has more than one where a writer was stopped between writing
    /// an anchor and removing the one before.
    ///
    /// # Errors
    /// Those of the token that holds them.
    fn anchors(&self) -> Result<Vec<String>>;

    /// Puts `text` in place of what there is under `name`. The old goes when the new is there.
    ///
    /// # Errors
    /// Those of the token that holds them.
    fn set_anchor(&self, name: &str, text: &str) -> Result<()>;
}
