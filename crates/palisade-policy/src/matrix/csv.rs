//! A matrix as CSV (RFC 4180): a table a resource, its name in the first field of the head, an empty line between two.
//!
//! Names come from tokens and servers: a field that a spreadsheet would take for a formula begins with an apostrophe.

use super::{TextTable, Texts};

pub(super) fn write(texts: &Texts) -> String {
    let tables: Vec<String> = texts
        .0
        .iter()
        .map(|table| {
            let mut text = line(std::iter::once(&table.resource).chain(&table.columns));
            for (persona, cells) in &table.rows {
                text.push_str(&line(std::iter::once(persona).chain(cells)));
            }
            text
        })
        .collect();
    tables.join("\n")
}

fn line<'a>(fields: impl Iterator<Item = &'a String>) -> String {
    let fields: Vec<String> = fields.map(|text| field(text)).collect();
    format!("{}\n", fields.join(","))
}

fn field(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) || text.is_empty() || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

pub(super) fn read(text: &str) -> Result<Texts, String> {
    let mut texts = Texts::default();
    let mut head = true;
    for (at, fields) in records(text)?.into_iter().enumerate() {
        let mut fields = fields.into_iter();
        let Some(first) = fields.next() else {
            head = true;
            continue;
        };
        let rest: Vec<String> = fields.collect();
        if std::mem::take(&mut head) {
            texts.0.push(TextTable { resource: first, columns: rest, rows: Vec::new() });
        } else if let Some(table) = texts.0.last_mut().filter(|table| table.columns.len() == rest.len()) {
            table.rows.push((first, rest));
        } else {
            return Err(format!("record {}: has not as many fields as the head of its table", at + 1));
        }
    }
    Ok(texts)
}

/// The records of a file; an empty line is a record without fields.
fn records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = vec![Vec::new()];
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let Some(record) = records.last_mut() else { break };
        match character {
            '\n' => records.push(Vec::new()),
            '\r' if rest.peek() == Some(&'\n') => {}
            ',' => {
                // A comma begins another field; the one before it is there already, unless it is empty.
                if record.is_empty() {
                    record.push(String::new());
                }
                if rest.peek().is_none_or(|next| matches!(next, ',' | '\n' | '\r')) {
                    record.push(String::new());
                }
            }
            first => {
                let mut field = String::new();
                if first == '"' {
                    quoted(&mut rest, &mut field)?;
                } else {
                    field.push(first);
                    while let Some(next) = rest.next_if(|next| !matches!(next, ',' | '\n' | '\r')) {
                        field.push(next);
                    }
                }
                record.push(field);
            }
        }
    }
    // The last line ends in a line feed.
    records.pop_if(|record| record.is_empty());
    Ok(records)
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, field: &mut String) -> Result<(), String> {
    loop {
        match rest.next() {
            Some('"') if rest.next_if_eq(&'"').is_some() => field.push('"'),
            Some('"') => return Ok(()),
            Some(other) => field.push(other),
            None => return Err("a quoted field has no end".to_owned()),
        }
    }
}
