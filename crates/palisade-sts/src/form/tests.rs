//! The form is read in one way, or not at all.

use proptest::prelude::*;

use super::*;

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn what_is_good_is_read() {
    let form = Form::read(b"grant_type=a%3Ab&scope=x+y&audience=1&audience=2&empty=&state=a=b").unwrap();
    assert_eq!(form.get("grant_type"), Some("a:b"));
    assert_eq!(form.get("scope"), Some("x y"));
    assert_eq!(form.all("audience").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((form.get("empty"), form.get("absent"), form.get("state")), (None, None, Some("a=b")));
    assert!(Form::read(b"").unwrap().get("scope").is_none());
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for bad in [
        "scope=a&scope=b",
        "scope=a&scope=a",
        "scope=&scope=a",
        "scope=a&sc%6fpe=b",
        "unknown=1&unknown=2",
        "scope",
        "scope=a&",
        "&scope=a",
        "=a",
        "scope=%",
        "scope=%4",
        "scope=%zz",
        "scope=%ff",
        "scope=%00",
        "scope=a%0d%0ab",
        "scope=a b",
        "scope=\u{e9}",
    ] {
        assert!(Form::read(bad.as_bytes()).is_err(), "{bad}");
    }
    let many: Vec<String> = (0..65).map(|place| format!("p{place}=1")).collect();
    assert!(Form::read(many.join("&").as_bytes()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = Form::read(&body);
    }

    #[test]
    fn what_is_read_is_what_a_lenient_reader_reads(body in "[a-c=&+%0-9é]{0,40}") {
        if let Ok(form) = Form::read(body.as_bytes()) {
            for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
                prop_assert_eq!(form.get(&name).unwrap_or_default(), value);
            }
        }
    }

    #[test]
    fn what_is_encoded_comes_out_again(value in "[^\\p{Cc}]{1,40}") {
        let form = Form::read(format!("scope={}", encode(&value)).as_bytes()).unwrap();
        prop_assert_eq!(form.get("scope"), Some(value.as_str()));
    }

    #[test]
    fn no_parameter_but_the_two_comes_twice(name in "[a-z_]{1,12}", between in "[a-z]{13,16}") {
        let body = format!("{name}=1&{between}=x&{name}=2");
        let repeatable = REPEATABLE.contains(&name.as_str());
        prop_assert_eq!(Form::read(body.as_bytes()).is_ok(), repeatable);
    }
}
