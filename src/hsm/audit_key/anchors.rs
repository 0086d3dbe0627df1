//! The anchors of audit logs on a token.

use super::write;
use crate::error::Result;
use crate::hsm::template;
use crate::key::AnchorOrder;
use crate::token::{Attribute, AttributeType, ObjectHandle, Session};

/// What stands before the name of a log in the label of its anchor. With a blank, it is no key's name.
const LABEL: &str = "keyward audit anchor ";

/// The texts of the anchors of one log, or of all.
pub(super) fn texts(session: &Session<'_>, name: Option<&str>) -> Result<Vec<String>> {
    let label = name.map(|name| format!("{LABEL}{name}"));
    Ok(find(session, label.as_deref())?.into_iter().map(|(_, text)| text).collect())
}

/// Writes an anchor unless a higher one is there, and destroys lower ones.
pub(super) fn set(
    session: &Session<'_>,
    name: &str,
    text: &str,
    order: &dyn Fn(&str) -> Result<AnchorOrder>,
) -> Result<()> {
    let label = format!("{LABEL}{name}");
    let before = compared(session, &label, order)?;
    let is_there = before.iter().any(|(_, order)| matches!(order, AnchorOrder::Same | AnchorOrder::Higher));
    if !is_there {
        write(session, &label, text)?;
    }
    // Once more: a writer that was slower or faster may have written meanwhile, and the highest stays.
    let after = compared(session, &label, order)?;
    let is_overtaken = after.iter().any(|(_, order)| *order == AnchorOrder::Higher);
    for (handle, order) in after {
        if order == AnchorOrder::Lower || order == AnchorOrder::Same && is_overtaken {
            remove(session, handle, &label)?;
        }
    }
    Ok(())
}

fn compared(
    session: &Session<'_>,
    label: &str,
    order: &dyn Fn(&str) -> Result<AnchorOrder>,
) -> Result<Vec<(ObjectHandle, AnchorOrder)>> {
    find(session, Some(label))?.into_iter().map(|(handle, text)| Ok((handle, order(&text)?))).collect()
}

/// Destroys a superseded anchor. The higher one is there, so both may be; one that is already gone is no failure.
fn remove(session: &Session<'_>, handle: ObjectHandle, label: &str) -> Result<()> {
    if let Err(error) = session.destroy_object(handle)
        && session.attributes(handle, &[AttributeType::Label])?.is_some()
    {
        tracing::warn!(label, %error, "a lower anchor stays on the token beside the higher one");
    }
    Ok(())
}

/// The anchors with this label, or all.
fn find(session: &Session<'_>, label: Option<&str>) -> Result<Vec<(ObjectHandle, String)>> {
    let mut found = Vec::new();
    for handle in session.find(&template::data(label))? {
        let Some(shown) = session.attributes(handle, &[AttributeType::Label, AttributeType::Value])? else { continue };
        let is_anchor = shown.bytes(Attribute::Label).is_some_and(|label| label.starts_with(LABEL.as_bytes()));
        let text = shown.bytes(Attribute::Value).and_then(|value| std::str::from_utf8(value).ok());
        found.extend(text.filter(|_| is_anchor).map(|text| (handle, text.to_owned())));
    }
    Ok(found)
}
