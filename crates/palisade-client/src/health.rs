//! What brings an endpoint back that was left out.
//!
//! Its health service is asked, at once and then ever more rarely, so that no question of a caller is spent on finding
//! out. A false alarm, such as a call with too short a deadline, is over with the first answer.

use std::{sync::Arc, time::Duration};

use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::endpoint::Endpoint;

/// The service whose health is asked for.
const SERVICE: &str = "palisade.v1.Decisions";
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Watches over an endpoint for as long as its client lives.
pub(crate) async fn watch(endpoint: Arc<Endpoint>) {
    loop {
        endpoint.failure().await;
        let mut unanswered = 0;
        while endpoint.is_out() {
            // An endpoint that says it is well and fails all the same is asked ever more rarely, too.
            let failures = endpoint.failures().max(1).saturating_add(unanswered);
            tokio::time::sleep(pause(failures)).await;
            if is_well(endpoint.channel.clone()).await {
                endpoint.let_in();
            }
            unanswered = unanswered.saturating_add(1);
        }
    }
}

/// No pause after the first failure; then twice as long after each, with jitter.
fn pause(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else { return Duration::ZERO };
    let pause = PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
    pause.mul_f64(rand::random_range(0.75..1.0))
}

async fn is_well(channel: Channel) -> bool {
    let mut health = HealthClient::new(channel);
    let mut request = tonic::Request::new(HealthCheckRequest { service: SERVICE.to_owned() });
    request.set_timeout(PATIENCE);
    match tokio::time::timeout(PATIENCE, health.check(request)).await {
        Ok(Ok(answer)) => answer.into_inner().status == ServingStatus::Serving as i32,
        // A proxy that passes no health questions on answers for itself; the next question shows the rest.
        Ok(Err(status)) => {
            let said = std::error::Error::source(&status).is_none();
            said && matches!(status.code(), Code::Unimplemented | Code::NotFound)
        }
        Err(_elapsed) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1), Duration::ZERO);
        let at_most = |failures: u32, millis: u64| {
            let pause = pause(failures);
            let longest = Duration::from_millis(millis);
            assert!(pause <= longest && pause >= longest.mul_f64(0.75), "{failures}: {pause:?}");
        };
        at_most(2, 100);
        at_most(3, 200);
        at_most(7, 3_200);
        at_most(8, 5_000);
        at_most(u32::MAX, 5_000);
    }
}
