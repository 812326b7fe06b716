# pinnace-image in fish: made by `cargo xtask completions fish`; do not edit.

set -g __fish_pinnace_image_commands 'unpack' 'verify' 'ls' 'rm' 'prune'
# Options that have a value, behind their command.
set -g __fish_pinnace_image_valued 'unpack --store' 'unpack --platform' 'unpack -u' 'unpack --user' 'unpack -f' 'unpack --config' 'verify --store' 'verify --platform' 'ls --store' 'ls -f' 'ls --format' 'rm --store' 'prune --store'

# The command of the line, how many words stand behind it that are no options, and the words before it.
function __fish_pinnace_image_where
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
            contains -- "$command $word" $__fish_pinnace_image_valued; and set has_value 1
        else if test $count = 0; and contains -- $longer $__fish_pinnace_image_commands
            set command $longer
        else if test "$longer" != help
            set count (math $count + 1)
        end
        test -n "$command"; or test "$word" = help; or set -a called $word
    end
    printf '%s\n' "$command" $count $called
end

# Whether the command is COMMAND, and from LEAST to MOST words stand behind it.
function __fish_pinnace_image_at -a command least most
    set -l where (__fish_pinnace_image_where)
    test "$where[1]" = "$command"; and test $where[2] -ge $least; and test $where[2] -le $most
end

# The program as it is called here, with the options before the command.
function __fish_pinnace_image_run
    set -l where (__fish_pinnace_image_where)
    set -l called $where[3..-1]
    $called $argv 2>/dev/null
end

complete -c pinnace-image -f

complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 0" -a unpack -d 'Make a bundle of an image; its layers are unpacked once, into the store'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 0" -a verify -d 'Check an image whole, and what the store has of it'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 0" -a ls -d 'List the images whose layers are in the store'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 0" -a rm -d 'Remove images from the store, and layers that no other image has'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 0" -a prune -d 'Remove images of which there is no bundle any more, and what crashes have left'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 99" -s v -l version -d 'Print the version'
complete -c pinnace-image -n "__fish_pinnace_image_at '' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -l store -x -a '(__fish_complete_directories)' -d 'Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -l platform -x -d 'The platform, as linux/arm64 [default: this machine\'s]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -s u -l user -x -d 'Run as this user instead of the image\'s: a name, or UID:GID'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -l copy -d 'Copy the layers into BUNDLE/rootfs, for runtimes that mount none'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -s t -l terminal -d 'The container has a terminal'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -l no-devices -d 'Devices of the image become empty files'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -l rootless -d 'For a user without root\'s privileges'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -s f -l config -r -F -d 'Write this file instead of the bundle\'s config.json'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 1" -s h -l help -d 'Print this help'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 0 0" -a '(__fish_complete_directories)'
complete -c pinnace-image -n "__fish_pinnace_image_at 'unpack' 1 1" -a '(__fish_complete_directories)'

complete -c pinnace-image -n "__fish_pinnace_image_at 'verify' 0 99" -l store -x -a '(__fish_complete_directories)' -d 'Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'verify' 0 99" -l platform -x -d 'The platform, as linux/arm64 [default: this machine\'s]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'verify' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace-image -n "__fish_pinnace_image_at 'verify' 0 0" -a '(__fish_complete_directories)'

complete -c pinnace-image -n "__fish_pinnace_image_at 'ls' 0 99" -l store -x -a '(__fish_complete_directories)' -d 'Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'ls' 0 99" -s f -l format -x -a 'table json' -d 'Format of the output'
complete -c pinnace-image -n "__fish_pinnace_image_at 'ls' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace-image -n "__fish_pinnace_image_at 'rm' 0 99" -l store -x -a '(__fish_complete_directories)' -d 'Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'rm' 0 99" -l force -d 'Also an image of which there are bundles, which cannot run any more then; not a running one'
complete -c pinnace-image -n "__fish_pinnace_image_at 'rm' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace-image -n "__fish_pinnace_image_at 'rm' 0 0" -a '(__fish_pinnace_image_run ls | string match -r \'^\\S+\' | tail -n +2)'
complete -c pinnace-image -n "__fish_pinnace_image_at 'rm' 1 99" -a '(__fish_pinnace_image_run ls | string match -r \'^\\S+\' | tail -n +2)'

complete -c pinnace-image -n "__fish_pinnace_image_at 'prune' 0 99" -l store -x -a '(__fish_complete_directories)' -d 'Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]'
complete -c pinnace-image -n "__fish_pinnace_image_at 'prune' 0 99" -s h -l help -d 'Print this help'
