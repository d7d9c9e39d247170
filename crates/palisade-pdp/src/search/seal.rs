//! Page tokens: where the next page of a search begins, sealed with the question.
//!
//! A token says a position among all that is known, and the limit of the pages, both in hex, and then a code over these
//! and everything that must stay the same. It holds no name: one between two results may be one that the caller may
//! not see.

use palisade_model::{AccessRequest, Arguments, Item, Properties, Reason, Refusal, canonical_json};

use super::{DEFAULT_PAGE, SearchRequest, Sought};
use crate::{Pdp, Snapshot, principal::Principal};

/// What makes and reads the tokens of one search.
pub(super) struct Seal<'a> {
    pub(super) pdp: &'a Pdp,
    pub(super) snapshot: &'a Snapshot,
    pub(super) request: &'a SearchRequest,
    pub(super) item: &'a Item,
    pub(super) principal: Option<&'a Principal>,
}

/// The hex digits of a position and a limit, and those of the code that seals them.
const PLAIN: usize = 32;
const CODE: usize = 32;

impl Seal<'_> {
    /// Where the page begins and how many it holds.
    pub(super) fn open(&self) -> Result<(usize, usize), Refusal> {
        let limit = self.request.limit;
        let Some(token) = self.request.token.as_deref().filter(|token| !token.is_empty()) else {
            return Ok((0, limit.unwrap_or(DEFAULT_PAGE)));
        };
        let foreign = || Refusal::new(Reason::RequestMalformed, "the page token is not one of this search");
        let (plain, _code) = token.split_at_checked(PLAIN).ok_or_else(foreign)?;
        let (from, of_token) = plain.split_at_checked(PLAIN / 2).ok_or_else(foreign)?;
        let number =
            |text: &str| u64::from_str_radix(text, 16).ok().and_then(|number| usize::try_from(number).ok());
        let (from, of_token) = number(from).zip(number(of_token)).ok_or_else(foreign)?;
        let same = is_same(token.as_bytes(), self.token(from, of_token).as_bytes());
        // Whatever the code is made by, none is no code.
        if !same || token.len() != PLAIN + CODE || limit.is_some_and(|limit| limit != of_token) {
            return Err(foreign());
        }
        Ok((from, of_token))
    }

    pub(super) fn token(&self, from: usize, limit: usize) -> String {
        let plain = format!("{from:016x}{limit:016x}");
        let code = self.pdp.audit().input_digest(&format!("{}\n{plain}", self.question()));
        let code = code.rsplit(':').next().and_then(|hex| hex.get(..CODE)).unwrap_or_default().to_owned();
        plain + &code
    }

    /// Everything that must be the same for two pages to be of one search. No two questions have the same text.
    fn question(&self) -> String {
        let AccessRequest { pep, resource, sent, .. } = &self.request.access;
        let Item { action, target, arguments, supplied, .. } = self.item;
        let supplied_of = |supplied: &Properties| {
            let members = supplied.iter().map(|(name, value)| (name.to_owned(), value.clone()));
            canonical_json(&serde_json::Value::Object(members.collect()))
        };
        let digest = |arguments: Option<&Arguments>| arguments.map(|arguments| arguments.digest.clone());
        let subject = self
            .principal
            .map(|principal| (principal.subject().entity(), supplied_of(&principal.subject().supplied)));
        let (action, target) = match &self.request.sought {
            Sought::Subjects(_) => (Some(action), Some(target)),
            Sought::Targets(_) => (Some(action), None),
            Sought::Actions => (None, Some(target)),
        };
        format!(
            "search page\n{:?}",
            (
                (pep.as_ref().map(ToString::to_string), resource.as_ref().map(ToString::to_string)),
                (self.snapshot.revision.as_str(), &self.request.sought, self.request.any_arguments, subject),
                (action, target, digest(arguments.as_deref()), supplied_of(supplied), digest(sent.as_ref())),
            )
        )
    }
}

/// Compares in a time that says nothing of where the two differ.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |differing, (left, right)| differing | (left ^ right));
    left.len() == right.len() && differing == 0
}
