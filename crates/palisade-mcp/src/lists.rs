//! The lists in a message of a server, cut as they came.
//!
//! A list of a thousand tools is some hundred kilobytes, of which nothing is looked at but the name of each entry. So an entry that
//! is shown goes on byte for byte, and one that is not is left out, without a tree being made of either.
//!
//! INVARIANT: what is taken here has one reading. Where a member that is looked at comes twice, or anything else is not as a server
//! writes it, nothing is taken, and the message has to be read whole ([`read_message`](crate::read_message), [`Listing::keep`]).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use crate::Listing;

/// The most members of a message or a result. There are a handful.
const MOST_MEMBERS: usize = 64;
/// What says who may be given a result, and for how long (MCP 2026-07-28, caching).
const SCOPE: &str = "cacheScope";
const LIFETIME: &str = "ttlMs";

/// One message, and the lists in its result.
#[derive(Debug)]
pub struct Lists<'m> {
    members: Vec<(Key<'m>, Member<'m>)>,
}

#[derive(Debug)]
enum Member<'m> {
    AsItCame(&'m RawValue),
    Result(Vec<(Key<'m>, Part<'m>)>),
}

#[derive(Debug)]
enum Part<'m> {
    AsItCame(&'m RawValue),
    List(Listing, Vec<Entry<'m>>),
}

#[derive(Debug)]
struct Entry<'m> {
    /// None where it has none: such an entry is never shown.
    name: Option<Key<'m>>,
    whole: &'m RawValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Key<'m>(#[serde(borrow)] Cow<'m, str>);

impl<'m> Lists<'m> {
    /// Reads a message. Nothing where it is none, or several, or has to be read whole: one with line breaks, which could not be the
    /// data of an event.
    #[must_use]
    pub fn read(message: &'m [u8]) -> Option<Self> {
        let breaks = memchr::memchr2(b'\n', b'\r', message).is_some();
        let members = if breaks { None } else { serde_json::from_slice::<Message<'m>>(message).ok() };
        members.map(|Message(members)| Self { members })
    }

    /// What says whom the message answers: its `id`, and its `method`, where it has them. What cannot be read of it is there as
    /// nothing.
    #[must_use]
    pub fn envelope(&self) -> Value {
        let told = self.members.iter().filter_map(|(name, member)| match member {
            Member::AsItCame(value) if matches!(&*name.0, "id" | "method") => {
                let value = palisade_json::read(value.get().as_bytes(), 0).unwrap_or_default();
                Some((name.0.clone().into_owned(), value))
            }
            Member::AsItCame(_) | Member::Result(_) => None,
        });
        Value::Object(told.collect::<Map<_, _>>())
    }

    /// Each list, with the names of its entries that have one, in order.
    pub fn names(&self) -> impl Iterator<Item = (Listing, Vec<String>)> {
        let results = self.members.iter().filter_map(|(_, member)| match member {
            Member::Result(parts) => Some(parts),
            Member::AsItCame(_) => None,
        });
        results.flatten().filter_map(|(_, part)| match part {
            Part::List(listing, entries) => {
                let names = entries.iter().filter_map(|entry| entry.name.as_ref());
                Some((*listing, names.map(|name| name.0.clone().into_owned()).collect()))
            }
            Part::AsItCame(_) => None,
        })
    }

    /// The message with what is shown of each list, in the order of [`Lists::names`]; what is beyond that, and what has no name, is
    /// left out. A result with a list is its reader's own.
    #[must_use]
    pub fn cut(&self, shown: &[Vec<bool>]) -> Vec<u8> {
        let mut lists = shown.iter();
        let members = self.members.iter().map(|(name, member)| {
            let value = match member {
                Member::AsItCame(value) => value.get().to_owned(),
                Member::Result(parts) => result(parts, &mut lists),
            };
            (name, value)
        });
        object(members).into_bytes()
    }
}

fn result<'s>(parts: &[(Key<'_>, Part<'_>)], shown: &mut impl Iterator<Item = &'s Vec<bool>>) -> String {
    let is_kept_by_others = parts.iter().any(|(name, _)| name.0 == SCOPE || name.0 == LIFETIME);
    let is_list = parts.iter().any(|(_, part)| matches!(part, Part::List(..)));
    let is_private = is_list && is_kept_by_others;
    let scope = Key(Cow::Borrowed(SCOPE));
    let private = is_private.then(|| (&scope, "\"private\"".to_owned()));
    let kept = parts.iter().filter(|(name, _)| !(is_private && name.0 == SCOPE)).map(|(name, part)| {
        let value = match part {
            Part::AsItCame(value) => value.get().to_owned(),
            Part::List(_, entries) => list(entries, shown.next().map(Vec::as_slice).unwrap_or_default()),
        };
        (name, value)
    });
    object(kept.chain(private))
}

fn list(entries: &[Entry<'_>], shown: &[bool]) -> String {
    let mut shown = shown.iter();
    let is_shown = |entry: &&Entry<'_>| entry.name.is_some() && shown.next().copied().unwrap_or(false);
    let mut text = String::from("[");
    for (number, entry) in entries.iter().filter(is_shown).enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(entry.whole.get());
    }
    text.push(']');
    text
}

fn object<'k>(members: impl Iterator<Item = (&'k Key<'k>, String)>) -> String {
    let mut text = String::from("{");
    for (number, (name, value)) in members.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(&*name.0).to_string());
        text.push(':');
        text.push_str(&value);
    }
    text.push('}');
    text
}

