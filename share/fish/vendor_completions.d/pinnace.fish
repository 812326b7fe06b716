# pinnace in fish: made by `cargo xtask completions fish`; do not edit.

set -g __fish_pinnace_commands 'create' 'start' 'run' 'exec' 'state' 'list' 'ps' 'events' 'kill' 'delete' 'pause' 'resume' 'update' 'plan' 'network' 'spec' 'features' 'network create' 'network ls' 'network inspect' 'network rm' 'network prune' 'network reload' 'network setup' 'network teardown'
# Options that have a value, behind their command.
set -g __fish_pinnace_valued ' --root' ' --log' ' --log-format' ' --log-level' ' --cgroup-manager' ' --rootless' 'create -p' 'create --publish' 'create --ip' 'create --ip6' 'create --mac' 'create --hostname' 'create --dns' 'create --dns-search' 'create --add-host' 'create --firewall' 'create --network' 'create --overlay-size' 'create --overlay-dir' 'create --lower' 'create -b' 'create --bundle' 'create -f' 'create --config' 'create --console-socket' 'create --pidfd-socket' 'create --pid-file' 'create --preserve-fds' 'run -p' 'run --publish' 'run --ip' 'run --ip6' 'run --mac' 'run --hostname' 'run --dns' 'run --dns-search' 'run --add-host' 'run --firewall' 'run --network' 'run --overlay-size' 'run --overlay-dir' 'run --lower' 'run -b' 'run --bundle' 'run -f' 'run --config' 'run --console-socket' 'run --pidfd-socket' 'run --pid-file' 'run --preserve-fds' 'exec -p' 'exec --process' 'exec --console-socket' 'exec --pidfd-socket' 'exec --cwd' 'exec -e' 'exec --env' 'exec -u' 'exec --user' 'exec -g' 'exec --additional-gids' 'exec --pid-file' 'exec --process-label' 'exec --apparmor' 'exec -c' 'exec --cap' 'exec --preserve-fds' 'exec --cgroup' 'list -f' 'list --format' 'ps -f' 'ps --format' 'events --interval' 'update -r' 'update --resources' 'update --blkio-weight' 'update --cpu-period' 'update --cpu-quota' 'update --cpu-burst' 'update --cpu-share' 'update --cpu-rt-period' 'update --cpu-rt-runtime' 'update --cpu-idle' 'update --cpuset-cpus' 'update --cpuset-mems' 'update --memory' 'update --memory-reservation' 'update --memory-swap' 'update --kernel-memory' 'update --kernel-memory-tcp' 'update --pids-limit' 'update --l3-cache-schema' 'update --mem-bw-schema' 'update --schemata' 'plan --overlay-size' 'plan --overlay-dir' 'plan --lower' 'plan -b' 'plan --bundle' 'plan -f' 'plan --config' 'spec -p' 'spec --publish' 'spec --ip' 'spec --ip6' 'spec --mac' 'spec --hostname' 'spec --dns' 'spec --dns-search' 'spec --add-host' 'spec --firewall' 'spec --network' 'spec -b' 'spec --bundle' 'spec --from-oci' 'spec -f' 'spec --config' 'network create --subnet' 'network create --subnet6' 'network create --mtu' 'network create --bridge' 'network create --firewall' 'network ls -f' 'network ls --format' 'network inspect -f' 'network inspect --format' 'network setup -p' 'network setup --publish' 'network setup --ip' 'network setup --ip6' 'network setup --mac' 'network setup --hostname' 'network setup --dns' 'network setup --dns-search' 'network setup --add-host' 'network setup --firewall' 'network setup --netns' 'network setup --name' 'network setup --files' 'network teardown --netns' 'network teardown --name'

# The command of the line, how many words stand behind it that are no options, and the words before it.
function __fish_pinnace_where
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
            contains -- "$command $word" $__fish_pinnace_valued; and set has_value 1
        else if test $count = 0; and contains -- $longer $__fish_pinnace_commands
            set command $longer
        else if test "$longer" != help
            set count (math $count + 1)
        end
        test -n "$command"; or test "$word" = help; or set -a called $word
    end
    printf '%s\n' "$command" $count $called
