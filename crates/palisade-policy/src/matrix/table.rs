//! A matrix as tables of Markdown, laid out so that they are tables on a terminal, too.
//!
//! What would break a table is written as an escape: `\|`, `\*`, `\\`, and control characters as in Rust. Reading leaves
//! the escapes as they are.

use std::fmt::Write as _;

use super::{TextTable, Texts};

pub(super) fn write(texts: &Texts) -> String {
    let tables: Vec<String> = texts.0.iter().map(one).collect();
    tables.join("\n")
}

fn one(table: &TextTable) -> String {
    let head = std::iter::once(format!("**{}**", escaped(&table.resource)))
        .chain(table.columns.iter().map(|column| escaped(column)));
    let mut lines: Vec<Vec<String>> = vec![head.collect()];
    for (persona, cells) in &table.rows {
        lines.push(std::iter::once(persona).chain(cells).map(|text| escaped(text)).collect());
    }
    let columns = table.columns.len() + 1;
    let width = |at: usize| {
        lines.iter().filter_map(|line| line.get(at)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

pub(super) fn read(text: &str) -> Result<Texts, String> {
    let mut texts = Texts::default();
    for (at, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", at + 1);
        if line.trim().is_empty() {
            continue;
        }
        let mut cells = cells(line).ok_or_else(|| wrong("is no line of a table"))?.into_iter();
        let first = cells.next().unwrap_or_default();
        let cells: Vec<String> = cells.collect();
        let resource = first.strip_prefix("**").and_then(|name| name.strip_suffix("**"));
        if let Some(resource) = resource {
            texts.0.push(TextTable { resource: resource.to_owned(), columns: cells, rows: Vec::new() });
        } else if !is_rule(line) {
            let table = texts.0.last_mut().ok_or_else(|| wrong("comes before the head of a table"))?;
            if cells.len() != table.columns.len() {
                return Err(wrong("has not as many cells as the head of its table"));
            }
            table.rows.push((first, cells));
        }
    }
    Ok(texts)
}

/// The line below the head.
fn is_rule(line: &str) -> bool {
    line.starts_with("|--") && line.chars().all(|character| matches!(character, '|' | '-'))
}

/// The cells of a line, with their escapes.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim_end().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        if character == '|' {
            cells.push(String::new());
            continue;
        }
        let cell = cells.last_mut()?;
        cell.push(character);
        if character == '\\' {
            cell.push(characters.next()?);
        }
    }
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '\\' | '*' => escaped.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
