use std::{collections::BTreeSet, sync::Arc, time::Duration};

use palisade_model::{DecisionId, Timestamp};

use super::*;
use crate::{DenialForm, Kind, Metadata, Routes, ScopeSettings, UpstreamToken};

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn files() -> Resource {
    Resource {
        name: "files".parse().unwrap(),
        identifier: "https://mcp.example.com/files".to_owned(),
        kind: Kind::Mcp,
        issuers: vec!["corp".parse().unwrap()],
        audiences: BTreeSet::from(["https://mcp.example.com/files".into()]),
        any_audience: false,
        metadata: Metadata {
            url: "https://mcp.example.com/.well-known/oauth-protected-resource/files".to_owned(),
            path: "/.well-known/oauth-protected-resource/files".to_owned(),
            document: json!({}),
        },
        scopes: ScopeSettings { initial: vec![scope("files:read")], ..ScopeSettings::default() },
        acr_values: Vec::new(),
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::default(),
        anonymous: BTreeSet::new(),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::from(["https://app.example.com".to_owned()]),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

fn denial(reason: Reason, remedy: Remedy) -> Denial {
    Denial {
        id: DecisionId::new(Timestamp::from_unix_seconds(1_000)),
        reason,
        resource: Some(Arc::new(files())),
        remedy,
        retry_after: None,
        policy_code: None,
        replies: Vec::new(),
        batch: false,
        told: None,
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// The status and the challenge of a denial.
fn told(reason: Reason, remedy: Remedy) -> (u16, Option<String>) {
    let answer = http(&denial(reason, remedy), None);
    (answer.status, header(&answer, "www-authenticate").map(str::to_owned))
}

const METADATA: &str =
    r#"resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/files""#;

#[test]
fn without_a_credential_there_is_no_error_code_and_the_initial_scopes_are_named() {
    let expected = format!(r#"Bearer scope="files:read", {METADATA}"#);
    assert_eq!(told(Reason::NoCredentials, Remedy::None), (401, Some(expected)));
}

#[test]
fn a_bad_token_is_invalid_token_whatever_is_wrong_with_it() {
    for reason in Reason::ALL.iter().filter(|reason| reason.as_str().starts_with("token_")) {
        let (status, challenge) = told(*reason, Remedy::None);
        assert_eq!(status, 401, "{reason}");
        assert!(challenge.unwrap().starts_with(r#"Bearer error="invalid_token""#), "{reason}");
    }
}

#[test]
fn a_step_up_names_the_scopes_or_the_authentication() {
    let scopes = Remedy::Scopes([scope("files:delete"), scope("files:read")].into());
    let (status, challenge) = told(Reason::InsufficientScope, scopes);
    let expected = format!(
        r#"Bearer error="insufficient_scope", error_description="the token lacks scopes for this", scope="files:delete files:read", {METADATA}"#
    );
    assert_eq!((status, challenge), (403, Some(expected)));
    let remedy = Remedy::Authentication {
        acr_values: vec!["urn:a".to_owned(), "urn:b".to_owned()],
        max_age: Some(Duration::from_secs(900)),
    };
    let (status, challenge) = told(Reason::InsufficientUserAuthentication, remedy);
    let challenge = challenge.unwrap();
    assert_eq!(status, 401);
    assert!(challenge.contains(r#"acr_values="urn:a urn:b", max_age="900""#), "{challenge}");
}

#[test]
fn denials_that_nobody_can_mend_look_alike() {
    let one = denial(Reason::NoPermit, Remedy::None);
    let answers: BTreeSet<String> =
        [Reason::NoPermit, Reason::Forbidden, Reason::TargetUnknown, Reason::ArgumentsInvalid]
            .map(|reason| format!("{:?}", http(&Denial { reason, ..one.clone() }, None)))
            .into();
    assert_eq!(answers.len(), 1);
    assert_eq!(told(Reason::NoPermit, Remedy::None), (403, None));
}

#[test]
fn outages_are_503_with_a_time_to_retry_and_never_blame_the_token() {
    for reason in [
        Reason::IssuerKeysUnavailable,
        Reason::Overloaded,
        Reason::DeadlineExceeded,
        Reason::AuditUnavailable,
    ] {
        let answer = http(&denial(reason, Remedy::None), None);
        assert_eq!((answer.status, header(&answer, "retry-after")), (503, Some("1")), "{reason}");
        assert_eq!(header(&answer, "www-authenticate"), None, "{reason}");
    }
}

#[test]
fn no_reason_is_told_as_a_success_and_every_answer_has_its_id_and_is_not_stored() {
    for reason in Reason::ALL {
        let answer = http(&denial(*reason, Remedy::None), None);
        assert!(answer.status >= 400, "{reason}");
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert!(header(&answer, DECISION_ID).is_some());
    }
}

#[test]
fn browsers_of_allowed_origins_may_read_the_challenge_and_no_others() {
    let denial = denial(Reason::NoCredentials, Remedy::None);
    let allowed = http(&denial, Some("https://app.example.com"));
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some("https://app.example.com"));
    assert!(header(&allowed, "access-control-expose-headers").unwrap().contains("WWW-Authenticate"));
    let other = http(&denial, Some("https://evil.example"));
    assert_eq!(header(&other, "access-control-allow-origin"), None);
    assert_eq!(header(&other, "vary"), Some("Origin"));
    assert_eq!(preflight(&files(), "https://app.example.com").status, 204);
    assert_eq!(header(&preflight(&files(), "https://evil.example"), "access-control-allow-methods"), None);
}

#[test]
fn quotes_backslashes_and_control_characters_cannot_leave_a_quoted_string() {
    assert_eq!(quotable("a\"b\\c\r\nd\u{0}é"), "a\\\"b\\\\cd");
}
