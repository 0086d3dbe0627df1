//! A question in Cedar's terms: the principal, the key and the encryption context as entities.
//!
//! Names are data here. None is ever part of a text that Cedar parses.

use super::{Request, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AlgorithmChoice, EncryptionContext, KeyName, KeyState, KeyVersion, Operation, Principal, Provenance};
use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// The types and actions of the schema.
pub(super) struct Vocabulary {
    user: EntityTypeName,
    group: EntityTypeName,
    key: EntityTypeName,
    folder: EntityTypeName,
    context: EntityUid,
    actions: HashMap<Operation, EntityUid>,
}

/// A question as Cedar takes it, and who and what it is about: themselves and all that they are in.
pub(super) struct Question {
    pub(super) request: cedar_policy::Request,
    pub(super) entities: Entities,
    pub(super) principals: Vec<EntityUid>,
    pub(super) resources: Vec<EntityUid>,
}

impl Vocabulary {
    pub(super) fn new() -> Result<Self> {
        let type_name = |name: &str| {
            format!("Keyward::{name}")
                .parse::<EntityTypeName>()
                .map_err(|error| Error::new(ErrorKind::Internal, "a type of the schema has no name").with_source(error))
        };
        let action = type_name("Action")?;
        Ok(Self {
            user: type_name("User")?,
            group: type_name("Group")?,
            key: type_name("Key")?,
            folder: type_name("Folder")?,
            context: uid(&type_name("EncryptionContext")?, "given"),
            actions: Operation::ALL.map(|operation| (operation, uid(&action, operation.name()))).into(),
        })
    }

    pub(super) fn principal(&self, principal: &Principal) -> EntityUid {
        uid(&self.user, principal.name())
    }

    pub(super) fn resource(&self, resource: &Resource<'_>) -> EntityUid {
        match resource.name() {
            Some(name) => uid(&self.key, name.as_str()),
            None => uid(&self.folder, ROOT),
        }
    }

    /// The question; or why it cannot be put.
    pub(super) fn put(&self, request: &Request<'_>) -> Result<Question, &'static str> {
        let action = self.actions.get(&request.operation).ok_or("policies do not know this action")?;
        if (request.operation == Operation::ListKeys) != matches!(request.resource, Resource::All) {
            return Err("this action is not one for this resource");
        }
        let time = datetime(request.time.unwrap_or_else(SystemTime::now)).ok_or("the time is out of range")?;

        let principal = self.principal(request.principal);
        let groups: Vec<_> = request.principal.groups().map(|group| uid(&self.group, group)).collect();
        let resource = self.resource(&request.resource);
        let folders: Vec<_> = match request.resource.name() {
            Some(name) => folders(name).map(|folder| uid(&self.folder, folder)).collect(),
            None => Vec::new(),
        };
        let entities = [
            Entity::new_no_attrs(principal.clone(), groups.iter().cloned().collect()),
            Entity::new(
                resource.clone(),
                attributes(&request.resource).into_iter().collect(),
                folders.iter().cloned().collect(),
            )
            .map_err(|_| ODD)?,
            self.tags(request.context).ok_or(ODD)?,
        ];
        let circumstances = [
            ("encryption_context".to_owned(), RestrictedExpression::new_entity_uid(self.context.clone())),
            ("time".to_owned(), RestrictedExpression::new_datetime(time)),
        ];
        Ok(Question {
            entities: Entities::from_entities(entities, None).map_err(|_| ODD)?,
            request: cedar_policy::Request::new(
                principal.clone(),
                action.clone(),
                resource.clone(),
                Context::from_pairs(circumstances).map_err(|_| ODD)?,
                None,
            )
            .map_err(|_| ODD)?,
            principals: std::iter::once(principal).chain(groups).collect(),
            resources: std::iter::once(resource).chain(folders).collect(),
        })
    }

    fn tags(&self, context: Option<&EncryptionContext>) -> Option<Entity> {
        let pairs = context.into_iter().flat_map(EncryptionContext::iter);
        let tags = pairs.map(|(key, value)| (key.to_owned(), RestrictedExpression::new_string(value.to_owned())));
        Entity::new_with_tags(self.context.clone(), [], HashSet::new(), tags).ok()
    }
}

/// What is not expected of Cedar, and denies.
const ODD: &str = "Cedar does not take the question";

/// The folder of all keys.
const ROOT: &str = "/";

fn uid(of: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
}

/// The folders that a key is in: a folder has all keys whose names begin with its own and a slash.
fn folders(name: &KeyName) -> impl Iterator<Item = &str> {
    let name = name.as_str();
    let ends = name.char_indices().filter(|(at, c)| *c == '/' && *at > 0);
    std::iter::once(ROOT).chain(ends.map(move |(at, _)| &name[..at]))
}

/// What is known of a key. The others are left out, so that a policy that reads one is noticed.
fn attributes(resource: &Resource<'_>) -> Vec<(String, RestrictedExpression)> {
    let Some(name) = resource.name() else { return Vec::new() };
    let mut attributes = vec![
        ("name".to_owned(), text(name.as_str())),
        ("managed".to_owned(), RestrictedExpression::new_bool(name.as_str().starts_with("keyward/"))),
    ];
    let (version, state, algorithm, provenance) = match resource {
        Resource::Named(_) | Resource::All => return attributes,
        Resource::Key(key) => (key.version, key.state, key.algorithm.name(), key.provenance),
        Resource::New { algorithm, .. } => {
            let algorithm = match algorithm {
                AlgorithmChoice::Auto => "auto",
                AlgorithmChoice::Exactly(algorithm) => algorithm.name(),
            };
            (KeyVersion::FIRST, KeyState::Pending, algorithm, Provenance::Generated)
        }
    };
    attributes.extend([
        ("version".to_owned(), RestrictedExpression::new_long(version.get().into())),
        ("state".to_owned(), text(state.name())),
        ("algorithm".to_owned(), text(algorithm)),
        ("provenance".to_owned(), text(provenance.name())),
    ]);
    attributes
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// The form that Cedar reads, to the millisecond; none outside of the years 0 to 9999.
fn datetime(time: SystemTime) -> Option<String> {
    let timestamp = jiff::Timestamp::try_from(time).ok()?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    let (date, time) = (utc.date(), utc.time());
    (date.year() >= 0).then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn folders_of_a_key() {
        for (name, expected) in [
            ("a", &["/"][..]),
            ("a/b/c", &["/", "a", "a/b"]),
            ("a//b", &["/", "a", "a/"]),
            ("/a", &["/"]),
            ("//a", &["/", "/"]),
            ("a/", &["/", "a"]),
            ("/", &["/"]),
        ] {
            assert_eq!(folders(&name.parse().unwrap()).collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn times_of_all_ages() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(datetime(epoch).unwrap(), "1970-01-01T00:00:00.000Z");
        let later = epoch + Duration::from_micros(1_792_540_800_123_999);
        assert_eq!(datetime(later).unwrap(), "2026-10-21T00:00:00.123Z");
        // Rounded down on either side of 1970.
        assert_eq!(datetime(epoch - Duration::from_micros(1)).unwrap(), "1969-12-31T23:59:59.999Z");
        assert_eq!(datetime(epoch - Duration::from_secs(63_000_000_000)), None);
        assert_eq!(datetime(epoch + Duration::from_secs(300_000_000_000)), None);
    }
}
