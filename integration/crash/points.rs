//! `points`: at every system call of every verb, the runtime or what it makes is killed, or the call
//! fails with each error that fits.

use super::at::{Act, Place, Trace};
use super::judge::{Fault, judge};
use super::names::{errno_of, name_of, number_of};
use super::report::Worker;
use super::run::{self, Started};
use super::verbs::{Trial, Verb, kinds};
use super::world::{Kind, World};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::time::Duration;

pub const OPTIONS: &[(&str, &str, &str)] = &[
    ("verbs", "V,..", "only these: create,start,run -d,run,exec,exec -d,kill,pause,resume,..."),
    ("bundles", "B,..", "default,rich"),
    ("modes", "M,..", "kill,fail,persist"),
    ("who", "W,..", "main,init,intermediate,both"),
    ("point", "POINT", "this one alone, as a failure names it"),
];

/// Where something is done, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub place: Place,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Kill(Vec<usize>),
    Fail(&'static str),
    Persist(&'static str),
}

/// `kill:0,1@0:openat.3`, `fail:EPERM@1:mount.2`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.what {
            What::Kill(whom) => {
                let whom: Vec<_> = whom.iter().map(usize::to_string).collect();
                write!(f, "kill:{}", whom.join(","))?;
            }
            What::Fail(error) => write!(f, "fail:{error}")?,
            What::Persist(error) => write!(f, "persist:{error}")?,
        }
        let Place { who, number, count } = self.place;
        write!(f, "@{who}:{}.{count}", name_of(number))
    }
}

impl Point {
    pub fn parse(text: &str) -> Result<Self> {
        let parts = || {
            let (what, place) = text.split_once('@')?;
            let (who, call) = place.split_once(':')?;
            let (name, count) = call.rsplit_once('.')?;
            let (who, count) = (who.parse().ok()?, count.parse().ok()?);
            let place = Place { who, number: number_of(name)?, count };
            let (how, which) = what.split_once(':')?;
            let error = || ALL.iter().find(|known| **known == which).copied();
            let what = match how {
                "kill" => {
                    What::Kill(which.split(',').map(|w| w.parse().ok()).collect::<Option<_>>()?)
                }
                "fail" => What::Fail(error()?),
                "persist" => What::Persist(error()?),
                _ => return None,
            };
            Some(Self { place, what })
        };
        parts().with_context(|| format!("{text}: no point"))
    }

    fn act(&self) -> Act {
        match &self.what {
            What::Kill(whom) => Act::Kill(whom.clone()),
            What::Fail(error) | What::Persist(error) => Act::Fail {
                errno: errno_of(error).unwrap_or(libc::EIO),
                persist: matches!(self.what, What::Persist(_)),
            },
        }
    }
}

const ALL: &[&str] =
    &["EPERM", "ENOENT", "EIO", "ENOMEM", "EMFILE", "ENOSPC", "EINTR", "EAGAIN", "ENOSYS"];

