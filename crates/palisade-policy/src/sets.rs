//! Policy sets that are limited to their resources.
//!
//! A set is a folder whose authors may decide about some resources and no others. Loading refuses a policy of a set
//! whose resource scope does not keep it there, and an entity that the set has no business with: what a condition says
//! cannot be relied on for this, since only the scope bounds what a policy can reach.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use cedar_policy::{EntityUid, Policy, ResourceConstraint};
use palisade_model::ResourceName;
use serde_json::Value;

use crate::{
    Diagnostic, Sources, World,
    parse::Parsed,
    sources::read_tree,
    world::{place_of, read_json, uid_of},
};

/// A folder of policies, and what these may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// The name, as the configuration has it.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The resources that its policies may be about.
    pub resources: BTreeSet<ResourceName>,
}

/// The files of a set, among those of all [`Sources`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFiles {
    set: String,
    resources: BTreeSet<ResourceName>,
    files: BTreeSet<String>,
}

/// Reads the trees of several sets as [`read_tree`] reads one, and the further schema and entity files, which belong to
/// no set and are not limited.
///
/// # Errors
/// For every file or folder that cannot be read.
pub fn read_sets(
    sets: &[PolicySet],
    schema: &[PathBuf],
    entities: &[PathBuf],
) -> Result<Sources, Vec<Diagnostic>> {
    let (mut all, mut errors) = (Sources::default(), Vec::new());
    for set in sets {
        match read_tree(&set.path, &[], &[]) {
            Ok(own) => {
                let files = own.policies.iter().chain(&own.entities).map(|file| file.path.clone()).collect();
                all.sets.push(SetFiles { set: set.name.clone(), resources: set.resources.clone(), files });
                all.policies.extend(own.policies);
                all.entities.extend(own.entities);
                // A fragment is in force for every set: actions of one could change what another's policies mean.
                errors.extend(own.schema.iter().map(|fragment| {
                    let message = format!(
                        "the policy set `{}` has a schema fragment, which would be in force for all",
                        set.name
                    );
                    Diagnostic::error(&fragment.path, message).help("put it into a file of `policies.schema`")
                }));
            }
            Err(found) => errors.extend(found),
        }
    }
    for (paths, files) in [(schema, &mut all.schema), (entities, &mut all.entities)] {
        for path in paths {
            match crate::SourceFile::read(path) {
                Ok(file) => files.push(file),
                Err(error) => errors.push(error),
            }
        }
    }
    errors.extend(shared_folders(sets));
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// Sets must not hold one another: a policy would belong to two, and the wider limit would be the one that counts.
fn shared_folders(sets: &[PolicySet]) -> Vec<Diagnostic> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut errors = Vec::new();
    for (at, one) in sets.iter().enumerate() {
        for other in sets.iter().skip(at + 1) {
            let (left, right) = (real(&one.path), real(&other.path));
            if left.starts_with(&right) || right.starts_with(&left) {
                let message =
                    format!("the policy sets `{}` and `{}` share this folder", one.name, other.name);
                let error = Diagnostic::error(other.path.display().to_string(), message);
                errors.push(error.help("give every set a folder of its own, none inside another"));
            }
        }
    }
    errors
}

/// Everything by which a set reaches beyond its resources.
pub(crate) fn violations(parsed: &Parsed, sources: &Sources, world: &World) -> Vec<Diagnostic> {
    if sources.sets.is_empty() {
        return Vec::new();
    }
    let by_file: HashMap<&str, &SetFiles> = sources
        .sets
        .iter()
        .flat_map(|limit| limit.files.iter().map(move |file| (file.as_str(), limit)))
        .collect();
    let mut errors = foreign_entities(sources, &by_file);
    let reach = Reach::new(sources, world);
    for policy in &parsed.policies {
        let Some(info) = parsed.infos.get(&policy.id().to_string()) else { continue };
        let Some(limit) = by_file.get(info.policy.file.as_str()) else { continue };
        if let Some(why) = beyond(policy, limit, &reach) {
            let listed: Vec<&str> = limit.resources.iter().map(ResourceName::as_str).collect();
            let example = listed.first().map_or("", |name| name);
            let message =
                format!("`{}` reaches beyond the policy set `{}`: {why}", info.policy.id, limit.set);
            let help = format!(
                "the set is limited to {}: write `resource in Mcp::Server::\"{example}\"`, or put the policy into a set that may \
                 reach further",
                listed.join(", ")
            );
            errors.push(Diagnostic::error(&info.policy.file, message).at((info.policy.line, 1)).help(help));
        }
    }
    errors
}

