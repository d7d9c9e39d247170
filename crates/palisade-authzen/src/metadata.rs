//! `/.well-known/authzen-configuration`: where the entries are. Every URL comes from the configuration.

use serde_json::json;

/// The path of the document.
pub(crate) const PATH: &str = "/.well-known/authzen-configuration";

/// The document of a decision point that callers reach at this URL, which has no slash at its end.
pub(crate) fn document(base_url: &str) -> String {
    json!({
        "policy_decision_point": base_url,
        "access_evaluation_endpoint": format!("{base_url}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base_url}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{base_url}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{base_url}/access/v1/search/resource"),
        "search_action_endpoint": format!("{base_url}/access/v1/search/action"),
    })
    .to_string()
}
