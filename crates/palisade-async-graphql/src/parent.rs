//! Which type the field is of that is resolved now: a guard does not learn it from its context.

use async_graphql::{
    ServerResult, Value,
    extensions::{ExtensionContext, NextResolve, ResolveInfo},
};

tokio::task_local! {
    static PARENT: String;
}

/// Resolves a field, with its guards, as one of its type.
pub(crate) async fn resolve(
    context: &ExtensionContext<'_>,
    info: ResolveInfo<'_>,
    next: NextResolve<'_>,
) -> ServerResult<Option<Value>> {
    let parent = info.parent_type.to_owned();
    PARENT.scope(parent, next.run(context, info)).await
}

/// The type of the field that is resolved; nothing where none is.
pub(crate) fn of_field() -> Option<String> {
    PARENT.try_with(String::clone).ok()
}
