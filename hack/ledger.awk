# hack/ledger.awk features.tsv not-yet.tsv LOG: the text of docs/conformance.md.

BEGIN {
    # Rows that runc 1.5.1, crun 1.29.1 and youki 0.7.0 have: yes/partial/no, from reading their source.
    split("spec errors cli beyond all", sums, " ")
    about["spec"] = "the spec (1.1 to 1.9)"; peers["spec"] = "213/60/17 | 207/47/36 | 164/61/64"
    about["errors"] = "errors that it demands (1.10)"; peers["errors"] = "12/7/3 | 11/7/4 | 10/9/3"
    about["cli"] = "command line (2)"; peers["cli"] = "90/2/13 | 78/5/22 | 52/13/40"
    about["beyond"] = "beyond the spec (3)"; peers["beyond"] = "19/6/30 | 40/3/12 | 16/6/33"
    about["all"] = "all"; peers["all"] = "334/75/63 | 336/62/74 | 242/89/140"
    split("any v1 v2 systemd", worlds, " "); world = "any"
    split("1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9 1.10 2.1 2.2 2.3 2.4 2.5 2.6 3.1 3.2 3.3", parts, " ")
    split("version, root, mounts;mount options;process, user, extensibility;hooks;" \
        "file systems, namespaces, devices, network devices;cgroups;" \
        "RDT, NUMA, sysctl, seccomp, propagation, masks, personality;state and operations;features;" \
        "errors that the spec demands;global options;create, run, start;exec;" \
        "state, list, ps, events, features;kill, delete, pause, resume, update, spec;" \
        "checkpoint and restore;annotations;executors, libraries, builds;security and plumbing", names, ";")
}

FILENAME != file { file = FILENAME; number++ }

number == 1 {
    if ($1 != "id") { order[++count] = $1; part[$1] = $2; title[$1] = $3 }
    next
}

number == 2 {
    if ($1 ~ /^R[0-9]+$/) {
        if (!($1 in title)) { print "docs/not-yet.tsv: no such row: " $1 > "/dev/stderr"; exit 1 }
        if ($3 != "" && $3 != "refused" && $3 != "not shown") {
            print "docs/not-yet.tsv: no such state: " $3 > "/dev/stderr"; exit 1
        }
        reason[$1] = $2; kept[$1] = $3
    }
    next
}

# Where the tests that follow were run: what fails or is skipped in one world may pass in another.
/^world: / { world = substr($0, 8); next }

# With one thread libtest prints the name first, and what the test says comes in between.
/^test .* \.\.\. / {
    name = $0; sub(/^test /, "", name); sub(/ \.\.\. .*/, "", name); sub(/ - should panic$/, "", name)
    verdict = $0; sub(/^.* \.\.\. /, "", verdict)
    open = ""; tested[name]
    if (verdict == "ok") result[name, world] = "ok"
    else if (verdict ~ /^FAILED/) result[name, world] = "failed"
    else { open = name; said($0) }
    next
}
$0 == "ok" && open != "" { result[open, world] = "ok"; open = ""; next }
$0 == "FAILED" && open != "" { result[open, world] = "failed"; open = ""; next }
/^skipped: / { said($0) }

# `skipped: RUNTIME: TEST: why`: passed without having shown anything.
function said(line,    words) {
    if (line ~ /skipped: /) {
        sub(/^.*skipped: /, "", line)
        if (split(line, words, ": ") >= 3) skipped[words[2], world] = substr(line, length(words[1] words[2]) + 5)
        else if (open != "") skipped[open, world] = line
    }
}

function rows_of(name,    base) {
    base = name; sub(/^.*::/, "", base)
    while (base ~ /^r[0-9][0-9][0-9](_|$)/) {
        claim("R" substr(base, 2, 3), name)
        base = substr(base, 6)
    }
}

# What the test shows of the row, in any of the worlds.
function claim(id, name,    w, shown) {
    if (!(id in title)) { print "a test claims a row that is not there: " name > "/dev/stderr"; return }
    for (w = 1; w in worlds; w++) {
        if (!((name, worlds[w]) in result)) continue
        if ((name, worlds[w]) in skipped) waits[id] = skipped[name, worlds[w]]
        else if (result[name, worlds[w]] == "ok") shown = seen[id, worlds[w]] = 1
        else fails[id] = name
    }
    if (shown) tests[id] = tests[id] (tests[id] == "" ? "" : ", ") "`" name "`"
}

