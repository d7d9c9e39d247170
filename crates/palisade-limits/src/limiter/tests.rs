//! In memory, and where there is a server that nobody answers at. tests/it has a real one.

use palisade_model::{Clock, ManualClock};
use proptest::prelude::*;

use super::*;
use crate::Budget;

const MINUTE: Duration = Duration::from_secs(60);
const BLOCK: Block =
    Block { failures: Budget { most: 5, within: Duration::from_secs(300) }, lasts: Duration::from_secs(900) };
const PATIENCE: Duration = Duration::from_millis(50);

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_unix_seconds(1_700_000_000))
}

fn draw(holder: &str, most: u32, count: u32) -> Draw {
    Draw { holder: Holder::new(&[holder]), budget: Budget { most, within: MINUTE }, count }
}

async fn draws(limiter: &Limiter, draws: &[Draw], now: Timestamp) -> Result<(), usize> {
    let drawn = limiter.draw(None, (Crowd::Known, draws), now, PATIENCE).await;
    drawn.map_err(|exceeded| exceeded.which)
}

#[tokio::test]
async fn of_several_budgets_all_are_drawn_on_or_none() {
    let (limiter, now) = (Limiter::default(), clock().now());
    let both = [draw("alice", 3, 1), draw("cli", 2, 1)];
    assert_eq!(draws(&limiter, &both, now).await, Ok(()));
    assert_eq!(draws(&limiter, &both, now).await, Ok(()));
    for _ in 0..5 {
        assert_eq!(draws(&limiter, &both, now).await, Err(1));
    }
    // What the second did not hold the first still has.
    assert_eq!(draws(&limiter, &[draw("alice", 3, 1)], now).await, Ok(()));
    assert_eq!(draws(&limiter, &[draw("alice", 3, 1)], now).await, Err(0));
    assert_eq!(draws(&limiter, &[], now).await, Ok(()));
}

#[tokio::test]
async fn holders_are_told_apart_however_their_parts_are_cut() {
    let (limiter, now) = (Limiter::default(), clock().now());
    for parts in [&["a", "b"][..], &["ab"], &["", "ab"], &["a", "b", ""], &["1:a"], &["a1:b"]] {
        let own = [Draw { holder: Holder::new(parts), ..draw("", 1, 1) }];
        assert_eq!(draws(&limiter, &own, now).await, Ok(()), "{parts:?}");
        assert_eq!(draws(&limiter, &own, now).await, Err(0), "{parts:?}");
    }
}

#[tokio::test]
async fn the_last_of_the_failures_blocks_and_no_later_one_blocks_for_longer() {
    let (limiter, clock) = (Limiter::default(), clock());
    let (address, other) = (Holder::new(&["192.0.2.1"]), Holder::new(&["192.0.2.2"]));
    let left = async |holder: &Holder| limiter.blocked(None, holder, clock.now(), PATIENCE).await;
    let fail = async || limiter.fail(None, &address, &BLOCK, clock.now(), PATIENCE).await;
    for _ in 0..4 {
        fail().await;
        assert_eq!(left(&address).await, None);
        clock.advance(MINUTE);
    }
    fail().await;
    assert_eq!((left(&address).await, left(&other).await), (Some(BLOCK.lasts), None));
    clock.advance(MINUTE);
    fail().await;
    assert_eq!(left(&address).await, Some(BLOCK.lasts - MINUTE));
    clock.advance(BLOCK.lasts - MINUTE);
    assert_eq!(left(&address).await, None);
    // It begins anew.
    for _ in 0..4 {
        fail().await;
    }
    assert_eq!(left(&address).await, None);
    fail().await;
    assert_eq!(left(&address).await, Some(BLOCK.lasts));
}

#[tokio::test]
async fn failures_that_are_long_ago_do_not_block() {
    let (limiter, clock, address) = (Limiter::default(), clock(), Holder::new(&["192.0.2.1"]));
    for _ in 0..20 {
        limiter.fail(None, &address, &BLOCK, clock.now(), PATIENCE).await;
        assert_eq!(limiter.blocked(None, &address, clock.now(), PATIENCE).await, None);
        clock.advance(Duration::from_secs(80));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_makes_nobody_unlimited_and_nobody_wait() {
    let (limiter, now) = (Limiter::default(), clock().now());
    let shared =
        SharedCounts::new("redis://127.0.0.1:1", &[7; 32], "p".to_owned(), PATIENCE, [0; 32]).unwrap();
    let began = std::time::Instant::now();
    for turn in 0..200 {
        let drawn =
            limiter.draw(Some(&shared), (Crowd::Known, &[draw("alice", 100, 1)]), now, PATIENCE).await;
        assert_eq!(drawn.is_ok(), turn < 100, "{turn}");
    }
    let address = Holder::new(&["192.0.2.1"]);
    for _ in 0..5 {
        assert_eq!(limiter.blocked(Some(&shared), &address, now, PATIENCE).await, None);
        limiter.fail(Some(&shared), &address, &BLOCK, now, PATIENCE).await;
    }
    assert_eq!(limiter.blocked(Some(&shared), &address, now, PATIENCE).await, Some(BLOCK.lasts));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn what_is_no_place_is_refused_and_nothing_is_printed_of_it() {
    for url in ["", "http://h", "redis://h:1/#insecure", "unix:/x"] {
        let error = SharedCounts::new(url, &[7; 32], String::new(), PATIENCE, [0; 32]).unwrap_err();
        assert!(error.starts_with("url: "), "{error}");
    }
    let shared =
        SharedCounts::new("redis://u:s3cret@h:1", &[7; 32], "p".to_owned(), PATIENCE, [0; 32]).unwrap();
    assert_eq!(format!("{shared:?}"), "SharedCounts(\"p\", ..)");
}

proptest! {
    /// However draws of several budgets come, no minute ever holds more of any than it may.
    #[test]
    fn no_budget_is_ever_exceeded(
        steps in prop::collection::vec((0..3_usize, 0..3_usize, 1..4_u32, 0..20_000_u64), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (limiter, clock) = (Limiter::default(), clock());
        let mut let_by: Vec<(usize, Timestamp, u32)> = Vec::new();
        for (first, second, count, after) in steps {
            clock.advance(Duration::from_millis(after));
            let names = ["a", "b", "c"];
            let wanted: Vec<Draw> = [first, second].iter().map(|who| draw(names[*who], 10, count)).collect();
            let wanted = if first == second { &wanted[..1] } else { &wanted[..] };
            if runtime.block_on(draws(&limiter, wanted, clock.now())).is_ok() {
                let_by.push((first, clock.now(), count));
                if first != second {
                    let_by.push((second, clock.now(), count));
                }
            }
            for who in 0..3 {
                let own = let_by.iter().filter(|(own, then, _)| *own == who && clock.now().since(*then) < MINUTE);
                let total: u32 = own.map(|(_, _, count)| count).sum();
                prop_assert!(total <= 10, "{total}");
            }
        }
    }
}
