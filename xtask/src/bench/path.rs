//! A trace of a verb -> its critical path: the runtime and the container's process side by side.
//!
//! A trace has a line for each system call, as `hack/bench/path` lets bpftrace print it:
//! `@e[PROCESS, BEGIN]: (NUMBER, DURATION, RESULT)`, in nanoseconds. Of all pairs of a runtime and
//! the container's process the one whose verb took the median time is shown.

use clap::ValueEnum;
use std::collections::{BTreeMap, HashMap};

/// Calls and pauses between calls from this on have a line of their own, in nanoseconds.
const LONG: u64 = 30_000;
/// Of the runtime's column.
const WIDTH: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Call {
    begin: u64,
    number: u32,
    duration: u64,
    result: i64,
}

impl Call {
    fn end(self) -> u64 {
        self.begin + self.duration
    }
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// With the process that it makes.
    Create,
    /// With the process that it makes.
    Exec,
    /// With the process that the `create` before it has made.
    Start,
}

/// The path; `names` has a line for each system call, its number and its name.
pub fn text(verb: Verb, names: &str, trace: &str) -> Result<String, String> {
    let names: HashMap<u32, &str> = names
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(number, name)| Some((number.parse().ok()?, name)))
        .collect();
    let mut processes: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for (process, call) in trace.lines().filter_map(parse) {
        processes.entry(process).or_default().push(call);
    }
    processes.values_mut().for_each(|calls| calls.sort_by_key(|call| call.begin));
    let child = |calls: &[Call]| {
        let call = calls.iter().find(|call| names.get(&call.number) == Some(&"clone3"))?;
        u32::try_from(call.result).ok()
    };
    let made_by_others: Vec<u32> = processes.values().filter_map(|calls| child(calls)).collect();
    let mut pairs = Vec::new();
    for calls in processes.values() {
        let Some(made) = child(calls).and_then(|id| processes.get(&id)) else { continue };
        match verb {
            Verb::Create | Verb::Exec => pairs.push((calls.as_slice(), made.as_slice())),
            Verb::Start => {
                let end = calls[0].begin + length(calls);
                let later = processes
                    .iter()
                    .filter(|(id, calls)| !made_by_others.contains(id) && calls[0].begin > end);
                if let Some((_, start)) = later.min_by_key(|(_, calls)| calls[0].begin) {
                    pairs.push((start.as_slice(), made.as_slice()));
                }
            }
        }
    }
    pairs.sort_by_key(|(runtime, _)| length(runtime));
    let (runtime, process) =
        *pairs.get(pairs.len() / 2).ok_or("the trace has no such call with its process")?;
    Ok(draw(&names, runtime, process))
}

fn parse(line: &str) -> Option<(u32, Call)> {
    let mut numbers = line
        .split(|c: char| !c.is_ascii_digit() && c != '-')
        .filter(|part| !part.is_empty())
        .map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    let (process, begin, number, duration, result) = (next()?, next()?, next()?, next()?, next()?);
    let call = Call {
        begin: begin.try_into().ok()?,
        number: number.try_into().ok()?,
        duration: duration.try_into().ok()?,
        result,
    };
    Some((process.try_into().ok()?, call))
}

fn length(calls: &[Call]) -> u64 {
    calls.last().map_or(0, |last| last.end() - calls[0].begin)
}

