use aws_lc_rs::hmac;
use palisade_model::{Scopes, Timestamp};
use palisade_pdp::Issued;
use palisade_token::Marks;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{Seal, SharedKey, read_key};

const PLACE: [u8; 32] = [3; 32];
const WHEN: (Timestamp, Timestamp) =
    (Timestamp::from_unix_seconds(1_800_000_000), Timestamp::from_unix_seconds(1_800_000_100));

fn issued(token: &str) -> Issued {
    Issued {
        token: Zeroizing::new(token.to_owned()),
        scopes: ["a", "b"].iter().map(|scope| scope.parse().unwrap()).collect(),
        actors: vec!["corp/gw".to_owned()],
        token_id: "jti:1".to_owned(),
        expires_at: Timestamp::from_unix_seconds(1_800_000_200),
        good_until: Timestamp::from_unix_seconds(1_800_000_100),
        marks: Marks::default(),
    }
}

fn of(keys: &[u8]) -> Seal {
    Seal::new(&keys.iter().map(|key| SharedKey::new([*key; 32])).collect::<Vec<_>>()).unwrap()
}

fn seal() -> Seal {
    of(&[1])
}

#[test]
fn what_is_sealed_comes_out_as_it_was_and_says_nothing_outside() {
    let sealed = seal().seal(&PLACE, &issued("a.readable.token"), WHEN).unwrap();
    let again = seal().seal(&PLACE, &issued("a.readable.token"), WHEN).unwrap();
    assert_ne!(sealed, again, "each has a nonce of its own");
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains("readable") && !text.contains("corp") && !text.contains("jti"));
    let kept = seal().open(&PLACE, &sealed).unwrap();
    let was = issued("a.readable.token");
    assert_eq!((&kept.token, &kept.scopes, &kept.actors), (&was.token, &was.scopes, &was.actors));
    assert_eq!((kept.token_id, kept.expires_at), (was.token_id, was.expires_at));
    assert_eq!((kept.written_at, kept.good_until), WHEN);
    assert!(!format!("{:?} {:?}", seal(), seal().open(&PLACE, &sealed)).contains("readable"));
}

#[test]
fn two_keys_open_and_the_first_seals() {
    let (old, new) = (1, 2);
    let by_old = of(&[old]).seal(&PLACE, &issued("t"), WHEN).unwrap();
    let by_both = of(&[new, old]).seal(&PLACE, &issued("t"), WHEN).unwrap();
    assert!(of(&[new, old]).open(&PLACE, &by_old).is_some());
    assert!(of(&[new]).open(&PLACE, &by_both).is_some());
    assert!(of(&[new]).open(&PLACE, &by_old).is_none());
    assert!(of(&[old]).open(&PLACE, &by_both).is_none());
    assert!(Seal::new(&[]).is_none() && Seal::new(&[1, 2, 1].map(|key| SharedKey::new([key; 32]))).is_none());
}

#[test]
fn a_name_says_nothing_without_the_key_and_is_found_while_keys_are_changed() {
    let names = |keys: &[u8]| of(keys).names(&PLACE).collect::<Vec<String>>();
    assert_eq!(names(&[1, 2]), [names(&[1]), names(&[2])].concat());
    let (by_one, by_other) = (names(&[1]).remove(0), names(&[2]).remove(0));
    assert_ne!(by_one, by_other);
    for plain in
        [hex::encode(PLACE), hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &PLACE))]
    {
        assert!(by_one != plain && by_other != plain);
    }
    // Nor is it what the configured key itself makes of the place: each purpose has a key of its own.
    let configured = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
    assert_ne!(by_one, hex::encode(hmac::sign(&configured, &PLACE)));
}

#[test]
fn a_key_is_32_bytes_in_base64_or_hex() {
    assert_eq!(read_key(&"07".repeat(32)), Some(SharedKey::new([7; 32])));
    assert_eq!(read_key("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="), Some(SharedKey::new([7; 32])));
    for wrong in ["", "07", &"07".repeat(31), &"07".repeat(33), &"zz".repeat(32), "BwcH"] {
        assert_eq!(read_key(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_is_opened(token in "[!-~]{1,200}", scopes in prop::collection::btree_set("[a-z:]{1,9}", 0..5),
            actors in prop::collection::vec(".{0,20}", 0..4), place: [u8; 32], written: i64, until: i64) {
        let scopes: Scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let issued = Issued { scopes, actors, ..issued(&token) };
        let when = (Timestamp::from_unix_micros(written), Timestamp::from_unix_micros(until));
        let kept = seal().open(&place, &seal().seal(&place, &issued, when).unwrap()).unwrap();
        prop_assert_eq!((&kept.token, &kept.scopes), (&issued.token, &issued.scopes));
        prop_assert_eq!((&kept.actors, kept.written_at, kept.good_until), (&issued.actors, when.0, when.1));
    }

    #[test]
    fn one_bit_or_one_byte_less_and_nothing_comes_out(at: prop::sample::Index, bit in 0..8_u8) {
        let sealed = seal().seal(&PLACE, &issued("token"), WHEN).unwrap();
        let at = at.index(sealed.len());
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(seal().open(&PLACE, &flipped).is_none());
        prop_assert!(seal().open(&PLACE, &sealed[..at]).is_none());
        let mut place = PLACE;
        place[at % 32] ^= 1 << bit;
        prop_assert!(seal().open(&place, &sealed).is_none(), "it is moved");
    }

    #[test]
    fn arbitrary_bytes_open_nowhere(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(seal().open(&PLACE, &bytes).is_none());
        let versioned = [&[2], bytes.as_slice()].concat();
        prop_assert!(seal().open(&PLACE, &versioned).is_none());
    }
}
