//! One suite that every token must pass, and the tokens that it is run on. What a token cannot do is
//! found out by trying, skipped, and counted aloud. The rows of the matrix in `docs/tokens.md` are what came
//! out: one that is no longer true fails.
//!
//! On a token of one's own (the suite makes keys with names of its own and destroys them again):
//!
//! ```sh
//! KEYWARD_TOKEN='pkcs11:…' cargo test --features testkit --test conformance -- --ignored suite::child --nocapture
//! ```
mod cases;
mod suite;
mod tokens;