/// What cannot fail, or ends the process by its nature. Linux closes whatever close(2) answers: not to
/// do it would be another fault.
const NEVER: &[&str] = &[
    "exit",
    "exit_group",
    "rt_sigreturn",
    "set_tid_address",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "umask",
    "getppid",
    "arch_prctl",
    "rt_sigprocmask",
    "rt_sigaction",
    "getrandom",
    "close",
    "set_robust_list",
    "rseq",
    "restart_syscall",
    "alarm",
    "clock_gettime",
    "sigaltstack",
];
const MEMORY: &[&str] = &["mmap", "brk", "mremap", "mprotect", "munmap", "madvise"];
/// What takes a descriptor.
const OPENS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "socket",
    "socketpair",
    "accept",
    "accept4",
    "pipe2",
    "dup",
    "fcntl",
    "pidfd_open",
    "open_tree",
    "fsopen",
    "fsmount",
    "memfd_create",
    "signalfd4",
    "inotify_init1",
    "eventfd2",
    "epoll_create1",
    "recvmsg",
    "userfaultfd",
    "timerfd_create",
];
/// What a signal can end.
const WAITS: &[&str] = &[
    "read",
    "write",
    "pwrite64",
    "poll",
    "ppoll",
    "recvmsg",
    "sendmsg",
    "recvfrom",
    "sendto",
    "accept4",
    "accept",
    "waitid",
    "wait4",
    "connect",
    "flock",
    "openat",
    "openat2",
    "nanosleep",
    "clone3",
    "keyctl",
    "seccomp",
    "fsync",
];
/// What needs space on a file system.
const WRITES: &[&str] = &[
    "write",
    "pwrite64",
    "mkdir",
    "mkdirat",
    "openat",
    "openat2",
    "rename",
    "renameat",
    "renameat2",
    "symlinkat",
    "linkat",
    "mknodat",
    "bind",
    "add_key",
    "sendmsg",
    "ftruncate",
];
/// What old kernels, and old filters around us, do not know.
const NEW: &[&str] = &[
    "openat2",
    "clone3",
    "mount_setattr",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "pidfd_open",
    "pidfd_send_signal",
    "pidfd_getfd",
    "close_range",
    "faccessat2",
    "statx",
    "userfaultfd",
    "memfd_create",
    "execveat",
    "statmount",
    "listmount",
    "seccomp",
    "renameat2",
    "open_tree_attr",
];
/// Of these ENOENT is no answer: what they name is there, or has been taken away by somebody else.
const NAMES: &[&str] =
    &["connect", "renameat", "renameat2", "move_mount", "open_tree", "chdir", "linkat"];
/// Go's scheduler: never twice the same number of these.
const GO: &[&str] = &[
    "futex",
    "nanosleep",
    "sched_yield",
    "epoll_pwait",
    "epoll_ctl",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "madvise",
    "mmap",
    "munmap",
    "tgkill",
    "getpid",
    "gettid",
    "sigaltstack",
    "clock_gettime",
];

/// The errors that fit a call.
fn errors(name: &str) -> Vec<&'static str> {
    let is = |list: &[&str]| list.contains(&name);
    if is(NEVER) {
        return Vec::new();
    }
    if is(MEMORY) {
        return vec!["ENOMEM"];
    }
    let is_wait = ["read", "lseek", "fstat", "poll", "ppoll"].contains(&name);
    let can_wait_only = ["socket", "kill", "poll", "ppoll"].contains(&name);
    let forks = ["clone3", "fork", "clone", "vfork"].contains(&name);
    [
        ("EPERM", !is_wait),
        ("ENOENT", is(NAMES)),
        ("EIO", !can_wait_only),
        ("EAGAIN", forks),
        ("EMFILE", is(OPENS)),
        ("ENOSPC", is(WRITES)),
        ("EINTR", is(WAITS)),
        ("ENOSYS", is(NEW)),
        ("ENOMEM", forks || can_wait_only || !(is(OPENS) || is(WRITES))),
    ]
    .into_iter()
    .filter_map(|(error, fits)| fits.then_some(error))
    .collect()
}

/// The calls of a verb: who, number of the call, in order.
pub type Calls = Vec<(usize, i64)>;

/// Starts the verb under a tracer.
pub fn begin(world: &World, trial: &Trial, mut trace: Trace) -> Result<Started> {
    if trial.verb == Verb::Start {
        let (state, asked) = world.state(&trial.id)?;
        let pid = state.and_then(|state| i32::try_from(state["pid"].as_i64()?).ok());
        trace.attach = Some(pid.with_context(|| format!("no pid of init: {}", asked.brief()))?);
    }
    Ok(run::start(trial.command(world), &world.dir.join("verb"), Some(trace))?)
}

/// Lists the calls of a verb; without any fault it must do its work, and leave nothing.
fn list(world: &mut World, trial: &mut Trial) -> Result<Calls> {
    trial.before(world)?;
    let stay = Duration::from_millis(60);
    let mut ended = begin(world, trial, Trace { list: true, stay, ..Trace::default() })?.wait()?;
    let calls = std::mem::take(&mut ended.seen.calls);
    let wrong = judge(world, trial, &ended, Fault::default())?;
    ensure!(wrong.is_empty(), "without any fault: {wrong:?}");
    ensure!(!calls.is_empty(), "no calls: {ended:?}");
    Ok(calls)
}

