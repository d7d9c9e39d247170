use std::{path::Path, sync::Arc};

use palisade_model::{Clock, SystemClock};

use super::{build::Embedded, load, warnings};

mod rate_limits;
mod static_tokens;
mod sts;

const SAMPLE: &str = r#"version: 1
issuers:
  corp: {issuer: "https://login.example.com"}
resources:
  files: {identifier: "https://mcp.example.com/files", kind: mcp, issuers: [corp]}
"#;

/// What is wrong with a configuration: of its text, else of what it says.
fn check(text: &str) -> Result<super::Built, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let policy = "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource);";
    std::fs::write(folder.path().join("policies/p.cedar"), policy).unwrap();
    let file = folder.path().join("palisade.yaml");
    std::fs::write(&file, text).unwrap();
    let loaded = load::read(&file).map_err(|error| error.to_string())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    super::build::snapshot(&loaded, &Embedded::default(), None, &clock).map_err(|error| error.to_string())
}

/// The problem of the sample with one text in place of another.
fn problem(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "{from}");
    check(&SAMPLE.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("{to} is accepted"))
}

#[tokio::test]
async fn the_sample_is_accepted_with_the_defaults_of_the_contract() {
    let built = check(SAMPLE).unwrap();
    assert!(built.warnings.is_empty(), "{:?}", built.warnings);
    let files = built.snapshot.resources.by_name("files").unwrap();
    assert_eq!(files.metadata.url, "https://mcp.example.com/.well-known/oauth-protected-resource/files");
    assert_eq!(files.metadata.document["authorization_servers"][0], "https://login.example.com");
    assert_eq!(
        files.audiences.iter().map(|audience| audience.as_str()).collect::<Vec<_>>(),
        [files.identifier.as_str()]
    );
    assert!(files.step_up && files.anonymous.is_empty() && !files.any_audience);
    assert!(built.snapshot.resources.at("mcp.example.com", "/files/a").is_some());
    assert!(built.snapshot.resources.at("mcp.example.com", "/filesystem").is_none());
    assert_eq!(built.snapshot.limits, palisade_pdp::Limits::default());
}

#[test]
fn errors_of_the_text_name_the_line_and_the_nearest_known_name() {
    let error = problem("kind: mcp", "knid: mcp");
    assert!(error.contains("palisade.yaml:5:") && error.contains("did you mean `kind`?"), "{error}");
    assert!(problem("kind: mcp", "kind: mcpp").contains("did you mean `mcp`?"));
    assert!(problem("version: 1", "version: 2").contains("write `version: 1`"));
    assert!(problem("files:", "Files:").contains("is not a name"));
    assert!(problem("issuers: [corp]", "issuers: [corp], max_age: [10]").contains("is not a duration"));
    assert!(problem("issuers: [corp]", "issuers: [corp], kind: http").contains("duplicate"));
    assert!(problem("version: 1", "version: 1\nlimits: {body: big}").contains("is not a size"));
    assert!(
        problem("version: 1", "version: 1\nlisten: {admin: {address: nowhere}}").contains("is no address")
    );
}

#[test]
fn only_a_graphql_api_has_operations() {
    let error = problem("kind: mcp", "kind: mcp, operations: part");
    assert!(error.contains("resources.files.operations: only for kind graphql"), "{error}");
    let error = problem("kind: mcp", "kind: mcp, introspection: permitted");
    assert!(error.contains("resources.files.introspection: only for kind graphql"), "{error}");
}

