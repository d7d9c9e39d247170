//! A field that is asked about when it is resolved.

use std::sync::Arc;

use async_graphql::{Context, Error, Guard, Result, registry::MetaField};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    admitted::Admitted,
    arguments::{coerced, field},
    denial::Denial,
    finite, parent,
};

/// Under which name policies find what is supplied of the object. No argument of a field has such a name (GraphQL, section 2.1.9).
const OBJECT: &str = "@object";

/// What a server lacks whose guards have nobody to ask.
const NO_EXTENSION: &str =
    "a guard has nobody to ask: build the schema with `.extension(Palisade::new(point, resource))`";
/// What is wrong of a guard that stands before another field than it says.
const OTHER_FIELD: &str = "a guard stands before another field than it asks about: its coordinate is not `Type.field` of that field";

/// Lets a field be resolved where the decision point permits `field` on it, with its arguments and what is said of its object:
///
/// ```
/// # use async_graphql::Object;
/// # use palisade_async_graphql::PalisadeGuard;
/// # struct Order { owner: String, total: i32 }
/// #[Object]
/// impl Order {
///     #[graphql(guard = "PalisadeGuard::field(\"Order.total\").object(\"owner\", &self.owner)")]
///     async fn total(&self) -> i32 {
///         self.total
///     }
/// }
/// ```
///
/// Policies see arguments as they see those of operations, `context.args.number.getTag("/first")`, coerced and with their defaults; and what is said of the
/// object below `/@object`: `context.args.text.getTag("/@object/owner")`. Operations are asked about without any object, so a rule about one says that it is for
/// guards alone, `context.surface == "decide"`.
///
/// Whatever is no plain permit is an error of the field: a denial, a step-up (its `extensions` say what to ask for), an observation, a permit that obliges
/// to something, a permit for another subject than the operation's, and no answer.
///
/// The coordinate is that of the field that is resolved: a guard that stands before another field, or before one of its name in another type, refuses it.
/// `async_graphql` asks no guards of an object where a field is selected on an interface that declares it: leave guarded fields out of interfaces, so
/// that they are selected on their objects.
#[derive(Debug, Clone)]
#[must_use = "a guard guards the field that it is given to"]
pub struct PalisadeGuard {
    coordinate: String,
    object: Result<Map<String, Value>, ()>,
}

impl PalisadeGuard {
    /// A guard before the field of this coordinate, `Order.total`.
    pub fn field(coordinate: impl Into<String>) -> Self {
        Self { coordinate: coordinate.into(), object: Ok(Map::new()) }
    }

    /// The same, which tells this of the object that the field is one of. What is no JSON is not told, and the field is refused: so is a
    /// float that is no number.
    pub fn object(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let value = finite::json(&value).ok_or(());
        self.object = self.object.and_then(|mut object| {
            object.insert(name.into(), value?);
            Ok(object)
        });
        self
    }

    /// The arguments of the question.
    fn arguments(&self, admitted: &Admitted, context: &Context<'_>) -> Result<String> {
        let other = || Denial::of_the_server(OTHER_FIELD).of_the_field();
        let unreadable = || Denial::unaskable("the arguments of a field are no JSON").of_the_field();
        let registry = &admitted.schema.registry;
        let selected = context.field();
        // A field of a subscription is asked about before anything is resolved.
        let parent = parent::of_field().or_else(|| registry.subscription_type.clone()).ok_or_else(other)?;
        let is_here = |field: &&MetaField| self.coordinate == format!("{parent}.{}", field.name);
        let field = field(registry, &self.coordinate).filter(|field| field.name == selected.name());
        let field = field.filter(is_here).ok_or_else(other)?;
        let given = selected.arguments().map_err(|error| Error::new(error.message))?;
        let mut arguments = coerced(registry, field, given).ok_or_else(unreadable)?;
        let object = self.object.as_ref().map_err(|()| unreadable())?;
        if !object.is_empty() {
            arguments.insert(OBJECT.to_owned(), Value::Object(object.clone()));
        }
        Ok(Value::Object(arguments).to_string())
    }
}

impl Guard for PalisadeGuard {
    async fn check(&self, context: &Context<'_>) -> Result<()> {
        let admitted = context.data_opt::<Arc<Admitted>>();
        let admitted = admitted.ok_or_else(|| Denial::of_the_server(NO_EXTENSION).of_the_field())?;
        let arguments = self.arguments(admitted, context)?;
        admitted.may(&self.coordinate, arguments).await.map_err(|denial| denial.of_the_field())
    }
}
