//! A report as people read it, at 80 columns.

use std::fmt::Write as _;

use super::report::{Outcome, Report, Section, Step};

/// The width of a line, in characters.
const WIDTH: usize = 80;
/// Where a step's text begins: two spaces, the mark, its name, its time.
const TEXT: usize = 34;
/// Columns of a step's name.
const NAME: usize = 18;
/// Where `why` and `fix` begin, and their text.
const LABEL: usize = 6;

/// Whether the terminal shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(pub(super) bool);

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn mark(self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Ok => self.paint("32", "✓"),
            Outcome::Warning => self.paint("33", "!"),
            Outcome::Failed => self.paint("31", "✗"),
            Outcome::Skipped => self.paint("2", "–"),
        }
    }
}

/// The report of one URL.
pub(super) fn report(report: &Report, colour: Colour) -> String {
    let mut out = format!("{}\n", colour.paint("1", &report.url));
    for section in &report.sections {
        self::section(&mut out, section, colour);
    }
    out
}

fn section(out: &mut String, section: &Section, colour: Colour) {
    if let Some(server) = section.server {
        let _ = writeln!(out, "  {} {server}", section.transport);
    }
    let mut before = None;
    for step in &section.steps {
        let told = step.diagnosis.is_some() && before == step.diagnosis.as_ref();
        self::step(out, step, !told, colour);
        before = step.diagnosis.as_ref();
    }
}

fn step(out: &mut String, step: &Step, diagnosis: bool, colour: Colour) {
    let took = step.took_ms.map(time).unwrap_or_default();
    let head = format!("  {} {:<NAME$}{took:>9}   ", colour.mark(step.outcome), step.name);
    let lines = wrap(&step.text, WIDTH - TEXT);
    let _ = writeln!(out, "{}", format!("{head}{}", lines.first().map_or("", String::as_str)).trim_end());
    for line in lines.iter().skip(1) {
        let _ = writeln!(out, "{:TEXT$}{line}", "");
    }
    let Some(diagnosis) = step.diagnosis.as_ref().filter(|_| diagnosis) else { return };
    for (label, text) in [("why", &diagnosis.why), ("fix", &diagnosis.fix)] {
        for (at, line) in wrap(text, WIDTH - LABEL - 5).iter().enumerate() {
            let label = if at == 0 { colour.paint("2", &format!("{label}: ")) } else { " ".repeat(5) };
            let _ = writeln!(out, "{:LABEL$}{label}{line}", "");
        }
    }
}

/// A time with three digits that count.
fn time(millis: f64) -> String {
    match millis {
        ..9.995 => format!("{millis:.2} ms"),
        ..99.95 => format!("{millis:.1} ms"),
        ..9999.5 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// Lines of at most `width` characters, broken between words, and where the text has a line end.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// The last line: what came of everything.
pub(super) fn summary(reports: &[Report], colour: Colour) -> String {
    let sections = || reports.iter().flat_map(|report| &report.sections);
    let steps = || sections().flat_map(|section| &section.steps);
    let count = |outcome| steps().filter(|step| step.outcome == outcome).count();
    let (failed, warnings) = (count(Outcome::Failed), count(Outcome::Warning));
    let plural = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let warned = if warnings == 0 { String::new() } else { format!("; {}", plural(warnings, "warning")) };
    if failed == 0 {
        return format!("{} Nothing failed{warned}.", colour.mark(Outcome::Ok));
    }
    let broken = reports.iter().filter(|report| !report.ok).count();
    let among =
        if reports.len() == 1 { String::new() } else { format!(" of {broken} of {} URLs", reports.len()) };
    format!("{} {}{among} failed{warned}.", colour.mark(Outcome::Failed), plural(failed, "step"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::diagnose::Diagnosis;
    use super::*;

    fn sample() -> Report {
        let why = "Something that takes more than one line to be told, since it is long and has many words.";
        let diagnosis = Diagnosis { why: why.to_owned(), fix: "Do this.".to_owned() };
        let steps = vec![
            Step::ok("Binding", "seen as 192.0.2.1:5000, behind a NAT, and more words than fit there")
                .took(Duration::from_micros(12_345)),
            Step::failed("Allocate", "401 Unauthorized", diagnosis),
            Step::skipped("Relay", "not tried"),
        ];
        let section = Section { server: Some("198.51.100.7:3478".parse().unwrap()), transport: "UDP", steps };
        Report { url: "turn:a.org:3478".to_owned(), username: None, ok: false, sections: vec![section] }
    }

    #[test]
    fn a_report_is_aligned_and_80_columns_wide() {
        let text = report(&sample(), Colour(false));
        let expected = "\
turn:a.org:3478
  UDP 198.51.100.7:3478
  ✓ Binding             12.3 ms   seen as 192.0.2.1:5000, behind a NAT, and more
                                  words than fit there
  ✗ Allocate                      401 Unauthorized
      why: Something that takes more than one line to be told, since it is long
           and has many words.
      fix: Do this.
  – Relay                         not tried
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(!text.contains('\x1b'));
        assert!(report(&sample(), Colour(true)).contains("\x1b[31m✗"));
    }

    #[test]
    fn times_have_three_digits() {
        let texts: Vec<_> = [0.123, 9.999, 12.34, 123.4, 12_345.0].map(time).to_vec();
        assert_eq!(texts, ["0.12 ms", "10.0 ms", "12.3 ms", "123 ms", "12.3 s"]);
    }

    #[test]
    fn the_summary_counts() {
        let mut good = sample();
        assert_eq!(summary(&[sample()], Colour(false)), "✗ 1 step failed.");
        assert_eq!(summary(&[sample(), sample()], Colour(false)), "✗ 2 steps of 2 of 2 URLs failed.");
        good.sections[0].steps.remove(1);
        good.ok = true;
        assert_eq!(summary(&[good], Colour(false)), "✓ Nothing failed.");
    }
}
