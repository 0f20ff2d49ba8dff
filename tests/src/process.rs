//! `chappe` as a process: started, read, signaled, killed.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// Whatever a process is waited for here takes milliseconds; a machine under load gets this long.
pub const WITHIN: Duration = Duration::from_secs(30);

/// The binary, next to the test's own.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let built = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("chappe");
    assert!(built.exists(), "{} is missing: build it by `cargo build -p chappe-ops`", built.display());
    built
}

/// What a process writes, kept as it comes.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<(String, bool)>, Condvar)>);

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let kept = output.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                kept.change(|(text, _)| text.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
            kept.change(|(_, ended)| *ended = true);
        });
        output
    }

    fn change(&self, by: impl FnOnce(&mut (String, bool))) {
        by(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Waits for a text, or for the end of the stream.
    pub(crate) fn wait_for(&self, text: &str, within: Duration) -> bool {
        let waiting = |state: &mut (String, bool)| !state.0.contains(text) && !state.1;
        let (state, _) = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), within, waiting).unwrap();
        state.0.contains(text)
    }

    /// What has come once `text` has.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    pub fn until(&self, text: &str) -> String {
        assert!(self.wait_for(text, WITHIN), "no {text:?} in:\n{}", self.text());
        self.text()
    }

    /// Waits until a text has come so many times.
    ///
    /// # Panics
    /// When it does not.
    pub fn until_times(&self, text: &str, times: usize) {
        let missing = |state: &mut (String, bool)| state.0.matches(text).count() < times && !state.1;
        let waited = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), WITHIN, missing).unwrap();
        assert!(waited.0.0.matches(text).count() >= times, "no {text:?} {times} times in:\n{}", waited.0.0);
    }

    /// Everything up to the end of the stream.
    ///
    /// # Panics
    /// When the test's own reader has failed.
    #[must_use]
    pub fn whole(&self) -> String {
        let open = |state: &mut (String, bool)| !state.1;
        let (state, _) = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), WITHIN, open).unwrap();
        state.0.clone()
    }

    /// What has come so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().0.clone()
    }
}

/// A running process, killed when it is dropped.
pub struct Process {
    pid: Pid,
    exit: Receiver<ExitStatus>,
    exited: Option<ExitStatus>,
    pub stdout: Output,
    pub stderr: Output,
}

impl Process {
    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = Pid::from_child(&child);
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        let (tell, exit) = sync_channel(1);
        std::thread::spawn(move || tell.send(child.wait().unwrap()));
        Self { pid, exit, exited: None, stdout, stderr }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.exit.try_recv().ok();
        }
        self.exited
    }

    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(self.pid, signal); // may have ended just now
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it goes on.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        if let Some(status) = self.exited {
            return status;
        }
        let status = self.exit.recv_timeout(within).unwrap_or_else(|_| {
            panic!("still runs after {within:?}:\n{}\n{}", self.stdout.text(), self.stderr.text())
        });
        self.exited = Some(status);
        status
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(WITHIN)
    }

    /// SIGTERM, and at once SIGINT.
    pub fn hurry(&mut self) {
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(WITHIN);
    }

    /// Its resident memory in bytes.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if self.exited.is_none() {
            let _ = self.exit.recv_timeout(WITHIN);
        }
    }
}

/// Runs a command to its end: success, standard output, standard error.
#[must_use]
pub fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[A]) -> (bool, String, String) {
    let mut process = Process::start(Command::new(program).args(args));
    let status = process.wait(WITHIN);
    (status.success(), process.stdout.whole(), process.stderr.whole())
}

/// The development app's API key.
#[derive(Debug, Clone, Deserialize)]
pub struct ApiKey {
    pub key: String,
    pub secret: String,
    pub app: String,
}

/// A running `chappe dev`.
pub struct Chappe {
    process: Process,
    /// Where HTTP and signaling are.
    pub http: SocketAddr,
    /// TURN over UDP.
    pub turn_udp: SocketAddr,
    /// TURN over TCP.
    pub turn_tcp: SocketAddr,
    data: PathBuf,
    options: Vec<String>,
}

