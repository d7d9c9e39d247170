//! Server-sent events, as far as MCP uses them: the data of every event.

/// A stream of events that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// The data of the event that is under way.
    data: Option<Vec<u8>>,
    /// A carriage return ends a line, and a line feed after it is part of the same end.
    returned: bool,
}

impl Events {
    /// Takes a piece; gives the data of every event that ends in it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut ended = Vec::new();
        for byte in piece {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = *byte == b'\r';
                    ended.extend(self.end_line());
                }
                other => {
                    self.returned = false;
                    self.line.push(*other);
                }
            }
        }
        ended
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if line.is_empty() {
            // An event without data is no message: comments keep a stream open, ids and times are for reconnecting.
            return self.data.take().filter(|data| !data.is_empty());
        }
        let value = line.strip_prefix(b"data:").or((line == b"data").then_some(b"".as_slice()))?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_owned()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_an_empty_line_however_lines_end_and_wherever_pieces_do() {
        let stream = "\u{feff}: comment\nid: 1\nevent: message\ndata: {\"a\":\ndata:1}\n\ndata:\n\nretry: 5\r\n\r\ndata: b\r\rdata\ndata: c\r\n\r\ndata: unfinished";
        let expected = ["{\"a\":\n1}", "b", "\nc"];
        for size in [1, 2, 3, 7, 1_000] {
            let mut events = Events::default();
            let found: Vec<String> = (stream.as_bytes().chunks(size))
                .flat_map(|piece| events.push(piece))
                .map(|data| String::from_utf8(data).unwrap())
                .collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
