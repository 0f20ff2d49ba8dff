//! What the system gives this process, and what it has used of it.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// Cores that the process may use: what affinity and a control group leave of the machine's.
pub(crate) fn cores() -> u16 {
    std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX))
}

/// Bytes of memory that the process may use: the lowest limit of its control groups (cgroup v2), if any.
pub(crate) fn memory_limit() -> Option<u64> {
    memory_limit_in(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn memory_limit_in(root: &Path, own: &str) -> Option<u64> {
    // `0::/system.slice/chappe.service`
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| -> Option<u64> {
        let text = fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        text.trim().parse().ok() // `max` is none
    };
    Path::new(path).ancestors().filter_map(limit).min()
}

/// File descriptors in use; zero where /proc is not to be read.
pub(crate) fn files() -> u32 {
    let told = fs::metadata("/proc/self/fd").map_or(0, |meta| meta.len());
    // Before Linux 6.2 a directory of /proc has no size.
    let count = if told > 0 {
        told
    } else {
        fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// File descriptors that the process may have.
pub(crate) fn files_limit() -> u32 {
    getrlimit(Resource::Nofile).current.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

/// Resident memory of this process in bytes; zero where /proc is not to be read.
pub(crate) fn rss() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/chappe.service");
        fs::create_dir_all(&group).unwrap();
        let of = || memory_limit_in(root.path(), "1:name=x:/y\n0::/system.slice/chappe.service\n");
        assert_eq!(of(), None);
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(of(), None);
        fs::write(root.path().join("system.slice/memory.max"), "1000\n").unwrap();
        assert_eq!(of(), Some(1000));
        fs::write(group.join("memory.max"), "2000\n").unwrap();
        assert_eq!(of(), Some(1000));
    }

    #[test]
    fn a_process_uses_memory_and_files() {
        assert!(rss() > 100_000 && cores() > 0);
        let before = files();
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close some meanwhile.
        assert!(files() + 20 > before + 50, "{before} and {}", files());
        drop(held);
        assert!(files_limit() > before);
    }
}