end

# Whether the command is COMMAND, and from LEAST to MOST words stand behind it.
function __fish_pinnace_at -a command least most
    set -l where (__fish_pinnace_where)
    test "$where[1]" = "$command"; and test $where[2] -ge $least; and test $where[2] -le $most
end

# The program as it is called here, with the options before the command.
function __fish_pinnace_run
    set -l where (__fish_pinnace_where)
    set -l called $where[3..-1]
    $called $argv 2>/dev/null
end

complete -c pinnace -f

complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a create -d 'Create a container; it waits for `start`'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a start -d 'Run the program of a created container'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a run -d 'Create and start a container, and stay with it'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a exec -d 'Run a further process in a container'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a state -d 'Print the state of a container as JSON'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a list -d 'List all containers'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a ps -d 'List the processes of a container'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a events -d 'Print what a container uses, and when it lacks memory'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a kill -d 'Send a signal to a container\'s process'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a delete -d 'Remove a container that does not run, and all of it'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a pause -d 'Freeze all processes of a container'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a resume -d 'Let a paused container go on'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a update -d 'Change the limits of a container'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a plan -d 'Check a bundle and print what would be done; needs no root'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a network -d 'Connect containers by a bridge: create, ls, inspect, rm, prune, reload, setup, teardown'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a spec -d 'Write an example config.json'
complete -c pinnace -n "__fish_pinnace_at '' 0 0" -a features -d 'Print what this runtime supports as JSON'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l root -x -a '(__fish_complete_directories)' -d 'Directory for the state of containers [default: /run/pinnace, or $XDG_RUNTIME_DIR/pinnace]'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l log -r -F -d 'Write errors to this file, too, and warnings to it alone'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l log-format -x -a 'text json' -d 'Format of the log'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l log-level -x -a 'auto warning error debug' -d 'How much is told; auto: warnings, too, but in a JSON log the error alone'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l debug -d 'Log what a person who looks for a fault wants to see: --log-level debug'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l systemd-cgroup -d 'Let systemd make the cgroups'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l cgroup-manager -x -d 'Who makes the cgroups, as crun calls it: cgroupfs or systemd'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -l rootless -x -a 'auto true false' -d 'Forgive cgroup errors for lack of privilege'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -s v -l version -d 'Print the versions of the program and of the spec'
complete -c pinnace -n "__fish_pinnace_at '' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -s p -l publish -x -d 'Let ports of the host lead to the container: [IP:]HOSTPORT[-LAST]:PORT[/tcp|udp]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l ip -x -d 'Address of the container [default: a free one of the network]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l ip6 -x -d 'IPv6 address of the container'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l mac -x -d 'Hardware address of the container'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l hostname -x -d 'Host name of the container'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l dns -x -d 'Name server [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l dns-search -x -d 'Domain to search for names [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l add-host -x -d 'A further line of /etc/hosts, as NAME:ADDRESS'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l firewall -x -a 'check insert none' -d 'When another firewall drops what is forwarded: tell how to let it pass, do it, go on'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l network -x -d 'How it is connected: none, host, container:ID, bridge[:NAME]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l overlay -d 'Leave the root file system as it is: what the container writes goes to a tmpfs'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l overlay-size -x -d 'So much may be written, as 64m [default: half of the memory]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l overlay-dir -x -a '(__fish_complete_directories)' -d 'Keep what is written in this directory, made if it is missing'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l lower -x -a '(__fish_complete_directories)' -d 'Show this directory upon the root file system; each further one upon the last'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -s b -l bundle -x -a '(__fish_complete_directories)' -d 'Directory of the bundle [default: .]'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -s f -l config -r -F -d 'Read this file instead of the bundle\'s config.json'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l console-socket -r -F -d 'Unix socket that receives the master side of the terminal'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l pidfd-socket -r -F -d 'Unix socket that receives a pidfd of the container\'s process'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l pid-file -r -F -d 'File that receives the process id'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l no-pivot -d 'Change the root with chroot(2) instead of pivot_root(2), as a ramdisk needs'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l no-new-keyring -d 'Keep the session keyring of the caller'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -l preserve-fds -x -d 'Pass on that many more file descriptors, from 3 on'
complete -c pinnace -n "__fish_pinnace_at 'create' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'start' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'start' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -s p -l publish -x -d 'Let ports of the host lead to the container: [IP:]HOSTPORT[-LAST]:PORT[/tcp|udp]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l ip -x -d 'Address of the container [default: a free one of the network]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l ip6 -x -d 'IPv6 address of the container'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l mac -x -d 'Hardware address of the container'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l hostname -x -d 'Host name of the container'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l dns -x -d 'Name server [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l dns-search -x -d 'Domain to search for names [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l add-host -x -d 'A further line of /etc/hosts, as NAME:ADDRESS'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l firewall -x -a 'check insert none' -d 'When another firewall drops what is forwarded: tell how to let it pass, do it, go on'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l network -x -d 'How it is connected: none, host, container:ID, bridge[:NAME]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l overlay -d 'Leave the root file system as it is: what the container writes goes to a tmpfs'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l overlay-size -x -d 'So much may be written, as 64m [default: half of the memory]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l overlay-dir -x -a '(__fish_complete_directories)' -d 'Keep what is written in this directory, made if it is missing'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l lower -x -a '(__fish_complete_directories)' -d 'Show this directory upon the root file system; each further one upon the last'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -s b -l bundle -x -a '(__fish_complete_directories)' -d 'Directory of the bundle [default: .]'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -s f -l config -r -F -d 'Read this file instead of the bundle\'s config.json'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l console-socket -r -F -d 'Unix socket that receives the master side of the terminal'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l pidfd-socket -r -F -d 'Unix socket that receives a pidfd of the container\'s process'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l pid-file -r -F -d 'File that receives the process id'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l no-pivot -d 'Change the root with chroot(2) instead of pivot_root(2), as a ramdisk needs'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l no-new-keyring -d 'Keep the session keyring of the caller'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l preserve-fds -x -d 'Pass on that many more file descriptors, from 3 on'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -s d -l detach -d 'Return as soon as the program runs'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l keep -d 'Keep the container after its program has ended'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -l no-subreaper -d 'Do not adopt the processes that the container leaves behind'
complete -c pinnace -n "__fish_pinnace_at 'run' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s p -l process -r -F -d 'File with the process, instead of a command'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l console-socket -r -F -d 'Unix socket that receives the master side of the terminal'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l pidfd-socket -r -F -d 'Unix socket that receives a pidfd of the process'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l cwd -x -a '(__fish_complete_directories)' -d 'Working directory in the container'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s e -l env -x -d 'Add a variable to the environment'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s t -l tty -d 'Give the process a terminal'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s u -l user -x -d 'Run as this user and group, by number'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s g -l additional-gids -x -d 'Add a supplementary group, by number'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s d -l detach -d 'Return as soon as the program runs'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l pid-file -r -F -d 'File that receives the process id'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l process-label -x -d 'SELinux label of the process'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l apparmor -x -d 'AppArmor profile of the process'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l no-new-privs -d 'Keep the process from gaining privileges'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s c -l cap -x -d 'Add a capability'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l preserve-fds -x -d 'Pass on that many more file descriptors, from 3 on'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l cgroup -x -d 'Put the process into a cgroup below the container\'s'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -l ignore-paused -d 'Go on even if the container is paused'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'exec' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'state' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'state' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'list' 0 99" -s f -l format -x -a 'table json' -d 'Format of the output'
complete -c pinnace -n "__fish_pinnace_at 'list' 0 99" -s q -l quiet -d 'Print the ids only'
complete -c pinnace -n "__fish_pinnace_at 'list' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'ps' 0 0" -s f -l format -x -a 'table json' -d 'Format of the output'
complete -c pinnace -n "__fish_pinnace_at 'ps' 0 0" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'ps' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'events' 0 99" -l interval -x -d 'Time between two records, such as 500ms or 1m30s [default: 5s]'
complete -c pinnace -n "__fish_pinnace_at 'events' 0 99" -l stats -d 'Print one record of what the container uses, and end'
complete -c pinnace -n "__fish_pinnace_at 'events' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'events' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'kill' 0 99" -s a -l all -d 'Send the signal to all processes of the container (obsolete)'
complete -c pinnace -n "__fish_pinnace_at 'kill' 0 99" -s r -l regex -d 'CONTAINER is a regular expression, regex(7): all in whose name it is found'
complete -c pinnace -n "__fish_pinnace_at 'kill' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'kill' 0 0" -a '(__fish_pinnace_run list --quiet)'
complete -c pinnace -n "__fish_pinnace_at 'kill' 1 99" -a '(__fish_pinnace_run list --quiet)'
complete -c pinnace -n "__fish_pinnace_at 'kill' 1 99" -a 'SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGIOT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPOLL SIGPWR SIGSYS'

