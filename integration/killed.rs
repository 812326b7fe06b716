//! Whatever instruction `create` is killed at, `delete --force` leaves nothing;
//! and if it is init that is killed, `create` says so and leaves nothing itself.
//! Every system call is an instruction to be killed at: strace kills there.

use crate::harness::{Bundle, Call, Container, Output, is_pinnace, leftovers_of, needs, runtime};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// On a machine that is too slow for all points in that time, a part of them,
/// spread over the whole.
const TIME: Duration = Duration::from_secs(60);
const STRIDE: usize = 16;

/// `create` under strace.
fn create(c: &Container, flags: &[&str]) -> Output {
    Call::new("/usr/bin/strace")
        .args(["-qq", "-o"])
        .args([c.bundle.dir().join("trace")])
        .args(flags)
        .args([runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap(), "create", "--bundle"])
        .args([c.bundle.path().to_str().unwrap(), &c.id])
        .output_to(c.log("stdout"), c.log("stderr"))
        .run()
}

fn delete(c: &Container) {
    c.call(["delete", "--force", &c.id]).run().ok();
}

/// The n-th call of that name.
type Point = (String, usize);

/// All calls of a trace, which are those of one process.
fn calls<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Point> {
    let mut counts = HashMap::new();
    let name = |line: &str| Some(line.split_once('(')?.0.trim().to_owned());
    let whole = lines.filter(|line| !line.contains("resumed>")).filter_map(name);
    whole
        .map(|name| {
            let count = counts.entry(name.clone()).or_insert(0);
            *count += 1;
            (name, *count)
        })
        .collect()
}

/// Kills at each of the points, as many as there is time for, and returns what
/// `create` ended with.
fn kill_at(c: &Container, flag: &str, points: &[Point]) -> Vec<i32> {
    assert!(points.len() > 100, "{points:?}");
    let end = Instant::now() + TIME;
    let mut codes = Vec::new();
    let spread = (0..STRIDE).flat_map(|first| points.iter().skip(first).step_by(STRIDE));
    for (name, count) in spread.take_while(|_| Instant::now() < end) {
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let out = create(c, &[flag, "-e", &inject]);
        let left = || format!("killed at {name}, {count}. time: {:#?}", leftovers_of(c));
        // The creator was killed; or init, but only when it was ready.
        if [0, 128 + 9].contains(&out.code) {
            delete(c);
        }
        assert!(leftovers_of(c).is_empty(), "{}, {out:?}", left());
        codes.push(out.code);
    }
    println!("killed at {} of {} calls", codes.len(), points.len());
    assert!(codes.len() >= STRIDE, "killed at {} of {} calls only", codes.len(), points.len());
    codes
}

#[test]
fn create_killed_at_any_system_call_leaves_nothing() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    let c = Bundle::sleeper().namespace("cgroup", None).container();
    create(&c, &["-v"]).ok();
    delete(&c);
    let trace = fs::read_to_string(c.bundle.dir().join("trace")).unwrap();
    let points = calls(trace.lines());
    // But for the first, execve, which is strace's.
    let codes = kill_at(&c, "-v", &points[1..]);
    // How often it asks for news of init is not always the same.
    let killed = codes.iter().filter(|code| **code == 128 + 9).count();
    assert!(killed > codes.len() * 9 / 10, "not often killed: {codes:?}");
}

#[test]
fn init_killed_at_any_system_call_leaves_nothing() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    let c = Bundle::sleeper().container();
    // Init stays, and strace with it: so in the background.
    create(&c, &["-f", "-D"]).ok();
    delete(&c);
    let trace = fs::read_to_string(c.bundle.dir().join("trace")).unwrap();
    let creator = trace.split(' ').next().unwrap();
    let of_init = trace.lines().filter_map(|line| line.split_once(' '));
    let of_init = of_init.filter(|(pid, _)| *pid != creator).map(|(_, call)| call);
    let codes = kill_at(&c, "-f", &calls(of_init));
    let failed = codes.iter().filter(|code| ![0, 128 + 9].contains(*code)).count();
    // strace counts for each process, and some of the calls the creator makes first.
    assert!(failed > codes.len() / 3, "init was seldom killed: {codes:?}");
}
