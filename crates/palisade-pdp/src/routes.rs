//! Route templates of an HTTP service: `/v1/orders/{id}`, with `{*rest}` at the end for any remainder.

use std::fmt;

use palisade_model::Arguments;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::location::{Location, percent_decoded};

/// The templates, compiled. A literal segment wins over a parameter.
#[derive(Clone, Default)]
pub struct Routes(matchit::Router<String>);

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("route template `{template}`: {why}")]
pub struct RouteError {
    /// The template.
    pub template: String,
    /// What is wrong with it.
    pub why: String,
}

/// The route that a path takes, and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The template as the configuration writes it.
    pub template: String,
    /// The parameters, each under the pointer `/<name>`, percent-decoded.
    pub arguments: Arguments,
}

impl Routes {
    /// Compiles templates.
    ///
    /// # Errors
    /// For a template that is malformed or the same as another.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a str>) -> Result<Self, RouteError> {
        let mut router = matchit::Router::new();
        for template in templates {
            let error = |why: String| RouteError { template: template.to_owned(), why };
            // What no request may hold, a template that matches requests cannot hold either.
            let literal = template.replace(['{', '}', '*'], "");
            match Location::parse(&literal) {
                Ok(location) if location.path == literal => {}
                Ok(_) => return Err(error("it holds a query".to_owned())),
                Err(refusal) => return Err(error(refusal.detail)),
            }
            router.insert(template, template.to_owned()).map_err(|source| error(source.to_string()))?;
        }
        Ok(Self(router))
    }

    /// The route of a path that [`crate::location::Location`] has accepted; nothing where no template matches, or a
    /// parameter is not UTF-8.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Route> {
        let matched = self.0.at(path).ok()?;
        let mut parameters = Map::new();
        for (name, value) in matched.params.iter() {
            let value = String::from_utf8(percent_decoded(value)).ok()?;
            parameters.insert(name.to_owned(), Value::String(value));
        }
        let arguments = Arguments::from_json(&Value::Object(parameters)).ok()?;
        Some(Route { template: matched.value.clone(), arguments })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Routes(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_wins_over_a_parameter_and_parameters_are_decoded() {
        let routes = Routes::new(["/v1/orders/{id}", "/v1/orders/open", "/v1/files/{*path}"]).unwrap();
        let template = |path: &str| routes.find(path).map(|route| route.template);
        assert_eq!(template("/v1/orders/open").as_deref(), Some("/v1/orders/open"));
        assert_eq!(template("/v1/orders/4711").as_deref(), Some("/v1/orders/{id}"));
        assert_eq!(template("/v1/orders"), None);
        assert_eq!(template("/v1/orders/4711/items"), None);
        let route = routes.find("/v1/files/a/b%20c").unwrap();
        assert_eq!(route.arguments.text["/path"], "a/b c");
        assert_eq!(routes.find("/v1/orders/%ff"), None);
    }

    #[test]
    fn templates_that_match_the_same_paths_are_refused() {
        assert!(Routes::new(["/a/{x}", "/a/{y}"]).is_err());
        assert!(Routes::new(["a"]).is_err());
        assert!(Routes::new(["/a/{x"]).is_err());
        for bad in ["/a//b", "/a?b", "/a/../b", "/caf%c3%a9", "/a%3Ab", "/a;b"] {
            assert!(Routes::new([bad]).is_err(), "{bad}");
        }
    }
}
