//! Answers to Envoy, whole.

use palisade_model::{DecisionId, Reason, Scope, Subject, SubjectKind, Timestamp};
use palisade_pdp::{Caller, Denial, Kind, Remedy};
use serde_json::{Value, json};

use super::fixture::*;
use crate::grpc;
use palisade_call::{Headers, Passage, subject_text};

const REMOVED: &str = "authorization x-http-method x-http-method-override x-method-override x-palisade_decision \
    x-palisade_scopes x-palisade_subject x_palisade-decision x_palisade-scopes x_palisade-subject x_palisade_decision \
    x_palisade_scopes x_palisade_subject";

#[tokio::test]
async fn a_permit_names_the_subject_and_strips_the_token() {
    let fixture = fixture();
    let check = Check::call("files", "list_files").header("origin", ORIGIN);
    let expected = format!(
        r#"code 0
upstream x-palisade-decision = <id>
upstream x-palisade-subject = User::"corp/alice"
upstream x-palisade-scopes = files:read
client x-palisade-decision-id = <id>
client vary += Origin
client access-control-allow-origin = https://app.example.com
client access-control-expose-headers = WWW-Authenticate, x-palisade-decision-id, Mcp-Session-Id
remove {REMOVED}
metadata decision = permit
metadata decision_id = <id>
metadata policy_revision = r1
metadata reason = permitted
metadata resource = files
metadata subject = User::"corp/alice""#
    );
    assert_eq!(show(&check.answer(&fixture).await), expected);
}

#[tokio::test]
async fn an_anonymous_permit_injects_nothing_and_removes_everything() {
    let fixture = fixture();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
    let shown =
        show(&Check::post("files", &body).header("x-palisade-subject", "root").answer(&fixture).await);
    assert!(shown.starts_with("code 0\nclient x-palisade-decision-id = <id>\n"), "{shown}");
    for name in ["x-palisade-subject", "x-palisade-scopes", "x-palisade-decision", "x_palisade_subject"] {
        assert!(shown.contains(&format!(" {name}")), "{name}: {shown}");
    }
    assert!(!shown.contains("upstream "), "{shown}");
}

#[tokio::test]
async fn what_overrides_the_method_does_not_reach_the_upstream() {
    let fixture = fixture();
    let order = Check::new("orders", "GET", "/v1/orders/1").header("authorization", &bearer("orders"));
    let spelt = ["X_HTTP_Method-Override", "x_method_override", "x-http_method"];
    for check in [order, Check::call("files", "list_files")] {
        let check = spelt.iter().fold(check, |check, name| check.header(name, "DELETE"));
        let shown = show(&check.answer(&fixture).await);
        let removed = shown.lines().find_map(|line| line.strip_prefix("remove ")).unwrap();
        let always = ["x-http-method", "x-http-method-override", "x-method-override"];
        for name in always.into_iter().chain(spelt) {
            let name = name.to_ascii_lowercase();
            assert!(removed.split(' ').any(|removed| removed == name), "{name}: {removed}");
        }
    }
}

#[tokio::test]
async fn an_observed_denial_passes_and_says_what_it_is() {
    let fixture = fixture();
    let shown = show(&Check::call("watched", "delete_file").answer(&fixture).await);
    assert!(shown.starts_with("code 0\n"), "{shown}");
    assert!(
        shown.contains("metadata decision = observed\n") && shown.contains("metadata reason = no_permit\n"),
        "{shown}"
    );
    let removed = shown.lines().find_map(|line| line.strip_prefix("remove ")).unwrap();
    assert!(!removed.contains("authorization"), "the token is kept here");
    let stranger = Check::post("watched", &call_body("delete_file")).answer(&fixture).await;
    assert_eq!(denied(&stranger), (16, 401), "tokens are enforced");
}

