//! Paths inside the container, as text: they are resolved inside the root by
//! [`crate::rootfs`], never by joining them to a path of the host.

/// The path from `/` without empty, `.` and `..` components; `..` at the root
/// is the root, as in the container. A relative path is taken from `/`.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether the clean path `path` is `base` or lies under it.
pub fn is_under(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
