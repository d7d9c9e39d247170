use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const START: i64 = 1_700_000_000_000_000;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_unix_micros(START + (seconds * 1e6) as i64)
}

fn budget(most: u32) -> Budget {
    Budget { most, within: MINUTE }
}

#[test]
fn a_budget_is_whole_again_a_slot_after_its_time() {
    let mut window = Window::default();
    for _ in 0..100 {
        window.take(at(1.0), budget(100), 1).unwrap();
    }
    let wait = window.take(at(1.0), budget(100), 1).unwrap_err();
    assert!((MINUTE..=MINUTE + Duration::from_secs(3)).contains(&wait), "{wait:?}");
    assert!(window.take(at(60.9), budget(100), 1).is_err());
    let then = at(1.0).plus(wait);
    assert!(window.take(then.minus(Duration::from_micros(1)), budget(100), 1).is_err());
    window.take(then, budget(100), 100).unwrap();
    assert!(window.take(then, budget(100), 1).is_err());
}

#[test]
fn who_wants_more_at_once_waits_longer_and_for_more_than_all_there_is_no_time() {
    let mut window = Window::default();
    window.take(at(0.0), budget(10), 5).unwrap();
    window.take(at(30.0), budget(10), 5).unwrap();
    let (few, many) = (window.take(at(40.0), budget(10), 5), window.take(at(40.0), budget(10), 6));
    assert!(few.unwrap_err() < many.unwrap_err());
    assert_eq!(window.take(at(40.0), budget(10), 11), Err(MINUTE));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let mut window = Window::default();
    let slot = window.take(at(0.0), budget(2), 2).unwrap();
    assert!(window.take(at(0.0), budget(2), 1).is_err());
    window.give_back(slot, 1);
    window.take(at(0.0), budget(2), 1).unwrap();
    // More than was taken is never given back.
    window.give_back(slot, 9);
    window.take(at(0.0), budget(2), 2).unwrap();
    assert!(window.take(at(0.0), budget(2), 1).is_err());
}

#[test]
fn a_clock_that_is_set_back_frees_nothing_unless_it_is_set_back_by_all_of_the_time() {
    let mut window = Window::default();
    window.take(at(50.0), budget(1), 1).unwrap();
    assert!(window.take(at(0.0), budget(1), 1).is_err());
    window.take(at(-20.0), budget(1), 1).unwrap();
}

#[test]
fn another_time_begins_anew() {
    let mut window = Window::default();
    window.take(at(0.0), budget(1), 1).unwrap();
    window.take(at(0.0), Budget { most: 1, within: MINUTE * 2 }, 1).unwrap();
}

proptest! {
    /// What is let by in any time of the budget's length is never more than the budget, and who waits as long as he is told
    /// is let by.
    #[test]
    fn no_time_of_the_length_ever_holds_more(
        most in 1..20_u32,
        within in 1..90_000_u64,
        draws in prop::collection::vec((0..20_000_u64, 1..4_u32), 1..300),
    ) {
        let budget = Budget { most, within: Duration::from_millis(within) };
        let (mut window, mut now, mut let_by) = (Window::default(), at(0.0), Vec::new());
        for (after, count) in draws {
            now = now.plus(Duration::from_millis(after * within / 60_000));
            match window.take(now, budget, count) {
                Ok(_) => let_by.push((now, count)),
                Err(wait) if count <= most => {
                    now = now.plus(wait);
                    prop_assert!(window.take(now, budget, count).is_ok(), "told to wait {:?} in vain", wait);
                    let_by.push((now, count));
                }
                Err(_) => {}
            }
            let since = let_by.iter().filter(|(then, _)| now.since(*then) < budget.within);
            let total: u32 = since.map(|(_, count)| count).sum();
            prop_assert!(total <= most, "{total} of {most}");
            prop_assert!(window.slots.len() <= SLOTS as usize + 1);
        }
    }
}