/// Why the policy could be about something else than the resources of its set.
fn beyond(policy: &Policy, limit: &SetFiles, reach: &Reach) -> Option<String> {
    let (uid, includes_members) = match policy.resource_constraint() {
        ResourceConstraint::Any => return Some("it is about any resource".to_owned()),
        ResourceConstraint::Is(kind) => return Some(format!("it is about every `{kind}`")),
        ResourceConstraint::Eq(uid) => (uid, false),
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => (uid, true),
    };
    let of_the_set = |name: &str| limit.resources.iter().any(|resource| resource.as_str() == name);
    if uid.type_name().to_string() == "OAuth::Audience" {
        let mut users = reach.users_of(uid.id().unescaped());
        return match users.clone().find(|name| !of_the_set(name.as_str())) {
            Some(other) => Some(format!("`{uid}` is an exchange of the resource `{other}`, too")),
            None => users.next().is_none().then(|| format!("`{uid}` is an exchange of no resource")),
        };
    }
    let owner = owner_of(&uid);
    match owner {
        Some(owner) if !of_the_set(&owner) => return Some(format!("it is about the resource `{owner}`")),
        Some(_) => {}
        None => return Some(format!("`{uid}` belongs to no protected resource")),
    }
    let members = reach.members_of(&uid).filter(|owner| includes_members && !of_the_set(owner));
    members.min().map(|owner| format!("`{uid}` holds something of the resource `{owner}`"))
}

/// The protected resource that an entity is or belongs to: ids are `<resource>` and `<resource>/<rest>`.
fn owner_of(uid: &EntityUid) -> Option<String> {
    owner(&uid.type_name().to_string(), uid.id().unescaped())
}

fn owner(type_name: &str, id: &str) -> Option<String> {
    let of_a_resource = ["Mcp::", "Http::", "Graphql::"].iter().any(|space| type_name.starts_with(space));
    of_a_resource.then(|| id.split('/').next().unwrap_or(id).to_owned())
}

/// A set may describe what belongs to its resources. Roles, groups and whatever else all sets share is not its to define:
/// who is in a role that another set trusts would be in that set's power.
fn foreign_entities(sources: &Sources, by_file: &HashMap<&str, &SetFiles>) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for file in &sources.entities {
        let Some(limit) = by_file.get(file.path.as_str()) else { continue };
        let Ok(Value::Array(entries)) = read_json(file) else { continue };
        let is_own = |(type_name, id): &(String, String)| {
            owner(type_name, id)
                .is_some_and(|owner| limit.resources.iter().any(|resource| resource.as_str() == owner))
        };
        for entry in entries {
            let Some(defined) = entry.get("uid").and_then(uid_of) else { continue };
            let parents =
                entry.get("parents").and_then(Value::as_array).into_iter().flatten().filter_map(uid_of);
            // Below another set's group, a tool would come under that set's policies.
            let named = std::iter::once((defined, "to define"))
                .chain(parents.map(|parent| (parent, "to put things into")));
            for (uid, what) in named.filter(|(uid, _)| !is_own(uid)) {
                let (type_name, id) = &uid;
                let message =
                    format!("`{type_name}::\"{id}\"` is not for the policy set `{}` {what}", limit.set);
                let error = Diagnostic::error(&file.path, message).at(place_of(&file.text, id));
                errors.push(error.help("put it into a file of `policies.entities`"));
            }
        }
    }
    errors
}

/// Which resources have something below an entity, through the hierarchy of all entity files, and which have an
/// exchange.
struct Reach {
    members: BTreeMap<(String, String), BTreeSet<String>>,
    exchanges: BTreeMap<String, BTreeSet<ResourceName>>,
}

