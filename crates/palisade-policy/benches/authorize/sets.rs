//! Policy sets of five kinds and any size, and questions about them.

use std::{collections::BTreeSet, fmt::Write as _};

use palisade_model::{
    Action, Audience, Authority, Circumstances, ResourceName, Scopes, Subject, SubjectKind, Surface, Target,
    Timestamp,
};
use palisade_policy::{Kind, SourceFile, Sources, Tool, World, WorldResource};

use crate::Failure;

/// What the policies of a set have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `resource == Mcp::Tool::".."`, another tool each.
    Resource,
    /// `principal in Role::".."`, another role each.
    Role,
    /// `action == Own::Action::".."`, one of at most a thousand.
    Action,
    /// Six of ten by role, tool and scope, two by role and server, one by server alone, one a forbid; twenty of the
    /// forbids are for everybody and everything.
    Mixed,
    /// No scope at all, and a condition that no index holds.
    Unscoped,
}

impl Shape {
    pub(crate) const ALL: [Self; 5] = [Self::Resource, Self::Role, Self::Action, Self::Mixed, Self::Unscoped];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Role => "role",
            Self::Action => "action",
            Self::Mixed => "mixed",
            Self::Unscoped => "unscoped",
        }
    }
}

/// Tools that the catalogues list, by twenty on a server.
const TOOLS: usize = 1_000;
const TOOLS_A_SERVER: usize = 20;
const SERVERS: usize = TOOLS / TOOLS_A_SERVER;
const ACTIONS: usize = 1_000;

fn server(number: usize) -> String {
    format!("s{}", number / TOOLS_A_SERVER % SERVERS)
}

fn tool(number: usize) -> String {
    format!("{}/t{number}", server(number))
}

/// The policies of a set.
pub(crate) fn policies(shape: Shape, size: usize) -> String {
    let mut text = String::new();
    for number in 0..size {
        let policy = match shape {
            Shape::Resource => resource(number),
            Shape::Role => role(number),
            Shape::Action => action(number, size),
            Shape::Mixed => mixed(number),
            Shape::Unscoped => unscoped(number),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "@id(\"p{number:06}\")\n{policy}");
    }
    text
}

const CALL: &str = "action in Mcp::Action::\"tools/call\"";
const OF_TENANT: &str = "principal has tenant && principal.tenant == Tenant::\"corp/acme\"";

fn resource(number: usize) -> String {
    format!(
        "permit (principal is User, {CALL}, resource == Mcp::Tool::\"{}\") when {{ {OF_TENANT} }};",
        tool(number)
    )
}

fn role(number: usize) -> String {
    format!("permit (principal in Role::\"corp/role{number}\", {CALL}, resource) when {{ resource.listed }};")
}

fn action(number: usize, size: usize) -> String {
    let actions = size.min(ACTIONS);
    format!(
        "permit (principal, action == Own::Action::\"op{}\", resource) when {{ context.delegation_depth == {} }};",
        number % actions,
        number / actions
    )
}

fn mixed(number: usize) -> String {
    let (role, tool, server) = (format!("Role::\"corp/role{number}\""), tool(number), server(number));
    match number % 10 {
        0..=5 => format!(
            "permit (principal in {role}, {CALL}, resource == Mcp::Tool::\"{tool}\") when {{ context.scopes.contains(\"scope{}\") }};",
            number % 20
        ),
        6 | 7 => format!(
            "permit (principal in {role}, {CALL}, resource in Mcp::Server::\"{server}\") when {{ !resource.destructive || {} }};",
            "context.groups_complete"
        ),
        8 => {
            let server = if number < TOOLS { server } else { format!("x{number}") };
            format!(
                "permit (principal is User, {CALL}, resource in Mcp::Server::\"{server}\") when {{ context.delegation_depth == {number} }};"
            )
        }
        _ if number < 200 => {
            format!(
                "forbid (principal, action, resource) when {{ context.delegation_depth > {} }};",
                1_000 + number
            )
        }
        _ => format!(
            "forbid (principal, {CALL}, resource == Mcp::Tool::\"{tool}\") when {{ context.delegation_depth > 1 }};"
        ),
    }
}

fn unscoped(number: usize) -> String {
    format!("permit (principal, action, resource) when {{ context.issuer like \"s{number}*\" }};")
}

/// The files of a set, its policies in one file or in several.
pub(crate) fn sources(shape: Shape, size: usize, files: usize) -> Sources {
    let text = policies(shape, size);
    let lines: Vec<&str> = text.lines().collect();
    // Two lines a policy.
    let length = (size.div_ceil(files) * 2).max(2);
    let policies = lines.chunks(length).enumerate();
    let policies =
        policies.map(|(at, lines)| SourceFile::new(format!("set/{at:03}.cedar"), lines.join("\n")));
    let mut sources = Sources { policies: policies.collect(), ..Sources::default() };
    if shape == Shape::Action {
        sources.schema.push(SourceFile::new("set/own.cedarschema", own_schema(size)));
        let door = r#"[{"uid": {"type": "Own::Door", "id": "d"}, "attrs": {}, "parents": []}]"#;
        sources.entities.push(SourceFile::new("set/entities.json", door));
    }
    sources
}

