//! How an issuer is reached: a client that reaches public addresses only. It fetches documents, and sends forms to token
//! endpoints.
//!
//! The URL of a key set may come from a document that the issuer serves, so a fetch is a request that somebody else can
//! steer. The guard, unless `network.private` loosens it: `https` only, no addresses as hosts, names that resolve to
//! public addresses only (see `addresses`), no redirects, no proxy from the environment, no cookies, no credentials, a
//! time limit and a size limit that does not trust `Content-Length`. With an egress proxy configured it is the
//! proxy that resolves names, so it decides which addresses are reached; the rules on URLs hold all the same.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{
    Certificate, Client, Identity, Proxy, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{
        ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
        IF_NONE_MATCH, RETRY_AFTER,
    },
    redirect,
};
use thiserror::Error;
use url::{Host, Url};
use zeroize::Zeroizing;

mod addresses;

/// The longest document.
const MAX_BODY: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a fetch brought.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The document is the one that the given `ETag` stands for.
    Unchanged { max_age: Option<Duration> },
    /// A document.
    Document { body: Vec<u8>, etag: Option<String>, max_age: Option<Duration> },
}

/// What a server answered to a form, whatever its status.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The body. It may hold tokens, and is overwritten when it is dropped.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why nothing came. Holds nothing of the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The guard forbids it.
    #[error("`{url}` may not be fetched: {why}")]
    NotAllowed {
        /// The URL.
        url: Url,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Nobody answered.
    #[error("cannot reach `{url}`: {why}")]
    Unreachable {
        /// The URL.
        url: Url,
        /// Why.
        why: String,
    },
    /// The server has no such document.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// The URL.
        url: Url,
        /// The status.
        status: u16,
    },
    /// What came is no JSON.
    #[error("`{url}` answered with a content type that is not JSON")]
    ContentType {
        /// The URL.
        url: Url,
    },
    /// What came is too long.
    #[error("`{url}` answered with more than {MAX_BODY} bytes")]
    TooLong {
        /// The URL.
        url: Url,
    },
}

impl FetchError {
    /// Whether the server said that there is no such document.
    pub(crate) fn is_client_error(&self) -> bool {
        matches!(self, Self::Status { status: 400..=499, .. })
    }
}

/// Everything that a client depends on.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    /// Whether private and loopback addresses may be reached, and plain http on loopback.
    pub private: bool,
    /// Certificates (PEM) to trust beside the system's.
    pub authorities: Option<Vec<u8>>,
    /// An egress proxy.
    pub proxy: Option<Url>,
    /// How long a request may take.
    pub timeout: Duration,
    /// The certificate and the key (PEM, one after the other) that the client proves itself with (RFC 8705).
    pub identity: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { private, authorities: _, proxy, timeout, identity: _ } = self;
        // What stands before the host may be a password.
        let proxy = proxy.as_ref().map(|proxy| (proxy.host_str(), proxy.port_or_known_default()));
        write!(formatter, "Route({private:?}, {proxy:?}, {timeout:?}, ..)")
    }
}

/// A client of one issuer.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    private: bool,
}

impl Fetcher {
    /// A client.
    ///
    /// # Errors
    /// When the certificates, the proxy or the system's own settings are of no use.
    pub fn new(route: &Route) -> Result<Self, String> {
        let failed = |error: reqwest::Error| chain(&error);
        let filter = if route.proxy.is_some() { Filter::None } else { Filter::of(route.private) };
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(!route.private)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(route.timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("palisade/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Resolver(filter));
        if let Some(pem) = &route.authorities {
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(failed)?);
        }
        if let Some(pem) = &route.identity {
            builder = builder.identity(Identity::from_pem(pem).map_err(failed)?);
        }
        if let Some(proxy) = &route.proxy {
            builder = builder.proxy(Proxy::all(proxy.clone()).map_err(failed)?);
        }
        Ok(Self { client: builder.build().map_err(failed)?, private: route.private })
    }

    /// Whether `url` may be fetched at all; the rule it breaks if not.
    pub(crate) fn check(&self, url: &Url) -> Result<(), &'static str> {
        check_url(url, self.private)
    }

    /// Fetches a JSON document. With `etag` the server may answer that it has not changed.
    pub(crate) async fn get(&self, url: &Url, etag: Option<&str>) -> Result<Fetched, FetchError> {
        self.check(url).map_err(|why| FetchError::NotAllowed { url: url.clone(), why })?;
        let unreachable =
            |error: reqwest::Error| FetchError::Unreachable { url: url.clone(), why: chain(&error) };
        let mut request =
            self.client.get(url.clone()).header(ACCEPT, "application/json, application/jwk-set+json");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let max_age = max_age(response.headers());
        if etag.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Unchanged { max_age });
        }
        check_answer(&response, url)?;
        let etag = text(response.headers(), &ETAG).map(str::to_owned);
        let body = read(&mut response, url).await?;
        Ok(Fetched::Document { body, etag, max_age })
    }

    /// Sends a form (RFC 6749 appendix B), with a value for `Authorization` if there is one. Whatever is answered is the
    /// caller's to judge; a redirect is an answer like any other, and is not followed.
    ///
    /// # Errors
    /// When the guard forbids it, nobody answers in time, or the answer is too long.
    pub async fn post(
        &self,
        url: &Url,
        authorization: Option<&str>,
        form: Zeroizing<String>,
    ) -> Result<Answered, FetchError> {
        self.check(url).map_err(|why| FetchError::NotAllowed { url: url.clone(), why })?;
        let unreachable =
            |error: reqwest::Error| FetchError::Unreachable { url: url.clone(), why: chain(&error) };
        let mut request = self
            .client
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec());
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::try_from(authorization).map_err(|_| FetchError::NotAllowed {
                url: url.clone(),
                why: "the client's secret fits no header",
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after = text(response.headers(), &RETRY_AFTER).map(str::to_owned);
        let body = Zeroizing::new(read(&mut response, url).await?);
        Ok(Answered { status, retry_after, body })
    }
}

