//! Values and entities in the form in which conditions are evaluated, without a way round through expressions.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, LazyLock},
    time::Duration,
};

use cedar_policy_core::{
    ast::{Entity, EntityUID, ExtensionFunction, PartialValue, Value, ValueKind},
    extensions::Extensions,
};
use palisade_model::{Scope, Scopes, Timestamp};
use smol_str::SmolStr;

use crate::query::RequestError;

/// Attributes of an entity, its tags, or a context.
pub(crate) type Record = BTreeMap<SmolStr, Value>;

pub(crate) fn text(text: &str) -> Value {
    Value::from(text)
}

pub(crate) fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Value {
    Value::set_of_lits(texts.into_iter().map(|text| text.as_ref().into()), None)
}

pub(crate) fn reference(uid: &EntityUID) -> Value {
    Value::from(uid.clone())
}

pub(crate) fn references(uids: &[EntityUID]) -> Value {
    Value::set_of_lits(uids.iter().map(|uid| uid.clone().into()), None)
}

/// Of the many requests within a millisecond all have the same time, and a time is read from a text by regular expressions:
/// so each thread keeps the last one.
pub(crate) fn time(time: Timestamp) -> Result<Value, RequestError> {
    static DATETIME: Constructor = LazyLock::new(|| constructor("datetime"));
    thread_local! {
        static LAST: RefCell<Option<(i64, Value)>> = const { RefCell::new(None) };
    }
    let millis = time.unix_millis();
    LAST.with_borrow_mut(|last| {
        if let Some((_, value)) = last.as_ref().filter(|(known, _)| *known == millis) {
            return Ok(value.clone());
        }
        let value = made(&DATETIME, &time.to_string(), "context")?;
        *last = Some((millis, value.clone()));
        Ok(value)
    })
}

/// The lifetimes that are asked about are those of the configuration, again and again, and each is read from a text by a
/// regular expression.
pub(crate) fn duration(duration: Duration) -> Result<Value, RequestError> {
    static DURATION: Constructor = LazyLock::new(|| constructor("duration"));
    thread_local! {
        static LAST: RefCell<Last<Duration>> = const { RefCell::new(Last(VecDeque::new())) };
    }
    LAST.with_borrow_mut(|last| match last.get(&duration) {
        Some(value) => Ok(value),
        None => {
            let value = made(&DURATION, &format!("{}ms", duration.as_millis()), "context")?;
            last.put(duration, value.clone());
            Ok(value)
        }
    })
}

/// The scopes that are asked about in an exchange are those of the configuration, too.
pub(crate) fn scopes(scopes: &Scopes) -> Value {
    thread_local! {
        static LAST: RefCell<Last<Scopes>> = const { RefCell::new(Last(VecDeque::new())) };
    }
    LAST.with_borrow_mut(|last| {
        last.get(scopes).unwrap_or_else(|| {
            let value = texts(scopes.iter().map(Scope::as_str));
            last.put(scopes.clone(), value.clone());
            value
        })
    })
}

/// The last few that a thread has put together.
struct Last<K>(VecDeque<(K, Value)>);

impl<K: PartialEq> Last<K> {
    const KEPT: usize = 8;

    fn get(&self, key: &K) -> Option<Value> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    fn put(&mut self, key: K, value: Value) {
        self.0.truncate(Self::KEPT - 1);
        self.0.push_front((key, value));
    }
}

pub(crate) fn ip(ip: std::net::IpAddr) -> Result<Value, RequestError> {
    static IP: Constructor = LazyLock::new(|| constructor("ip"));
    made(&IP, &ip.to_string(), "context")
}

pub(crate) fn decimal(text: &str) -> Result<Value, RequestError> {
    static DECIMAL: Constructor = LazyLock::new(|| constructor("decimal"));
    made(&DECIMAL, text, "arguments")
}

/// Values of extension types are made by their constructor alone. It is found once: to parse its name takes as long as
/// to decide.
type Constructor = LazyLock<Option<&'static ExtensionFunction>>;

fn constructor(name: &str) -> Option<&'static ExtensionFunction> {
    Extensions::all_available().func(&name.parse().ok()?).ok()
}

fn made(constructor: &Constructor, text: &str, part: &'static str) -> Result<Value, RequestError> {
    let constructor = (**constructor).ok_or(RequestError::Build(part))?;
    match constructor.call(&[self::text(text)]) {
        Ok(PartialValue::Value(value)) => Ok(value),
        Ok(PartialValue::Residual(_)) | Err(_) => Err(RequestError::Build(part)),
    }
}

/// An entity. `ancestors` are all of them, however far up.
pub(crate) fn entity(
    uid: EntityUID,
    attributes: Record,
    ancestors: HashSet<EntityUID>,
    tags: Record,
) -> Arc<Entity> {
    let known = |record: Record| record.into_iter().map(|(name, value)| (name, PartialValue::Value(value)));
    let entity =
        Entity::new_with_attr_partial_value(uid, known(attributes), HashSet::new(), ancestors, known(tags));
    Arc::new(entity)
}

/// The tenant of an entity that has one.
pub(crate) fn tenant_of(entity: &Entity) -> Option<&Value> {
    match entity.get("tenant")? {
        PartialValue::Value(value) if matches!(value.value_kind(), ValueKind::Lit(_)) => Some(value),
        PartialValue::Value(_) | PartialValue::Residual(_) => None,
    }
}
