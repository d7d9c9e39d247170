//! What an issuer's tokens are revoked for before their end.
//!
//! A list in a file, read with the configuration ([`Revocations`]). What an entry can name a token by is kept with the token
//! ([`Marks`]) and held against the lists in force on every use, also of a token that was verified before and of one that
//! was put away: nothing that is remembered of a token outlasts its revocation.
//!
//! A list names identities, sessions and tokens of its own issuer. A token of a token service says whose they are, which
//! token it goes back to (`sub_token`) and which it went through (`via`: other services' and actors'), so that to exchange
//! a token does not save it.
//!
//! What must never happen here: a list that is read in part; an entry that is passed over because something is not known of
//! a token: one without `iat` was issued before any time.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use palisade_json::JsonError;
use palisade_model::{IssuerName, Timestamp};
use serde_json::{Map, Value};
use thiserror::Error;

/// The longest list, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;
/// The most entries.
const MOST: usize = 100_000;
/// The longest name: as long as one in a token may be, with a tenant before it.
const LONGEST_NAME: usize = 512;
/// An array of objects.
const DEPTH: usize = 2;

/// What one issuer's tokens are revoked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    subjects: HashMap<String, Extent>,
    clients: HashMap<String, Extent>,
    sessions: HashSet<String>,
    tokens: HashSet<String>,
}

/// Which tokens of a subject or a client an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of them, as long as the entry stands.
    All,
    /// Those that were issued before.
    Before(Timestamp),
}

/// Why a text is no list of revocations. Holds nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RevocationsError {
    /// It is too long.
    #[error("the list is longer than {LONGEST} bytes")]
    TooLong,
    /// It is no strict JSON.
    #[error("the list is not read: {0}")]
    Json(#[from] JsonError),
    /// It is no array.
    #[error(
        "the list is no array of entries such as {{\"subject\": \"alice\", \"before\": \"2026-11-21T01:02:03Z\"}}"
    )]
    NotAnArray,
    /// It has too many entries.
    #[error("the list has more than {MOST} entries")]
    TooMany,
    /// An entry is none.
    #[error("entry {number}: {why}")]
    Entry {
        /// The number of the entry, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Revocations {
    /// Reads a list: a JSON array of `{"subject": .., "before": ..}`, `{"client": .., "before": ..}`, `{"session": ..}` and
    /// `{"token": ..}`. `before` is RFC 3339 in UTC and may be left out: then every token is revoked until the entry is taken
    /// away.
    ///
    /// # Errors
    /// When it cannot be read in exactly one way, or is beyond the limits.
    pub fn read(bytes: &[u8]) -> Result<Self, RevocationsError> {
        if bytes.len() > LONGEST {
            return Err(RevocationsError::TooLong);
        }
        let Value::Array(entries) = palisade_json::read(bytes, DEPTH)? else {
            return Err(RevocationsError::NotAnArray);
        };
        if entries.len() > MOST {
            return Err(RevocationsError::TooMany);
        }
        let mut list = Self::default();
        for (place, entry) in entries.iter().enumerate() {
            list.add(entry).map_err(|why| RevocationsError::Entry { number: place + 1, why })?;
        }
        Ok(list)
    }

    fn add(&mut self, entry: &Value) -> Result<(), &'static str> {
        let entry = entry.as_object().ok_or("it is no object")?;
        if entry.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
            return Err("it has a member other than `subject`, `client`, `session`, `token` and `before`");
        }
        let named = MEMBERS.iter().filter(|member| **member != BEFORE && entry.contains_key(**member));
        let [what] = named.copied().collect::<Vec<_>>()[..] else {
            return Err("it names not exactly one of `subject`, `client`, `session` and `token`");
        };
        let name = name(entry, what)?;
        let extent = extent(entry)?;
        match (what, extent) {
            ("subject", extent) => widen(&mut self.subjects, name, extent),
            ("client", extent) => widen(&mut self.clients, name, extent),
            (_, Extent::Before(_)) => return Err("`before` goes with `subject` and `client` alone"),
            ("session", Extent::All) => drop(self.sessions.insert(name)),
            // Records write it so.
            (_, Extent::All) => {
                let id = name.strip_prefix("jti:").unwrap_or(&name);
                self.tokens.insert(id.to_owned());
            }
        }
        Ok(())
    }

    /// Whether every subject and client is named with one of these tenants before it: of an issuer of several tenants nobody
    /// is called otherwise.
    #[must_use]
    pub fn names_within(&self, tenants: &[String]) -> bool {
        let known = |name: &str| tenants.iter().any(|tenant| *tenant == name);
        let within = |name: &String| name.split_once('/').is_some_and(|(tenant, _)| known(tenant));
        self.subjects.keys().chain(self.clients.keys()).all(within)
    }

    /// Whether a subject is named.
    #[must_use]
    pub fn names_subjects(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// What of a token the list names, if anything. `leeway` is how far the issuer's clock may be off: a token that it says
    /// to have issued at a time may have been issued so much earlier.
    fn names(&self, mark: &Mark, leeway: Duration) -> Option<&'static str> {
        let covers = |extent: &Extent| match extent {
            Extent::All => true,
            Extent::Before(before) => mark.issued.is_none_or(|issued| issued < before.plus(leeway)),
        };
        let covered = |list: &HashMap<String, Extent>, name: Option<&String>| {
            name.and_then(|name| list.get(name)).is_some_and(covers)
        };
        let listed =
            |list: &HashSet<String>, name: Option<&String>| name.is_some_and(|name| list.contains(name));
        let all = [
            ("subject", covered(&self.subjects, mark.subject.as_ref())),
            ("client", covered(&self.clients, mark.client.as_ref())),
            ("session", listed(&self.sessions, mark.session.as_ref())),
            ("token", listed(&self.tokens, mark.token.as_ref())),
        ];
        all.into_iter().find_map(|(what, named)| named.then_some(what))
    }
}

