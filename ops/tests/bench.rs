//! `chappe bench` as a process: a small run of each kind comes to its end and has a figure for each case.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::process::Command;

use serde_json::Value;

/// Runs the bench and answers its rows, as (case, server) with the rest.
fn bench(arguments: &[&str]) -> Vec<(String, String, Value)> {
    let output = Command::new(env!("CARGO_BIN_EXE_chappe")).arg("bench").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.into_iter().map(|row| (text(&row, "case"), text(&row, "server"), row)).collect()
}

/// The servers that a case has figures of.
fn servers<'a>(rows: &'a [(String, String, Value)], case: &str) -> Vec<&'a str> {
    rows.iter().filter(|(of, ..)| of == case).map(|(_, server, _)| server.as_str()).collect()
}

#[test]
fn a_relay_is_measured_against_its_floor() {
    let rows = bench(&[
        "relay",
        "--servers",
        "floor,edge",
        "--rounds",
        "1",
        "--packets",
        "400",
        "--flows",
        "4",
        "--allocations",
        "40",
        "--idle",
        "40",
        "--json",
    ]);
    for case in [
        "client to peer, 172 B",
        "client to peer, 1200 B",
        "client to client, 172 B",
        "client to client, 1200 B",
        "client to peer, 8 x 1200 B",
        "client to client, 8 x 1200 B",
        "Binding request",
    ] {
        assert_eq!(servers(&rows, case), ["floor", "edge"], "{case}");
    }
    for case in ["new allocation (401, 200)", "idle allocation"] {
        assert_eq!(servers(&rows, case), ["edge"], "{case}");
    }
    for (case, server, row) in &rows {
        assert!(row["median"].as_f64().unwrap() >= 0.0, "{case}, {server}");
        let note = row["note"].as_str().unwrap();
        assert!(note.is_empty() || note.starts_with("0 lost"), "{case}, {server}: {note}");
    }
}

#[test]
fn signals_are_measured_against_their_floor() {
    let rows = bench(&[
        "signal",
        "--rounds",
        "1",
        "--signals",
        "200",
        "--pairs",
        "2",
        "--rate",
        "200",
        "--seconds",
        "1",
        "--idle",
        "16",
        "--json",
    ]);
    for case in ["signal, 200 B", "latency at 200/s, p50", "latency at 200/s, p99", "idle session"] {
        assert_eq!(servers(&rows, case), ["floor", "node"], "{case}");
    }
    assert_eq!(servers(&rows, "signal, 200 B, acknowledged each"), ["node"]);
    let latency = rows.iter().find(|(case, ..)| case.ends_with("p50")).unwrap();
    assert!(latency.2["median"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_chappe"))
        .args(["bench", "relay", "--servers", "none"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--server IP:PORT"));
}
