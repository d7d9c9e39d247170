//! How the tokens of one kind of provider are read: the media type, the client, and who the subject is.
//!
//! A profile is a set of written tests over signed claims. Where a test does not decide, the token is refused as
//! ambiguous: nothing here guesses. The claims come from `verify`, after their signature held.

use palisade_model::{Reason, SubjectKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TokenError;

/// How the tokens of an issuer are read.
///
/// | profile | `typ` | client | a client acts as itself when | roles, groups, tenant by default |
/// |---|---|---|---|---|
/// | `rfc9068` | `at+jwt` | `client_id` | `sub` = `client_id` | `roles`, `groups`, none |
/// | `entra_v2` | `JWT`, `at+jwt` | `azp` | there is no `scp`, or `idtyp` = `app` | `roles`, `groups`, `tid` |
/// | `entra_v1` | `JWT`, `at+jwt` | `appid` | as `entra_v2` | `roles`, `groups`, `tid` |
/// | `okta` | none, `JWT`, `at+jwt`, `okta-internal-at+jwt` | `cid` | `sub` = `cid` | `roles`, `groups`, none |
/// | `auth0` | `JWT`, `at+jwt` | `azp`, `client_id` | `gty` = `client-credentials` | `roles`, `groups`, none |
/// | `keycloak` | `JWT`, `at+jwt` | `azp`, `client_id` | `preferred_username` begins with `service-account-`, and `client_id` or `clientId` = `azp` | `/realm_access/roles`, `groups`, none |
/// | `google` | `JWT` | `azp` | `azp` = `sub`, or `email` is of a service account | `roles`, `groups`, none |
/// | `palisade` | `at+jwt` | `client_id` | `sub_profile` = `service` | `roles`, `groups`, `tenant` |
///
/// What is left is a user, with these exceptions, which are ambiguous and refused: Entra tokens with `idtyp` neither
/// `app` nor `user`, with `idtyp` = `user` and no `scp`, or with an empty `scp`; Okta tokens without `cid`; Auth0 tokens
/// whose `sub` ends with `@clients` and that have no `gty`; Keycloak service accounts whose client cannot be told, and
/// tokens with neither `preferred_username` nor `sid`; Google tokens whose `azp` is no `apps.googleusercontent.com`
/// client; every token of a client acting as itself that does not name the client.
///
/// An OpenID Connect ID token is no access token: `nonce`, `at_hash`, `c_hash` and `s_hash` are refused by
/// `entra_*`, `okta` and `auth0`, and Keycloak's `typ` claim, where it is there, must be `Bearer` or `DPoP`. `google` is
/// the exception: Google's access tokens are opaque, and its JWTs are ID tokens.
///
/// `palisade` is for tokens of Palisade's own token service, which speak for subjects of other issuers: the subject is who
/// `sub_id` names, an id of the issuer that is named there, and so are its roles, groups and tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Access tokens as RFC 9068 says.
    #[default]
    #[serde(rename = "rfc9068")]
    Rfc9068,
    /// Microsoft Entra, version 2.0 tokens.
    EntraV2,
    /// Microsoft Entra, version 1.0 tokens.
    EntraV1,
    /// Okta.
    Okta,
    /// Auth0.
    Auth0,
    /// Keycloak.
    Keycloak,
    /// Google.
    Google,
    /// Palisade's own token service.
    Palisade,
}

type Claims = Map<String, Value>;

impl Profile {
    pub(crate) const fn is_entra(self) -> bool {
        match self {
            Self::EntraV1 | Self::EntraV2 => true,
            Self::Rfc9068 | Self::Okta | Self::Auth0 | Self::Keycloak | Self::Google | Self::Palisade => {
                false
            }
        }
    }

    /// Whether a token that was issued to one client says that its subject is another: whether the test of a client that acts as
    /// itself is about something else than whom the token was issued to.
    #[must_use]
    pub const fn tells_clients_of_others(self) -> bool {
        match self {
            Self::Rfc9068 | Self::Okta | Self::Keycloak => false,
            Self::EntraV1 | Self::EntraV2 | Self::Auth0 | Self::Google | Self::Palisade => true,
        }
    }

    /// Checks the header's `typ`, given in lower case and without `application/`.
    pub(crate) fn check_media_type(self, media_type: Option<&str>) -> Result<(), TokenError> {
        let accepted: &[&str] = match self {
            Self::Rfc9068 | Self::Palisade => &["at+jwt"],
            Self::EntraV2 | Self::EntraV1 | Self::Auth0 | Self::Keycloak => &["jwt", "at+jwt"],
            Self::Okta => &["jwt", "at+jwt", "okta-internal-at+jwt"],
            Self::Google => &["jwt"],
        };
        let fits = match media_type {
            Some(media_type) => accepted.contains(&media_type),
            None => self == Self::Okta,
        };
        if fits {
            Ok(())
        } else {
            Err(TokenError::new(Reason::TokenType, "the header's `typ` is not that of an access token"))
        }
    }

