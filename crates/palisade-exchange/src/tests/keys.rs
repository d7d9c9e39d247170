use std::{collections::BTreeSet, time::Duration};

use palisade_model::RawToken;
use palisade_pdp::Fingerprint;
use proptest::prelude::*;

use crate::key::{Common, Fields, Key};

type Owned = ([String; 7], Option<(String, String)>, [Vec<String>; 3], u64);

type Whole<'a> = (Common<'a>, Fields<'a>);

fn fields(owned: &Owned) -> Whole<'_> {
    let ([exchange, provider, token, kind, subject, requested, client], actor, lists, lifetime) = owned;
    let list = |list: &'static usize| lists[*list].iter().map(String::as_str).collect();
    let common = Common {
        exchange,
        fingerprint: Fingerprint([1; 32]),
        provider,
        subject_token_type: kind,
        actor_token: actor.as_ref().map(|(token, kind)| (token.as_str(), kind.as_str())),
        audiences: list(&0),
        resources: list(&1),
        requested_token_type: requested,
        client: (client, "client_secret_basic"),
    };
    let lifetime = Duration::from_millis(*lifetime);
    let subject_token = *RawToken::new(token.as_str()).digest();
    (common, Fields { subject_token, subject: ("User", subject), scopes: list(&2), lifetime })
}

fn nothing() -> Common<'static> {
    Common {
        exchange: "",
        fingerprint: Fingerprint([0; 32]),
        provider: "",
        subject_token_type: "",
        actor_token: None,
        audiences: Vec::new(),
        resources: Vec::new(),
        requested_token_type: "",
        client: ("", ""),
    }
}

/// The key of nothing.
pub(super) fn nothing_key() -> Key {
    Fields::default().key(&nothing().hashed())
}

fn key((common, fields): &Whole<'_>) -> Key {
    fields.key(&common.hashed())
}

/// Every way to change one field and leave the others alone.
fn changed<'a>((common, fields): &Whole<'a>, other: &'a str) -> Vec<Whole<'a>> {
    let with = |list: &[&'a str]| [list, &[other]].concat();
    let mut all = vec![
        Common { exchange: other, ..common.clone() },
        Common { fingerprint: Fingerprint([2; 32]), ..common.clone() },
        Common { provider: other, ..common.clone() },
        Common { subject_token_type: other, ..common.clone() },
        Common { actor_token: Some((other, "t")), ..common.clone() },
        Common { actor_token: Some(("t", other)), ..common.clone() },
        Common { audiences: with(&common.audiences), ..common.clone() },
        Common { resources: with(&common.resources), ..common.clone() },
        Common { requested_token_type: other, ..common.clone() },
        Common { client: (other, common.client.1), ..common.clone() },
        Common { client: (common.client.0, other), ..common.clone() },
    ];
    all.extend(common.actor_token.map(|_| Common { actor_token: None, ..common.clone() }));
    let all = all.into_iter().map(|common| (common, fields.clone()));
    let of_the_order = [
        Fields { subject_token: *RawToken::new(other).digest(), ..fields.clone() },
        Fields { subject: (other, fields.subject.1), ..fields.clone() },
        Fields { subject: (fields.subject.0, other), ..fields.clone() },
        Fields { scopes: with(&fields.scopes), ..fields.clone() },
        Fields { lifetime: fields.lifetime + Duration::from_millis(1), ..fields.clone() },
    ];
    all.chain(of_the_order.map(|fields| (common.clone(), fields))).collect()
}

proptest! {
    /// One field at a time: no two keys of it are alike, so no user finds what is another's.
    #[test]
    fn whatever_differs_in_one_field_has_another_key(
        owned: Owned,
        other in "[A-Z]{40}",
    ) {
        let fields = fields(&owned);
        let mut all = vec![fields.clone()];
        all.extend(changed(&fields, &other));
        let keys: BTreeSet<String> = all.iter().map(|fields| format!("{:?}", key(fields))).collect();
        prop_assert_eq!(keys.len(), all.len());
        prop_assert_eq!(key(&fields), key(&fields.clone()));
    }

    /// A text that moves from the end of one field to the beginning of the next makes another key.
    #[test]
    fn fields_do_not_run_together(left in "[a-z]{0,4}", middle in "[a-z]{1,4}", right in "[a-z]{0,4}") {
        let (one, other) = (format!("{left}{middle}"), format!("{middle}{right}"));
        let beginning = nothing().hashed();
        let first = Fields { subject: (&one, &right), ..Fields::default() };
        let second = Fields { subject: (&left, &other), ..Fields::default() };
        prop_assert_ne!(first.key(&beginning), second.key(&beginning));
        let first = Common { requested_token_type: &one, client: (&right, ""), ..nothing() };
        let second = Common { requested_token_type: &left, client: (&other, ""), ..nothing() };
        let fields = Fields::default();
        prop_assert_ne!(fields.key(&first.hashed()), fields.key(&second.hashed()));
        let first = Common { audiences: vec![&one], resources: vec![], ..nothing() };
        let second = Common { audiences: vec![], resources: vec![&one], ..nothing() };
        prop_assert_ne!(fields.key(&first.hashed()), fields.key(&second.hashed()));
        // Nor does the end of what all have in common with what an order adds.
        let first = (Common { client: ("", &one), ..nothing() }, Fields { subject: (&right, ""), ..fields.clone() });
        let second = (Common { client: ("", &left), ..nothing() }, Fields { subject: (&other, ""), ..fields });
        prop_assert_ne!(key(&first), key(&second));
    }
}
