# targets.awk TARGETS SUMMARY...: which of the targets are met, as a table. A summary's question is its file's name.
BEGIN { FS = "\t"; print "| | measured | target | |\n|---|---:|---:|---|" }
FILENAME ~ /\/targets$/ { if ($0 !~ /^#/) target[++count] = $0; next }
FNR == 1 { question = FILENAME; sub(/.*\//, "", question); sub(/\.tsv$/, "", question) }
!/^#/ && $1 != "case" { median[question "/" $1 "/" $2] = $4 }
# The sum of the medians, or -1 if one of them was not measured.
function value(words,    parts, i, n, sum) {
    if (words == 1) return 1
    n = split(words, parts, " [+] ")
    for (i = 1; i <= n; i++) {
        if (!(parts[i] in median)) return -1
        sum += median[parts[i]]
    }
    return sum
}
END {
    for (i = 1; i <= count; i++) {
        split(target[i], field, "\t")
        of = value(field[2]); by = value(field[3])
        if (of < 0 || by <= 0) { printf "| %s | | %s %s | not measured |\n", field[1], field[4], field[5]; continue }
        met = field[4] == "<=" ? of / by <= field[5] : of / by >= field[5]
        printf "| %s | %.3g | %s %s | %s |\n", field[1], of / by, field[4], field[5], met ? "met" : "**missed**"
    }
}
