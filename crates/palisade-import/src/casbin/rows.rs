//! The lines of a Casbin policy, as comma-separated values.
//!
//! Casbin's implementations agree on fields without quotes and without white space at their end; a line on which they
//! differ is not read.

/// A line of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) line: u64,
    pub(super) text: &'a str,
    /// The fields, where the line can be read.
    pub(super) fields: Option<Vec<String>>,
}

/// The lines that are neither empty nor comments.
pub(super) fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines()
        .zip(1..)
        .map(|(text, line)| (text.trim_end_matches('\r'), line))
        .filter(|(text, _)| !text.trim().is_empty() && !text.starts_with('#'))
        .map(|(text, line)| Row { line, text, fields: fields(text) })
        .collect()
}

/// The fields: white space before one does not belong to it, and a quoted one may hold commas and doubled quotes.
fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => match rest.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
        };
        let readable = !field.is_empty() && field.trim() == field && !field.chars().any(char::is_control);
        if !readable || (field.contains('"') && !rest.starts_with('"')) {
            return None;
        }
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

/// A field after its opening quote, and what follows the comma behind it.
fn quoted_field(text: &str) -> Option<(String, Option<&str>)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None if after.is_empty() => return Some((field, None)),
            None => return after.strip_prefix(',').map(|after| (field, Some(after))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_where_casbins_implementations_agree() {
        for (text, expected) in [
            ("p, alice, data1, read", Some(vec!["p", "alice", "data1", "read"])),
            ("p,alice,data1,read", Some(vec!["p", "alice", "data1", "read"])),
            ("g, \"smith, alice\", admin", Some(vec!["g", "smith, alice", "admin"])),
            ("p, \"a \"\"b\"\"\", x", Some(vec!["p", "a \"b\"", "x"])),
            ("p, alice , data1", None),
            ("p, alice, data1 ", None),
            ("p, al\"ice, data1", None),
            ("p, \"alice, data1", None),
            ("p, \"alice\"x, data1", None),
            ("p, , data1", None),
            ("p, alice,", None),
        ] {
            let expected = expected.map(|fields| fields.into_iter().map(str::to_owned).collect());
            assert_eq!(fields(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_no_rows() {
        let rows = rows("# a comment\n\np, a, b, c\r\n   \ng, a, b\n");
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 5]);
    }
}
