// Package tap writes test results in the Test Anything Protocol, version 13
// (testanything.org). The suite that hack/conformance builds imports a package
// with these functions that Debian lacks.
package tap

import (
	"encoding/json"
	"fmt"
	"strings"
)

// T counts the tests of one program. What Todo returns counts on with it.
type T struct {
	count *int
	todo  bool
}

// New begins a program.
func New() *T { return &T{count: new(int)} }

// Todo is for tests that may fail.
func (t *T) Todo() *T { return &T{t.count, true} }

// Header writes the version, and the plan if it is known by now.
func (t *T) Header(tests int) {
	fmt.Println("TAP version 13")
	if tests > 0 {
		fmt.Printf("1..%d\n", tests)
	}
}

// AutoPlan writes the plan at the end: as many as there were.
func (t *T) AutoPlan() { fmt.Printf("1..%d\n", *t.count) }

// Count is the number of tests so far.
func (t *T) Count() int { return *t.count }

func (t *T) line(word, text string) {
	*t.count++
	fmt.Printf("%s %d - %s\n", word, *t.count, text)
}

// Ok writes one test.
func (t *T) Ok(passed bool, text string) {
	if passed {
		t.line("ok", text)
	} else {
		t.line("not ok", text)
	}
}

// Pass writes a test that has passed.
func (t *T) Pass(text string) { t.Ok(true, text) }

// Fail writes a test that has failed.
func (t *T) Fail(text string) { t.Ok(false, text) }

// Skip writes tests that were not made.
func (t *T) Skip(count int, why string) {
	for i := 0; i < count; i++ {
		*t.count++
		fmt.Printf("ok %d # SKIP %s\n", *t.count, why)
	}
}

// Diagnostic writes a remark.
func (t *T) Diagnostic(text string) {
	fmt.Println("# " + strings.Replace(text, "\n", "\n# ", -1))
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML writes a value below the last test. JSON is YAML, too.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err == nil {
		fmt.Printf("  ---\n  %s\n  ...\n", text)
	}
	return err
}
