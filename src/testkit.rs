//! For the tests of programs that link Keyward: fresh SoftHSM tokens in one line, and a provider in
//! memory.
//!
//! ```no_run
//! use keyward::{AlgorithmChoice, KeyAdmin, testkit::SoftToken};
//! let token = SoftToken::new();
//! let hsm = token.provider();
//! hsm.create_key(&"records".parse()?, AlgorithmChoice::Auto)?;
//! # Ok::<(), keyward::Error>(())
//! ```

mod memory;
mod token;

pub use memory::MemoryProvider;
pub use token::SoftToken;
