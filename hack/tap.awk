# hack/tap.awk: one program's output in the Test Anything Protocol, in one line:
# verdict, tests passed, failed, skipped, and why it is not `pass`; separated by tabs. -v status=N is its exit status.
# A program may print several documents, each with a plan of its own; in each the last plan counts.
/^TAP version/ { finish(); begun = 1 }
/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1; if (toupper($0) ~ /# *SKIP/) all_skipped = 1 }
/^Bail out!/ { bailed = 1 }
/^  +"error": "./ && !count { reported = 1 }
/^(not )?ok( |$)/ {
    count++
    directive = toupper($0)
    if (directive ~ /# *SKIP/) skipped++
    else if (/^ok/) passed++
    # What is still to be done may fail.
    else if (directive !~ /# *TODO/) failed++
}
# finish: the end of a document. The first thing wrong is the reason.
function finish() {
    if (!begun && !planned && !count) return
    if (why == "" && !planned) why = "no plan"
    if (why == "" && failed) why = failed " of " count
    if (why == "" && count != plan) why = count + 0 " of " plan " planned"
    made += count
    all_passed += passed; all_failed += failed; all_skipped_tests += skipped
    documents++
    begun = plan = planned = count = passed = failed = skipped = 0
}
END {
    finish()
    if (bailed) why = "bailed out"
    else if (!documents) why = "no plan"
    else if (why == "" && status) why = "exit status " status
    verdict = why == "" ? "pass" : "fail"
    if (why == "" && !made && !all_skipped) {
        verdict = "none"
        why = reported ? "tests nothing, reports an error" : "tests nothing"
    } else if (why == "" && all_skipped_tests == made) {
        verdict = "skip"
        why = "all skipped"
    }
    printf "%s\t%d\t%d\t%d\t%s\n", verdict, all_passed, all_failed, all_skipped_tests, why
}
