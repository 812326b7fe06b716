//! What the caller typed.

use super::Suite;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const COMMON: &[(&str, &str, &str)] = &[
    ("share", "K/N", "only the Kth of N shares (from 0), spread over the whole"),
    ("seconds", "S", "what is not begun by then counts as skipped"),
    ("jobs", "N", "workers side by side (2)"),
    ("limit", "S", "what takes longer hangs (10): more on a slow machine"),
    ("report", "FILE", "write each result there, a line of JSON each"),
    ("runtime", "PATH", "the program under test (bin/pinnace)"),
    ("driver", "NAME", "cgroupfs or systemd"),
    ("v2", "", "in a mount namespace where cgroup v2 is all there is"),
    ("rootless", "", "called by an ordinary user: with a driver one who has cgroups of systemd's"),
];

/// See COMMON.
#[derive(Debug, Default)]
pub struct Options {
    pub share: (u64, u64),
    pub time: Option<Duration>,
    pub jobs: usize,
    pub report: Option<PathBuf>,
    pub runtime: Option<String>,
    pub driver: Option<String>,
    pub v2: bool,
    pub rootless: bool,
    /// This process is that worker.
    pub worker: Option<usize>,
    /// The options of the suite.
    pub own: BTreeMap<String, String>,
}

impl Options {
    /// The suite and its options; the error is what to tell the caller.
    pub fn parse<'a>(suites: &'a [Suite], words: &[String]) -> Result<(&'a Suite, Self), String> {
        let name = words.first().map_or("", String::as_str);
        let Some(suite) = suites.iter().find(|suite| suite.name == name) else {
            return Err(help(suites));
        };
        let mut options = Self { share: (0, 1), jobs: 2, ..Self::default() };
        let mut rest = words[1..].iter();
        while let Some(word) = rest.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("what is {word}?"))?;
            let known = COMMON.iter().chain(suite.options).find(|(known, ..)| *known == name);
            let value = match known {
                Some((_, "", _)) => "",
                None if name != "worker" => {
                    return Err(format!("no option --{name}\n{}", help(suites)));
                }
                _ => rest.next().ok_or_else(|| format!("--{name}: the value is missing"))?,
            };
            options.set(name, value).ok_or_else(|| format!("--{name} {value}: wrong"))?;
        }
        if suite.is_alone {
            options.jobs = 1;
        }
        Ok((suite, options))
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "share" => {
                let (which, of) = value.split_once('/')?;
                let of = of.parse().ok().filter(|of| *of > 0)?;
                // So that a number that only grows, such as a date, may be given.
                self.share = (which.parse::<u64>().ok()? % of, of);
            }
            "seconds" => self.time = Some(Duration::from_secs(value.parse().ok()?)),
            "limit" => {
                let limit = Duration::from_secs(value.parse().ok().filter(|limit| *limit > 0)?);
                super::at::LIMIT.set(limit).ok()?;
            }
            "jobs" => self.jobs = value.parse().ok().filter(|jobs| *jobs > 0)?,
            "report" => self.report = Some(value.into()),
            "runtime" => self.runtime = Some(value.into()),
            "driver" => self.driver = Some(value.into()),
            "v2" => self.v2 = true,
            "rootless" => self.rootless = true,
            "worker" => self.worker = Some(value.parse().ok()?),
            _ => drop(self.own.insert(name.into(), value.into())),
        }
        Some(())
    }

    /// The value of an option of the suite.
    pub fn get<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.own.get(name).map_or(default, String::as_str)
    }

    /// The same, a number.
    pub fn number(&self, name: &str, default: u64) -> anyhow::Result<u64> {
        let Some(text) = self.own.get(name) else { return Ok(default) };
        text.parse().map_err(|error| anyhow::anyhow!("--{name} {text}: {error}"))
    }

    /// The words that choose the same world and program: to repeat something.
    pub fn again(&self) -> String {
        let mut words = String::new();
        for (name, value) in [("runtime", &self.runtime), ("driver", &self.driver)] {
            if let Some(value) = value {
                words += &format!(" --{name} {value}");
            }
        }
        words + if self.v2 { " --v2" } else { "" } + if self.rootless { " --rootless" } else { "" }
    }
}

fn help(suites: &[Suite]) -> String {
    let mut text = "Usage: crash SUITE [OPTION]...\n".to_owned();
    let mut add = |options: &[(&str, &str, &str)]| {
        for (name, value, about) in options {
            text += &format!("      {:24} {about}\n", format!("--{name} {value}"));
        }
    };
    add(COMMON);
    for suite in suites {
        text += &format!("  {:8} {}\n", suite.name, suite.about);
        for (name, value, about) in suite.options {
            text += &format!("      {:24} {about}\n", format!("--{name} {value}"));
        }
    }
    text + "  summary  tables of the files of --report: summary WORLD=FILE...\n"
}
