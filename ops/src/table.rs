//! Tables for people: columns as wide as what stands in them.

use std::fmt;

/// A table.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// With these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self(vec![headings.iter().map(|heading| (*heading).to_owned()).collect()])
    }

    /// One more row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |nth: usize| self.0.iter().filter_map(|row| row.get(nth)).map(|cell| cell.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|nth| width(nth).unwrap_or(0)).collect();
        for row in &self.0 {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&["node", "region"]);
        table.row(vec!["1".to_owned(), "eu".to_owned()]);
        table.row(vec!["10000".to_owned(), "ü".to_owned(), "more".to_owned()]);
        assert_eq!(table.to_string(), "node   region\n1      eu\n10000  ü       more\n");
    }
}
