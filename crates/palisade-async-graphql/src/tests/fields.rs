//! Fields: what a guard asks, how often, and what comes of the answer.

use super::*;

#[tokio::test]
async fn equal_questions_of_a_request_are_asked_once_and_another_request_asks_anew() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let query = "{ orders { a: total b: total(digits: 3) } }";
    for _ in 0..2 {
        let answer = server.execute(query).await;
        assert_eq!(answer["data"]["orders"][2], json!({ "a": 2, "b": 3 }), "{answer}");
        let mut questions = server.questions();
        questions.sort_by_key(|(_, arguments)| {
            (arguments["@object"]["owner"].to_string(), arguments["digits"].as_i64())
        });
        let of = |owner: &str, digits: i32| {
            ("Order.total".to_owned(), json!({ "digits": digits, "@object": { "owner": owner } }))
        };
        assert_eq!(questions, [of("alice", 2), of("alice", 3), of("bob", 2), of("bob", 3)]);
        assert_eq!(server.asked().len(), 1);
    }
    let token = |headers: &'static [(&'static str, &'static str)]| {
        let server = &server;
        async move {
            server.schema.execute(from("{ orders(most: 1) { total } }", headers)).await;
            let questions = std::mem::take(&mut *server.point.questions.lock().unwrap());
            questions
                .into_iter()
                .map(|question| question.token.map(|token| token.expose().to_owned()))
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(token(&[("authorization", "bearer  t")]).await, [Some("t".to_owned())]);
    assert_eq!(token(&[]).await, [None]);
    // Of these the question cannot tell whose they are.
    assert!(token(&[("authorization", "DPoP t")]).await.is_empty());
    assert!(token(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]).await.is_empty());
}

#[tokio::test]
async fn what_is_no_plain_permit_is_an_error_of_its_field() {
    let cases = [
        (Says::No, "FORBIDDEN", None),
        (Says::Obliges, "FORBIDDEN", None),
        (Says::Observed, "FORBIDDEN", None),
        (Says::StepUp, "FORBIDDEN", Some("a b")),
        (Says::Another, "FORBIDDEN", None),
        (Says::Nothing, "SERVICE_UNAVAILABLE", None),
    ];
    for (says, code, scope) in cases {
        let server = Server::saying(Says::Yes, says);
        let response = server.schema.execute(from("{ orders(most: 1) { total } }", &[])).await;
        let answer = serde_json::to_value(&response).unwrap();
        let error = &answer["errors"][0];
        assert_eq!(error["path"], json!(["orders", 0, "total"]), "{answer}");
        assert_eq!(
            (&error["extensions"]["code"], error["extensions"]["scope"].as_str()),
            (&json!(code), scope)
        );
        // The resolver of the orders alone was reached.
        assert_eq!((server.reached.take(), server.questions().len()), (1, 1), "{says:?}");
        assert_eq!(into_http(response).status(), 200);
    }
}

#[tokio::test]
async fn nobody_who_asks_again_waits_for_the_silence_of_a_decision_point_twice() {
    let server = Server::saying(Says::Yes, Says::Nothing);
    server.execute("{ orders { total } }").await;
    assert_eq!(server.questions().len(), 2);
}

#[tokio::test]
async fn a_guard_that_cannot_ask_refuses_and_says_what_to_change() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let answer = server.execute("{ orders(most: 1) { mistaken } }").await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("its coordinate is not"), "{answer}");
    let answer = server.execute("{ customer { total } }").await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("its coordinate is not"), "{answer}");
    assert_eq!((server.reached.take(), server.questions().len()), (1, 0));
    let schema = Schema::build(Query, Mutation, EmptySubscription).data(server.reached.clone()).finish();
    server.reached.take();
    let answer = serde_json::to_value(schema.execute("{ orders(most: 1) { total } }").await).unwrap();
    assert!(
        answer["errors"][0]["message"].as_str().unwrap().contains(".extension(Palisade::new("),
        "{answer}"
    );
    assert_eq!((server.reached.take(), server.questions().len()), (1, 0));
}

#[tokio::test]
async fn a_request_has_so_many_questions_about_fields_and_few_at_a_time() {
    let server = Server::saying(Says::Yes, Says::Yes);
    // Two owners have orders, one of them two.
    let fields: String = (0..501).map(|n| format!("f{n}: total(digits: {n}) ")).collect();
    let answer = server.execute(&format!("{{ orders {{ {fields} }} }}")).await;
    let errors = answer["errors"].as_array().unwrap();
    assert!(errors.iter().all(|error| error["extensions"]["code"] == "TOO_MANY_REQUESTS"), "{errors:?}");
    assert!(!errors.is_empty() && server.questions().len() == 1_000, "{}", errors.len());
    assert_eq!(server.point.at_most.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn the_field_of_a_subscription_is_asked_about_before_it_begins() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let first = |query: &'static str| {
        let mut responses = server.schema.execute_stream(from(query, &[]));
        async move { responses.next().await.unwrap() }
    };
    assert!(first("subscription { guarded }").await.is_ok());
    assert_eq!(server.questions(), [("Ticks.guarded".to_owned(), json!({}))]);
    let refused = first("subscription { mistaken }").await;
    assert!(refused.errors[0].message.contains("its coordinate is not"), "{refused:?}");
    assert_eq!(server.questions(), []);
    *server.point.fields.lock().unwrap() = Says::No;
    assert!(first("subscription { guarded }").await.is_err());
}
