//! Hosts and paths as clients send them, read without repair.
//!
//! A proxy, a decision service and an upstream that read one path in two ways are a hole. So nothing is decoded,
//! merged or normalised here: a path that two readers could take differently is refused.

use palisade_model::{Reason, Refusal};

/// Where a request goes: the raw path without its query, and whether the query holds a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path, exactly as it came, without the query.
    pub path: String,
    /// Whether a member of the query is named `access_token` (RFC 6750 section 2.3, which is not accepted).
    pub token_in_query: bool,
}

impl Location {
    /// Reads a request target in origin form (RFC 9112 section 3.2.1).
    ///
    /// # Errors
    /// `request_malformed` for encoded slashes, backslashes or NUL, encodings of characters that a path may hold as they
    /// are or in lower-case hex (RFC 3986 section 6.2.2: an upstream that decodes first would route them elsewhere), dot segments, path parameters,
    /// empty segments, backslashes, fragments, control or non-ASCII characters, and anything that does not begin with a
    /// slash.
    pub fn parse(target: &str) -> Result<Self, Refusal> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(why) = path_fault(path) {
            return Err(Refusal::new(Reason::RequestMalformed, why));
        }
        let token_in_query = query.split(['&', ';']).any(|member| {
            let name = member.split_once('=').map_or(member, |(name, _)| name);
            percent_decoded(name).eq_ignore_ascii_case(b"access_token")
        });
        Ok(Self { path: path.to_owned(), token_in_query })
    }
}

fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("the path does not begin with a slash");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("the path holds a control, space or non-ASCII character");
    }
    if path.contains(['\\', '#', ';']) {
        return Some("the path holds a backslash, a fragment or a path parameter");
    }
    if path.contains("//") {
        return Some("the path holds an empty segment");
    }
    if let Some(why) = escape_fault(path.as_bytes()) {
        return Some(why);
    }
    let dots = |segment: &str| matches!(segment, "." | "..");
    path.split('/').any(dots).then_some("the path holds a dot segment")
}

/// Percent-encodings that change the structure of a path, or are none.
fn escape_fault(path: &[u8]) -> Option<&'static str> {
    for (at, byte) in path.iter().enumerate() {
        if *byte != b'%' {
            continue;
        }
        let digit = |offset: usize| path.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(1), digit(2)) else {
            return Some("the path holds a percent sign that begins no encoding");
        };
        let encoded = u8::try_from(high * 16 + low).unwrap_or_default();
        let lower_case =
            [1, 2].iter().any(|offset| path.get(at + offset).is_some_and(u8::is_ascii_lowercase));
        let needs_none =
            encoded.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&encoded) || lower_case;
        if needs_none || matches!(encoded, 0x00 | b'%' | b'/' | b'\\' | b';') {
            return Some("the path holds an encoding that a server may read as a part of the path itself");
        }
    }
    None
}

/// The bytes of a text with its percent-encodings resolved; what is no encoding stays as it is.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1), tail.get(2..)) {
            (b'%', Some(high), Some(low), Some(after)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

/// A host in the form that configuration and requests are compared in: ASCII, lower case, without one trailing dot
/// and without the default port of the scheme.
///
/// # Errors
/// `request_malformed` for user information, an empty host and anything that no host holds.
pub fn host(text: &str, scheme: &str) -> Result<String, Refusal> {
    let refuse = |why: &str| Refusal::new(Reason::RequestMalformed, why);
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']' | b'_');
    if text.is_empty() || text.len() > 255 || !text.bytes().all(allowed) {
        return Err(refuse(
            "the host is empty, too long, or holds user information or a character no host has",
        ));
    }
    let lower = text.to_ascii_lowercase();
    let (name, port) = match lower.strip_prefix('[') {
        Some(address) => {
            let (address, rest) =
                address.split_once(']').ok_or_else(|| refuse("the host's bracket is not closed"))?;
            if address.parse::<std::net::Ipv6Addr>().is_err() || !(rest.is_empty() || rest.starts_with(':')) {
                return Err(refuse("the host in brackets is no IPv6 address"));
            }
            (format!("[{address}]"), rest.strip_prefix(':'))
        }
        None => match lower.split_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (lower.clone(), None),
        },
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let port_is_number =
        port.is_none_or(|port| !port.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if name.is_empty() || name.split('.').any(str::is_empty) || !port_is_number {
        return Err(refuse("the host has an empty label or a port that is no number"));
    }
    let default_port = if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" };
    Ok(match port {
        Some(port) if port != default_port => format!("{name}:{port}"),
        Some(_) | None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_two_readers_could_take_differently_are_refused() {
        for path in [
            "",
            "*",
            "admin",
            "http://h/x",
            "//admin/x",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a/..;/b",
            "/a/.;x/b",
            "/a\\b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%2e%2e/b",
            "/a/%2E",
            "/a%00",
            "/a%252f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a#b",
            "/a b",
            "/a\u{0}",
            "/ä",
            "/%61dmin",
            "/a/admin;x",
            "/a%3bx",
            "/a%7Eb",
            "/users%3Apurge",
            "/a%40b",
            "/caf%c3%a9",
            "/a/..",
            "/..",
        ] {
            assert!(Location::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_query_takes_no_part_in_the_path() {
        let location = Location::parse("/files/a%20b?x=//..%2f").unwrap();
        assert_eq!(location.path, "/files/a%20b");
        assert!(!location.token_in_query);
    }

    #[test]
    fn a_token_in_the_query_is_seen_however_its_name_is_written() {
        for target in ["/a?access_token=x", "/a?b=1&access_token", "/a?ACCESS_token=x", "/a?access%5Ftoken=x"]
        {
            assert!(Location::parse(target).unwrap().token_in_query, "{target}");
        }
    }

    #[test]
    fn hosts_are_compared_in_one_form() {
        for (text, scheme, expected) in [
            ("MCP.Example.com", "https", "mcp.example.com"),
            ("mcp.example.com.", "https", "mcp.example.com"),
            ("mcp.example.com:443", "https", "mcp.example.com"),
            ("mcp.example.com:80", "http", "mcp.example.com"),
            ("mcp.example.com:80", "https", "mcp.example.com:80"),
            ("[::1]:8443", "https", "[::1]:8443"),
            ("127.0.0.1:7255", "http", "127.0.0.1:7255"),
        ] {
            assert_eq!(host(text, scheme).unwrap(), expected);
        }
        for bad in [
            "",
            "a@b",
            "a..b",
            ".",
            "ä.example",
            "a:b",
            "a:",
            "a:0",
            "a:99999",
            "[::1",
            "[x]",
            "a b",
            "a/b",
            "[::1]x",
        ] {
            assert!(host(bad, "https").is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_an_accepted_path_has_one_reading(text in "\\PC{0,40}|[/.%;2fFeE5cC?#a\\\\]{0,24}") {
            if let Ok(location) = Location::parse(&text) {
                let decoded = percent_decoded(&location.path);
                let segments = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
                prop_assert_eq!(segments(&decoded), segments(location.path.as_bytes()));
            }
            let _ = host(&text, "https");
        }
    }
}