    /// Checks the claims by which a provider without its own media type tells its kinds of tokens apart.
    pub(crate) fn check_kind_of_token(self, claims: &Claims) -> Result<(), TokenError> {
        let refused = |detail: &str| Err(TokenError::new(Reason::TokenType, detail));
        let of_id_token =
            || ["nonce", "at_hash", "c_hash", "s_hash"].iter().any(|name| claims.contains_key(*name));
        match self {
            Self::EntraV2 | Self::EntraV1 | Self::Okta | Self::Auth0 if of_id_token() => {
                refused("the token has a claim that only ID tokens have")
            }
            Self::EntraV2 => Self::check_version(claims, "2.0"),
            Self::EntraV1 => Self::check_version(claims, "1.0"),
            Self::Keycloak => match claims.get("typ").map(Value::as_str) {
                None | Some(Some("Bearer" | "DPoP")) => Ok(()),
                Some(_) => refused("the `typ` claim is not that of an access token"),
            },
            Self::Rfc9068 | Self::Okta | Self::Auth0 | Self::Google | Self::Palisade => Ok(()),
        }
    }

    fn check_version(claims: &Claims, version: &str) -> Result<(), TokenError> {
        match claims.get("ver") {
            None => Ok(()),
            Some(Value::String(given)) if given == version => Ok(()),
            Some(_) => {
                Err(TokenError::new(Reason::TokenType, format!("the `ver` claim is not \"{version}\"")))
            }
        }
    }

    /// The claims that must be there beside `iss`, `sub`, `aud` and `exp`.
    pub(crate) const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Rfc9068 => &["client_id", "iat", "jti"],
            Self::Palisade => &["client_id", "iat", "jti", "sub_id", "sub_profile"],
            Self::EntraV2 | Self::EntraV1 | Self::Okta | Self::Auth0 | Self::Keycloak | Self::Google => &[],
        }
    }

    /// The claims that may name the client the token was issued to; the first one present counts.
    pub(crate) const fn client_claims(self) -> &'static [&'static str] {
        match self {
            Self::Rfc9068 | Self::Palisade => &["client_id"],
            Self::EntraV2 | Self::Google => &["azp"],
            Self::EntraV1 => &["appid"],
            Self::Okta => &["cid"],
            Self::Auth0 | Self::Keycloak => &["azp", "client_id"],
        }
    }

    /// Where roles are, unless configured otherwise.
    pub(crate) const fn roles(self) -> &'static str {
        match self {
            Self::Keycloak => "/realm_access/roles",
            Self::Rfc9068
            | Self::EntraV2
            | Self::EntraV1
            | Self::Okta
            | Self::Auth0
            | Self::Google
            | Self::Palisade => "roles",
        }
    }

    /// Where the tenant is, unless configured otherwise.
    pub(crate) const fn tenant(self) -> Option<&'static str> {
        match self {
            Self::EntraV1 | Self::EntraV2 => Some("tid"),
            Self::Palisade => Some("tenant"),
            Self::Rfc9068 | Self::Okta | Self::Auth0 | Self::Keycloak | Self::Google => None,
        }
    }

    /// Whether the token is a user's, or a client's that acts as itself. `subject` is `sub`, `client` the client.
    pub(crate) fn subject_kind(
        self,
        claims: &Claims,
        subject: &str,
        client: Option<&str>,
    ) -> Result<SubjectKind, TokenError> {
        let decided = match self {
            Self::Rfc9068 | Self::Okta => client.map(|client| client_if(client == subject)),
            Self::EntraV2 | Self::EntraV1 => entra(claims)?,
            Self::Auth0 => auth0(claims, subject)?,
            Self::Keycloak => keycloak(claims, client)?,
            Self::Google => google(claims, subject, client)?,
            Self::Palisade => match text(claims, "sub_profile")? {
                Some("user") => Some(SubjectKind::User),
                Some("service") => Some(SubjectKind::Client),
                Some(_) | None => None,
            },
        };
        match decided {
            Some(SubjectKind::Client) if client.is_none() => {
                Err(ambiguous("the token is a client's, and does not name the client"))
            }
            Some(kind) => Ok(kind),
            None => Err(ambiguous("the claims do not tell a user from a client")),
        }
    }
}

fn ambiguous(detail: &str) -> TokenError {
    TokenError::new(Reason::TokenSubjectAmbiguous, detail)
}

const fn client_if(test: bool) -> SubjectKind {
    if test { SubjectKind::Client } else { SubjectKind::User }
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::claims(format!("`{name}` is not a string"))),
    }
}