complete -c pinnace -n "__fish_pinnace_at 'delete' 0 99" -s f -l force -d 'Kill what runs; a container that does not exist is no error'
complete -c pinnace -n "__fish_pinnace_at 'delete' 0 99" -s r -l regex -d 'CONTAINER is a regular expression, regex(7): all in whose name it is found'
complete -c pinnace -n "__fish_pinnace_at 'delete' 0 99" -s a -l all -d 'All containers of the state directory'
complete -c pinnace -n "__fish_pinnace_at 'delete' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'delete' 0 0" -a '(__fish_pinnace_run list --quiet)'
complete -c pinnace -n "__fish_pinnace_at 'delete' 1 99" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'pause' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'pause' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'resume' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'resume' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -s r -l resources -r -F -d 'File with a linux.resources object, -: stdin'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l blkio-weight -x -d 'Weight of block I/O, 10 to 1000'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-period -x -d 'Length of a period in microseconds'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-quota -x -d 'CPU time in a period, -1: no limit'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-burst -x -d 'CPU time that may be saved up'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-share -x -d 'Share of CPU time, 2 to 262144'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-rt-period -x -d 'Length of a real-time period'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-rt-runtime -x -d 'Real-time part of it'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpu-idle -x -d '1: run only when nobody else wants to'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpuset-cpus -x -d 'CPUs to use, such as 0-3,7'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l cpuset-mems -x -d 'Memory nodes to use'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l memory -x -d 'Limit: bytes, or with k, m, g; -1: none'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l memory-reservation -x -d 'Memory it is left'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l memory-swap -x -d 'Limit of memory and swap together'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l kernel-memory -x -d '(obsolete)'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l kernel-memory-tcp -x -d '(obsolete)'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l pids-limit -x -d 'Limit of tasks, -1: none'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l l3-cache-schema -x -d 'Intel RDT: the L3 cache'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l mem-bw-schema -x -d 'Intel RDT: memory bandwidth'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -l schemata -x -d 'Intel RDT: a line for any resource; may be repeated'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'update' 0 0" -a '(__fish_pinnace_run list --quiet)'

complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -l overlay -d 'Leave the root file system as it is: what the container writes goes to a tmpfs'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -l overlay-size -x -d 'So much may be written, as 64m [default: half of the memory]'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -l overlay-dir -x -a '(__fish_complete_directories)' -d 'Keep what is written in this directory, made if it is missing'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -l lower -x -a '(__fish_complete_directories)' -d 'Show this directory upon the root file system; each further one upon the last'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -s b -l bundle -x -a '(__fish_complete_directories)' -d 'Directory of the bundle [default: .]'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -s f -l config -r -F -d 'Read this file instead of the bundle\'s config.json'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -l json -d 'Print JSON'
complete -c pinnace -n "__fish_pinnace_at 'plan' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a create -d 'Make a network that stays until it is removed'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a ls -d 'List the networks'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a inspect -d 'Show a network, its members and their ports'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a rm -d 'Remove a network that nobody uses'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a prune -d 'Remove what crashes have left, and networks without members'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a reload -d 'Put back the firewall\'s rules, bridges and their members'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a setup -d 'Connect a container; a createRuntime hook, or with --netns'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 0" -a teardown -d 'Disconnect a container; a poststop hook, or with --name'
complete -c pinnace -n "__fish_pinnace_at 'network' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -s p -l publish -x -d 'Let ports of the host lead to the container: [IP:]HOSTPORT[-LAST]:PORT[/tcp|udp]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l ip -x -d 'Address of the container [default: a free one of the network]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l ip6 -x -d 'IPv6 address of the container'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l mac -x -d 'Hardware address of the container'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l hostname -x -d 'Host name of the container'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l dns -x -d 'Name server [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l dns-search -x -d 'Domain to search for names [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l add-host -x -d 'A further line of /etc/hosts, as NAME:ADDRESS'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l firewall -x -a 'check insert none' -d 'When another firewall drops what is forwarded: tell how to let it pass, do it, go on'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l network -x -d 'How it is connected: none, host, container:ID, bridge[:NAME]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -s b -l bundle -x -a '(__fish_complete_directories)' -d 'Directory of the bundle [default: .]'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l from-oci -x -a '(__fish_complete_directories)' -d 'From an image: DIR, DIR:TAG or DIR@sha256:... of a layout, by pinnace-image'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -s f -l config -r -F -d 'Write this file instead of the bundle\'s config.json'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -l rootless -d 'For a user without root\'s privileges'
complete -c pinnace -n "__fish_pinnace_at 'spec' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'features' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -l subnet -x -d 'IPv4 subnet, as 10.77.0.0/24 [default: the first that is free]'
complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -l subnet6 -x -d 'IPv6 subnet, as fd77::/64 [default: a unique local one]'
complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -l mtu -x -d 'Largest packet [default: that of the default route\'s device]'
complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -l bridge -x -d 'Use this bridge as it is, with its addresses'
complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -l firewall -x -a 'check insert none' -d 'When another firewall drops what is forwarded: tell how to let it pass, do it, go on'
complete -c pinnace -n "__fish_pinnace_at 'network create' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network ls' 0 99" -s f -l format -x -a 'table json' -d 'Format of the output'
complete -c pinnace -n "__fish_pinnace_at 'network ls' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network inspect' 0 99" -s f -l format -x -a 'table json' -d 'Format of the output'
complete -c pinnace -n "__fish_pinnace_at 'network inspect' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'network inspect' 0 0" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'
complete -c pinnace -n "__fish_pinnace_at 'network inspect' 1 99" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'

