//! `keyward policy`: what the policies say, before they say it to somebody who waits for an answer.

use crate::app::App;
use crate::args::{ContextArgs, Format};
use crate::output::{print, print_fields, print_json, print_line, say};
use clap::{Args, Subcommand, ValueEnum};
use keyward::key::{AlgorithmChoice, KeyDescription, KeyState, Operation, Principal, Provenance};
use keyward::policy::{Decision, DenialReason, Policies, Request, Resource, Rule, SCHEMA};
use keyward::{Error, ErrorKind, KekId, KeyName, KeyVersion, WrappingAlgorithm};
use serde::Serialize;
use std::path::PathBuf;
use std::time::SystemTime;

/// What a refusal by policy exits with.
const DENIED: u8 = 3;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check policies against the schema, as every start does
    ///
    /// Says how many policies there are, or what is wrong with the first that is not as it should be.
    #[command(after_help = "Examples:
  keyward policy check shop.cedar
  keyward policy check policies/          # all files *.cedar in it")]
    Check {
        /// A file, or a directory with files *.cedar
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
    Explain(Box<Explain>),
    /// Print the schema that policies are checked against, for editors
    #[command(after_help = "Example:\n  keyward policy schema > keyward.cedarschema")]
    Schema,
}

impl PolicyCommand {
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        match self {
            Self::Check { path } => {
                let policies = Policies::read(path)?;
                let number = policies.rules().len();
                let policies = if number == 1 { "1 policy".to_owned() } else { format!("{number} policies") };
                print_line(&format!("{policies} in '{}'", path.display()))?;
            }
            Self::Explain(explain) => return explain.run(app),
            Self::Schema => print(SCHEMA)?,
        }
        Ok(0)
    }
}

/// Say what the policies decide, and which of them do
///
/// No token is asked: the key is the one that the options describe, whether there is such a key or not.
/// Exits with 0 where it is allowed and with 3 where it is denied.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward policy explain --policy shop.cedar --principal shop --action Unwrap --key payments -c tenant=acme
  keyward policy explain --principal alice --group operators --action DestroyKey --key payments --state disabled
  keyward policy explain --principal alice --action ListKeys --at 2026-12-24T18:00:00Z

Actions:
  GenerateDataKey Wrap Unwrap Rewrap; CreateKey RotateKey DisableKey EnableKey DestroyKey AdoptKey;
  DescribeKey GetPublicKey ListKeys")]
pub(crate) struct Explain {
    /// The policies, a file or a directory; those of the configuration file where not given
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    principal: String,
    /// A group that the principal is in; repeatable
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// What is asked
    #[arg(long)]
    action: Operation,
    /// The key that it is asked of; none for ListKeys
    #[arg(long, short, value_name = "NAME")]
    key: Option<KeyName>,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    context: ContextArgs,
    /// When it is asked; now where not given
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    #[command(flatten)]
    format: Format,
}

/// The key as a token would describe it.
#[derive(Debug, Args)]
struct Described {
    /// The key's version [default: 1]
    #[arg(long, value_name = "NUMBER")]
    version: Option<KeyVersion>,
    /// The key's state [default: active]
    #[arg(long, value_enum, hide_default_value = true)]
    state: Option<State>,
    /// aes-gcm, aes-kw, rsa-oaep or rsa-oaep-sha1 [default: aes-gcm; for CreateKey the token's choice]
    #[arg(long)]
    algorithm: Option<WrappingAlgorithm>,
    /// Where the key comes from: generated, adopted, trusted-wrap, components or foreign [default: generated]
    #[arg(long)]
    provenance: Option<Provenance>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Pending,
    Active,
    Retired,
    Disabled,
}

impl Explain {
    fn run(&self, app: &App) -> anyhow::Result<u8> {
        let policies = self.policies(app)?;
        let principal = Principal::new(&self.principal)?.in_groups(&self.group)?;
        let context = self.context.to_context()?;
        let time = self.at.map(SystemTime::try_from).transpose()?.unwrap_or_else(SystemTime::now);
        let ask =
            |resource| policies.decide(&Request::new(&principal, self.action, resource).context(&context).at(time));
        let decided = match (self.action, &self.key) {
            (Operation::ListKeys, None) => Decided { decision: ask(Resource::All), by_name: true },
            (Operation::ListKeys, Some(_)) => return Err(usage("ListKeys is asked of no key: leave --key away")),
            (_, None) => return Err(usage("--key is missing")),
            (Operation::CreateKey, Some(name)) => {
                let algorithm = self.described.algorithm_of_new()?;
                Decided { decision: ask(Resource::New { name, algorithm }), by_name: true }
            }
            (_, Some(name)) => match ask(Resource::Named(name)) {
                Decision::NeedsKey => {
                    Decided { decision: ask(Resource::Key(&self.described.key(name))), by_name: false }
                }
                decision => Decided { decision, by_name: true },
            },
        };
        decided.print(self.format)
    }

