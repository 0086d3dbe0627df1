//! What a bundle claims, compared with the living objects of a token.
//!
//! One thing is proven: that a key opens the canary of the ceremony, which only the key that wrapped it does. All else is
//! what the module says, now as then. No token attests anything here: PKCS#11 has no attestation of AES keys.

use super::name::Name;
use super::plan::Finding;
use super::verify::{DestroyedClaim, KeyClaim, Verification};
use crate::audit::{Hash, Id};
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::{Canary, Claim, HsmProvider, KeyReport, TokenObject};
use crate::key::{KekId, KeyState};

/// What came of comparing a token with a bundle. Every line is a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Living {
    /// The token's serial number.
    pub serial: String,
    /// What the plan calls the token. More than one where the bundle tells of one serial number twice.
    pub tokens: Vec<Name>,
    /// Proven: which keys opened the canary of the ceremony, and are the ones that were made in it.
    pub proven: Vec<String>,
    /// Disproven: the ids of keys that do not open it, which are other keys.
    pub others: Vec<Id>,
    /// What the module says, and nothing here can prove.
    pub claimed: Vec<String>,
    /// What has changed since as it may: keys that were retired or disabled.
    pub changed: Vec<String>,
    /// What was not asked, and why: a key that is disabled opens nothing.
    pub not_asked: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Which attributes say what a key may be used for. Keyward takes them from keys that are retired or disabled; nobody has
/// a reason to give one back that a key did not have in its ceremony.
const USAGE: [&str; 7] =
    ["CKA_ENCRYPT", "CKA_DECRYPT", "CKA_WRAP", "CKA_UNWRAP", "CKA_SIGN", "CKA_VERIFY", "CKA_DERIVE"];

/// Compares what a bundle claims with a token, which must be one of those that it tells of: every key of the bundle that
/// is on this token is there once, under its `CKA_ID`, with its label, attributes and check value as they were, and opens
/// the canary of the ceremony; every key that was destroyed on it is still gone. Nothing on the token is changed. The
/// other tokens of the bundle are compared by another call each.
///
/// The provider may use the keys of the bundle, of whichever provenance they are there, and is made for this alone:
///
/// ```no_run
/// use keyward::{ceremony::{Bundle, Verdict, Verify, compare}, hsm::HsmProvider, key::Provenance, token::Token};
/// # fn token() -> keyward::Result<Token> { unimplemented!() }
/// let found = Verify::new(&Bundle::open("2026-11-payments".as_ref())?).run()?;
/// assert_eq!(found.verdict(), Verdict::Verified);
/// let hsm = HsmProvider::new(token()?)
///     .only(found.key_names())
///     .accept([Provenance::TrustedWrap, Provenance::Components]);
/// let living = compare(&found, &hsm)?;
/// assert!(living.is_ok(), "{:?}", living.findings);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `NotAuthentic` where something is wrong with the bundle itself: then no token is asked. Those of the token.
pub fn compare(verification: &Verification, hsm: &HsmProvider) -> Result<Living> {
    if !verification.is_intact() {
        return Err(Error::new(ErrorKind::NotAuthentic, "the bundle is not as it should be: no token is asked"));
    }
    let mut living = Living::of(hsm);
    let info = hsm.token().info();
    let of_it = verification.tokens.iter().filter(|token| token.serial == info.serial);
    for token in of_it {
        living.tokens.push(token.token.clone());
        if (&token.manufacturer, &token.model) != (&info.manufacturer, &info.model) {
            let now = format!("'{}' by '{}'", info.model, info.manufacturer);
            let message = format!("it is a {now}, and was a '{}' by '{}'", token.model, token.manufacturer);
            living.find(token.token.to_string(), message);
        }
    }
    if living.tokens.is_empty() {
        let known: Vec<_> =
            verification.tokens.iter().map(|token| format!("{} of {}", token.serial, token.token)).collect();
        let message = format!("it is no token of this bundle, whose serial numbers are {}", known.join(" and "));
        living.find(format!("serial number {}", info.serial), message);
        return Ok(living);
    }
    let objects = hsm.objects()?;
    let serial = Some(&info.serial);
    for claim in verification.keys.iter().filter(|claim| claim.serial.as_ref() == serial) {
        living.key(claim, hsm, &objects)?;
    }
    for claim in verification.destroyed.iter().filter(|claim| claim.serial.as_ref() == serial) {
        living.gone(claim, hsm)?;
    }
    living.claimed.push(format!("that this is the token with the serial number {}", info.serial));
    Ok(living)
}

