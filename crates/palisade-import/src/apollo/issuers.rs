//! `transport.auth.servers` and what belongs to it: whose tokens are accepted, and how their keys are fetched.

use palisade_model::IssuerName;

use super::off_only;
use crate::{
    Draft,
    config::{FileRef, Issuer, Network, check_issuer},
    source::{Entry, Section, UNREADABLE, Value},
};

/// A server of the block: where its keys are, and which `iss` its tokens may have.
struct Server<'a> {
    line: u64,
    path: String,
    url: &'a str,
    issuers: Option<Vec<Entry<'a>>>,
}

pub(super) fn issuers(auth: &Entry<'_>, section: &mut Section<'_>, draft: &mut Draft) -> Vec<IssuerName> {
    let timeout = timeout(section, draft);
    let network = network(section, draft);
    let listed = section.take("issuers").and_then(|entry| compared(&entry, draft));
    let servers = servers(section, draft);
    let mut names: Vec<IssuerName> = Vec::new();
    for server in &servers {
        let accepted = server.issuers.as_ref().or(listed.as_ref());
        let Some(issuer) = accepted_issuer(server, accepted, draft) else { continue };
        let issuer =
            Issuer { issuer, timeout: timeout.clone(), network: network.clone(), ..Issuer::default() };
        match draft.config.add_issuer(issuer) {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) | None => {}
        }
    }
    for entry in listed.iter().flatten() {
        let used = draft.config.issuers.values().any(|issuer| Some(issuer.issuer.as_str()) == entry.text());
        if used {
            draft.report.carried(
                entry.line,
                &entry.path,
                "`issuers`: compared with `iss` code point for code point",
            );
        } else {
            draft.report.left(entry.line, &entry.path, ELSEWHERE);
        }
    }
    if names.is_empty() {
        names.extend(draft.missing_issuer(auth.line, "transport.auth.servers"));
    }
    names
}

const ELSEWHERE: &str = "its keys are published by a server of another URL, and Palisade reads an issuer's keys from the \
                         issuer: add an issuer with this URL and `jwks: {uri: ..}` of that server's metadata";

/// The issuers that `iss` is compared with; none where Apollo does not compare. A list that cannot be read whole compares.
fn compared<'a>(entry: &Entry<'a>, draft: &mut Draft) -> Option<Vec<Entry<'a>>> {
    let (texts, complete) = entry.texts(&mut draft.report);
    (!texts.is_empty() || !complete).then_some(texts)
}

fn servers<'a>(section: &mut Section<'a>, draft: &mut Draft) -> Vec<Server<'a>> {
    let Some(elements) = section.take("servers").and_then(|entry| entry.elements(&mut draft.report)) else {
        return Vec::new();
    };
    let mut servers = Vec::new();
    for entry in elements {
        if let Some(url) = entry.text() {
            servers.push(Server { line: entry.line, path: entry.path, url, issuers: None });
            continue;
        }
        if matches!(entry.node.value, Value::Text(_)) {
            draft.report.left(entry.line, &entry.path, UNREADABLE);
            continue;
        }
        let Some(mut fields) = entry.section(&mut draft.report) else { continue };
        let issuers = fields.take("issuers").and_then(|entry| compared(&entry, draft));
        let url = fields.take("url").and_then(|entry| entry.plain_text(&mut draft.report));
        fields.rest(&mut draft.report);
        match url {
            Some(url) => servers.push(Server { line: entry.line, path: entry.path, url, issuers }),
            None => {
                draft.report.left(entry.line, &entry.path, "without a URL that can be read, it is no issuer")
            }
        }
    }
    servers
}

/// The issuer whose own metadata is at the server's URL, if the source accepts it.
fn accepted_issuer(
    server: &Server<'_>,
    accepted: Option<&Vec<Entry<'_>>>,
    draft: &mut Draft,
) -> Option<String> {
    if let Err(why) = check_issuer(server.url) {
        draft.report.left(server.line, &server.path, why);
        return None;
    }
    let Some(accepted) = accepted else {
        draft.report.carried(
            server.line,
            &server.path,
            "`issuers`; Apollo did not compare `iss`, Palisade does: your tokens must carry exactly this text",
        );
        return Some(server.url.to_owned());
    };
    // A slash at the end is the one difference that leaves the metadata where it is.
    let same = |text: &str| text.trim_end_matches('/') == server.url.trim_end_matches('/');
    let own = accepted.iter().filter_map(Entry::text).find(|text| same(text) && check_issuer(text).is_ok());
    if server.issuers.is_some() {
        for entry in accepted.iter().filter(|entry| entry.text() != own) {
            draft.report.left(entry.line, &entry.path, ELSEWHERE);
        }
    }
    match own {
        Some(_) => draft.report.carried(server.line, &server.path, "`issuers`"),
        None => {
            draft.report.left(server.line, &server.path, "none of the listed issuers publishes its keys here")
        }
    }
    own.map(str::to_owned)
}

/// Apollo writes durations as Palisade does.
fn timeout(section: &mut Section<'_>, draft: &mut Draft) -> Option<String> {
    let entry = section.take("discovery_timeout")?;
    let text = entry.plain_text(&mut draft.report)?;
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_lowercase());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let simple = !digits.is_empty()
        && digits.len() <= 4
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(unit, "ms" | "s");
    if simple {
        draft.report.carried(entry.line, &entry.path, "`timeout` of the issuers");
        Some(text.to_owned())
    } else {
        draft.report.left(entry.line, &entry.path, "set `issuers.<name>.timeout` to a duration such as 5s");
        None
    }
}

fn network(section: &mut Section<'_>, draft: &mut Draft) -> Option<Network> {
    let mut tls = section.take_section("tls", &mut draft.report)?;
    if let Some(entry) = tls.take("danger_accept_invalid_certs") {
        off_only(
            &entry,
            "Palisade always checks certificates; name your authority with `tls.ca_cert`",
            draft,
        );
    }
    let ca = tls.take("ca_cert").and_then(|entry| match entry.text() {
        Some(path) if path.starts_with('/') => {
            draft.report.carried(entry.line, &entry.path, "`network.ca` of the issuers");
            Some(Network { ca: FileRef { file: path.to_owned() } })
        }
        Some(_) => {
            let why = "relative to the folder Apollo is started in: set `issuers.<name>.network.ca.file`";
            draft.report.left(entry.line, &entry.path, why);
            None
        }
        None => {
            draft.report.left(entry.line, &entry.path, UNREADABLE);
            None
        }
    });
    tls.rest(&mut draft.report);
    ca
}