    fn policies(&self, app: &App) -> anyhow::Result<Policies> {
        let path = self.policy.as_deref().or(app.policy_path()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "no policies are named")
                .with_hint("give --policy FILE, or a configuration file with a line policy = \"FILE\"")
        })?;
        Ok(Policies::read(path)?)
    }
}

impl Described {
    fn key(&self, name: &KeyName) -> KeyDescription {
        let mut key = KeyDescription::new(
            name.clone(),
            self.version.unwrap_or(KeyVersion::FIRST),
            KekId::from_bytes([0; 16]),
            self.algorithm.unwrap_or(WrappingAlgorithm::AesGcm),
            match self.state {
                Some(State::Pending) => KeyState::Pending,
                None | Some(State::Active) => KeyState::Active,
                Some(State::Retired) => KeyState::Retired,
                Some(State::Disabled) => KeyState::Disabled,
            },
        );
        key.provenance = self.provenance.unwrap_or(Provenance::Generated);
        key
    }

    fn algorithm_of_new(&self) -> anyhow::Result<AlgorithmChoice> {
        if self.version.is_some() || self.state.is_some() || self.provenance.is_some() {
            return Err(usage("a key that is to be made has no --version, --state or --provenance yet"));
        }
        Ok(self.algorithm.map_or(AlgorithmChoice::Auto, AlgorithmChoice::Exactly))
    }
}

fn usage(message: &'static str) -> anyhow::Error {
    let hint = "`keyward policy explain --help` says how";
    Error::new(ErrorKind::InvalidArgument, message).with_hint(hint).into()
}

/// A decision, and whether it took no more than the key's name.
struct Decided {
    decision: Decision,
    by_name: bool,
}

impl Decided {
    /// Prints it, and gives the exit status.
    fn print(&self, format: Format) -> anyhow::Result<u8> {
        let (rules, denial) = match &self.decision {
            Decision::Allowed { by } => (by.as_slice(), None),
            Decision::Denied(denial) => (denial.rules(), Some(denial)),
            Decision::NeedsKey => return Err(anyhow::anyhow!("the policies ask for more than a key has")),
        };
        if format.json {
            print_json(&DecisionJson {
                decision: if denial.is_none() { "allowed" } else { "denied" },
                reason: denial.map(|denial| reason(denial.reason())),
                message: denial.map(ToString::to_string),
                hint: denial.map(|denial| denial.hint()),
                decided_by_name: self.by_name,
                policies: rules.iter().map(RuleJson::new).collect(),
            })?;
        } else {
            print_line(if denial.is_none() { "allowed" } else { "denied" })?;
            let mut fields = Vec::new();
            fields.extend(denial.map(|denial| ("because", denial.to_string())));
            fields.extend(rules.iter().map(|rule| ("policy", in_full(rule))));
            let token = if self.by_name { "before the token is asked" } else { "once the token has described the key" };
            fields.push(("decided", token.to_owned()));
            print_fields(&fields)?;
            if let Some(denial) = denial {
                say("hint", denial.hint());
            }
        }
        Ok(if denial.is_none() { 0 } else { DENIED })
    }
}

/// `forbid 'no-export', 'shop.cedar' line 3`.
fn in_full(rule: &Rule) -> String {
    let id = rule.id().map(|id| format!(" '{id}'")).unwrap_or_default();
    format!("{}{id}, '{}' line {}", effect(rule), rule.file(), rule.line())
}

fn effect(rule: &Rule) -> &'static str {
    if rule.forbids() { "forbid" } else { "permit" }
}

fn reason(reason: DenialReason) -> &'static str {
    match reason {
        DenialReason::Forbidden => "forbidden",
        DenialReason::NotPermitted => "not permitted",
        _ => "failed",
    }
}

#[derive(Serialize)]
struct DecisionJson<'a> {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    decided_by_name: bool,
    policies: Vec<RuleJson<'a>>,
}

#[derive(Serialize)]
struct RuleJson<'a> {
    id: Option<&'a str>,
    effect: &'static str,
    file: &'a str,
    line: usize,
}

impl<'a> RuleJson<'a> {
    fn new(rule: &'a Rule) -> Self {
        Self { id: rule.id(), effect: effect(rule), file: rule.file(), line: rule.line() }
    }
}