/// The same for one key of a bundle. That nothing is wrong with the bundle is for the caller to see to.
///
/// # Errors
/// Those of the token.
pub fn compare_key(claim: &KeyClaim, hsm: &HsmProvider) -> Result<Living> {
    let mut living = Living::of(hsm);
    if claim.serial.as_deref() == Some(&*living.serial) {
        living.tokens.push(claim.token.clone());
    } else {
        let told = claim.serial.as_deref().unwrap_or("none that is told");
        let message = format!("the bundle tells of it on the token {} with the serial number {told}", claim.token);
        living.find(format!("serial number {}", living.serial), message);
    }
    living.key(claim, hsm, &hsm.objects()?)?;
    Ok(living)
}

impl Living {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }

    fn of(hsm: &HsmProvider) -> Self {
        Self { serial: hsm.token().info().serial.clone(), ..Self::default() }
    }

    fn find(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), message: message.into() });
    }

    fn key(&mut self, claim: &KeyClaim, hsm: &HsmProvider, objects: &[TokenObject]) -> Result<()> {
        let place = format!("'{}' on {}", claim.label, claim.token);
        let is_it = |object: &&TokenObject| object.class.ends_with("-key") && object.class != "public-key";
        let there: Vec<_> = objects.iter().filter(is_it).filter(|object| object.id == claim.id.as_bytes()).collect();
        match there.len() {
            0 => {
                self.find(place, format!("no key on the token has its CKA_ID {}", claim.id));
                return Ok(());
            }
            1 => {}
            more => self.find(&place, format!("{more} keys on the token have its CKA_ID {}", claim.id)),
        }
        for other in there.iter().filter(|object| object.label != claim.label) {
            self.find(&place, format!("its label is '{}'", other.label));
        }
        let report = match hsm.read_back(KekId::from_bytes(*claim.id.as_bytes())) {
            Ok(report) => report,
            // Two of its id, one that is public, or one that has the name of none of these keys.
            Err(error) if matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::DuplicateKey) => {
                self.find(&place, format!("it is not as a key of Keyward is, and was not asked: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.attributes(&place, claim, &report);
        self.public_key(&place, claim, &report)?;
        self.canary(&place, claim, &report, hsm)
    }

    fn attributes(&mut self, place: &str, claim: &KeyClaim, report: &KeyReport) {
        let before = self.findings.len();
        let mut taken = Vec::new();
        for (name, was) in &claim.attributes {
            let is_usage = USAGE.contains(&name.as_str());
            match report.claim(name) {
                Some(Claim::Flag(is)) if is == was => {}
                Some(Claim::Flag(false)) if is_usage => taken.push(name.as_str()),
                Some(Claim::Flag(is)) if is_usage => {
                    self.find(place, format!("{name} is {is}, and was {was}: it may be used for more than then"));
                }
                Some(Claim::Flag(is)) => self.find(place, format!("{name} is {is}, and was {was}")),
                _ => self.find(place, format!("{name} is not told, and was {was}")),
            }
        }
        for name in USAGE.iter().filter(|name| !claim.attributes.contains_key(**name)) {
            if report.claim(name) == Some(&Claim::Flag(true)) {
                self.find(place, format!("{name} is true, and was not told: it may be used for more than then"));
            }
        }
        let algorithm = report.key.algorithm.name();
        if algorithm != claim.algorithm {
            self.find(place, format!("it is for {algorithm}, and was for {}", claim.algorithm));
        }
        let now = report.check_value.map(|value| value.to_string());
        match (&claim.check_value, now) {
            (Some(was), Some(now)) if *was != now => {
                self.find(place, format!("its check value is {now}, and was {was}: it is another key"));
            }
            // One that is retired may not compute it any more.
            (Some(_), None) => self.not_asked.push(format!("{place}: the token tells no check value now")),
            _ => {}
        }
        if !taken.is_empty() {
            let state = report.key.state;
            let were = if taken.len() == 1 { "was true and is" } else { "were true and are" };
            self.changed.push(format!("{place} is {state}: {} {were} false", taken.join(" and ")));
        }
        if self.findings.len() == before {
            let but = if taken.is_empty() { "" } else { "all others of " };
            self.claimed.push(format!("{place}: {but}{} attributes are as they were", claim.attributes.len()));
        }
    }

    fn public_key(&mut self, place: &str, claim: &KeyClaim, report: &KeyReport) -> Result<()> {
        // The text names the key: that of one with another label is another in any case.
        let Some(was) = claim.public_key.filter(|_| report.key.label() == claim.label) else { return Ok(()) };
        let text = report.public_key.as_ref().map(|public| public.to_text()).transpose()?;
        if text.is_none_or(|text| Hash::of(&[text.as_bytes()]) != was) {
            self.find(place, "its public half is not the one in the bundle");
        }
        Ok(())
    }

    fn canary(&mut self, place: &str, claim: &KeyClaim, report: &KeyReport, hsm: &HsmProvider) -> Result<()> {
        if !report.key.problems.is_empty() {
            self.find(place, format!("it is refused, and opens nothing: {}", report.key.problems.join("; ")));
            return Ok(());
        }
        match report.key.state {
            KeyState::Active | KeyState::Retired => {}
            KeyState::Disabled => {
                self.not_asked.push(format!("{place}: it is disabled, and opens nothing"));
                return Ok(());
            }
            state => {
                self.find(place, format!("it is {state}, and was finished"));
                return Ok(());
            }
        }
        let Some((wrapped, digest)) = &claim.canary else {
            self.not_asked.push(format!("{place}: the bundle has no canary of it"));
            return Ok(());
        };
        let Ok(canary) = format!("{digest}:{wrapped}").parse::<Canary>() else {
            self.find(place, "the canary in the transcript is no wrapped data key");
            return Ok(());
        };
        // Only a canary that names this very key says something of it.
        if canary.kek_id().as_bytes() != claim.id.as_bytes() {
            self.find(place, "the canary in the transcript is of another key");
            return Ok(());
        }
        match hsm.open_canary(&canary) {
            Ok(()) => {
                self.proven
                    .push(format!("{place} opened the canary of the ceremony: it is the key that was made in it"));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotAuthentic | ErrorKind::KeyAttributes) => {
                self.others.push(claim.id);
                let message = "the canary of the ceremony does not open, or to another value";
                self.find(place, format!("{message}: it is not the key that was made in it"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn gone(&mut self, claim: &DestroyedClaim, hsm: &HsmProvider) -> Result<()> {
        let absence = hsm.prove_absence(&claim.name, claim.version, KekId::from_bytes(*claim.id.as_bytes()))?;
        let place = format!("'{}' on {}", absence.label, claim.token);
        for search in absence.searches.iter().filter(|search| search.found != 0) {
            let message = format!(
                "it was destroyed, and a search by {} finds {} of its {}",
                search.by, search.found, search.class
            );
            self.find(&place, message);
        }
        if absence.is_proven() {
            let searches = absence.searches.len();
            self.claimed
                .push(format!("{place} is gone: {searches} searches for its label and its CKA_ID find nothing"));
        }
        Ok(())
    }
}
