//! Lists that a server answers with, and what is left of them for their reader.
//!
//! Entries are named as their own call names them, so that whoever decides on the call decides on the entry. An entry that
//! has no name is nobody's, and is left out. A list that was cut to its reader is private (MCP 2026-07-28, caching).

use palisade_model::{Action, Item, Properties, ResourceName, Target};
use serde_json::{Map, Value};

use crate::on_server;

/// A list of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listing {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl Listing {
    /// Every list.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method asks for.
    #[must_use]
    pub fn of(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|listing| listing.method() == method)
    }

    /// The method that asks for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of a result that holds the entries.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an entry that its call names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// What is done to an entry.
    #[must_use]
    pub fn action(self) -> Action {
        Action::mcp(match self {
            Self::Tools => "tools/call",
            Self::Prompts => "prompts/get",
            Self::Resources | Self::Templates => "resources/read",
        })
    }

    /// An entry as what its call is made to. Policies see the text of a template, which stands for what it expands to.
    #[must_use]
    pub fn target(self, resource: &ResourceName, name: &str) -> Target {
        match self {
            Self::Tools => Target::mcp_tool(resource, name),
            Self::Prompts => Target::mcp_prompt(resource, name),
            Self::Resources | Self::Templates => Target::mcp_resource(resource, name),
        }
    }

    /// The request for the list as an item.
    #[must_use]
    pub fn item(self, resource: &ResourceName) -> Item {
        Item { supplied: Properties::default(), ..on_server(self.method(), resource) }
    }

    /// The names of the entries of a result that have one, in order. Nothing at all where the result holds no such list.
    #[must_use]
    pub fn names(self, result: &Value) -> Option<Vec<&str>> {
        let entries = result.get(self.member())?.as_array()?;
        Some(entries.iter().filter_map(|entry| self.name_of(entry)).collect())
    }

    fn name_of(self, entry: &Value) -> Option<&str> {
        entry.get(self.name())?.as_str()
    }

    /// Leaves in a result the entries that are shown, and marks it as its reader's own. `shown` is of those that have a
    /// [name](Self::names), in their order. What is beyond it, and what has no name, is left out.
    pub fn keep(self, result: &mut Value, shown: impl IntoIterator<Item = bool>) {
        let Some(members) = result.as_object_mut() else { return };
        if let Some(Value::Array(entries)) = members.get_mut(self.member()) {
            let mut shown = shown.into_iter();
            entries.retain(|entry| self.name_of(entry).is_some() && shown.next().unwrap_or(false));
        }
        make_private(members);
    }
}

/// Takes back that a result may be given to others.
fn make_private(members: &mut Map<String, Value>) {
    if members.contains_key("cacheScope") || members.contains_key("ttlMs") {
        members.insert("cacheScope".to_owned(), Value::from("private"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_shown_is_left_out_and_the_rest_keeps_its_order() {
        let mut result = json!({ "tools": [{ "name": "a" }, { "x": 1 }, { "name": "b" }], "nextCursor": "n",
            "ttlMs": 5, "cacheScope": "public" });
        assert_eq!(Listing::Tools.names(&result), Some(vec!["a", "b"]));
        Listing::Tools.keep(&mut result, [false, true]);
        let kept =
            json!({ "tools": [{ "name": "b" }], "nextCursor": "n", "ttlMs": 5, "cacheScope": "private" });
        assert_eq!(result, kept);
    }

    #[test]
    fn every_list_has_its_own_names() {
        for (listing, result) in [
            (Listing::Tools, json!({ "tools": [{ "name": "n" }] })),
            (Listing::Prompts, json!({ "prompts": [{ "name": "n" }] })),
            (Listing::Resources, json!({ "resources": [{ "uri": "n", "name": "x" }] })),
            (Listing::Templates, json!({ "resourceTemplates": [{ "uriTemplate": "n", "name": "x" }] })),
        ] {
            assert_eq!(Listing::of(listing.method()), Some(listing));
            assert_eq!(listing.names(&result), Some(vec!["n"]));
        }
        assert_eq!(Listing::of("tools/call"), None);
        assert_eq!(Listing::Tools.names(&json!({ "tools": {} })), None);
        assert_eq!(Listing::Tools.names(&json!([])), None);
    }

    proptest! {
        #[test]
        fn nothing_is_kept_that_is_not_shown(names in proptest::collection::vec("[a-c]", 0..8), shown in proptest::collection::vec(any::<bool>(), 0..8)) {
            let entries: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            let mut result = json!({ "tools": entries });
            Listing::Tools.keep(&mut result, shown.iter().copied());
            let expected: Vec<&String> =
                names.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(name, _)| name).collect();
            let kept = Listing::Tools.names(&result).unwrap();
            prop_assert_eq!(kept, expected.into_iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