impl Chappe {
    /// Starts it in a data directory, on free ports: one node and one edge.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn dev(data: &Path) -> Self {
        Self::dev_with(data, &[])
    }

    /// The same with more options.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn dev_with(data: &Path, options: &[&str]) -> Self {
        Self::dev_as(data, &[&["--nodes", "1", "--edges", "1"], options].concat())
    }

    /// With these options alone: of three nodes and two edges, unless they say otherwise.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn dev_as(data: &Path, options: &[&str]) -> Self {
        Self::at(data, 0, options.iter().map(|option| (*option).to_owned()).collect())
    }

    /// One node and one edge, which may together open so many files.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn dev_within(data: &Path, files: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &files.to_string()]).arg(binary());
        Self::up(command, data, 0, ["--nodes", "1", "--edges", "1"].map(str::to_owned).to_vec())
    }

    fn at(data: &Path, http: u16, options: Vec<String>) -> Self {
        Self::up(Command::new(binary()), data, http, options)
    }

    fn up(mut command: Command, data: &Path, http: u16, options: Vec<String>) -> Self {
        command.args(["dev", "--turn", "0", "--http", &http.to_string(), "--data"]).arg(data).args(&options);
        let mut process = Process::start(&mut command);
        let up = process.stdout.wait_for("stops it.", WITHIN);
        let text = process.stdout.text();
        if !up {
            process.kill();
            panic!("chappe dev did not come up:\n{text}\n{}", process.stderr.whole());
        }
        let find = |before: &str, after: &str| {
            let begin = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
            let rest = &text[begin..];
            rest[..rest.find(after).unwrap()].parse().unwrap()
        };
        let turn = |transport: &str| {
            let line = text.lines().find(|line| line.ends_with(&format!("?transport={transport}"))).unwrap();
            line.split("turn:").nth(1).unwrap().split('?').next().unwrap().parse().unwrap()
        };
        let (turn_udp, turn_tcp) = (turn("udp"), turn("tcp"));
        let http = find("http://", "/");
        Self { http, turn_udp, turn_tcp, process, data: data.to_owned(), options }
    }

    /// `kill -9`, and starts it again where it was.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        *self = Self::at(&self.data, self.http.port(), std::mem::take(&mut self.options));
    }

    /// Stops it by SIGTERM and starts it again where it was.
    pub fn restart(&mut self) {
        let status = self.process.terminate();
        assert!(status.success(), "{status}: {}", self.process.stderr.text());
        *self = Self::at(&self.data, self.http.port(), std::mem::take(&mut self.options));
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where HTTPS is, with a certificate given.
    ///
    /// # Panics
    /// When it is not served.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        let text = self.process.stdout.text();
        let (_, rest) = text.split_once("https://").unwrap_or_else(|| panic!("no https in {text}"));
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The operator's token.
    ///
    /// # Panics
    /// When its file is missing.
    #[must_use]
    pub fn admin_token(&self) -> String {
        fs::read_to_string(self.data.join("admin-token")).unwrap().trim().to_owned()
    }

    /// The app's API key.
    ///
    /// # Panics
    /// When its file is missing.
    #[must_use]
    pub fn api_key(&self) -> ApiKey {
        serde_json::from_str(&fs::read_to_string(self.data.join("api-key.json")).unwrap()).unwrap()
    }

    /// A token by `chappe token`.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn token(&self, room: &str, options: &[&str]) -> String {
        let key = self.data.join("api-key.json");
        let mut args = vec!["token", room, "--key", key.to_str().unwrap()];
        args.extend(options);
        let (ok, token, error) = run(binary(), &args);
        assert!(ok, "{error}");
        token.trim().to_owned()
    }
}

/// Waits until something holds that no event tells of, as what `/proc` shows.
///
/// # Panics
/// When it never does.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begin.elapsed()
}
