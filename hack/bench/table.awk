# table.awk: CASE, LANE, NANOSECONDS -> a table of medians and 99th percentiles; rows and columns in the order of their first appearance.
# Sets `median` and `p99`, in ms.
function quantiles(list,    n, values, i, j, v) {
    n = split(list, values, " ")
    for (i = 2; i <= n; i++) {
        v = values[i] + 0
        for (j = i - 1; j > 0 && values[j] + 0 > v; j--) values[j + 1] = values[j]
        values[j + 1] = v
    }
    median = (values[int((n + 1) / 2)] + values[int(n / 2) + 1]) / 2e6
    p99 = values[int(0.99 * (n - 1) + 1.5)] / 1e6
}
!($1 in seen_case) { seen_case[$1]; cases[++rows] = $1 }
!($2 in seen_lane) { seen_lane[$2]; lanes[++columns] = $2 }
{ times[$1, $2] = times[$1, $2] " " $3 }
END {
    printf "%-16s", ""
    for (c = 1; c <= columns; c++) printf "%24s", lanes[c]
    print ""
    for (r = 1; r <= rows; r++) {
        printf "%-16s", cases[r]
        for (c = 1; c <= columns; c++) {
            if (!((cases[r], lanes[c]) in times)) { printf "%24s", "-"; continue }
            quantiles(times[cases[r], lanes[c]])
            if (c == 1) first = median
            printf "%24s", sprintf("%.2f %.2f (%.2f x)", median, p99, median / first)
        }
        print ""
    }
}
