# compare.awk: raw results of the lanes `old` and `new` -> what the change did, case by case.
# Values of one round belong together. Whether a difference is more than noise is told by the sign test: how likely is it
# that so many of the rounds, or more, favour one side if both are the same? Below 1 % it counts as a difference.
# Of counted things (one value, or values that never vary) a difference counts from 0.2 % on: pids have more or less digits.
BEGIN { FS = "\t" }
/^# unit: / { unit = substr($0, 9) }
/^# divide: / { divide = substr($0, 11) }
/^#/ { next }
$1 == "!" { bad[$2] = bad[$2] sprintf(" %s: %s", $3, $4); next }
!($1 in seen) { seen[$1]; cases[++rows] = $1 }
{ value[$1, $2, ++count[$1, $2]] = $3 }
function median(name, lane,    n, i, j, v, sorted) {
    n = count[name, lane]
    for (i = 1; i <= n; i++) {
        v = value[name, lane, i] + 0
        for (j = i - 1; j > 0 && sorted[j] > v; j--) sorted[j + 1] = sorted[j]
        sorted[j + 1] = v
    }
    least = sorted[1]; most = sorted[n]
    return (sorted[int((n + 1) / 2)] + sorted[int(n / 2) + 1]) / 2
}
# The chance that of n fair coins at least k, or at most n - k, show the same side.
function chance(n, k,    i, term, sum) {
    term = 0.5 ^ n
    for (i = 0; i <= n - k; i++) { sum += term; term *= (n - i) / (i + 1) }
    return 2 * sum > 1 ? 1 : 2 * sum
}
function verdict(name,    n, i, less, more, all, p) {
    n = count[name, "old"]
    if (exact && (new - old) ^ 2 <= (0.002 * old) ^ 2) return "the same"
    if (exact) return sprintf("%s (%+.5g)", new < old ? "LESS" : "MORE", (new - old) / divide)
    for (i = 1; i <= n; i++) {
        less += value[name, "new", i] + 0 < value[name, "old", i] + 0
        more += value[name, "new", i] + 0 > value[name, "old", i] + 0
    }
    all = less + more
    p = all ? chance(all, less > more ? less : more) : 1
    if (p >= 0.01) return sprintf("no difference beyond noise (less in %d of %d rounds, p = %.2f)", less, all, p)
    return sprintf("%s (in %d of %d rounds, p = %.1g)", less > more ? "LESS" : "MORE", less > more ? less : more, all, p)
}
END {
    if (!divide) divide = 1
    printf "%-28s%12s%12s%8s  new is, in %s\n", "", "old", "new", "ratio", unit
    for (r = 1; r <= rows; r++) {
        name = cases[r]
        if (name in bad) { printf "%-28s left out:%s\n", name, bad[name]; continue }
        old = median(name, "old"); exact = least == most
        new = median(name, "new"); exact = exact && least == most
        printf "%-28s%12.5g%12.5g%8.3f  %s\n", name, old / divide, new / divide, old ? new / old : 0, verdict(name)
    }
    for (name in bad) if (!(name in seen)) printf "%-28s left out:%s\n", name, bad[name]
}
