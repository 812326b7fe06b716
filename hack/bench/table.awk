# table.awk: CASE, LANE, NANOSECONDS -> a table of medians; rows and columns in the order of their first appearance.
function median(list,    n, values, i, j, v) {
    n = split(list, values, " ")
    for (i = 2; i <= n; i++) {
        v = values[i] + 0
        for (j = i - 1; j > 0 && values[j] + 0 > v; j--) values[j + 1] = values[j]
        values[j + 1] = v
    }
    return (values[int((n + 1) / 2)] + values[int(n / 2) + 1]) / 2e6
}
!($1 in seen_case) { seen_case[$1]; cases[++rows] = $1 }
!($2 in seen_lane) { seen_lane[$2]; lanes[++columns] = $2 }
{ times[$1, $2] = times[$1, $2] " " $3 }
END {
    printf "%-16s", ""
    for (c = 1; c <= columns; c++) printf "%20s", lanes[c]
    print ""
    for (r = 1; r <= rows; r++) {
        printf "%-16s", cases[r]
        for (c = 1; c <= columns; c++) {
            if (!((cases[r], lanes[c]) in times)) { printf "%20s", "-"; continue }
            m = median(times[cases[r], lanes[c]])
            if (c == 1) first = m
            printf "%20s", sprintf("%.2f (%.2f x)", m, m / first)
        }
        print ""
    }
}
