//! Casbin's RBAC: `model.conf` and a policy of comma-separated values.
//!
//! The flow: the model says what the columns mean and which effect counts; `g` lines become the role hierarchy in
//! `entities.json`, `g2` lines groups of objects, and each `p` line a policy.
//!
//! Casbin's names are anybody's; these rules give them a meaning, and the report repeats them:
//!
//! - A subject is a user, `User::"<issuer>/<name>"`; one on the right of a `g` line is a global role, `Role::"<name>"`,
//!   with `/` and `%` percent-encoded, because an id with a slash belongs to an issuer.
//! - Kind `mcp`: the object is a tool for the action `call` (or `tools/call`), a resource's URI for `read` (or
//!   `resources/read`), a prompt for `get` (or `prompts/get`).
//! - Kind `http`: the object is a path; the action is an HTTP method, or `read` (GET, HEAD, OPTIONS) or `write` (POST, PUT,
//!   PATCH, DELETE).

mod hierarchy;
mod model;
mod rows;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use palisade_model::{IssuerName, ResourceName};

use crate::{
    Draft, Import, ImportError, Options,
    cedar::{Condition, Effect, Policy, action_in, uid},
    config::Resource,
};
use hierarchy::{Hierarchy, Refused};
use model::{Column, Model};
use rows::Row;
use target::{Target, Word, http_action, is_path, mcp_target};

/// What the objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tools, resources and prompts of an MCP server.
    Mcp,
    /// Paths of an HTTP service.
    Http,
}

/// A model: the name of its file, and its text.
#[derive(Debug, Clone, Copy)]
pub struct ModelFile<'a> {
    /// The name, for the report.
    pub file: &'a str,
    /// The text.
    pub text: &'a str,
}

/// The policy as it is read.
struct Reader<'a> {
    name: &'a ResourceName,
    kind: Kind,
    issuer: String,
    model: Model,
    roles: Hierarchy,
    groups: Hierarchy,
    routes: BTreeSet<String>,
    draft: &'a mut Draft,
}

/// Imports a policy under its model, by default the standard RBAC model.
///
/// # Errors
/// For options that are no URLs.
pub fn import(
    text: &str,
    model: Option<ModelFile<'_>>,
    kind: Kind,
    options: &Options,
) -> Result<Import, ImportError> {
    let mut draft = Draft::new(options)?;
    let name = options.name.clone();
    let identifier = draft.missing_identifier(0, "identifier", &name);
    let issuers: Vec<IssuerName> = draft.missing_issuer(0, "issuer").into_iter().collect();
    let issuer = issuers.first().map(ToString::to_string).unwrap_or_default();
    let understood = match model {
        Some(model) => Model::read(model.file, model.text, &mut draft.report),
        None => Model::standard(&mut draft.report),
    };
    let rows = rows::rows(text);
    let mut routes = BTreeSet::new();
    match understood {
        Some(model) => {
            let reader = Reader {
                name: &name,
                kind,
                issuer,
                model,
                roles: Hierarchy::default(),
                groups: Hierarchy::default(),
                routes,
                draft: &mut draft,
            };
            routes = reader.read(&rows);
        }
        None => {
            routes.clear();
            for row in &rows {
                draft.report.left(row.line, row.text, "not translated: the model was not understood");
            }
        }
    }
    let resource = Resource {
        identifier,
        issuers,
        kind: match kind {
            Kind::Mcp => "mcp",
            Kind::Http => "http",
        },
        routes: routes.into_iter().collect(),
        ..Resource::default()
    };
    draft.config.resources.insert(name, resource);
    hints(kind, &mut draft);
    draft.finish()
}

fn hints(kind: Kind, draft: &mut Draft) {
    draft.report.hint(
        "names on the right of a g line are roles; every other subject is the id of a user, the token's `sub` unless \
         `issuers.<name>.subject` says otherwise. A user who is called like a role has not the role",
    );
    draft.report.hint("permissions are for users; a client that acts as itself needs policies of its own");
    draft.report.hint(match kind {
        Kind::Mcp => {
            "objects are tools for the action `call`, URIs of resources for `read`, prompts for `get`; whoever signed in \
             may connect and list"
        }
        Kind::Http => {
            "objects are paths, actions HTTP methods, or `read` (GET, HEAD, OPTIONS) and `write` (POST, PUT, PATCH, DELETE)"
        }
    });
}

