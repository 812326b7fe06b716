//! bash: a function with the table, and one that walks along the words with it.

use super::{Command, Program, What, signals};

/// What is sourced.
pub fn text(program: &Program) -> String {
    let mut text = program.head("bash") + "# shellcheck shell=bash\n";
    text += &format!("\n{TABLE}");
    program.commands.iter().for_each(|command| text.push_str(&table(command)));
    text.push_str("    *) return 1 ;;\n    esac\n}\n");
    text.push_str(DRIVER);
    let text = text.replace("@SIGNALS@", &signals()).replace("@NAME@", program.name);
    text.replace("_PROGRAM", &format!("_{}", program.identifier()))
}

/// The variables of a command, where they are not empty.
fn table(command: &Command) -> String {
    let mut text = format!("    '{}')\n", command.name);
    let below: Vec<_> = command.below.iter().map(|(name, _)| *name).collect();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() && value != "()" {
            text += &format!("        {name}={value}\n");
        }
    };
    let quoted = |text: String| if text.is_empty() { text } else { format!("'{text}'") };
    set("commands", quoted(below.join(" ")));
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for option in &command.options {
        let short = option.short.map(|letter| format!("-{letter}"));
        let both: Vec<_> = short.into_iter().chain(option.long.map(|l| format!("--{l}"))).collect();
        if let Some(what) = &option.value {
            values.extend(both.iter().map(|name| format!("[{name}]='{}'", word(what))));
        }
        names.extend(both);
    }
    set("options", quoted(names.join(" ")));
    set("values", format!("({})", values.join(" ")));
    let first: Vec<_> =
        command.places.first.iter().map(|what| format!("'{}'", word(what))).collect();
    set("places", format!("({})", first.join(" ")));
    let further: Vec<_> = command.places.further.iter().map(word).collect();
    set("further", quoted(further.join(" ")));
    set("rest", command.places.rest.map(|place| place.to_string()).unwrap_or_default());
    text + "        ;;\n"
}

/// Words as they are; what has to be looked for begins with a colon.
fn word(what: &What) -> String {
    match what {
        What::Directory => ":directory".to_owned(),
        What::File => ":file".to_owned(),
        What::Container => ":container".to_owned(),
        What::Network => ":network".to_owned(),
        What::Image => ":image".to_owned(),
        What::Signal => ":signal".to_owned(),
        What::Words(words) => words.join(" "),
        What::Anything => String::new(),
    }
}

const TABLE: &str = r#"# The table of a command, in variables of the caller: what may stand below it, its options, those with a value and what
# that is, what stands at each place, what at each further one, and the place from which on all words are another program's.
# shellcheck disable=SC2034
_PROGRAM_table() {
    commands='' options='' values=() places=() further='' rest=''
    case $1 in
"#;

const DRIVER: &str = r#"
# Offers what begins with the word.
_PROGRAM_offer() {
    local what found
    for what; do
        found=()
        case $what in
        :directory | :file)
            compopt -o filenames 2>/dev/null || :
            mapfile -t found < <(if [ "$what" = :file ]; then compgen -f -- "$word"; else compgen -d -- "$word"; fi)
            ;;
        :container) what=$("${called[@]}" list --quiet 2>/dev/null) ;;
        :network) what=$("${called[@]}" network ls 2>/dev/null | while read -r what _; do echo "$what"; done | tail -n +2) ;;
        :image) what=$("${called[@]}" ls 2>/dev/null | while read -r what _; do echo "$what"; done | tail -n +2) ;;
        :signal) what='@SIGNALS@' ;;
        esac
        [[ $what == :* ]] || mapfile -t found < <(compgen -W "$what" -- "$word")
        COMPREPLY+=("${found[@]}")
    done
}

_PROGRAM() {
    local word=${COMP_WORDS[COMP_CWORD]} called=("${COMP_WORDS[0]}") command='' option='' count=0 each i
    local commands options places further rest
    local -A values
    COMPREPLY=()
    _PROGRAM_table ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        each=${COMP_WORDS[i]}
        if [[ $each == '=' ]]; then
            # Of --name=value bash makes three words; a flag's value is of no use.
            [ -n "$option" ] || i=$((i + 1))
            continue
        elif [ -n "$option" ]; then
            option=''
        elif [[ $each == -* ]]; then
            [ -z "${values[$each]+set}" ] || option=$each
        elif [[ -z $command && $each == help ]]; then
            continue
        elif [ -n "$commands" ]; then
            command=${command:+$command }$each
            _PROGRAM_table "$command" || return 0
            continue
        else
            count=$((count + 1))
            [ -z "$rest" ] || ((count < rest)) || return 0
        fi
        # The options before the command say whose containers there are.
        [ -n "$command" ] || called+=("$each")
    done
    [[ $word != '=' ]] || word=''
    # shellcheck disable=SC2086 # lists of words
    if [ -n "$option" ]; then
        _PROGRAM_offer ${values[$option]}
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ -n "$commands" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
    elif ((count < ${#places[@]})); then
        _PROGRAM_offer ${places[count]}
    else
        _PROGRAM_offer $further
    fi
}

complete -F _PROGRAM @NAME@
"#;
