//! The six kinds of hooks (config.md, "POSIX-platform Hooks").

use super::Findings;
use super::findings::missing;
use crate::spec;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One program to run.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// argv; empty means the path alone.
    pub args: Vec<String>,
    /// The whole environment; `None` is that of the runtime, or of the process for a
    /// `startContainer` hook.
    pub env: Option<Vec<String>>,
    /// When to give up.
    pub timeout: Option<Duration>,
}

/// All hooks, in the order in which they are run.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Deprecated; before `create_runtime`.
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, before `pivot_root`.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before `pivot_root`.
    pub create_container: Vec<Hook>,
    /// In the container, before the user's program.
    pub start_container: Vec<Hook>,
    /// After the user's program has begun.
    pub poststart: Vec<Hook>,
    /// After delete.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// The six kinds by name, in the order of a container's life.
    pub fn all(&self) -> [(&'static str, &[Hook]); 6] {
        let [one, two, three, four, five, six] = KINDS;
        [
            (one, &self.prestart),
            (two, &self.create_runtime),
            (three, &self.create_container),
            (four, &self.start_container),
            (five, &self.poststart),
            (six, &self.poststop),
        ]
    }
}

/// The names of the six kinds.
pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Checks every hook.
pub fn plan(hooks: Option<&spec::Hooks>, findings: &mut Findings) -> Hooks {
    let Some(hooks) = hooks else { return Hooks::default() };
    let mut all = |kind: &str, list: &[spec::Hook]| -> Vec<Hook> {
        list.iter()
            .enumerate()
            .map(|(i, hook)| one(&format!("hooks.{kind}[{i}]"), hook, findings))
            .collect()
    };
    Hooks {
        prestart: all("prestart", &hooks.prestart),
        create_runtime: all("createRuntime", &hooks.create_runtime),
        create_container: all("createContainer", &hooks.create_container),
        start_container: all("startContainer", &hooks.start_container),
        poststart: all("poststart", &hooks.poststart),
        poststop: all("poststop", &hooks.poststop),
    }
}

fn one(field: &str, hook: &spec::Hook, findings: &mut Findings) -> Hook {
    if hook.path.is_empty() {
        findings.error(missing(format!("{field}.path"), "an absolute path"));
    } else if !Path::new(&hook.path).is_absolute() {
        findings.refuse(format_args!("{field}.path"), format!("{:?} is not absolute", hook.path));
    }
    if let Some(seconds) = hook.timeout.filter(|seconds| *seconds <= 0) {
        findings
            .refuse(format_args!("{field}.timeout"), format!("{seconds} is not greater than zero"));
    }
    let texts = [&hook.path].into_iter().chain(&hook.args).chain(hook.env.iter().flatten());
    if texts.into_iter().any(|text| text.contains('\0')) {
        findings.refuse(field, "contains a NUL character");
    }
    Hook {
        path: PathBuf::from(&hook.path),
        args: hook.args.clone(),
        env: hook.env.clone(),
        // A century, so that sums of them stay within what an `Instant` can hold.
        timeout: hook
            .timeout
            .map(|seconds| Duration::from_secs(seconds.unsigned_abs().min(u32::MAX.into()))),
    }
}
