//! `events`: the numbers in runc's shape, the stream and its end.

use crate::harness::{Bundle, Container, Running, Value, deviates, exits, json, read_until};
use std::fs::File;
use std::os::fd::OwnedFd;

fn stats(c: &Container) -> Value {
    serde_json::from_str(c.call(["events", "--stats", &c.id]).run().ok()).unwrap()
}

/// A stream, and the end of the pipe where it comes out.
fn stream(c: &Container, interval: &str) -> (Running, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stderr = tempfile::tempfile().unwrap();
    let call = c.call(["events", "--interval", interval, &c.id]);
    (call.output_to(File::from(writer), stderr).spawn(), reader)
}

#[test]
fn r371_one_record() {
    let c = Bundle::sh(
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=5 2>/dev/null; echo > /ready; sleep 1000",
    )
    .set("/linux/resources/memory", json!({"limit": 64 << 20}))
    .set("/linux/resources/pids", json!({"limit": 33}))
    .container()
    .up_and_ready();
    let record = stats(&c);
    assert_eq!((&record["type"], &record["id"]), (&json!("stats"), &json!(c.id)));
    let data = &record["data"];
    let number = |path: &str| data.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    assert_eq!(number("/memory/usage/limit"), 64 << 20);
    assert!((5 << 20..64 << 20).contains(&number("/memory/usage/usage")), "{data}");
    assert!(number("/memory/cache") >= 5 << 20, "{data}");
    assert!(number("/cpu/usage/total") > 0, "{data}");
    assert!(data["cpu"]["usage"]["kernel"].is_u64() && data["cpu"]["usage"]["user"].is_u64());
    assert_eq!(number("/pids/limit"), 33);
    assert!(number("/pids/current") > 0, "{data}");
    assert!(data["memory"]["raw"].is_object() && data["cpuset"].is_object());
    for name in ["blkio", "hugetlb", "intel_rdt"] {
        assert!(data[name].is_object(), "{name}");
    }
    assert!(data.get("network_interfaces").is_some_and(Value::is_null));
}

#[test]
fn r371_of_what_is_not_running() {
    let c = Bundle::sleeper().container().up();
    c.call(["events", "--stats", "nobody"]).run().is_unknown();
    c.call(["events", "--interval", "0s", &c.id]).run().fails_with(&["interval"]);
    c.call(["events", "--interval", "5", &c.id]).run().fails_with(&["interval"]);
    c.stop();
    c.call(["events", "--stats", &c.id]).run().fails_with(&["not running"]);
}

#[test]
fn r369_r370_a_stream_ends_with_the_container() {
    let c = Bundle::sleeper().container().up();
    let (running, reader) = stream(&c, "50ms");
    for _ in 0..3 {
        let line = read_until(&reader, "\n");
        let record: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
        assert_eq!(record["type"], "stats");
    }
    deviates!("runc", "R369: 1.1.5 ends only on the end of its cgroup, at the delete");
    // On a slow machine the pipe may fill before the end, and hold the stream up.
    std::thread::spawn(move || std::io::copy(&mut File::from(reader), &mut std::io::sink()));
    c.stop();
    assert!(exits(running.pid()), "the stream goes on");
    running.wait();
}

#[test]
fn r369_a_stream_ends_with_its_reader() {
    let c = Bundle::sleeper().container().up();
    let (running, reader) = stream(&c, "1h");
    drop(reader);
    deviates!("runc", "R369: it sees the end of its reader only when it writes");
    assert!(exits(running.pid()), "the stream goes on");
}

#[test]
fn r369_lack_of_memory_is_told() {
    let script = "read x < /go; dd if=/dev/zero of=/dev/shm/x bs=1M count=60; sleep 1000";
    let bundle = Bundle::sh(script)
        .set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
    let fifo = bundle.rootfs("go");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0)
        .unwrap();
    let c = bundle.container().up();
    let (running, reader) = stream(&c, "100ms");
    // With its first record it surely listens.
    read_until(&reader, "\n");
    std::fs::write(&fifo, "\n").unwrap();
    let said = read_until(&reader, "\"oom\"") + &read_until(&reader, "\n");
    assert!(said.contains(&format!(r#"{{"type":"oom","id":"{}""#, c.id)), "{said}");
    c.stop();
    drop(reader);
    running.wait();
}
