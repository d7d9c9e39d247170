//! What a remembered answer is found by.

use palisade_model::RawToken;
use sha2::{Digest, Sha256};

use crate::{Item, Question};

/// A SHA-256 digest.
pub(super) type Key = [u8; 32];

/// The digest of everything in a question that a decision hangs on. Each field is written with whether it is there and how
/// long it is, so that no two questions are written alike.
pub(super) fn key(question: &Question) -> Key {
    // What comes beside a question is for the record, and an explained one is not remembered.
    let Question { resource, token, item: Item { action, target, arguments }, explain: _, beside: _ } =
        question;
    let fields = [
        Some(resource.as_str()),
        token.as_ref().map(RawToken::expose),
        Some(action),
        target.as_deref(),
        arguments.as_deref(),
    ];
    let mut digest = Sha256::new();
    for field in fields {
        match field {
            None => digest.update([0]),
            Some(text) => {
                digest.update([1]);
                digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                digest.update(text);
            }
        }
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn questions() -> impl Strategy<Value = Question> {
        let text = || prop_oneof!["[ab]{0,3}", ".{0,8}"];
        let maybe = || proptest::option::of(text());
        (text(), maybe(), text(), maybe(), maybe()).prop_map(
            |(resource, token, action, target, arguments)| {
                let token = token.map(RawToken::new);
                let item = Item { action, target, arguments };
                Question { token, ..Question::new(resource, item) }
            },
        )
    }

    /// The question with one field of it changed to another value.
    fn with(question: &Question, field: usize, value: Option<String>) -> Question {
        let mut other = question.clone();
        match field {
            0 => other.resource = value.unwrap_or_default(),
            1 => other.token = value.map(RawToken::new),
            2 => other.item.action = value.unwrap_or_default(),
            3 => other.item.target = value,
            _ => other.item.arguments = value,
        }
        other
    }

    proptest! {
        #[test]
        fn a_changed_field_is_another_key(
            question in questions(), field in 0..5_usize, value in proptest::option::of(".{0,8}")
        ) {
            let other = with(&question, field, value);
            prop_assert_eq!(key(&question) == key(&other), question == other);
        }

        #[test]
        fn questions_share_a_key_only_where_they_are_the_same(one in questions(), other in questions()) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn what_moves_from_a_field_to_its_neighbour_is_another_key(text in "[ab]{1,6}", at in 0..6_usize, field in 0..4_usize) {
            let (left, right) = text.split_at(at.min(text.len()));
            let empty = Question { token: Some(RawToken::new("")), ..Question::new("", Item::new("").on("").with("")) };
            let split = with(&with(&empty, field, Some(left.to_owned())), field + 1, Some(right.to_owned()));
            let whole = with(&empty, field, Some(text.clone()));
            prop_assert_eq!(key(&split) == key(&whole), right.is_empty());
        }

        #[test]
        fn nothing_and_an_empty_text_are_two_things(question in questions(), field in prop_oneof![Just(1_usize), Just(3), Just(4)]) {
            prop_assert_ne!(key(&with(&question, field, None)), key(&with(&question, field, Some(String::new()))));
        }
    }

    #[test]
    fn what_is_only_for_the_record_is_no_part_of_the_key() {
        let question = Question::new("demo", Item::new("ping"));
        let beside = question.clone().request_id("1").within(Duration::from_secs(1)).traceparent("t");
        assert_eq!(key(&question), key(&beside));
    }
}
