//! `pinnace ps`: the host's ps(1), reduced to the container's processes.

use super::Verb;
use super::arguments::arguments;
use super::usage::print;
use crate::container::{self, Runtime};
use crate::error::{Context, Error, Result};
use crate::sys::signal;
use std::process::Command;

arguments! {
    /// Arguments of `ps`.
    pub struct Ps {
        /// Format of the output
        format: String = "-f, --format FORMAT" in ["table", "json"],
        /// Name of the container, then options for ps(1) [default: -ef]
        rest: Vec<String> = "CONTAINER [PS OPTION]...",
    }
}

impl Verb for Ps {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let (id, options) =
            self.rest.split_first().ok_or_else(|| Error::new("CONTAINER is missing"))?;
        let pids = container::pids(runtime, id)?;
        if self.format == "json" {
            let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
            print(&format!("[{}]\n", pids.join(",")))?;
            return Ok(0);
        }
        // ps(1) does not know the word that ends our own options.
        let options = options.strip_prefix(&["--".to_owned()]).unwrap_or(options);
        let default = ["-ef".to_owned()];
        let options = if options.is_empty() { &default[..] } else { options };
        // A caller who ignores SIGCHLD would have the kernel reap it.
        signal::take_over();
        let output = Command::new("ps").args(options).output().call(|| "run ps".into())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new(format!("ps {}: {}", options.join(" "), said.trim()))
                .hint("options for ps(1) stand behind CONTAINER, those of pinnace before it"));
        }
        print(&select(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
        Ok(0)
    }
}

/// The heading, and the lines whose column PID holds one of `pids`, which ascend.
fn select(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading
        .split_whitespace()
        .position(|word| word == "PID")
        .ok_or_else(|| Error::new("ps: the output has no column PID"))?;
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.binary_search(&pid).is_ok())
    };
    Ok([heading].into_iter().chain(lines.filter(ours)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn only_the_lines_of_the_container_stay() {
        let table = "UID  PID CMD\nroot   1 init\nroot  42 sleep 1\n";
        assert_eq!(select(table, &[42]).unwrap(), "UID  PID CMD\nroot  42 sleep 1\n");
        assert!(select("CMD\ninit\n", &[1]).is_err());
    }
}
