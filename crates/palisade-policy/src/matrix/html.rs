//! A matrix as one page: no script, nothing that is fetched, light and dark as the reader's system is.
//!
//! Names come from tokens, servers and policies. Every text of a page goes through [`escape`], which leaves nothing that
//! could end a text or an attribute.

use std::fmt::Write as _;

use super::{Matrix, Table};
use crate::{Decided, Outcome};

const STYLE: &str = include_str!("matrix.css");

pub(super) fn write(matrix: &Matrix) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Who may what</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Who may what</h1>\n<ul class=\"legend\">\n"
    );
    let legend = [
        (Decided::Permit, "\u{2713}", "permitted"),
        (Decided::StepUp, "\u{2191}", "denied, and permitted with what is named"),
        (Decided::Deny, "\u{2717}", "denied"),
    ];
    for (decided, sign, says) in legend {
        // Writing to a string does not fail.
        let _ = writeln!(page, "<li class=\"{}\"><b>{sign}</b> {says}</li>", decided.as_str());
    }
    page.push_str("</ul>\n<p>A cell tells which policy decided when the pointer rests on it.</p>\n");
    for table in &matrix.tables {
        write_table(&mut page, table);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn write_table(page: &mut String, table: &Table) {
    let resource = escape(table.resource.as_str());
    let _ = writeln!(
        page,
        "<h2>{resource}</h2>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead>\n<tr><th scope=\"col\"></th>"
    );
    for column in &table.columns {
        let does = escape(&format!("{} on {}", column.action, column.target));
        let _ = writeln!(page, "<th scope=\"col\" title=\"{does}\">{}</th>", escape(&column.name));
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in &table.rows {
        let _ = writeln!(page, "<tr><th scope=\"row\">{}</th>", escape(&row.persona));
        for cell in &row.cells {
            write_cell(page, cell);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn write_cell(page: &mut String, cell: &Outcome) {
    let class = cell.decision.as_str();
    let shown = match cell.decision {
        Decided::Permit => "\u{2713} permit".to_owned(),
        Decided::Deny => "\u{2717} deny".to_owned(),
        Decided::StepUp => {
            let text = cell.to_string();
            let needs = text.split_once(": ").map_or("", |(_, needs)| needs);
            format!("\u{2191} {needs}")
        }
    };
    let why = escape(&why(cell));
    let _ = writeln!(page, "<td class=\"{class}\" title=\"{why}\">{}</td>", escape(&shown));
}

fn why(cell: &Outcome) -> String {
    let mut lines = vec![format!("{}: {}", cell.decision.as_str(), cell.reason)];
    lines.extend(cell.policy_code.iter().map(|code| format!("policy_code: {code}")));
    let place = |policy: &crate::PolicyRef| format!("by {} ({}:{})", policy.id, policy.file, policy.line);
    lines.extend(cell.determining.iter().map(place));
    if cell.determining.is_empty() && cell.decision == Decided::Deny {
        lines.push("no policy permits it".to_owned());
    }
    lines.join("\n")
}

/// Text for elements and for attributes in double quotes. Control characters, and those that turn the direction of a
/// text around, are shown as their code.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
            }
            control if control.is_control() => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
