//! Lists against calls, through the gateway: for every ready-made policy set about MCP, for everybody whom its tests know,
//! for every tool, known to the catalogue or not. A tool is in the list if and only if a call of it, with some arguments that
//! the set's tests use, is permitted or becomes so by the step-ups that its denials ask for.

mod sets;

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_tests::components::{McpServer, free_port};
use palisade_tests::service::Palisade;
use palisade_tests::signer::{Algorithm, Signer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use sets::{Set, User};

/// How often a client answers challenges for one call: for scopes, and for a login.
const STEPS: usize = 3;

/// The gateway before a server for each set, and the keys of the issuers.
struct Edge {
    signer: Signer,
    palisade: Palisade,
    port: u16,
    http: reqwest::Client,
    /// How many requests had a token.
    asked: AtomicUsize,
    _servers: Vec<McpServer>,
    _folder: TempDir,
}

/// What became of a request.
enum Answer {
    /// It reached the server, which said this.
    Permitted(Value),
    /// It would with a stronger token: whoever asks, with what was asked for.
    StepUp(Box<User>),
    Denied,
}

impl Edge {
    async fn start(sets: &[Set]) -> Self {
        let (signer, folder, port) =
            (Signer::generate().unwrap(), TempDir::new().unwrap(), free_port().unwrap());
        let mut servers = Vec::new();
        for set in sets {
            servers.push((set.resource.clone(), McpServer::start(&set.offered()).await.unwrap()));
        }
        let keys = folder.path().join("keys.json");
        fs::write(&keys, signer.key_set().unwrap().to_string()).unwrap();
        let upstreams =
            servers.iter().map(|(resource, server)| (resource.clone(), json!({ "url": server.url() })));
        let configuration = json!({
            "policies": { "path": sets::folder() },
            // What is asked here is not for want of time, nor asked too often.
            "limits": { "deadline": "5s" },
            "defaults": { "rate_limits": "off" },
            "issuers": sets::issuers(sets, &keys),
            "resources": sets.iter().map(|set| (set.resource.clone(), set.resource_at(port))).collect::<serde_json::Map<_, _>>(),
            "gateway": { "address": format!("127.0.0.1:{port}"), "upstreams": upstreams.collect::<serde_json::Map<_, _>>() },
        });
        // The harness writes keys of its own before it, each a line.
        let lines = configuration.as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}\n"));
        let palisade = Palisade::start(&lines.collect::<String>(), "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let servers = servers.into_iter().map(|(_, server)| server).collect();
        Self {
            signer,
            palisade,
            port,
            http: reqwest::Client::new(),
            asked: AtomicUsize::new(0),
            _servers: servers,
            _folder: folder,
        }
    }

    async fn ask(&self, set: &Set, user: &User, method: &str, params: &Value) -> Answer {
        let mut request = self
            .http
            .post(format!("http://127.0.0.1:{}/{}", self.port, set.resource))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(claims) = user.claims(&set.identifier_at(self.port)) {
            request = request.bearer_auth(self.signer.token(Algorithm::Es256, &claims).unwrap());
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        match (status, challenge.as_deref()) {
            (200, None) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                Answer::Permitted(message.get("result").unwrap_or_else(|| panic!("{text}")).clone())
            }
            (401 | 403, Some(challenge)) if challenge.contains("error=\"insufficient_") => {
                Answer::StepUp(Box::new(user.stronger(challenge)))
            }
            (401, Some(_)) => {
                assert!(user.is_nobody(), "{user:?}: {text}");
                Answer::Denied
            }
            (400 | 403, None) => Answer::Denied,
            (_, _) => panic!("{user:?} asks {body}: {status} {challenge:?} {text}"),
        }
    }

    /// The names in the list that this user gets, and who the user is then: listing itself can need a step-up. Nothing where
    /// the user may not list.
    async fn list(&self, set: &Set, user: &User) -> Option<(User, BTreeSet<String>)> {
        let mut user = user.clone();
        for _ in 0..STEPS {
            match self.ask(set, &user, "tools/list", &json!({})).await {
                Answer::Permitted(result) => {
                    let tools = result["tools"].as_array().unwrap();
                    let names = tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned());
                    return Some((user, names.collect()));
                }
                Answer::StepUp(stronger) => user = *stronger,
                Answer::Denied => return None,
            }
        }
        panic!("{user:?} is asked for more and more to list");
    }

    /// Whether some call of a tool is permitted, at once or after what its denials ask for.
    async fn reaches(&self, set: &Set, user: &User, tool: &str) -> bool {
        for arguments in set.inputs(tool) {
            let mut user = user.clone();
            let params = json!({ "name": tool, "arguments": arguments });
            let mut steps = 0;
            loop {
                match self.ask(set, &user, "tools/call", &params).await {
                    Answer::Permitted(result) => {
                        let text = result["content"][0]["text"].as_str().unwrap();
                        assert!(text.contains(tool), "{text}");
                        return true;
                    }
                    Answer::Denied if steps > 0 => panic!("{user:?} has what was asked for: {params}"),
                    Answer::Denied => break,
                    Answer::StepUp(_) if steps == STEPS => {
                        panic!("{user:?} is asked for more and more: {params}")
                    }
                    Answer::StepUp(stronger) => user = *stronger,
                }
                steps += 1;
            }
        }
        false
    }
}

