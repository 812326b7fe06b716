//! The configuration to begin with: what runc's `spec` writes, with today's masked paths.

use crate::error::{Error, Result};

/// As root.
const ROOT: &str = include_str!("template.json");

/// The configuration for this host.
///
/// # Errors
/// None in practice: the template is what this expects.
pub fn of(is_rootless: bool) -> Result<String> {
    let text = if is_rootless { rootless()? } else { ROOT.to_owned() };
    Ok(if is_unified() { with_cgroup_namespace(&text) } else { text })
}

/// Whether this host has cgroup v2 alone (statfs(2), `CGROUP2_SUPER_MAGIC`).
fn is_unified() -> bool {
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type as u64 == 0x6367_7270)
}

/// On v2 the container's own cgroup is the root of what it sees, as with runc.
fn with_cgroup_namespace(text: &str) -> String {
    let list = "\t\t\"namespaces\": [\n";
    let first = format!("{list}\t\t\t{{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}},\n");
    text.replacen(list, &first, 1)
}

/// The differences: a user namespace that maps the caller to root, no network
/// namespace (nobody could configure it), no group for terminals (it is not
/// mapped), `/sys` bound from the host, no limits.
fn rootless() -> Result<String> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let changes = [
        ("\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n", String::new()),
        (
            "\t\t\"namespaces\": [\n",
            format!(
                "\t\t\"uidMappings\": [\n{}\t\t],\n\t\t\"gidMappings\": [\n{}\t\t],\n\
                 \t\t\"namespaces\": [\n\t\t\t{{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}},\n",
                mapping(uid),
                mapping(gid)
            ),
        ),
        ("\t\t\t\t\"mode=0620\",\n\t\t\t\t\"gid=5\"\n", "\t\t\t\t\"mode=0620\"\n".into()),
        (
            "\t\t\t\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n",
            "\t\t\t\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\
             \t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n"
                .into(),
        ),
        (RESOURCES, String::new()),
    ];
    let mut text = ROOT.to_owned();
    for (from, to) in &changes {
        if !text.contains(from) {
            return Err(Error::new(format!("spec: the template has no {from:?}")));
        }
        text = text.replacen(from, to, 1);
    }
    Ok(text)
}

const RESOURCES: &str = "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\
    \t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t},\n";

fn mapping(host: u32) -> String {
    format!(
        "\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {host},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n"
    )
}

#[cfg(test)]
pub(crate) fn all() -> [String; 3] {
    [ROOT.to_owned(), rootless().unwrap_or_default(), with_cgroup_namespace(ROOT)]
}
