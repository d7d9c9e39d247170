//! Whatever the policies say: what is settled is no more than was wanted, and was permitted as a whole.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use proptest::prelude::*;

use super::*;

fn scopes(names: &BTreeSet<u8>) -> Scopes {
    names.iter().map(|name| format!("s{name}").parse().unwrap()).collect()
}

/// Policies that permit these scopes, together, for so long: what policies with conditions on scopes and lifetime come to.
fn permits(allowed: &Scopes, most: usize, longest: Duration) -> impl Fn(&Scopes, Duration) -> ((), bool) {
    move |scopes, lifetime| ((), scopes.is_subset(allowed) && scopes.len() <= most && lifetime <= longest)
}

fn settled(
    ask: impl Fn(&Scopes, Duration) -> ((), bool),
    wanted: &Scopes,
    longest: Duration,
) -> Option<Settled> {
    narrow(ask, &Arc::new(wanted.clone()), longest, || true).unwrap().0
}

fn names() -> impl Strategy<Value = BTreeSet<u8>> {
    prop::collection::btree_set(0_u8..16, 0..16)
}

proptest! {
    /// By policies that say anything at all, also what makes no sense.
    #[test]
    fn nothing_is_settled_that_was_not_asked_about_and_permitted_and_nothing_widens(
        wanted in names(),
        longest in 1_u64..4_000,
        answers in prop::collection::vec(any::<bool>(), 1..100),
    ) {
        let (wanted, longest) = (scopes(&wanted), Duration::from_secs(longest));
        let asked: RefCell<Vec<(Scopes, Duration, bool)>> = RefCell::default();
        let ask = |scopes: &Scopes, lifetime: Duration| {
            let mut asked = asked.borrow_mut();
            let answer = answers[asked.len() % answers.len()];
            asked.push((scopes.clone(), lifetime, answer));
            ((), answer)
        };
        let found = settled(ask, &wanted, longest);
        let asked = asked.into_inner();
        prop_assert!(asked.len() <= 4 * (MOST_WANTED + 2));
        if let Some(settled) = found {
            prop_assert!(settled.scopes.is_subset(&wanted) && settled.lifetime <= longest);
            prop_assert_eq!(settled.scopes.is_empty(), wanted.is_empty());
            let (scopes, lifetime, permitted) = asked.last().unwrap();
            prop_assert!(*permitted && *scopes == *settled.scopes && *lifetime == settled.lifetime);
        } else {
            prop_assert!(!asked[0].2);
        }
    }

    /// Who is permitted more gets no less.
    #[test]
    fn more_that_is_permitted_is_never_less_that_is_settled(
        wanted in names(),
        allowed in names(),
        more in names(),
        most in 1_usize..16,
        longest in 1_u64..4_000,
    ) {
        let (wanted, allowed) = (scopes(&wanted), scopes(&allowed));
        let wider: Scopes = &allowed | &scopes(&more);
        let (asked, longest) = (Duration::from_secs(3_600), Duration::from_secs(longest));
        // Each scope stands by itself, as in a policy that lists what it permits.
        let less = settled(permits(&allowed, 16, longest), &wanted, asked);
        let got = settled(permits(&wider, 16, longest + Duration::from_secs(60)), &wanted, asked);
        if let Some(less) = &less {
            let got = got.as_ref().unwrap();
            prop_assert!(less.scopes.is_subset(&got.scopes) || got.lifetime > less.lifetime);
        }
        // And one that limits their number permits no other set than one it was asked about.
        let few = settled(permits(&allowed, most, longest), &wanted, asked);
        prop_assert!(few.is_none_or(|few| few.scopes.len() <= most && few.scopes.is_subset(&allowed)));
    }

    /// However often it would be asked: once the time is over, nobody is asked again and nothing is settled.
    #[test]
    fn when_the_time_is_over_nothing_is_settled(wanted in names(), turns in 0_usize..70) {
        let left = Cell::new(turns);
        let asked = Cell::new(0);
        let in_time = || left.get() > 0;
        let ask = |_: &Scopes, _: Duration| {
            asked.set(asked.get() + 1);
            left.set(left.get() - 1);
            ((), false)
        };
        let found = narrow(ask, &Arc::new(scopes(&wanted)), Duration::from_secs(3_600), in_time);
        prop_assert!(asked.get() <= turns);
        match found {
            None => prop_assert_eq!(asked.get(), turns),
            Some((settled, _)) => prop_assert!(settled.is_none()),
        }
    }
}

/// The most scopes of an exchange.
const MOST_WANTED: usize = 16;
