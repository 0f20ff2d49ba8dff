//! How an edge is, as a page for people: plain, without scripts.

use std::fmt::Display;

use chappe_edge::{LinkState, Status, Stuck};
use chappe_proto::select::condition::State;
use chappe_proto::time::Unix;

use super::figures::{Probe, fix, listeners};

/// The page at `/`, as it is `now`.
pub(super) fn of(seen: &Result<Status, Stuck>, now: Unix) -> String {
    let (title, body) = match seen {
        Ok(status) => (format!("{} is {}", status.edge, status.condition.state.name()), whole(status, now)),
        Err(Stuck) => ("stuck".to_owned(), stuck()),
    };
    let at = httpdate::fmt_http_date(std::time::UNIX_EPOCH + now.0);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<main>\n{body}</main>\n\
         <footer><p>As of {at}. <a href=\"/\">Look again</a> · <a href=\"/health\">as JSON</a> · \
         <a href=\"/metrics\">for Prometheus</a></p></footer>\n</html>\n",
        text(title)
    )
}

fn stuck() -> String {
    "<header><h1>This edge</h1> <p class=\"state bad\">stuck</p></header>\n<section><h2>What is wrong</h2>\n\
     <ul class=\"reasons\"><li>Its loop does not answer: something else uses its processor, or it has ended. Look at its \
     log.</li></ul></section>\n"
        .to_owned()
}

fn whole(status: &Status, now: Unix) -> String {
    let kind = match status.condition.state {
        State::Up => "good",
        State::Degraded | State::Draining => "warn",
        State::Overloaded | State::Lost => "bad",
    };
    let header = format!(
        "<header><h1>Edge {}</h1> <p class=\"state {kind}\">{}</p>\n<p>in {}, build {}, up for {}</p></header>\n",
        text(&status.edge),
        status.condition.state.name(),
        text(&status.region),
        text(&status.build),
        span(status.health.uptime_ms / 1000)
    );
    [header, wrong(status), figures(status), listening(status, now), uplinks(status), counted(status)]
        .concat()
}

/// Why it is not simply up, each with its fix.
fn wrong(status: &Status) -> String {
    let cut_off = status.cut_off_ms.map(|millis| {
        format!(
            "cut off from every node for {}: it goes on serving with what it knows (feed number {}). Look at its network, \
             and whether the nodes run",
            span(millis / 1000),
            status.applied
        )
    });
    let reasons = cut_off.into_iter().chain(status.condition.reasons.iter().map(ToString::to_string));
    let items: String = reasons.map(|reason| format!("<li>{}</li>\n", text(reason))).collect();
    if items.is_empty() {
        return String::new();
    }
    format!("<section><h2>What is wrong</h2>\n<ul class=\"reasons\">\n{items}</ul></section>\n")
}

/// What it does now.
fn figures(status: &Status) -> String {
    let health = &status.health;
    let of = |used: String, limit: Option<String>| match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used,
    };
    let rates = status.rates;
    let rate = |bits: Option<f64>| bits.map_or_else(|| "not known yet".to_owned(), bits_a_second);
    let busy =
        rates.map_or_else(|| "not known yet".to_owned(), |it| format!("{:.1} % of a core", it.busy * 100.0));
    let cpu =
        rates.map_or_else(|| "not known yet".to_owned(), |it| format!("{:.1} % of a core", it.cpu * 100.0));
    let files = (health.files_limit > 0).then(|| health.files_limit.to_string());
    let all = [
        ("Allocations", format!("{} of {}", health.allocations, status.capacity)),
        ("Streams", status.streams.to_string()),
        ("To peers", rate(rates.map(|it| it.sent))),
        ("To clients", rate(rates.map(|it| it.received))),
        ("Relaying thread", busy),
        ("Whole process", cpu),
        ("Longest turn", format!("{:.1} ms", f64::from(health.loop_lag_us) / 1000.0)),
        ("Memory", of(bytes(health.rss), health.memory_limit.map(bytes))),
        ("File descriptors", of(health.files.to_string(), files)),
    ];
    let rows: String =
        all.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n")).collect();
    format!("<section><h2>Now</h2>\n<dl class=\"figures\">\n{rows}</dl></section>\n")
}

fn listening(status: &Status, now: Unix) -> String {
    let rows = listeners(status).map(|seen| {
        let (kind, probe) = match &seen.probe {
            Probe::Answered(micros) => ("good", format!("answers in {:.2} ms", f64::from(*micros) / 1000.0)),
            Probe::Fails(fault) => ("bad", format!("fails: {fault}")),
            Probe::Awaited => ("warn", "not asked yet".to_owned()),
        };
        let until = match seen.until.map(|until| until.checked_sub(now.secs())) {
            Some(Some(left)) => format!("certificate lasts {}", span(left)),
            Some(None) => "certificate has ended".to_owned(),
            None if seen.listener.transport.is_secure() => "no certificate yet".to_owned(),
            None => String::new(),
        };
        let address = match &seen.listener.hostname {
            Some(name) => format!("{} ({name})", seen.listener.address),
            None => seen.listener.address.to_string(),
        };
        row(&[("", seen.listener.transport.name().to_owned()), ("", address), (kind, probe), ("", until)])
    });
    table("Listeners", &["Transport", "Reached by", "Own probe", "Certificate"], &rows.collect::<String>())
}

