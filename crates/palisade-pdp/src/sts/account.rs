//! A request for a token in the form that the record of a decision is made of.

use std::time::Duration;

use palisade_audit::ExchangeRecord;
use palisade_model::{
    AccessRequest, Action, Asked, Credential, DecisionId, Item, Properties, Reason, Surface, Target,
    Timestamp,
};

use super::{Fault, Refused, Requester, Sts, StsTarget, TokenRequest, issue::Permitted};
use crate::{
    decide::{Judgement, Outcome},
    record,
};

/// The request in the form that a record is made of.
pub(super) fn access_request(sts: Option<&Sts>, request: &TokenRequest) -> AccessRequest {
    let (client, asked) = (request.client.as_ref(), request.asked.as_ref());
    let item = |target: &StsTarget| {
        Asked::one(Item {
            action: Action::exchange(),
            target: Target::audience(&target.name),
            arguments: None,
            supplied: Properties::default(),
            known: Properties::default(),
            reply_to: None,
        })
    };
    let target = match (client, asked, sts) {
        (Ok(client), Ok(asked), Some(sts)) => sts.target(client, asked).map(item),
        (Err(refused), _, _) | (Ok(_), Err(refused), _) => Err(refused.clone()),
        (Ok(_), Ok(_), None) => {
            Err(Refused::new(Fault::Service, Reason::InternalError, "there is no token service"))
        }
    };
    AccessRequest {
        pep: None,
        surface: Surface::Sts,
        resource: None,
        credential: asked.map_or(Credential::Absent, |asked| Credential::Token(asked.subject_token.clone())),
        asked: target.map_err(|refused| refused.refusal),
        sent: None,
        handles: Vec::new(),
        client_ip: None,
        host: None,
        path: None,
        request_id: None,
        trace: request.trace,
    }
}

/// The record of an exchange before anything is known of it but who asks for what.
pub(super) fn begun(target: &StsTarget, requester: &Requester) -> ExchangeRecord {
    let requester = Some(format!("Client::{:?}", requester.entity_id));
    ExchangeRecord { requester, ..record::begun(&target.name, &target.audience) }
}

/// Puts into the judgement how it came out.
pub(super) fn note(
    judgement: &mut Judgement,
    id: DecisionId,
    permitted: &Result<Permitted, Refused>,
    started: Timestamp,
) {
    let record = judgement.exchange_record.as_mut();
    match permitted {
        Ok(permitted) => {
            judgement.outcome = Outcome::Permit;
            if let Some(record) = record {
                record.token_id = Some(format!("jti:{id}"));
                record.scopes.clone_from(&permitted.scopes);
                let end = started.plus(Duration::from_secs(permitted.expires_in));
                record.expires_at = Some(Timestamp::from_unix_seconds(end.unix_seconds()));
            }
        }
        Err(refused) => {
            if let Some(record) = record {
                record.reason = refused.refusal.reason;
                record.actors.clear();
            }
            judgement.refuse(refused.refusal.clone());
        }
    }
}
