//! What a script says.

use crate::codes;
use cryptoki_sys::CK_RV;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The functions that can go wrong.
pub(crate) const FUNCTIONS: &[&str] = &[
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_InitToken",
    "C_InitPIN",
    "C_OpenSession",
    "C_CloseSession",
    "C_GetSessionInfo",
    "C_Login",
    "C_Logout",
    "C_CreateObject",
    "C_CopyObject",
    "C_DestroyObject",
    "C_GetAttributeValue",
    "C_SetAttributeValue",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_EncryptInit",
    "C_Encrypt",
    "C_DecryptInit",
    "C_Decrypt",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_WrapKey",
    "C_UnwrapKey",
    "C_GenerateRandom",
    "C_SignInit",
    "C_Sign",
];

#[derive(Debug, Default)]
pub(crate) struct Script(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// None: every function.
    function: Option<&'static str>,
    calls: Calls,
    action: Action,
    seen: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    Between(u64, u64),
    Percent(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Answer(CK_RV),
    Late(CK_RV),
    Delay(Duration),
    Hang,
    Short(u64),
    Long(u64),
    Twice,
    DropSessions,
    LoseLogin,
    WriteIv,
    ZeroIv,
    TooSmallFirst,
    Dead,
    Kill,
    KillAfter,
    Log,
    MaxObjects(u64),
    MaxValue(u64),
    NoDataObjects,
}

impl Script {
    /// The script in `text`; else the first line that makes no sense.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines
            .filter(|line| !line.is_empty())
            .map(|line| parse_rule(line).ok_or_else(|| line.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What is to be done to this call.
    pub(crate) fn actions(&self, function: &str) -> Vec<Action> {
        let applies = |rule: &&Rule| rule.function.is_none_or(|one| one == function) && rule.counts();
        self.0.iter().filter(applies).map(|rule| rule.action).collect()
    }
}

impl Rule {
    fn counts(&self) -> bool {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        match self.calls {
            Calls::Between(first, last) => (first..=last).contains(&number),
            // Weyl's sequence through a mixer: by chance enough, and the same in every run.
            Calls::Percent(percent) => {
                let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                (mixed ^ (mixed >> 31)) % 100 < percent
            }
        }
    }
}

fn parse_rule(line: &str) -> Option<Rule> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (function, calls, action, argument) = match words[..] {
        [function, calls, action] => (function, calls, action, None),
        [function, calls, action, argument] => (function, calls, action, Some(argument)),
        _ => return None,
    };
    let function = match function {
        "*" => None,
        name => Some(*FUNCTIONS.iter().find(|known| **known == name)?),
    };
    let action = match (action, argument) {
        ("answer", Some(code)) => Action::Answer(codes::parse(code)?),
        ("late", Some(code)) => Action::Late(codes::parse(code)?),
        ("delay", Some(duration)) => Action::Delay(parse_duration(duration)?),
        ("short", Some(n)) => Action::Short(n.parse().ok()?),
        ("long", Some(n)) => Action::Long(n.parse().ok()?),
        ("hang", None) => Action::Hang,
        ("twice", None) => Action::Twice,
        ("drop-sessions", None) => Action::DropSessions,
        ("lose-login", None) => Action::LoseLogin,
        ("write-iv", None) => Action::WriteIv,
        ("zero-iv", None) => Action::ZeroIv,
        ("too-small-first", None) => Action::TooSmallFirst,
        ("dead", None) => Action::Dead,
        ("kill", None) => Action::Kill,
        ("kill-after", None) => Action::KillAfter,
        ("log", None) => Action::Log,
        ("max-objects", Some(n)) => Action::MaxObjects(n.parse().ok()?),
        ("max-value", Some(n)) => Action::MaxValue(n.parse().ok()?),
        ("no-data-objects", None) => Action::NoDataObjects,
        _ => return None,
    };
    Some(Rule { function, calls: parse_calls(calls)?, action, seen: AtomicU64::new(0) })
}

fn parse_calls(text: &str) -> Option<Calls> {
    if text == "*" {
        return Some(Calls::Between(1, u64::MAX));
    }
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Calls::Percent);
    }
    match text.split_once('-') {
        None => text.parse().ok().map(|one| Calls::Between(one, one)),
        Some((first, "")) => Some(Calls::Between(first.parse().ok()?, u64::MAX)),
        Some((first, last)) => Some(Calls::Between(first.parse().ok()?, last.parse().ok()?)),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..unit].parse().ok()?;
    match &text[unit..] {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(script: &str, function: &str, calls: usize) -> Vec<Vec<Action>> {
        let script = Script::parse(script).unwrap();
        (0..calls).map(|_| script.actions(function)).collect()
    }

    #[test]
    fn rules_count_their_own_calls() {
        let script = "C_Encrypt 2 hang\n* 2-3 log # both\n\n";
        assert_eq!(
            actions(script, "C_Encrypt", 4),
            [vec![], vec![Action::Hang, Action::Log], vec![Action::Log], vec![]]
        );
        assert_eq!(actions(script, "C_Decrypt", 2), [vec![], vec![Action::Log]]);
        assert_eq!(actions("* 3- log", "C_Login", 4).concat().len(), 2);
    }

    #[test]
    fn chance_is_about_right() {
        let hits = actions("* 30% log", "C_Login", 10_000).concat().len();
        assert!((2_500..3_500).contains(&hits), "{hits}");
    }

    #[test]
    fn codes_and_durations() {
        assert_eq!(actions("* * answer CKR_DEVICE_ERROR", "C_Login", 1)[0], [Action::Answer(0x30)]);
        assert_eq!(actions("* * late 0x80000001", "C_Login", 1)[0], [Action::Late(0x8000_0001)]);
        assert_eq!(actions("* * delay 50us", "C_Login", 1)[0], [Action::Delay(Duration::from_micros(50))]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for bad in
            ["C_Nothing * hang", "* * answer CKR_NO", "* x hang", "* * delay 5", "* * hang 1", "* *", "* 101% log"]
        {
            assert_eq!(Script::parse(&format!("* * log\n{bad}")).unwrap_err(), bad);
        }
    }
}