/// The calls of a verb, which one worker lists for all of them.
pub fn listed(worker: &mut Worker, trial: &mut Trial, kind_name: &str) -> Result<Calls> {
    let path = worker.shared().join(format!("{} {kind_name}", trial.verb.name()));
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if !text.is_empty() {
        return Ok(serde_json::from_str(&text)?);
    }
    let calls = list(&mut worker.world, trial)?;
    file.write_all(serde_json::to_string(&calls)?.as_bytes())?;
    Ok(calls)
}

/// Who of the processes is init, or what `exec` makes; and who else does what we make it do, before that
/// one (`exec`) or for it (a hook of the container). Other hooks do little before they execute something.
fn ours(calls: &Calls, verb: Verb) -> (Option<usize>, Vec<usize>) {
    let mut counts = BTreeMap::new();
    for (who, _) in calls.iter().filter(|(who, _)| *who > 0) {
        *counts.entry(*who).or_insert(0) += 1;
    }
    // `exec` has no hooks, but a process at its end that does little, too.
    let is_last = matches!(verb, Verb::Exec | Verb::ExecDetached);
    let few = if is_last { 0 } else { 12 };
    let mut ours: Vec<usize> =
        counts.into_iter().filter(|(_, n)| *n > few).map(|(who, _)| who).collect();
    let init = if is_last { ours.last() } else { ours.first() }.copied();
    ours.retain(|who| Some(*who) != init);
    (init, ours)
}

/// A point, and of what group it is: `kill main`.
pub type Grouped = (String, Point);

/// All points of these calls.
pub fn points(
    calls: &Calls,
    verb: Verb,
    modes: &[&str],
    whom: &[&str],
    is_go: bool,
) -> Vec<Grouped> {
    let (init, intermediate) = ours(calls, verb);
    let mut counts: HashMap<(usize, i64), u32> = HashMap::new();
    let mut found = Vec::new();
    let mut init_is_there = false;
    for &(who, number) in calls {
        let count = counts.entry((who, number)).or_default();
        *count += 1;
        let place = Place { who, number, count: *count };
        init_is_there |= Some(who) == init;
        let name = name_of(number);
        let role = match who {
            0 => "main",
            _ if Some(who) == init => "init",
            _ if intermediate.contains(&who) => "intermediate",
            _ => continue,
        };
        if is_go && GO.contains(&name.as_str()) {
            continue;
        }
        let mut add = |mode: &str, role: &str, what| {
            if modes.contains(&mode) && whom.contains(&role) {
                found.push((format!("{mode} {role}"), Point { place, what }));
            }
        };
        add("kill", role, What::Kill(vec![who]));
        if let Some(init) = init.filter(|init| who == *init || who == 0 && init_is_there) {
            add("kill", "both", What::Kill(vec![0, init]));
            if who == 0 {
                add("kill", "init", What::Kill(vec![init]));
            }
        }
        for error in errors(&name) {
            add("fail", role, What::Fail(error));
            if error != "EINTR" {
                add("persist", role, What::Persist(error));
            }
        }
    }
    found
}

/// Tries one point: whether it was reached, and what is wrong.
fn one(world: &mut World, trial: &mut Trial, point: &Point) -> Result<(bool, Vec<String>)> {
    trial.before(world)?;
    let who = point.place.who;
    let stay = Duration::from_millis(if who > 0 { 100 } else { 0 });
    let at = Some((point.place, point.act()));
    let ended = begin(world, trial, Trace { at, stay, ..Trace::default() })?.wait()?;
    let name = name_of(point.place.number);
    let (killed, hit) = (matches!(point.what, What::Kill(_)), ended.seen.hit);
    let dies = |of: &dyn Fn(usize) -> bool| match &point.what {
        What::Kill(whom) => hit && whom.iter().any(|who| of(*who)),
        _ => false,
    };
    let fault = Fault {
        main_died: dies(&|who| who == 0),
        init_died: dies(&|who| who > 0),
        before_program: dies(&|died| died > 0 && died == who),
        init_failed: !killed && hit && who > 0,
        write_failed: !killed && hit && who == 0 && name == "write",
        persists: matches!(point.what, What::Persist(_)),
    };
    Ok((hit, judge(world, trial, &ended, fault)?))
}

