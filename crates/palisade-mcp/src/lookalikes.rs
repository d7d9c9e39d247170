//! Names of members that two readers could take for one another: `name`, `Name`, `ｎame`, `name\u{0}`.
//!
//! Some decoders know no case, others drop or fold characters. What such a reader would take for a member of the
//! protocol, or for another argument of the same call, is refused. Names are compared here and never changed.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use palisade_model::{Reason, Refusal};
use serde_json::{Map, Value};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::malformed;

/// The most members of an object of the protocol. It defines about twenty.
const MAX_MEMBERS: usize = 64;

/// The members of `params`, `params.ref`, `params.argument` and `params.notifications` that a decision or a server reads.
const PROTOCOL_NAMES: &[&str] = &[
    "_meta",
    "argument",
    "arguments",
    "capabilities",
    "clientInfo",
    "context",
    "cursor",
    "inputResponses",
    "level",
    "name",
    "notifications",
    "progressToken",
    "promptsListChanged",
    "protocolVersion",
    "ref",
    "requestId",
    "requestState",
    "resourceSubscriptions",
    "resourcesListChanged",
    "task",
    "taskId",
    "taskIds",
    "toolsListChanged",
    "type",
    "uri",
    "value",
];

/// The protocol's names, folded and bare.
static BARE_NAMES: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| PROTOCOL_NAMES.iter().map(|name| bare(&fold(name)).into_owned()).collect());

/// Refuses members that a lenient reader would take for one of the protocol's, and objects that have too many members
/// to be the protocol's.
pub(crate) fn none_of_protocol_names(members: &Map<String, Value>) -> Result<(), Refusal> {
    if members.len() > MAX_MEMBERS {
        return Err(malformed("an object of the protocol holds more than 64 members"));
    }
    let is_lookalike =
        |member: &str| !PROTOCOL_NAMES.contains(&member) && BARE_NAMES.contains(bare(&fold(member)).as_ref());
    if members.keys().any(|member| is_lookalike(member)) {
        return Err(malformed(
            "a member differs from one of the protocol's only by case, folding or control characters",
        ));
    }
    Ok(())
}

/// Refuses arguments in which, at any depth, an object has two members that a lenient reader takes for one: it would
/// act on the one, and policies would see the other.
pub(crate) fn none_among_arguments(arguments: &Value) -> Result<(), Refusal> {
    match arguments {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(elements) => elements.iter().try_for_each(none_among_arguments),
        Value::Object(members) => {
            let mut seen = HashSet::with_capacity(members.len());
            if !members.keys().all(|member| seen.insert(fold(member))) {
                return Err(Refusal::new(
                    Reason::ArgumentsInvalid,
                    "two arguments differ only by case, folding or control characters",
                ));
            }
            members.values().try_for_each(none_among_arguments)
        }
    }
}

/// What is left of a name when case, compatibility forms and invisible characters do not count. Upper before lower
/// case, so that letters such as the long s meet their plain forms.
fn fold(name: &str) -> Cow<'_, str> {
    // Nearly every name is plain, and a plain name is its own fold.
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    name.nfkd()
        .filter(|character| !character.is_control() && !is_invisible(*character))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// A folded name without its marks and white space. The protocol's names have none; among other names they tell words
/// apart.
fn bare(folded: &str) -> Cow<'_, str> {
    if folded.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(folded);
    }
    let bare =
        folded.chars().filter(|character| !character.is_whitespace() && !is_combining_mark(*character));
    bare.collect()
}

/// Format characters that show nothing: soft hyphen, zero width, direction, byte order mark, tags.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}
