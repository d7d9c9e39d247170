//! What a server has started ends with it.

use tokio::{sync::Semaphore, time::sleep};

use super::*;

/// A server that starts another process, says its number, and ends with its input.
const FORKS: &str = r#"sleep 300 & echo '{"method":"n","params":'$!'}'; read line; exit 0"#;
/// One that does not end with its input either.
const STAYS: &str = r#"sleep 300 & echo '{"method":"n","params":'$!'}'; trap '' TERM; wait; sleep 300"#;

fn runs(number: u64) -> bool {
    // What is dead and not waited for yet runs no longer.
    let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn what_a_server_has_started_ends_with_it() {
    for script in [FORKS, STAYS] {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let settings = StdioSettings { words, ..StdioSettings::command("sh").unwrap() };
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let process = Process::start(&settings, "alice", place).unwrap();
        let mut messages = process.listen().unwrap();
        let said = timeout(Duration::from_secs(10), messages.recv()).await.unwrap().unwrap();
        let started = said["params"].as_u64().unwrap();
        assert!(runs(started), "{script}");
        drop(process);
        // The place comes back when all is over.
        assert!(timeout(Duration::from_secs(10), places.acquire()).await.is_ok(), "{script}");
        let ended = async {
            while runs(started) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(5), ended).await.is_ok(), "{script}");
    }
}

#[test]
fn what_a_server_has_started_ends_with_the_runtime_that_nobody_waits_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (process, started) = runtime.block_on(async {
        let words = ["sh", "-c", STAYS].map(str::to_owned).to_vec();
        let settings = StdioSettings { words, ..StdioSettings::command("sh").unwrap() };
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let process = Process::start(&settings, "alice", place).unwrap();
        let said = process.listen().unwrap().recv().await.unwrap();
        (process, said["params"].as_u64().unwrap())
    });
    assert!(runs(started));
    // The task that carries the messages is dropped where it stands.
    drop(runtime);
    let ended = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(started)
    });
    assert!(ended);
    drop(process);
}

#[tokio::test]
async fn a_leader_that_has_ended_is_there_until_its_group_was_killed() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 300 & exit 0"]).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut group = Group::of(&child);
    let leader = group.0.unwrap();
    timeout(Duration::from_secs(10), group.leader_ends()).await.unwrap();
    assert!(!runs(u64::from(leader.as_raw_nonzero().get().unsigned_abs())));
    // Nobody has waited for it: its number is still its own.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    assert!(matches!(waitid(WaitId::Pid(leader), options), Ok(Some(_))));
    group.kill();
    assert!(group.0.is_none(), "it is killed once");
    assert!(child.wait().await.unwrap().success());
}

#[test]
fn what_tells_of_resources_goes_to_who_listens_and_the_rest_to_all() {
    let (call, mut of_call) = mpsc::channel(4);
    let (listen, mut of_listen) = mpsc::channel(4);
    let request = |listens, client| UnderWay { id: json!(1), progress: None, listens, client };
    let mut state = State::default();
    state.under_way.insert(1, request(false, call));
    let tell = |state: &mut State, method: &str| {
        let mut message = json!({ "method": method, "params": { "uri": "file:///pay" } });
        for client in addressees(&mut message, state) {
            client.try_send(message.clone()).unwrap();
        }
    };
    tell(&mut state, "notifications/resources/updated");
    tell(&mut state, "notifications/resources/list_changed");
    assert!(of_call.try_recv().is_err());
    tell(&mut state, "notifications/message");
    assert!(of_call.try_recv().is_ok());
    state.under_way.insert(2, request(true, listen));
    tell(&mut state, "notifications/resources/updated");
    assert!(of_call.try_recv().is_err() && of_listen.try_recv().is_ok());
}
