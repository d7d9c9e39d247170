//! `mcpAuthorization`: rules as policies.
//!
//! Each rule is translated for tools, prompts and resources. An `allow` is a permission, a `deny` a refusal, and a
//! `require` the refusal of what it does not hold for. A refusal that cannot be translated takes the permissions out of
//! force; an `allow` that cannot is left out.

use palisade_model::{IssuerName, ResourceName};

use super::{
    expression::{ClaimUse, Mode, Targets, Translator, Untranslatable, parse},
    operand::Kind,
};
use crate::{
    Draft,
    cedar::{Condition, Effect, Policy, action_in, uid},
    source::{Entry, UNREADABLE, Value},
};

/// Palisade's set of scopes is larger than the claim that a rule looks into.
const WIDER: &str = "it is written, and may hold for more tokens: Palisade's scopes are those of `scope`, `scp` and \
                     `permissions` together; look whether your issuer writes more than one of them";

/// What the rules of a route are about.
pub(super) struct Rules<'a> {
    pub(super) name: &'a ResourceName,
    pub(super) issuers: &'a [(IssuerName, String)],
    pub(super) targets: &'a Targets,
    pub(super) line: u64,
    pub(super) path: &'a str,
}

/// A rule, kind by kind.
struct Conditions {
    when: Vec<Condition>,
    scopes: bool,
}

const KINDS: [(Kind, &str, &[&str]); 3] = [
    (Kind::Tool, "", &["tools/call"]),
    (Kind::Prompt, "-prompts", &["prompts/get"]),
    (Kind::Resource, "-resources", &["resources/read", "resources/subscribe", "resources/unsubscribe"]),
];

