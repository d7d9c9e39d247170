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
