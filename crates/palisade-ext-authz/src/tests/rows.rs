//! The pitfalls that other services fell into: one test a row of the table in the facts on Envoy.

use palisade_model::{Action, Credential, Reason, Target};
use palisade_pdp::Limits;
use serde_json::json;

use super::fixture::*;

/// CVE-2026-26205: `//admin/x` taken for an authority, so that the first segment is lost.
#[test]
fn row_01_a_double_slash_is_no_authority() {
    assert_eq!(Check::new("orders", "GET", "//v1/orders/1").refusal(), Some(Reason::RequestMalformed));
    let by_host = Check::new("orders", "GET", "//evil/v1/orders/1").by("mesh").asked();
    assert_eq!((by_host.resource, by_host.path), (None, None));
}

/// CVE-2026-32811: a query that is encoded into the path no longer matches the route.
#[test]
fn row_02_the_query_takes_no_part_in_the_route() {
    let asked = Check::new("orders", "GET", "/v1/orders/1?x=/../..%2f&y=1").asked();
    let items = asked.asked.unwrap().items;
    assert_eq!(items[0].target, Target::http_route(&"orders".parse().unwrap(), "/v1/orders/{id}"));
    assert_eq!((items[0].action.clone(), asked.path.as_deref()), (Action::http("GET"), Some("/v1/orders/1")));
    assert_eq!(
        Check::new("orders", "GET", "/v1/orders/1%3Fx").refusal(),
        None,
        "an encoded `?` stays in its segment"
    );
    assert_eq!(Check::new("orders", "GET", "/v1/orders?/1").refusal(), Some(Reason::TargetUnknown));
}

/// CVE-2026-42272: an encoded slash decoded before segments are split, in one case of its hex digits only.
#[test]
fn row_03_encoded_slashes_are_refused_in_either_case() {
    for path in [
        "/v1/orders/1%2f2",
        "/v1/orders/1%2F2",
        "/v1%2forders/1",
        "/v1/orders/%2e%2e%2Fx",
        "/v1/orders/1%252f",
    ] {
        assert_eq!(Check::new("orders", "GET", path).refusal(), Some(Reason::RequestMalformed), "{path}");
    }
}

/// CVE-2021-29492, CVE-2019-9901, CVE-2021-32779: paths and hosts that two readers take differently.
#[test]
fn row_04_what_two_readers_take_differently_is_refused_or_one() {
    for path in [
        "/v1//orders/1",
        "/v1/orders%5C1",
        "/v1/orders\\1",
        "/v1/x/..;/orders/1",
        "/./v1/orders/1",
        "/v1/orders/1#x",
        "/v1/orders/..",
        "/v1/orders/1\u{0}",
        "/v1/orders/%00",
    ] {
        assert_eq!(Check::new("orders", "GET", path).refusal(), Some(Reason::RequestMalformed), "{path}");
    }
    for host in ["FILES.example.com", "files.example.com.", "files.example.com:443"] {
        let resource = Check::new("files", "GET", "/mcp").by("mesh").host(host).asked().resource;
        assert_eq!(resource, Some("files".parse().unwrap()), "{host}");
    }
    for host in ["user@files.example.com", "", "files..example.com", "files.example.com:x"] {
        let check = Check::new("files", "GET", "/mcp").host(host);
        assert_eq!(check.clone().by("mesh").asked().resource, None, "{host}");
        assert_eq!(check.refusal(), Some(Reason::RequestMalformed), "{host}");
    }
    assert_eq!(
        Check::new("files", "GET", "/mcpx").by("mesh").asked().resource,
        None,
        "prefixes are whole segments"
    );
}

/// CVE-2026-33186: a `:path` without its leading slash walks past path rules.
#[test]
fn row_05_a_path_without_its_slash_matches_nothing() {
    for path in ["v1/orders/1", "", "*", "https://orders.example.com/v1/orders/1", "?x"] {
        let check = Check::new("orders", "GET", path);
        assert_eq!(check.clone().refusal(), Some(Reason::RequestMalformed), "{path}");
        assert_eq!(check.by("mesh").asked().resource, None, "{path}");
    }
}

