//! The steps of a plan, always the same ones in the same order.

mod markdown;

pub(super) use markdown::escape_in;
pub use markdown::to_markdown;

use super::name::Name;
use super::plan::{
    Backup, BackupMethod, Custody, ExportMechanism, HandoutWay, KeyOrigin, Plan, PlannedKey, PlannedToken, Role,
};
use super::step::{Step, StepKind};

/// The steps of a plan.
///
/// The host first, then each token, each key with its backup and the test of that, what is destroyed, what is there
/// afterwards, and the witnesses. A plan that [`lint`](Plan::lint) finds fault with has steps as well, but they need
/// not make sense.
///
/// ```
/// use keyward::ceremony::{Answers, Plan, script};
/// let plan = Plan::parse(&Answers::example().to_toml())?;
/// let steps = script(&plan);
/// assert_eq!(steps[0].id.as_str(), "host/check");
/// assert!(steps.iter().any(|step| step.id.as_str() == "key/payments/restore-test"));
/// # Ok::<(), keyward::Error>(())
/// ```
#[must_use]
pub fn script(plan: &Plan) -> Vec<Step> {
    let mut script = Script { plan, steps: Vec::new() };
    script.host();
    for token in &plan.tokens {
        script.token(token);
    }
    for key in &plan.keys {
        script.key(key);
    }
    script.end();
    script.steps
}

struct Script<'a> {
    plan: &'a Plan,
    steps: Vec<Step>,
}

