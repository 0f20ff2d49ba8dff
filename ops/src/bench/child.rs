//! A server that a bench starts, and ends.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A server says within this where it listens.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Lines of its output that are kept until somebody reads them; more are dropped.
const LINES: usize = 64;

/// A running server. It is killed, by its process id, when this is dropped; and by the kernel when the
/// bench itself is killed, where `setpriv` is installed.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    lines: Receiver<String>,
}

impl Child {
    /// Starts `program`, on one processor if told so.
    pub(super) fn start(program: &Path, arguments: &[String], cpu: Option<usize>) -> Result<Self> {
        let shown = tracing::enabled!(tracing::Level::DEBUG);
        Self::begin(program, arguments, cpu, if shown { Stdio::inherit() } else { Stdio::null() })
    }

    /// This program, with other arguments; what it says on standard error is added to a file.
    pub(super) fn start_self_logged(arguments: &[&str], log: &Path) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Self::begin(&std::env::current_exe()?, &arguments, None, log.into())
    }

    fn begin(program: &Path, arguments: &[String], cpu: Option<usize>, errors: Stdio) -> Result<Self> {
        let mut words: Vec<String> = Vec::new();
        if installed("setpriv") {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        }
        if let Some(cpu) = cpu
            && installed("taskset")
        {
            words.extend(["taskset".to_owned(), "--cpu-list".to_owned(), cpu.to_string()]);
        }
        words.push(program.to_str().context("a path that is no text")?.to_owned());
        words.extend_from_slice(arguments);
        let (first, rest) = words.split_first().context("no program")?;
        let mut command = Command::new(first);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut process = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let (sender, lines) = mpsc::sync_channel(LINES);
        if let Some(output) = process.stdout.take() {
            // Ends with the process's output.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.try_send(line); // nobody waits for it
                }
            });
        }
        Ok(Self { process, lines })
    }

    /// This program, with other arguments.
    pub(super) fn start_self(arguments: &[&str], cpu: Option<usize>) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self::start(&std::env::current_exe()?, &arguments, cpu)
    }

    /// Its process id: that of the server itself, since what starts it replaces itself by it.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits for the first line that `find` takes something from.
    pub(super) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = chappe_cluster::clock::mono() + READY_WITHIN;
        loop {
            let left = deadline.until(chappe_cluster::clock::mono());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("a server did not say where it listens"),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("a server ended at once; --log debug shows what it said")
                }
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill(); // ended already
        let _ = self.process.wait();
    }
}

/// Whether a program is on the path.
pub(super) fn installed(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is.
pub(super) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
