use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use crate::key::{Fields, Key};

type Owned = ([String; 7], Option<(String, String)>, [Vec<String>; 3], u64);

fn fields(owned: &Owned) -> Fields<'_> {
    let ([exchange, provider, token, kind, subject, requested, client], actor, lists, lifetime) = owned;
    let list = |list: &'static usize| lists[*list].iter().map(String::as_str).collect();
    Fields {
        exchange,
        fingerprint: [1; 32],
        provider,
        subject_token: token,
        subject_token_type: kind,
        subject,
        actor_token: actor.as_ref().map(|(token, kind)| (token.as_str(), kind.as_str())),
        audiences: list(&0),
        resources: list(&1),
        scopes: list(&2),
        requested_token_type: requested,
        client: (client, "client_secret_basic"),
        lifetime: Duration::from_millis(*lifetime),
    }
}

/// Every way to change one field and leave the others alone.
fn changed<'a>(fields: &Fields<'a>, other: &'a str) -> Vec<Fields<'a>> {
    let with = |list: &[&'a str]| [list, &[other]].concat();
    let mut all = vec![
        Fields { exchange: other, ..fields.clone() },
        Fields { fingerprint: [2; 32], ..fields.clone() },
        Fields { provider: other, ..fields.clone() },
        Fields { subject_token: other, ..fields.clone() },
        Fields { subject_token_type: other, ..fields.clone() },
        Fields { subject: other, ..fields.clone() },
        Fields { actor_token: Some((other, "t")), ..fields.clone() },
        Fields { actor_token: Some(("t", other)), ..fields.clone() },
        Fields { audiences: with(&fields.audiences), ..fields.clone() },
        Fields { resources: with(&fields.resources), ..fields.clone() },
        Fields { scopes: with(&fields.scopes), ..fields.clone() },
        Fields { requested_token_type: other, ..fields.clone() },
        Fields { client: (other, fields.client.1), ..fields.clone() },
        Fields { client: (fields.client.0, other), ..fields.clone() },
        Fields { lifetime: fields.lifetime + Duration::from_millis(1), ..fields.clone() },
    ];
    all.extend(fields.actor_token.map(|_| Fields { actor_token: None, ..fields.clone() }));
    all
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
        let keys: BTreeSet<String> = all.iter().map(|fields| format!("{:?}", fields.key())).collect();
        prop_assert_eq!(keys.len(), all.len());
        let again: Key = fields.key();
        prop_assert_eq!(again, fields.key());
    }

    /// A text that moves from the end of one field to the beginning of the next makes another key.
    #[test]
    fn fields_do_not_run_together(left in "[a-z]{0,4}", middle in "[a-z]{1,4}", right in "[a-z]{0,4}") {
        let (one, other) = (format!("{left}{middle}"), format!("{middle}{right}"));
        let first = Fields { subject_token: &one, subject_token_type: &right, ..Fields::default() };
        let second = Fields { subject_token: &left, subject_token_type: &other, ..Fields::default() };
        prop_assert_ne!(first.key(), second.key());
        let first = Fields { audiences: vec![&one], resources: vec![], ..Fields::default() };
        let second = Fields { audiences: vec![], resources: vec![&one], ..Fields::default() };
        prop_assert_ne!(first.key(), second.key());
    }
}
