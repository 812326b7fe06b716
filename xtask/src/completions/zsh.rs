//! zsh: a call of `_arguments` for each command.

use super::{Command, Opt, Program, What, signals};

/// What is in a directory of `fpath`.
pub fn text(program: &Program) -> String {
    let mut text = format!("#compdef {}\n{}", program.name, program.head("zsh"));
    for command in &program.commands {
        text += &format!("\n{}", function(command));
    }
    text.push_str(FUNCTIONS);
    let text = text.replace("@SIGNALS@", &signals()).replace("@NAME@", program.name);
    text.replace("_PROGRAM", &format!("_{}", program.identifier()))
}

/// What completes the words of a command.
fn function(command: &Command) -> String {
    let mut text = format!("_PROGRAM{}() {{\n", suffix(&command.name));
    let mut specs: Vec<_> = command.options.iter().map(option).collect();
    if command.below.is_empty() {
        specs.extend(places(command));
        text += &format!("    _arguments -s -S \\\n        {}\n", specs.join(" \\\n        "));
    } else {
        text.push_str("    local context state state_descr line\n    typeset -A opt_args\n");
        if command.name.is_empty() {
            text.push_str("    typeset -g _PROGRAM_called=(${(Q)words[1]})\n");
        }
        specs.extend(["'1: :->command'".to_owned(), "'*:: :->argument'".to_owned()]);
        text += &format!(
            "    _arguments -s -S -C \\\n        {} && return\n",
            specs.join(" \\\n        ")
        );
        if command.name.is_empty() {
            text.push_str("    (( ! $+opt_args[--root] )) || _PROGRAM_called+=(--root ${(Q)opt_args[--root]})\n");
        }
        text.push_str(&commands(command));
    }
    text + "}\n"
}

/// The choice of a command, and the words behind it.
fn commands(command: &Command) -> String {
    let row =
        |(name, about): &(&str, &str)| quoted(&format!("{name}:{}", about.replace(':', "\\:")));
    let rows: Vec<_> = command.below.iter().map(row).collect();
    let mut text = format!("    local -a commands=(\n        {}\n    )\n", rows.join("\n        "));
    text.push_str("    case $state in\n    command) _describe command commands ;;\n    argument)\n        case $words[1] in\n");
    for (name, _) in &command.below {
        let whole = format!("{} {name}", command.name);
        text += &format!("        {name}) _PROGRAM{} ;;\n", suffix(whole.trim()));
    }
    if command.name.is_empty() {
        text.push_str("        help) _describe command commands ;;\n");
    }
    text + "        esac\n        ;;\n    esac\n"
}

fn suffix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("_{}", name.replace(' ', "_")) }
}

fn option(option: &Opt) -> String {
    let help = option.help.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
    let (equals, value) = match &option.value {
        None => ("", String::new()),
        Some(what) => ("=", format!(":value:{}", action(what))),
    };
    let rest = quoted(&format!("[{}]{value}", help.replace(':', "\\:")));
    // An option may be given again: the last one counts, or all do.
    let letter = option.short.map(|letter| format!("-{letter}{}", equals.replace('=', "+")));
    let name = option.long.map(|name| format!("--{name}{equals}"));
    match (letter, name) {
        (Some(letter), Some(name)) => format!("'*'{{{letter},{name}}}{rest}"),
        (letter, name) => format!("'*'{}{rest}", letter.or(name).unwrap_or_default()),
    }
}

fn places(command: &Command) -> Vec<String> {
    let places = &command.places;
    let at =
        |(place, what): (usize, &What)| quoted(&format!("{}:word:{}", place + 1, action(what)));
    let mut specs: Vec<_> = places.first.iter().enumerate().map(at).collect();
    if places.rest.is_some() {
        specs.push("'*::word: '".to_owned());
    } else if !places.further.is_empty() {
        let all: Vec<_> = places.further.iter().map(action).collect();
        let all = match all.as_slice() {
            [one] => one.clone(),
            _ => format!(
                "_alternative {}",
                all.iter().map(|a| format!("'words:word:{a}'")).collect::<Vec<_>>().join(" ")
            ),
        };
        specs.push(quoted(&format!("*:word:{all}")));
    }
    specs
}

fn action(what: &What) -> String {
    match what {
        What::Directory => "_files -/".to_owned(),
        What::File => "_files".to_owned(),
        What::Container => "_PROGRAM_names list --quiet".to_owned(),
        What::Network => "_PROGRAM_names network ls".to_owned(),
        What::Image => "_PROGRAM_names ls".to_owned(),
        What::Signal => "(@SIGNALS@)".to_owned(),
        What::Words(words) => format!("({})", words.join(" ")),
        What::Anything => " ".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const FUNCTIONS: &str = r#"
# The names that the program prints; a table has a line of titles.
_PROGRAM_names() {
    local -a names=(${${(f)"$($_PROGRAM_called $argv 2>/dev/null)"}%% *})
    [[ $argv[-1] == --quiet ]] || shift names
    compadd -- $names
}

_PROGRAM "$@"
"#;
