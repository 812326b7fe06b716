# summary.awk: the raw results (CASE, LANE, VALUE) -> one line for each case and lane: medians, 99th percentiles, ratios
# to the case's first lane. A lane that was left out of a case is left out whole, and said so in a comment.
# -v divide=1e6: into the unit that the question names.
BEGIN {
    FS = OFS = "\t"
    if (!divide) divide = 1
}
function add_case(name) { if (!(name in seen_case)) { seen_case[name]; cases[++rows] = name } }
function sort_values(list,    values, i, j, v) {
    n = split(list, values, " ")
    for (i = 1; i <= n; i++) {
        v = values[i] / divide
        for (j = i - 1; j > 0 && sorted[j] > v; j--) sorted[j + 1] = sorted[j]
        sorted[j + 1] = v
    }
}
/^# / { print; next }
$1 == "!" { add_case($2); reason[$2, $3] = $4; print "# left out", $2, $3, $4; next }
{ add_case($1) }
!($2 in seen_lane) { seen_lane[$2]; lanes[++columns] = $2 }
{ list[$1, $2] = list[$1, $2] " " $3 }
END {
    print "case", "lane", "rounds", "median", "p99", "least", "ratio"
    for (r = 1; r <= rows; r++) {
        first = 0
        for (c = 1; c <= columns; c++) {
            key = cases[r] SUBSEP lanes[c]
            if (!(key in list) || key in reason) continue
            sort_values(list[key])
            median = (sorted[int((n + 1) / 2)] + sorted[int(n / 2) + 1]) / 2
            if (!first) first = median
            printf "%s\t%s\t%d\t%.6g\t%.6g\t%.6g\t%.3f\n", cases[r], lanes[c], n, median,
                sorted[int(0.99 * (n - 1) + 1.5)], sorted[1], first ? median / first : 0
        }
    }
}
