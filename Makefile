# Everything starts here: make demo, make test, make bench, make days, make install PREFIX=/usr/local
# Random tests take the seed SHEAF_SEED (11 unless set), so that what lands does not depend on luck; make soak goes on from
# there.

PREFIX ?= /usr/local
SWIFT ?= swift
SOURCE ?=

# Debian packages: to build, to compare with in tests and benchmarks, and to check the script on the store.
BUILD_PACKAGES = libarchive-dev zlib1g-dev libisal-dev libdeflate-dev libssl-dev pkg-config
TEST_PACKAGES = $(BUILD_PACKAGES) tar gzip libarchive-tools busybox python3 p7zip-full mtree-netbsd rsync acl attr \
  libcap2-bin strace util-linux mount e2fsprogs fuse2fs xfsprogs btrfs-progs dosfstools exfatprogs exfat-fuse ntfs-3g \
  age openssh-client openssh-server openssh-sftp-server sqlite3 procps postgresql tmux zsh fish \
  ceph-mon ceph-osd radosgw ceph-common python3-swift s3cmd rclone openssl curl libcurl4 \
  libnotify-bin dbus python3-dbus python3-gi
LINT_PACKAGES = shellcheck python3
DEB_PACKAGES = $(BUILD_PACKAGES) dpkg-dev lintian patchelf
BENCH_PACKAGES = $(BUILD_PACKAGES) isal openssl python3 xz-utils
DAYS_PACKAGES = $(BUILD_PACKAGES) python3 tar gzip rsync age borgbackup restic duplicity rdiff-backup python3-pyxattr \
  python3-pylibacl

SHEAF = .build/release/sheaf
# Tests write a lot of small files: in memory where there is room for that.
TEST_FOLDER = $${SHEAF_SCRATCH:-$$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)}

.PHONY: all build demo test bench bench-remote days soak faults fuzz install deb portable lint clean packages

all: build

build:
	@$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES)"
	$(SWIFT) build -c release --product sheaf

demo:
	@$(MAKE) --no-print-directory build
	@sh fixtures/demo.sh "$(SHEAF)" "$(SOURCE)"

test:
	@$(MAKE) --no-print-directory packages WANTED="$(TEST_PACKAGES)"
	$(SWIFT) build -c release --build-tests
	SHEAF_SEED=$${SHEAF_SEED:-11} SHEAF_SCRATCH=$(TEST_FOLDER) $(SWIFT) test -c release --skip-build

bench:
	@$(MAKE) --no-print-directory packages WANTED="$(BENCH_PACKAGES)"
	@$(MAKE) --no-print-directory build
	python3 Tests/Benchmarks/bench.py --sheaf $(SHEAF) $(BENCH)

# Five days of one tree, beside what Sheaf replaces; as root, or owners are left out.
# The same on an SSH server and an object store, on loopback, near and 30 ms away. As root; a quarter of an hour.
bench-remote:
	@$(MAKE) --no-print-directory packages WANTED="$(TEST_PACKAGES) restic"
	@$(MAKE) --no-print-directory build
	python3 Tests/Benchmarks/remote.py --sheaf $(SHEAF) $(BENCH)

days:
	@$(MAKE) --no-print-directory packages WANTED="$(DAYS_PACKAGES)"
	@$(MAKE) --no-print-directory build
	python3 Tests/Benchmarks/days.py --sheaf $(SHEAF) --work $(TEST_FOLDER)/sheaf-days $(DAYS)

# Random histories, seed after seed, for MINUTES; a failing seed stops it and is printed.
MINUTES ?= 30
SEED ?= 100000
soak:
	@$(MAKE) --no-print-directory packages WANTED="$(TEST_PACKAGES)"
	$(SWIFT) build -c release --build-tests
	@end=$$(( $$(date +%s) + $(MINUTES) * 60 )); seed=$(SEED); \
	while [ $$(date +%s) -lt $$end ]; do \
	  SHEAF_SEED=$$seed SHEAF_RUNS=20 SHEAF_STEPS=10 SHEAF_SCRATCH=$(TEST_FOLDER) \
	    $(SWIFT) test -c release --skip-build --filter HistoryTests >.build/soak.log 2>&1 || \
	    { grep -E 'seed|recorded' .build/soak.log; exit 1; }; \
	  seed=$$((seed + 20)); \
	  echo "seeds $(SEED) to $$((seed - 1)): $$(( (seed - $(SEED)) * 10 )) steps without a difference"; \
	done

