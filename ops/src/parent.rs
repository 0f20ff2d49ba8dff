//! A child of `chappe dev --processes` dies with its parent, however that ends.

use anyhow::{Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The environment variable in which the parent's process id is handed down.
pub(crate) const VARIABLE: &str = "CHAPPE_PARENT";

/// Has this process die with its parent, where it was started by one that wants that.
pub(crate) fn die_with() -> Result<()> {
    let Ok(parent) = std::env::var(VARIABLE) else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before the line above.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().to_string() != parent) {
        bail!("the process that started this one has ended ({VARIABLE} says that it was {parent})");
    }
    Ok(())
}
