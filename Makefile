# Makefile - builds kvsql and runs everything that is checked about it.
#
# `make help` lists the targets. Everything made lands in $(O), nothing beside
# the sources. Each room of the source tree becomes one library; each file of
# tests/unit, tests/model and bench one program linked with all rooms.
#
#   O=DIR                         where to build (build)
#   CC=gcc|clang                  the compiler
#   CFLAGS, LDFLAGS               added to ours
#   SAN=address|undefined|thread  build and check under a sanitizer; that of
#                addresses has the one of undefined behaviour with it
#   DEBUG=1                       with the dear asserts and lock ranks
#   YES=1                         install packages without asking
#   KVSQL_REQUIRE_ALL=1           a skipped test is a failure

O ?= build
SAN ?=
DEBUG ?=
COVER ?=
prefix ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC = gcc
endif
AR ?= ar

# Builds that differ in kind live apart: $(O) itself is the plain one.
variant := $(subst $() ,-,$(strip $(SAN) $(if $(DEBUG),debug) $(if $(COVER),cover)))
B := $(O)$(if $(variant),/$(variant))

# ---- flags ------------------------------------------------------------------

comma := ,
is_clang := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
is_x86 := $(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null))
has_libedit := $(shell pkg-config --exists libedit 2>/dev/null && echo yes)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Werror
BASE := -std=c11 -D_GNU_SOURCE -O2 -g -fno-omit-frame-pointer \
	-fvisibility=hidden -I. $(WARN)
ifeq ($(is_clang),)
ifneq ($(is_x86),)
BASE += -mstringop-strategy=libcall
endif
endif

ifeq ($(SAN),address)
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
else ifeq ($(SAN),undefined)
SANFLAGS := -fsanitize=undefined -fno-sanitize-recover=all
else ifeq ($(SAN),thread)
SANFLAGS := -fsanitize=thread
else ifneq ($(SAN),)
$(error SAN=$(SAN): it is one of address, undefined, thread)
endif
ifneq ($(COVER),)
SANFLAGS += --coverage -O0 -DKVSQL_PROBES
endif