/// CVE-2021-32777, CVE-2026-26308: one value of several is looked at.
#[test]
fn row_06_every_value_of_a_header_counts() {
    let refused = |credential: Credential| match credential {
        Credential::Unusable(refusal) => Some(refusal.reason),
        Credential::Absent | Credential::Token(_) | Credential::Static(_) | Credential::AssertedByPep(_) => {
            None
        }
    };
    let good = bearer("files");
    let twice = Check::new("files", "GET", "/mcp")
        .raw_header("Authorization", good.as_bytes())
        .raw_header("authorization", b"Bearer other");
    assert_eq!(refused(twice.asked().credential), Some(Reason::RequestMalformed));
    let joined = Check::new("files", "GET", "/mcp").header("authorization", &format!("{good},Bearer other"));
    assert_eq!(refused(joined.asked().credential), Some(Reason::RequestMalformed));
    let both = Check::new("files", "GET", "/mcp")
        .header("authorization", &good)
        .raw_header("authorization", b"Bearer x");
    assert_eq!(refused(both.asked().credential), Some(Reason::RequestMalformed));
    let mirrored =
        Check::call("files", "list_files").raw_header("mcp-name", b"list_files").raw_header("mcp-name", b"x");
    assert_eq!(mirrored.refusal(), Some(Reason::HeaderMismatch));
    let typed = Check::call("files", "list_files").header("content-type", "application/json,text/plain");
    assert_eq!(typed.refusal(), Some(Reason::RequestMalformed));
    let forwarded = Check::new("files", "GET", "/mcp")
        .by("trusted")
        .raw_header("x-forwarded-for", b"1.1.1.1, 2.2.2.2")
        .raw_header("x-forwarded-for", b"3.3.3.3");
    assert_eq!(forwarded.asked().client_ip, "2.2.2.2".parse().ok());
}

/// CVE-2024-23324: invalid UTF-8 makes the whole check invalid, which is an error, which may be an allow.
#[tokio::test]
async fn row_07_invalid_utf8_is_a_denial_and_never_an_error() {
    let fixture = fixture();
    let raw = Check::post("files", &call_body("list_files")).raw_header("authorization", b"Bearer \xff\xfe");
    assert_eq!(denied(&raw.answer(&fixture).await), (16, 401));
    let replaced = Check::post("files", &call_body("list_files")).header("authorization", "Bearer !!");
    assert_eq!(denied(&replaced.answer(&fixture).await), (16, 401));
    // `attributes.request.http.path` of one byte that is not UTF-8: the message cannot be decoded at all.
    let message = [0x0a, 0x07, 0x22, 0x05, 0x12, 0x03, 0x22, 0x01, 0xff];
    let response = super::faults::wire(&fixture, &message).await;
    assert_eq!(denied(&response), (7, 404));
}

/// CVE-2026-49231: what a client says about itself reaches the upstream as if the proxy had said it.
#[tokio::test]
async fn row_08_identity_headers_of_the_client_never_pass() {
    let fixture = fixture();
    let forged = [
        "x-palisade-subject",
        "x_palisade_subject",
        "X-Palisade_Scopes",
        "x-palisade-role",
        "x-palisade-decision-id",
    ];
    let check =
        forged.iter().fold(Check::call("files", "list_files"), |check, name| check.header(name, "root"));
    let shown = show(&check.answer(&fixture).await);
    assert!(shown.contains("upstream x-palisade-subject = User::\"corp/alice\""), "{shown}");
    let removed = shown.lines().find_map(|line| line.strip_prefix("remove ")).unwrap();
    let removed: Vec<&str> = removed.split(' ').collect();
    for name in [
        "x_palisade_subject",
        "x-palisade_scopes",
        "x-palisade-role",
        "x-palisade-decision-id",
        "authorization",
    ] {
        assert!(removed.contains(&name), "{name}");
    }
    assert!(!removed.contains(&"x-palisade-subject"), "what we set is not removed again");
    // Nothing that a client can send names the resource or the caller.
    let spoofed = Check::new("files", "GET", "/mcp").extension(None).header("palisade.resource", "files");
    assert_eq!(spoofed.asked().resource, None);
}

/// CVE-2026-47205: a per-route service override. No route needs one: one service tells routes apart.
#[test]
fn row_09_one_service_serves_every_route() {
    for name in ["files", "chat", "orders"] {
        assert_eq!(
            Check::new(name, "GET", "/mcp").host("shared.example.com").asked().resource,
            name.parse().ok()
        );
    }
}

/// Authorino #649: a cancelled step leaves an empty result, and an empty result is an allow.
#[tokio::test]
async fn row_10_a_decision_that_runs_out_of_time_is_a_denial() {
    let fixture = fixture_with(Limits { deadline: std::time::Duration::ZERO, ..Limits::default() });
    let response = Check::call("files", "list_files").answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((7, 503), "deadline_exceeded"));
}

