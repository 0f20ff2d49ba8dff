//! What `chappe dev` tells its user.
#![allow(clippy::print_stdout)]

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use chappe_proto::id::{NodeId, Region};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::https::Https;
use crate::files::Dir;

/// What runs.
pub(super) struct Shown {
    pub(super) nodes: Vec<ShownNode>,
    pub(super) edges: Vec<ShownEdge>,
    /// Whether the cluster began with this start.
    pub(super) founded: bool,
}

/// A node.
pub(super) struct ShownNode {
    pub(super) node: NodeId,
    pub(super) region: Region,
    /// Where plain HTTP is served; the last one is for this machine's own browser.
    pub(super) http: Vec<SocketAddr>,
    pub(super) leads: bool,
    /// Its process, where it has one of its own.
    pub(super) pid: Option<i32>,
}

/// An edge.
pub(super) struct ShownEdge {
    pub(super) region: Region,
    /// What clients are given, and what there is to know of each.
    pub(super) urls: Vec<(String, &'static str)>,
    pub(super) pid: Option<i32>,
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Where to go, what was started, how to stop.
pub(super) fn print(shown: &Shown, dir: &Dir, https: Option<&Https>, owner: Option<&str>) {
    let first = shown.nodes.first().map(|node| node.http.as_slice()).unwrap_or_default();
    // The last one is loopback where the LAN is served too: a secure context without a certificate.
    let here = first.last().map(|address| format!("http://{address}/")).unwrap_or_default();
    println!("\n  {}  open it in two windows and join the same room\n", bold(&here));
    match https.map(|https| (https, https.phones())) {
        Some((https, Some(_))) => phones(first, https),
        Some((https, None)) => println!("  {}  with the certificate that you gave\n", bold(&https.url())),
        None => {}
    }
    let console = format!("{here}admin");
    match owner {
        Some(link) => println!("  console   {}  once, for its first owner\n", bold(link)),
        None => println!("  console   {}\n", bold(&console)),
    }
    for node in &shown.nodes {
        let http = node.http.last().map(|address| format!("http://{address}/")).unwrap_or_default();
        let mut notes = Vec::new();
        notes.extend(node.pid.map(|pid| format!("pid {pid}")));
        notes.extend(node.leads.then(|| "leads".to_owned()));
        let label = format!("node {}", node.node);
        println!("{}", format!("  {label:9} {:5} {http}  {}", node.region, notes.join(", ")).trim_end());
    }
    for (nth, edge) in shown.edges.iter().enumerate() {
        for (line, (url, note)) in edge.urls.iter().enumerate() {
            let label = if line == 0 { format!("edge {}", nth + 1) } else { String::new() };
            let region = if line == 0 { edge.region.to_string() } else { String::new() };
            println!("  {label:9} {region:5} {url}{note}");
        }
        if let Some(pid) = edge.pid {
            println!("  {:9} {:5} pid {pid}", "", "");
        }
    }
    if https.is_some_and(|https| !https.is_trusted()) {
        println!(
            "            turns: is handed out once the certificate passes a browser's check; where browsers"
        );
        println!("            trust it in any case: --trust-certificate");
    }
    println!("  data      {}{}", dir.join("").display(), if shown.founded { " (new)" } else { "" });
    println!("            api-key.json signs tokens (`chappe token ROOM`), admin-token opens /admin/api/v1");
    tries(shown, dir, &here);
    println!("\n  Anonymous joins are allowed: this is for development. {} stops it.\n", bold("Ctrl-C"));
    let _ = std::io::stdout().flush(); // a closed pipe is no reason to stop
}

/// What there is to try.
fn tries(shown: &Shown, dir: &Dir, here: &str) {
    let mut options = String::new();
    if here != "http://127.0.0.1:8080/" {
        options += &format!("--node {} ", here.trim_end_matches('/'));
    }
    let token = dir.join("admin-token");
    if token != std::path::Path::new(".chappe-dev/admin-token") {
        options += &format!("--token-file {} ", token.display());
    }
    if shown.nodes.len() > 1 {
        println!("  try       chappe cluster {options}status");
        println!("            chappe cluster {options}drain {}", shown.nodes.len());
    }
    if let Some(pid) = shown.nodes.iter().rev().find_map(|node| node.pid) {
        println!(
            "            kill -9 {pid}   while a call goes on: it does, and the node is back in a while"
        );
        println!("            kill -STOP {pid}   and -CONT: the node is cut off, and comes back");
    }
}

fn phones(http: &[SocketAddr], https: &Https) {
    let secure = https.url();
    let steps = http.first().map(|address| format!("http://{address}/phone")).unwrap_or_default();
    println!("  {}  on a phone, once it trusts this machine's CA:", bold(&secure));
    println!("  {}  has the steps for iOS and Android\n", bold(&steps));
    if let Ok(code) = QrCode::new(steps.as_bytes()) {
        let picture = code.render::<Dense1x2>().quiet_zone(true).build();
        // Dark on light whatever the terminal's colours are: many cameras read nothing else.
        let (on, off) =
            if std::io::stdout().is_terminal() { ("\x1b[38;5;16;48;5;231m", "\x1b[0m") } else { ("", "") };
        for line in picture.lines() {
            println!("    {on}{line}{off}");
        }
        println!();
    }
}

/// A child has ended, and comes back.
pub(super) fn ended(name: &str, pid: i32, how: &str, again: std::time::Duration) {
    println!("  {name} (pid {pid}) has ended: {how}. It is started again in {} s", again.as_secs());
}

/// A child is back.
pub(super) fn back(name: &str, pid: i32) {
    println!("  {name} is started again, pid {pid}");
}

/// Ctrl-C was heard.
pub(super) fn stopping() {
    println!("  stopping");
}
