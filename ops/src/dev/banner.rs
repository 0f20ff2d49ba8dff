//! What `chappe dev` tells its user.
#![allow(clippy::print_stdout)]

use std::io::{IsTerminal, Write};

use chappe_cluster::start::Running;
use chappe_edge::Edge;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::lan::Lan;
use crate::files::Dir;

/// Where to go, what was started, how to stop.
pub(super) fn print(node: &Running, edge: &Edge, dir: &Dir, lan: Option<&Lan>) {
    let bold = |text: &str| {
        if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    };
    // The last one is loopback where the LAN is served too: a secure context without a certificate.
    let here = node.http.last().map(|address| format!("http://{address}/")).unwrap_or_default();
    println!("\n  {}  open it in two windows and join the same room\n", bold(&here));
    match (lan, node.https.first()) {
        (Some(lan), _) => phones(node, lan, &bold),
        (None, Some(address)) => println!("  https://{address}/ with the certificate that you gave\n"),
        (None, None) => {}
    }
    let status = node.node.registry.status();
    println!("  node      rooms, signaling (ws …/v1/signal), pages");
    println!("            registry: term {}, entry {}, in sled", status.term, status.applied);
    for (listener, bound) in edge.listeners() {
        let transport = format!("{:?}", listener.transport).to_lowercase();
        println!("  edge      turn:{bound}?transport={transport}");
    }
    println!("            linked to the node by QUIC at {}, mutual TLS", node.uplink);
    println!("  data      {}{}", dir.join("").display(), if node.founded { " (new)" } else { "" });
    println!("            api-key.json signs tokens (`chappe token ROOM`), admin-token opens /admin/api/v1");
    println!("\n  Anonymous joins are allowed: this is for development. {} stops it.\n", bold("Ctrl-C"));
    let _ = std::io::stdout().flush(); // a closed pipe is no reason to stop
}

fn phones(node: &Running, lan: &Lan, bold: &dyn Fn(&str) -> String) {
    let port = |addresses: &[std::net::SocketAddr]| addresses.first().map_or(0, std::net::SocketAddr::port);
    let host = match lan.address {
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        v4 @ std::net::IpAddr::V4(_) => v4.to_string(),
    };
    let secure = format!("https://{host}:{}/", port(&node.https));
    let steps = format!("http://{host}:{}/phone", port(&node.http));
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

/// Ctrl-C was heard.
pub(super) fn stopping() {
    println!("  stopping");
}
