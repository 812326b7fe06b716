//! `run`: create, start, stay with it, delete.

use super::foreground::Foreground;
use super::notify::Relay;
use super::serve::WaitLimit;
use super::{Created, Runtime, Settings, create, start};
use crate::error::{Context, Result};
use crate::spec::Status;
use crate::sys::signal;

/// How `run` goes on once the program runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Return at once; the container lives on.
    pub detach: bool,
    /// Leave the stopped container to be looked at.
    pub keep: bool,
    /// Do not adopt the container's orphans.
    pub no_subreaper: bool,
}

/// Runs a container; returns the exit status of its program, 128 plus the
/// number for one that a signal ended.
///
/// # Errors
/// Those of create and start; nothing is left then.
pub fn run(runtime: &Runtime, settings: &Settings, options: RunOptions) -> Result<i32> {
    if !options.detach && !options.no_subreaper {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .call(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
    }
    let mut created = create(runtime, settings)?;
    // Before the program runs: it may ask for the size of its terminal at once.
    let master = created.master.take();
    let foreground = Relay::open(&created.dir, &runtime.log)
        .and_then(|relay| Foreground::new(&created.signals, master, relay));
    let hooks = &created.plan.hooks;
    let begun = foreground.and_then(|foreground| {
        let wait_limit = WaitLimit::new(Some(&created.signals), &hooks.start_container);
        let container = (&created.record, Status::Creating);
        created.process.start(container, created.receiver.as_ref(), wait_limit, &runtime.log)?;
        Ok(foreground)
    });
    let foreground = match begun {
        Ok(foreground) => foreground,
        Err(error) => return Err(created.give_up(runtime, error)),
    };
    let (dir, record, init) = (&created.dir, &created.record, created.process.lend());
    start::after(dir, record, init, hooks, runtime, Some(&created.signals))?;
    let lasted = if options.detach {
        leave(&created, foreground)
    } else {
        foreground.stay(&created.process.child)
    };
    // Nobody would supervise it any more.
    let code = lasted.map_err(|error| created.give_up(runtime, error))?;
    if !options.detach && !options.keep {
        created.destroy(runtime)?;
    }
    Ok(code)
}

/// Goes once the container is ready.
fn leave(created: &Created, foreground: Foreground<'_>) -> Result<i32> {
    if let Some(relay) = foreground.relay {
        relay.until_ready(created.process.lend(), Some(&created.signals))?;
    }
    signal::set_mask(&created.caller_mask).call(|| "sigprocmask".into())?;
    Ok(0)
}
