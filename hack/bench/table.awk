# table.awk: a summary -> a table, rows and columns in the order of their first appearance.
# -v markdown=1: for a page; otherwise for a terminal, with 99th percentiles.
BEGIN { FS = "\t" }
/^# unit: / { unit = substr($0, 9) }
/^# left out/ { missing = missing sprintf("%s%s (%s): %s\n", markdown ? "* left out: " : "left out: ", $3, $2, $4); next }
/^#/ || $1 == "case" { next }
!($1 in seen_case) { seen_case[$1]; cases[++rows] = $1; if (length($1) > width) width = length($1) }
!($2 in seen_lane) { seen_lane[$2]; lanes[++columns] = $2 }
{
    repeated = repeated || $3 > 1
    cell[$1, $2] = markdown ? number($4) : number($4) ($3 > 1 ? " " number($5) : "")
    if ($7 != 1) cell[$1, $2] = cell[$1, $2] sprintf(" (%s x)", number($7))
}
function number(v) { return sprintf(v >= 100 || v == int(v) ? "%.0f" : v >= 10 ? "%.1f" : "%.2f", v) }
END {
    if (markdown) {
        row = "| " unit " |"; line = "|---|"
        for (c = 1; c <= columns; c++) { row = row " " lanes[c] " |"; line = line "---:|" }
        print row "\n" line
    } else {
        printf "%s%s; x: how often the first column's\n", unit, repeated ? ", median and 99th percentile" : ""
        printf "%-" width "s", ""
        for (c = 1; c <= columns; c++) printf "%26s", lanes[c]
        print ""
    }
    for (r = 1; r <= rows; r++) {
        printf markdown ? "| %s |" : "%-" width "s", cases[r]
        for (c = 1; c <= columns; c++) {
            text = (cases[r], lanes[c]) in cell ? cell[cases[r], lanes[c]] : markdown ? "" : "-"
            printf markdown ? " %s |" : "%26s", text
        }
        print ""
    }
    if (missing) printf "%s%s", markdown ? "\n" : "", missing
}
