//! What is asked and what is right: rules over roles, tools and scopes, subjects, and questions with the answer that
//! every side has to give.
//!
//! A rule is a permit for one role, tool and scope, or one in a hundred a forbid for one role and tool. Each side gets
//! the same rules in its own language; [`Matrix::permits`] is how they are meant.

use std::collections::BTreeSet;

use super::tokens::Holder;

/// How many tools the server has.
pub(crate) const TOOLS: usize = 1_000;
/// How many roles there are at most.
const ROLES: usize = 5_000;
/// From one tool of a role to its next: so far that no other role of a subject is named with it.
const STEP: usize = 37;
/// How many scopes the rules ask for.
const SCOPES: usize = 20;
/// How many subjects ask.
pub(crate) const SUBJECTS: usize = 1_000;
/// How many roles a subject has.
const HELD: usize = 5;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) number: usize,
    pub(crate) forbids: bool,
    pub(crate) role: String,
    pub(crate) tool: String,
    /// The scope that a permit asks for.
    pub(crate) scope: String,
}

/// Whether a subject may call a tool, and the right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) subject: usize,
    pub(crate) tool: usize,
    pub(crate) permitted: bool,
}

/// The rules of a policy set of this size.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) rules: Vec<Rule>,
    /// How many scopes a token has.
    scopes: usize,
}

pub(crate) fn tool_name(number: usize) -> String {
    format!("t{number}")
}

/// All scopes are of one length, so that none is a part of another: Envoy's RBAC can ask for parts only.
fn scope_name(number: usize) -> String {
    format!("s{number:04}")
}

fn role_name(number: usize) -> String {
    format!("r{number}")
}

impl Matrix {
    pub(crate) fn new(size: usize) -> Self {
        Self { rules: (0..size).map(rule).collect(), scopes: SCOPES }
    }

    /// The same rules, and tokens of this many scopes.
    pub(crate) fn with_scopes(size: usize, scopes: usize) -> Self {
        Self { scopes, ..Self::new(size) }
    }

    fn roles(&self) -> usize {
        self.rules.len().min(ROLES)
    }

    /// Who a subject is. One in ten lacks half of the scopes.
    pub(crate) fn holder(&self, subject: usize) -> Holder {
        let roles = (0..HELD).map(|held| role_name(self.role_of(subject, held))).collect();
        let scopes = (0..self.scopes).filter(|scope| !lacks(subject, *scope)).map(scope_name).collect();
        Holder { subject: format!("u{subject}"), roles, scopes }
    }

    fn role_of(&self, subject: usize, held: usize) -> usize {
        (subject * HELD + held) % self.roles()
    }

    /// How the rules are meant: some permit, and no forbid.
    pub(crate) fn permits(&self, subject: usize, tool: usize) -> bool {
        let holder = self.holder(subject);
        let (roles, tool): (BTreeSet<_>, _) = (holder.roles.into_iter().collect(), tool_name(tool));
        let mut about = self.rules.iter().filter(|rule| rule.tool == tool && roles.contains(&rule.role));
        let permitted = about.clone().any(|rule| !rule.forbids && holder.scopes.contains(&rule.scope));
        permitted && !about.any(|rule| rule.forbids)
    }

    /// Questions of these subjects: about each tool that a role of theirs is named with, and about one that none is.
    /// Where only some kinds of answers are wanted, `choose` picks among the questions of a subject.
    pub(crate) fn questions(&self, subjects: std::ops::Range<usize>) -> Vec<Question> {
        let of = |subject: usize| {
            let own = (0..HELD).map(move |held| self.role_of(subject, held) % TOOLS);
            let all = own.chain([(subject * HELD + HELD + 1) % TOOLS]);
            all.map(move |tool| Question { subject, tool, permitted: self.permits(subject, tool) })
        };
        subjects.flat_map(of).collect()
    }

    /// What is asked under load: of every subject one question, nineteen in twenty of which are permitted.
    pub(crate) fn load(&self) -> Vec<Question> {
        let one = |subject: usize| {
            let wanted = subject % 20 != 19;
            let questions = self.questions(subject..subject + 1);
            let turned = questions.iter().cycle().skip(subject % HELD).take(questions.len());
            turned.clone().find(|question| question.permitted == wanted).or(turned.clone().next()).copied()
        };
        // Apart in steps that have no factor in common with their number, so that no kind comes in a row.
        (0..SUBJECTS).map(|turn| turn * 37 % SUBJECTS).filter_map(one).collect()
    }
}

/// No two rules are about the same role and tool: where there are more rules than roles, a role has many tools.
fn rule(number: usize) -> Rule {
    let forbids = number % 100 == 99;
    // A forbid is about the tool of the permit before it, which it takes back from who has both roles.
    let (role, round) = (number % ROLES, number / ROLES);
    let tool = (if forbids { role - 1 } else { role } + round * STEP) % TOOLS;
    Rule { number, forbids, role: role_name(role), tool: tool_name(tool), scope: scope_name(number % SCOPES) }
}

/// Every tenth subject has every second scope only.
fn lacks(subject: usize, scope: usize) -> bool {
    subject % 10 == 9 && scope % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_cover_every_way_to_an_answer() {
        let matrix = Matrix::new(100);
        let questions = matrix.questions(0..40);
        assert_eq!(questions.len(), 40 * (HELD + 1));
        let permitted = questions.iter().filter(|question| question.permitted).count();
        assert!(permitted > 100 && permitted < questions.len() - 40, "{permitted}");
        // Roles r95 to r99, one of which takes back what another gives.
        assert!(matrix.permits(19, 96) && !matrix.permits(19, 97), "every second scope is lacking");
        assert!(!matrix.permits(18, 95), "no role");
        assert!(!matrix.permits(39, 98), "the forbid wins over the permit of another role");
    }

    #[test]
    fn as_many_rules_are_about_a_question_however_many_there_are() {
        let about = |size: usize| {
            let matrix = Matrix::new(size);
            let of = |question: &Question| {
                let (roles, tool) = (matrix.holder(question.subject).roles, tool_name(question.tool));
                matrix.rules.iter().filter(|rule| rule.tool == tool && roles.contains(&rule.role)).count()
            };
            matrix.questions(0..19).iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(about(1_000), about(100_000));
        let all = Matrix::new(100_000).rules;
        let pairs: BTreeSet<_> = all.iter().map(|rule| (&rule.role, &rule.tool)).collect();
        assert_eq!(pairs.len(), all.len());
    }

    #[test]
    fn the_load_is_of_every_subject_and_mostly_permitted() {
        let load = Matrix::new(100).load();
        let subjects: BTreeSet<_> = load.iter().map(|question| question.subject).collect();
        assert_eq!(subjects.len(), SUBJECTS);
        let denied = load.iter().filter(|question| !question.permitted).count();
        assert!((40..=60).contains(&denied), "{denied}");
    }
}