fn draw(names: &HashMap<u32, &str>, runtime: &[Call], process: &[Call]) -> String {
    let (zero, end) = (runtime[0].begin, runtime[0].begin + length(runtime));
    // It may have waited for the runtime before that began.
    let process: Vec<Call> = process
        .iter()
        .filter(|call| call.end() >= zero)
        .map(|call| {
            let begin = call.begin.max(zero);
            Call { begin, duration: call.end() - begin, ..*call }
        })
        .collect();
    let left = steps(names, runtime).into_iter().map(|(at, step)| (at, step, String::new()));
    let right = steps(names, &process).into_iter().map(|(at, step)| (at, String::new(), step));
    let mut lines: Vec<_> = left.chain(right).filter(|(at, ..)| *at <= end).collect();
    lines.sort_by_key(|(at, ..)| *at);
    let mut text = format!("{:>6}  {:WIDTH$}process\n", "ms", "runtime");
    for (at, left, right) in lines {
        let line = format!("{:6.2}  {left:WIDTH$}{right}", (at - zero) as f64 / 1e6);
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// When, and what.
fn steps(names: &HashMap<u32, &str>, calls: &[Call]) -> Vec<(u64, String)> {
    let mut steps = Vec::new();
    let mut short: Vec<Call> = Vec::new();
    let flush = |short: &mut Vec<Call>, steps: &mut Vec<(u64, String)>| {
        if let [first, .., last] = short.as_slice() {
            let time = micros(last.end() - first.begin);
            steps.push((first.begin, format!("{} calls, {time}", short.len())));
        } else if let [only] = short.as_slice() {
            steps.push((only.begin, named(names, only)));
        }
        short.clear();
    };
    let mut before = calls.first().map_or(0, |first| first.begin);
    for call in calls {
        if call.begin - before >= LONG {
            flush(&mut short, &mut steps);
            steps.push((before, format!("(own work, {})", micros(call.begin - before))));
        }
        if call.duration >= LONG {
            flush(&mut short, &mut steps);
            steps.push((call.begin, named(names, call)));
        } else {
            short.push(*call);
        }
        before = call.end();
    }
    flush(&mut short, &mut steps);
    steps
}

fn named(names: &HashMap<u32, &str>, call: &Call) -> String {
    let number = call.number.to_string();
    format!("{}, {}", names.get(&call.number).unwrap_or(&number.as_str()), micros(call.duration))
}

fn micros(nanoseconds: u64) -> String {
    format!("{} us", nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::{Verb, text};

    const NAMES: &str = "0 read\n1 write\n435 clone3\n";

    #[test]
    fn runtime_and_process_stand_side_by_side() {
        let trace = "Attaching 3 probes...\n\n@e[7, 1000000]: (0, 5000, 0)\n\
            @e[7, 1010000]: (1, 5000, 0)\n@e[7, 1100000]: (435, 200000, 8)\n\
            @e[8, 1300000]: (0, 50000, 0)\n@e[7, 1310000]: (0, 90000, 0)\n\
            @e[8, 9900000]: (0, 50000, 0)\n@e[9, 1]: (0, 1, 0)\n";
        let path = "    ms  runtime                         process\n  \
            0.00  2 calls, 15 us\n  0.01  (own work, 85 us)\n  0.10  clone3, 200 us\n  \
            0.30                                  read, 50 us\n  0.31  read, 90 us\n  \
            0.35                                  (own work, 8550 us)\n";
        assert_eq!(text(Verb::Create, NAMES, trace).as_deref(), Ok(path));
    }

    #[test]
    fn start_stands_beside_the_process_of_the_create_before_it() {
        let trace = "@e[7, 1000000]: (435, 5000, 8)\n@e[8, 1010000]: (0, 2100000, 0)\n\
            @e[8, 3120000]: (1, 5000, 0)\n@e[9, 3000000]: (0, 90000, 0)\n\
            @e[9, 3100000]: (1, 70000, 0)\n";
        let path = "    ms  runtime                         process\n  \
            0.00  read, 90 us\n  0.00                                  read, 110 us\n  \
            0.10  write, 70 us\n  0.12                                  write, 5 us\n";
        assert_eq!(text(Verb::Start, NAMES, trace).as_deref(), Ok(path));
    }

    #[test]
    fn a_trace_without_a_child_is_none() {
        assert!(text(Verb::Exec, NAMES, "@e[7, 1]: (435, 2, -1)\n").is_err());
    }
}
