//! What is printed and kept: tables, targets, and the same as JSON.

use std::io::Write as _;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Everything that a run found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: Map<String, Value>,
    targets: Vec<Target>,
}

/// A target, and what was measured.
#[derive(Debug)]
struct Target {
    what: String,
    wanted: String,
    measured: String,
    met: bool,
}

/// Which side of a bound is good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    Below(f64),
}

impl Report {
    /// Prints a heading.
    pub(crate) fn heading(&self, text: &str) -> Result<()> {
        say(&format!("\n== {text}"))
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        say(text)
    }

    /// Keeps what a section measured.
    pub(crate) fn keep(&mut self, section: &str, measured: Value) {
        self.sections.insert(section.to_owned(), measured);
    }

    /// Holds a value against a target.
    pub(crate) fn target(&mut self, what: &str, measured: f64, bound: Bound, unit: &str) {
        let (met, wanted) = match bound {
            Bound::AtLeast(least) => (measured >= least, format!("at least {least}{unit}")),
            Bound::Below(most) => (measured < most, format!("below {most}{unit}")),
        };
        let (what, measured) = (what.to_owned(), format!("{measured:.2}{unit}"));
        self.targets.push(Target { what, wanted, measured, met });
    }

    /// Says that a target could not be measured.
    pub(crate) fn untried(&self, what: &str, why: &str) -> Result<()> {
        say(&format!("SKIPPED {what}: {why}"))
    }

    /// Prints the targets, and gives everything as JSON.
    pub(crate) fn finish(mut self) -> Result<Value> {
        if !self.targets.is_empty() {
            self.heading("targets")?;
        }
        let mut table = Table::new(["", "target", "wanted", "measured"]);
        for Target { what, wanted, measured, met } in &self.targets {
            table.row([if *met { "met" } else { "missed" }, what, wanted, measured].map(str::to_owned));
        }
        table.print()?;
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|target| json!({ "target": target.what, "wanted": target.wanted, "measured": target.measured, "met": target.met }))
            .collect();
        self.sections.insert("targets".to_owned(), targets.into());
        Ok(Value::Object(self.sections))
    }
}

/// Lines of cells, as wide as their longest.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(heading: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// Prints it, unless there is a heading only.
    pub(crate) fn print(&self) -> Result<()> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    // Words to the left, numbers to the right.
                    let is_number =
                        column > 0 && cell.starts_with(|first: char| first.is_ascii_digit() || first == '+');
                    if is_number { format!("{cell:>width$}") } else { format!("{cell:width$}") }
                })
                .collect();
            say(cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