/// The numbers of entries: names of people are not for a log.
impl fmt::Debug for Revocations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subjects, clients, sessions, tokens } = self;
        let all = subjects.len() + clients.len() + sessions.len() + tokens.len();
        write!(formatter, "Revocations({all} entries)")
    }
}

const BEFORE: &str = "before";
const MEMBERS: [&str; 5] = ["subject", "client", "session", "token", BEFORE];

fn name(entry: &Map<String, Value>, member: &str) -> Result<String, &'static str> {
    let text = entry.get(member).and_then(Value::as_str).ok_or("what it names is no text")?;
    let good =
        !text.is_empty() && text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        Err("what it names is empty, too long or holds control characters")
    }
}

fn extent(entry: &Map<String, Value>) -> Result<Extent, &'static str> {
    let Some(before) = entry.get(BEFORE) else { return Ok(Extent::All) };
    let time = before.as_str().and_then(|text| text.parse().ok());
    time.map(Extent::Before).ok_or("`before` is no time in RFC 3339 and UTC such as 2026-11-21T01:02:03Z")
}

/// Two entries about one name both hold.
fn widen(list: &mut HashMap<String, Extent>, name: String, extent: Extent) {
    list.entry(name)
        .and_modify(|known| {
            *known = match (*known, extent) {
                (Extent::All, _) | (_, Extent::All) => Extent::All,
                (Extent::Before(one), Extent::Before(other)) => Extent::Before(one.max(other)),
            }
        })
        .or_insert(extent);
}

/// What the list of one issuer can name a token by. Names are those that stand behind the issuer's in the ids of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) issuer: IssuerName,
    pub(crate) subject: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) session: Option<String>,
    /// `jti`, or `sha256:<hex>` where there is none.
    pub(crate) token: Option<String>,
    pub(crate) issued: Option<Timestamp>,
}

/// What the lists of all issuers can name a token by: kept with whatever is remembered of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Arc<[Mark]>);

impl Marks {
    pub(crate) fn new(marks: Vec<Mark>) -> Self {
        Self(marks.into())
    }

    /// These and others, of which any may be named.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(others.0.iter()).cloned().collect())
    }

    /// The issuer whose list names one of them, and what of it.
    pub(crate) fn revoked<'a, 'l>(
        &'a self,
        list_of: impl Fn(&IssuerName) -> Option<(&'l Revocations, Duration)>,
    ) -> Option<(&'a IssuerName, &'static str)> {
        self.0.iter().find_map(|mark| {
            let (list, leeway) = list_of(&mark.issuer)?;
            list.names(mark, leeway).map(|what| (&mark.issuer, what))
        })
    }
}

#[cfg(test)]
mod tests;
