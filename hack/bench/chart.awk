# chart.awk: a summary -> an SVG: a group of bars for each case, a bar for each lane, pinnace's in colour.
# `# axis: one`: all groups share one axis, so that they can be compared; `each`: every group fills the width.
# Colours follow the reader's light or dark setting; nothing is told by colour alone.
BEGIN { FS = "\t"; left = 250; wide = 330; bar = 15; gap = 16 }
/^# question: / { title = substr($0, 13) }
/^# unit: / { unit = substr($0, 9) }
/^# axis: / { axis = substr($0, 9) }
/^# better: / { better = substr($0, 11) }
/^#/ || $1 == "case" { next }
!($1 in seen_case) { seen_case[$1]; cases[++rows] = $1 }
!($2 in seen_lane) { seen_lane[$2]; lanes[++columns] = $2 }
{
    value[$1, $2] = $4; ratio[$1, $2] = $7; size[$1]++; bars++
    repeated = repeated || $3 > 1
    if ($4 > top[$1]) top[$1] = $4
    if ($4 > all) all = $4
}
function escape(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); return text }
function number(v) { return sprintf(v >= 100 || v == int(v) ? "%.0f" : v >= 10 ? "%.1f" : "%.2f", v) }
function text(class, x, y, words) { printf "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x, y, escape(words) }
# A step of 1, 2 or 5 times a power of ten, for at most five lines.
function step_for(most,    power) {
    power = 10 ^ (int(log(most / 5) / log(10) + 100) - 100)
    return power * (power * 5 >= most ? 1 : power * 10 >= most ? 2 : power * 25 >= most ? 5 : 10)
}
END {
    if (!rows) exit 1
    height = 76 + bars * bar + rows * gap + (axis == "one" ? 26 : 6)
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 %d\" width=\"760\" height=\"%d\" role=\"img\">\n", height, height
    print "<title>" escape(title) "</title>"
    print "<style>"
    print "  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }"
    print "  .title { font-size: 17px; font-weight: 600 }  .case { font-weight: 600 }  .number { font-variant-numeric: tabular-nums }"
    print "  .quiet, .lane, .tick { fill: #59636e }  .lane { text-anchor: end }  .tick { text-anchor: middle; font-size: 11px }"
    print "  .back { fill: #ffffff }  .line { stroke: #d8dee4 }"
    print "  .pinnace { fill: #1f6feb }  .peer { fill: #9aa4af }  .floor { fill: #cdd5de }"
    print "  @media (prefers-color-scheme: dark) {"
    print "    text { fill: #e6edf3 }  .quiet, .lane, .tick { fill: #9198a1 }  .back { fill: #0d1117 }  .line { stroke: #2d333b }"
    print "    .pinnace { fill: #4493f8 }  .peer { fill: #6e7681 }  .floor { fill: #444c56 }"
    print "  }"
    print "</style>"
    printf "<rect class=\"back\" width=\"760\" height=\"%d\"/>\n", height
    text("title", 16, 28, title)
    text("quiet", 16, 49, unit (repeated ? ", medians" : "") "; " (better ? better : "less") " is better; \303\227: how often pinnace's" (axis == "each" ? "; each group has its own scale" : ""))
    y = 68
    if (axis == "one") {
        step = step_for(all)
        for (tick = 0; tick <= all; tick += step) {
            x = left + wide * tick / all
            printf "<line class=\"line\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", x, x, y, height - 24
            text("tick", x, height - 8, tick "")
        }
    }
    for (r = 1; r <= rows; r++) {
        most = axis == "one" ? all : top[cases[r]]
        text("case", 16, y + 12, cases[r])
        for (c = 1; c <= columns; c++) {
            key = cases[r] SUBSEP lanes[c]
            if (!(key in value)) continue
            length_ = most ? wide * value[key] / most : 0
            class = lanes[c] == "pinnace" ? "pinnace" : lanes[c] ~ /^(floor|no filter)$/ ? "floor" : "peer"
            text("lane", left - 8, y + 12, lanes[c])
            printf "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", class, left, y + 2, length_ < 1 ? 1 : length_, bar - 3
            printf "<text class=\"number\" x=\"%d\" y=\"%d\">%s%s</text>\n", left + length_ + 7, y + 12, number(value[key]),
                ratio[key] == 1 ? "" : "<tspan class=\"quiet\" dx=\"9\">" number(ratio[key]) "\303\227</tspan>"
            y += bar
        }
        y += gap
    }
    print "</svg>"
}