/// What one user sees of a set.
#[derive(Default)]
struct Row {
    /// Tools that are listed, and can be reached.
    shown: usize,
    hidden: usize,
    /// The user may not list.
    unlisted: bool,
    wrong: Vec<String>,
}

async fn row(edge: &Edge, set: &Set, user: &User) -> Row {
    let mut row = Row::default();
    let Some((mut user, listed)) = edge.list(set, user).await else {
        row.unlisted = true;
        return row;
    };
    for tool in set.tools() {
        user.number += 1;
        match (listed.contains(tool), edge.reaches(set, &user, tool).await) {
            (true, true) => row.shown += 1,
            (false, false) => row.hidden += 1,
            (true, false) => {
                row.wrong.push(format!("{} shows {tool} to {user:?}, who cannot reach it", set.resource))
            }
            (false, true) => {
                row.wrong.push(format!("{} hides {tool} from {user:?}, who can reach it", set.resource))
            }
        }
    }
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_listed_if_and_only_if_it_can_be_reached() {
    let sets = sets::read();
    assert!(sets.len() >= 5, "{sets:?}");
    let edge = Arc::new(Edge::start(&sets).await);
    let mut lists = 0;
    for set in sets.into_iter().map(Arc::new) {
        let mut rows = JoinSet::new();
        for (number, mut user) in set.users.clone().into_iter().enumerate() {
            user.number = number * 100;
            let (edge, set) = (Arc::clone(&edge), Arc::clone(&set));
            rows.spawn(async move { row(&edge, &set, &user).await });
        }
        let rows = rows.join_all().await;
        let wrong: Vec<&String> = rows.iter().flat_map(|row| &row.wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let (shown, hidden): (usize, usize) =
            (rows.iter().map(|row| row.shown).sum(), rows.iter().map(|row| row.hidden).sum());
        let unlisted = rows.iter().filter(|row| row.unlisted).count();
        lists += rows.len() - unlisted;
        println!(
            "{}: {} users, {} tools: {shown} shown, {hidden} hidden; {unlisted} users may not list",
            set.resource,
            rows.len(),
            set.tools().count(),
        );
        // Who asks without a token gets no list; everybody else somewhere a tool, and somewhere not.
        assert!(shown > 0 && hidden > 0 && (1..rows.len()).contains(&unlisted), "{}", set.resource);
    }
    let asked = edge.asked.load(Ordering::Relaxed);
    // A list is on the record twice: that it was asked for, and what it showed. Refusals of nobody are only counted.
    let records = edge.palisade.decisions().unwrap();
    assert_eq!(records.iter().filter(|record| record.token_id.is_some()).count(), asked + lists);
    println!("{asked} requests with a token and {lists} lists, each on the record");
}
