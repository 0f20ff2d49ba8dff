//! The last lines of a log, bounded by their number and their bytes.

use std::collections::VecDeque;

use super::{Level, Line, LogPage, Wanted};
use crate::limits::{LINE_MAX, LINES_BYTES, LINES_KEPT, LINES_PAGE_BYTES};
use crate::time::Unix;

/// The last lines of a log.
#[derive(Debug, Default)]
pub struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the last line that came.
    last: u64,
}

impl Ring {
    /// A line comes. The oldest go where there is no room; what is longer than [`LINE_MAX`] is cut.
    pub fn push(&mut self, at: Unix, level: Level, target: &str, text: &str) {
        self.last += 1;
        let line = Line { n: self.last, at, level, target: target.to_owned(), text: plain(text) };
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.lines.len() > LINES_KEPT || self.bytes > LINES_BYTES {
            let Some(gone) = self.lines.pop_front() else { break };
            self.bytes -= size(&gone);
        }
    }

    /// The lines that are asked for.
    #[must_use]
    pub fn page(&self, wanted: &Wanted) -> LogPage {
        match wanted.after {
            // Of an earlier life of the process there is nothing to follow.
            Some(after) if after <= self.last => self.following(wanted, after),
            _ => self.newest(wanted),
        }
    }

    fn following(&self, wanted: &Wanted, after: u64) -> LogPage {
        let first = self.lines.front().map_or(self.last + 1, |line| line.n);
        let mut page = LogPage { next: self.last, ..LogPage::default() };
        page.missed = if after == 0 { 0 } else { first.saturating_sub(after + 1) };
        let mut bytes = 0;
        for line in self.lines.iter().filter(|line| line.n > after && wanted.takes(line)) {
            if page.lines.len() >= wanted.limit() || bytes >= LINES_PAGE_BYTES {
                page.next = page.lines.last().map_or(after, |line| line.n);
                page.more = true;
                break;
            }
            bytes += size(line);
            page.lines.push(line.clone());
        }
        page
    }

    fn newest(&self, wanted: &Wanted) -> LogPage {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for line in self.lines.iter().rev().filter(|line| wanted.takes(line)).take(wanted.limit()) {
            if bytes >= LINES_PAGE_BYTES {
                break;
            }
            bytes += size(line);
            lines.push(line.clone());
        }
        lines.reverse();
        LogPage { lines, next: self.last, ..LogPage::default() }
    }
}

/// What a line takes of the bytes that are kept.
fn size(line: &Line) -> usize {
    line.target.len() + line.text.len() + size_of::<Line>()
}

/// On one line, without control characters, and not too long.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LINE_MAX));
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > LINE_MAX - '…'.len_utf8() {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LINES_PAGE;

    fn ring(lines: u64) -> Ring {
        let mut ring = Ring::default();
        for n in 1..=lines {
            let (level, target) = match n % 3 {
                0 => (Level::Warn, "chappe_edge::probe"),
                1 => (Level::Info, "chappe_cluster::keeper"),
                _ => (Level::Debug, "raft"),
            };
            ring.push(Unix::from_secs(n), level, target, &format!("Line {n}"));
        }
        ring
    }

    fn numbers(page: &LogPage) -> Vec<u64> {
        page.lines.iter().map(|line| line.n).collect()
    }

    fn wanted(after: Option<u64>, limit: u32) -> Wanted {
        Wanted { after, limit, ..Wanted::default() }
    }

    #[test]
    fn the_last_lines_come_first_and_then_what_follows() {
        let mut ring = ring(7);
        let page = ring.page(&wanted(None, 3));
        assert_eq!((numbers(&page), page.next, page.more, page.missed), (vec![5, 6, 7], 7, false, 0));
        assert_eq!(numbers(&ring.page(&wanted(Some(7), 3))), Vec::<u64>::new());
        ring.push(Unix::default(), Level::Error, "x", "8");
        assert_eq!(numbers(&ring.page(&wanted(Some(7), 3))), [8]);
        let page = ring.page(&wanted(Some(2), 3));
        assert_eq!((numbers(&page), page.next, page.more), (vec![3, 4, 5], 5, true));
        let page = ring.page(&wanted(Some(5), 3));
        assert_eq!((numbers(&page), page.next, page.more), (vec![6, 7, 8], 8, false));
        // The process has begun anew, and its numbers with it.
        assert_eq!(numbers(&ring.page(&wanted(Some(900), 2))), [7, 8]);
    }

    #[test]
    fn lines_are_chosen_by_level_part_and_text() {
        let ring = ring(9);
        let of = |wanted: Wanted| numbers(&ring.page(&Wanted { limit: 100, ..wanted }));
        assert_eq!(of(Wanted { level: Some(Level::Warn), ..Wanted::default() }), [3, 6, 9]);
        assert_eq!(of(Wanted { level: Some(Level::Info), ..Wanted::default() }), [1, 3, 4, 6, 7, 9]);
        assert_eq!(of(Wanted { target: Some("chappe_cl".into()), ..Wanted::default() }), [1, 4, 7]);
        assert_eq!(of(Wanted { contains: Some("line 5".into()), ..Wanted::default() }), [5]);
        // What is left out counts as seen.
        let page = ring.page(&Wanted { contains: Some("none".into()), ..wanted(Some(0), 1) });
        assert_eq!((page.lines.len(), page.next, page.more), (0, 9, false));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_is_missed_is_told() {
        let many = u64::try_from(LINES_KEPT).unwrap() + 10;
        let ring = ring(many);
        let page = ring.page(&wanted(Some(3), 1));
        assert_eq!((numbers(&page), page.missed), (vec![11], 7));
        assert_eq!(ring.page(&wanted(Some(0), 1)).missed, 0, "whoever asks for all knows of nothing before");
        assert_eq!(ring.page(&wanted(Some(0), u32::MAX)).lines.len(), LINES_PAGE);

        let mut long = Ring::default();
        let text = "\u{e9}".repeat(LINE_MAX);
        for _ in 0..2 * LINES_BYTES / LINE_MAX {
            long.push(Unix::default(), Level::Info, "t", &text);
        }
        assert!(long.bytes <= LINES_BYTES && long.bytes > LINES_BYTES - 2 * LINE_MAX, "{}", long.bytes);
        assert_eq!(long.bytes, long.lines.iter().map(size).sum::<usize>());
        let page = long.page(&wanted(None, u32::MAX));
        let bytes: usize = page.lines.iter().map(size).sum();
        assert!(bytes <= LINES_PAGE_BYTES + 2 * LINE_MAX, "{bytes}");
    }

    #[test]
    fn a_line_is_one_line() {
        let mut ring = Ring::default();
        ring.push(Unix::default(), Level::Info, "t", "a\nb\x1b[31mc");
        ring.push(Unix::default(), Level::Info, "t", &"x".repeat(2 * LINE_MAX));
        let page = ring.page(&wanted(None, 9));
        assert_eq!(page.lines[0].text, "a b [31mc");
        assert!(page.lines[1].text.len() <= LINE_MAX && page.lines[1].text.ends_with("x…"));
    }
}
