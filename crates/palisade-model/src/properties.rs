//! Attributes of an entity that a PEP sends along with its question.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Attributes in order of their names, as JSON. What of them counts is not for this type to say: the decision point knows which the PEP
/// may supply, and the policies which are declared and absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(BTreeMap<String, Value>);

impl Properties {
    /// Takes the members of a JSON object. A member that is `null` is not there.
    #[must_use]
    pub fn new(members: Map<String, Value>) -> Self {
        Self(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }

    /// Every attribute.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The names of the attributes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with others, which take the place of those of the same name.
    #[must_use]
    pub fn with(mut self, others: &Self) -> Self {
        self.0.extend(others.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// Those whose names pass.
    #[must_use]
    pub fn only(&self, passes: impl Fn(&str) -> bool) -> Self {
        let passing = self.0.iter().filter(|(name, _)| passes(name));
        Self(passing.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_only_what_passes_is_kept() {
        let Value::Object(members) = json!({ "a": 1, "b": null, "c": [true] }) else { panic!("an object") };
        let properties = Properties::new(members);
        assert_eq!(properties.names().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(properties.only(|name| name == "c").iter().collect::<Vec<_>>(), [("c", &json!([true]))]);
        assert!(properties.only(|_| false).is_empty());
        let Value::Object(members) = json!({ "a": 2 }) else { panic!("an object") };
        let both = properties.with(&Properties::new(members));
        assert_eq!(both.iter().collect::<Vec<_>>(), [("a", &json!(2)), ("c", &json!([true]))]);
    }
}