/// The body, as far as it may go: `Content-Length` is not trusted.
async fn read(response: &mut Response, url: &Url) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk =
            chunk.map_err(|error| FetchError::Unreachable { url: url.clone(), why: chain(&error) })?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > MAX_BODY {
            return Err(FetchError::TooLong { url: url.clone() });
        }
        body.extend_from_slice(&chunk);
    }
}

/// The rules on a URL, whoever named it.
///
/// # Errors
/// The rule it breaks.
pub fn check_url(url: &Url, private: bool) -> Result<(), &'static str> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("it has no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if private && loopback => {}
        "http" => return Err("`http` is for loopback with `network.private` only"),
        _ => return Err("its scheme is not `https`"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials");
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    match address {
        Some(_) if !private => Err("its host is an address, which needs `network.private`"),
        Some(address) if !addresses::is_reachable(address, true) => Err("its host is no address of a server"),
        Some(_) | None => Ok(()),
    }
}

fn check_answer(response: &Response, url: &Url) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status { url: url.clone(), status: response.status().as_u16() });
    }
    let content_type = text(response.headers(), &CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(media_type.as_str(), "application/json" | "application/jwk-set+json") {
        Ok(())
    } else {
        Err(FetchError::ContentType { url: url.clone() })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long a document may be used without asking again (RFC 9111 section 5.2.2); `no-store` and `no-cache` are zero.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut age = None;
    for directive in text(headers, &CACHE_CONTROL)?.split(',') {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            age = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    age
}

/// An error with its causes: the outermost text of the HTTP client says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Which addresses a name may resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Public,
    Private,
    None,
}

impl Filter {
    const fn of(private: bool) -> Self {
        if private { Self::Private } else { Self::Public }
    }

    fn lets_by(self, address: IpAddr) -> bool {
        match self {
            Self::Public => addresses::is_reachable(address, false),
            Self::Private => addresses::is_reachable(address, true),
            Self::None => true,
        }
    }
}

/// Resolves names by the system, and drops the addresses that the filter does not let by. The connection goes to an
/// address of this very answer, so a name cannot resolve to something else later.
#[derive(Debug)]
struct Resolver(Filter);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Vec<SocketAddr> = found.filter(|address| filter.lets_by(address.ip())).collect();
            if good.is_empty() {
                return Err("the name resolves to no address that may be reached".into());
            }
            let addresses: Addrs = Box::new(good.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_what_stands_before_the_host_of_a_proxy() {
        let route = Route {
            private: false,
            authorities: None,
            proxy: Some("http://user:s3cret@proxy.example.com:3128/".parse().unwrap()),
            timeout: Duration::from_secs(1),
            identity: None,
        };
        let told = format!("{route:?}");
        assert!(told.contains("proxy.example.com") && told.contains("3128"), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("user"), "{told}");
    }

    #[test]
    fn only_https_to_a_name_is_allowed_unless_private() {
        for (url, public, private) in [
            ("https://login.example.com/jwks", true, true),
            ("https://login.example.com:8443/jwks", true, true),
            ("http://login.example.com/jwks", false, false),
            ("https://user:pw@login.example.com/", false, false),
            ("https://user@login.example.com/", false, false),
            ("https://10.0.0.1/jwks", false, true),
            ("https://8.8.8.8/jwks", false, true),
            ("https://[::1]/jwks", false, true),
            ("http://127.0.0.1:4444/jwks", false, true),
            ("http://[::1]:4444/jwks", false, true),
            ("http://localhost:4444/jwks", false, true),
            ("http://10.0.0.1/jwks", false, false),
            ("https://169.254.169.254/latest/meta-data", false, false),
            ("https://[fe80::1]/", false, false),
            ("https://0x7f.1/", false, true),
            ("file:///etc/passwd", false, false),
            ("ftp://login.example.com/", false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(check_url(&url, false).is_ok(), public, "{url} public");
            assert_eq!(check_url(&url, true).is_ok(), private, "{url} private");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_dropped() {
        let resolve = |filter| Resolver(filter).resolve("localhost".parse().unwrap());
        assert!(resolve(Filter::Public).await.is_err());
        assert!(resolve(Filter::Private).await.is_ok());
    }

    #[test]
    fn cache_control_is_understood() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            max_age(&headers)
        };
        assert_eq!(read("public, max-age=3600, must-revalidate"), Some(Duration::from_secs(3600)));
        assert_eq!(read("MAX-AGE=\"5\""), Some(Duration::from_secs(5)));
        assert_eq!(read("max-age=60, no-store"), Some(Duration::ZERO));
        assert_eq!(read("max-age=-1"), None);
        assert_eq!(read("private"), None);
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
