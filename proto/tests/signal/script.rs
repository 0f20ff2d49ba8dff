//! The commands of a transcript.
//!
//! `cluster [nodes=N] [grace=SECS] [capacity=N] [rate=N] [burst=N] [tokens]`: a new cluster begins.
//! `NAME join [node=N] [FIELDS]`: a socket and its `join`, with the fields of a JSON object. A `token`
//! that is an object is signed with the claims it has, and with those that it must have.
//! `NAME resume [node=N] [token=N] [FIELDS]`: a socket and a `join` with the newest resume token, or
//! the one of that welcome. `NAME JSON`: a frame on the newest socket. `NAME signal PEER ID KIND
//! PAYLOAD`, `ack PEER ID`, `broadcast PAYLOAD`, `kick PEER [ban]`, `ice`, `leave`, `ping [T]`: the
//! frame of that name. `NAME signals PEER FROM TO BYTES`: many of them. `NAME pings N`: many of them.
//! `NAME overflows`, `NAME speaks binary`: what a shell says of the socket. `NAME falls
//! silent`: it answers no pings any more. `cut NAME`: the socket ends
//! without a word. `wait SECS`. `registry fails`, `registry commits`. `edge NAME REGION up|lost|draining`.
//! `owner stops`, `owner starts [and waits]` (for all nodes), `node N hears`: of the new owner. `node N restarts`. `node N stops`
//! (an orderly end). `node N forgets NAME`: its session's actor has failed. `link N cut`, `link N
//! back`: between that node and the owner. `node N sees the link down|up`: it is told so. `owner freezes`,
//! `owner thaws`: its lease. `NAME is to move MS URL...`, `NAME is to stay`.
//! `NAME goes to ROOM`: an operator moves it there.
//! `NAME comes from IP`: its newest socket does. `room`: what the owner has.
//!
//! `operator closes the room`, `locks the room`, `opens the room`, `lets N in`, `ends the room's time`, `says JSON`,
//! `mutes NAME GRANT...`, `unmutes NAME GRANT...`, `opens a lobby`, `ends the lobby`, `admits NAME`, `denies NAME`.
//!
//! `@NAME` in JSON is that client's peer id. Sockets that are not a client's newest are `NAME#N`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{EdgeId, KeyId, PeerId, Region, RoomName};
use chappe_proto::mesh::uplink::{Listener, Secret};
use chappe_proto::select::{Catalog, EdgeStatus, Place};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::Verdict;
use chappe_proto::signal::member::{Muting, Policy};
use chappe_proto::turn::Transport;
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, Down, Registry};

#[derive(Default)]
struct Client {
    sockets: Vec<u32>,
    resume: Vec<String>,
    peers: usize,
    silent: bool,
}

pub(crate) struct Script {
    cluster: Cluster,
    clients: BTreeMap<String, Client>,
    names: BTreeMap<PeerId, String>,
    texts: Vec<(String, String)>,
    limits: bool,
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("no number: {text}"))
}

impl Script {
    pub(crate) fn new(words: &[&str]) -> Self {
        let (mut nodes, mut policy) = (1, Policy { anonymous: true, ..Policy::default() });
        for word in words {
            match word.split_once('=') {
                Some(("nodes", n)) => nodes = number(n),
                Some(("grace", secs)) => policy.grace = Duration::from_secs(number(secs)),
                Some(("capacity", n)) => policy.capacity = number(n),
                Some(("rate", n)) => policy.frames_per_sec = number(n),
                Some(("burst", n)) => policy.frames_burst = number(n),
                _ if *word == "tokens" => policy.anonymous = false,
                _ => panic!("cluster: {word}?"),
            }
        }
        let mut cluster = Cluster::new(1, nodes, policy);
        cluster.encodes = true;
        let stranger = PeerId::from_random([0xee; 15]);
        let names = BTreeMap::from([(stranger, "@stranger".to_owned())]);
        Self { cluster, clients: BTreeMap::new(), names, texts: Vec::new(), limits: false }
    }

