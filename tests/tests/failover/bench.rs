//! `chappe bench failover` in small: each kind of fault, in the roles where it costs most, and nothing is lost or doubled.
//! Its figures count nothing at that size, and say so.

use std::time::Duration;

use chappe_tests::process::{Process, binary};
use serde_json::Value;

/// A debug build on a busy machine runs a few rounds within this.
const WITHIN: Duration = Duration::from_secs(900);

/// Runs some cells, and answers them by their names.
fn cells(only: &str, options: &[&str]) -> Vec<Value> {
    let mut command = std::process::Command::new(binary());
    command.args(["bench", "failover", "--rounds", "1", "--rooms", "20", "--rate", "100", "--joins", "5"]);
    command.args(["--stop", "4", "--json", "--only", only]).args(options);
    let mut process = Process::start(&mut command);
    let status = process.wait(WITHIN);
    let (text, errors) = (process.stdout.whole(), process.stderr.whole());
    assert!(status.success(), "{errors}\n{text}");
    eprintln!("{errors}");
    let cells: Vec<Value> = serde_json::from_str(&text).unwrap();
    for cell in &cells {
        assert!(cell["faults"].as_object().is_some_and(serde_json::Map::is_empty), "{cell}");
        assert_eq!(cell["void"], 1, "so small a load voids a round: {cell}");
        assert!(cell["signals"].as_u64() > Some(100), "{cell}");
        for gaps in ["present", "through_gateway", "resumed", "joined"] {
            assert!(cell[gaps].is_null() || cell[gaps]["never"] == 0, "{gaps}: {cell}");
        }
    }
    cells
}

#[test]
fn killed_processes_cost_nobody_a_signal() {
    let cells = cells("kill:owner,kill:gateway,kill:owner+gateway,kill:owner+leader", &[]);
    assert_eq!(cells.len(), 4);
    let role = |name: &str| cells.iter().find(|cell| cell["cell"] == name).unwrap();
    assert!(role("kill:owner")["resumed"].is_null(), "no session was on it");
    assert_eq!(role("kill:gateway")["resumed"]["count"], 20);
    assert_eq!(role("kill:owner")["joined"]["count"], 5);
}

#[test]
fn stopped_and_cut_off_processes_cost_nobody_a_signal() {
    assert_eq!(cells("stop:owner,hole:gateway", &[]).len(), 2);
}

#[test]
fn without_a_quorum_those_present_notice_nothing() {
    let cells = cells("quorum", &[]);
    let worst = cells[0]["longest"]["max"].as_f64().unwrap();
    assert!(worst < 1500.0, "a signal took {worst} ms while the registry had no quorum");
}

#[test]
fn an_upgrade_of_three_nodes_under_load_is_noticed_by_nobody() {
    let cells = cells("upgrade", &["--nodes", "3"]);
    assert_eq!(cells[0]["cell"], "upgrade");
}

#[test]
fn regions_far_apart_lose_nothing_either() {
    cells("kill:owner", &["--delay", "150"]);
}
