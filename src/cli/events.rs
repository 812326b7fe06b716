//! `pinnace events`.

use super::Verb;
use super::arguments::arguments;
use super::usage::print;
use crate::container::{self, Runtime};
use crate::error::{Error, Result};
use std::time::Duration;

arguments! {
    /// Arguments of `events`.
    pub struct Events {
        /// Time between two records, such as 500ms or 1m30s [default: 5s]
        interval: Option<String> = "--interval DURATION",
        /// Print one record of what the container uses, and end
        stats: bool = "--stats",
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Verb for Events {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let interval = self.interval.as_deref().unwrap_or("5s");
        let interval = duration(interval).filter(|time| !time.is_zero()).ok_or_else(|| {
            Error::new(format!("{interval:?} is no duration greater than 0"))
                .at("--interval")
                .hint("such as 500ms or 1m30s")
        })?;
        if self.stats {
            print(&container::stats(runtime, &self.id)?)?;
        } else {
            let reader = rustix::stdio::stdout();
            container::events(runtime, &self.id, interval, reader, print)?;
        }
        Ok(0)
    }
}

/// Go's `time.ParseDuration`: numbers, perhaps with a fraction, each with a
/// unit. A sign is of no use here.
fn duration(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut part = unit;
        for digit in fraction.bytes().take(9) {
            part /= 10;
            total = total.checked_add(u64::from(digit.checked_sub(b'0')?) * part)?;
        }
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(total))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in
            [("5s", 5_000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000), (".25s", 250)]
        {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1.2.3s", ".s", "5s ", "99999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