/// What a worker does.
pub fn work(worker: &mut Worker) -> Result<()> {
    let options = worker.options;
    let lists = |name, default| options.get(name, default).split(',').collect::<Vec<_>>();
    let (modes, whom) = (lists("modes", "kill,fail"), lists("who", "main,init,intermediate,both"));
    let (verbs, kinds) =
        (Verb::of(options.get("verbs", "all"))?, kinds(options.get("bundles", "default,rich"))?);
    if let Some(text) = options.own.get("point") {
        let [verb] = verbs[..] else { bail!("--point: of which verb? (--verbs)") };
        let [(kind_name, kind)] = kinds[..] else { bail!("--point: which bundle? (--bundles)") };
        let set = Set { verb, kind_name, kind };
        let todo = vec![(String::from("point"), Point::parse(text)?)];
        return if worker.index == 0 { set.run(worker, todo) } else { Ok(()) };
    }
    let of_kind = |(kind_name, kind)| verbs.iter().map(move |&verb| Set { verb, kind_name, kind });
    let mut sets: Vec<_> = kinds.into_iter().flat_map(of_kind).collect();
    // Each worker begins elsewhere: it finds the calls of the later ones listed.
    let first = worker.index * sets.len() / options.jobs;
    sets.rotate_left(first);
    for set in sets {
        let (verb, kind_name) = (set.verb, set.kind_name);
        let why = match () {
            () if verb.needs_cgroup() && !worker.world.has_cgroups() => "needs a cgroup",
            () if worker.is_late() => "no time",
            () => "",
        };
        if !why.is_empty() {
            if worker.index == 0 {
                worker.skip(verb.name(), kind_name, why)?;
            }
            continue;
        }
        let mut trial = Trial::new(&worker.world, verb, set.kind);
        let calls = match listed(worker, &mut trial, kind_name) {
            Ok(calls) => calls,
            Err(error) => {
                let again = format!("points --verbs '{}' --bundles {kind_name}", verb.name());
                worker.tell(verb.name(), kind_name, vec![format!("{error:#}")], &again)?;
                worker.world.clean()?;
                continue;
            }
        };
        let mut todo = points(&calls, verb, &modes, &whom, !worker.world.is_pinnace());
        todo.retain(|(_, point)| worker.is_mine(&format!("{} {kind_name} {point}", verb.name())));
        // If time is short, what is tried is spread over the whole.
        todo.sort_by_cached_key(|(_, point)| super::report::hash(&point.to_string()));
        set.run(worker, todo)?;
    }
    Ok(())
}

/// One verb with one kind of bundle.
struct Set {
    verb: Verb,
    kind_name: &'static str,
    kind: Kind,
}

impl Set {
    fn run(&self, worker: &mut Worker, todo: Vec<Grouped>) -> Result<()> {
        let mut trial = Trial::new(&worker.world, self.verb, self.kind);
        let verb = self.verb.name();
        for (group, point) in todo {
            let group = format!("{verb}, {group}");
            let what = format!("{verb} {} {point}", self.kind_name);
            if worker.is_late() {
                worker.skip(&group, &what, "no time")?;
                continue;
            }
            let again =
                format!("points --verbs '{verb}' --bundles {} --point {point}", self.kind_name);
            match one(&mut worker.world, &mut trial, &point) {
                Ok((false, wrong)) if wrong.is_empty() => {
                    worker.skip(&group, &what, "not reached")?
                }
                Ok((_, wrong)) => worker.tell(&group, &what, wrong, &again)?,
                Err(error) => {
                    worker.tell(&group, &what, vec![format!("harness: {error:#}")], &again)?;
                    worker.world.clean()?;
                }
            }
        }
        Ok(())
    }
}