impl Rules<'_> {
    /// Writes a route's policies.
    pub(super) fn write(&self, authorization: Option<&Entry<'_>>, claims: &mut ClaimUse, draft: &mut Draft) {
        self.session(draft);
        let Some(authorization) = authorization else { return self.open(draft) };
        let Some(rules) = self.listed(authorization, draft) else {
            draft.suspend(self.name, authorization.line, &authorization.path);
            return;
        };
        if rules.is_empty() {
            return self.open(draft);
        }
        let mut permits = false;
        for rule in &rules {
            permits |= self.rule(rule, claims, draft) == Some(Mode::Allow);
        }
        if !permits {
            self.reserve(authorization, draft);
        }
    }

    fn listed<'a>(&self, authorization: &Entry<'a>, draft: &mut Draft) -> Option<Vec<Entry<'a>>> {
        let mut section = authorization.section(&mut draft.report)?;
        let rules = section.take("rules");
        for (_, unknown) in section.take_all() {
            draft.report.left(
                unknown.line,
                &unknown.path,
                "not a key that the import knows: look at it by hand",
            );
            draft.suspend(self.name, unknown.line, &unknown.path);
        }
        match rules {
            Some(rules) if !matches!(rules.node.value, Value::Null) => rules.elements(&mut draft.report),
            // Nothing at all is no policy of the gateway, and an empty mapping one that it does not start with.
            None if matches!(authorization.node.value, Value::Null) => Some(Vec::new()),
            Some(_) | None => {
                draft.report.left(authorization.line, &authorization.path, "without `rules`");
                None
            }
        }
    }

    /// One rule. Gives its mode, where it has one.
    fn rule(&self, entry: &Entry<'_>, claims: &mut ClaimUse, draft: &mut Draft) -> Option<Mode> {
        let Some((mode, rule)) = mode_of(entry) else {
            draft.report.left(entry.line, &entry.path, UNREADABLE);
            draft.suspend(self.name, entry.line, &entry.path);
            return None;
        };
        let what = format!("{}: {rule}", entry.path);
        match self.conditions(mode, rule, claims) {
            Ok(conditions) => {
                // More scopes are more refusals of a `deny`, and fewer of the others.
                if conditions.scopes && mode != Mode::Deny {
                    draft.report.left(entry.line, &what, WIDER);
                }
                self.policies(entry.line, &what, mode, conditions.when, draft);
            }
            Err(Untranslatable(why)) if mode == Mode::Allow => {
                draft.report.left(entry.line, &what, format!("nothing is permitted by it: {why}"));
            }
            Err(Untranslatable(why)) => {
                draft.report.left(
                    entry.line,
                    &what,
                    format!(
                        "{why}; write the refusal by hand, then put the permissions of `{}` in force",
                        self.name
                    ),
                );
                draft.suspend(self.name, entry.line, &what);
            }
        }
        Some(mode)
    }

    /// When the rule holds, kind by kind. What it says of claims is kept only if all of it is understood.
    fn conditions(
        &self,
        mode: Mode,
        rule: &str,
        claims: &mut ClaimUse,
    ) -> Result<Conditions, Untranslatable> {
        let expression = parse(rule)?;
        let mut used = claims.clone();
        let mut scopes = false;
        let when: Result<Vec<Condition>, Untranslatable> = KINDS
            .iter()
            .map(|(kind, _, _)| {
                let mut translator = Translator {
                    resource: self.name.as_str(),
                    issuers: self.issuers,
                    targets: self.targets,
                    claims: &mut used,
                    kind: *kind,
                    mode,
                    scopes: false,
                };
                let holds = translator.translate(&expression)?.holds?;
                scopes |= translator.scopes;
                Ok(if mode == Mode::Require { holds.negated() } else { holds })
            })
            .collect();
        let when = when?;
        *claims = used;
        Ok(Conditions { when, scopes })
    }

    fn policies(&self, line: u64, what: &str, mode: Mode, conditions: Vec<Condition>, draft: &mut Draft) {
        let alike = conditions.iter().all(|condition| Some(condition) == conditions.first());
        let all: Vec<&str> = KINDS.iter().flat_map(|(_, _, actions)| actions.iter().copied()).collect();
        let mut written = Vec::new();
        for ((_, suffix, actions), when) in KINDS.iter().zip(conditions) {
            if when == Condition::Never {
                continue;
            }
            let (suffix, actions) = if alike { ("", all.as_slice()) } else { (*suffix, *actions) };
            let effect = if mode == Mode::Allow { Effect::Permit } else { Effect::Forbid };
            let id = draft.id(format!("{}-line-{line}{suffix}", self.name));
            written.push(format!("`{id}`"));
            let comment = draft.origin(line, what);
            draft.policies.push(Policy { comment, effect, ..self.policy(id, actions, when) });
            if alike {
                break;
            }
        }
        let detail = match written.as_slice() {
            [] => "never matches: no policy is needed".to_owned(),
            ids => format!("policy {}", ids.join(", ")),
        };
        match mode {
            Mode::Allow => draft.report.permitted(line, what, self.name.as_str(), detail),
            Mode::Deny | Mode::Require => draft.report.carried(line, what, detail),
        }
    }

    fn policy(&self, id: String, actions: &[&str], when: Condition) -> Policy {
        Policy {
            of: self.name.to_string(),
            id,
            comment: Vec::new(),
            effect: Effect::Permit,
            principal: None,
            action: action_in("Mcp::Action", actions),
            resource: format!("resource in {}", uid("Mcp::Server", self.name.as_str())),
            when,
            guarded: true,
            reserved: false,
        }
    }

    /// Rules judge tools, prompts and resources: whoever has a token may connect and list what is permitted.
    fn session(&self, draft: &mut Draft) {
        let server = uid("Mcp::Server", self.name.as_str());
        let id = draft.id(format!("{}-session", self.name));
        let groups = ["session", "list"];
        let policy = Policy {
            comment: vec!["Rules do not judge who may connect and list: whoever has a token may".to_owned()],
            resource: format!("resource == {server}"),
            guarded: false,
            ..self.policy(id, &groups, Condition::Always)
        };
        draft.policies.push(policy);
    }

    fn everything(&self, suffix: &str, comment: Vec<String>, draft: &mut Draft) -> Policy {
        let actions: Vec<&str> = KINDS.iter().flat_map(|(_, _, actions)| actions.iter().copied()).collect();
        let id = draft.id(format!("{}-{suffix}", self.name));
        Policy { comment, ..self.policy(id, &actions, Condition::Always) }
    }

    /// Without rules, every token may do everything.
    fn open(&self, draft: &mut Draft) {
        let comment = draft.origin(self.line, "there are no mcpAuthorization rules");
        let policy = self.everything("all", comment, draft);
        draft.report.permitted(
            self.line,
            self.path,
            self.name.as_str(),
            format!(
                "no mcpAuthorization rules: policy `{}` permits every tool, prompt and resource",
                policy.id
            ),
        );
        draft.policies.push(policy);
    }

    /// Rules that refuse and none that allows: releases of agentgateway differ in what that means.
    fn reserve(&self, authorization: &Entry<'_>, draft: &mut Draft) {
        let comment = vec![
            "NOT IN FORCE: what agentgateway does where no rule allows depends on its release.".to_owned(),
            "If yours permits what no rule refuses, take the comment signs away.".to_owned(),
        ];
        let mut policy = self.everything("not-refused", comment, draft);
        policy.reserved = true;
        draft.report.left(
            authorization.line,
            &authorization.path,
            format!(
                "no rule allows: newer releases then permit what no rule refuses; policy `{}` says so in a comment",
                policy.id
            ),
        );
        draft.policies.push(policy);
    }
}

/// A rule is a text, which allows, or one of `allow`, `deny` and `require` with a text.
fn mode_of<'a>(entry: &Entry<'a>) -> Option<(Mode, &'a str)> {
    let (mode, node) = match &entry.node.value {
        Value::Text(_) => (Mode::Allow, entry.node),
        Value::Map(fields) => match fields.as_slice() {
            [(key, node)] => match key.name.as_str() {
                "allow" => (Mode::Allow, node),
                "deny" => (Mode::Deny, node),
                "require" => (Mode::Require, node),
                _ => return None,
            },
            _ => return None,
        },
        Value::Null | Value::Bool(_) | Value::Number | Value::List(_) => return None,
    };
    Entry { path: String::new(), line: node.line, node }.text().map(|text| (mode, text))
}
