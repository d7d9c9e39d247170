//! A GraphQL server with a decision service beside it: what is Palisade's are the lines that name it.

use async_graphql::{BatchRequest, EmptyMutation, EmptySubscription, Object, Schema, SimpleObject};
use axum::{Json, Router, extract::State, response::Response, routing::post};
use http::request::Parts;
use palisade_async_graphql::{Palisade, PalisadeGuard, incoming, into_http};
use palisade_client::Client;

struct Query;

#[Object]
impl Query {
    async fn orders(&self, #[graphql(default = 20)] first: usize) -> Vec<Order> {
        let orders = ["alice", "bob"].map(|owner| Order { owner: owner.to_owned(), total: 7 });
        orders.into_iter().take(first).collect()
    }
}

#[derive(SimpleObject)]
struct Order {
    owner: String,
    #[graphql(guard = "PalisadeGuard::field(\"Order.total\").object(\"owner\", &self.owner)")]
    total: i32,
}

type Api = Schema<Query, EmptyMutation, EmptySubscription>;

async fn graphql(State(api): State<Api>, parts: Parts, Json(operations): Json<BatchRequest>) -> Response {
    let sender = incoming(&parts);
    into_http(api.execute_batch(operations.data(sender)).await).map(Into::into)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let palisade = Palisade::new(Client::to("http://127.0.0.1:7254")?, "storefront");
    let api = Schema::build(Query, EmptyMutation, EmptySubscription).extension(palisade).finish();
    let router = Router::new().route("/graphql", post(graphql)).with_state(api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    Ok(axum::serve(listener, router).await?)
}
