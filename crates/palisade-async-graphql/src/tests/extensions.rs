//! Other extensions of the same schema: what is executed is what was asked about, whatever they do.

use async_graphql::{
    CacheControl, ServerError, ServerResult, UploadValue, ValidationResult,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextPrepareRequest, NextSubscribe,
        NextValidation,
    },
    parser::{parse_query, types::ExecutableDocument},
};
use futures::stream::BoxStream;

use super::*;

const SENT: &str = "query A($n: Int) { orders(most: $n) { ...F } } fragment F on Order { id } \
                    query B { orders { ...G } } fragment G on Order { id }";
const OTHER: &str = "{ orders { id } more: orders { id } }";

/// What an extension does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Puts another text into the place of what came.
    Text,
    /// Another name of the operation.
    Name,
    /// Another document.
    Document,
    Variables,
    Upload,
    Caller,
    Incoming,
    /// Reads the text itself, as another.
    Reads,
    /// Asks nobody before a request is executed.
    Skips,
    /// The same, and has it validated by nobody.
    SkipsMore,
    /// Makes the stream itself.
    Streams,
}

#[derive(Clone, Copy)]
struct Other {
    does: Does,
    /// Whether it changes a request before or after the others see it.
    after: bool,
}

impl Other {
    fn change(self, request: &mut Request) {
        match self.does {
            Does::Text => OTHER.clone_into(&mut request.query),
            Does::Name => request.operation_name = Some("B".to_owned()),
            Does::Document => request.set_parsed_query(parse_query(OTHER).unwrap()),
            Does::Variables => {
                request.variables.insert(async_graphql::Name::new("n"), Graph::from(2));
            }
            Does::Upload => {
                let content_type = None;
                let upload =
                    UploadValue { filename: "f".to_owned(), content_type, content: Vec::new().into() };
                request.set_upload("variables.n", upload);
            }
            Does::Caller => {
                let decision = DecisionId::new(Timestamp::from_unix_seconds(1_000));
                request.data.insert(Caller { subject: "User::\"corp/bob\"".to_owned(), decision });
            }
            Does::Incoming => {
                request
                    .data
                    .insert(sender(Method::POST, &[("authorization", "Bearer other")]).request().clone());
            }
            Does::Reads | Does::Skips | Does::SkipsMore | Does::Streams => {}
        }
    }
}

impl ExtensionFactory for Other {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(*self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Other {
    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        if matches!(self.does, Does::Skips | Does::SkipsMore) {
            return Ok(request);
        }
        if !self.after {
            self.change(&mut request);
            return next.run(context, request).await;
        }
        let mut request = next.run(context, request).await?;
        self.change(&mut request);
        Ok(request)
    }

    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        match self.does {
            Does::Reads => Ok(parse_query(OTHER)?),
            Does::Skips | Does::SkipsMore => Ok(parse_query(query)?),
            Does::Text
            | Does::Name
            | Does::Document
            | Does::Variables
            | Does::Upload
            | Does::Caller
            | Does::Incoming
            | Does::Streams => next.run(context, query, variables).await,
        }
    }

    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        if self.does == Does::SkipsMore {
            return Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 });
        }
        next.run(context).await
    }

    fn subscribe<'s>(
        &self,
        context: &ExtensionContext<'_>,
        responses: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        if self.does == Does::Streams { responses } else { next.run(context, responses) }
    }
}

/// A server with another extension, before Palisade or after it.
fn with(other: Other, is_first: bool) -> Server {
    let (point, reached) = (Arc::new(Point::default()), Reached::default());
    let (gateway, decisions): (Arc<dyn GatewayPoint>, Arc<dyn DecisionPoint>) =
        (Arc::<Point>::clone(&point), Arc::<Point>::clone(&point));
    let palisade = Palisade::with(gateway, decisions, "storefront");
    let schema = Schema::build(Query, Mutation, Ticks).data(reached.clone());
    let schema = if is_first {
        schema.extension(other).extension(palisade)
    } else {
        schema.extension(palisade).extension(other)
    };
    Server { schema: schema.finish(), point, reached }
}

fn sent() -> Request {
    from(SENT, &[("authorization", "Bearer t")])
        .operation_name("A")
        .variables(Variables::from_json(json!({ "n": 1 })))
}

#[tokio::test]
async fn what_was_changed_after_it_was_asked_about_is_not_executed() {
    for does in [
        Does::Text,
        Does::Name,
        Does::Document,
        Does::Variables,
        Does::Upload,
        Does::Caller,
        Does::Incoming,
        Does::Skips,
        Does::SkipsMore,
    ] {
        let server = with(Other { does, after: true }, true);
        let response = server.schema.execute(sent()).await;
        assert!(response.is_err(), "{does:?}");
        assert_eq!(server.reached.take(), 0, "{does:?}");
        if does != Does::Name {
            assert!(
                response.errors[0].message.contains("is the first of the schema"),
                "{does:?} {response:?}"
            );
            assert_eq!(into_http(response).status(), 500, "{does:?}");
        }
    }
}

#[tokio::test]
async fn what_extensions_behind_palisade_make_of_a_request_is_asked_about() {
    for after in [false, true] {
        for (does, query, name, n) in [
            (Does::Text, OTHER, "A", 1),
            (Does::Name, SENT, "B", 1),
            (Does::Document, SENT, "A", 1),
            (Does::Variables, SENT, "A", 2),
            (Does::Caller, SENT, "A", 1),
            (Does::Incoming, SENT, "A", 1),
        ] {
            let server = with(Other { does, after }, false);
            let response = server.schema.execute(sent()).await;
            let asked = server.asked();
            assert_eq!(asked, [json!({ "query": query, "operationName": name, "variables": { "n": n } })]);
            // The text that was put into the place of the other has no operation of this name.
            let is_executed = does != Does::Text;
            assert_eq!(
                (response.is_ok(), server.reached.take()),
                (is_executed, usize::from(is_executed)),
                "{does:?}"
            );
        }
        let server = with(Other { does: Does::Caller, after }, false);
        let response = server.schema.execute(from("{ caller }", &[])).await;
        assert!(serde_json::to_string(&response.data).unwrap().contains("corp/alice"), "{response:?}");
        let server = with(Other { does: Does::Upload, after }, false);
        assert_eq!(into_http(server.schema.execute(sent()).await).status(), 400);
        assert_eq!((server.asked().len(), server.reached.take()), (0, 0));
    }
}

#[tokio::test]
async fn a_text_that_another_extension_reads_as_another_is_not_executed() {
    let server = with(Other { does: Does::Reads, after: false }, false);
    let response = server.schema.execute(sent()).await;
    assert_eq!(
        (into_http(response).status().as_u16(), server.asked().len(), server.reached.take()),
        (500, 1, 0)
    );
}

#[tokio::test]
async fn a_subscription_whose_end_nobody_would_see_to_does_not_begin() {
    let request = || from("subscription { ticks { id } }", &[]);
    let server = with(Other { does: Does::Streams, after: false }, true);
    let responses: Vec<Response> = server.schema.execute_stream(request()).collect().await;
    assert!(responses.len() == 1 && responses[0].is_err(), "{responses:?}");
    assert_eq!((server.asked().len(), server.reached.take()), (0, 0));
    // And so it is where it comes as a request that has one answer.
    assert_eq!(into_http(server.schema.execute(request()).await).status(), 400);
    assert_eq!((server.asked().len(), server.reached.take()), (0, 0));
    let server = with(Other { does: Does::Streams, after: false }, false);
    assert!(server.schema.execute_stream(request()).next().await.unwrap().is_ok());
}
