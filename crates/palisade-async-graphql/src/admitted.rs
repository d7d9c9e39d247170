//! A request that was let by, as its guards ask about its fields.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_graphql::SchemaEnv;
use http::{HeaderMap, header};
use palisade_client::{DecisionPoint, Item, Outcome, Question, RawToken};
use tokio::{sync::OnceCell, time::Instant};

use crate::denial::Denial;

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

/// What came holds credentials, and what was asked arguments.
impl fmt::Debug for Admitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Admitted({:?}, ..)", self.resource)
    }
}

impl Admitted {
    pub(crate) fn new(
        schema: SchemaEnv,
        point: Arc<dyn DecisionPoint>,
        resource: String,
        headers: &HeaderMap,
        fresh: Duration,
    ) -> Self {
        let credential = Credential::of(headers);
        let answers = Mutex::new((Instant::now(), Answers::new()));
        Self { schema, point, resource, credential, fresh, answers }
    }

    /// Whether a field may be resolved. Equal questions are asked once, also while the first is under way.
    pub(crate) async fn may(&self, coordinate: &str, arguments: String) -> Verdict {
        let cell = self.cell((coordinate.to_owned(), arguments.clone()));
        cell.get_or_init(|| self.ask(coordinate, arguments)).await.clone()
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<Verdict>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, known) = &mut *answers;
        if since.elapsed() >= self.fresh {
            (*since, *known) = (Instant::now(), Answers::new());
        }
        Arc::clone(known.entry(key).or_default())
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
        match self.point.decide(&question).await {
            Ok(decision) => match &decision.outcome {
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
