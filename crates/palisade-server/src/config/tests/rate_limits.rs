use std::time::Duration;

use palisade_pdp::{Block, Budget, RateLimits, Rates};

use super::{SAMPLE, check, problem};

/// What the resource of the sample limits, with this beside its other keys.
fn limits(keys: &str) -> RateLimits {
    let built = check(&SAMPLE.replace("issuers: [corp]}", &format!("issuers: [corp]{keys}}}"))).unwrap();
    built.snapshot.resources.by_name("files").unwrap().rate_limits
}

const RATES: Rates = Rates { calls: 100, reads: 500 };

fn defaults() -> RateLimits {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let failures = Budget { most: 5, within: minutes(5) };
    let failed_authentication = Some(Block { failures, lasts: minutes(15) });
    RateLimits { subject: Some(RATES), client: Some(RATES), failed_authentication }
}

#[tokio::test]
async fn an_mcp_server_is_limited_unless_it_says_otherwise_and_an_http_service_where_it_does() {
    assert_eq!(limits(""), defaults());
    assert_eq!(limits(", rate_limits: {}"), defaults());
    assert_eq!(limits(", rate_limits: off"), RateLimits::default());
    let http = SAMPLE.replace("kind: mcp", "kind: http");
    let of_http = |text: &str| check(text).unwrap().snapshot.resources.by_name("files").unwrap().rate_limits;
    assert_eq!(of_http(&http), RateLimits::default());
    assert_eq!(of_http(&http.replace("kind: http", "kind: http, rate_limits: {}")), defaults());
}

#[tokio::test]
async fn each_limit_can_be_another_or_none() {
    let off = RateLimits { client: None, failed_authentication: None, ..defaults() };
    assert_eq!(limits(", rate_limits: {client: off, failed_authentication: off}"), off);
    let fewer = Some(Rates { calls: 7, reads: 500 });
    assert_eq!(limits(", rate_limits: {subject: {calls: 7}}"), RateLimits { subject: fewer, ..defaults() });
    let failures = Budget { most: 3, within: Duration::from_secs(60) };
    let block = Some(Block { failures, lasts: Duration::from_secs(900) });
    let sooner = RateLimits { failed_authentication: block, ..defaults() };
    assert_eq!(limits(", rate_limits: {failed_authentication: {attempts: 3, within: 1m}}"), sooner);
    // A resource's own replaces the default's whole.
    let under_defaults = SAMPLE.replace("version: 1", "version: 1\ndefaults: {rate_limits: {client: off}}");
    let built = check(&under_defaults).unwrap();
    let client_off = RateLimits { client: None, ..defaults() };
    assert_eq!(built.snapshot.resources.by_name("files").unwrap().rate_limits, client_off);
}

#[test]
fn what_is_no_limit_is_refused() {
    for (written, says) in [
        ("on", "write `off`, or a mapping"),
        ("none", "neither `off` nor a mapping"),
        ("100", "`off`, or a mapping"),
        ("{calls: 100}", "unknown field `calls`"),
        ("{subject: {cals: 100}}", "did you mean `calls`?"),
        ("{subject: {calls: 0}}", "rate_limits.subject: from 1 to"),
        ("{client: {reads: 2000000}}", "rate_limits.client: from 1 to"),
        ("{failed_authentication: {attempts: 0}}", "at least 1 attempt"),
        ("{failed_authentication: {block: 0s}}", "from 1s to 24h"),
        ("{failed_authentication: {within: 48h}}", "from 1s to 24h"),
    ] {
        let error = problem("kind: mcp", &format!("kind: mcp, rate_limits: {written}"));
        assert!(error.contains(says), "{written}: {error}");
    }
}

#[tokio::test]
async fn replicas_count_together_by_the_keys_of_the_other_store() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0f".repeat(32)).unwrap();
    let store = |keys: &str| {
        let keys = keys.replace("KEY", &format!("{{file: {}}}", key.display()));
        check(&format!("{SAMPLE}rate_limit_store: {{redis: {{{keys}}}}}\n"))
    };
    let built = store("url: redis://127.0.0.1, keys: [KEY]").unwrap();
    assert!(built.snapshot.shared_counts.is_some() && built.warnings.is_empty(), "{:?}", built.warnings);
    let built = store("url: redis://elsewhere.example.com, keys: [KEY]").unwrap();
    assert!(
        built.warnings.iter().any(|warning| warning.contains("rate_limit_store")),
        "{:?}",
        built.warnings
    );
    assert!(check(SAMPLE).unwrap().snapshot.shared_counts.is_none());
    for (keys, says) in [
        ("url: redis://127.0.0.1, keys: []", "rate_limit_store.redis.keys: one, or two"),
        ("url: \"redis://:s3cret@a\", keys: [KEY]", "it holds a password"),
        ("url: redis://127.0.0.1, keys: [KEY], timeout: 2s", "from 1ms to 1s"),
        ("url: redis://127.0.0.1, keys: [KEY], timeout: 80ms", "at most half of `limits.deadline`"),
    ] {
        let error = store(keys).map(drop).unwrap_err();
        assert!(error.contains(says), "{keys}: {error}");
    }
}

#[tokio::test]
async fn who_blocks_addresses_that_nobody_has_told_it_is_warned() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "0f".repeat(32)).unwrap();
    let warned = |resource: &str, pep: &str| {
        let auth = format!("{{key: {{file: \"{}\"}}}}", key.path().display());
        let peps = format!("peps: {{edge: {{auth: {auth}, resources: '*', {pep}}}}}\n");
        let built = check(&format!("{}{peps}", SAMPLE.replace("kind: mcp", resource)));
        let warnings = built.map(|built| built.warnings).unwrap_or_else(|error| panic!("{error}"));
        warnings.iter().any(|warning| warning.contains("peps.edge.client_ip"))
    };
    let asks = "surfaces: [ext_authz]";
    assert!(warned("kind: mcp", asks));
    for said in ["client_ip: source", "client_ip: {x_forwarded_for: 1}"] {
        assert!(!warned("kind: mcp", &format!("{asks}, {said}")), "{said}");
    }
    assert!(!warned("kind: mcp", "surfaces: [decide]"));
    for limits in ["off", "{failed_authentication: off}"] {
        assert!(!warned(&format!("kind: mcp, rate_limits: {limits}"), asks), "{limits}");
    }
}
