# hack/tap.awk: one program's output in the Test Anything Protocol, in one line:
# verdict, tests passed, failed, skipped, and why it is not `pass`; separated by tabs. -v status=N is its exit status.
/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1; if (toupper($0) ~ /# *SKIP/) all_skipped = 1 }
/^Bail out!/ { bailed = 1 }
/^(not )?ok( |$)/ {
    count++
    directive = toupper($0)
    if (directive ~ /# *SKIP/) skipped++
    else if (/^ok/) passed++
    # What is still to be done may fail.
    else if (directive !~ /# *TODO/) failed++
}
END {
    verdict = "pass"; why = ""
    if (bailed) why = "bailed out"
    else if (!planned) why = "no plan"
    else if (failed) why = failed " of " count
    else if (count != plan) why = count + 0 " of " plan " planned"
    else if (status) why = "exit status " status
    if (why != "") verdict = "fail"
    else if (!plan && !all_skipped) { verdict = "none"; why = "tests nothing" }
    else if (skipped == plan) { verdict = "skip"; why = "all skipped" }
    printf "%s\t%d\t%d\t%d\t%s\n", verdict, passed, failed, skipped, why
}
