//! A request that was let by, as its guards ask about its fields.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_graphql::SchemaEnv;
use http::{HeaderMap, StatusCode, header};
use palisade_client::{DecisionPoint, Item, Outcome, Question, RawToken};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use crate::denial::Denial;

/// How many questions about fields a request has, within the time for which an answer is one: a list can have any number of objects.
const MOST_QUESTIONS: usize = 1_000;
/// How many of them are under way at a time.
const MOST_AT_A_TIME: usize = 16;

/// What a field has come to: nothing where it may be resolved.
pub(crate) type Verdict = Result<(), Arc<Denial>>;

/// A question: the coordinate and the arguments.
type Key = (String, String);
type Answers = HashMap<Key, Arc<OnceCell<Verdict>>>;

/// A request that was let by. It is among the data of this request and of no other.
pub(crate) struct Admitted {
    pub(crate) schema: SchemaEnv,
    point: Arc<dyn DecisionPoint>,
    resource: String,
    credential: Credential,
    /// Whose operation was permitted: a field is permitted to nobody else.
    subject: String,
    turns: Semaphore,
    /// For how long an answer is an answer: a subscription goes on for longer than what it was told.
    fresh: Duration,
    answers: Mutex<(Instant, Answers)>,
}

/// What came with a request that fields are asked about for.
enum Credential {
    Nothing,
    Token(RawToken),
    /// What came is none that a question about a field can bring.
    Unusable,
}

impl Admitted {
    pub(crate) fn new(
        schema: SchemaEnv,
        point: Arc<dyn DecisionPoint>,
        resource: String,
        headers: &HeaderMap,
        subject: String,
        fresh: Duration,
    ) -> Self {
        let credential = Credential::of(headers);
        let answers = Mutex::new((Instant::now(), Answers::new()));
        let turns = Semaphore::new(MOST_AT_A_TIME);
        Self { schema, point, resource, credential, subject, turns, fresh, answers }
    }

    /// Whether a field may be resolved. Equal questions are asked once, also while the first is under way.
    pub(crate) async fn may(&self, coordinate: &str, arguments: String) -> Verdict {
        let Some(cell) = self.cell((coordinate.to_owned(), arguments.clone())) else {
            let message = "an operation asks for too many guarded fields";
            return Err(Arc::new(Denial::refused(StatusCode::TOO_MANY_REQUESTS, message)));
        };
        cell.get_or_init(|| self.ask(coordinate, arguments)).await.clone()
    }

    /// Where the answer to a question is, or will be; nothing where it is one too many.
    fn cell(&self, key: Key) -> Option<Arc<OnceCell<Verdict>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, known) = &mut *answers;
        if since.elapsed() >= self.fresh {
            (*since, *known) = (Instant::now(), Answers::new());
        }
        if known.len() >= MOST_QUESTIONS && !known.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(known.entry(key).or_default()))
    }

    async fn ask(&self, coordinate: &str, arguments: String) -> Verdict {
        let question = Question::new(&self.resource, Item::new("field").on(coordinate).with(arguments));
        let question = match &self.credential {
            Credential::Nothing => question,
            Credential::Token(token) => question.token(token.expose()),
            Credential::Unusable => {
                let denial = Denial::unaskable("fields are asked about for the bearer of one token");
                return Err(Arc::new(denial));
            }
        };
        let Ok(_turn) = self.turns.acquire().await else { return Err(Arc::new(Denial::outage())) };
        match self.point.decide(&question).await {
            Ok(decision) => match &decision.outcome {
                Outcome::Permit(permit) if permit.subject() != self.subject => {
                    let message = "a field is decided on for another subject than its operation";
                    Err(Arc::new(Denial::refused(StatusCode::FORBIDDEN, message)))
                }
                Outcome::Permit(permit) if permit.obligations().is_empty() => Ok(()),
                Outcome::Permit(_) | Outcome::StepUp(_) | Outcome::Deny(_) | Outcome::Observed(_) => {
                    Err(Arc::new(Denial::of_field(&decision)))
                }
            },
            Err(no_answer) => {
                tracing::warn!(%no_answer, "a field is refused");
                Err(Arc::new(Denial::outage()))
            }
        }
    }
}

impl Credential {
    /// The token of the one `Authorization` (RFC 6750 section 2.1). That of another scheme is bound to a proof, which a field's question cannot bring.
    fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(header::AUTHORIZATION) { Self::Unusable } else { Self::Nothing };
        };
        let token =
            value.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' ').to_owned())
            });
        token.map_or(Self::Unusable, |token| Self::Token(RawToken::new(token)))
    }
}
