//! `pinnace update`: the options are a table, as each is one field of
//! `linux.resources`.

use super::Verb;
use super::arguments::{Argument, Arguments};
use crate::container::{self, Change, Runtime};
use crate::error::{At, Context, Error, Result};
use crate::spec::{self, Resources, known};
use crate::sys::file::{explain, read_given, read_stream};
use rustix::fs::CWD;
use serde_json::{Map, Value};

/// How the value of an option is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes, with a unit, or -1.
    Size,
    /// A number.
    Number,
    /// As it stands.
    Text,
    /// A field of `linux.intelRdt`.
    Rdt,
    /// The whole object, in a file.
    File,
}

/// Usage, object and field of `linux.resources`, kind, help.
type Flag = (&'static str, &'static str, &'static str, Kind, &'static str);

/// The file first: the options are laid over it, and so win.
const FLAGS: [Flag; 19] = [
    ("-r, --resources FILE", "", "", Kind::File, "File with a linux.resources object, -: stdin"),
    ("--blkio-weight N", "blockIO", "weight", Kind::Number, "Weight of block I/O, 10 to 1000"),
    ("--cpu-period N", "cpu", "period", Kind::Number, "Length of a period in microseconds"),
    ("--cpu-quota N", "cpu", "quota", Kind::Number, "CPU time in a period, -1: no limit"),
    ("--cpu-burst N", "cpu", "burst", Kind::Number, "CPU time that may be saved up"),
    ("--cpu-share N", "cpu", "shares", Kind::Number, "Share of CPU time, 2 to 262144"),
    ("--cpu-rt-period N", "cpu", "realtimePeriod", Kind::Number, "Length of a real-time period"),
    ("--cpu-rt-runtime N", "cpu", "realtimeRuntime", Kind::Number, "Real-time part of it"),
    ("--cpu-idle N", "cpu", "idle", Kind::Number, "1: run only when nobody else wants to"),
    ("--cpuset-cpus LIST", "cpu", "cpus", Kind::Text, "CPUs to use, such as 0-3,7"),
    ("--cpuset-mems LIST", "cpu", "mems", Kind::Text, "Memory nodes to use"),
    ("--memory BYTES", "memory", "limit", Kind::Size, "Limit: bytes, or with k, m, g; -1: none"),
    ("--memory-reservation BYTES", "memory", "reservation", Kind::Size, "Memory it is left"),
    ("--memory-swap BYTES", "memory", "swap", Kind::Size, "Limit of memory and swap together"),
    ("--kernel-memory BYTES", "memory", "kernel", Kind::Size, "(obsolete)"),
    ("--kernel-memory-tcp BYTES", "memory", "kernelTCP", Kind::Size, "(obsolete)"),
    ("--pids-limit N", "pids", "limit", Kind::Number, "Limit of tasks, -1: none"),
    ("--l3-cache-schema LINE", "", "l3CacheSchema", Kind::Rdt, "Intel RDT: the L3 cache"),
    ("--mem-bw-schema LINE", "", "memBwSchema", Kind::Rdt, "Intel RDT: memory bandwidth"),
];

/// Arguments of `update`.
#[derive(Debug, Default)]
pub struct Update {
    given: [Vec<String>; FLAGS.len()],
    schemata: Vec<String>,
    id: String,
}

impl Arguments for Update {
    fn list(&mut self) -> Vec<Argument<'_>> {
        let options = FLAGS.iter().zip(&mut self.given);
        let mut list: Vec<_> = options
            .map(|(&(usage, .., help), value)| Argument::new(usage, help, &[], value))
            .collect();
        let help = "Intel RDT: a line for any resource; may be repeated";
        list.push(Argument::new("--schemata LINE", help, &[], &mut self.schemata));
        list.push(Argument::new("CONTAINER", "Name of the container", &[], &mut self.id));
        list
    }
}

impl Verb for Update {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let mut change = change(&self.given)?;
        // As the spec has it, and as engines of other versions need it, it is not in the way.
        for unknown in known::unknown(&change.document.to_string(), "linux.resources") {
            let file = self.given[0].last().map_or("", String::as_str);
            let told = unknown.told().at(format_args!("--resources {file}"));
            runtime.log.warning(&told.to_string());
        }
        if self.schemata.is_empty() && self.given.iter().all(Vec::is_empty) {
            let told = "update: no option is given: no limit is changed";
            runtime.log.warning(&format!("{told} (`pinnace update --help` lists them)"));
        }
        if !self.schemata.is_empty() {
            change.rdt["schemata"] = self.schemata.into();
        }
        container::update(runtime, &self.id, &change)?;
        Ok(0)
    }
}

fn change(given: &[Vec<String>]) -> Result<Change> {
    let mut change = Change::default();
    for (&(usage, object, field, kind, _), text) in FLAGS.iter().zip(given) {
        let Some(text) = text.last() else { continue };
        // As with the peers, who take a number alone for an error then.
        if text.is_empty() && !matches!(kind, Kind::Number) {
            continue;
        }
        let wrong = |what: &str| {
            let name = usage.split(' ').next().unwrap_or_default();
            Error::new(format!("{text:?} is no {what}")).at(name)
        };
        let value = match kind {
            Kind::Text => Value::from(text.as_str()),
            Kind::Size => size(text).ok_or_else(|| wrong("size such as 64m, or -1"))?.into(),
            Kind::Number => text.parse::<i64>().map_err(|_| wrong("number"))?.into(),
            Kind::Rdt => {
                change.rdt[field] = Value::from(text.as_str());
                continue;
            }
            Kind::File => {
                change.document = read(text)?;
                continue;
            }
        };
        let object = &mut change.options[object];
        if object.is_null() {
            *object = Value::Object(Map::new());
        }
        object[field] = value;
    }
    Ok(change)
}

/// Checked against the types at once, so that the message has the file's lines.
fn read(file: &str) -> Result<Value> {
    let text = match file {
        "-" => read_stream(rustix::stdio::stdin()),
        _ => read_given(CWD, file),
    };
    let text = text.call(|| format!("read {file}")).at(|| "--resources").map_err(explain)?;
    let name = format!("--resources {file}");
    spec::parse::<Resources>(&name, &text)?;
    spec::parse(&name, &text)
}

/// Bytes: `-1`, or a number, perhaps with a fraction, and a unit by powers of
/// 1024 (`k`, `m`, `g`, `t`, `p`, also `kb`, `KiB`), as Docker's `go-units`.
pub(super) fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.trim_start();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let bytes = 1_i128 << (10 * power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits than these can't change the result.
    let fraction = &fraction[..fraction.len().min(15)];
    let part = match fraction {
        "" => 0,
        digits => {
            bytes * digits.parse::<i64>().ok().map(i128::from)? / 10_i128.pow(digits.len() as u32)
        }
    };
    i64::try_from(i128::from(whole.parse::<i64>().ok()?) * bytes + part).ok()
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
            ("1.123456789p", 1_264_899_894_076_813),
            ("1.1234567890123456789t", 1_235_253_802_822),
            ("8191.999999999999999p", i64::MAX - 1),
        ] {
            assert_eq!(size(text), Some(want), "{text}");
        }
        for text in [
            "",
            "-2",
            "m",
            "1x",
            "1mm",
            "+1",
            "1e3",
            "9999999999g",
            "8192p",
            "9223372036854775808",
            ".",
            "1..5",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