fn entra(claims: &Claims) -> Result<Option<SubjectKind>, TokenError> {
    Ok(match (text(claims, "idtyp")?, text(claims, "scp")?) {
        (Some("app"), _) | (None, None) => Some(SubjectKind::Client),
        (None | Some("user"), Some(scopes)) if !scopes.is_empty() => Some(SubjectKind::User),
        (Some(_), _) | (None, Some(_)) => None,
    })
}

fn auth0(claims: &Claims, subject: &str) -> Result<Option<SubjectKind>, TokenError> {
    Ok(match text(claims, "gty")? {
        Some(grant) => Some(client_if(grant == "client-credentials")),
        None if subject.ends_with("@clients") => None,
        None => Some(SubjectKind::User),
    })
}

fn keycloak(claims: &Claims, client: Option<&str>) -> Result<Option<SubjectKind>, TokenError> {
    let named = [text(claims, "client_id")?, text(claims, "clientId")?];
    Ok(match text(claims, "preferred_username")? {
        Some(name) if name.starts_with("service-account-") => {
            let agrees = client.is_some() && named.contains(&client) && text(claims, "azp")? == client;
            agrees.then_some(SubjectKind::Client)
        }
        Some(_) => Some(SubjectKind::User),
        None => claims.contains_key("sid").then_some(SubjectKind::User),
    })
}

