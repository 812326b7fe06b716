//! `linux.intelRdt` (config-linux.md, "IntelRdt").

use super::Findings;
use crate::error::Error;
use crate::spec;

/// Where the container goes in the resctrl file system, and with what limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelRdt {
    /// The class.
    pub class: Class,
    /// Lines for `schemata` in the order in which they are to be written, each
    /// with its field.
    pub schemata: Vec<(String, String)>,
    /// Whether the container gets a monitoring group, which has its id.
    pub monitoring: bool,
}

/// The directory of a class of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// `closID` is unset: a new one with the container's id, removed with it.
    Own(String),
    /// That of `closID`; it outlives the container.
    Named(String),
    /// `closID` is `/`: the default class.
    Root,
}

/// Names in a resctrl group that are no classes (resctrl.rst).
const RESERVED: [&str; 3] = ["info", "mon_data", "mon_groups"];

/// Checks every field; `id` is the container's.
pub fn plan(rdt: Option<&spec::IntelRdt>, id: &str, findings: &mut Findings) -> Option<IntelRdt> {
    let rdt = rdt?;
    let class = match rdt.clos_id.as_deref().filter(|name| !name.is_empty()) {
        None => {
            if RESERVED.contains(&id) {
                findings.error(
                    Error::new(format!("is unset, and {id:?} is no class"))
                        .at("linux.intelRdt.closID")
                        .hint("resctrl uses this name itself"),
                );
            }
            Class::Own(id.to_owned())
        }
        Some("/") => Class::Root,
        Some(name) => {
            if let Some(why) = wrong(name) {
                findings.refuse("linux.intelRdt.closID", format!("{name:?} {why}"));
            }
            Class::Named(name.to_owned())
        }
    };
    Some(IntelRdt { class, schemata: schemata(rdt, findings), monitoring: rdt.enable_monitoring })
}

/// A class is one directory below the root, and nothing else is reached.
fn wrong(name: &str) -> Option<&'static str> {
    if name == "." || name == ".." || name.contains(['/', '\0', '\n']) {
        Some("is not the name of a directory")
    } else if name.len() > 255 {
        Some("is longer than 255 bytes")
    } else if RESERVED.contains(&name) {
        Some("is a name that resctrl uses itself")
    } else {
        None
    }
}

/// Lines for `schemata`, each with its field: `l3CacheSchema` first, `memBwSchema`
/// then, `schemata` last.
pub fn schemata(rdt: &spec::IntelRdt, findings: &mut Findings) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let field = |name: &str| format!("linux.intelRdt.{name}");
    if let Some(l3) = rdt.l3_cache_schema.as_deref().filter(|text| !text.is_empty()) {
        if !l3.starts_with("L3:") || l3.contains('\n') {
            findings.warn(
                Error::new("should begin with L3: and have no newline (config-linux.md, IntelRdt)")
                    .at(field("l3CacheSchema")),
            );
        }
        lines.push((field("l3CacheSchema"), l3.to_owned()));
    }
    if let Some(bandwidth) = rdt.mem_bw_schema.as_deref().filter(|text| !text.is_empty()) {
        if !bandwidth.starts_with("MB:") {
            findings.refuse(field("memBwSchema"), format!("{bandwidth:?} does not begin with MB:"));
        }
        lines.push((field("memBwSchema"), bandwidth.to_owned()));
    }
    for (i, line) in rdt.schemata.iter().enumerate() {
        lines.push((field(&format!("schemata[{i}]")), line.clone()));
    }
    for (field, line) in &lines {
        let newline = line.contains('\n') && !field.ends_with("l3CacheSchema");
        if newline || line.contains('\0') || line.trim().is_empty() {
            findings.refuse(field, format!("{line:?} is not one line"));
        }
    }
    lines
}
