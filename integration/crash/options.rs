//! The words after a sub-command, the count of what it tried, and the two bundles.

use crate::harness::{Bundle, json};
use std::time::{Duration, Instant};

/// `--NAME VALUE`, or `--NAME` alone; `end` is when `--seconds` are over.
pub struct Options {
    words: Vec<String>,
    end: Instant,
}

impl Options {
    pub fn new(words: Vec<String>) -> Self {
        let mut options = Self { words, end: Instant::now() };
        options.end += Duration::from_secs(options.number("seconds", 600) as u64);
        options
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word.trim_start_matches("--") == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    pub fn number(&self, name: &str, default: usize) -> usize {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("--{name} {text}: no number"));
        self.text(name).map_or(default, number)
    }

    pub fn end(&self) -> Instant {
        self.end
    }

    pub fn is_over(&self) -> bool {
        Instant::now() > self.end
    }

    /// `--bundle default|rich`, or both.
    pub fn bundles(&self) -> Vec<(&'static str, Bundle)> {
        let wanted = |kind: &str| self.text("bundle").is_none_or(|name| name == kind);
        let mut bundles = Vec::new();
        if wanted("default") {
            bundles.push(("default", Bundle::sleeper()));
        }
        if wanted("rich") {
            bundles.push(("rich", rich()));
        }
        bundles
    }
}

/// A user namespace, a filter, hooks of all kinds, limits, binds.
pub fn rich() -> Bundle {
    let bundle = Bundle::sleeper().user_namespace().namespace("cgroup", None);
    let data = bundle.dir().join("data");
    std::fs::create_dir(&data).unwrap();
    let hook = json!([{"path": "/bin/busybox", "args": ["busybox", "true"]}]);
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    kinds
        .iter()
        .fold(bundle, |bundle, kind| bundle.set(&format!("/hooks/{kind}"), hook.clone()))
        .set("/linux/resources/memory", json!({"limit": 256 << 20}))
        .set("/linux/resources/pids", json!({"limit": 100}))
        .set("/linux/resources/cpu", json!({"shares": 512, "quota": 90000, "period": 100_000}))
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["swapon", "reboot"], "action": "SCMP_ACT_ERRNO"}]}),
        )
        .bind(&data, "/data", &["rbind", "rw"])
        .bind(&data, "/ro", &["bind", "ro", "nosuid"])
        .mount("tmpfs", "tmpfs", "/tmp", &["size=1m"])
}

/// What was tried. Each failure is printed as it is found, with what repeats it.
#[derive(Debug, Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    pub fn fail(&mut self, what: &str, repeat: &str) {
        self.failed += 1;
        println!("FAILED {what}\n    repeat: {repeat}");
    }

    pub fn skip(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        println!("skipped {what}: {why}");
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The last line.
    pub fn end(&self) -> std::process::ExitCode {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        std::process::ExitCode::from(u8::from(self.failed > 0))
    }
}