impl Reach {
    fn new(sources: &Sources, world: &World) -> Self {
        let files = sources.entities.iter().filter_map(|file| read_json(file).ok());
        let written = files.flat_map(|file| file.as_array().cloned().unwrap_or_default());
        let mut parents: HashMap<(String, String), Vec<(String, String)>> = HashMap::new();
        for entry in world.entities().into_iter().chain(written) {
            let Some(uid) = entry.get("uid").and_then(uid_of) else { continue };
            let named =
                entry.get("parents").and_then(Value::as_array).into_iter().flatten().filter_map(uid_of);
            parents.entry(uid).or_default().extend(named);
        }
        let mut members: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for child in parents.keys() {
            let (mut above, mut next) = (BTreeSet::new(), vec![child]);
            while let Some(uid) = next.pop() {
                next.extend(parents.get(uid).into_iter().flatten().filter(|parent| above.insert(*parent)));
            }
            // What is no resource's by its own name is that of all that it is below.
            let owners: BTreeSet<String> = match owner(&child.0, &child.1) {
                Some(owner) => BTreeSet::from([owner]),
                None => above.iter().filter_map(|uid| owner(&uid.0, &uid.1)).collect(),
            };
            for uid in above {
                members.entry(uid.clone()).or_default().extend(owners.iter().cloned());
            }
        }
        let exchanges = world
            .exchanges
            .iter()
            .map(|exchange| (exchange.name.as_str().to_owned(), exchange.resources.clone()));
        Self { members, exchanges: exchanges.collect() }
    }

    /// The resources whose calls leave with a token of this exchange. What no configuration has is nobody's.
    fn users_of(&self, exchange: &str) -> impl Iterator<Item = &ResourceName> + Clone {
        self.exchanges.get(exchange).into_iter().flatten()
    }

    fn members_of(&self, uid: &EntityUid) -> impl Iterator<Item = &String> {
        let key = (uid.type_name().to_string(), uid.id().unescaped().to_owned());
        self.members.get(&key).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OnError, Policies, SourceFile};

