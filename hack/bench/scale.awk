# scale.awk DENSITY PAGE: writes the tables of docs/scale.md anew, between their marks, from the summary of `density`.
BEGIN { FS = "\t"; nodes = 1000; pods = 100 }
NR == FNR { if (!/^#/) value[$1, $2] = $4; next }
/^<!-- table: a pod/ { print; pod(); old = 1; next }
/^<!-- table: a cluster/ { print; cluster(); old = 1; next }
/^<!-- end of the table/ { old = 0 }
!old { print }

function number(v) { return sprintf(v >= 100 ? "%.0f" : v >= 10 ? "%.1f" : "%.2f", v) }
function row(what, ours, others, less) {
    printf "| %s | %s | %s | %s |\n", what, number(ours), number(others), less ? number(others - ours) : sprintf("%.2f x", others / ours)
}
# A case's figure for each pod, in the unit of the row.
function each(name, lane, share) { return value[name, lane] / share }
function both(what, name, share) { row(what, each(name, "pinnace", share), each(name, "runc", share)) }
function pod() {
    print "\n| a pod, among 100 | pinnace | runc | |\n|---|---:|---:|---:|"
    both("its start, ms of CPU time", "100 pods up, ms of CPU time", pods)
    both("its end, ms of CPU time", "100 pods down, ms of CPU time", pods)
    both("a probe by exec, ms of CPU time", "100 probes, ms of CPU time", pods)
    both("its shim, MiB (PSS)", "shim, KiB of PSS", 1024)
    both("its two cgroups, MiB", "the pod's cgroups, KiB", 1024)
    print "\n| by the clock | pinnace | runc | |\n|---|---:|---:|---:|"
    both("a pod alone, from asked for to started, ms", "one pod up, ms", 1)
    both("the same without a network of its own, ms", "one of the host's network up, ms", 1)
    both("a probe alone, ms", "an exec probe, ms", 1)
    both("100 pods up, s", "100 pods up, ms", 1000)
    both("100 pods down, s", "100 pods down, ms", 1000)
    print ""
}
# CPU seconds a second, which is cores, of all nodes.
function cores(lane, rate, name) { return nodes * rate * each(name, lane, pods) / 1000 }
function life(lane, rate) { return cores(lane, rate, "100 pods up, ms of CPU time") + cores(lane, rate, "100 pods down, ms of CPU time") }
function cluster(    probe, memory) {
    probe = "100 probes, ms of CPU time"
    print "\n| 1,000 nodes with 100 pods each | pinnace | runc | less |\n|---|---:|---:|---:|"
    row("one pod in ten is probed by exec every 10 s, cores", cores("pinnace", 1, probe), cores("runc", 1, probe), 1)
    row("every pod is, cores", cores("pinnace", 10, probe), cores("runc", 10, probe), 1)
    row("every pod is replaced once a day, cores", life("pinnace", pods / 86400), life("runc", pods / 86400), 1)
    row("every pod is replaced once an hour, cores", life("pinnace", pods / 3600), life("runc", pods / 3600), 1)
    row("one pod a second comes and goes on every node, cores", life("pinnace", 1), life("runc", 1), 1)
    memory = nodes * pods / 1024 / 1024
    row("shims, GiB", value["shim, KiB of PSS", "pinnace"] * memory, value["shim, KiB of PSS", "runc"] * memory, 1)
    row("cgroups of sleeping pods, GiB", value["the pod's cgroups, KiB", "pinnace"] * memory, value["the pod's cgroups, KiB", "runc"] * memory, 1)
    print ""
}
