//! From `argv` to an exit status: finds the command, builds its parser, runs it,
//! and prints the one error if there is one.

use super::global::Global;
use super::{COMMANDS, Entry};
use crate::error::{Context, Error, Result};
use crate::log::Log;
use crate::spec::OCI_VERSION;
use crate::sys::process::{close_on_exec_from, count_inherited};
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use std::ffi::OsString;

/// Runs the program; returns its exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let inherited_fds = match take_over_descriptors() {
        Ok(count) => count,
        Err(error) => {
            Log::default().error(&error);
            return 1;
        }
    };
    let args = two_dashes(args);
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            print(&error.to_string());
            return 0;
        }
        Err(error) => {
            Log::default().error(&explain(&error));
            return 1;
        }
    };
    if matches.get_flag("version") {
        print(&version());
        return 0;
    }
    let chosen = matches
        .subcommand()
        .and_then(|(name, rest)| Some((COMMANDS.iter().find(|entry| entry.name == name)?, rest)));
    let Some((entry, rest)) = chosen else {
        print(&command().render_help().to_string());
        return 1;
    };
    let global = match Global::from_arg_matches(&matches) {
        Ok(global) => global,
        Err(error) => {
            Log::default().error(&explain(&error));
            return 1;
        }
    };
    let runtime = match global.runtime(inherited_fds) {
        Ok(runtime) => runtime,
        Err((log, error)) => {
            log.error(&error);
            return entry.failure;
        }
    };
    match (entry.run)(rest, &runtime) {
        Ok(code) => code,
        Err(error) => {
            runtime.log.error(&error);
            entry.failure
        }
    }
}

/// What our caller has left open is nobody's but the container's, and only what
/// it is meant to have (`--preserve-fds`): no hook and no helper gets any of it.
fn take_over_descriptors() -> Result<u32> {
    let count = count_inherited();
    close_on_exec_from(3).call(|| "close_range".into())?;
    Ok(count)
}

fn command() -> Command {
    let version = Arg::new("version")
        .short('v')
        .long("version")
        .action(ArgAction::SetTrue)
        .help("Print the versions of the program and of the spec");
    let sub = |entry: &Entry| Command::new(entry.name).about(entry.about).defer(entry.arguments);
    Global::augment_args(Command::new("pinnace"))
        .about("A low-level OCI container runtime")
        .args_override_self(true)
        .arg(version)
        .subcommands(COMMANDS.iter().map(sub))
}

/// Callers that know Go's flags write `-no-subreaper` with one dash. What
/// follows the id of `exec` is the user's and stays as it is.
fn two_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut is_exec = false;
    let one = |arg: OsString| {
        is_exec |= arg == "exec";
        let long = arg.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|rest| {
            rest.len() > 3
                && rest.contains('-')
                && rest.starts_with(|c: char| c.is_ascii_lowercase())
        });
        if !long || is_exec {
            return arg;
        }
        let mut fixed = OsString::from("-");
        fixed.push(arg);
        fixed
    };
    args.into_iter().map(one).collect()
}

/// clap's many lines as one of ours.
pub(super) fn explain(error: &clap::Error) -> Error {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let message = match error.kind() {
        // podman looks for these words to see whether an option is known.
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{argument}: flag needs an argument")
        }
        ErrorKind::InvalidValue => {
            let valid = context(ContextKind::ValidValue);
            format!("{argument}: {value:?} is not one of {valid}")
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            format!("{argument}: {value:?}: {}", reason.unwrap_or_default())
        }
        ErrorKind::UnknownArgument => format!("{argument}: unknown flag or argument"),
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {:?}", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    };
    Error::new(message).hint("--help lists what there is")
}

fn version() -> String {
    let commit = option_env!("PINNACE_COMMIT").unwrap_or("unknown");
    format!(
        "pinnace version {}\ncommit: {commit}\nspec: {OCI_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Prints to stdout. A reader who has gone away wants no more.
pub(super) fn print(text: &str) {
    use std::io::Write as _;
    let _nobody_reads = std::io::stdout().write_all(text.as_bytes()).is_err();
}

/// A document as JSON on stdout.
pub(super) fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(document).map_err(|e| Error::new(format!("JSON: {e}")))?;
    print(&text);
    Ok(())
}
