//! The NUMA policy of the new process.

use crate::error::{Context, Result};
use crate::plan::MemoryPolicy;
use crate::sys::sched;
use rustix::io::Errno;

/// Sets the policy of this process; its children and its program inherit it.
///
/// # Errors
/// Those of `set_mempolicy(2)`.
pub fn apply(policy: Option<&MemoryPolicy>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    sched::set_memory_policy(policy.mode, &policy.nodes)
        .call(|| format!("linux.memoryPolicy: set_mempolicy({})", policy.shown))
        .map_err(|error| match error.errno() {
            Some(Errno::NOSYS) => error.hint("this kernel has no NUMA support"),
            Some(Errno::INVAL) => error
                .hint("are the nodes online and in the cpuset, and does the kernel know the mode?"),
            _ => error,
        })
}
