//! Key ceremonies without a token.
