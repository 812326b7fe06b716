//! `process.rlimits` (getrlimit(2)).

use super::Findings;
use super::findings::missing;
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;
use rustix::process::Resource;

/// One limit to set; `None` is `RLIM_INFINITY`.
#[derive(Debug, Clone, Copy)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// Its name, for messages.
    pub name: &'static str,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

const RESOURCES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// Checks every limit.
pub fn plan(limits: &[spec::Rlimit], findings: &mut Findings) -> Vec<Rlimit> {
    let mut planned: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (i, limit) in limits.iter().enumerate() {
        let field = format!("process.rlimits[{i}]");
        let Some((name, resource)) = RESOURCES.iter().find(|(name, _)| *name == limit.kind) else {
            let known = "one of the RLIMIT_* names of getrlimit(2)";
            findings.error(if limit.kind.is_empty() {
                missing(format!("{field}.type"), known)
            } else {
                let near = nearest(&limit.kind, RESOURCES.iter().map(|(name, _)| *name));
                let message = format!("unknown limit {:?}", limit.kind);
                Error::new(message).at(format_args!("{field}.type")).guess(near).hint(known)
            });
            continue;
        };
        if planned.iter().any(|other| other.name == *name) {
            findings.refuse(format_args!("{field}.type"), format!("{name} is listed twice"));
        }
        if limit.soft > limit.hard {
            findings.refuse(
                format_args!("{field}.soft"),
                format!("{} is above the hard limit {}", limit.soft, limit.hard),
            );
        }
        let finite = |value: u64| (value != u64::MAX).then_some(value);
        planned.push(Rlimit {
            resource: *resource,
            name,
            soft: finite(limit.soft),
            hard: finite(limit.hard),
        });
    }
    planned
}
