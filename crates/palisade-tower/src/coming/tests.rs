//! Who sends steadily keeps its place, whatever others do.

use std::future::{Pending, pending, ready};

use super::*;

type Silent = Pending<Result<(), NotWhole>>;

fn silent() -> Silent {
    pending()
}

fn from(address: &str) -> Whose {
    Whose::of(Some(address.parse().unwrap()))
}

#[tokio::test]
async fn the_one_that_has_made_no_progress_for_longest_is_given_up_for_one_more() {
    let coming = Coming::new(2);
    let nobody = Whose::of(None);
    let places = [coming.place(nobody), coming.place(nobody), coming.place(nobody)];
    let [mut first, mut second, mut third] =
        places.each_ref().map(|place| Box::pin(place.wait_for(silent())));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    // What is there takes nobody's place.
    assert_eq!(coming.place(nobody).wait_for(ready(Ok(7))).await.unwrap(), 7);
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    assert!(matches!(first.await, Err(NotWhole::NoRoom)));
    assert!((&mut second).now_or_never().is_none() && coming.state().count == 2);
    // Who goes away leaves no place behind.
    drop((second, third));
    drop(places);
    let state = coming.state();
    assert!(state.count == 0 && state.all.is_empty() && state.ranks.is_empty());
}

#[tokio::test]
async fn who_makes_progress_outlasts_who_is_silent() {
    let coming = Coming::new(8);
    let nobody = Whose::of(None);
    let steady = coming.place(nobody);
    let mut body = Box::pin(steady.wait_for(silent()));
    assert!((&mut body).now_or_never().is_none());
    let others: Vec<_> = (0..16).map(|_| coming.place(nobody)).collect();
    for other in &others {
        assert!(other.wait_for(silent()).now_or_never().is_none());
        steady.progressed();
    }
    assert!((&mut body).now_or_never().is_none());
    // One that has been given up takes no place by going on.
    others[0].progressed();
    assert_eq!(coming.state().count, 8);
}

#[tokio::test]
async fn who_sends_most_is_given_up_first_and_a_network_of_one_client_is_one_sender() {
    let coming = Coming::new(4);
    let slow = coming.place(from("192.0.2.1"));
    let mut body = Box::pin(slow.wait_for(silent()));
    assert!((&mut body).now_or_never().is_none());
    let others: Vec<_> =
        (1..=16).map(|number| coming.place(from(&format!("2001:db8::{number:x}")))).collect();
    for other in &others {
        assert!(other.wait_for(silent()).now_or_never().is_none());
    }
    assert!((&mut body).now_or_never().is_none(), "it has made no progress, and has one place only");
    assert_eq!((from("2001:db8::1"), from("::ffff:192.0.2.1")), (from("2001:db8::f:1"), from("192.0.2.1")));
    assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
    // Where each has one, time decides.
    let coming = Coming::new(2);
    let places: Vec<_> = (1..=3).map(|number| coming.place(from(&format!("192.0.2.{number}")))).collect();
    let mut bodies: Vec<_> = places.iter().map(|place| Box::pin(place.wait_for(silent()))).collect();
    assert!(bodies.iter_mut().all(|body| body.now_or_never().is_none()));
    assert!(matches!((&mut bodies[0]).now_or_never(), Some(Err(NotWhole::NoRoom))));
    assert!(bodies[1..].iter_mut().all(|body| body.now_or_never().is_none()));
}
