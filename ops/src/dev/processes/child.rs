//! A child process: its lines are passed on with its name before them, and it dies with its parent.
#![allow(clippy::print_stderr)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// So much of what a child says at its start is kept.
const SAID_MAX: usize = 16 * 1024;

/// How a child is started, and started again.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// As it is called in lines and messages.
    pub(super) name: String,
    /// What `chappe` is told.
    pub(super) args: Vec<String>,
    /// What it is told where other users do not see it.
    pub(super) secrets: Vec<(&'static str, String)>,
}

/// A running child.
pub(super) struct Child {
    pub(super) recipe: Recipe,
    pid: Pid,
    said: watch::Receiver<String>,
    ended: watch::Receiver<Option<String>>,
}

impl Child {
    /// Starts it. Call this on the main thread: a child dies with the thread that started it.
    pub(super) fn start(recipe: Recipe) -> Result<Self> {
        let name = &recipe.name;
        let own = std::env::current_exe().context("this program's own file is not known")?;
        let mut process = Command::new(own)
            .args(&recipe.args)
            .envs(recipe.secrets.iter().map(|(key, value)| (key, value)))
            .env(crate::parent::VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is for the parent, which stops its children itself.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let pid = Pid::from_child(&process);
        let (tell, said) = watch::channel(String::new());
        let (end, ended) = watch::channel(None);
        if let Some(out) = process.stdout.take() {
            std::thread::spawn(move || keep(out, &tell));
        }
        if let Some(err) = process.stderr.take() {
            let name = name.clone();
            std::thread::spawn(move || pass_on(err, &name));
        }
        std::thread::spawn(move || {
            let how = process.wait().map_or_else(|error| error.to_string(), ending);
            end.send_replace(Some(how));
        });
        Ok(Self { recipe, pid, said, ended })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it has said something with `text` in it: everything that it has said until then.
    pub(super) async fn said(&mut self, text: &str, within: Duration) -> Result<String> {
        let name = &self.recipe.name;
        let said = tokio::select! {
            said = self.said.wait_for(|said| said.contains(text)) => said.ok().map(|said| said.clone()),
            () = tokio::time::sleep(within) => {
                bail!("{name} is not there after {} s; --log debug tells more", within.as_secs())
            }
        };
        // Its output has ended, and so has it.
        let Some(said) = said else {
            bail!("{name} has ended ({}); its lines above say why", self.ended().await)
        };
        Ok(said)
    }

    /// Waits until it ends: how.
    pub(super) fn ended(&self) -> impl Future<Output = String> + use<> {
        let mut ended = self.ended.clone();
        async move {
            let how = ended.wait_for(Option::is_some).await;
            how.ok().and_then(|how| how.clone()).unwrap_or_default()
        }
    }

    /// Has it stop: by two signals, the second of which a node takes for haste; and by force in the end.
    pub(super) async fn stop(&self, within: Duration) {
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
        if tokio::time::timeout(within, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            self.ended().await;
        }
    }

    fn signal(&self, signal: Signal) {
        if self.ended.borrow().is_none() {
            let _ = kill_process(self.pid, signal); // may have ended just now
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a process ended, in words.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nobody knows how".to_owned(),
    }
}

/// Keeps what a child says at its start.
fn keep(out: impl Read, tell: &watch::Sender<String>) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        tell.send_modify(|said| {
            if said.len() + line.len() < SAID_MAX {
                said.push_str(&line);
                said.push('\n');
            }
        });
    }
}

/// Passes a child's lines on.
fn pass_on(err: impl Read, name: &str) {
    for line in BufReader::new(err).lines().map_while(Result::ok) {
        eprintln!("{name} | {line}");
    }
}