# The worlds in which a row was seen; those of pure functions have none.
function where(id,    w, list) {
    for (w = 1; w in worlds; w++)
        if (worlds[w] != "any" && (id, worlds[w]) in seen) list = list (list == "" ? "" : ", ") worlds[w]
    return list
}

function group(id) {
    if (part[id] == "1.10") return "errors"
    if (part[id] ~ /^1/) return "spec"
    return part[id] ~ /^2/ ? "cli" : "beyond"
}

# What a row is, and why it is no yes. What is refused or not shown may have tests that show as much.
function judge(id) {
    if (id in fails) { state[id] = "no"; why[id] = "`" fails[id] "` fails" }
    else if (kept[id] != "") { state[id] = kept[id]; why[id] = reason[id] (tests[id] == "" ? "" : ": " tests[id]) }
    else if (tests[id] != "") {
        state[id] = "yes"
        if (id in reason) print "docs/not-yet.tsv: " id " has tests now" > "/dev/stderr"
    }
    else if (id in reason) { state[id] = "no"; why[id] = reason[id] }
    else if (id in waits) { state[id] = "not shown"; why[id] = "not here: " waits[id] }
    else { state[id] = "no"; why[id] = "no test yet" }
}

END {
    for (name in tested) sorted[++n] = name
    sort(n)
    for (i = 1; i <= n; i++) rows_of(sorted[i])
    for (i = 1; i <= count; i++) {
        id = order[i]; g = group(id)
        all[g]++; all["all"]++
        judge(id)
        sum[g, state[id]]++; sum["all", state[id]]++
    }
    print "# Conformance"
    print ""
    print "Written by `make ledger` from the tests that passed; do not edit. Rows and titles are in `docs/features.tsv`."
    print "A row is yes when every test whose name begins with its id passed, and at least one did. It is refused when what it"
    print "asks for is an error, as no kernel has it; not shown, when none of the machines has what it takes. Where they were run:"
    print "on a host with cgroup v1, on one with v2, and there by `--systemd-cgroup` (none named: pure functions)."
    if (mutations) print "For the spec and its errors, " mutations " mutations (`hack/mutations`) break one effect each: `make mutate` asks for a red test. All have; cgroup-drivers:106 that of `hack/vm rootless`."
    print "The peers' figures (yes/partial/no) come from reading their source, not from tests."
    print ""
    print "| part | rows | pinnace yes/no/refused/not shown | runc 1.5.1 | crun 1.29.1 | youki 0.7.0 |"
    print "|---|---|---|---|---|---|"
    for (i = 1; i in sums; i++) {
        g = sums[i]
        printf "| %s | %d | %d/%d/%d/%d | %s |\n", about[g], all[g], sum[g, "yes"], sum[g, "no"], sum[g, "refused"], sum[g, "not shown"], peers[g]
    }
    for (i = 1; i in parts; i++) {
        printf "\n## %s %s\n\n| id | what | state | where | tests, or why not |\n|---|---|---|---|---|\n", parts[i], names[i]
        for (j = 1; j <= count; j++) {
            id = order[j]
            # As words: 1.1 and 1.10 are one number.
            if (part[id] "" == parts[i] "") printf "| %s | %s | %s | %s | %s |\n", id, title[id], state[id], where(id), (id in why) ? why[id] : tests[id]
        }
    }
}

# Heap sort: mawk has none of its own, and the order of `in` is nobody's.
function sort(n,    i, last) {
    for (i = int(n / 2); i >= 1; i--) sink(i, n)
    for (last = n; last > 1; last--) {
        swap(1, last)
        sink(1, last - 1)
    }
}
function sink(i, n,    child) {
    while ((child = 2 * i) <= n) {
        if (child < n && sorted[child] < sorted[child + 1]) child++
        if (sorted[i] >= sorted[child]) return
        swap(i, child)
        i = child
    }
}
function swap(i, j,    held) { held = sorted[i]; sorted[i] = sorted[j]; sorted[j] = held }
