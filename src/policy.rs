//! Policies: who may do what with which key under which encryption context, decided by Cedar.
//!
//! A policy file is written in [Cedar](https://www.cedarpolicy.com) and checked against [`SCHEMA`] when it
//! is loaded. What no policy permits is denied, and what one forbids is denied whatever others permit.
//! `docs/policies.md` says how to write one.
//!
//! ```
//! use keyward::key::{Operation, Principal};
//! use keyward::policy::{Decision, Policies, Request, Resource};
//! use keyward::{EncryptionContext, KeyName};
//!
//! let policies = Policies::parse(
//!     "shop.cedar",
//!     r#"@id("shop-opens-its-own")
//!     permit(
//!         principal == Keyward::User::"shop",
//!         action == Keyward::Action::"Unwrap",
//!         resource == Keyward::Key::"payments"
//!     ) when {
//!         context.encryption_context.hasTag("tenant") && context.encryption_context.getTag("tenant") == "acme"
//!     };"#,
//! )?;
//! let shop = Principal::new("shop")?;
//! let key: KeyName = "payments".parse()?;
//! let acme = EncryptionContext::from_pairs([("tenant", "acme")])?;
//!
//! let request = Request::new(&shop, Operation::Unwrap, Resource::Named(&key)).context(&acme);
//! assert!(policies.decide(&request).is_allowed());
//!
//! let Decision::Denied(denial) = policies.decide(&Request::new(&shop, Operation::Unwrap, Resource::Named(&key)))
//! else {
//!     panic!("allowed without a tenant");
//! };
//! assert_eq!(denial.to_string(), "no policy allows 'shop' to Unwrap with key 'payments'");
//! # Ok::<(), keyward::Error>(())
//! ```

mod decision;
mod entities;
mod index;
mod load;
mod read;
mod request;
mod rule;
mod text;

pub use decision::{Decision, Denial, DenialReason};
pub use request::{Request, Resource};
pub use rule::Rule;

use crate::error::Result;
use crate::key::KeyDescription;
use cedar_policy::Authorizer;
use decision::Found;
use entities::Vocabulary;
use index::Index;
use std::fmt;
use std::path::Path;

/// What policies may speak of, as a Cedar schema. `keyward policy schema` prints it, for editors.
pub const SCHEMA: &str = include_str!("policy/keyward.cedarschema");

/// A set of policies that was checked against [`SCHEMA`].
pub struct Policies {
    origin: String,
    rules: Vec<Rule>,
    warnings: Vec<String>,
    index: Index,
    vocabulary: Vocabulary,
    authorizer: Authorizer,
}

impl Policies {
    /// The most bytes of policies, in all files together.
    pub const MAX_LEN: usize = 1 << 20;
    /// The longest single policy, in bytes.
    pub const MAX_POLICY_LEN: usize = 16 << 10;
    /// The most policies.
    pub const MAX_POLICIES: usize = 10_000;

    /// The policies of one text; `name` is what errors and refusals call it.
    ///
    /// # Errors
    /// `InvalidArgument`, with line and column, where the text is no Cedar, does not keep to [`SCHEMA`], gives
    /// one `@id` twice, has a template or a test with `has`, or a limit is passed.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        load::load(name, [(name, text)])
    }

    /// The policies of a file, or of all files `*.cedar` of a directory in the order of their names.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `InvalidArgument` also where a file is not UTF-8 or a directory has no such
    /// file, and `Io` where one cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        read::read(path.as_ref())
    }

    /// Decides, without asking anybody for anything.
    ///
    /// With [`Resource::Named`] the answer may be [`Decision::NeedsKey`]; every other is the one that the
    /// whole key would get. With any other resource it is never `NeedsKey`.
    ///
    /// A policy that cannot be evaluated denies, whether it permits or forbids: Cedar by itself would go on
    /// without it, and what it was to forbid would be allowed.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        match self.vocabulary.put(request) {
            Ok(question) => {
                let mut found = Found::default();
                for set in self.index.matching(request.operation, &question) {
                    found.add(&self.authorizer.is_authorized(&question.request, set, &question.entities), &self.rules);
                }
                found.decide(self, request)
            }
            Err(why) => Decision::Denied(Denial::unanswerable(self, request, why)),
        }
    }

    /// Decides, by the name of the key alone where that is enough; `key` is called where it is not.
    /// The answer is never [`Decision::NeedsKey`].
    ///
    /// # Errors
    /// Those of `key`.
    pub fn decide_with(&self, request: &Request<'_>, key: impl FnOnce() -> Result<KeyDescription>) -> Result<Decision> {
        match self.decide(request) {
            Decision::NeedsKey => {
                let key = key()?;
                Ok(self.decide(&Request { resource: Resource::Key(&key), ..*request }))
            }
            decision => Ok(decision),
        }
    }

    /// The policies, in the order of their files.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is allowed but probably not meant, each a sentence. They are logged as well.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The file or directory, or what [`parse`](Self::parse) was told to call the text.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("origin", &self.origin).field("rules", &self.rules).finish_non_exhaustive()
    }
}
