# The front door. meson and ninja do the work behind it; see `make help`.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build

.PHONY: all build demo test proof endurance bench install uninstall clean format help

all: build

# The prefix is compiled in (where the daemon looks for its spender), so it is a build option.
build:
	@tools/build "$(BUILD)" "$(PREFIX)"

demo:
	@tools/install-deps build
	@tools/build "$(BUILD)" "$(PREFIX)"
	@tools/demo $(DEMO_ARGS)

test:
	@tools/install-deps test
	@tools/run-tests $(STAGES)

proof:
	@tools/install-deps proof
	@tools/build "$(BUILD)" "$(PREFIX)"
	@tools/proof $(PROOF_ARGS)

endurance: build
	@tools/install-deps build
	@test/endurance/endurance.py $(ENDURANCE_ARGS)

bench: build
	@tools/bench $(BENCH_ARGS)

install: build
	@tools/install-tree install "$(BUILD)" "$(PREFIX)" "$(DESTDIR)"

uninstall:
	@tools/install-tree uninstall "$(BUILD)" "$(PREFIX)" "$(DESTDIR)"

clean:
	rm -rf build test/real/node_modules

format:
	@find src lab sim test -name node_modules -prune -o -name '*.[ch]' -print 2>/dev/null \
		| xargs clang-format -i

help:
	@echo 'make              build into $(BUILD)/'
	@echo 'make demo         install what is missing (Debian, Ubuntu), build, show the main job;'
	@echo '                  DEMO_ARGS=--keep leaves it running to look at'
	@echo 'make test         install what is missing, run every test; STAGES="unit script" for some'
	@echo '                  (tools/run-tests --list names them)'
	@echo 'make proof        the long form of every proof, on one page (two and a half hours on two cores);'
	@echo '                  PROOF_ARGS="--minutes 5 simulator" for less, PROOF_ARGS=--page for the'
	@echo '                  page of what was run last'
	@echo 'make endurance    rude siblings, kills and switches for half an hour; ENDURANCE_ARGS="--minutes M"'
	@echo 'make bench        measure'
	@echo 'make install      PREFIX=$(PREFIX), DESTDIR for packagers'
	@echo 'make uninstall    remove exactly what `make install` put there'
	@echo 'make format       clang-format every C file'
	@echo 'make clean        remove what was built'
