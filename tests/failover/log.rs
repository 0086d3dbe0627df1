//! What is logged, and how often.

use super::*;
use keyward::{DataKeyLength, KeyProvider};
use std::fmt::Write;
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Every event of this process as a line. Tests run side by side, so each looks for its own members.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// For all threads: the one that probes is not the test's.
struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        if line.0.contains("logged") {
            LINES.lock().unwrap().push(line.0);
        }
    }
}

#[test]
fn an_outage_is_said_once_and_so_is_its_end() {
    tracing::subscriber::set_global_default(Lines).unwrap();
    let (switches, _) = siblings(2);
    let names = ["steady", "logged"];
    let members = names.iter().zip(&switches).map(|(name, switch)| Member::new(*name, Arc::clone(switch)));
    let failover = Failover::siblings(members).unwrap();
    for outage in 1..=3 {
        switches[1].off();
        for _ in 0..5 {
            failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
        }
        wait_until("a probe in vain", || failover.health()[1].failures > 2 * outage - 1);
        switches[1].on();
        // It is back before that is said.
        let count = |what: &str| LINES.lock().unwrap().iter().filter(|line| line.contains(what)).count() as u64;
        wait_until("word of the return", || count("is back") == outage);
        failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
        let lines = LINES.lock().unwrap().clone();
        let said = |level: &str, what: &str| {
            lines.iter().filter(|line| line.starts_with(level) && line.contains(what)).count() as u64
        };
        assert_eq!(said("WARN", "went down"), outage, "{lines:?}");
        assert_eq!(said("WARN", "protecting without"), outage, "{lines:?}");
        assert_eq!(said("INFO", "is back"), outage, "{lines:?}");
        assert_eq!(lines.len() as u64, 3 * outage, "{lines:?}");
    }
}
