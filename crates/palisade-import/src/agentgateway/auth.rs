//! `mcpAuthentication` and `jwtAuth`: who issues tokens, and for whom.

use palisade_model::{IssuerName, ResourceName, Scope};

use crate::{
    Draft,
    cedar::{Condition, Effect, Policy, quoted, set, uid},
    config::{Issuer, Jwks, Resource, check_identifier, check_issuer, check_url},
    source::{Entry, Section, UNREADABLE},
};

/// An issuer, with the audiences that it is accepted for.
struct Provider {
    name: IssuerName,
    issuer: String,
    audiences: Vec<String>,
}

/// Reads a route's authentication into the resource. Gives its issuers, with their identifiers.
pub(super) fn read(
    policies: &mut Section<'_>,
    line: u64,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> Vec<(IssuerName, String)> {
    let (mcp, jwt) = (policies.take("mcpAuthentication"), policies.take("jwtAuth"));
    if let (Some(_), Some(jwt)) = (&mcp, &jwt) {
        draft.report.left(
            jwt.line,
            &jwt.path,
            "beside mcpAuthentication: a token has to satisfy both; keep one",
        );
        draft.suspend(name, jwt.line, &jwt.path);
    }
    let default_mode = if mcp.is_some() { "strict" } else { "optional" };
    let auth = mcp.or(jwt);
    let mut section = auth.as_ref().and_then(|auth| auth.section(&mut draft.report)).unwrap_or_default();
    let (line, path) = match &auth {
        Some(auth) => {
            mode(&mut section, auth, default_mode, draft);
            (auth.line, auth.path.clone())
        }
        None => {
            draft.report.left(line, "authentication", "the gateway asks for no token; Palisade does");
            (line, "authentication".to_owned())
        }
    };
    resource.identifier = metadata(&mut section, line, name, resource, draft);
    let providers = providers(&mut section, line, &path, name, draft);
    section.not_needed(
        &["authorizationLocation", "clientId", "clientSecret", "relaySigningKey"],
        super::STAYS,
        &mut draft.report,
    );
    for (_, unknown) in section.take_all() {
        draft.report.left(
            unknown.line,
            &unknown.path,
            "may refuse tokens that Palisade takes: look at it by hand",
        );
        draft.suspend(name, unknown.line, &unknown.path);
    }
    audiences(&providers, line, &path, name, resource, draft);
    let mut issuers: Vec<(IssuerName, String)> =
        providers.into_iter().map(|provider| (provider.name, provider.issuer)).collect();
    if issuers.is_empty()
        && let Some(missing) = draft.missing_issuer(line, &path)
    {
        let issuer = draft.config.issuers.get(&missing).map(|issuer| issuer.issuer.clone());
        issuers.extend(issuer.map(|issuer| (missing, issuer)));
    }
    for (name, _) in &issuers {
        if !resource.issuers.contains(name) {
            resource.issuers.push(name.clone());
        }
    }
    issuers
}

fn mode(section: &mut Section<'_>, auth: &Entry<'_>, default_mode: &str, draft: &mut Draft) {
    let mode = section.take("mode");
    let (line, path) = mode.as_ref().unwrap_or(auth).place();
    match mode.as_ref().map_or(Some(default_mode), Entry::text) {
        Some("strict") => draft.report.carried(line, path, "a token is always asked for"),
        Some(mode @ ("optional" | "permissive")) => draft.report.left(
            line,
            path,
            format!(
                "`{mode}` lets requests without a token reach the rules; Palisade asks every request for one"
            ),
        ),
        Some(_) | None => {
            draft.report.left(line, path, "not a mode that the import knows; Palisade asks for a token")
        }
    }
}

fn metadata(
    section: &mut Section<'_>,
    line: u64,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> String {
    let mut metadata = section.take_section("resourceMetadata", &mut draft.report).unwrap_or_default();
    let texts = [
        ("resourceName", "name"),
        ("resourceDocumentation", "documentation"),
        ("resourcePolicyUri", "policy"),
        ("resourceTosUri", "terms"),
    ];
    for (theirs, ours) in texts {
        let Some(entry) = metadata.take(theirs) else { continue };
        if let Some(text) = entry.plain_text(&mut draft.report) {
            resource.metadata.insert(ours, text.to_owned());
            draft.report.carried(entry.line, &entry.path, format!("`metadata.{ours}` of the resource"));
        }
    }
    for scope in metadata.take("scopesSupported").map_or(Vec::new(), |entry| entry.texts(&mut draft.report).0)
    {
        match scope.text().filter(|text| text.parse::<Scope>().is_ok()) {
            Some(text) => {
                resource.scopes.supported.push(text.to_owned());
                draft.report.carried(scope.line, &scope.path, "`scopes.supported` of the resource");
            }
            None => draft.report.left(scope.line, &scope.path, "no scope (RFC 6749 section 3.3)"),
        }
    }
    if let Some(methods) = metadata.take("bearerMethodsSupported") {
        for method in methods.texts(&mut draft.report).0 {
            match method.text() {
                Some("header") => {
                    draft.report.carried(method.line, &method.path, "the one way that Palisade takes")
                }
                Some(_) | None => {
                    draft.report.left(method.line, &method.path, "Palisade takes tokens in a header only")
                }
            }
        }
    }
    let identifier = metadata.take("resource");
    metadata.rest(&mut draft.report);
    let Some(entry) = identifier else {
        return draft.missing_identifier(line, "resourceMetadata.resource", name);
    };
    match entry.text().ok_or(UNREADABLE).and_then(|text| check_identifier(text).map(|_| text)) {
        Ok(text) => {
            draft.report.carried(entry.line, &entry.path, format!("`resources.{name}.identifier`"));
            text.to_owned()
        }
        Err(why) => {
            draft.report.left(entry.line, &entry.path, why);
            draft.missing_identifier(entry.line, &entry.path, name)
        }
    }
}

fn providers(
    section: &mut Section<'_>,
    line: u64,
    path: &str,
    name: &ResourceName,
    draft: &mut Draft,
) -> Vec<Provider> {
    let Some(listed) = section.take("providers") else {
        return provider(section, line, path, name, draft).into_iter().collect();
    };
    let mut all = Vec::new();
    for entry in listed.elements(&mut draft.report).unwrap_or_default() {
        let Some(mut fields) = entry.section(&mut draft.report) else { continue };
        all.extend(provider(&mut fields, entry.line, &entry.path, name, draft));
        for (_, unknown) in fields.take_all() {
            draft.report.left(
                unknown.line,
                &unknown.path,
                "may refuse tokens that Palisade takes: look at it by hand",
            );
            draft.suspend(name, unknown.line, &unknown.path);
        }
    }
    all
}

fn provider(
    section: &mut Section<'_>,
    line: u64,
    path: &str,
    resource: &ResourceName,
    draft: &mut Draft,
) -> Option<Provider> {
    let entry = section.take("issuer");
    let audiences = section.take("audiences");
    let (jwks, profile) = (section.take("jwks"), section.take("provider"));
    let checked = entry
        .as_ref()
        .map(|entry| entry.text().ok_or(UNREADABLE).and_then(|text| check_issuer(text).map(|_| text)));
    let Some(Ok(issuer)) = checked else {
        if let (Some(Err(why)), Some(entry)) = (checked, &entry) {
            draft.report.left(entry.line, &entry.path, why);
        }
        for entry in [audiences, jwks, profile].into_iter().flatten() {
            draft.report.left(entry.line, &entry.path, "belongs to an issuer that did not carry over");
        }
        return None;
    };
    let (line, path) = entry.as_ref().map_or((line, path), Entry::place);
    let settings = Issuer {
        profile: profile.and_then(|entry| self::profile(&entry, issuer, draft)),
        jwks: jwks.map(|entry| keys(&entry, draft)),
        issuer: issuer.to_owned(),
        ..Issuer::default()
    };
    let Some(name) = draft.config.add_issuer(settings) else {
        draft.report.left(
            line,
            path,
            "the same issuer with other keys: Palisade has one set of keys an issuer",
        );
        return None;
    };
    draft.report.carried(line, path, format!("`issuers.{name}.issuer`"));
    let audiences = match audiences {
        Some(entry) => {
            let texts = entry.texts(&mut draft.report).0;
            for text in &texts {
                draft.report.carried(text.line, &text.path, format!("`resources.{resource}.audiences`"));
            }
            texts.iter().filter_map(Entry::text).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    Some(Provider { name, issuer: issuer.to_owned(), audiences })
}

/// Where an issuer's keys are. Without them no token may be taken, least of all one signed with keys from elsewhere: what
/// cannot be read becomes a file that is not there.
fn keys(entry: &Entry<'_>, draft: &mut Draft) -> Jwks {
    const BY_HAND: &str = "put the keys into a file, and its name into `issuers.<name>.jwks.file`";
    let missing = Jwks::File("keys-to-add.json".to_owned());
    let Some(mut section) = entry.section(&mut draft.report) else {
        draft.report.left(entry.line, &entry.path, BY_HAND);
        return missing;
    };
    let (url, file) = (section.take("url"), section.take("file"));
    section.rest(&mut draft.report);
    match (url, file) {
        (Some(url), None) => match url.text().filter(|text| check_url(text).is_ok()) {
            Some(text) => {
                draft.report.carried(url.line, &url.path, "`jwks.uri` of the issuer");
                Jwks::Uri(text.to_owned())
            }
            None => {
                draft.report.left(url.line, &url.path, "keys come from a URL with https, or from a file");
                missing
            }
        },
        (None, Some(file)) => match file.plain_text(&mut draft.report) {
            Some(text) => {
                let detail = "`jwks.file` of the issuer; a relative path is relative to palisade.yaml";
                draft.report.carried(file.line, &file.path, detail);
                Jwks::File(text.to_owned())
            }
            None => missing,
        },
        (Some(_), Some(_)) | (None, None) => {
            draft.report.left(entry.line, &entry.path, BY_HAND);
            missing
        }
    }
}

/// A provider's kind of tokens. Entra's version shows in its issuer.
fn profile(entry: &Entry<'_>, issuer: &str, draft: &mut Draft) -> Option<&'static str> {
    let kind = match entry.text() {
        Some(text) => Some(text.to_owned()),
        None => entry
            .section(&mut draft.report)
            .and_then(|mut section| section.take_all().into_iter().next().map(|(name, _)| name)),
    };
    let profile = match kind.as_deref() {
        Some("auth0") => Some("auth0"),
        Some("keycloak") => Some("keycloak"),
        Some("okta") => Some("okta"),
        Some("entra") if issuer.ends_with("/v2.0") => Some("entra_v2"),
        Some("entra") if issuer.starts_with("https://sts.windows.net/") => Some("entra_v1"),
        Some(_) | None => None,
    };
    match profile {
        Some(profile) => {
            draft.report.carried(entry.line, &entry.path, format!("`profile: {profile}` of the issuer"))
        }
        None => draft.report.left(
            entry.line,
            &entry.path,
            "no profile of this kind: tokens must be RFC 9068 access tokens unless you set one",
        ),
    }
    profile
}

/// The audiences of the resource. Where issuers have different ones, a refusal keeps them apart.
fn audiences(
    providers: &[Provider],
    line: u64,
    path: &str,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) {
    for provider in providers.iter().filter(|provider| provider.audiences.is_empty()) {
        draft.report.left(
            line,
            path,
            format!(
                "without `audiences` the gateway takes tokens of `{}` for anybody; Palisade takes those for the \
                 identifier: list what your tokens carry",
                provider.name
            ),
        );
    }
    let accepted = |provider: &Provider| match provider.audiences.as_slice() {
        [] => vec![resource.identifier.clone()],
        listed => listed.to_vec(),
    };
    let lists: Vec<(&Provider, Vec<String>)> =
        providers.iter().map(|provider| (provider, accepted(provider))).collect();
    let mut all: Vec<String> = Vec::new();
    for audience in lists.iter().flat_map(|(_, list)| list) {
        if !all.contains(audience) {
            all.push(audience.clone());
        }
    }
    if lists.iter().any(|(_, list)| all.iter().any(|audience| !list.contains(audience))) {
        let fits = lists.iter().map(|(provider, list)| {
            Condition::is(format!(
                "(context.issuer == {} && context.audience.containsAny({}))",
                quoted(provider.name.as_str()),
                set(list)
            ))
        });
        let policy = Policy {
            of: name.to_string(),
            id: draft.id(format!("{name}-audiences")),
            comment: draft.origin(line, path),
            effect: Effect::Forbid,
            principal: None,
            action: "action".to_owned(),
            resource: format!("resource in {}", uid("Mcp::Server", name.as_str())),
            when: Condition::any(fits).negated(),
            guarded: false,
            reserved: false,
        };
        draft.report.carried(line, path, format!("policy `{}`: each issuer's own audiences", policy.id));
        draft.policies.push(policy);
    }
    if all != [resource.identifier.clone()] {
        resource.audiences = all;
    }
}