/// Authorino #652: what an identity provider does not answer becomes a panic.
#[tokio::test]
async fn row_11_a_provider_that_does_not_answer_is_an_outage() {
    let fixture = fixture();
    let token = token("files", json!({ "iss": "https://away.example.com" }));
    let check =
        Check::post("files", &call_body("list_files")).header("authorization", &format!("Bearer {token}"));
    let response = check.answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((7, 503), "issuer_keys_unavailable"));
}

/// opa-envoy-plugin #876: what cannot be recorded is answered all the same.
#[tokio::test]
async fn row_12_what_cannot_be_recorded_is_a_denial() {
    let fixture = fixture();
    fixture.pdp.audit().shutdown().await;
    let response = Check::call("files", "list_files").answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((7, 503), "audit_unavailable"));
}

/// Authorino #618: credentials in debug output.
#[test]
fn row_13_debug_output_holds_no_credential_query_or_body() {
    let check = Check::call("files", "list_files").header("cookie", "c00kie").header("x-api-key", "k3y");
    let check = check.path("/mcp?secret=s3cret");
    let printed = format!("{:?} {:?}", crate::grpc::call(check.clone().request()), check.decoded());
    for secret in ["eyJ", "c00kie", "k3y", "s3cret"] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

/// OpenFGA #3057: discovery metadata made from the `Host` header.
#[tokio::test]
async fn row_14_a_forged_host_changes_no_url() {
    let fixture = fixture();
    let check = Check::post("files", &call_body("list_files"))
        .host("evil.example")
        .header("x-forwarded-host", "evil.example");
    let shown = show(&check.answer(&fixture).await);
    let challenge =
        r#"resource_metadata="https://files.example.com/.well-known/oauth-protected-resource/mcp""#;
    assert!(shown.contains(challenge) && !shown.contains("evil"), "{shown}");
}

/// CVE-2026-55170, OpenFGA #3181, SpiceDB #3184: ids that become one another.
#[test]
fn row_15_ids_keep_their_case_and_hold_no_control_characters() {
    let target = |tool: &str| Check::call("files", tool).asked().asked.unwrap().items.remove(0).target.id;
    assert_eq!(
        (target("Delete|File").as_str(), target("delete|file").as_str()),
        ("files/Delete|File", "files/delete|file")
    );
    for tool in ["a\u{0}", "a\nb", "\u{85}", ""] {
        assert_eq!(Check::call("files", tool).refusal(), Some(Reason::RequestMalformed), "{tool:?}");
    }
    let mapped = Check::new("files", "GET", "/mcp").source("::ffff:10.1.2.3").asked().client_ip;
    assert_eq!(mapped, "10.1.2.3".parse().ok());
    assert_eq!(Check::new("Files", "GET", "/mcp").asked().resource, None);
}

/// CVE-2026-33729, CVE-2026-34972: an answer for one question is found under another.
#[tokio::test]
async fn row_16_a_token_that_one_resource_knows_is_no_token_for_another() {
    let fixture = fixture();
    assert_eq!(code(&Check::call("files", "list_files").answer(&fixture).await), 0);
    let elsewhere = Check::post("chat", &call_body("list_files")).header("authorization", &bearer("files"));
    let response = elsewhere.answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((16, 401), "token_audience_mismatch"));
    assert_eq!(code(&Check::call("files", "list_files").answer(&fixture).await), 0);
}

/// CVE-2026-55689, pomerium #6590: a missing audience is not checked, a cookie is a second credential.
#[tokio::test]
async fn row_17_only_a_token_with_our_audience_is_a_credential() {
    let fixture = fixture();
    let without = format!("Bearer {}", token("files", json!({ "aud": null })));
    let response = Check::post("files", &call_body("list_files"))
        .header("authorization", &without)
        .answer(&fixture)
        .await;
    assert_eq!(denied(&response), (16, 401));
    let cookie = format!("token={}", token("files", json!({})));
    let response =
        Check::post("files", &call_body("list_files")).header("cookie", &cookie).answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((16, 401), "no_credentials"));
    let in_query =
        Check::call("files", "list_files").path(&format!("/mcp?access_token={}", token("files", json!({}))));
    assert_eq!(denied(&in_query.answer(&fixture).await), (7, 400));
}

/// jans#13879: keys that nobody has cause fetches without end, or an outage.
#[tokio::test]
async fn row_18_unknown_keys_are_a_bad_token_each() {
    let fixture = fixture();
    for number in 0..50 {
        let token = token("files", json!({ "kid": format!("random-{number}") }));
        let check = Check::post("files", &call_body("list_files"))
            .header("authorization", &format!("Bearer {token}"));
        assert_eq!(denied(&check.answer(&fixture).await), (16, 401));
    }
    assert_eq!(code(&Check::call("files", "list_files").answer(&fixture).await), 0);
}
