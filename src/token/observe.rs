//! What can be watched from outside: counters and histograms through the `metrics` facade, where the
//! feature of that name is on. Labels are the token's, functions and return codes; never a key's name
//! or a value.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `keyward_token_calls_total` | counter | `token`, `function`, `code` |
//! | `keyward_token_call_seconds` | histogram | `token`, `function` |
//! | `keyward_session_wait_seconds` | histogram | `token` |
//! | `keyward_token_reopened_total` | counter | `token`, `outcome` (`opened`, `failed`) |
//! | `keyward_token_down` | gauge, 1 while the token is away | `token` |
//! | `keyward_key_cache_total` | counter | `token`, `outcome` (`hit`, `miss`) |

#![cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unnecessary_wraps))]

use std::sync::Arc;
use std::time::Instant;

/// A call was made, and answered with this code.
pub(super) fn called(token: &Arc<str>, function: &'static str, code: &str, began: Instant) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("keyward_token_calls_total", "token" => Arc::clone(token), "function" => function, "code" => code.to_owned())
            .increment(1);
        metrics::histogram!("keyward_token_call_seconds", "token" => Arc::clone(token), "function" => function)
            .record(began.elapsed());
    }
}

/// A session was lent.
pub(super) fn waited(token: &Arc<str>, began: Instant) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("keyward_session_wait_seconds", "token" => Arc::clone(token)).record(began.elapsed());
}

/// The token went away.
pub(super) fn down(token: &Arc<str>) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("keyward_token_down", "token" => Arc::clone(token)).set(1.0);
}

/// It was tried to open the token again.
pub(super) fn reopened(token: &Arc<str>, is_up: bool) {
    #[cfg(feature = "metrics")]
    {
        let outcome = if is_up { "opened" } else { "failed" };
        metrics::counter!("keyward_token_reopened_total", "token" => Arc::clone(token), "outcome" => outcome)
            .increment(1);
        if is_up {
            metrics::gauge!("keyward_token_down", "token" => Arc::clone(token)).set(0.0);
        }
    }
}

/// A key was looked for among those found lately.
pub(super) fn cached(token: &Arc<str>, hit: bool) {
    #[cfg(feature = "metrics")]
    {
        let outcome = if hit { "hit" } else { "miss" };
        metrics::counter!("keyward_key_cache_total", "token" => Arc::clone(token), "outcome" => outcome).increment(1);
    }
}