    /// The set `team` may decide about `files` and `mail`; `other` is another resource.
    fn load(policy: &str, own_entities: &str, shared_entities: &str) -> Result<Policies, Vec<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        let team = folder.path().join("team");
        std::fs::create_dir(&team).unwrap();
        std::fs::write(team.join("p.cedar"), policy).unwrap();
        std::fs::write(team.join("entities.json"), own_entities).unwrap();
        let shared = folder.path().join("shared.json");
        std::fs::write(&shared, shared_entities).unwrap();
        let resources = ["files", "mail"].map(|name| name.parse().unwrap()).into_iter().collect();
        let set = PolicySet { name: "team".to_owned(), path: team, resources };
        let sources = read_sets(&[set], &[], &[shared]).unwrap();
        let mut world = World::assumed_by(&sources);
        for name in ["files", "mail", "other"] {
            if !world.resources.iter().any(|resource| resource.name.as_str() == name) {
                world.resources.push(crate::WorldResource {
                    name: name.parse().unwrap(),
                    kind: crate::Kind::Mcp,
                    identifier: format!("https://mcp.example.com/{name}"),
                    tools: Vec::new(),
                    routes: Vec::new(),
                    graph: None,
                });
            }
        }
        Policies::load(&sources, &world, OnError::default())
    }

    #[test]
    fn what_is_below_two_resources_is_of_both() {
        let text = r#"[{"uid": {"type": "Own::Record", "id": "r"},
            "parents": [{"type": "Mcp::Server", "id": "files"}, {"type": "Mcp::Server", "id": "other"}]}]"#;
        let sources = Sources { entities: vec![SourceFile::new("e.json", text)], ..Sources::default() };
        let reach = Reach::new(&sources, &World::default());
        let members = &reach.members[&("Mcp::Server".to_owned(), "files".to_owned())];
        assert_eq!(members.iter().collect::<Vec<_>>(), ["files", "other"]);
    }

    fn with_resource(scope: &str) -> String {
        format!(
            "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", {scope}) when {{ context.scopes.contains(\"s\") }};"
        )
    }

    #[test]
    fn a_policy_is_kept_to_the_resources_of_its_set_by_its_scope() {
        for (scope, refused) in [
            ("resource in Mcp::Server::\"files\"", None),
            ("resource is Mcp::Tool in Mcp::Server::\"mail\"", None),
            ("resource == Mcp::Tool::\"files/echo\"", None),
            ("resource in Mcp::ToolGroup::\"files/group\"", None),
            ("resource", Some("about any resource")),
            ("resource is Mcp::Tool", Some("about every `Mcp::Tool`")),
            ("resource in Mcp::Server::\"other\"", Some("about the resource `other`")),
            ("resource == Mcp::Tool::\"other/echo\"", Some("about the resource `other`")),
            ("resource in Mcp::Server::\"files-2\"", Some("about the resource `files-2`")),
            ("resource in Tenant::\"acme\"", Some("belongs to no protected resource")),
        ] {
            let loaded = load(&with_resource(scope), "[]", "[]");
            match (loaded, refused) {
                (Ok(_), None) => {}
                (Err(errors), Some(says)) => {
                    let beyond =
                        errors.iter().find(|error| error.message.contains("beyond the policy set `team`"));
                    let beyond = beyond.unwrap_or_else(|| panic!("{scope}: {errors:?}"));
                    assert!(beyond.message.contains(says), "{scope}: {beyond}");
                    assert_eq!(beyond.line, 1, "{scope}");
                    assert!(beyond.help.as_ref().unwrap().contains("files, mail"), "{beyond}");
                }
                (loaded, refused) => panic!("{scope}: {refused:?}, {:?}", loaded.map(drop)),
            }
        }
    }

    #[test]
    fn a_set_defines_only_what_belongs_to_its_resources() {
        let policy = with_resource("resource in Mcp::Server::\"files\"");
        let own = r#"[{"uid": {"type": "Mcp::Tool", "id": "files/x"}, "attrs": {}, "parents": []}]"#;
        load(&policy, own, "[]").unwrap();
        let role = r#"[{"uid": {"type": "Role", "id": "corp/intern"}, "attrs": {}, "parents": [{"type": "Role", "id": "admin"}]}]"#;
        let errors = load(&policy, role, "[]").map(drop).unwrap_err();
        assert!(errors[0].message.contains("not for the policy set `team` to define"), "{errors:?}");
        assert_eq!(errors[0].line, 1);
        load(&policy, "[]", role).unwrap();
    }

    #[test]
    fn a_set_puts_nothing_below_what_is_anothers_and_changes_no_schema() {
        let policy = with_resource("resource in Mcp::Server::\"files\"");
        let moved = r#"[{"uid": {"type": "Mcp::ToolGroup", "id": "files/g"}, "attrs": {}, "parents": [{"type": "Mcp::Server", "id": "other"}]}]"#;
        let errors = load(&policy, moved, "[]").map(drop).unwrap_err();
        assert!(
            errors.iter().any(|error| error
                .message
                .contains("`Mcp::Server::\"other\"` is not for the policy set `team` to put things into")),
            "{errors:?}"
        );

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("own.cedarschema"), "namespace Own {}").unwrap();
        let set =
            PolicySet { name: "team".to_owned(), path: folder.path().to_owned(), resources: BTreeSet::new() };
        let errors = read_sets(&[set], &[], &[]).unwrap_err();
        assert!(errors[0].message.contains("has a schema fragment"), "{errors:?}");
    }

    #[test]
    fn a_group_that_holds_another_resources_tool_is_beyond_the_set() {
        let policy = with_resource("resource in Mcp::ToolGroup::\"files/group\"");
        let nested = r#"[
            {"uid": {"type": "Mcp::Tool", "id": "other/x"}, "attrs": {}, "parents": [{"type": "Mcp::ToolGroup", "id": "files/group"}]}
        ]"#;
        let errors = load(&policy, "[]", nested).map(drop).unwrap_err();
        assert!(
            errors.iter().any(|error| error.message.contains("holds something of the resource `other`")),
            "{errors:?}"
        );
    }

    #[test]
    fn sets_share_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let set =
            |name: &str, path: PathBuf| PolicySet { name: name.to_owned(), path, resources: BTreeSet::new() };
        let sets = [set("a", folder.path().to_owned()), set("b", folder.path().join("inner"))];
        let errors = read_sets(&sets, &[], &[]).unwrap_err();
        assert!(errors[0].message.contains("`a` and `b` share this folder"), "{errors:?}");
    }
}