impl Script<'_> {
    fn operator(&self) -> Option<&Name> {
        self.plan.with_role(Role::Operator).next().map(|person| &person.name)
    }

    /// A step that somebody confirms; the operator where nobody is named. Without either there is no step, and `lint`
    /// has said so.
    fn push(&mut self, kind: StepKind, by: Option<&Name>, announce: String, expect: Vec<String>) {
        let Some(confirmed_by) = by.or_else(|| self.operator()).cloned() else { return };
        self.steps.push(Step { id: kind.id(), kind, confirmed_by, announce, expect });
    }

    fn host(&mut self) {
        let mut expect = vec![format!("the program has the hash {}", self.plan.tool_sha256)];
        for token in &self.plan.tokens {
            let line = format!("the module {} has the hash {}", token.module.display(), token.module_sha256);
            if !expect.contains(&line) {
                expect.push(line);
            }
        }
        if self.plan.format >= 2 {
            expect.push("the libraries of the program are recorded".into());
        }
        expect.push("the clock shows the time of the day".into());
        expect.push("swap, core dumps and network are as the witnesses are told".into());
        self.push(StepKind::CheckHost, None, "The host, the program and the modules are checked.".into(), expect);
    }

    fn token(&mut self, token: &PlannedToken) {
        let PlannedToken { name, serial, label, .. } = token;
        let on = || name.clone();
        let mut expect = Vec::new();
        if !token.initialize {
            expect.push(format!("the serial number is {serial}"));
            expect.push(format!("the label is '{label}'"));
        } else if serial.to_string() != "free" {
            expect.push(format!("the serial number is {serial}"));
        } else {
            expect.push("the token is not initialized".into());
        }
        expect.extend(token.firmware.iter().map(|firmware| format!("the firmware is {firmware}")));
        if !token.initialize {
            expect.push(format!("a user sees {} on it", objects(token.objects_before)));
        }
        let announce = format!("The token '{name}' says who it is.");
        self.push(StepKind::IdentifyToken { token: on() }, None, announce, expect);
        if !token.initialize {
            return;
        }

        let announce = format!("The token '{name}' is initialized. Whatever is on it is destroyed.");
        let expect = vec![format!("the label is '{label}'"), "the serial number is recorded".into()];
        self.push(StepKind::InitializeToken { token: on() }, token.officer.as_ref(), announce, expect);

        let (by, announce, expect) = match &token.custody {
            Custody::Shared { length, threshold, custodians, handout } => {
                let shares = custodians.len();
                for (index, custodian) in (1..=u8::MAX).zip(custodians) {
                    let announce =
                        handing_out(*handout, custodian, &format!("{index} of {shares} of the PIN of '{name}'"));
                    let expect = vec!["what was typed back is the share".into(), "its digest is recorded".into()];
                    let kind = StepKind::HandOutShare { token: on(), custodian: custodian.clone(), index };
                    self.push(kind, Some(custodian), announce, expect);
                }
                let announce = format!(
                    "{threshold} of {shares} custodians type their shares. The PIN of {length} characters is put \
                     together and set on '{name}'."
                );
                (None, announce, vec!["the PIN that the shares give opens the token".to_owned()])
            }
            Custody::Typed { by } => {
                let announce = format!("{by} chooses the PIN of '{name}' and types it twice.");
                (Some(by), announce, vec!["the PIN opens the token".to_owned()])
            }
        };
        self.push(StepKind::SetPin { token: on() }, by, announce, expect);
    }

    fn key(&mut self, key: &PlannedKey) {
        let (name, token) = (&key.name, &key.token);
        let label = key.label();
        let made = match key.provenance {
            KeyOrigin::Generated => match &key.backup {
                Backup { method: BackupMethod::TrustedWrap, token: Some(second), mechanism } => format!(
                    "The key '{label}' ({}) is generated on '{token}', wrapped there with {} under a transport key of \
                     '{second}' that the security officer trusts, and unwrapped by '{second}'. Neither token keeps it in \
                     a form that could be exported.",
                    key.algorithm,
                    mechanism.map_or("RSA-OAEP", ExportMechanism::name)
                ),
                _ => format!("The key '{label}' ({}) is generated on '{token}'.", key.algorithm),
            },
            KeyOrigin::ImportedComponents => {
                for (index, custodian) in (1..=u8::MAX).zip(&key.components) {
                    let announce = format!(
                        "{custodian} types component {index} of {} of the key '{label}'. Nobody else looks.",
                        key.components.len()
                    );
                    let expect = vec!["the check value is the one on the custodian's paper".into()];
                    let kind = StepKind::EnterComponent { key: name.clone(), custodian: custodian.clone(), index };
                    self.push(kind, Some(custodian), announce, expect);
                }
                format!("The key '{label}' ({}) is imported into '{token}' from its components.", key.algorithm)
            }
        };
        let on = || (name.clone(), token.clone());
        let (of, at) = on();
        let expect = vec![format!("'{token}' has one object with the label '{label}' and the planned CKA_ID")];
        self.push(StepKind::MakeKey { key: of, token: at }, None, made, expect);

        let announce = format!("What '{token}' says of the key '{label}' is read back.");
        let (of, at) = on();
        let expect = super::expect::sentences(key, false);
        self.push(StepKind::ReadBack { key: of, token: at }, None, announce, expect);

        let announce = format!("The key '{label}' wraps a data key that is known, and unwraps it again.");
        let (of, at) = on();
        let expect = vec!["what comes out is what went in".into()];
        self.push(StepKind::Canary { key: of, token: at }, None, announce, expect);
        if let Backup { method, token: Some(second), .. } = &key.backup
            && *method != BackupMethod::None
        {
            self.backup(key, *method, second);
        }
    }

    fn backup(&mut self, key: &PlannedKey, method: BackupMethod, second: &Name) {
        let label = key.label();
        let announce = match method {
            BackupMethod::Sibling => format!(
                "'{second}' generates a key '{label}' of its own. Nothing is exported: what is protected is wrapped to both."
            ),
            BackupMethod::TrustedWrap => format!(
                "What '{second}' says of the key '{label}' that came to it is read back, and the transport key is \
                 destroyed."
            ),
            BackupMethod::ImportedComponents => {
                format!("The key '{label}' is imported into '{second}' from the same components.")
            }
            BackupMethod::HsmClone | BackupMethod::None => {
                format!(
                    "The key '{label}' is copied to '{second}' with the vendor's tool, by hand, and confirmed when that is \
                     done."
                )
            }
        };
        let mut expect = vec![format!("'{second}' has one object with the label '{label}'")];
        expect.extend(super::expect::sentences(key, true));
        let kind = StepKind::BackUp { key: key.name.clone(), token: second.clone() };
        self.push(kind, None, announce, expect);

        let announce = format!("What '{}' wrapped before is opened with '{second}' alone.", key.token);
        let expect = vec!["what comes out is the data key of the canary".into()];
        let kind = StepKind::RestoreTest { key: key.name.clone(), token: second.clone() };
        self.push(kind, None, announce, expect);
    }

    fn end(&mut self) {
        for gone in &self.plan.destroy {
            let announce =
                format!("The key '{}' on '{}' is destroyed. It cannot be brought back.", gone.key, gone.token);
            let expect = vec!["the search for it finds nothing".into()];
            self.push(
                StepKind::DestroyKey { token: gone.token.clone(), label: gone.key.clone() },
                None,
                announce,
                expect,
            );
        }
        for token in &self.plan.tokens {
            let announce = format!("All objects on '{}' are listed and compared with the plan.", token.name);
            let expect =
                vec![format!("a user sees {} on it, and none that nobody knows", objects(token.objects_after))];
            self.push(StepKind::Inventory { token: token.name.clone() }, None, announce, expect);
        }
        for (witness, _) in self.plan.witnesses() {
            let announce = format!("{witness} says that the transcript tells what was done.");
            let expect = vec![format!("{witness} signs the bundle afterwards, on a machine that is not this one")];
            self.push(StepKind::SignOff { witness: witness.clone() }, Some(witness), announce, expect);
        }
    }
}

fn handing_out(way: HandoutWay, custodian: &Name, which: &str) -> String {
    match way {
        HandoutWay::Screen => {
            format!("{custodian} alone looks at the screen, writes down share {which}, and types it back.")
        }
        HandoutWay::Paper => {
            format!("Share {which} is printed. {custodian} alone takes the paper, and types it back.")
        }
        HandoutWay::File => {
            format!("Share {which} goes into a file on a medium of {custodian}, who alone reads it and types it back.")
        }
    }
}

fn objects(number: u32) -> String {
    match number {
        0 => "no object".into(),
        1 => "one object".into(),
        more => format!("{more} objects"),
    }
}
