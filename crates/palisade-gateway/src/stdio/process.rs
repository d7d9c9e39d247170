//! A child process that speaks MCP over its standard input and output, a message a line (MCP, stdio transport).
//!
//! Many requests share one process, of one client's session or of one subject. So that their ids and progress tokens cannot
//! meet, each request gets a number of ours on the way in, and its own back on the way out. What the process sends and is
//! no answer goes to the request that it belongs to by its progress token, else to whoever listens for it, else to every
//! request under way; what tells of changed resources goes to nobody who does not listen.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep, timeout},
};

use super::StdioSettings;

/// The largest message of a process.
const LARGEST: usize = 16 * 1024 * 1024;
/// How many messages wait for a client that takes none; a process waits with them.
const WAITING: usize = 64;
/// The most requests of a process that are under way.
const MOST_UNDER_WAY: usize = 256;
/// How long a process may take to read a message.
const WRITE: Duration = Duration::from_secs(30);
/// How long a process has to end after its input, and how often it is looked whether it has.
const END: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// The request of a client that listens (MCP 2026-07-28).
const LISTEN: &str = "subscriptions/listen";
/// What the names of notifications about resources begin with.
const OF_RESOURCES: &str = "notifications/resources/";
/// The environment of a process, beside what is named in the settings.
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// Messages of a process, in order.
pub(super) type Messages = mpsc::Receiver<Value>;

/// A running process. It ends when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Process {
    owner: String,
    input: mpsc::Sender<Value>,
    state: Arc<Mutex<State>>,
    number: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Requests under way, by our number.
    under_way: HashMap<u64, UnderWay>,
    /// Who listens for what belongs to no request.
    listener: Option<mpsc::Sender<Value>>,
    /// Whether the process has ended.
    ended: bool,
    used: Option<Instant>,
}

impl State {
    /// Whether a client waits for something: one that is gone does not.
    fn is_waited_for(&self) -> bool {
        let listener = self.listener.iter();
        let mut clients = self.under_way.values().map(|request| &request.client).chain(listener);
        clients.any(|client| !client.is_closed())
    }
}

/// A process with everything that it has started and that has not left its group: a wrapper's server, a server's helpers. They are
/// killed when this is dropped, also where nobody waits for the end of the process.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Waits until the leader has ended, and leaves it to be waited for: until then its number, which is the group's, is nobody
    /// else's.
    async fn leader_ends(&self) {
        let Some(leader) = self.0 else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pid(leader), options) {
            sleep(LOOK).await;
        }
    }

    /// Kills it, once. INVARIANT: this is before its leader is waited for.
    fn kill(&mut self) {
        // There is none any more where all have ended by themselves.
        let _ = self.0.take().map(|leader| kill_process_group(leader, Signal::KILL));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug)]
struct UnderWay {
    /// The id as the client sent it.
    id: Value,
    /// The progress token, where the client sent one.
    progress: Option<Value>,
    /// Whether it is one that listens.
    listens: bool,
    client: mpsc::Sender<Value>,
}

impl Process {
    /// Starts a process of an owner, which keeps its place until it ends.
    pub(super) fn start(
        settings: &StdioSettings,
        owner: &str,
        place: OwnedSemaphorePermit,
    ) -> std::io::Result<Self> {
        let (program, arguments) = settings.words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        for name in ENVIRONMENT.iter().copied().chain(settings.environment.iter().map(String::as_str)) {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        // What it starts itself ends with it.
        command.process_group(0);
        let mut child = command.spawn()?;
        let group = Group::of(&child);
        let missing = || std::io::Error::other("the process has no standard input or output");
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or_else(missing)?;
        let (input, messages) = mpsc::channel(WAITING);
        let state = Arc::new(Mutex::new(State { used: Some(Instant::now()), ..State::default() }));
        tokio::spawn(run((child, group), stdin, stdout, messages, Arc::clone(&state), place));
        Ok(Self { owner: owner.to_owned(), input, state, number: AtomicU64::new(1) })
    }

    /// Sends the messages of a client, and tells where their answers come, and how many there will be.
    pub(super) async fn send(self: &Arc<Self>, messages: Vec<Value>) -> Option<(Messages, Vec<u64>)> {
        let (client, answers) = mpsc::channel(WAITING);
        let mut numbers = Vec::new();
        for mut message in messages {
            let is_request = message.get("method").is_some() && message.get("id").is_some();
            if is_request {
                numbers.push(self.begin(&mut message, &client)?);
            } else if message.get("method").and_then(Value::as_str) == Some("notifications/cancelled")
                && !self.name_cancelled(&mut message)
            {
                continue;
            }
            timeout(WRITE, self.input.send(message)).await.ok()?.ok()?;
        }
        Some((answers, numbers))
    }

    /// Takes a request's place among those under way, and gives it our number.
    fn begin(&self, message: &mut Value, client: &mpsc::Sender<Value>) -> Option<u64> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let id = std::mem::replace(message.get_mut("id")?, json!(number));
        let listens = message.get("method").and_then(Value::as_str) == Some(LISTEN);
        let meta = message.get_mut("params").and_then(|params| params.get_mut("_meta"));
        let token = meta.and_then(|meta| meta.get_mut("progressToken"));
        let progress = token.map(|token| std::mem::replace(token, json!(number)));
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        if state.under_way.len() >= MOST_UNDER_WAY {
            // What was cancelled is never answered, and nobody waits for it.
            state.under_way.retain(|_, request| !request.client.is_closed());
        }
        if state.under_way.len() >= MOST_UNDER_WAY {
            return None;
        }
        state.used = Some(Instant::now());
        state.under_way.insert(number, UnderWay { id, progress, listens, client: client.clone() });
        Some(number)
    }

