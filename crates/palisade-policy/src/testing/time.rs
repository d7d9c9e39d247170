//! Times and durations as policies write them, read by Cedar itself.

use std::time::Duration;

use cedar_policy::{Context, Entities, EntityUid, EvalResult, Expression, Request, eval_expression};
use palisade_model::Timestamp;

pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    Some(Timestamp::from_unix_micros(unix_millis(text)?.checked_mul(1_000)?))
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    u64::try_from(duration_millis(text)?).ok().map(Duration::from_millis)
}

/// The milliseconds since 1970 of the argument of `datetime(..)`.
pub(crate) fn unix_millis(text: &str) -> Option<i64> {
    evaluate(text, |text| {
        format!(r#"datetime("{text}").durationSince(datetime("1970-01-01")).toMilliseconds()"#)
    })
}

/// The milliseconds of the argument of `duration(..)`.
pub(crate) fn duration_millis(text: &str) -> Option<i64> {
    evaluate(text, |text| format!(r#"duration("{text}").toMilliseconds()"#))
}

fn evaluate(text: &str, expression: impl Fn(&str) -> String) -> Option<i64> {
    // The text becomes part of an expression: only what times are written with may stand in it.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'+' | b'-');
    if !text.bytes().all(plain) {
        return None;
    }
    let expression: Expression = expression(text).parse().ok()?;
    let nobody = || r#"Nobody::"""#.parse::<EntityUid>().ok();
    let action = r#"Action::"""#.parse::<EntityUid>().ok()?;
    let request = Request::new(nobody()?, action, nobody()?, Context::empty(), None).ok()?;
    match eval_expression(&request, &Entities::empty(), &expression).ok()? {
        EvalResult::Long(millis) => Some(millis),
        EvalResult::Bool(_)
        | EvalResult::String(_)
        | EvalResult::EntityUid(_)
        | EvalResult::Set(_)
        | EvalResult::Record(_)
        | EvalResult::ExtensionValue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_in_policies() {
        for (text, seconds) in [
            ("1970-01-01", Some(0)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
            ("2026-01-01T02:00:00+0200", Some(1_767_225_600)),
            ("2026-13-01", None),
            ("\").x(\"", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text), seconds.map(Timestamp::from_unix_seconds), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_in_policies() {
        for (text, seconds) in [("15m", Some(900)), ("1h30m", Some(5_400)), ("-1s", None), ("soon", None)] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
