//! A Casbin model, `model.conf`: which of its forms have an exact counterpart.
//!
//! The forms are told by their text without white space, not evaluated: a matcher is a conjunction of the known
//! comparisons, or it is not understood and no line of the policy is translated.

use std::collections::BTreeMap;

use crate::report::{Outcome, Report};

/// What people mean by the standard model: roles, no patterns, whoever is allowed by some line may.
const STANDARD: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
                        [role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n\
                        [matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n";

/// What decides where several lines match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// One line that allows.
    SomeAllow,
    /// No line that denies.
    NoDeny,
    /// One line that allows and none that denies.
    SomeAllowNoDeny,
}

/// How a column is compared with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    /// `keyMatch`: `*` stands for any rest, all else for itself.
    KeyMatch,
    /// `keyMatch2` and its like: a regular expression is made of it.
    Pattern,
    /// A regular expression that may match anywhere: no text stands for itself alone.
    Regex,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    /// The columns of `p`, in order.
    pub(super) columns: Vec<Column>,
    pub(super) effect: Effect,
    /// Whether a subject may be a role, `g`.
    pub(super) roles: bool,
    /// Whether an object may be a group of objects, `g2`.
    pub(super) groups: bool,
    pub(super) object: Comparison,
    pub(super) action: Comparison,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Subject,
    Object,
    Action,
    Effect,
}

/// A definition and its line.
type Definitions = BTreeMap<(String, String), (u64, String)>;

impl Model {
    /// The standard model.
    pub(super) fn standard(report: &mut Report) -> Option<Self> {
        Self::understand(&definitions(STANDARD, |_| ()), "the standard model", report)
    }

    /// Reads a model. `None` where a part of it has no exact counterpart; each such part is a finding.
    pub(super) fn read(file: &str, text: &str, report: &mut Report) -> Option<Self> {
        let mut unread = Vec::new();
        let definitions = definitions(text, |line| unread.push(line));
        for line in unread {
            report.say_of(file, line, "line", Outcome::Left, "neither a section nor a definition");
        }
        let model = Self::understand(&definitions, file, report)?;
        for ((section, name), (line, _)) in &definitions {
            report.say_of(file, *line, &format!("{section}.{name}"), Outcome::Carried, "in the policies");
        }
        Some(model)
    }

    fn understand(definitions: &Definitions, file: &str, report: &mut Report) -> Option<Self> {
        let mut reader = Reader { definitions, file, report, understood: true };
        reader.only_known();
        let request = reader.part("request_definition", "r", |text| (text == "sub,obj,act").then_some(()));
        let columns = reader.part("policy_definition", "p", columns);
        let effect = reader.part("policy_effect", "e", effect);
        let matcher = reader.part("matchers", "m", matcher);
        for (name, needed) in [
            ("g", matcher.as_ref().is_some_and(|matcher| matcher.0)),
            ("g2", matcher.as_ref().is_some_and(|matcher| matcher.1)),
        ] {
            if needed {
                reader.part("role_definition", name, |text| (text == "_,_").then_some(()));
            }
        }
        let understood = reader.understood;
        let (roles, groups, object, action) = matcher?;
        let model = Self { columns: columns?, effect: effect?, roles, groups, object, action };
        request.filter(|()| understood).map(|()| model)
    }

    /// Whether lines may deny.
    pub(super) fn denies(&self) -> bool {
        match self.effect {
            Effect::SomeAllow => false,
            Effect::NoDeny | Effect::SomeAllowNoDeny => true,
        }
    }
}

impl Comparison {
    /// Whether a text stands for itself and nothing else.
    pub(super) fn is_literal(self, text: &str) -> bool {
        let plain =
            |character: char| character.is_ascii_alphanumeric() || matches!(character, '/' | '_' | '-');
        match self {
            Self::Equal => true,
            Self::KeyMatch => !text.contains('*'),
            Self::Pattern => text.chars().all(plain),
            Self::Regex => false,
        }
    }
}

struct Reader<'a> {
    definitions: &'a Definitions,
    file: &'a str,
    report: &'a mut Report,
    understood: bool,
}

