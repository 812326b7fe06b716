//! `linux.memoryPolicy` (config-linux.md, "Memory policy"; `set_mempolicy(2)`).

use super::Findings;
use super::findings::missing;
use super::mask::{self, Mask};
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;

/// What to pass to `set_mempolicy(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// The mode with its flags.
    pub mode: u32,
    /// The nodes; empty means none.
    pub nodes: Mask,
    /// Both as configured, for messages.
    pub shown: String,
}

/// What a mode says about nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// There must be none.
    None,
    /// None means the local node.
    Any,
    /// At least one.
    Some,
}

/// linux/mempolicy.h, with the rules of `set_mempolicy(2)`.
pub const MODES: [(&str, u32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

/// linux/mempolicy.h.
pub const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Checks mode, nodes and flags, and that they agree.
pub fn plan(policy: Option<&spec::MemoryPolicy>, findings: &mut Findings) -> Option<MemoryPolicy> {
    let policy = policy?;
    let flags = flags(policy, findings);
    let list = policy.nodes.as_deref().map(str::trim).filter(|list| !list.is_empty());
    let nodes = match list {
        Some(list) => mask::parse("linux.memoryPolicy.nodes", list, findings).unwrap_or_default(),
        None => Mask::new(),
    };
    let Some((name, mode, rule)) = MODES.iter().find(|(name, ..)| *name == policy.mode) else {
        let names = MODES.map(|(name, ..)| name);
        let known = format!("one of {}", names.join(", "));
        findings.error(if policy.mode.is_empty() {
            missing("linux.memoryPolicy.mode", &known)
        } else {
            Error::new(format!("unknown mode {:?}", policy.mode))
                .at("linux.memoryPolicy.mode")
                .guess(nearest(&policy.mode, names))
                .hint(known)
        });
        return None;
    };
    match rule {
        Nodes::None if list.is_some() => findings.refuse(
            "linux.memoryPolicy.nodes",
            format!("{name} takes no nodes (set_mempolicy(2))"),
        ),
        Nodes::Some if list.is_none() => findings.refuse(
            "linux.memoryPolicy.nodes",
            format!("{name} needs at least one node (set_mempolicy(2))"),
        ),
        _ => {}
    }
    let flag_names = policy.flags.join(" ");
    let shown = format!("{name}, nodes {:?}, flags {flag_names:?}", list.unwrap_or_default());
    Some(MemoryPolicy { mode: mode | flags, nodes, shown })
}

fn flags(policy: &spec::MemoryPolicy, findings: &mut Findings) -> u32 {
    let mut bits = 0;
    for (i, flag) in policy.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == flag) {
            Some((_, bit)) => bits |= bit,
            None => findings.error(
                Error::new(format!("unknown flag {flag:?}"))
                    .at(format_args!("linux.memoryPolicy.flags[{i}]"))
                    .guess(nearest(flag, FLAGS.map(|(name, _)| name)))
                    .hint(format!("one of {}", FLAGS.map(|(name, _)| name).join(", "))),
            ),
        }
    }
    let [(balancing, balance), (_, relative), (_, fixed)] = FLAGS;
    if bits & relative != 0 && bits & fixed != 0 {
        findings.refuse(
            "linux.memoryPolicy.flags",
            "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other",
        );
    }
    if bits & balance != 0 && !["MPOL_BIND", "MPOL_PREFERRED_MANY"].contains(&&*policy.mode) {
        findings.refuse(
            "linux.memoryPolicy.flags",
            format!("{balancing} goes with MPOL_BIND or MPOL_PREFERRED_MANY only"),
        );
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: &str, nodes: Option<&str>, flags: &[&str]) -> Result<MemoryPolicy, String> {
        let policy = spec::MemoryPolicy {
            mode: mode.into(),
            nodes: nodes.map(str::to_owned),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let mut findings = Findings::default();
        let planned = plan(Some(&policy), &mut findings);
        let (planned, _) = findings.finish(planned).map_err(|error| error.to_string())?;
        planned.ok_or_else(|| "nothing".into())
    }

    #[test]
    fn modes_flags_and_nodes_become_numbers() {
        let policy = of("MPOL_INTERLEAVE", Some("2-3"), &["MPOL_F_STATIC_NODES"]).unwrap();
        assert_eq!((policy.mode, policy.nodes), (3 | 1 << 15, vec![0xc]));
        for (mode, nodes, number) in [
            ("MPOL_DEFAULT", None, 0),
            ("MPOL_PREFERRED", None, 1),
            ("MPOL_PREFERRED", Some("0"), 1),
            ("MPOL_BIND", Some("0"), 2),
            ("MPOL_LOCAL", Some(""), 4),
            ("MPOL_PREFERRED_MANY", Some("0"), 5),
            ("MPOL_WEIGHTED_INTERLEAVE", Some("0"), 6),
        ] {
            assert_eq!(of(mode, nodes, &[]).unwrap().mode, number, "{mode}");
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_told_with_its_field() {
        let (mode, nodes, flags) =
            ("linux.memoryPolicy.mode", "linux.memoryPolicy.nodes", "linux.memoryPolicy.flags");
        for (field, result) in [
            (mode, of("MPOL_BEST", None, &[])),
            (mode, of("bind", Some("0"), &[])),
            (nodes, of("MPOL_DEFAULT", Some("0"), &[])),
            (nodes, of("MPOL_LOCAL", Some("0"), &[])),
            (nodes, of("MPOL_BIND", None, &[])),
            (nodes, of("MPOL_INTERLEAVE", Some(""), &[])),
            (nodes, of("MPOL_BIND", Some("0-x"), &[])),
            (flags, of("MPOL_BIND", Some("0"), &["MPOL_F_X"])),
            (flags, of("MPOL_INTERLEAVE", Some("0"), &["MPOL_F_NUMA_BALANCING"])),
            (flags, of("MPOL_BIND", Some("0"), &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"])),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
