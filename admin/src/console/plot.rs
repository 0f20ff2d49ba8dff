//! Plots of figures over time, as SVG. Colours of what is not data are placeholders that `ui/console.css` replaces by
//! the theme's.

use std::ops::Range;
use std::time::Duration;

use chappe_proto::time::Unix;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use super::words;

/// Width and height in units of the drawing; it takes the room that there is.
const SIZE: (u32, u32) = (480, 170);
/// What text is drawn in, and what lines of the grid: `ui/console.css` knows them by these.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(1, 2, 4);
/// Of the lines, in order: those of `.c1`, `.c2`, … in `ui/console.css`.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0xf2, 0x8e, 0x2b),
    RGBColor(0x59, 0xa1, 0x4f),
    RGBColor(0xb0, 0x7a, 0xa1),
    RGBColor(0xe1, 0x57, 0x59),
    RGBColor(0x76, 0xb7, 0xb2),
    RGBColor(0xed, 0xc9, 0x48),
    RGBColor(0x9c, 0x75, 0x5f),
];
/// Of a line that is alone: `.c0`.
const ALONE: RGBColor = RGBColor(0x4e, 0x79, 0xa7);

/// One line: at each time a value, or a gap.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// What it is, as the legend beside the plot has it.
    pub(super) name: String,
    /// In the order of time.
    pub(super) points: Vec<(Unix, Option<f64>)>,
}

impl Line {
    /// The parts of it without a gap.
    fn parts(&self) -> impl Iterator<Item = Vec<(f64, f64)>> {
        let whole = self.points.split(|(_, value)| value.is_none());
        let point = |(at, value): &(Unix, Option<f64>)| Some((at.0.as_secs_f64(), (*value)?));
        whole
            .map(move |part| part.iter().filter_map(point).collect::<Vec<_>>())
            .filter(|part| !part.is_empty())
    }
}

/// The class by which the page's legend has the colour of a line.
pub(super) const fn class_of(nth: usize, lines: usize) -> &'static str {
    if lines == 1 {
        return "c0";
    }
    match nth % COLOURS.len() {
        0 => "c1",
        1 => "c2",
        2 => "c3",
        3 => "c4",
        4 => "c5",
        5 => "c6",
        _ => "c7",
    }
}

/// Draws lines from one time to another; `words` says a value as people read it. Nothing where there is nothing
/// to draw.
pub(super) fn draw(
    lines: &[Line],
    (from, to): (Unix, Unix),
    words: impl Fn(f64) -> String,
) -> Option<String> {
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let top = values.fold(None, |top: Option<f64>, value| Some(top.map_or(value, |top| top.max(value))))?;
    let top = if top > 0.0 { top * 1.08 } else { 1.0 };
    let mut svg = String::new();
    chart(&mut svg, lines, Clock { from: from.0.as_secs_f64(), to: to.0.as_secs_f64() }, top, &words).ok()?;
    Some(localised(&svg, to.0.saturating_sub(from.0) > DAY))
}

/// Beyond this times have days.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What times are marked with in the drawing.
const MARK: char = '@';

/// The drawing with each time that is marked as the page's script tells it in the reader's own zone: `ui/times.js`.
fn localised(svg: &str, days: bool) -> String {
    let mut parts = svg.split("<text ");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut pieces = part.splitn(3, MARK);
        match (pieces.next(), pieces.next().and_then(|secs| secs.parse().ok()), pieces.next()) {
            (Some(before), Some(secs), Some(after)) => {
                let exact = words::iso(Unix::from_secs(secs));
                let kind = if days { "data-day" } else { "data-clock" };
                let clock = exact.get(11..16).unwrap_or_default();
                told += &format!("<text {kind}=\"{exact}\" {before}{clock}{after}");
            }
            _ => told += &format!("<text {part}"),
        }
    }
    told
}

/// The axis of time: its marks are at full minutes and hours.
struct Clock {
    from: f64,
    to: f64,
}

impl Clock {
    /// Seconds between marks: the least that leaves as few as are wanted.
    const STEPS: [f64; 9] = [300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0];
}