impl Reader<'_> {
    fn part<T>(&mut self, section: &str, name: &str, understand: impl Fn(&str) -> Option<T>) -> Option<T> {
        let what = format!("{section}.{name}");
        let Some((line, text)) = self.definitions.get(&(section.to_owned(), name.to_owned())) else {
            self.left(0, &what, "the definition is missing: no line of the policy can be translated");
            return None;
        };
        let plain: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let part = understand(&plain);
        if part.is_none() {
            self.left(
                *line,
                &format!("{what} = {text}"),
                "has no exact counterpart: no line of the policy can be translated; write the policies by hand",
            );
        }
        part
    }

    /// A second matcher or effect is used by requests that name it: what it permits is not known here.
    fn only_known(&mut self) {
        let known = [
            ("request_definition", "r"),
            ("policy_definition", "p"),
            ("role_definition", "g"),
            ("role_definition", "g2"),
            ("policy_effect", "e"),
            ("matchers", "m"),
        ];
        let definitions = self.definitions;
        for ((section, name), (line, _)) in definitions {
            if !known.contains(&(section.as_str(), name.as_str())) {
                let what = format!("{section}.{name}");
                self.left(
                    *line,
                    &what,
                    "not a definition of the standard model: no line of the policy can be translated",
                );
            }
        }
    }

    fn left(&mut self, line: u64, what: &str, why: &str) {
        self.understood = false;
        self.report.say_of(self.file, line, what, Outcome::Left, why);
    }
}

fn columns(text: &str) -> Option<Vec<Column>> {
    let columns: Option<Vec<Column>> = text
        .split(',')
        .map(|name| match name {
            "sub" => Some(Column::Subject),
            "obj" => Some(Column::Object),
            "act" => Some(Column::Action),
            "eft" => Some(Column::Effect),
            _ => None,
        })
        .collect();
    let columns = columns?;
    let once = |column: Column| columns.iter().filter(|given| **given == column).count() == 1;
    let needed = [Column::Subject, Column::Object, Column::Action].into_iter().all(once);
    let effect = columns.iter().filter(|given| **given == Column::Effect).count();
    (needed && effect <= 1).then_some(columns)
}

fn effect(text: &str) -> Option<Effect> {
    match text {
        "some(where(p.eft==allow))" => Some(Effect::SomeAllow),
        "!some(where(p.eft==deny))" => Some(Effect::NoDeny),
        "some(where(p.eft==allow))&&!some(where(p.eft==deny))" => Some(Effect::SomeAllowNoDeny),
        _ => None,
    }
}

/// Whether `g` and `g2` are used, and how objects and actions are compared.
fn matcher(text: &str) -> Option<(bool, bool, Comparison, Comparison)> {
    let (mut roles, mut groups, mut object, mut action) = (None, false, None, None);
    for part in text.split("&&") {
        let slot = match part {
            "g(r.sub,p.sub)" => roles.replace(true).is_some(),
            "r.sub==p.sub" | "p.sub==r.sub" => roles.replace(false).is_some(),
            "g2(r.obj,p.obj)" => {
                groups = true;
                object.replace(Comparison::Equal).is_some()
            }
            other => match comparison(other)? {
                ("obj", comparison) => object.replace(comparison).is_some(),
                (_, comparison) => action.replace(comparison).is_some(),
            },
        };
        if slot {
            return None;
        }
    }
    Some((roles?, groups, object?, action?))
}

/// A comparison of `obj` or `act`.
fn comparison(part: &str) -> Option<(&'static str, Comparison)> {
    ["obj", "act"].into_iter().find_map(|column| {
        let (request, policy) = (format!("r.{column}"), format!("p.{column}"));
        if part == format!("{request}=={policy}") || part == format!("{policy}=={request}") {
            return Some((column, Comparison::Equal));
        }
        let function = part.strip_suffix(&format!("({request},{policy})"))?;
        let comparison = match function {
            "keyMatch" => Comparison::KeyMatch,
            "keyMatch2" | "keyMatch3" | "keyMatch4" | "keyMatch5" | "globMatch" => Comparison::Pattern,
            "regexMatch" => Comparison::Regex,
            _ => return None,
        };
        Some((column, comparison))
    })
}

/// The definitions by section and name. A line that ends with a backslash goes on with the next.
fn definitions(text: &str, mut unread: impl FnMut(u64)) -> Definitions {
    let mut all = Definitions::new();
    let mut section = String::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let mut logical = line.trim().to_owned();
        while let Some(begun) = logical.strip_suffix('\\').map(str::to_owned) {
            let Some((next, _)) = lines.next() else {
                logical = begun;
                break;
            };
            logical = format!("{begun}{}", next.trim());
        }
        let logical = logical.split('#').next().unwrap_or_default().trim();
        if logical.is_empty() || logical.starts_with(';') {
            continue;
        }
        if let Some(name) = logical.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
        } else if let Some((name, value)) = logical.split_once('=') {
            let place = (section.clone(), name.trim().to_owned());
            // Which of two definitions holds differs between Casbin's implementations: neither is taken.
            let twice = |definition: &mut (u64, String)| *definition = (number, String::new());
            let defined = (number, value.trim().to_owned());
            all.entry(place).and_modify(twice).or_insert(defined);
        } else {
            unread(number);
        }
    }
    all
}
