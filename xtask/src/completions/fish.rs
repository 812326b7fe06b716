//! fish: a line for each option and place, each with the condition under which it is meant.

use super::{Command, Opt, Program, What, signals};

/// What is sourced.
pub fn text(program: &Program) -> String {
    let mut text = program.head("fish");
    let names = program.commands.iter().filter(|command| !command.name.is_empty());
    let names: Vec<_> = names.map(|command| quoted(&command.name)).collect();
    let valued: Vec<_> = program.commands.iter().flat_map(valued).collect();
    text += &format!("\nset -g _PROGRAM_commands {}\n", names.join(" "));
    text += "# Options that have a value, behind their command.\n";
    text += &format!("set -g _PROGRAM_valued {}\n", valued.join(" "));
    text.push_str(FUNCTIONS);
    for command in &program.commands {
        text += &format!("\n{}", lines(program, command));
    }
    text.replace("@NAME@", program.name)
        .replace("_PROGRAM", &format!("__fish_{}", program.identifier()))
}

fn valued(command: &Command) -> Vec<String> {
    let with_value = command.options.iter().filter(|option| option.value.is_some());
    let names = with_value.flat_map(|option| {
        let short = option.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain(option.long.map(|name| format!("--{name}")))
    });
    names.map(|name| quoted(&format!("{} {name}", command.name))).collect()
}

fn lines(program: &Program, command: &Command) -> String {
    let mut text = String::new();
    let complete = |least: usize, most: &str| {
        let at = format!("_PROGRAM_at {} {least} {most}", quoted(&command.name));
        format!("complete -c {} -n \"{at}\"", program.name)
    };
    for (name, about) in &command.below {
        text += &format!("{} -a {name} -d {}\n", complete(0, "0"), quoted(about));
    }
    let places = &command.places;
    let most = places.rest.map_or("99".to_owned(), |place| (place - 1).to_string());
    for option in &command.options {
        text += &format!("{}{}\n", complete(0, &most), self::option(option));
    }
    for (place, what) in places.first.iter().enumerate() {
        if let Some(offer) = offer(what) {
            text += &format!("{}{offer}\n", complete(place, &place.to_string()));
        }
    }
    for offer in places.further.iter().filter_map(offer) {
        text += &format!("{}{offer}\n", complete(places.first.len(), "99"));
    }
    text
}

fn option(option: &Opt) -> String {
    let mut text = String::new();
    if let Some(letter) = option.short {
        text += &format!(" -s {letter}");
    }
    if let Some(name) = option.long {
        text += &format!(" -l {name}");
    }
    match &option.value {
        None => {}
        Some(What::File) => text.push_str(" -r -F"),
        Some(what) => {
            text += &format!(" -x{}", offer(what).unwrap_or_default());
        }
    }
    text += &format!(" -d {}", quoted(&option.help));
    text
}

fn offer(what: &What) -> Option<String> {
    let words = match what {
        What::Directory => "(__fish_complete_directories)".to_owned(),
        What::File => return Some(" -F".to_owned()),
        What::Container => "(_PROGRAM_run list --quiet)".to_owned(),
        What::Network => {
            "(_PROGRAM_run network ls | string match -r '^\\S+' | tail -n +2)".to_owned()
        }
        What::Image => "(_PROGRAM_run ls | string match -r '^\\S+' | tail -n +2)".to_owned(),
        What::Signal => signals(),
        What::Words(words) => words.join(" "),
        What::Anything => return None,
    };
    Some(format!(" -a {}", quoted(&words)))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const FUNCTIONS: &str = r#"
# The command of the line, how many words stand behind it that are no options, and the words before it.
function _PROGRAM_where
    set -l tokens (commandline -opc)
    set -l called $tokens[1]
    set -l command ''
    set -l count 0
    set -l has_value 0
    for word in $tokens[2..-1]
        set -l longer (string trim -- "$command $word")
        if test $has_value = 1
            set has_value 0
        else if string match -q -- '-*' $word
            contains -- "$command $word" $_PROGRAM_valued; and set has_value 1
        else if test $count = 0; and contains -- $longer $_PROGRAM_commands
            set command $longer
        else if test "$longer" != help
            set count (math $count + 1)
        end
        test -n "$command"; or test "$word" = help; or set -a called $word
    end
    printf '%s\n' "$command" $count $called
end

# Whether the command is COMMAND, and from LEAST to MOST words stand behind it.
function _PROGRAM_at -a command least most
    set -l where (_PROGRAM_where)
    test "$where[1]" = "$command"; and test $where[2] -ge $least; and test $where[2] -le $most
end

# The program as it is called here, with the options before the command.
function _PROGRAM_run
    set -l where (_PROGRAM_where)
    set -l called $where[3..-1]
    $called $argv 2>/dev/null
end

complete -c @NAME@ -f
"#;
