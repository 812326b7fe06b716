//! Test programs and what becomes of their tests.

use super::list::{World, rows_of};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the tests of one mutation may take: a mutant may hang.
const LIMIT: Duration = Duration::from_secs(180);

/// The target of the black-box tests.
pub const BLACK_BOX: &str = "integration";

/// A test: the target that has it, and its name there.
pub type Test = (String, String);

/// What became of the tests of one run.
#[derive(Default)]
pub struct Outcome {
    pub red: BTreeSet<Test>,
    /// Those that said that this world cannot show it.
    pub skipped: BTreeSet<Test>,
    pub green: BTreeSet<Test>,
}

/// All tests that show rows, by row.
pub fn by_row(programs: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, BTreeSet<Test>>> {
    let mut rows = BTreeMap::<String, BTreeSet<Test>>::new();
    for (target, program) in programs {
        let output = Command::new(program).args(["--list", "--format=terse"]).output()?;
        ensure!(output.status.success(), "{}: {}", program.display(), output.status);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(name) = line.strip_suffix(": test") else { continue };
            for row in rows_of(name) {
                rows.entry(row.into()).or_default().insert((target.clone(), name.into()));
            }
        }
    }
    Ok(rows)
}

/// Runs `tests` of the program of `target`; the black-box ones on `runtime`.
pub fn run(
    program: &Path,
    target: &str,
    tests: &[&str],
    runtime: &Path,
    world: World,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if tests.is_empty() {
        return Ok(outcome);
    }
    let text = printed(command(program, target, tests, runtime, world))
        .with_context(|| program.display().to_string())?;
    let said: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once("skipped: ")?.1.split(": ").nth(1))
        .collect();
    // In the virtual machine each runs twice, by both cgroup drivers: one that fails is enough.
    let verdict = |word: &str| -> BTreeSet<&str> {
        let ended = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(word));
        ended.collect()
    };
    let (passed, failed) = (verdict(" ... ok"), verdict(" ... FAILED"));
    for &name in tests {
        let test = (target.to_owned(), name.to_owned());
        // What did not come to its end is red: the mutant hangs, or the program has died of it.
        let set = if failed.contains(name) || !passed.contains(name) {
            &mut outcome.red
        } else if said.contains(name) {
            &mut outcome.skipped
        } else {
            &mut outcome.green
        };
        set.insert(test);
    }
    Ok(outcome)
}

fn command(program: &Path, target: &str, tests: &[&str], runtime: &Path, world: World) -> Command {
    let around: &[&str] = match world {
        World::V2 => &[
            "unshare",
            "--mount",
            "--cgroup",
            "--propagation=private",
            "sh",
            "-c",
            "umount -R -l /sys/fs/cgroup && mount -t cgroup2 c /sys/fs/cgroup && exec \"$@\"",
            "sh",
        ],
        World::Vm => &["hack/vm", "exec", "/src/hack/vm-guest", "mutant"],
        World::Host => &[],
    };
    let mut all: Vec<OsString> = around.iter().map(OsString::from).collect();
    if world == World::Vm {
        // What the tests keep lies where they were built; the rest is shared as /src.
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shared = |path: &Path| Path::new("/src").join(path.strip_prefix(top).unwrap_or(path));
        let kept = program.ancestors().nth(3).unwrap_or(program).join("tmp");
        all.extend([kept.into(), shared(runtime).into(), shared(program).into()]);
    } else {
        all.push(program.into());
    }
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]).arg("--exact").args(tests);
    // With one thread libtest prints a name before its test runs, and what that says in between.
    command.arg("--test-threads=2").current_dir(env!("CARGO_MANIFEST_DIR"));
    if target == BLACK_BOX {
        command.env("RUNTIME", runtime);
    }
    command
}

/// Runs it in a process group of its own, which is killed when the time is over.
fn printed(mut command: Command) -> Result<String> {
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn()?;
    // It holds the ends that are written to.
    drop(command);
    let collect = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was printed until then counts, whatever ends it.
        let _end = reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    wait(&mut child)?;
    collect.join().ok().context("what it printed")
}

fn wait(child: &mut Child) -> Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let mut ended = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    if rustix::event::poll(&mut ended, Some(&limit))? == 0 {
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL)?;
    }
    child.wait()?;
    Ok(())
}