#[test]
fn what_is_unsafe_is_refused() {
    for (from, to, says) in [
        ("https://login.example.com", "http://login.example.com", "must begin with https://"),
        (
            "https://login.example.com",
            "https://login.microsoftonline.com/common/v2.0",
            "accepts every tenant",
        ),
        (
            "https://login.example.com",
            "https://login.microsoftonline.com/organizations/v2.0",
            "accepts every tenant",
        ),
        ("https://login.example.com", crate::dev::ISSUER, "development issuer"),
        ("example.com\"}", "example.com\", leeway: 30M}", "months"),
        ("https://mcp.example.com/files", "http://mcp.example.com/files", "must begin with https://"),
        ("https://mcp.example.com/files", "https://mcp.example.com/files#a", "no absolute URL"),
        ("kind: mcp", "kind: mcp, accept_any_audience: true", "refused for kind mcp"),
        ("kind: mcp", "kind: mcp, routes: [/a]", "only for kind http"),
        ("kind: mcp", "kind: mcp, observe: {until: 2999-01-01}", "more than 30 days away"),
        ("kind: mcp", "kind: mcp, observe: {until: soon}", "is no date"),
        ("issuers: [corp]", "issuers: [other]", "there is no issuer `other`"),
        ("issuers: [corp]", "issuers: []", "at least one is needed"),
        ("version: 1", "version: 1\ndefaults: {identifier: \"https://a.example\"}", "belong to one resource"),
        ("version: 1", "version: 1\npolicies: {path: nowhere}", "nowhere"),
        ("version: 1", "version: 1\naudit: {quota: 1KiB}", "at least 1MiB"),
        ("version: 1", "version: 1\naudit: {otlp: {endpoint: nowhere}}", "is no URL"),
        ("version: 1", "version: 1\nlisten: {decision: {address: \"0.0.0.0:7254\"}}", "is not on loopback"),
        (
            "resources:",
            "resources:\n  twin: {identifier: \"https://mcp.example.com/files/\", kind: mcp, issuers: [corp]}",
            "match host",
        ),
        (
            "resources:",
            "resources:\n  twin: {identifier: \"https://mcp.example.com/files\", kind: mcp, issuers: [corp]}",
            "same identifier",
        ),
    ] {
        let error = problem(from, to);
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn a_caller_proves_itself_in_one_way_and_says_only_what_can_be() {
    for (from, to, says) in [
        (
            "version: 1",
            "version: 1\npeps: {local: {auth: {unix: 1}, surfaces: [], resources: '*'}}",
            "is reserved",
        ),
        (
            "version: 1",
            "version: 1\npeps: {edge: {auth: {unix: 1}, surfaces: [ext_authz], resources: '*', request_from: x_original}}",
            "peps.edge.request_from: it says how `http_authz` is read",
        ),
        (
            "version: 1",
            "version: 1\npeps: {edge: {auth: {unix: 1}, surfaces: [], resources: [gone]}}",
            "no resource `gone`",
        ),
        (
            "version: 1",
            "version: 1\npeps: {edge: {auth: {key: {env: PALISADE_NO_SUCH}}, surfaces: [], resources: '*'}}",
            "no variable",
        ),
        (
            "version: 1",
            "version: 1\npeps: {app: {auth: {unix: 1, client: a}, surfaces: [], resources: '*'}}",
            "give one of `{key: ..}`",
        ),
        (
            "version: 1",
            "version: 1\npeps: {app: {auth: {issuer: corp, client: a}, surfaces: [], resources: '*'}}",
            "give the `audience`",
        ),
        (
            "version: 1",
            "version: 1\npeps: {app: {auth: {issuer: other, client: a, audience: x}, surfaces: [], resources: '*'}}",
            "no issuer `other`",
        ),
        (
            "version: 1",
            "version: 1\npeps: {app: {auth: {client: \"a:b\", secret: {env: PATH}}, surfaces: [], resources: '*'}}",
            "is no client id",
        ),
        (
            "version: 1",
            "version: 1\npeps: {app: {auth: {unix: 1}, surfaces: [authzen], resources: '*', assert: [Usr]}}",
            "no entity type `Usr`",
        ),
        (
            "version: 1",
            "version: 1\nlisten: {decision: {base_url: \"https://pdp.example.com/v1\"}}",
            "is not like https://pdp.example.com",
        ),
    ] {
        let error = problem(from, to);
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = check(&SAMPLE.replace("[corp]", "[other]").replace("kind: mcp", "kind: mcp, routes: [/a]"))
        .unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[tokio::test]
async fn weakened_settings_are_warned_of() {
    let weak = SAMPLE
        .replace("kind: mcp", "kind: http, accept_any_audience: true, upstream_token: keep, anonymous: [GET]")
        .replace(
            "example.com\"}",
            "example.com\", groups_overage: ignore, leeway: 2m, network: {private: true}}",
        )
        + "policies: {on_error: skip}\naudit: {on_full: drop, durability: queued}\nlimits: {deadline: 300ms}\n\
           listen: {decision: {address: \"0.0.0.0:7254\", allow_unauthenticated_callers: true}}\n";
    let warnings = check(&weak).unwrap().warnings.join("\n");
    for key in [
        "accept_any_audience",
        "upstream_token",
        "anonymous",
        "groups_overage",
        "leeway",
        "network.private",
        "on_error",
        "on_full",
        "durability",
        "limits.deadline",
        "allow_unauthenticated_callers",
    ] {
        assert!(warnings.contains(key), "{key} in {warnings}");
    }
}

#[test]
fn included_files_add_names_and_never_replace_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "main.yaml",
        "version: 1\ninclude: [more.yaml]\nissuers: {corp: {issuer: \"https://a.example\"}}\n",
    );
    write(
        "more.yaml",
        "version: 1\nissuers: {away: {issuer: \"https://b.example\", jwks: {file: keys.json}}}\n",
    );
    let loaded = load::read(&folder.path().join("main.yaml")).unwrap();
    assert_eq!(loaded.config.issuers.len(), 2);
    assert_eq!(loaded.files.len(), 2);
    write("more.yaml", "version: 1\nissuers: {corp: {issuer: \"https://b.example\"}}\n");
    let error = load::read(&folder.path().join("main.yaml")).unwrap_err().to_string();
    assert!(error.contains("more.yaml: issuer `corp` is given by another file already"), "{error}");
    let exchanges = "version: 1\nexchanges: {orders: {provider: okta, audience: a, client: {id: gw, secret: {file: secret}}}}\n";
    write("more.yaml", exchanges);
    let loaded = load::read(&folder.path().join("main.yaml")).unwrap();
    let exchange = loaded.config.exchanges.values().next().unwrap();
    let secret = super::exchanges::files(exchange).next().unwrap();
    assert_eq!(secret, folder.path().join("secret"), "resolved against the file that names it");
    write("main.yaml", &exchanges.replace("version: 1\n", "version: 1\ninclude: [more.yaml]\n"));
    let error = load::read(&folder.path().join("main.yaml")).unwrap_err().to_string();
    assert!(error.contains("more.yaml: exchange `orders` is given by another file already"), "{error}");
}

#[test]
fn the_proxies_timeouts_follow_the_deadline() {
    let loaded = load::read_text(Path::new("a.yaml"), "version: 1\nlimits: {deadline: 300ms}\n").unwrap();
    let timeouts = warnings::proxy_timeouts(&loaded.config);
    assert!(timeouts[0].contains("0.350s"));
    assert!(timeouts[2].contains("350ms"));
}

#[tokio::test]
async fn typed_tools_are_tools_of_a_catalogue_with_types() {
    let with = |tools: &str| problem("kind: mcp", &format!("kind: mcp, tools: {{{tools}}}"));
    let error = with("typed: [delete_file]");
    assert!(
        error.contains("resources.files.tools.typed") && error.contains("palisade tools fetch"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("tools.json");
    let text = r#"[{"name": "delete_file", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}},
        {"name": "any", "inputSchema": {"type": "object", "properties": {"path": {}}}}]"#;
    std::fs::write(&catalog, text).unwrap();
    let catalog = catalog.display();
    let error = with(&format!("catalog: {catalog}, typed: [delete_fil]"));
    assert!(
        error.contains("tools.json: error: lists no tool `delete_fil`")
            && error.contains("did you mean `delete_file`?"),
        "{error}"
    );
    let error = with(&format!("catalog: {catalog}, typed: [any]"));
    assert!(error.contains("tools.json:2:") && error.contains("`/properties/path` has no `type`"), "{error}");
    let good = SAMPLE.replacen(
        "kind: mcp",
        &format!("kind: mcp, tools: {{catalog: {catalog}, typed: [delete_file]}}"),
        1,
    );
    assert!(check(&good).is_ok(), "{:?}", check(&good).err());
    let service = SAMPLE.replacen("kind: mcp", "kind: http, tools: {typed: [a]}", 1);
    assert!(check(&service).err().unwrap().contains("resources.files.tools: only for kind mcp"));
}

/// The sample with an exchange, of these keys beside the least, that the calls of its resource leave by.
fn with_exchange(keys: &str) -> String {
    let client = if keys.starts_with("client:") { "" } else { "client: {id: gw, secret: {env: PATH}}, " };
    let audience = if keys.starts_with("audience:") { "" } else { "audience: orders, " };
    let exchange = format!("exchanges:\n  orders: {{provider: keycloak, {client}{audience}{keys}}}\n");
    let sample = SAMPLE.replace("issuers: [corp]}", "issuers: [corp], upstream_token: {exchange: orders}}");
    let (provider, keys) = ("provider: keycloak, ", keys.contains("provider:"));
    format!("{sample}{}", if keys { exchange.replace(provider, "") } else { exchange })
}

#[tokio::test]
async fn provider_client_and_target_are_enough_for_an_exchange() {
    let built = check(&with_exchange("scopes: [read]")).unwrap();
    assert!(built.warnings.is_empty(), "{:?}", built.warnings);
    let exchange = built.snapshot.exchanges.values().next().unwrap();
    assert_eq!((exchange.issuer.as_str(), exchange.requester.as_str()), ("corp", "corp/gw"));
    assert_eq!((exchange.timeout.as_secs(), exchange.lifetime.as_secs()), (3, 300));
    let opaque = check(&with_exchange("scopes: [read], result: opaque")).unwrap();
    assert!(
        opaque.warnings.iter().any(|warning| warning.contains("exchanges.orders.result")),
        "{:?}",
        opaque.warnings
    );
    check(&with_exchange("scopes: [read], provider: generic, resources: [\"https://a\"]")).unwrap();
}

#[tokio::test]
async fn what_does_not_go_together_in_an_exchange_is_refused() {
    for (keys, says) in [
        ("client: {id: gw}", "one of `secret`, `key` and `tls`"),
        ("client: {id: gw, secret: {env: PATH}, key: {env: PATH}}", "one of `secret`, `key` and `tls`"),
        ("client: {id: gw, key: {env: PATH}}", "none that can sign"),
        ("client: {id: gw, secret: {env: NO_SUCH_VARIABLE}}", "no variable"),
        ("client: {id: gw, secret: s3cret}", "expected one of file, env"),
        ("issuer: other", "there is no issuer `other`"),
        ("issued_by: other", "there is no issuer `other`"),
        ("token_endpoint: \"http://login.example.com/token\"", "may not be asked"),
        ("token_endpoint: \"https://10.0.0.1/token\"", "may not be asked"),
        ("scopes: [.default]", "`result: opaque`"),
        ("provider: entra", "Entra takes the target from the scopes"),
        ("provider: id_jag", "`authorization_server` goes with provider `id_jag`"),
        (
            "authorization_server: {issuer: corp, client: {id: a, secret: {env: PATH}}}",
            "`authorization_server` goes with",
        ),
        ("resources: [\"https://a\"]", "provider `keycloak` takes none"),
        ("provider: entra, scopes: [read]", "`issuers.corp.subject: oid`"),
        ("actor: {token: {env: PATH}}", "actor: provider `keycloak` is told of no actor"),
        (
            "provider: entra, scopes: [read], result: opaque, actor: {token: {env: PATH}}",
            "actor: provider `entra` is told of no actor",
        ),
        ("lifetime: 2h", "lifetime: from 1s to 1h"),
        ("timeout: 2m", "timeout: from 50ms to 30s"),
        ("audience: \"\"", "audience"),
        ("scope: [read]", "did you mean `scopes`?"),
    ] {
        let error = check(&with_exchange(keys)).map(drop).unwrap_err();
        assert!(error.contains(says), "{keys}: {error}");
    }
    for (from, to, says) in [
        ("exchange: orders}", "exchange: nothing}", "there is no exchange `nothing`"),
        ("exchange: orders}", "static: {header: Host, value: {env: PATH}}}", "is not for this"),
        ("exchange: orders}", "static: {header: \"a b\", value: {env: PATH}}}", "no name of a header"),
        (
            "version: 1",
            "version: 1\npeps: {a: {auth: {unix: 1}, surfaces: [decide], resources: [files], exchange: [orders]}}",
            "it also needs the surface `exchange`",
        ),
        (
            "version: 1",
            "version: 1\npeps: {a: {auth: {unix: 1}, surfaces: [exchange], resources: [files], exchange: [x]}}",
            "there is no exchange `x`",
        ),
        (
            "corp: {issuer: \"https://login.example.com\"}",
            "corp: {issuer: \"https://login.example.com\"}\n  b: {issuer: \"https://b.example.com\"}",
            "name the issuer whose tokens are exchanged",
        ),
    ] {
        let text = with_exchange("scopes: [read]");
        assert!(text.contains(from), "{from}");
        let error = check(&text.replacen(from, to, 1)).map(drop).unwrap_err();
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[tokio::test]
async fn a_resource_that_takes_any_token_has_none_of_them_exchanged() {
    let lax =
        with_exchange("scopes: [read]").replacen("kind: mcp", "kind: http, accept_any_audience: true", 1);
    let error = check(&lax).map(drop).unwrap_err();
    assert!(error.contains("resources.files.upstream_token.exchange: with `accept_any_audience`"), "{error}");
    let by_default = with_exchange("scopes: [read]").replacen("kind: mcp", "kind: http", 1)
        + "defaults: {accept_any_audience: true}\n";
    assert!(check(&by_default).map(drop).unwrap_err().contains("with `accept_any_audience`"));
    let asking = |resources: &str| {
        let pep = format!(
            "peps: {{a: {{auth: {{unix: 1}}, surfaces: [exchange], resources: {resources}, exchange: [orders]}}}}\n"
        );
        let lax = "  lax: {identifier: \"https://lax.example.com\", kind: http, issuers: [corp], accept_any_audience: true}\n";
        check(
            &(with_exchange("scopes: [read]").replacen("exchanges:", &format!("{lax}exchanges:"), 1) + &pep),
        )
    };
    for resources in ["'*'", "[lax]", "[files, lax]"] {
        let error = asking(resources).map(drop).unwrap_err();
        assert!(error.contains("peps.a.exchange: `lax` has `accept_any_audience`"), "{resources}: {error}");
    }
    assert!(asking("[files]").is_ok());
}

#[tokio::test]
async fn tokens_are_sent_off_the_issuers_site_with_a_warning() {
    let warnings = |keys: &str| check(&with_exchange(keys)).unwrap().warnings;
    assert!(warnings("scopes: [read], token_endpoint: \"https://login.example.com/token\"").is_empty());
    let off = warnings("scopes: [read], token_endpoint: \"https://other.example.com/token\"");
    assert!(
        off[0].contains("exchanges.orders.token_endpoint") && off[0].contains("`other.example.com`"),
        "{off:?}"
    );
}

#[tokio::test]
async fn a_list_of_revocations_is_read_with_the_configuration_and_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revoked.json");
    let issuer = format!("https://login.example.com\", revocations: {{file: {}}}", file.display());
    let text = SAMPLE.replacen("https://login.example.com\"", &issuer, 1);
    assert!(check(&text).map(drop).unwrap_err().contains("revoked.json"), "a list that is gone is none");
    for (list, says) in [
        ("[]", None),
        ("[{\"subject\": \"alice\", \"before\": \"2026-11-21T01:02:03Z\"}]", None),
        ("", Some("not read")),
        ("[{\"subject\": \"alice\", \"until\": 1}]", Some("entry 1")),
        ("- subject: alice", Some("not read")),
    ] {
        std::fs::write(&file, list).unwrap();
        match (check(&text).map(drop), says) {
            (Ok(()), None) => {}
            (Err(error), Some(says)) => {
                let at = "issuers.corp: revocations:";
                assert!(
                    error.contains(at) && error.contains("revoked.json") && error.contains(says),
                    "{error}"
                );
            }
            (found, _) => panic!("{list}: {found:?}"),
        }
    }
    // Of an issuer of several tenants an id alone names nobody.
    let templated = format!(
        "https://login.microsoftonline.com/{{tenantid}}/v2.0\", profile: entra_v2, tenants: [11111111-2222-3333-4444-555555555555], revocations: {{file: {}}}",
        file.display()
    );
    let entra = SAMPLE.replacen("https://login.example.com\"", &templated, 1);
    std::fs::write(&file, r#"[{"subject": "alice"}]"#).unwrap();
    assert!(check(&entra).map(drop).unwrap_err().contains("without one of `tenants`"));
    std::fs::write(&file, r#"[{"client": "22222222-2222-3333-4444-555555555555/app"}]"#).unwrap();
    assert!(check(&entra).map(drop).unwrap_err().contains("without one of `tenants`"));
    std::fs::write(&file, r#"[{"subject": "11111111-2222-3333-4444-555555555555/alice"}, {"session": "s"}]"#)
        .unwrap();
    assert_eq!(check(&entra).map(drop), Ok(()));
    // Of a revision, and no part of an exchange: that would forget all that is in store.
    let of = |list: &str| {
        std::fs::write(&file, list).unwrap();
        let text = with_exchange("scopes: [read]").replacen("https://login.example.com\"", &issuer, 1);
        let built = check(&text).unwrap().snapshot;
        (built.revision.clone(), built.exchanges.values().next().unwrap().fingerprint)
    };
    let (one, other) = (of("[]"), of("[{\"session\": \"s\"}]"));
    assert_ne!(one.0, other.0);
    assert_eq!(one.1, other.1);
}

/// The sample with an exchange and a cache of these keys, and a key of 32 bytes in the environment's stead.
fn with_cache(keys: &str) -> Result<super::Built, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        format!("{{file: {}}}", folder.path().join(name).display())
    };
    let keys = keys.replace("KEY", &file("key", &format!("{}\n", "07".repeat(32))));
    let keys = keys.replace("URL", &file("url", "rediss://:s3cret@cache.example.com\n"));
    check(&format!("{}exchange_cache: {{redis: {{{keys}}}}}\n", with_exchange("scopes: [read]")))
}

#[tokio::test]
async fn replicas_share_by_a_url_and_a_key() {
    for url in ["URL", "redis://127.0.0.1:6379", "redis://localhost", "\"redis://[::1]/1\"", "rediss://a"] {
        let built = with_cache(&format!("url: {url}, keys: [KEY]")).unwrap();
        assert!(built.warnings.is_empty(), "{url}: {:?}", built.warnings);
    }
    let built =
        with_cache("url: redis://cache.example.com, keys: [KEY, KEY], prefix: a, timeout: 20ms").unwrap();
    assert!(built.warnings.iter().any(|warning| warning.contains("rediss://")), "{:?}", built.warnings);
    for (keys, says) in [
        ("keys: [KEY]", "missing field `url`"),
        ("url: URL", "missing field `keys`"),
        ("url: URL, keys: []", "exchange_cache.redis.keys: one, or two"),
        ("url: URL, keys: [KEY, KEY, KEY]", "exchange_cache.redis.keys: one, or two"),
        ("url: URL, keys: [{env: PATH}]", "32 random bytes"),
        ("url: URL, keys: [{env: NO_SUCH_VARIABLE}]", "no variable"),
        ("url: URL, keys: [s3cret]", "expected one of file, env"),
        ("url: \"redis://:s3cret@a\", keys: [KEY]", "it holds a password"),
        ("url: [a], keys: [KEY]", "write a text, `{file: path}` or `{env: NAME}`"),
        ("url: \"http://a\", keys: [KEY]", "`redis://host:port`"),
        ("url: \"rediss://a#insecure\", keys: [KEY]", "without a fragment"),
        ("url: URL, keys: [KEY], prefix: \"\"", "prefix: 1 to 64"),
        ("url: URL, keys: [KEY], timeout: 2s", "timeout: from 1ms to 1s"),
        ("url: URL, key: [KEY]", "did you mean `keys`?"),
    ] {
        let error = with_cache(keys).map(drop).unwrap_err();
        assert!(error.contains(says) && !error.contains("s3cret@"), "{keys}: {error}");
    }
}

#[tokio::test]
async fn the_cache_is_a_part_of_an_exchange_and_the_place_of_its_files_is_none() {
    let digest = |built: super::Built| built.snapshot.exchanges.values().next().unwrap().fingerprint;
    let without = digest(check(&with_exchange("scopes: [read]")).unwrap());
    let with = digest(with_cache("url: URL, keys: [KEY]").unwrap());
    // Each time the files are in another folder.
    assert_eq!(with, digest(with_cache("url: URL, keys: [KEY]").unwrap()));
    assert_ne!(with, without);
    for other in
        ["url: URL, keys: [KEY, KEY]", "url: URL, keys: [KEY], prefix: b", "url: rediss://b, keys: [KEY]"]
    {
        assert_ne!(with, digest(with_cache(other).unwrap()), "{other}");
    }
}

#[tokio::test]
async fn a_service_is_a_place_beside_the_identifiers_own_and_nobody_elses() {
    let at = |places: &str| SAMPLE.replacen("kind: mcp", &format!("kind: mcp, match: [{places}]"), 1);
    let built = check(&at("{service: files-srv}, {service: other}")).unwrap();
    let resources = &built.snapshot.resources;
    for service in ["files-srv", "other"] {
        assert_eq!(resources.by_service(service).unwrap().name.as_str(), "files");
    }
    assert!(resources.by_service("files").is_none());
    assert!(resources.at("mcp.example.com", "/files").is_some());
    let built = check(&at("{service: s}, {host: other.example.com}")).unwrap();
    assert!(built.snapshot.resources.at("mcp.example.com", "/files").is_none());
    assert!(built.snapshot.resources.at("other.example.com", "/x").is_some());

    let second = "  mail: {identifier: \"https://mcp.example.com/mail\", kind: mcp, issuers: [corp], match: [{service: s}]}\n";
    let twice = check(&format!("{}{second}", at("{service: s}"))).err().unwrap();
    assert!(twice.contains("both match service `s`"), "{twice}");
    for places in
        ["{service: \"\"}", "{service: s, host: x.example.com}", "{service: s, path: /x}", "{path: /x}", "{}"]
    {
        assert!(check(&at(places)).is_err(), "{places}");
    }
    let http = SAMPLE.replacen("kind: mcp", "kind: http, match: [{service: s}]", 1);
    assert!(check(&http).err().unwrap().contains("not of kind mcp"));
}

#[tokio::test]
async fn the_keys_in_an_issuers_file_are_a_part_of_its_exchanges_and_the_files_place_is_none() {
    let digest = |keys: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, keys).unwrap();
        let jwks = format!("issuer: \"https://login.example.com\", jwks: {{file: {}}}", file.display());
        let text =
            with_exchange("scopes: [read]").replacen("issuer: \"https://login.example.com\"", &jwks, 1);
        check(&text).unwrap().snapshot.exchanges.values().next().unwrap().fingerprint
    };
    let key = |x: &str| {
        format!("{{\"keys\": [{{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"kid\": \"k\", \"x\": \"{x}\"}}]}}")
    };
    let one = key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(digest(&one), digest(&one));
    assert_ne!(digest(&one), digest(&key("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw")));
}