impl Reader<'_> {
    fn read(mut self, rows: &[Row<'_>]) -> BTreeSet<String> {
        if self.kind == Kind::Mcp {
            self.session();
        }
        for row in rows {
            if row
                .fields
                .as_ref()
                .and_then(|fields| fields.first())
                .is_some_and(|kind| kind == "g" || kind == "g2")
            {
                self.link(row);
            }
        }
        if self.model.effect == model::Effect::NoDeny {
            self.everything();
        }
        for row in rows {
            let fields = row.fields.as_deref().unwrap_or_default();
            match fields {
                [kind, ..] if kind == "g" || kind == "g2" => {}
                [kind, rest @ ..] if kind == "p" => self.line(row, rest),
                [_, ..] => self.draft.report.left(row.line, row.text, "not a line of p, g or g2"),
                [] => self.unreadable(row, "Casbin's implementations differ on this line: write it without quotes and without white space at the end of fields"),
            }
        }
        self.entities();
        self.routes
    }

    /// A line that may deny, or that may put somebody under a denial.
    fn unreadable(&mut self, row: &Row<'_>, why: &str) {
        self.draft.report.left(row.line, row.text, why);
        if self.model.denies() {
            self.draft.suspend(self.name, row.line, row.text);
        }
    }

    fn link(&mut self, row: &Row<'_>) {
        let fields = row.fields.as_deref().unwrap_or_default();
        let [kind, member, group] = fields else {
            return self
                .unreadable(row, "a link has a member and what it is in; domains have no counterpart");
        };
        let (used, hierarchy, detail) = if kind == "g" {
            (self.model.roles, &mut self.roles, "entities.json")
        } else {
            (self.model.groups, &mut self.groups, "the policies on the group")
        };
        if !used {
            self.draft.report.not_needed(row.line, row.text, "the matcher does not ask for it");
            return;
        }
        match hierarchy.add(member, group) {
            Ok(()) => self.draft.report.carried(row.line, row.text, detail),
            Err(Refused::Itself) => {
                self.draft.report.not_needed(row.line, row.text, "a name is always in itself")
            }
            Err(Refused::Cycle) => {
                self.unreadable(row, "it closes a cycle, which a hierarchy of Cedar may not have")
            }
            Err(Refused::TooLong) => {
                self.unreadable(row, "a chain longer than the 10 links that Casbin follows")
            }
        }
    }

    fn line(&mut self, row: &Row<'_>, fields: &[String]) {
        let columns = self.model.columns.clone();
        if fields.len() != columns.len() {
            return self.unreadable(row, "not as many fields as the model's policy_definition");
        }
        let field = |wanted: Column| {
            let at = columns.iter().position(|column| *column == wanted)?;
            fields.get(at).map(String::as_str)
        };
        let (Some(subject), Some(object), Some(action)) =
            (field(Column::Subject), field(Column::Object), field(Column::Action))
        else {
            return;
        };
        let word = match field(Column::Effect) {
            None | Some("allow") => Word::Allow,
            Some("deny") => Word::Deny,
            Some(_) => Word::Neither,
        };
        let counts = match (word, self.model.effect) {
            (Word::Allow, model::Effect::SomeAllow | model::Effect::SomeAllowNoDeny)
            | (Word::Deny, model::Effect::NoDeny | model::Effect::SomeAllowNoDeny) => true,
            (Word::Allow, model::Effect::NoDeny) | (Word::Deny, model::Effect::SomeAllow) => false,
            (Word::Neither, _) => {
                let why = "neither allow nor deny: Casbin takes it for neither";
                return self.draft.report.left(row.line, row.text, why);
            }
        };
        if !counts {
            let why = "without effect: the model's policy_effect does not ask for it";
            return self.draft.report.not_needed(row.line, row.text, why);
        }
        match self.targets(object, action, word) {
            Ok(targets) => self.policies(row, subject, &targets, word),
            Err(why) if word == Word::Deny => {
                self.draft.report.left(row.line, row.text, why);
                self.draft.suspend(self.name, row.line, row.text);
            }
            Err(why) => self.draft.report.left(row.line, row.text, why),
        }
    }

    /// The targets of a line: its object, and with `g2` whatever is in it.
    fn targets(&mut self, object: &str, action: &str, word: Word) -> Result<Vec<Target>, &'static str> {
        if !self.model.object.is_literal(object) || !self.model.action.is_literal(action) {
            return Err("a pattern has no exact counterpart: write the objects and actions out");
        }
        let objects =
            if self.model.groups { self.groups.members(object) } else { BTreeSet::from([object.to_owned()]) };
        match self.kind {
            Kind::Mcp => objects.iter().map(|object| mcp_target(self.name, object, action, word)).collect(),
            Kind::Http => self.routes(object, &objects, action),
        }
    }

    fn routes(
        &mut self,
        group: &str,
        objects: &BTreeSet<String>,
        action: &str,
    ) -> Result<Vec<Target>, &'static str> {
        let action = http_action(action).ok_or("not an HTTP method (in capitals), `read` or `write`")?;
        // The name of a group need not be a path; what is in it must be.
        let grouped = self.groups.is_group(group);
        let paths: Vec<&String> =
            objects.iter().filter(|object| !(grouped && *object == group && !is_path(object))).collect();
        if paths.iter().any(|path| !is_path(path)) {
            return Err(
                "not a path that a route can be: it begins with /, without patterns, dots alone and empty segments",
            );
        }
        self.routes.extend(paths.iter().map(|path| (*path).clone()));
        let target = |path: &&String| Target {
            entity: uid("Http::Route", &format!("{}{path}", self.name)),
            actions: vec![action],
        };
        Ok(paths.iter().map(target).collect())
    }

    fn policies(&mut self, row: &Row<'_>, subject: &str, targets: &[Target], word: Word) {
        let user = Condition::User(uid("User", &format!("{}/{subject}", self.issuer)));
        let role = Condition::In(uid("Role", &role_id(subject)));
        let who = match (self.roles.is_group(subject), word) {
            (false, _) => user,
            (true, Word::Deny) => Condition::any([role, user]),
            (true, Word::Allow | Word::Neither) => role,
        };
        let mut ids = Vec::new();
        for target in targets {
            let id = self.draft.id(format!("{}-line-{}", self.name, row.line));
            ids.push(format!("`{id}`"));
            let effect = if word == Word::Deny { Effect::Forbid } else { Effect::Permit };
            let policy = Policy {
                comment: self.draft.origin(row.line, row.text),
                effect,
                resource: format!("resource == {}", target.entity),
                ..self.policy(id, &target.actions, who.clone())
            };
            self.draft.policies.push(policy);
        }
        let detail = format!("policy {}", ids.join(", "));
        let report = &mut self.draft.report;
        match word {
            Word::Allow => report.permitted(row.line, row.text, self.name.as_str(), detail),
            Word::Deny | Word::Neither => report.carried(row.line, row.text, detail),
        }
    }

    fn policy(&self, id: String, actions: &[&str], when: Condition) -> Policy {
        let kind = match self.kind {
            Kind::Mcp => "Mcp::Action",
            Kind::Http => "Http::Action",
        };
        Policy {
            of: self.name.to_string(),
            id,
            comment: Vec::new(),
            effect: Effect::Permit,
            principal: None,
            action: action_in(kind, actions),
            resource: "resource".to_owned(),
            when,
            guarded: true,
            reserved: false,
        }
    }

    /// A permission for every user.
    fn for_users(&mut self, suffix: &str, comment: &str, actions: &[&str], resource: String) -> Policy {
        let id = self.draft.id(format!("{}-{suffix}", self.name));
        Policy {
            comment: vec![comment.to_owned()],
            principal: Some("principal is User".to_owned()),
            resource,
            ..self.policy(id, actions, Condition::Always)
        }
    }

    fn session(&mut self) {
        let server = uid("Mcp::Server", self.name.as_str());
        let comment = "Casbin does not judge who may connect and list: whoever signed in may";
        let policy =
            self.for_users("session", comment, &["session", "list"], format!("resource == {server}"));
        self.draft.policies.push(Policy { guarded: false, ..policy });
    }

    /// `!some(where (p.eft == deny))`: whatever no line denies.
    fn everything(&mut self) {
        let (actions, above): (&[&str], _) = match self.kind {
            Kind::Mcp => (&["tools/call", "prompts/get", "resources/read"], "Mcp::Server"),
            Kind::Http => (&["read", "write"], "Http::Service"),
        };
        let above = uid(above, self.name.as_str());
        let comment = "The model's policy_effect permits whatever no line denies";
        let policy = self.for_users("not-denied", comment, actions, format!("resource in {above}"));
        self.draft.report.permitted(
            0,
            "policy_effect.e",
            self.name.as_str(),
            format!("policy `{}` permits whatever no line denies", policy.id),
        );
        self.draft.policies.push(policy);
    }

    /// Users and roles with the roles they are in.
    fn entities(&mut self) {
        let links: Vec<(String, Vec<String>)> = self
            .roles
            .links()
            .map(|(name, above)| (name.to_owned(), above.into_iter().map(role_id).collect()))
            .collect();
        for (name, above) in links {
            let parents: Vec<(&str, String)> = above.into_iter().map(|id| ("Role", id)).collect();
            if self.roles.is_group(&name) {
                self.draft.entity("Role", &role_id(&name), &parents);
            } else {
                self.draft.entity("User", &format!("{}/{name}", self.issuer), &parents);
            }
        }
    }
}

/// INVARIANT: without a slash, so that no claim of a token can give the role.
fn role_id(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