complete -c pinnace -n "__fish_pinnace_at 'network rm' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'network rm' 0 0" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'
complete -c pinnace -n "__fish_pinnace_at 'network rm' 1 99" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'

complete -c pinnace -n "__fish_pinnace_at 'network prune' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network reload' 0 99" -s h -l help -d 'Print this help'

complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -s p -l publish -x -d 'Let ports of the host lead to the container: [IP:]HOSTPORT[-LAST]:PORT[/tcp|udp]'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l ip -x -d 'Address of the container [default: a free one of the network]'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l ip6 -x -d 'IPv6 address of the container'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l mac -x -d 'Hardware address of the container'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l hostname -x -d 'Host name of the container'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l dns -x -d 'Name server [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l dns-search -x -d 'Domain to search for names [default: those of the host]'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l add-host -x -d 'A further line of /etc/hosts, as NAME:ADDRESS'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l firewall -x -a 'check insert none' -d 'When another firewall drops what is forwarded: tell how to let it pass, do it, go on'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l netns -x -d 'A network namespace, instead of that of the container whose state is on stdin'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l name -x -d 'A name for it'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -l files -x -a '(__fish_complete_directories)' -d 'Directory with the files hosts, resolv.conf and hostname, which are filled in'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'network setup' 0 0" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'

complete -c pinnace -n "__fish_pinnace_at 'network teardown' 0 99" -l netns -x -d 'A network namespace, instead of that of the container whose state is on stdin'
complete -c pinnace -n "__fish_pinnace_at 'network teardown' 0 99" -l name -x -d 'A name for it'
complete -c pinnace -n "__fish_pinnace_at 'network teardown' 0 99" -s h -l help -d 'Print this help'
complete -c pinnace -n "__fish_pinnace_at 'network teardown' 0 0" -a '(__fish_pinnace_run network ls | string match -r \'^\\S+\' | tail -n +2)'
