//! The NUMA policy of the new process.

use crate::error::{At, Context, Result};
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
        .call(|| format!("set_mempolicy({})", policy.shown))
        .at(|| "linux.memoryPolicy")
        .hint_on(Errno::NOSYS, || "this kernel has no NUMA support")
        .hint_on(
            Errno::INVAL,
            || "are the nodes online and in the cpuset, and does the kernel know the mode?",
        )
}
