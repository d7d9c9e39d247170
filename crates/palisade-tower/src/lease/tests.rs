//! A lease before a decision point that says one thing after the other.

use std::collections::VecDeque;

use http::{HeaderMap, Method};
use palisade_client::{
    Answering, Bind, Description, Incoming, List, Listed, NoAnswer,
    wire::{Asked, Unreadable},
};
use palisade_model::DecisionId;
use palisade_proto::v1;

use super::*;

/// What is answered to a question: a status, where 200 is a permit, 201 one for somebody else, 202 one with another body, and 0 is nothing.
#[derive(Debug, Default)]
struct Point {
    says: Mutex<VecDeque<u32>>,
    last: u32,
    asked: Mutex<usize>,
}

fn permit(expires_at: Option<i64>) -> v1::CheckResponse {
    v1::CheckResponse {
        decision_id: DecisionId::new(Timestamp::from_unix_seconds(1_000)).to_string(),
        outcome: v1::Outcome::Permit.into(),
        subject: Some("User::\"corp/alice\"".to_owned()),
        passage: Some(v1::Passage::default()),
        expires_at: expires_at.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..v1::CheckResponse::default()
    }
}

fn read(check: &Check, reply: v1::CheckResponse) -> Result<Checked, NoAnswer> {
    check.read(reply).map_err(|unreadable: Unreadable| unreadable.of("test"))
}

impl GatewayPoint for Point {
    fn describe<'a>(&'a self, _describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(async { Ok(None) })
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        *self.asked.lock().unwrap() += 1;
        let said = match self.says.lock().unwrap().pop_front().unwrap_or(self.last) {
            0 => Err(NoAnswer::Unreadable { endpoint: "test".to_owned(), what: "it is silent" }),
            200 => read(check, permit(None)),
            201 => read(
                check,
                v1::CheckResponse { subject: Some("User::\"corp/bob\"".to_owned()), ..permit(None) },
            ),
            202 => {
                let passage = Some(v1::Passage { body: Some(b"{}".to_vec()), ..v1::Passage::default() });
                read(check, v1::CheckResponse { passage, ..permit(None) })
            }
            status => {
                let answer = Some(v1::Answer { status, ..v1::Answer::default() });
                let outcome = v1::Outcome::Deny.into();
                read(check, v1::CheckResponse { outcome, answer, ..v1::CheckResponse::default() })
            }
        };
        Box::pin(async move { said })
    }

    fn list<'a>(&'a self, _list: &'a List) -> Answering<'a, Listed> {
        Box::pin(async { Ok(Listed::Shown(Vec::new())) })
    }

    fn bind<'a>(&'a self, _bind: &'a Bind) -> Answering<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}

fn check() -> Check {
    let request = Incoming {
        method: Method::POST,
        scheme: "https",
        host: "api.example.com".to_owned(),
        path: "/graphql".to_owned(),
        headers: HeaderMap::new(),
        client: None,
    };
    Check::new("storefront", request, "{}".into())
}

/// Why a stream ends about which this is said, and how often it was asked.
async fn ended(says: &[u32], last: u32, expires_at: Option<i64>) -> (Ended, usize) {
    let says = Mutex::new(says.iter().copied().collect());
    let point = Arc::new(Point { says, last, asked: Mutex::default() });
    let Ok(Checked::Pass(passage)) = read(&check(), permit(expires_at)) else { panic!("a permit") };
    let asked: Arc<dyn GatewayPoint> = Arc::<Point>::clone(&point);
    let lease = Lease::every(Duration::ZERO, asked, check(), &passage);
    let Again::Every { interval, .. } = lease.again else { panic!("on an interval") };
    assert_eq!(interval, SHORTEST, "no time at all would be no pause");
    let again = Again::Every { interval: Duration::from_millis(5), grace: Duration::from_millis(600) };
    let lease = Lease { again, ..lease };
    let ended = tokio::time::timeout(Duration::from_secs(20), lease.ended()).await.unwrap();
    let asked = *point.asked.lock().unwrap();
    (ended, asked)
}

#[tokio::test]
async fn a_stream_ends_with_its_denial_and_with_its_token_and_when_nobody_answers_for_long() {
    // Whoever does not answer now and then denies nothing.
    assert_eq!(ended(&[200, 0, 503, 429, 200, 403], 200, None).await, (Ended::Denied, 6));
    assert_eq!(ended(&[401], 200, None).await, (Ended::Denied, 1));
    // What is permitted is not what goes on.
    assert_eq!(ended(&[200, 201], 200, None).await, (Ended::Denied, 2));
    assert_eq!(ended(&[200, 202], 200, None).await, (Ended::Denied, 2));
    for silent in [0, 503, 429] {
        let (why, asked) = ended(&[200], silent, None).await;
        assert_eq!(why, Ended::Unanswered, "{silent}");
        assert!(asked > 5, "{silent}: {asked}");
    }
    let now = SystemClock.now().unix_seconds();
    assert_eq!(ended(&[], 200, Some(now - 1)).await, (Ended::Expired, 0));
    let (why, asked) = ended(&[], 200, Some(now + 2)).await;
    assert!(why == Ended::Expired && asked > 2, "{why:?} {asked}");
}
