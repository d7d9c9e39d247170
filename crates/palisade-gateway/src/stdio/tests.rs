//! A process gets what was decided on, and nothing else.

use palisade_model::{DecisionId, Timestamp};

use super::*;

#[tokio::test]
async fn what_has_two_readings_reaches_no_process() {
    let server = StdioServer::new(StdioSettings::command("cat").unwrap()).unwrap();
    for arguments in [
        r#"{"$serde_json::private::RawValue":"{\"path\":\"/etc/shadow\"}"}"#,
        r#"{"$serde_json::private::RawValue":"{}","path":"/etc/shadow"}"#,
        r#"{"path":"/tmp","path":"/etc/shadow"}"#,
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#
        );
        let caller = Caller {
            subject: "alice".to_owned(),
            decision: DecisionId::new(Timestamp::from_unix_seconds(1_000)),
        };
        let request = Request::post("/").extension(caller).body(Body::full(body)).unwrap();
        assert_eq!(server.ask(request).await.status(), StatusCode::BAD_REQUEST, "{arguments}");
        assert!(server.processes().is_empty(), "{arguments}");
    }
}
