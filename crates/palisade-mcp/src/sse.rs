//! Server-sent events as they come: cut into events, each passed on as it was or with other data (WHATWG HTML section 9.2).
//!
//! Only the ends of events are looked for, so that whatever is not changed leaves byte for byte as it came.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// The byte order mark, which readers drop at the beginning of a stream.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// An event is larger than what is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(usize);

/// What came and is no whole event yet.
#[derive(Debug)]
pub struct Events {
    waiting: BytesMut,
    /// How much of it has been looked at without finding an end.
    seen: usize,
    most: usize,
}

impl Events {
    /// Takes in events of at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { waiting: BytesMut::new(), seen: 0, most }
    }

    /// Takes in what came.
    ///
    /// # Errors
    /// When an event is too large. Nothing can be taken in after it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > self.most && self.end().is_none() {
            return Err(TooLarge(self.most));
        }
        Ok(())
    }

    /// The next whole event, with the empty line that ends it.
    pub fn take(&mut self) -> Option<Bytes> {
        let end = self.end()?;
        self.seen = 0;
        Some(self.waiting.split_to(end).freeze())
    }

    /// What is left when the stream has ended: an event that has no end is none, and its client drops it.
    pub fn rest(&mut self) -> Bytes {
        self.seen = 0;
        self.waiting.split().freeze()
    }

    /// Where the first event ends. A line ends with CRLF, LF or CR; an event with an empty line.
    fn end(&mut self) -> Option<usize> {
        let bytes = &self.waiting;
        let mut at = self.seen;
        while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'\n', b'\r', rest)) {
            let first = at + found;
            let after = first + line_end(bytes.get(first..)?)?;
            match bytes.get(after..).and_then(line_end) {
                Some(length) => return Some(after + length),
                // Whether a line break follows is not known yet.
                None if after == bytes.len() || bytes.get(after..) == Some(b"\r") => {
                    self.seen = first;
                    return None;
                }
                None => at = after,
            }
        }
        self.seen = bytes.len();
        None
    }
}

/// How long the line break is that stands here; nothing where none does, or where a CR is all that has come so far.
fn line_end(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] | [b'\r', _, ..] => Some(1),
        _ => None,
    }
}

/// The data of an event: the values of its `data` fields, joined by line feeds. Nothing where it has none.
#[must_use]
pub fn data(event: &[u8]) -> Option<Vec<u8>> {
    let mut data: Option<Vec<u8>> = None;
    // Readers drop a byte order mark at the beginning of a stream.
    let event = event.strip_prefix(MARK).unwrap_or(event);
    for line in lines(event) {
        let Some(value) = field(line, b"data") else { continue };
        match &mut data {
            None => data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
    data
}

/// The event with other data, which holds no line break. Every other field stays, in its place.
#[must_use]
pub fn with_data(event: &[u8], data: &[u8]) -> Bytes {
    let event = event.strip_prefix(MARK).unwrap_or(event);
    let mut changed = BytesMut::with_capacity(event.len() + data.len());
    // A mark that begins no stream is part of a field's name, which nobody knows. At the beginning of this one it would be dropped, and
    // the field become another.
    if lines(event).next().is_some_and(|line| line.starts_with(MARK)) {
        changed.extend_from_slice(b"\n");
    }
    let mut written = false;
    for line in lines(event) {
        if field(line, b"data").is_none() {
            changed.extend_from_slice(line);
            changed.extend_from_slice(b"\n");
        } else if !written {
            written = true;
            changed.extend_from_slice(b"data: ");
            changed.extend_from_slice(data);
            changed.extend_from_slice(b"\n");
        }
    }
    changed.extend_from_slice(b"\n");
    changed.freeze()
}

/// The lines of an event that are not empty.
fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

/// The value of a field on a line of that name.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(b""),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out when this comes in, in pieces of this size.
    fn cut(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut events = Events::new(1 << 20);
        let mut out = Vec::new();
        for piece in stream.chunks(piece.max(1)) {
            events.push(piece).unwrap();
            out.extend(std::iter::from_fn(|| events.take()).map(|event| event.to_vec()));
        }
        let rest = events.rest().to_vec();
        out.extend((!rest.is_empty()).then_some(rest));
        out
    }

    #[test]
    fn events_end_with_an_empty_line_whatever_ends_a_line() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", vec!["data: a\n\n", "data: b\n\n"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", vec!["data: a\r\n\r\n", "data: b\r\n\r\n"]),
            ("data: a\r\rdata: b\r\r\n", vec!["data: a\r\r", "data: b\r\r\n"]),
            (": ping\n\n", vec![": ping\n\n"]),
            ("data: a\ndata: b\n\n", vec!["data: a\ndata: b\n\n"]),
            ("data: a\n", vec!["data: a\n"]),
            ("", vec![]),
        ] {
            let expected: Vec<Vec<u8>> = expected.iter().map(|event| event.as_bytes().to_vec()).collect();
            for piece in 1..=stream.len().max(1) {
                assert_eq!(cut(stream.as_bytes(), piece), expected, "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn data_is_read_and_replaced_and_the_rest_stays() {
        let event = b"id: 7\nevent: message\ndata: {\"a\":\ndata:1}\nretry: 5\n\n";
        assert_eq!(data(event).unwrap(), b"{\"a\":\n1}");
        let changed = with_data(event, b"{}");
        assert_eq!(&changed[..], b"id: 7\nevent: message\ndata: {}\nretry: 5\n\n");
        assert_eq!(data(b": ping\n\n"), None);
        assert_eq!(data(b"database: x\n\n"), None);
        assert_eq!(data(b"data\n\n").unwrap(), b"");
    }

    #[test]
    fn no_field_becomes_one_of_data_at_the_beginning_of_a_stream() {
        let event = b"\n\xef\xbb\xbfdata: hidden\ndata: {}\n\n";
        assert_eq!(data(event).unwrap(), b"{}");
        let changed = with_data(event, b"[]");
        assert!(!changed.starts_with(MARK), "{changed:?}");
        assert_eq!(data(&changed).unwrap(), b"[]");
        assert_eq!(cut(&changed, 1), [changed.to_vec()]);
        let twice = with_data(b"\xef\xbb\xbf\xef\xbb\xbfdata: hidden\ndata: {}\n\n", b"[]");
        assert_eq!(data(&twice).unwrap(), b"[]");
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        let mut events = Events::new(10);
        events.push(b"data: 1\n\n").unwrap();
        assert!(events.push(b"data: 2\n\n").is_ok());
        assert!(events.take().is_some() && events.take().is_some());
        assert_eq!(events.push(b"data: 12345"), Err(TooLarge(10)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed(stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'd'), Just(b':'), any::<u8>()], 0..64), piece in 1_usize..9) {
            prop_assert_eq!(cut(&stream, piece).concat(), stream);
        }

        #[test]
        fn what_is_put_in_is_what_is_read(text in "[ -~]{0,40}", before in "(id: [a-z]{1,4}\n)?") {
            let event = format!("{before}data: x\n\n");
            let changed = with_data(event.as_bytes(), text.as_bytes());
            prop_assert_eq!(data(&changed).unwrap(), text.into_bytes());
        }
    }
}