/// The actions of an action-scoped set.
pub(crate) fn own_schema(size: usize) -> String {
    let names: Vec<String> = (0..size.min(ACTIONS)).map(|number| format!("\"op{number}\"")).collect();
    let names = names.join(", ");
    format!(
        "namespace Own {{ entity Door; action {names} appliesTo {{ principal: [User], resource: [Door], context: Palisade::Context }}; }}"
    )
}

/// Fifty servers of twenty tools each.
pub(crate) fn world() -> Result<World, Failure> {
    let server = |number: usize| -> Result<WorldResource, Failure> {
        let first = number * TOOLS_A_SERVER;
        let tools = (first..first + TOOLS_A_SERVER)
            .map(|number| Tool { name: format!("t{number}"), ..Tool::default() })
            .collect();
        Ok(WorldResource {
            name: server(first).parse()?,
            kind: Kind::Mcp,
            identifier: format!("https://{}.example.com", server(first)),
            tools,
            routes: Vec::new(),
            graph: None,
        })
    };
    Ok(World { resources: (0..SERVERS).map(server).collect::<Result<_, _>>()?, ..World::default() })
}

/// A question with everything it borrows: a user with five roles and twenty scopes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) subject: Subject,
    pub(crate) authority: Authority,
    pub(crate) scopes: Scopes,
    pub(crate) action: Action,
    pub(crate) target: Target,
    pub(crate) resource: ResourceName,
    pub(crate) circumstances: Circumstances,
}

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

impl Asked {
    /// A question that the policy of this number is about, if the set has one.
    pub(crate) fn new(shape: Shape, number: usize) -> Result<Self, Failure> {
        let scopes: Scopes =
            (0..20).map(|scope| format!("scope{scope}").parse()).collect::<Result<_, _>>()?;
        let mut roles: BTreeSet<String> = (0..4).map(|other| format!("corp/other{other}")).collect();
        roles.insert(format!("corp/role{number}"));
        let resource: ResourceName = server(number).parse()?;
        let (action, target) = match shape {
            Shape::Action => (
                Action { namespace: "Own".to_owned(), name: format!("op{number}") },
                Target { type_name: "Own::Door".to_owned(), id: "d".to_owned() },
            ),
            Shape::Resource | Shape::Role | Shape::Mixed | Shape::Unscoped => {
                (Action::mcp("tools/call"), Target::mcp_tool(&resource, &format!("t{number}")))
            }
        };
        Ok(Self {
            subject: Subject {
                kind: SubjectKind::User,
                id: format!("corp/user{number}"),
                roles,
                groups: BTreeSet::new(),
                tenant: Some("corp/acme".to_owned()),
                tags: std::collections::BTreeMap::new(),
                supplied: palisade_model::Properties::default(),
            },
            authority: Authority {
                issuer: "corp".parse()?,
                audience: [Audience::from("https://mcp.example.com")].into(),
                scopes: scopes.clone(),
                client: Some("corp/app".to_owned()),
                actors: Vec::new(),
                acr: None,
                amr: BTreeSet::new(),
                auth_time: None,
                groups_complete: true,
                token_id: "jti:1".to_owned(),
                expires_at: NOW,
            },
            scopes,
            action,
            target,
            resource,
            circumstances: Circumstances {
                now: NOW,
                ip: None,
                host: None,
                path: None,
                surface: Surface::Decide,
                asserted: false,
                sent: None,
            },
        })
    }

    pub(crate) fn about(&self) -> palisade_policy::About<'_> {
        palisade_policy::About {
            action: &self.action,
            target: &self.target,
            resource: &self.resource,
            arguments: None,
            supplied: None,
        }
    }

    pub(crate) fn strength(&self) -> palisade_policy::Strength<'_> {
        palisade_policy::Strength { scopes: &self.scopes, acr: None, auth_time: None }
    }

    pub(crate) fn query(&self) -> palisade_policy::Query<'_> {
        palisade_policy::Query {
            subject: &self.subject,
            authority: Some(&self.authority),
            strength: self.strength(),
            action: &self.action,
            target: &self.target,
            resource: &self.resource,
            arguments: None,
            supplied: None,
            circumstances: &self.circumstances,
        }
    }
}

/// The numbers of the questions that a set of this size is asked, spread over the part of it that catalogues list.
pub(crate) fn questions(size: usize, count: usize) -> Vec<usize> {
    let span = size.min(TOOLS);
    (0..count.min(span)).map(|at| at * 7 % span).collect()
}
