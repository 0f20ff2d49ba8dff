//! The figures as a table, or as JSON.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::Result;
use serde::Serialize;

use super::figures::{Spread, ratio};

/// One measurement of one server.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What was measured.
    pub(super) case: String,
    /// In what.
    pub(super) unit: &'static str,
    /// Of which server.
    pub(super) server: String,
    /// How much.
    #[serde(flatten)]
    pub(super) spread: Spread,
    /// What else there is to say.
    pub(super) note: String,
}

/// All of a run, in the order in which it was measured.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Row>);

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: &'a Row,
    /// Of the medians, this server's and each other's in the same case.
    ratios: Vec<(&'a str, f64)>,
}

impl Report {
    /// Adds a measurement, and shows it on standard error.
    pub(super) fn add(&mut self, row: Row) {
        let Row { case, unit, server, spread, note } = &row;
        progress(&format!("{case}, {server}: {:.2} {unit} {note}", spread.median));
        self.0.push(row);
    }

    /// Adds a measurement if there is one.
    pub(super) fn extend(&mut self, row: Option<Row>) {
        row.into_iter().for_each(|row| self.add(row));
    }

    fn ratios<'a>(&'a self, row: &Row) -> Vec<(&'a str, f64)> {
        let others = self.0.iter().filter(|other| other.case == row.case && other.server != row.server);
        others
            .filter_map(|other| Some((other.server.as_str(), ratio(row.spread.median, other.spread.median)?)))
            .collect()
    }

    /// Writes it to standard output.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            let shown: Vec<_> = self.0.iter().map(|row| Shown { row, ratios: self.ratios(row) }).collect();
            println!("{}", serde_json::to_string_pretty(&shown)?);
        } else {
            print!("{}", self.table());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let head = ["case", "server", "median", "min", "max", "unit", "ratios", "note"].map(str::to_owned);
        let mut lines = vec![head];
        let mut last = "";
        for row in &self.0 {
            let case = if row.case == last { String::new() } else { row.case.clone() };
            last = &row.case;
            let Spread { median, min, max } = row.spread;
            let ratios = self.ratios(row);
            let ratios: Vec<_> =
                ratios.iter().map(|(other, ratio)| format!("{ratio:.2} x {other}")).collect();
            let number =
                |value: f64| if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
            lines.push([
                case,
                row.server.clone(),
                number(median),
                number(min),
                number(max),
                row.unit.to_owned(),
                ratios.join(", "),
                row.note.clone(),
            ]);
        }
        aligned(&lines)
    }
}

/// Columns as wide as their widest cell; figures to the right.
pub(super) fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| {
            let figure = cell.parse::<f64>().is_ok() || ["median", "min", "max"].contains(&cell.as_str());
            if figure { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let joined = cells.collect::<Vec<_>>().join("  ");
        text.push_str(joined.trim_end());
        text.push('\n');
    }
    text
}

/// Says on standard error what goes on.
pub(super) fn progress(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_compared_within_a_case() {
        let row = |case: &str, server: &str, median| Row {
            case: case.to_owned(),
            unit: "us",
            server: server.to_owned(),
            spread: Spread { median, min: median, max: median },
            note: String::new(),
        };
        let report = Report(vec![row("a", "floor", 2.0), row("a", "edge", 3.0), row("b", "edge", 5.0)]);
        assert_eq!(report.ratios(&report.0[1]), [("floor", 1.5)]);
        assert_eq!(report.ratios(&report.0[2]), []);
        let table = report.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "case  server  median   min   max  unit  ratios        note");
        assert_eq!(lines[2], "      edge      3.00  3.00  3.00  us    1.50 x floor");
    }
}
