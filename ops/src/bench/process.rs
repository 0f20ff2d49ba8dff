//! What the kernel tells of a process: `/proc` (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// A process by its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

impl Process {
    /// Processor time, user and system, of all its threads that run.
    ///
    /// Each thread's `schedstat` has it in nanoseconds; where the kernel keeps none, `stat` has it in
    /// clock ticks.
    pub(super) fn cpu(self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).with_context(|| self.gone())?;
        for thread in threads {
            match fs::read_to_string(thread?.path().join("schedstat")).ok().as_deref().map(schedstat) {
                Some(Some(ran)) => total += ran,
                _ => return self.ticks(),
            }
        }
        Ok(total)
    }

    fn ticks(self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).with_context(|| self.gone())?;
        let ticks = stat(&text).with_context(|| format!("/proc/{}/stat is not as expected", self.0))?;
        let each = Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second())?.max(1);
        Ok(each * u32::try_from(ticks)?)
    }

    /// Memory that is its own, in bytes: its proportional share of pages (PSS), or where that is not
    /// told, its resident pages.
    pub(super) fn memory(self) -> Result<u64> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.0));
        let share = read("smaps_rollup").ok().and_then(|text| kilobytes(&text, "Pss:"));
        let own = || read("status").ok().and_then(|text| kilobytes(&text, "VmRSS:"));
        share.or_else(own).map(|kilobytes| kilobytes * 1024).with_context(|| self.gone())
    }

    /// The UDP ports that it has (proc(5), `/proc/net/udp`).
    pub(super) fn udp_ports(self) -> Result<BTreeSet<u16>> {
        let mut inodes = BTreeSet::new();
        for fd in fs::read_dir(format!("/proc/{}/fd", self.0)).with_context(|| self.gone())? {
            // One that is closed just now is no socket of interest.
            let Ok(to) = fs::read_link(fd?.path()) else { continue };
            let inode = to.to_str().and_then(|to| to.strip_prefix("socket:[")?.strip_suffix(']'));
            inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
        let table = fs::read_to_string(format!("/proc/{}/net/udp", self.0)).with_context(|| self.gone())?;
        Ok(table
            .lines()
            .skip(1)
            .filter_map(udp)
            .filter(|(_, inode)| inodes.contains(inode))
            .map(|(port, _)| port)
            .collect())
    }

    fn gone(self) -> String {
        format!("process {} is gone, or not ours to look at", self.0)
    }
}

/// The first figure of `schedstat`: nanoseconds on a processor.
fn schedstat(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// `utime` + `stime` of `stat`, in ticks: fields 14 and 15, counted behind the name, which may hold
/// blanks and brackets.
fn stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Port and inode of a line of `/proc/net/udp`.
fn udp(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let port = u16::from_str_radix(fields.nth(1)?.split_once(':')?.1, 16).ok()?;
    Some((port, fields.nth(7)?.parse().ok()?))
}

/// A `Name:   123 kB` line.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

/// Raises the limit of open files as far as it goes; servers that are started inherit it.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Without it the counts that need more files fail by themselves, and say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Which processor servers run on and which the load: the first two of this process, where it has two.
pub(super) fn processors() -> Option<(usize, usize)> {
    let ours = rustix::thread::sched_getaffinity(None).ok()?;
    let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| ours.is_set(*cpu));
    Some((usable.next()?, usable.next()?))
}

/// Keeps this thread, and what it starts from now on, on one processor.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None::<Pid>, &only).context("this process cannot choose its processor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_blanks_and_brackets() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 8 20 0 3 0 1 2 3";
        assert_eq!(stat(text), Some(300));
        assert_eq!(stat("42 (x) S 1"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn schedstat_begins_with_nanoseconds() {
        assert_eq!(schedstat("1500 20 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(schedstat(""), None);
    }

    #[test]
    fn a_line_of_kilobytes_is_found_by_its_whole_name() {
        let text = "Rss:     900 kB\nPss:     123 kB\nPss_Dirty:  7 kB\n";
        assert_eq!(kilobytes(text, "Pss:"), Some(123));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }

    #[test]
    fn a_process_has_the_udp_ports_of_its_sockets() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let me = Process(std::process::id());
        assert!(me.udp_ports().unwrap().contains(&port));
        assert!(Process(u32::MAX).udp_ports().is_err());
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let me = Process(std::process::id());
        assert!(me.cpu().unwrap() > Duration::ZERO && me.ticks().is_ok());
        assert!(me.memory().unwrap() > 100_000);
        assert!(Process(u32::MAX).cpu().is_err());
    }
}
