# Completion of the command lines of pinnace and pinnace-image for bash. Commands, options and choices are what --help prints, so this needs no
# change when they do. Installed as share/bash-completion/completions/pinnace.
# shellcheck shell=bash

# The word after an option that takes one, or a position, is completed by its name in the help: DIR, FILE, CONTAINER ...
_pinnace_value() {
    local kind=$1 word=$2 choices=$3
    shift 3
    case $kind in
    *\ DIR | *\ LAYOUT | LAYOUT | BUNDLE*)
        compopt -o filenames 2>/dev/null || :
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        ;;
    *\ FILE | *\ SOCKET)
        compopt -o filenames 2>/dev/null || :
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    *NETWORK*)
        mapfile -t COMPREPLY < <(compgen -W "$("$@" network ls 2>/dev/null | awk 'NR > 1 {print $1}')" -- "$word")
        ;;
    IMAGE...) mapfile -t COMPREPLY < <(compgen -W "$("$@" ls 2>/dev/null | awk 'NR > 1 {print $1}')" -- "$word") ;;
    CONTAINER* | \[CONTAINER*) mapfile -t COMPREPLY < <(compgen -W "$("$@" list --quiet 2>/dev/null)" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word") ;;
    esac
}

_pinnace() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local i command='' valued help line kind option count=0 global=() kinds
    # Of --name=value bash makes three words.
    if [[ $word == '=' ]]; then
        word=''
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]-}
    fi
    valued=" $("$program" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\) [A-Z].*/\1/p' | tr '\n' ' ')"
    # The command is the first word that is no option and no option's value.
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ $valued == *" ${COMP_WORDS[i]} "* ]]; then
            global+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]-}")
            i=$((i + 1))
        elif [[ ${COMP_WORDS[i]} == -* ]]; then
            global+=("${COMP_WORDS[i]}")
        elif [[ ${COMP_WORDS[i]} != help ]]; then
            command=${COMP_WORDS[i]}
            # A command with commands of its own.
            if [[ $command == network && ${COMP_WORDS[i + 1]-} != -* ]] && ((i + 1 < COMP_CWORD)); then
                i=$((i + 1))
                command+=" ${COMP_WORDS[i]}"
            fi
            break
        fi
    done
    # shellcheck disable=SC2086 # no command: no word
    help=$("$program" $command --help 2>/dev/null) || return
    # An option that wants a value is before us.
    if [[ $before == -* ]]; then
        while IFS= read -r line; do
            option=${line#  }
            option=${option%%  *}
            [[ $option == *\ * && " ${option//,/} " == *" $before "* && ${option##* } != -* ]] || continue
            kind=" ${option##* }"
            # Choices stand in brackets at the end: "[text, json; default: text]".
            [[ $line == *\[*,*\] ]] && line=${line##*\[} || line=''
            _pinnace_value "$kind" "$word" "$(sed 's/[];].*//; s/,//g' <<<"$line")" "$program" "${global[@]}"
            return
        done < <(grep '^  -' <<<"$help")
    fi
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(grep -oE -- '^  -.*' <<<"$help" | sed 's/^  //; s/  .*//' |
            grep -oE -- '-[-a-zA-Z0-9]+')" -- "$word")
        return
    elif grep -q '^Commands:' <<<"$help"; then
        mapfile -t COMPREPLY < <(compgen -W "$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$help")" -- "$word")
        return
    fi
    # The name of a new container is nobody's yet.
    [[ $command != create && $command != run ]] || return 0
    valued=" $(sed -n 's/^  \(-[a-z], \)\{0,1\}\(--[a-z0-9-]*\) [A-Z[].*/\1\2/p' <<<"$help" | tr '\n,' '  ') "
    for ((i++; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -*) [[ $valued != *" ${COMP_WORDS[i]} "* ]] || i=$((i + 1)) ;;
        *) count=$((count + 1)) ;;
        esac
    done
    mapfile -t kinds < <(sed -n 's/^  \([A-Z[].*\)/\1/p' <<<"$help" | sed 's/  .*//')
    for kind in "${kinds[@]}"; do
        case $kind in
        # Several, or the word at this place.
        BUNDLE*) [ "$count" != 1 ] || _pinnace_value "$kind" "$word" '' "$program" ;;
        IMAGE... | CONTAINER... | \[CONTAINER...\]) _pinnace_value "$kind" "$word" '' "$program" "${global[@]}" ;;
        \[SIGNAL\]) [ "$count" = 0 ] || mapfile -O "${#COMPREPLY[@]}" -t COMPREPLY < <(compgen -A signal -X '!SIG*' -- "$word") ;;
        *) [ "$count" != 0 ] || _pinnace_value "$kind" "$word" '' "$program" "${global[@]}" ;;
        esac
    done
}

complete -F _pinnace pinnace pinnace-image