ALL_CFLAGS = $(BASE) $(if $(DEBUG),-DKVSQL_DEBUG) $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(SANFLAGS) $(LDFLAGS)
LIBS := -lsqlite3 -lmicrohttpd -lz
EDIT_CFLAGS := $(if $(has_libedit),-DKVSQL_LIBEDIT $(shell pkg-config --cflags libedit))
EDIT_LIBS := $(if $(has_libedit),$(shell pkg-config --libs libedit))
CURL_LIBS := $(if $(shell grep -l curl/curl.h $(wildcard cli/*.c) /dev/null),-lcurl)
SYS_LIBS := $(CURL_LIBS) -lpthread -lm
CHECK_CFLAGS = $(shell pkg-config --cflags check)
CHECK_LIBS = $(shell pkg-config --libs check)

# ---- what there is ----------------------------------------------------------

src_kvsql := $(wildcard kvsql/base/*.c) $(wildcard kvsql/*.c)
src_vtab := $(wildcard vtab/*.c)
src_command := $(wildcard command/*.c)
src_http := $(wildcard http/*.c)
src_resp := $(wildcard resp/*.c)
src_cli := $(wildcard cli/*.c)
src_testlib := $(wildcard tests/lib/*.c)
src_benchlib := $(wildcard bench/lib/*.c)
src_sqltest := $(filter-out tests/sql/test_%,$(wildcard tests/sql/*.c))

# The console, and the editor that it takes from Debian's libjs-codemirror.
EDITOR_HOME ?= /usr/share/javascript/codemirror
console := $(wildcard http/console/*.html http/console/*.css http/console/*.js \
	http/console/*.svg)
editor := $(wildcard $(EDITOR_HOME)/lib/codemirror.* $(EDITOR_HOME)/addon/hint/show-hint.* \
	$(EDITOR_HOME)/addon/edit/*brackets.js)

# From the top down, so that the linker goes down too.
rooms := $(foreach room,cli http resp command vtab kvsql,$(if $(src_$(room)),$(room)))
room_libs := $(rooms:%=$(B)/lib%.a)
testlib := $(if $(src_testlib),$(B)/libtestlib.a)

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

# What takes long begins first, so that nothing is waited for alone at the end.
long := $(addprefix $(B)/tests/unit/test_,slice pages recover replay edit long)
unit := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
unit := $(filter $(long),$(unit)) $(filter-out $(long),$(unit))
model := $(patsubst %.c,$(B)/%,$(wildcard tests/model/test_*.c))
sql := $(patsubst %.c,$(B)/%,$(wildcard tests/sql/test_*.c))
# API names some: "t_resp t_config".
api := $(if $(API),$(API:%=tests/api/%),$(wildcard tests/api/t_*))
no_gate := $(B)/tests/crash/no_gate
benches := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))
scripts := $(foreach s,sql crash compat docs,$(if $(wildcard tests/$(s)/run),check-$(s)))
suites := $(if $(unit),check) $(if $(model),check-model) check-api $(scripts) \
	$(if $(wildcard tests/amal/run),check-amal) \
	$(if $(wildcard tests/ext/run),check-ext) \
	$(if $(wildcard tests/console/run),check-console) \
	$(if $(wildcard tests/lint/run),lint)
program := $(if $(src_cli),$(B)/kvsql)
# With a sanitizer it is made for check-ext alone.
ext := $(if $(COVER)$(SAN),,$(B)/kvsql.so)

# ---- build ------------------------------------------------------------------

.PHONY: all build libs ext programs help deps deps-test deps-clients deps-full run demo
.PHONY: test test-clients
.PHONY: check check-model check-sql check-api check-crash check-docs check-amal
.PHONY: check-ext check-sqlite test-sql-long
.PHONY: check-crash-long check-compat check-console test-console deps-console
.PHONY: check-contract check-contract-long deps-bench
.PHONY: lint diff-long fuzz fuzz-quick bench bench-icount coverage fmt install uninstall amal clean
.PHONY: force
.DELETE_ON_ERROR:
.SUFFIXES:

all: build

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | \
		while read -r name words; do printf '  %-14s%s\n' $$name "$$words"; done

build: libs $(program) $(ext) ## the program $(O)/kvsql and the libraries
libs: $(room_libs)
ext: $(B)/kvsql.so ## the loadable extension $(O)/kvsql.so
programs: build $(unit) $(model) $(sql)

# The command line of the last build; when it changes, everything is made anew.
$(B)/flags: force
	@mkdir -p $(B)
	@echo '$(CC) $(ALL_CFLAGS) $(EDIT_CFLAGS) / $(ALL_LDFLAGS)' | \
		cmp -s - $@ || \
		echo '$(CC) $(ALL_CFLAGS) $(EDIT_CFLAGS) / $(ALL_LDFLAGS)' > $@

$(B)/obj/cli/%.o: EXTRA = $(EDIT_CFLAGS)
$(B)/obj/tests/%.o: EXTRA = $(CHECK_CFLAGS)
$(B)/obj/command/bits.o: EXTRA = -O3 # loops that become vectors
$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c $< -o $@

# The files of the console as a source of ours.
$(B)/console/files.c: http/console/embed $(console) $(editor) $(B)/flags
	@echo "  EMBED $@"
	@$(if $(editor),,echo "kvsql: the console has no editor for SQL: install \
		libjs-codemirror" >&2;) mkdir -p $(@D) && \
		sh http/console/embed $(@D) $(EDITOR_HOME) $(console)
$(B)/console/files.o: $(B)/console/files.c http/console.h
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

define archive
	@echo "  AR    $@"
	@rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
endef
$(B)/libkvsql.a: $(call objects,$(src_kvsql))
	$(archive)
$(B)/libvtab.a: $(call objects,$(src_vtab))
	$(archive)
$(B)/libcommand.a: $(call objects,$(src_command))
	$(archive)
$(B)/libhttp.a: $(call objects,$(src_http)) $(B)/console/files.o
	$(archive)
$(B)/libresp.a: $(call objects,$(src_resp))
	$(archive)
$(B)/libcli.a: $(call objects,$(src_cli))
	$(archive)
$(B)/libtestlib.a: $(call objects,$(src_testlib))
	$(archive)

# What a program links that embeds the store: both rooms, some of whose files
# have one name.
$(B)/lib/libkvsql.a: $(call objects,$(src_kvsql) $(src_vtab))
	@echo "  AR    $@"
	@mkdir -p $(@D)
	@rm -f $@ && $(AR) qcs $@ $(filter %.o,$^)

# main() is one of libcli.a; a test brings its own.
$(B)/kvsql: $(room_libs)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $(room_libs) \
		-Wl,--end-group $(LIBS) $(EDIT_LIBS) $(SYS_LIBS)

# The same sources once more, as a library that any SQLite loads: it has the
# functions of the process that loads it, and none of a library of ours.
$(B)/obj/ext/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $< (extension)"
	@$(CC) $(ALL_CFLAGS) -fPIC -DKVSQL_EXTENSION -MMD -MP -c $< -o $@
$(B)/kvsql.so: $(patsubst %.c,$(B)/obj/ext/%.o,$(src_kvsql) $(src_vtab)) \
		vtab/kvsql.map
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -shared $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
		-Wl,--version-script=vtab/kvsql.map -o $@ $(filter %.o,$^) \
		-lpthread -lm

define link_test
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group \
		$(testlib) $(room_libs) -Wl,--end-group $(CHECK_LIBS) $(LIBS) \
		$(EDIT_LIBS) $(SYS_LIBS)
endef
$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(testlib) $(room_libs)
	$(link_test)
# The second opinion on JSON.
$(B)/tests/unit/test_json: private LIBS += -lcjson
# This one puts itself between the store and its memory.
$(B)/tests/model/test_store_guard: private LDFLAGS += \
	-Wl,--wrap=kv_mem_alloc,--wrap=kv_mem_free,--wrap=kv_edit
# ... and this one between the door and its memory.
$(B)/tests/unit/test_resp: private LDFLAGS += \
	-Wl,--wrap=kv_mem_alloc,--wrap=kv_mem_zalloc,--wrap=kv_mem_realloc
$(B)/tests/model/%: $(B)/obj/tests/model/%.o $(testlib) $(room_libs)
	$(link_test)
# ... and this one between the modules and SQLite.
$(B)/tests/sql/test_plans $(B)/tests/sql/test_nomem: private LDFLAGS += \
	-Wl,--wrap=sqlite3_create_module_v2
$(B)/tests/sql/%: $(B)/obj/tests/sql/%.o $(call objects,$(src_sqltest)) \
		$(testlib) $(room_libs)
	$(link_test)
# A server that must be found out: its gate is always open.
$(no_gate): private LDFLAGS += -Wl,--wrap=kv_gate_open
$(no_gate): $(B)/obj/tests/crash/no_gate.o $(testlib) $(room_libs)
	$(link_test)
# The door's peer parses with this.
$(B)/bench/bare $(B)/bench/raw: private LIBS += -lcjson
$(B)/bench/%: $(B)/obj/bench/%.o $(call objects,$(src_benchlib)) \
		$(testlib) $(room_libs)
	$(link_test)

.SECONDARY:

# ---- dependencies and running -----------------------------------------------

deps: ## install what building needs (shows the line; asks, or stops with 3)
	@YES='$(YES)' sh .ci/deps build
deps-test: ## install what `make test` needs
	@YES='$(YES)' sh .ci/deps test
deps-clients: ## install the clients that `make test-clients` drives
	@YES='$(YES)' sh .ci/deps clients
deps-console: ## install the browser that `make test-console` drives
	@YES='$(YES)' sh .ci/deps console
deps-bench: ## install what bench/http measures with and against
	@YES='$(YES)' sh .ci/deps bench
deps-full: ## install what the wider suites and sanitizers use
	@YES='$(YES)' sh .ci/deps full

run: deps ## build and start a server with its data in ./kvsql-data
	@$(MAKE) --no-print-directory build
	@exec $(B)/kvsql serve --dir ./kvsql-data

demo: deps ## load Debian's package index and ask about it
	@$(MAKE) --no-print-directory build
	@KVSQL=$(B)/kvsql sh docs/demo.sh

# ---- checks -----------------------------------------------------------------

suite_of = B='$(B)' O='$(B)' CC='$(CC)' SAN='$(SAN)' \
	SANFLAGS='$(SANFLAGS)' KVSQL='$(B)/kvsql' \
	bash tests/lib/suite
suite = @$(suite_of)

test: deps-test ## build and all tests that belong to every change
	@$(MAKE) --no-print-directory programs
	@rm -rf $(B)/results
	@for suite in $(suites); do \
		$(MAKE) --no-print-directory $$suite || :; done
	@echo "---- all"
	@bash tests/lib/count $(B)/results $(words $(suites))

check: $(unit) ## unit tests
	$(suite) unit $(unit)
check-model: $(model) ## random operations against a plain model
	$(suite) model $(model)
check-sql: build $(sql) ## SQL against native tables, commands, files, faults
	$(suite) sql tests/sql/run $(wildcard tests/sql/t_*) $(sql)
check-api: build ## HTTP and Redis protocol as clients see them; API= names some
	$(suite) api $(api)
diff-long: build ## a million random commands to kvsql and to a Redis
	@DIFF_COMMANDS=$${DIFF_COMMANDS:-100000} \
		DIFF_SEEDS="$${DIFF_SEEDS:-11 12 13 14 15}" KVSQL_TEST_SECONDS=7200 \
		$(suite_of) diff-long tests/api/t_command_diff
# A million statements of each kind: half an hour and more.
test-sql-long: build $(sql) ## a million random SQL statements of each kind
	@KVSQL_SQL_STEPS=$${KVSQL_SQL_STEPS:-1000000} \
		KVSQL_SQL_SECONDS=$${KVSQL_SQL_SECONDS:-600} KVSQL_KILLS=$${KVSQL_KILLS:-200} \
		KVSQL_TEST_SECONDS=14400 \
		$(suite_of) sql-long $(sql) \
		tests/sql/t_live_file tests/crash/t_sql_kill
# TE12; by hand, where another libsqlite3.so is at hand: SQLITE_LIB names it. The
# plans of TE10 are those of one version.
sqlite_programs = $(filter-out %/test_plans,$(sql)) $(addprefix $(B)/tests/unit/test_,vtab session plan \
	func khash defs exec guest changes pages snapshot \
	snapshot_refused snapshot_faults)
check-sqlite: $(sqlite_programs) ## the SQL suites on another SQLite: SQLITE_LIB=path
	@SQLITE_LIB='$(SQLITE_LIB)' PROGRAMS='$(sqlite_programs)' \
		$(suite_of) sqlite tests/lib/other_sqlite
check-crash: build $(no_gate) ## kills, power cuts, faults, damage, full disks; CRASH= names some
	$(suite) crash tests/crash/run
check-compat: build ## directories of every format open, and newer ones are refused
	$(suite) compat tests/compat/run
check-crash-long: build $(no_gate) ## the same at full length: an hour or two
	@KVSQL_KILLS=200 KVSQL_BATCHES=1300 KVSQL_CUTS=100 KVSQL_SECONDS=6 KVSQL_FAULTS=40 \
		KVSQL_DAMAGES=3000 KVSQL_VARIANTS=6 KVSQL_ALLOCATIONS=400 \
		KVSQL_TRANSACTIONS=20000 KVSQL_OPERATIONS=5000 KVSQL_STEP=1 \
		KVSQL_CHURN=600 KVSQL_CRASH_SECONDS=7200 KVSQL_TEST_SECONDS=14400 \
		$(suite_of) crash-long tests/crash/run
check-docs: build ## every block of the tutorial
	$(suite) docs tests/docs/run
test-clients: deps-clients ## real clients, from Debian and npm
	@$(MAKE) --no-print-directory build
	$(suite) clients tests/clients/run
check-contract: build ## requests made of /openapi.json; CONTRACT_CASES=, CONTRACT_SEED=
	$(suite) contract tests/contract/run
check-contract-long: build ## a hundred thousand of them
	@CONTRACT_CASES=$${CONTRACT_CASES:-100000} KVSQL_CONTRACT_SECONDS=7200 \
		KVSQL_TEST_SECONDS=7300 $(suite_of) contract-long tests/contract/run
check-console: build ## the console in a browser: every view, by keyboard, axe
	$(suite) console tests/console/run
test-console: deps-console ## the same, with what it needs installed
	@$(MAKE) --no-print-directory check-console
check-amal: amal $(B)/lib/libkvsql.a ## the single file builds alone and exports only kvsql_
	$(suite) amal tests/amal/run
check-ext: build $(B)/kvsql.so ## the extension in the sqlite3 shell, Python, threads
	$(suite) ext tests/ext/run
lint: ## rooms, cycles, headers, banned calls, names
	$(suite) lint tests/lint/run

bench: build $(benches) ## measure; prints the table
	@if [ -x bench/run ]; then B='$(B)' O='$(B)' KVSQL='$(B)/kvsql' bench/run; \
	else for b in $(benches); do $$b || exit 1; done; fi
icounts := $(addprefix bench-icount-,store commands sql http)
.PHONY: $(icounts)
bench-icount: $(icounts) ## instructions per operation, against the gates; -j2
$(icounts): build $(benches)
bench-icount-store:
	@B='$(B)' O='$(B)' KVSQL='$(B)/kvsql' bench/icount
bench-icount-commands:
	@O='$(B)' bench/commands
bench-icount-sql:
	@O='$(B)' bench/sql
bench-icount-http:
	@O='$(B)' KVSQL='$(B)/kvsql' bench/http --count

# Servers that are killed leave no counters behind: what they reach and no other
# does is missing. COVERAGE=0 counts what is there, without running anything.
COVERAGE_SUITES ?= check check-model check-crash
coverage: ## lines and branches of the core that tests reach; probes never hit
	@$(MAKE) --no-print-directory COVER=1 programs
ifneq ($(COVERAGE),0)
	@rm -f $(O)/cover/probes.hit; find $(O)/cover -name '*.gcda' -delete
	@KVSQL_PROBE_FILE='$(abspath $(O))/cover/probes.hit' $(MAKE) \
		--no-print-directory -k COVER=1 $(COVERAGE_SUITES) || :
endif
	@python3 tests/lib/coverage $(O)/cover --least 95 85

fuzz: ## fuzz one decoder: FUZZ=name, 20 s (needs clang)
	@bash tests/lib/fuzz '$(O)/fuzz' '$(FUZZ)'
fuzz-quick: ## every decoder on its seeds and for a few seconds
	$(suite) fuzz tests/fuzz/run

# ---- the rest ---------------------------------------------------------------

amal: ## join the library into $(O)/amal/kvsql.c and kvsql.h
	@python3 amalgamation/build.py $(B)/amal

fmt: ## lay out the sources by .clang-format
	clang-format -i $(wildcard kvsql/*.[ch] kvsql/base/*.[ch] vtab/*.[ch] \
		command/*.[ch] http/*.[ch] resp/*.[ch] cli/*.[ch] tests/*/*.[ch] bench/*.[ch])

install: build $(B)/kvsql.so $(B)/lib/libkvsql.a ## program, header, library and extension under $(DESTDIR)$(prefix)
	install -d $(DESTDIR)$(prefix)/bin $(DESTDIR)$(prefix)/include \
		$(DESTDIR)$(prefix)/lib
	install -m 755 $(B)/kvsql $(DESTDIR)$(prefix)/bin/kvsql
	install -m 644 kvsql/kvsql.h $(DESTDIR)$(prefix)/include/kvsql.h
	install -m 644 $(B)/lib/libkvsql.a $(DESTDIR)$(prefix)/lib/libkvsql.a
	install -m 644 $(B)/kvsql.so $(DESTDIR)$(prefix)/lib/kvsql.so
uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(prefix)/bin/kvsql $(DESTDIR)$(prefix)/include/kvsql.h \
		$(DESTDIR)$(prefix)/lib/libkvsql.a $(DESTDIR)$(prefix)/lib/kvsql.so

clean: ## remove $(O)
	rm -rf $(O)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
