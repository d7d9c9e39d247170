//! A record as one line: JSON without white space, every string cut at [`LONGEST`] bytes.
//!
//! This is the one place where strings are cut. It works on the way to the text, so no field can be forgotten.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// The most bytes a string keeps, on a character boundary.
pub(crate) const LONGEST: usize = 256;

/// The line of a record, with its line feed.
pub(crate) fn encode(record: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = Vec::with_capacity(1024);
    record.serialize(&mut Serializer::with_formatter(&mut line, Cutting { left: LONGEST }))?;
    line.push(b'\n');
    Ok(line)
}

/// The part of a text that a record keeps.
pub(crate) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

struct Cutting {
    /// How many bytes the string at hand may still take.
    left: usize,
}

impl Formatter for Cutting {
    fn begin_string<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left = LONGEST;
        CompactFormatter.begin_string(writer)
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let kept = fragment.floor_char_boundary(self.left);
        // A character that did not fit ends the string: nothing after it may slip into the room it left.
        self.left = if kept < fragment.len() { 0 } else { self.left - kept };
        writer.write_all(fragment.get(..kept).unwrap_or_default().as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        CompactFormatter.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_on_a_character_boundary_wherever_they_stand() {
        let quotes = "\"".repeat(300);
        for (long, kept) in [
            ("a".repeat(300), "a".repeat(256)),
            ("a".repeat(256), "a".repeat(256)),
            (format!("{}éa", "a".repeat(255)), "a".repeat(255)),
            (format!("{}\n", "é".repeat(128)), "é".repeat(128)),
            (format!("{}\u{1}\u{2}", "a".repeat(255)), format!("{}\u{1}", "a".repeat(255))),
            (quotes.clone(), "\"".repeat(256)),
            (format!("{}é\n", "a".repeat(255)), "a".repeat(255)),
        ] {
            let line = encode(&serde_json::json!({ "a": [long], "b": { "c": long } })).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(read, serde_json::json!({ "a": [kept], "b": { "c": kept } }));
            assert_eq!(cut(&long), kept);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        }
    }
}