/// The members of a message.
struct Message<'m>(Vec<(Key<'m>, Member<'m>)>);

impl<'de: 'm, 'm> Deserialize<'de> for Message<'m> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Key<'de>, Member<'de>)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Key<'de>>()? {
                    let member = if name.0 == "result" {
                        Member::Result(map.next_value_seed(Parts)?)
                    } else {
                        Member::AsItCame(map.next_value()?)
                    };
                    add(&mut members, name, member)?;
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Message)
    }
}

/// The members of a result.
struct Parts;

impl<'de> DeserializeSeed<'de> for Parts {
    type Value = Vec<(Key<'de>, Part<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Parts {
    type Value = Vec<(Key<'de>, Part<'de>)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a result")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(name) = map.next_key::<Key<'de>>()? {
            let part = match Listing::ALL.into_iter().find(|listing| listing.member() == name.0) {
                Some(listing) => Part::List(listing, map.next_value_seed(Entries(listing))?),
                None => Part::AsItCame(map.next_value()?),
            };
            add(&mut parts, name, part)?;
        }
        Ok(parts)
    }
}

/// The entries of a list.
struct Entries(Listing);

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Vec<Entry<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(whole) = entries.next_element::<&'de RawValue>()? {
            let name = if whole.get().starts_with('{') {
                let mut read = serde_json::Deserializer::from_str(whole.get());
                Name(self.0.name()).deserialize(&mut read).map_err(Error::custom)?
            } else {
                None
            };
            all.push(Entry { name, whole });
        }
        Ok(all)
    }
}

/// The member of an entry that its call names; nothing where that is no text.
struct Name(&'static str);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<Key<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Option<Key<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<&'de RawValue> = None;
        while let Some(name) = map.next_key::<Key<'de>>()? {
            if name.0 != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(Error::custom("it comes twice"));
            }
        }
        let text = found.map(RawValue::get).filter(|value| value.starts_with('"'));
        text.map(serde_json::from_str).transpose().map_err(Error::custom)
    }
}

/// Takes in a member, which comes once.
fn add<'m, T, E: Error>(members: &mut Vec<(Key<'m>, T)>, name: Key<'m>, value: T) -> Result<(), E> {
    let is_read_otherwise = palisade_json::is_private(&name.0);
    if is_read_otherwise || members.len() >= MOST_MEMBERS || members.iter().any(|(known, _)| *known == name) {
        return Err(E::custom("it comes twice, is read in two ways, or there are too many"));
    }
    members.push((name, value));
    Ok(())
}

#[cfg(test)]
mod tests;