    /// Carries one command out; what clients were sent of it.
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["wait", secs] => {
                let step = Duration::from_millis((number::<f64>(secs) * 1000.0).round() as u64);
                return self.wait(step);
            }
            ["cut", name] => {
                let socket = self.socket(name);
                self.cluster.cut(socket);
            }
            ["registry", "fails"] => self.cluster.registry = Registry::Fails,
            ["registry", "commits"] => self.cluster.registry = Registry::Commits,
            ["show", "limits"] => self.limits = true,
            ["edge", name, region, state] => self.edge(name, region, state),
            ["owner", "stops"] => self.cluster.stop_owner(),
            ["owner", "starts"] => self.cluster.new_owner(false),
            ["owner", "starts", "and", "waits"] => self.cluster.new_owner(true),
            ["node", n, "hears"] => self.cluster.tell_moved(number::<usize>(n) - 1),
            ["node", n, "restarts"] => self.cluster.restart_gateway(number::<usize>(n) - 1),
            ["node", n, "is", "lost"] => self.cluster.tell_gateway_lost(number::<usize>(n) - 1),
            ["node", n, "stops"] => self.stop(number::<usize>(n) - 1),
            ["node", n, "forgets", name] => {
                let peer = self.peer(name);
                self.cluster.forget_session(number::<usize>(n) - 1, peer);
            }
            ["link", n, state] => self.cluster.nodes[number::<usize>(n) - 1].up = state == "back",
            ["node", n, "sees", "the", "link", state] => {
                self.cluster.tell_link(number::<usize>(n) - 1, state == "up");
            }
            ["owner", "freezes"] => self.cluster.freeze_owner(true),
            ["owner", "thaws"] => self.cluster.freeze_owner(false),
            ["room"] => return self.room(),
            ["operator", ..] => self.operator(&words[1..], line),
            [name, ..] => self.client(name, line[name.len()..].trim_start()),
            [] => {}
        }
        self.said()
    }

    fn operator(&mut self, words: &[&str], line: &str) {
        let muting = |names: &[&str], on| Muting::of_names(names.iter().copied(), on).unwrap();
        match *words {
            ["closes", "the", "room"] => {
                let now = self.cluster.now;
                self.cluster.decide(|room, out| room.close(now, out));
            }
            ["locks", "the", "room"] => self.cluster.rule(|rules| rules.locked = true),
            ["opens", "the", "room"] => self.cluster.rule(|rules| rules.locked = false),
            ["lets", n, "in"] => self.cluster.rule(|rules| rules.capacity = Some(number(n))),
            ["ends", "the", "room's", "time"] => {
                let now = self.cluster.now.unix;
                self.cluster.rule(|rules| rules.expires = Some(now));
            }
            ["says", ..] => {
                let payload = Json::parse(line.split_once("says ").unwrap().1).unwrap();
                self.cluster.decide(|room, out| room.announce_to_all(payload, out));
            }
            ["mutes", name, ref of @ ..] => {
                let peer = self.peer(name);
                self.cluster.decide(|room, out| room.mute(peer, muting(of, true), out));
            }
            ["unmutes", name, ref of @ ..] => {
                let peer = self.peer(name);
                self.cluster.decide(|room, out| room.mute(peer, muting(of, false), out));
            }
            ["opens", "a", "lobby"] => self.cluster.rule(|rules| rules.lobby = true),
            ["ends", "the", "lobby"] => self.cluster.rule(|rules| rules.lobby = false),
            ["admits", name] => self.judge(name, &Verdict::Admit),
            ["denies", name] => self.judge(name, &Verdict::Deny { reason: None }),
            _ => panic!("an operator: {words:?}?"),
        }
    }

    fn judge(&mut self, name: &str, verdict: &Verdict) {
        let (peer, now) = (self.peer(name), self.cluster.now);
        if let Some(Err(refusal)) = self.cluster.decide(|room, out| room.judge(now, peer, verdict, out)) {
            self.cluster.events.push(format!("refused: {}", refusal.message));
        }
    }

    fn wait(&mut self, step: Duration) -> Vec<String> {
        let start = self.cluster.now;
        let mut lines = Vec::new();
        while self.cluster.now.mono.since(start.mono) < step {
            // Step by step, so that a line can say when.
            let before = self.cluster.now;
            let next = self.cluster.next().saturating_sub(before.mono.0);
            let left = step - before.mono.since(start.mono);
            self.cluster.advance(next.clamp(Duration::from_millis(1), left));
            let after = self.cluster.now.mono.since(start.mono).as_secs_f64();
            self.answer_pings();
            lines.extend(self.said().into_iter().map(|line| format!("{line} after {after:.1} s")));
        }
        lines
    }

    /// Pings are answered and not shown, but by the silent.
    fn answer_pings(&mut self) {
        let ping = |down: &Down| *down == Down::Text(r#"{"type":"ping"}"#.to_owned());
        let of_silent = |socket: &u32| self.clients.values().any(|c| c.silent && c.sockets.contains(socket));
        let asked: Vec<u32> = self
            .cluster
            .down
            .iter()
            .filter(|(s, down)| ping(down) && !of_silent(s))
            .map(|(s, _)| *s)
            .collect();
        self.cluster.down.retain(|(socket, down)| !(ping(down) && asked.contains(socket)));
        for socket in asked {
            self.cluster.text(socket, r#"{"type":"pong"}"#);
        }
    }

    fn client(&mut self, name: &str, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let json_at = rest.find('{').unwrap_or(rest.len());
        let fields = || -> Map<String, Value> {
            if json_at == rest.len() { Map::new() } else { serde_json::from_str(&rest[json_at..]).unwrap() }
        };
        let after = |n: usize| rest.splitn(n + 1, ' ').nth(n).unwrap_or("null");
        let frame = match words[..] {
            ["join", ..] | ["resume", ..] => return self.enter(name, &words, fields()),
            ["signal", to, id, kind, ..] => {
                let payload = after(4);
                format!(r#"{{"type":"signal","to":"@{to}","id":{id},"kind":"{kind}","payload":{payload}}}"#)
            }
            ["signals", to, first, last, bytes] => {
                let payload = "x".repeat(number::<usize>(bytes) - 2);
                for id in number::<u64>(first)..=number(last) {
                    let frame = format!(
                        r#"{{"type":"signal","to":"@{to}","id":{id},"kind":"candidate","payload":"{payload}"}}"#
                    );
                    self.say(name, &frame);
                }
                return;
            }
            ["pings", n] => {
                for _ in 0..number(n) {
                    self.say(name, r#"{"type":"ping"}"#);
                }
                return;
            }
            ["ack", from, id] => format!(r#"{{"type":"ack","from":"@{from}","id":{id}}}"#),
            ["broadcast", ..] => format!(r#"{{"type":"broadcast","payload":{}}}"#, after(1)),
            ["kick", peer] => format!(r#"{{"type":"kick","peer":"@{peer}"}}"#),
            ["kick", peer, "ban"] => format!(r#"{{"type":"kick","peer":"@{peer}","ban":true}}"#),
            ["ice"] => r#"{"type":"ice"}"#.to_owned(),
            ["leave"] => r#"{"type":"leave"}"#.to_owned(),
            ["ping"] => r#"{"type":"ping"}"#.to_owned(),
            ["ping", t] => format!(r#"{{"type":"ping","t":{t}}}"#),
            ["connects"] => {
                let socket = self.cluster.connect(0);
                self.clients.entry(name.to_owned()).or_default().sockets.push(socket);
                return;
            }
            _ if self.befalls(name, &words) => return,
            _ => rest.to_owned(),
        };
        self.say(name, &frame);
    }

    /// What happens to a client's socket or session; false of anything else.
    fn befalls(&mut self, name: &str, words: &[&str]) -> bool {
        match words {
            ["overflows"] => {
                let socket = self.socket(name);
                self.cluster.with_socket(socket, |session, now, _, out| session.handle_overflow(now, out));
            }
            ["speaks", "binary"] => {
                let socket = self.socket(name);
                self.cluster.with_socket(socket, |session, now, _, out| session.handle_violation(now, out));
            }
            ["is", "to", "move", ms, to @ ..] => {
                let to: Vec<String> = to.iter().map(|url| (*url).to_owned()).collect();
                let (socket, within) = (self.socket(name), Duration::from_millis(number(ms)));
                self.cluster.with_socket(socket, |session, now, _, out| {
                    session.handle_moving(now, &to, within, out);
                });
            }
            ["is", "to", "stay"] => {
                self.cluster.with_socket(self.socket(name), |it, _, _, _| it.handle_staying());
            }
            ["goes", "to", room] => {
                let (socket, to) = (self.socket(name), RoomName::new(room).unwrap());
                self.cluster.with_socket(socket, |session, now, world, out| {
                    assert!(session.handle_move(now, world, to, out));
                });
            }
            ["falls", "silent"] => {
                self.clients.get_mut(name).unwrap().silent = true;
            }
            ["comes", "from", ip] => {
                let (socket, ip) = (self.socket(name), ip.parse().unwrap());
                self.cluster.with_socket(socket, |session, _, _, _| {
                    session.handle_source(ip, Place::default());
                });
            }
            _ => return false,
        }
        true
    }

    fn enter(&mut self, name: &str, words: &[&str], fields: Map<String, Value>) {
        let client = self.clients.entry(name.to_owned()).or_default();
        let mut join =
            Map::from_iter([("type".to_owned(), json!("join")), ("room".to_owned(), json!("tower"))]);
        let (mut node, mut again) = (0, false);
        if words[0] == "resume" {
            join.insert("resume".to_owned(), json!(client.resume.last().unwrap()));
        }
        for word in &words[1..] {
            match word.split_once('=') {
                Some(("node", n)) => node = number::<usize>(n) - 1,
                Some(("token", n)) => {
                    join.insert("resume".to_owned(), json!(client.resume[number::<usize>(n) - 1]));
                }
                _ if *word == "again" => again = true, // on the socket that there is
                _ => break,
            }
        }
        join.extend(fields);
        if let Some(Value::Object(claims)) = join.get("token") {
            let now = self.cluster.now.unix.secs();
            let iss = KeyId::from_random([1; 15]).to_string();
            let mut all = json!({"iss": iss, "aud": "chappe", "exp": now + 3600, "room": "tower"});
            all.as_object_mut().unwrap().extend(claims.clone());
            join.insert("token".to_owned(), json!(all.to_string()));
        }
        if !again {
            let socket = self.cluster.connect(node);
            self.clients.entry(name.to_owned()).or_default().sockets.push(socket);
        }
        self.say(name, &Value::Object(join).to_string());
    }

    fn say(&mut self, name: &str, frame: &str) {
        let mut frame = frame.to_owned();
        for (peer, name) in &self.names {
            frame = frame.replace(&format!("\"{name}\""), &format!("\"{peer}\""));
        }
        let socket = self.socket(name);
        self.cluster.text(socket, &frame);
    }

    fn socket(&self, name: &str) -> u32 {
        let (name, nth) = name.split_once('#').unwrap_or((name, ""));
        let sockets = &self.clients[name].sockets;
        if nth.is_empty() { *sockets.last().unwrap() } else { sockets[number::<usize>(nth) - 1] }
    }

    fn peer(&self, name: &str) -> PeerId {
        let name = format!("@{name}");
        *self.names.iter().find(|(_, n)| **n == name).unwrap().0
    }

    fn stop(&mut self, node: usize) {
        let peers: Vec<PeerId> = self.cluster.nodes[node].sessions.keys().copied().collect();
        for peer in peers {
            self.cluster.with_session(node, peer, |session, now, _, out| session.handle_shutdown(now, out));
        }
        self.cluster.settle();
    }

    fn edge(&mut self, name: &str, region: &str, state: &str) {
        let edge = EdgeId::new(name).unwrap();
        let mut edges = self.cluster.world.edges.edges().to_vec();
        edges.retain(|status| status.edge != edge);
        let host = Some(format!("{name}.example"));
        let listener = Listener {
            transport: Transport::Udp,
            address: "192.0.2.1:3478".parse().unwrap(),
            hostname: host,
        };
        let (region, listeners) = (Region::new(region).unwrap(), vec![listener]);
        edges.push(EdgeStatus {
            available: matches!(state, "up" | "young" | "grown"),
            ramp: if state == "young" { 0.05 } else { 1.0 },
            ..EdgeStatus::new(edge.clone(), region, listeners)
        });
        self.cluster.world.edges = Catalog::new(edges, Arc::default(), None);
        self.cluster.world.secret = Some(Secret(b"secret".to_vec()));
        self.cluster.world.draining.retain(|held| *held != edge);
        if state == "draining" {
            self.cluster.world.draining.push(edge.clone());
        }
        for node in 0..self.cluster.nodes.len() {
            let peers: Vec<PeerId> = self.cluster.nodes[node].sessions.keys().copied().collect();
            for peer in peers {
                self.cluster.with_session(node, peer, |session, now, world, out| match state {
                    "up" => session.handle_edge_up(now),
                    "young" | "grown" => {} // it was there, and nobody is told
                    "lost" => session.handle_edge_lost(now, world, &edge, out),
                    _ => session.handle_draining(now, &edge, Duration::from_secs(10)),
                });
            }
        }
        self.cluster.settle();
    }

    fn room(&self) -> Vec<String> {
        let Some(room) = &self.cluster.owner else { return vec!["the owner has no such room".to_owned()] };
        room.entries()
            .map(|entry| {
                let member = &entry.member;
                let name = &self.names[&member.seat.peer];
                let (node, attach) = (entry.gateway.node, member.attach);
                let away = if member.away { ", away" } else { "" };
                format!("{name} on node {node}, attachment {attach}{away}")
            })
            .collect()
    }

    // ------------------------------------------------------------------------------ what was said

    fn said(&mut self) -> Vec<String> {
        let down = std::mem::take(&mut self.cluster.down);
        for (socket, frame) in &down {
            if let Down::Text(text) = frame {
                self.learn(*socket, text);
            }
        }
        let mut lines: Vec<String> = down.iter().map(|(socket, frame)| self.line(*socket, frame)).collect();
        lines.extend(std::mem::take(&mut self.cluster.events).into_iter().map(|event| format!("({event})")));
        // Many alike are said once.
        let mut counted: Vec<(String, String, usize)> = Vec::new();
        for line in lines {
            match counted.last_mut() {
                Some((_, last, times)) if alike(last) == alike(&line) => (*last, *times) = (line, *times + 1),
                _ => counted.push((line.clone(), line, 1)),
            }
        }
        let shown = |(first, last, times): (String, String, usize)| match times {
            1 => vec![first],
            2 => vec![first, last],
            _ if first == last => vec![format!("{first} ({times} times)")],
            _ => vec![first, format!("... {} more ...", times - 2), last],
        };
        counted.into_iter().flat_map(shown).collect()
    }

    /// Learns the names of ids and tokens from a welcome.
    fn learn(&mut self, socket: u32, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap();
        if let (Some("moved"), Some(token)) = (frame["type"].as_str(), frame["token"].as_str()) {
            self.texts.push((token.to_owned(), "a move token".to_owned()));
        }
        let waits = frame["type"] == "waiting";
        let resume = frame["resume"].as_str();
        if !waits && resume.is_none() {
            return;
        }
        let (name, client) = self.clients.iter_mut().find(|(_, c)| c.sockets.contains(&socket)).unwrap();
        let welcomed = || frame["peer"].as_str().unwrap().parse().unwrap();
        let peer: PeerId = if waits { self.cluster.peer_of(socket).unwrap() } else { welcomed() };
        if let Entry::Vacant(vacant) = self.names.entry(peer) {
            client.peers += 1;
            let nth = if client.peers == 1 { String::new() } else { format!(".{}", client.peers) };
            vacant.insert(format!("@{name}{nth}"));
            client.resume.clear();
        }
        let Some(resume) = resume else { return };
        client.resume.push(resume.to_owned());
        self.texts.push((resume.to_owned(), format!("{name}'s token {}", client.resume.len())));
        let session = frame["session"].as_str().unwrap().to_owned();
        self.texts.push((session, format!("{name}'s session")));
    }

    fn line(&self, socket: u32, down: &Down) -> String {
        let (name, client) = self.clients.iter().find(|(_, c)| c.sockets.contains(&socket)).unwrap();
        let newest = client.sockets.last() == Some(&socket);
        let nth = client.sockets.iter().position(|s| *s == socket).unwrap() + 1;
        let who = if newest { name.clone() } else { format!("{name}#{nth}") };
        match down {
            Down::Closed(code) => format!("{who} is closed with {}", code.websocket()),
            Down::Text(text) => format!("{who} < {}", self.shown(text)),
        }
    }

    /// A frame with names for ids, without what every welcome repeats.
    fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (peer, name) in &self.names {
            text = text.replace(&peer.to_string(), name);
        }
        for (long, short) in &self.texts {
            text = text.replace(long, short);
        }
        if !self.limits
            && let Some(at) = text.find(",\"limits\":{")
        {
            let end = text[at..].find('}').unwrap() + at + 1;
            text.replace_range(at..end, "");
        }
        for empty in [r#","ice_servers":[]"#, r#","edges":[]"#, r#","nodes":[]"#, r#","ice_ttl_ms":3600000"#]
        {
            text = text.replace(empty, "");
        }
        text
    }
}

/// A line without the id of its signal.
fn alike(line: &str) -> String {
    let Some(at) = line.find("\"id\":").map(|at| at + 5) else { return line.to_owned() };
    let end = line[at..].find([',', '}']).unwrap() + at;
    format!("{}{}", &line[..at], &line[end..])
}