impl Ranged for Clock {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels of a small drawing")]
    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from).max(1.0);
        low + (f64::from(high - low) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let most = u32::try_from(hint.max_num_points()).map_or(f64::MAX, f64::from).max(1.0);
        let span = self.to - self.from;
        let step = Self::STEPS.into_iter().find(|step| span / step <= most).unwrap_or(86_400.0);
        let first = (self.from / step).ceil() * step;
        let marks = std::iter::successors(Some(first), |at| Some(at + step));
        marks.take_while(|at| *at <= self.to).take(100).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Clock {
    fn format(at: &f64) -> String {
        format!("{MARK}{at:.0}{MARK}")
    }
}

fn chart(
    svg: &mut String,
    lines: &[Line],
    time: Clock,
    top: f64,
    words: &dyn Fn(f64) -> String,
) -> Result<(), DrawingAreaErrorKind<std::convert::Infallible>> {
    let broken = |_| DrawingAreaErrorKind::LayoutError;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .set_label_area_size(LabelAreaPosition::Left, 84)
        .set_label_area_size(LabelAreaPosition::Bottom, 24)
        .build_cartesian_2d(time, 0.0..top)
        .map_err(broken)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_labels(6)
        .y_labels(4)
        .x_label_formatter(&Clock::format)
        .y_label_formatter(&|value| words(*value))
        .draw()
        .map_err(broken)?;
    for (nth, line) in lines.iter().enumerate() {
        let colour =
            if lines.len() == 1 { ALONE } else { COLOURS.get(nth % COLOURS.len()).copied().unwrap_or(ALONE) };
        for part in line.parts() {
            if let [alone] = part[..] {
                // A line of one point would not be seen.
                chart.draw_series([Circle::new(alone, 3, colour.filled())]).map_err(broken)?;
                continue;
            }
            chart.draw_series(LineSeries::new(part, colour.stroke_width(2))).map_err(broken)?;
        }
    }
    area.present().map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_not_drawn_over_and_nothing_is_no_plot() {
        let at = |n: u64| Unix::from_secs(1_000_000 + n * 60);
        let points = vec![
            (at(0), Some(1.0)),
            (at(1), Some(3.0)),
            (at(2), None),
            (at(3), Some(2.0)),
            (at(4), Some(2.0)),
        ];
        let line = Line { name: "sessions".to_owned(), points };
        let svg =
            draw(std::slice::from_ref(&line), (at(0), at(4)), |value| format!("{value:.0} people")).unwrap();
        assert_eq!(svg.matches("stroke=\"#4E79A7\"").count(), 2, "{svg}");
        assert!(svg.contains("people") && svg.starts_with("<svg") && !svg.contains("style="), "{svg}");
        let alone = [Line { name: String::new(), points: line.points[..1].to_vec() }];
        let dot = draw(&alone, (at(0), at(4)), |value| value.to_string()).unwrap();
        assert!(dot.contains("<circle") && dot.contains("fill=\"#4E79A7\""), "{dot}");
        assert!(!svg.contains("<circle"), "{svg}");
        assert_eq!(draw(&[Line::default()], (at(0), at(4)), |value| value.to_string()), None);
    }

    #[test]
    fn times_are_at_full_minutes_and_told_exactly() {
        let marks = |secs: u64| {
            let to = 1_000_000 + secs;
            let points = vec![(Unix::from_secs(1_000_000), Some(1.0)), (Unix::from_secs(to), Some(1.0))];
            let line = Line { name: String::new(), points };
            let span = (Unix::from_secs(1_000_000), Unix::from_secs(to));
            let svg = draw(&[line], span, |value| value.to_string()).unwrap();
            assert!(!svg.contains(MARK), "{svg}");
            svg
        };
        let hour = marks(3600); // from 13:46:40
        let first = hour.split("<text data-clock=\"").nth(1).unwrap();
        assert!(first.starts_with("1970-01-12T13:50:00Z\" x=") && first.contains(">\n13:50\n<"), "{first}");
        assert_eq!(hour.matches("data-clock").count(), 6, "{hour}");
        assert!(marks(48 * 3600).contains("data-day=\"1970-01-13T00:00:00Z\""));
    }
}
