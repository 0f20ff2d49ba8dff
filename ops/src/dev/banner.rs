//! What `chappe dev` tells its user.
#![allow(clippy::print_stdout)]

use std::io::{IsTerminal, Write};

use chappe_cluster::start::Running;
use chappe_edge::Edge;
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::select::ice::turn_url;
use chappe_proto::turn::Transport;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::https::Https;
use crate::files::Dir;

/// Where to go, what was started, how to stop.
pub(super) fn print(node: &Running, edge: &Edge, dir: &Dir, https: Option<&Https>) {
    let bold = |text: &str| {
        if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    };
    // The last one is loopback where the LAN is served too: a secure context without a certificate.
    let here = node.http.last().map(|address| format!("http://{address}/")).unwrap_or_default();
    println!("\n  {}  open it in two windows and join the same room\n", bold(&here));
    match https.map(|https| (https, https.phones())) {
        Some((https, Some(_))) => phones(node, https, &bold),
        Some((https, None)) => println!("  {}  with the certificate that you gave\n", bold(&https.url())),
        None => {}
    }
    let status = node.node.registry.status();
    println!("  node      rooms, signaling (ws …/v1/signal), pages");
    println!("            registry: term {}, entry {}, in sled", status.term, status.applied);
    for (nth, (listener, bound)) in edge.listeners().iter().enumerate() {
        let reached = Listener { address: *bound, ..listener.clone() };
        let label = if nth == 0 { "edge" } else { "" };
        let shared = if listener.transport == Transport::Tls { "  beside HTTPS" } else { "" };
        println!("  {label:9} {}{shared}", turn_url(&reached));
    }
    if https.is_some_and(|https| !https.is_trusted()) {
        println!(
            "            turns: is handed out once the certificate passes a browser's check; where browsers"
        );
        println!("            trust it in any case: --trust-certificate");
    }
    println!("            linked to the node by QUIC at {}, mutual TLS", node.mesh);
    println!("  data      {}{}", dir.join("").display(), if node.founded { " (new)" } else { "" });
    println!("            api-key.json signs tokens (`chappe token ROOM`), admin-token opens /admin/api/v1");
    println!("\n  Anonymous joins are allowed: this is for development. {} stops it.\n", bold("Ctrl-C"));
    let _ = std::io::stdout().flush(); // a closed pipe is no reason to stop
}

fn phones(node: &Running, https: &Https, bold: &dyn Fn(&str) -> String) {
    let secure = https.url();
    let steps = node.http.first().map(|address| format!("http://{address}/phone")).unwrap_or_default();
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