    /// A cancellation names the request by the client's id; the process knows our number. One of another request is not for it.
    fn name_cancelled(&self, message: &mut Value) -> bool {
        let named = message.get_mut("params").and_then(|params| params.get_mut("requestId"));
        let state = lock(&self.state);
        let found = named.and_then(|named| {
            let number = state.under_way.iter().find(|(_, request)| request.id == *named)?.0;
            *named = json!(number);
            Some(())
        });
        found.is_some()
    }

    /// Tells the process that nobody waits for these requests any more.
    pub(super) fn cancel(&self, numbers: &[u64]) {
        for number in numbers {
            if lock(&self.state).under_way.remove(number).is_some() {
                let message = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                    "params": { "requestId": number, "reason": "the client is gone" } });
                // A process that does not read has other troubles.
                let _ = self.input.try_send(message);
            }
        }
    }

    /// Listens for what belongs to no request; nothing where somebody does already.
    pub(super) fn listen(&self) -> Option<Messages> {
        let mut state = lock(&self.state);
        if state.ended || state.listener.as_ref().is_some_and(|listener| !listener.is_closed()) {
            return None;
        }
        let (listener, messages) = mpsc::channel(WAITING);
        state.listener = Some(listener);
        Some(messages)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Whether this owner started it.
    pub(super) fn is_of(&self, owner: &str) -> bool {
        self.owner == owner
    }

    /// Since when nobody has used it; nothing while somebody waits for it.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        if state.is_waited_for() { None } else { state.used }
    }

    /// Whether nobody has used it for so long, and nobody waits for it.
    pub(super) fn is_idle(&self, longest: Duration) -> bool {
        self.unused_since().is_some_and(|used| used.elapsed() > longest)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while it is held.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries messages to and from a process until it ends or nobody holds it.
async fn run(
    (mut child, mut group): (Child, Group),
    stdin: ChildStdin,
    stdout: ChildStdout,
    messages: mpsc::Receiver<Value>,
    state: Arc<Mutex<State>>,
    place: OwnedSemaphorePermit,
) {
    tokio::select! {
        () = write(stdin, messages) => {}
        () = read(stdout, &state) => {}
    }
    // A server ends when its input does (MCP, stdio transport); one that does not is killed.
    let _ = timeout(END, group.leader_ends()).await;
    group.kill();
    // Also where it has left its group.
    let _ = child.start_kill();
    let _ = child.wait().await;
    let mut state = lock(&state);
    state.ended = true;
    // Whoever waits sees its channel closed.
    state.under_way.clear();
    state.listener = None;
    drop(state);
    drop(place);
}

async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Value>) {
    while let Some(message) = messages.recv().await {
        let line = format!("{message}\n");
        match timeout(WRITE, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("a server process does not read what it is sent, and is ended");
                return;
            }
        }
    }
}

async fn read(stdout: ChildStdout, state: &Mutex<State>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        match (&mut stdout).take(most).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() != Some(&b'\n') => {
                tracing::warn!("a message of a server process is too large or cut off, and it is ended");
                return;
            }
            Ok(_) => match serde_json::from_slice(&line) {
                Ok(message) => deliver(message, state).await,
                Err(_) => tracing::warn!("a server process writes something that is no message"),
            },
        }
    }
}

/// Brings a message to whom it is for.
async fn deliver(mut message: Value, state: &Mutex<State>) {
    let to = addressees(&mut message, &mut lock(state));
    for client in to {
        // A client that is gone takes nothing; one that is slow makes the process wait.
        let _ = client.send(message.clone()).await;
    }
}

fn addressees(message: &mut Value, state: &mut State) -> Vec<mpsc::Sender<Value>> {
    if message.get("method").is_none() {
        let number = message.get("id").and_then(Value::as_u64);
        let Some(answered) = number.and_then(|number| state.under_way.remove(&number)) else {
            return Vec::new();
        };
        state.used = Some(Instant::now());
        if let Some(id) = message.get_mut("id") {
            *id = answered.id;
        }
        return vec![answered.client];
    }
    let token = message.get_mut("params").and_then(|params| params.get_mut("progressToken"));
    if let Some(token) = token
        && let Some(request) = token.as_u64().and_then(|number| state.under_way.get(&number))
    {
        if let Some(progress) = &request.progress {
            *token = progress.clone();
        }
        return vec![request.client.clone()];
    }
    match state.listener.as_ref().filter(|listener| !listener.is_closed()) {
        Some(listener) => vec![listener.clone()],
        None => {
            let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
            let is_listened_for = method.starts_with(OF_RESOURCES);
            let mut all: Vec<mpsc::Sender<Value>> = Vec::new();
            for request in state.under_way.values().filter(|request| request.listens || !is_listened_for) {
                if !all.iter().any(|known| known.same_channel(&request.client)) {
                    all.push(request.client.clone());
                }
            }
            // A request of the server has one answer, so one client is asked.
            if message.get("id").is_some() {
                all.truncate(1);
            }
            all
        }
    }
}

#[cfg(test)]
mod tests;
