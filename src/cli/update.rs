//! `pinnace update`: the options are a table, as each is one field of
//! `linux.resources`.

use super::Verb;
use crate::container::{self, Runtime};
use crate::error::{Context, Error, Result};
use crate::spec::{self, Resources};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value};
use std::io::Read as _;

/// How the value of an option is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes, with a unit, or -1.
    Size,
    /// A number.
    Number,
    /// As it stands.
    Text,
    /// Intel RDT: no container has a class.
    Rdt,
}

/// Option, object and field of `linux.resources`, kind, help.
type Flag = (&'static str, &'static str, &'static str, Kind, &'static str);

const FLAGS: [Flag; 19] = [
    ("blkio-weight", "blockIO", "weight", Kind::Number, "Weight of block I/O, 10 to 1000"),
    ("cpu-period", "cpu", "period", Kind::Number, "Length of a period in microseconds"),
    (
        "cpu-quota",
        "cpu",
        "quota",
        Kind::Number,
        "CPU time in a period in microseconds, -1: no limit",
    ),
    ("cpu-burst", "cpu", "burst", Kind::Number, "CPU time that may be saved up"),
    ("cpu-share", "cpu", "shares", Kind::Number, "Share of CPU time, 2 to 262144"),
    ("cpu-rt-period", "cpu", "realtimePeriod", Kind::Number, "Length of a real-time period"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Kind::Number, "Real-time part of that period"),
    ("cpu-idle", "cpu", "idle", Kind::Number, "1: run only when nobody else wants to"),
    ("cpuset-cpus", "cpu", "cpus", Kind::Text, "CPUs to use, such as 0-3,7"),
    ("cpuset-mems", "cpu", "mems", Kind::Text, "Memory nodes to use"),
    ("memory", "memory", "limit", Kind::Size, "Limit of memory: bytes, with k, m or g, -1: none"),
    ("memory-reservation", "memory", "reservation", Kind::Size, "Memory that is left to it"),
    ("memory-swap", "memory", "swap", Kind::Size, "Limit of memory and swap together"),
    ("kernel-memory", "memory", "kernel", Kind::Size, ""),
    ("kernel-memory-tcp", "memory", "kernelTCP", Kind::Size, ""),
    ("pids-limit", "pids", "limit", Kind::Number, "Limit of tasks, -1: none"),
    ("l3-cache-schema", "", "", Kind::Rdt, "Intel RDT: schema of the L3 cache"),
    ("mem-bw-schema", "", "", Kind::Rdt, "Intel RDT: schema of memory bandwidth"),
    ("resources", "", "", Kind::Text, "File with a linux.resources object, -: standard input"),
];

/// Arguments of `update`.
pub struct Update {
    id: String,
    given: Vec<(Flag, String)>,
}

impl Args for Update {
    fn augment_args(command: Command) -> Command {
        let options = FLAGS.iter().map(|&(name, _, _, kind, help)| {
            let arg = Arg::new(name).long(name).help(help).hide(help.is_empty());
            let arg = if name == "resources" { arg.short('r') } else { arg };
            arg.allow_hyphen_values(true).value_name(match kind {
                Kind::Size => "BYTES",
                Kind::Number => "N",
                _ if name == "resources" => "FILE",
                _ => "LIST",
            })
        });
        let id =
            Arg::new("id").value_name("CONTAINER").required(true).help("Name of the container");
        command.args(options).arg(id)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Update {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let get = |name: &str| matches.get_one::<String>(name).cloned();
        let given = FLAGS.iter().filter_map(|flag| Some((*flag, get(flag.0)?)));
        Ok(Self { id: get("id").unwrap_or_default(), given: given.collect() })
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Verb for Update {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::update(runtime, &self.id, &change(&self.given)?)?;
        Ok(0)
    }
}

/// The file first, then the options, which so win.
fn change(given: &[(Flag, String)]) -> Result<Value> {
    let mut change = Value::Object(Map::new());
    if let Some((_, file)) = given.iter().find(|(flag, _)| flag.0 == "resources") {
        change = read(file)?;
    }
    for ((name, object, field, kind, _), text) in given.iter().filter(|(f, _)| f.0 != "resources") {
        let wrong = |what: &str| Error::new(format!("--{name}: {text:?} is no {what}"));
        let value = match kind {
            Kind::Text => Value::from(text.as_str()),
            Kind::Size => size(text).ok_or_else(|| wrong("size such as 64m, or -1"))?.into(),
            Kind::Number => text.parse::<i64>().map_err(|_| wrong("number"))?.into(),
            Kind::Rdt => {
                return Err(Error::new(format!("--{name}: the container has no linux.intelRdt")));
            }
        };
        if change[*object].is_null() {
            change[*object] = Value::Object(Map::new());
        }
        change[*object][*field] = value;
    }
    Ok(change)
}

/// Checked against the types at once, so that the message has the file's lines.
fn read(file: &str) -> Result<Value> {
    let mut text = Vec::new();
    match file {
        "-" => std::io::stdin().read_to_end(&mut text).map(drop),
        _ => std::fs::read(file).map(|read| text = read),
    }
    .call(|| format!("--resources: read {file}"))?;
    let name = format!("--resources {file}");
    spec::parse::<Resources>(&name, &text)?;
    spec::parse(&name, &text)
}

/// Bytes: `-1`, or a number, perhaps with a fraction, and a unit by powers of
/// 1024 (`k`, `m`, `g`, `t`, `p`, also `kb`, `KiB`), as Docker's `go-units`.
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.trim_start();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let bytes = 1_i64 << (10 * power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits than these can't change the result.
    let fraction = &fraction[..fraction.len().min(9)];
    let part = match fraction {
        "" => 0,
        digits => bytes.checked_mul(digits.parse().ok()?)? / 10_i64.pow(digits.len() as u32),
    };
    whole.parse::<i64>().ok()?.checked_mul(bytes)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        for (text, want) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("64k", 65_536),
            ("32M", 32 << 20),
            ("32 MiB", 32 << 20),
            ("1gb", 1 << 30),
            ("1.5g", 3 << 29),
            ("2b", 2),
        ] {
            assert_eq!(size(text), Some(want), "{text}");
        }
        for text in ["", "-2", "m", "1x", "1mm", "+1", "1e3", "9999999999g", ".", "1..5"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
