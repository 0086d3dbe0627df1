//! For the tests of programs that link Keyward: fresh SoftHSM tokens in one line, a provider in memory, and one that
//! fails when a test says so. `docs/testing.md` has what a project needs beside them.
//!
//! ```no_run
//! use keyward::{AlgorithmChoice, KeyAdmin, testkit::SoftToken};
//! let token = SoftToken::new();
//! let hsm = token.provider();
//! hsm.create_key(&"records".parse()?, AlgorithmChoice::Auto)?;
//! # Ok::<(), keyward::Error>(())
//! ```

mod failing;
mod memory;
mod token;

pub use failing::Failing;
pub use memory::MemoryProvider;
pub use token::SoftToken;