# Every fault instead of a sample: each system call that changes something fails once, drives are full to every degree,
# lose their power and are pulled out. Needs root for all but the first.
faults:
	@$(MAKE) --no-print-directory packages WANTED="$(TEST_PACKAGES)"
	$(SWIFT) build -c release --build-tests
	SHEAF_FAULTS=all SHEAF_SEED=$${SHEAF_SEED:-11} SHEAF_SCRATCH=$(TEST_FOLDER) \
	  $(SWIFT) test -c release --skip-build --filter 'FaultTests|DriveTests|HostileScriptTests'

# Fuzzes what reads stored bytes, SECONDS each; findings stop it and lie in .build-fuzz.
SECONDS ?= 600
FUZZERS = FuzzManifest:manifest FuzzMembers:members FuzzTar:tar FuzzAge:age
fuzz:
	@$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES)"
	for fuzzer in $(FUZZERS); do name=$${fuzzer%:*}; corpus=$${fuzzer#*:}; \
	  SHEAF_FUZZ=1 $(SWIFT) build -c release --product $$name --scratch-path .build-fuzz \
	    -Xswiftc -sanitize=fuzzer,address -Xswiftc -enable-testing || exit 1; \
	  mkdir -p .build-fuzz/corpus/$$corpus; \
	  SWIFT_BACKTRACE=enable=no .build-fuzz/release/$$name -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 \
	    -artifact_prefix=.build-fuzz/$$corpus- .build-fuzz/corpus/$$corpus fixtures/fuzz/$$corpus || exit 1; \
	done

# The installed program carries the Swift library in itself: it runs where there is no toolchain.
install:
	@$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES)"
	$(SWIFT) build -c release --product sheaf --static-swift-stdlib --scratch-path .build-static
	install -D -m 755 .build-static/release/sheaf $(DESTDIR)$(PREFIX)/bin/sheaf
	install -D -m 644 man/sheaf.1 $(DESTDIR)$(PREFIX)/share/man/man1/sheaf.1
	install -D -m 644 man/sheaf-format.5 $(DESTDIR)$(PREFIX)/share/man/man5/sheaf-format.5
	install -D -m 644 man/sheaf.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/sheaf.toml.5
	install -D -m 644 man/sheaf-migrate.7 $(DESTDIR)$(PREFIX)/share/man/man7/sheaf-migrate.7
	install -D -m 644 man/sheaf-encryption.7 $(DESTDIR)$(PREFIX)/share/man/man7/sheaf-encryption.7
	install -D -m 644 man/sheaf-stores.7 $(DESTDIR)$(PREFIX)/share/man/man7/sheaf-stores.7
	for shell in bash:share/bash-completion/completions/sheaf zsh:share/zsh/site-functions/_sheaf \
	    fish:share/fish/vendor_completions.d/sheaf.fish; do \
	  file=$(DESTDIR)$(PREFIX)/$${shell#*:}; mkdir -p "$$(dirname "$$file")"; \
	  .build-static/release/sheaf --generate-completion-script $${shell%%:*} > "$$file"; \
	done

# A Debian package, in .build-deb.
deb:
	@$(MAKE) --no-print-directory packages WANTED="$(DEB_PACKAGES)"
	rm -rf .build-deb
	@$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/.build-deb/tree PREFIX=/usr
	sh packaging/deb.sh .build-deb/tree .build-deb
	lintian --fail-on error,warning .build-deb/*.deb

# An archive that holds all libraries, in .build-portable.
portable:
	@$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES) libcurl4"
	rm -rf .build-portable
	@$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/.build-portable/tree PREFIX=/usr
	sh packaging/portable.sh .build-portable/tree .build-portable

lint:
	@$(MAKE) --no-print-directory packages WANTED="$(LINT_PACKAGES)"
	shellcheck -s sh Sources/StoreFiles/restore.sh packaging/deb.sh packaging/portable.sh
	python3 Tests/Lint/rooms.py
	$(SWIFT) format lint --strict -r Package.swift Sources Tests

clean:
	rm -rf .build .build-static .build-deb .build-fuzz .demo .bench

# Installs what is missing of WANTED, where that can be done.
packages:
	@missing=; for package in $(WANTED); do \
	  dpkg -s "$$package" >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  if ! command -v apt-get >/dev/null 2>&1; then echo "install these Debian packages first:$$missing" >&2; exit 1; fi; \
	  sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; \
	    command -v sudo >/dev/null 2>&1 || { echo "install these Debian packages first:$$missing" >&2; exit 1; }; fi; \
	  echo "installing:$$missing"; \
	  $$sudo apt-get update -qq && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null || \
	    { echo "install these Debian packages first:$$missing" >&2; exit 1; }; \
	fi
