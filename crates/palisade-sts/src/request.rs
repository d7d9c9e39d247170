//! What a form asks for (RFC 8693 section 2.1).

use palisade_model::{RawToken, Reason, Scope, Scopes};
use palisade_pdp::{AskedToken, Fault, Refused};

use crate::form::Form;

pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Every token that we take is a JWT, too.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The most targets and scopes that a request names.
const MOST: usize = 16;

/// What is asked for, or why it cannot be read.
pub(crate) fn asked(form: &Form) -> Result<AskedToken, Refused> {
    match form.get("grant_type") {
        Some(GRANT) => {}
        Some(_) => {
            let detail = "the only grant is the exchange of tokens";
            return Err(Refused::new(Fault::Grant, Reason::ExchangeRefused, detail));
        }
        None => return Err(malformed("`grant_type` is missing")),
    }
    let subject = token(form, "subject_token", "subject_token_type")?;
    let subject_token = subject.ok_or_else(|| malformed("`subject_token` is missing"))?;
    let actor_token = token(form, "actor_token", "actor_token_type")?;
    if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(malformed("the only `requested_token_type` is an access token"));
    }
    let targets: Vec<String> = form.all("resource").chain(form.all("audience")).map(str::to_owned).collect();
    if targets.len() > MOST {
        return Err(malformed("there are too many targets"));
    }
    Ok(AskedToken { subject_token, actor_token, targets, scopes: scopes(form)? })
}

/// A token and its type, which come together or not at all.
fn token(form: &Form, name: &str, type_name: &str) -> Result<Option<RawToken>, Refused> {
    match (form.get(name), form.get(type_name)) {
        (Some(token), Some(ACCESS_TOKEN | JWT)) => Ok(Some(RawToken::new(token))),
        (Some(_), Some(_)) => Err(malformed("a token is of a type other than access token and JWT")),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(malformed("a token came without its type, or a type without its token"))
        }
    }
}

/// Scope tokens with one space between them (RFC 6749 section 3.3).
fn scopes(form: &Form) -> Result<Option<Scopes>, Refused> {
    let Some(text) = form.get("scope") else { return Ok(None) };
    let scopes: Result<Scopes, _> = text.split(' ').map(str::parse::<Scope>).collect();
    match scopes {
        Ok(scopes) if scopes.len() <= MOST => Ok(Some(scopes)),
        Ok(_) | Err(_) => {
            let detail = "`scope` is not a list of scopes";
            Err(Refused::new(Fault::Scope, Reason::RequestMalformed, detail))
        }
    }
}

fn malformed(detail: &str) -> Refused {
    Refused::new(Fault::Request, Reason::RequestMalformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=t\
                        &subject_token_type=urn:ietf:params:oauth:token-type:access_token";

    fn fault(rest: &str) -> Option<Fault> {
        let form = Form::read(format!("{GOOD}{rest}").as_bytes()).unwrap();
        asked(&form).err().map(|refused| refused.fault)
    }

    #[test]
    fn each_mistake_has_its_fault() {
        for (rest, expected) in [
            ("", None),
            ("&scope=a+b&audience=x&resource=https://x.example.com&unknown=1", None),
            ("&requested_token_type=urn:ietf:params:oauth:token-type:access_token", None),
            ("&requested_token_type=urn:ietf:params:oauth:token-type:saml2", Some(Fault::Request)),
            ("&actor_token=t", Some(Fault::Request)),
            ("&actor_token_type=urn:ietf:params:oauth:token-type:jwt", Some(Fault::Request)),
            (
                "&actor_token=t&actor_token_type=urn:ietf:params:oauth:token-type:id_token",
                Some(Fault::Request),
            ),
            ("&actor_token=t&actor_token_type=urn:ietf:params:oauth:token-type:jwt", None),
            ("&scope=a++b", Some(Fault::Scope)),
            ("&scope=%22", Some(Fault::Scope)),
        ] {
            assert_eq!(fault(rest), expected, "{rest}");
        }
        let of = |body: &str| asked(&Form::read(body.as_bytes()).unwrap()).unwrap_err().fault;
        assert_eq!(of(""), Fault::Request);
        assert_eq!(of("grant_type=client_credentials"), Fault::Grant);
        assert_eq!(of("grant_type=urn:ietf:params:oauth:grant-type:token-exchange"), Fault::Request);
    }
}
