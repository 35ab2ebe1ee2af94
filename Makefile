# The front door. Every target is one sentence in `make help`; the work is in `cargo xtask`.

PROFILE ?= release
BINDIR  ?= target/$(PROFILE)
FUZZ_SECONDS ?= 60
# Where the executables go; everything else has its place in dist/.
LIBEXEC := /usr/libexec/fleet
# The names that the one executable answers to (services/fleet/src/main.rs).
APPLETS := fleet-authorized-keys fleet-config fleet-helper fleet-host-keys fleet-journal fleet-journal-sync \
           fleet-preinit fleet-reboot-reason fleet-regdomain fleet-upload-cursor fleet-watch

.PHONY: help run test test-system bench fuzz schema image install layer-check fmt clean

help: ## Shows this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: ## Builds the reference image and boots it in QEMU, to a root console
	@cargo xtask run

test: ## Everything a change must pass
	@cargo xtask test

test-system: ## The long system tests (QEMU), beyond those of make test
	@cargo xtask test --system

bench: ## Measures what the services cost; writes build/bench.json
	@cargo xtask bench

fuzz: ## Fuzzes the reader and the checker of config.json, FUZZ_SECONDS (60) each
	@cargo xtask fuzz --seconds $(FUZZ_SECONDS)

schema: ## Writes the schema and the reference page of config.json from their source
	@cargo xtask schema

image: ## Builds the reference image below build/reference
	@cargo xtask image

layer-check: ## Lints the layer, and parses it with BitBake where its layers can be checked out
	@cargo xtask layer-check

fmt: ## Formats all Rust code
	@cargo fmt --all
	@cargo fmt --all --manifest-path tools/Cargo.toml
	@cargo fmt --all --manifest-path fuzz/Cargo.toml

# Puts the executables, the names of the one, and dist/ below DESTDIR: for the recipe and for the reference image alike.
install: ## Installs the executables of $(BINDIR) and dist/ below DESTDIR
	install -d $(DESTDIR)$(LIBEXEC) $(DESTDIR)/usr/bin
	install -m 0755 $(BINDIR)/fleet $(DESTDIR)$(LIBEXEC)/fleet
	install -m 0755 $(BINDIR)/fleet-certificate $(DESTDIR)$(LIBEXEC)/fleet-certificate
	for applet in $(APPLETS); do ln -sfn fleet $(DESTDIR)$(LIBEXEC)/$$applet; done
	ln -sfn ../libexec/fleet/fleet $(DESTDIR)/usr/bin/fleet
	cd dist && find . -type f -exec install -D -m 0644 {} $(DESTDIR)/{} \;

clean: ## Removes what was built
	cargo clean
	cargo clean --manifest-path tools/Cargo.toml
	cargo clean --manifest-path fuzz/Cargo.toml
	rm -rf build