fn google(claims: &Claims, subject: &str, client: Option<&str>) -> Result<Option<SubjectKind>, TokenError> {
    let robot = text(claims, "email")?.is_some_and(|email| email.ends_with(".gserviceaccount.com"));
    Ok(match client {
        Some(client) if robot || client == subject => Some(SubjectKind::Client),
        Some(client) if client.ends_with(".apps.googleusercontent.com") => Some(SubjectKind::User),
        Some(_) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(profile: Profile, claims: Value) -> Result<SubjectKind, Reason> {
        let Value::Object(claims) = claims else { panic!("an object") };
        let client =
            profile.client_claims().iter().find_map(|name| claims.get(*name)).and_then(Value::as_str);
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("someone");
        profile.subject_kind(&claims, subject, client).map_err(|error| error.reason)
    }

    #[test]
    fn each_profile_tells_users_from_clients_by_its_written_test() {
        use Profile::{Auth0, EntraV1, EntraV2, Google, Keycloak, Okta, Palisade, Rfc9068};
        use SubjectKind::{Client, User};
        const UNDECIDED: Result<SubjectKind, Reason> = Err(Reason::TokenSubjectAmbiguous);
        for (profile, claims, expected) in [
            (Rfc9068, json!({"sub": "a", "client_id": "b"}), Ok(User)),
            (Rfc9068, json!({"sub": "b", "client_id": "b"}), Ok(Client)),
            (EntraV2, json!({"scp": "a", "azp": "c"}), Ok(User)),
            (EntraV2, json!({"scp": "a", "azp": "c", "idtyp": "user"}), Ok(User)),
            (EntraV2, json!({"azp": "c"}), Ok(Client)),
            (EntraV2, json!({"azp": "c", "idtyp": "app"}), Ok(Client)),
            (EntraV2, json!({"azp": "c", "scp": "a", "idtyp": "app"}), Ok(Client)),
            (EntraV2, json!({}), UNDECIDED),
            (EntraV2, json!({"azp": "c", "idtyp": "user"}), UNDECIDED),
            (EntraV2, json!({"azp": "c", "scp": "a", "idtyp": "device"}), UNDECIDED),
            (EntraV2, json!({"azp": "c", "scp": ""}), UNDECIDED),
            (EntraV1, json!({"appid": "c"}), Ok(Client)),
            (EntraV1, json!({"scp": "a", "appid": "c"}), Ok(User)),
            (Okta, json!({"sub": "c", "cid": "c"}), Ok(Client)),
            (Okta, json!({"sub": "u", "cid": "c"}), Ok(User)),
            (Okta, json!({"sub": "u"}), UNDECIDED),
            (Auth0, json!({"sub": "c@clients", "azp": "c", "gty": "client-credentials"}), Ok(Client)),
            (Auth0, json!({"sub": "c@clients", "azp": "c"}), UNDECIDED),
            (Auth0, json!({"sub": "auth0|1", "azp": "c"}), Ok(User)),
            (Auth0, json!({"sub": "auth0|1", "azp": "c", "gty": "password"}), Ok(User)),
            (Auth0, json!({"sub": "c", "gty": "client-credentials"}), UNDECIDED),
            (Auth0, json!({"gty": ["client-credentials"]}), Err(Reason::TokenClaimsInvalid)),
            (Keycloak, json!({"preferred_username": "alice", "azp": "c"}), Ok(User)),
            (
                Keycloak,
                json!({"preferred_username": "service-account-c", "azp": "c", "client_id": "c"}),
                Ok(Client),
            ),
            (
                Keycloak,
                json!({"preferred_username": "service-account-c", "azp": "c", "clientId": "c"}),
                Ok(Client),
            ),
            (Keycloak, json!({"preferred_username": "service-account-c", "azp": "c"}), UNDECIDED),
            (
                Keycloak,
                json!({"preferred_username": "service-account-c", "azp": "d", "clientId": "c"}),
                UNDECIDED,
            ),
            (Keycloak, json!({"preferred_username": "service-account-c", "client_id": "c"}), UNDECIDED),
            (Keycloak, json!({"azp": "c", "sid": "s"}), Ok(User)),
            (Keycloak, json!({"azp": "c"}), UNDECIDED),
            (Google, json!({"sub": "1", "azp": "1"}), Ok(Client)),
            (Google, json!({"sub": "1", "azp": "2", "email": "a@p.iam.gserviceaccount.com"}), Ok(Client)),
            (Google, json!({"sub": "1", "azp": "x.apps.googleusercontent.com"}), Ok(User)),
            (Google, json!({"sub": "1", "azp": "2"}), UNDECIDED),
            (Google, json!({"sub": "1"}), UNDECIDED),
            (Palisade, json!({"sub": "c", "client_id": "c", "sub_profile": "user"}), Ok(User)),
            (Palisade, json!({"sub": "corp/c", "client_id": "d", "sub_profile": "service"}), Ok(Client)),
            (Palisade, json!({"sub": "c", "client_id": "c"}), UNDECIDED),
            (Palisade, json!({"sub": "c", "client_id": "c", "sub_profile": "device"}), UNDECIDED),
        ] {
            assert_eq!(kind(profile, claims.clone()), expected, "{profile:?} {claims}");
        }
    }

    #[test]
    fn media_types_fit_the_profile() {
        use Profile::{Auth0, EntraV1, EntraV2, Google, Keycloak, Okta, Rfc9068};
        for (profile, media_type, fits) in [
            (Rfc9068, Some("at+jwt"), true),
            (Rfc9068, Some("jwt"), false),
            (Rfc9068, None, false),
            (EntraV2, Some("jwt"), true),
            (EntraV2, None, false),
            (Okta, None, true),
            (Okta, Some("okta-internal-at+jwt"), true),
            (Google, Some("at+jwt"), false),
        ] {
            assert_eq!(profile.check_media_type(media_type).is_ok(), fits, "{profile:?} {media_type:?}");
        }
        for profile in [Rfc9068, EntraV2, EntraV1, Okta, Auth0, Keycloak, Google] {
            for media_type in ["dpop+jwt", "logout+jwt", "secevent+jwt", "oauth-id-jag+jwt", "id+jwt", ""] {
                assert!(profile.check_media_type(Some(media_type)).is_err(), "{profile:?} {media_type}");
            }
        }
    }

    #[test]
    fn id_tokens_are_no_access_tokens() {
        use Profile::{Auth0, EntraV1, EntraV2, Google, Keycloak, Okta};
        for (profile, claims, fits) in [
            (EntraV2, json!({"ver": "2.0"}), true),
            (EntraV2, json!({"ver": "1.0"}), false),
            (EntraV2, json!({"ver": 2}), false),
            (EntraV1, json!({"ver": "1.0"}), true),
            (EntraV2, json!({"nonce": "n"}), false),
            (Okta, json!({"at_hash": "h"}), false),
            (Auth0, json!({"nonce": "n"}), false),
            (Keycloak, json!({"typ": "ID"}), false),
            (Keycloak, json!({"typ": "Refresh"}), false),
            (Keycloak, json!({"typ": 1}), false),
            (Keycloak, json!({"typ": "Bearer", "nonce": "n"}), true),
            (Google, json!({"at_hash": "h"}), true),
        ] {
            let Value::Object(members) = claims.clone() else { panic!("an object") };
            assert_eq!(profile.check_kind_of_token(&members).is_ok(), fits, "{profile:?} {claims}");
        }
    }

    #[test]
    fn profiles_have_the_names_of_the_configuration() {
        for (profile, name) in [
            (Profile::Rfc9068, "rfc9068"),
            (Profile::EntraV2, "entra_v2"),
            (Profile::EntraV1, "entra_v1"),
            (Profile::Okta, "okta"),
            (Profile::Auth0, "auth0"),
            (Profile::Keycloak, "keycloak"),
            (Profile::Google, "google"),
            (Profile::Palisade, "palisade"),
        ] {
            assert_eq!(serde_json::to_value(profile).unwrap(), name);
        }
    }
}