fn uplinks(status: &Status) -> String {
    if status.uplinks.is_empty() {
        return "<section><h2>Uplinks</h2>\n<p>None: it stands alone.</p></section>\n".to_owned();
    }
    let rows = status.uplinks.iter().map(|link| match link {
        LinkState::Up { address, node, rtt_us } => row(&[
            ("", address.to_string()),
            ("good", format!("up, node {node}")),
            ("", format!("{:.1} ms", f64::from(*rtt_us) / 1000.0)),
        ]),
        LinkState::Connecting { address } => {
            row(&[("", address.to_string()), ("warn", "connecting".to_owned()), ("", String::new())])
        }
        LinkState::Down { address, reason } => {
            row(&[("", address.to_string()), ("bad", format!("down: {reason}")), ("", String::new())])
        }
    });
    table("Uplinks", &["Node at", "State", "Round trip"], &rows.collect::<String>())
}

/// What it counted since its start.
fn counted(status: &Status) -> String {
    let health = &status.health;
    let mut rows = String::new();
    for (way, traffic) in [("relayed to peers", health.sent), ("relayed to clients", health.received)] {
        let packets = format!("{} packets, {}", traffic.packets, bytes(traffic.bytes));
        rows += &row(&[("", way.to_owned()), ("", packets), ("", String::new())]);
    }
    if health.receive_drops > 0 {
        let fix = "raise net.core.rmem_max, or add an edge".to_owned();
        rows += &row(&[
            ("", "dropped by the kernel".to_owned()),
            ("warn", format!("{} datagrams", health.receive_drops)),
            ("", fix),
        ]);
    }
    for (cause, count) in &health.drops {
        let packets = format!("{count} packets");
        rows += &row(&[("", format!("dropped: {}", words(cause))), ("", packets), ("", String::new())]);
    }
    for (limit, count) in &health.limits {
        let fix = fix(limit).unwrap_or_default().to_owned();
        rows += &row(&[
            ("", format!("limit met: {}", words(limit))),
            ("warn", format!("{count} times")),
            ("", fix),
        ]);
    }
    table("Since its start", &["What", "How much", "What to do"], &rows)
}

fn table(title: &str, columns: &[&str], rows: &str) -> String {
    let head: String = columns.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    // A region that can be scrolled can be reached by the keyboard.
    format!(
        "<section><h2>{title}</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div></section>\n"
    )
}

/// A row of cells, each with the class of what it says; the first one names it.
fn row(cells: &[(&str, String)]) -> String {
    let cell = |(nth, (kind, content)): (usize, &(&str, String))| {
        let content = text(content);
        let class = if kind.is_empty() { String::new() } else { format!(" class=\"{kind}\"") };
        if nth == 0 {
            format!("<th scope=\"row\">{content}</th>")
        } else {
            format!("<td{class}>{content}</td>")
        }
    };
    format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
}

/// A name of a counter in words.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn bits_a_second(bits: f64) -> String {
    match bits {
        bits if bits >= 1e9 => format!("{:.2} Gbit/s", bits / 1e9),
        bits if bits >= 1e6 => format!("{:.1} Mbit/s", bits / 1e6),
        bits => format!("{:.0} kbit/s", bits / 1e3),
    }
}

#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
fn bytes(count: u64) -> String {
    match count {
        count if count >= 1 << 30 => format!("{:.1} GiB", count as f64 / f64::from(1 << 30)),
        count if count >= 1 << 20 => format!("{:.0} MiB", count as f64 / f64::from(1 << 20)),
        count => format!("{} KiB", count >> 10),
    }
}

/// A time span by its two largest units.
fn span(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", secs % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// As the text of an element, or the value of an attribute in quotes.
fn text(content: impl Display) -> String {
    let mut escaped = String::new();
    for char in content.to_string().chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_says_what_is_wrong_and_what_to_do_about_it() {
        let page = of(&Ok(sample::status()), sample::NOW);
        for words in [
            "<title>edge-eu-1 is degraded</title>",
            "cut off from every node for 1 min 5 s: it goes on serving with what it knows (feed number 41)",
            "UnknownIssuer &lt;give one of a public authority&gt;",
            "<div><dt>Allocations</dt><dd>12 of 16384</dd></div>",
            "<dd>8.4 Mbit/s</dd>",
            "<dd>45 MiB of 2.0 GiB</dd>",
            "<td class=\"good\">answers in 0.18 ms</td>",
            "<td>certificate lasts 10 d 0 h</td>",
            "<td>no certificate yet</td>",
            "<td class=\"warn\">not asked yet</td>",
            "<td class=\"bad\">down: the node is silent</td>",
            "<td>raise --challenge-rate if many people share the address",
            "up for 1 d 2 h",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert!(of(&Err(Stuck), sample::NOW).contains("Its loop does not answer"));
    }

    #[test]
    fn an_edge_alone_in_good_order_says_so() {
        let mut status = sample::status();
        status.condition = chappe_proto::select::condition::Condition::default();
        (status.cut_off_ms, status.uplinks) = (None, vec![]);
        let page = of(&Ok(status), sample::NOW);
        assert!(page.contains("class=\"state good\">up<") && page.contains("it stands alone"), "{page}");
        assert!(!page.contains("What is wrong"), "{page}");
    }
}