#[tokio::test]
async fn no_token_is_a_challenge_without_an_error() {
    let fixture = fixture();
    let shown = show(&Check::post("files", &call_body("list_files")).answer(&fixture).await);
    let expected = r#"code 16
status 401
client content-type = application/json
client cache-control = no-store
client x-palisade-decision-id = <id>
client vary = Origin
client www-authenticate = Bearer scope="files:read", resource_metadata="https://files.example.com/.well-known/oauth-protected-resource/mcp"
body {"error":"unauthorized","error_description":"a bearer token is needed","decision_id":"<id>"}
metadata decision = deny
metadata decision_id = <id>
metadata reason = no_credentials
metadata resource = files"#;
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_step_up_names_the_scopes_in_http_whatever_the_denial_form() {
    let fixture = fixture();
    for resource in ["files", "chat"] {
        let response = Check::call(resource, "delete_file").answer(&fixture).await;
        assert_eq!(denied(&response), (7, 403));
        let shown = show(&response);
        assert!(shown.contains(r#"error="insufficient_scope""#), "{shown}");
        assert!(
            shown.contains(r#"scope="files:delete files:read""#) || shown.contains(r#"scope="files:delete""#),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_denial_is_told_in_the_form_of_the_resource() {
    let fixture = fixture();
    let unknown = |resource: &str| Check::call(resource, "no_such_tool");
    let response = unknown("files").answer(&fixture).await;
    assert_eq!(denied(&response), (7, 403));
    assert!(show(&response).contains(r#""error":"access_denied""#));
    let response = unknown("chat").answer(&fixture).await;
    assert_eq!(denied(&response), (7, 200));
    let shown = show(&response);
    assert!(
        shown.contains(r#"body {"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool"}}"#),
        "{shown}"
    );
    assert!(shown.contains("client cache-control = no-store"), "{shown}");
    // What wants no answer has none to carry the denial.
    let listing = json!({ "jsonrpc": "2.0", "id": "a", "method": "prompts/get", "params": { "name": "p" } });
    let batch = json!([call_body("list_files"), listing]);
    let response =
        Check::post("chat", &batch).header("authorization", &bearer("chat")).answer(&fixture).await;
    let shown = show(&response);
    assert_eq!(denied(&response), (7, 200));
    assert!(
        shown.contains(r#""message":"Unknown tool""#) && shown.contains(r#""message":"Unknown prompt""#),
        "{shown}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_an_http_400_in_either_form() {
    let fixture = fixture();
    for resource in ["files", "chat"] {
        let response = Check::call(resource, "x").body("{").answer(&fixture).await;
        assert_eq!(denied(&response), (7, 400));
        let response = Check::call(resource, "list_files").header("mcp-name", "x").answer(&fixture).await;
        assert_eq!(denied(&response), (7, 400));
        let shown = show(&response);
        assert!(
            shown.contains(
                r#"body {"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"Header mismatch"}}"#
            ),
            "{shown}"
        );
    }
    let unknown = json!({ "jsonrpc": "2.0", "id": 9, "method": "no/such" });
    let response =
        Check::post("chat", &unknown).header("authorization", &bearer("chat")).answer(&fixture).await;
    assert!(show(&response).contains(r#""id":9,"error":{"code":-32601,"message":"Method not found"}"#));
}

#[tokio::test]
async fn any_denied_message_denies_a_batch() {
    let fixture = fixture();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let batch = |messages: Value| Check::post("files", &messages).header("authorization", &bearer("files"));
    assert_eq!(code(&batch(json!([list, call_body("list_files")])).answer(&fixture).await), 0);
    assert_eq!(denied(&batch(json!([list, call_body("no_such")])).answer(&fixture).await), (7, 403));
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_decision_for_callers_that_may_ask() {
    let fixture = fixture();
    let preflight = |resource: &str| {
        Check::new(resource, "OPTIONS", "/mcp")
            .header("origin", ORIGIN)
            .header("access-control-request-method", "POST")
    };
    let response = preflight("files").answer(&fixture).await;
    assert_eq!(denied(&response), (7, 204));
    let shown = show(&response);
    assert!(shown.contains("client access-control-allow-origin = https://app.example.com"), "{shown}");
    assert!(response.dynamic_metadata.is_none());
    let stranger = preflight("files").header("origin", "https://evil.example").answer(&fixture).await;
    assert!(!show(&stranger).contains("allow-origin"));
    assert_eq!(denied(&preflight("nope").answer(&fixture).await), (7, 404));
    assert_eq!(denied(&preflight("files").by("narrow").answer(&fixture).await).0, 7);
    let unauthenticated = Check { caller: Caller(None), ..preflight("files") }.answer(&fixture).await;
    assert_eq!(reason(&unauthenticated), "pep_unauthenticated");
}

#[tokio::test]
async fn callers_ask_only_what_they_may() {
    let fixture = fixture();
    let response = Check::call("files", "list_files").by("narrow").answer(&fixture).await;
    assert_eq!((code(&response), reason(&response).as_str()), (7, "pep_not_allowed"));
    let response =
        Check { caller: Caller(None), ..Check::call("files", "list_files") }.answer(&fixture).await;
    assert_eq!((code(&response), reason(&response).as_str()), (7, "pep_unauthenticated"));
}

#[tokio::test]
async fn routes_are_decided_like_tools() {
    let fixture = fixture();
    let order = |method: &str| {
        Check::new("orders", method, "/v1/orders/1").header("authorization", &bearer("orders"))
    };
    assert_eq!(code(&order("GET").answer(&fixture).await), 0);
    assert_eq!(denied(&order("DELETE").answer(&fixture).await), (7, 403));
}

#[test]
fn no_reason_makes_a_denial_an_allow_in_either_form() {
    for &reason in Reason::ALL {
        for (name, check) in
            [("chat", Check::call("chat", "x")), ("orders", Check::new("orders", "GET", "/v1/orders/1"))]
        {
            for resource in [None, resources().by_name(name).cloned()] {
                let denial = Denial {
                    id: DecisionId::new(Timestamp::from_unix_seconds(NOW)),
                    reason,
                    resource,
                    remedy: Remedy::None,
                    retry_after: None,
                    policy_code: Some("P1".to_owned()),
                    replies: Vec::new(),
                    batch: false,
                    told: None,
                };
                let call = grpc::call(check.clone().request());
                let decoded = check.clone().decoded();
                let response = crate::encode::check_response(
                    &palisade_pdp::Decision::Deny(denial.clone()),
                    &call,
                    &decoded,
                );
                let (code, status) = denied(&response);
                assert!(code == 7 || code == 16, "{reason}");
                assert!(status >= 200, "{reason}");
                let over_http = palisade_call::HttpCall { surface: HTTP, ..call };
                assert_ne!(
                    palisade_call::denial_answer(&denial, &over_http, &decoded).status,
                    200,
                    "{reason}"
                );
            }
        }
    }
}

#[test]
fn a_subject_is_text_that_a_header_can_hold_and_no_other_subject_is() {
    let subject = |id: &str| Subject { kind: SubjectKind::User, id: id.to_owned(), ..Subject::anonymous() };
    assert_eq!(subject_text(&subject("corp/alice@example.com")), "User::\"corp/alice@example.com\"");
    assert_eq!(subject_text(&subject("corp/ä\r\n\"x\\%,")), "User::\"corp/%C3%A4%0D%0A%22x%5C%25%2C\"");
    let long = subject(&"x".repeat(1_100));
    let resource = resource("files", Kind::Mcp);
    let passage = Passage {
        id: DecisionId::new(Timestamp::from_unix_seconds(NOW)),
        resource: &resource,
        subject: &long,
        authority: None,
        revision: "r",
        upstream: &palisade_pdp::Upstream::Strip,
        observed: None,
    };
    let headers = passage.headers();
    assert_eq!(headers.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["x-palisade-decision"]);
    let removed = passage.removals(&headers, &Headers::default());
    assert!(
        removed.contains(&"x-palisade-subject".to_owned())
            && removed.contains(&"x-palisade-scopes".to_owned())
    );
}

#[test]
fn a_credential_of_the_client_is_removed_however_long_and_however_spelt_its_name_is() {
    let own = "x-our-own-very-long-key";
    let mut resource = resource("files", Kind::Mcp);
    let header = palisade_pdp::StaticHeader { name: own.to_owned(), value: "k".to_owned().into() };
    resource.upstream_token = palisade_pdp::UpstreamToken::Static(std::sync::Arc::new(header));
    let subject = Subject::anonymous();
    let passage = Passage {
        id: DecisionId::new(Timestamp::from_unix_seconds(NOW)),
        resource: &resource,
        subject: &subject,
        authority: None,
        revision: "r",
        upstream: &palisade_pdp::Upstream::Strip,
        observed: None,
    };
    let sent = ["x-our_own-very_long-key", "X_Our-Own-Very-Long_Key", "x-our-own-very-long-keys"];
    let mut headers = Headers::default();
    for name in sent {
        headers.push(name, "v".to_owned());
    }
    let removed = passage.removals(&[], &headers);
    let is_removed = |name: &str| removed.iter().any(|other| other.eq_ignore_ascii_case(name));
    assert!(is_removed(own) && is_removed(sent[0]) && is_removed(sent[1]), "{removed:?}");
    assert!(!is_removed(sent[2]), "{removed:?}");
}

#[tokio::test]
async fn scopes_are_cut_between_scopes() {
    let fixture = fixture();
    let scopes: Vec<String> =
        (0..1_000).map(|number| format!("scope:{number:04}")).chain(["files:read".to_owned()]).collect();
    let token = token("files", json!({ "scope": scopes.join(" ") }));
    let check =
        Check::post("files", &call_body("list_files")).header("authorization", &format!("Bearer {token}"));
    let shown = show(&check.answer(&fixture).await);
    let sent = shown.lines().find_map(|line| line.strip_prefix("upstream x-palisade-scopes = ")).unwrap();
    assert!(sent.len() <= 4_096);
    assert!(
        sent.split(' ').all(|scope| scopes.contains(&scope.to_owned()) && scope.parse::<Scope>().is_ok())
    );
}
