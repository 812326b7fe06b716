# Each target is one line into hack/: read the script of that name to see what it does.
.PHONY: demo build test test-systemd test-vm engines engines-all lint bench soak crash mutate fuzz ledger conformance dist deps install uninstall clean help
.DEFAULT_GOAL := help

demo: ;      @hack/demo
build: ;     @hack/build
test: ;      @hack/test
test-systemd: ; @hack/test systemd
test-vm: ;   @hack/vm all
engines: ;   @hack/test engines
engines-all: ; @hack/test engines engines-v2 engines-systemd engines-newer
lint: ;      @hack/lint
bench: ;     @hack/bench/run $(ARGS)
soak: ;      @hack/soak && hack/crash
crash: ;     @hack/crash $(ARGS)
mutate: ;    @hack/mutate $(ARGS)
fuzz: ;      @hack/fuzz/run $(ARGS)
ledger: ;    @hack/ledger
conformance: ; @hack/conformance $(ARGS)
dist: ;      @hack/dist $(ARGS)
deps: ;      @hack/deps build test lint engines
install: ;   @hack/install
uninstall: ; @hack/install --remove
clean: ;     @hack/clean
help: ;      @hack/help
