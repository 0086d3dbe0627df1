//! The origin rule: what an RSA key opened goes under a symmetric key only if the caller vouches for it.

use super::{WrappedKey, WrappingAlgorithm};
use crate::error::{Error, ErrorKind, Result};

/// What the caller knows of who wrote the data that is moved to another key.
///
/// Anyone with the public half of an RSA key can write a whole valid file under it. Under a symmetric key the same
/// file would look as if a holder of that key had written it. So data that an RSA key opened goes under a symmetric
/// key, a customer's own key included, only if the caller asserts its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nothing but what the key that opens the data proves.
    #[default]
    Unverified,
    /// The caller knows, from outside the data, who wrote it.
    DangerAsserted,
}

impl Origin {
    /// Checks the move of data that `source` opened to `targets`.
    ///
    /// `source` is the algorithm of the entry that opened, and `targets` are those of the entries that were made for
    /// the data: facts of the token, never claims of the data.
    ///
    /// # Errors
    /// `OriginUnverified` if `source` is RSA, one of `targets` is not, and the origin is not asserted.
    pub fn check(self, source: WrappingAlgorithm, targets: impl IntoIterator<Item = WrappingAlgorithm>) -> Result<()> {
        let crosses = source.is_rsa() && targets.into_iter().any(|target| !target.is_rsa());
        match (crosses, self) {
            (false, _) | (_, Self::DangerAsserted) => Ok(()),
            (true, Self::Unverified) => Err(Error::new(
                ErrorKind::OriginUnverified,
                "an RSA key opened this, which proves nothing about its writer; it is not moved under a symmetric key",
            )),
        }
    }

    /// Checks the move of a wrapped key to `moved`.
    pub(crate) fn check_wrapped<'a>(
        self,
        source: &WrappedKey,
        moved: impl IntoIterator<Item = &'a WrappedKey>,
    ) -> Result<()> {
        self.check(source.algorithm(), moved.into_iter().map(WrappedKey::algorithm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use WrappingAlgorithm::{AesGcm, AesKw, CustomerKey, RsaOaep, RsaOaepSha1};

    #[test]
    fn rsa_to_symmetric_needs_the_assertion() {
        for source in WrappingAlgorithm::ALL {
            for target in WrappingAlgorithm::ALL {
                let crosses =
                    [RsaOaep, RsaOaepSha1].contains(&source) && [AesGcm, AesKw, CustomerKey].contains(&target);
                assert_eq!(Origin::Unverified.check(source, [target]).is_err(), crosses, "{source} to {target}");
                assert!(Origin::DangerAsserted.check(source, [target]).is_ok(), "{source} to {target}");
            }
        }
        assert!(Origin::Unverified.check(RsaOaep, [RsaOaep, AesGcm]).is_err(), "one of several is enough");
    }
}
