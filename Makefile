# The front door. Every target is one sentence in `make help`; the work is in `cargo xtask`.

PROFILE ?= release
BINDIR  ?= target/$(PROFILE)
FUZZ_SECONDS ?= 60
# Where the executables go; everything else has its place in dist/.
LIBEXEC := /usr/libexec/fleet
EXECUTABLES := fleet fleet-certificate fleet-services
# The names that two of them answer to (services/fleet/src/main.rs, services/fleet-services/src/main.rs).
PROGRAMS := fleet-authorized-keys fleet-grow-data fleet-helper fleet-host-keys fleet-journal fleet-preinit fleet-reboot-reason fleet-regdomain fleet-upload-cursor
SERVICES := fleet-config fleet-journal-sync fleet-watch

.PHONY: help run test test-system bench arm fuzz schema image install install-flasher layer-check fmt clean

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

arm: ## Builds the executables for ARM, and runs their tests under emulation
	@cargo xtask arm

fuzz: ## Fuzzes the readers of config.json and of OpenVPN's configurations, FUZZ_SECONDS (60) each
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

# Puts the executables, their other names, and dist/ below DESTDIR: for the recipe and for the reference image alike.
install: ## Installs the executables of $(BINDIR) and dist/ below DESTDIR
	install -d $(DESTDIR)$(LIBEXEC) $(DESTDIR)/usr/bin
	install -m 0755 $(EXECUTABLES:%=$(BINDIR)/%) $(DESTDIR)$(LIBEXEC)
	for program in $(PROGRAMS); do ln -sfn fleet $(DESTDIR)$(LIBEXEC)/$$program; done
	for service in $(SERVICES); do ln -sfn fleet-services $(DESTDIR)$(LIBEXEC)/$$service; done
	ln -sfn ../libexec/fleet/fleet $(DESTDIR)/usr/bin/fleet
	cd dist && find . -type f -exec install -D -m 0644 {} $(DESTDIR)/{} \;

# What only the flasher's image has (docs/flasher.md).
install-flasher: ## Installs the flasher and its units below DESTDIR
	install -d $(DESTDIR)$(LIBEXEC)
	install -m 0755 $(BINDIR)/fleet-flasher $(DESTDIR)$(LIBEXEC)
	cd services/fleet-flasher/dist && find . -type f -exec install -D -m 0644 {} $(DESTDIR)/{} \;

clean: ## Removes what was built
	cargo clean
	cargo clean --manifest-path tools/Cargo.toml
	cargo clean --manifest-path fuzz/Cargo.toml
	rm -rf build
