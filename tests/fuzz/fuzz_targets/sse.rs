//! Event streams through the cutter of `palisade-mcp`.
//!
//! The first byte says in which pieces the rest comes. Whatever they are, the events are the same, and together what came. What
//! a client reads of an event is told by a plain reader of its own (WHATWG HTML section 9.2), and so is what it reads of one
//! that was given other data: that data once, and every other field as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_mcp::sse::{Events, data, with_data};

/// The largest event that is taken in.
const MOST: usize = 512;
const BOM: &[u8] = b"\xef\xbb\xbf";

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let (events, rest, whole) = cut(stream, stream.len().max(1));
    let (again, rest_again, whole_again) = cut(stream, usize::from(*size).max(1));
    // Pieces are looked at as they come: a large event may be refused before its end is there, and never after.
    if whole && whole_again {
        assert_eq!((&again, &rest_again), (&events, &rest));
        assert_eq!([events.concat(), rest].concat(), stream);
    } else {
        assert!(events.starts_with(&again) || again.starts_with(&events));
    }
    for (number, event) in events.iter().enumerate() {
        let ours = data(event);
        // A mark at the beginning of a later event hides its first field from some readers and not from others.
        if number == 0 || !event.starts_with(BOM) {
            assert_eq!(read(event).0, ours.iter().cloned().collect::<Vec<_>>());
        }
        if ours.is_some() {
            let changed = with_data(event, b"{\"other\":1}");
            let (read_data, fields) = read(&changed);
            assert_eq!(read_data, [b"{\"other\":1}".to_vec()]);
            assert_eq!(fields, read(event).1);
            let mut alone = Events::new(usize::MAX);
            alone.push(&changed).expect("no event is too large");
            assert_eq!(alone.take().expect("it has an end"), changed);
        }
    }
});

/// The events that come out of pieces of this size, what is left, and whether all was taken in.
fn cut(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>, bool) {
    let (mut cutter, mut events) = (Events::new(MOST), Vec::new());
    for piece in stream.chunks(size) {
        if cutter.push(piece).is_err() {
            return (events, Vec::new(), false);
        }
        while let Some(event) = cutter.take() {
            events.push(event.to_vec());
        }
    }
    (events, cutter.rest().to_vec(), true)
}

/// What a client reads: the data of each event, and the lines that are no data.
fn read(stream: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut all, mut fields, mut buffer) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    let mut rest = stream.strip_prefix(BOM).unwrap_or(stream);
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = &rest[..end];
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        match name {
            _ if line.is_empty() => all.extend(buffer.take()),
            b"data" => {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match &mut buffer {
                    Some(buffer) => {
                        buffer.push(b'\n');
                        buffer.extend_from_slice(value);
                    }
                    None => buffer = Some(value.to_vec()),
                }
            }
            _ => fields.push(line.to_vec()),
        }
    }
    (all, fields)
}
