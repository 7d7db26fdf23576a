# One Makefile, no recursion. `make help` lists the targets; SAN=address,undefined and COV=1 build into a variant directory.
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
VERSION := 0.1.0
CC      ?= cc
CFLAGS  ?= -O2 -g
comma   := ,
VARIANT := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),$(if $(COV),cov,release))
BUILD   ?= build/$(VARIANT)

# What a tool may link beside libc is part of the design (tests/bats/01-house.bats compares it with DT_NEEDED). Of libcurl and
# libarchive it's the headers alone: they are loaded when they are needed (curl.c, libarchive.c).
PKGS-hoy           :=
PKGS-hoy-image     := yajl
PKGS-hoy-transfer  := yajl libcurl libcrypto libarchive libisal libzstd gpgme libsodium yaml-0.1
PKGS-hoy-build     := yajl
PKGS-hoy-builder   := yajl libcrypto libarchive
PKGS-hoy-run       := yajl
PKGS-hoy-conmon    := yajl
PKGS-hoy-runtime   := yajl libseccomp libcap
PKGS-hoy-net       := yajl libmnl

# A tool is a folder cmd-X, its heavy half a folder in it: cmd-image/transfer/ is hoy-transfer.
# The tools that run most often start fastest when nothing is loaded (a sanitizer needs its shared runtime).
STATIC := $(if $(SAN)$(COV),,hoy hoy-conmon hoy-runtime)

DIRS-hoy           := cmd-hoy
DIRS-hoy-image     := cmd-image
DIRS-hoy-transfer  := cmd-image/transfer
DIRS-hoy-build     := cmd-build
DIRS-hoy-builder   := cmd-build/builder
DIRS-hoy-run       := cmd-run
DIRS-hoy-conmon    := cmd-conmon
DIRS-hoy-runtime   := cmd-runtime
DIRS-hoy-net       := cmd-net
TOOLS := $(foreach t,hoy hoy-image hoy-transfer hoy-build hoy-builder hoy-run hoy-conmon hoy-runtime hoy-net,$(if $(wildcard $(DIRS-$(t))/*.c),$(t)))
UNITS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))

hoy_cflags := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DHOY_VERSION='"$(VERSION)"' -I. -fPIE -fno-plt \
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter \
	-fstack-protector-strong -fno-common -ffunction-sections -fdata-sections
hoy_ldflags := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed,--gc-sections,--hash-style=gnu
ifdef SAN
hoy_cflags  += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
# The runtimes inside: the tests take the tools to places that have none.
hoy_ldflags += -fsanitize=$(SAN) -static-libasan -static-libubsan
else ifdef COV
hoy_cflags  += --coverage
hoy_ldflags += --coverage
else
hoy_cflags  += -D_FORTIFY_SOURCE=2
endif

objs = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(addsuffix /*.c,$(1))))
LIB  := $(BUILD)/libhoy.a

Q := $(if $(V),,@)

all: $(addprefix $(BUILD)/,$(TOOLS))

$(LIB): $(call objs,common/base common/data common/proc common/conf common/store common/oci common/cli)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

STATIC_PIE ?= -static-pie
# yajl's static archive has a name of its own. With STATIC_LIBS, what comes behind them, they lie in one place (tests/musl).
libs = $(if $(STATIC_LIBS),$(if $(filter yajl,$(PKGS-$(1))),-lyajl) $(if $(filter libseccomp,$(PKGS-$(1))),-lseccomp) $(STATIC_LIBS),$(call found_libs,$(1)))
found_libs = $(if $(PKGS-$(1)),$(if $(filter $(1),$(STATIC)),$(subst -lyajl,-lyajl_s,$(shell pkg-config --static --libs $(PKGS-$(1)))),$(shell pkg-config --libs $(PKGS-$(1)))))

define tool
$(BUILD)/$(1): $(call objs,$(DIRS-$(1))) $(LIB)
	@echo '  LD $$@'
	$(Q)$(CC) $(if $(filter $(1),$(STATIC)),$(filter-out -pie,$(hoy_ldflags)) $(STATIC_PIE),$(hoy_ldflags)) $(LDFLAGS) -o $$@ $$^ $(call libs,$(1)) $(if $(filter hoy-transfer,$(1)),-lpthread)
endef
$(foreach t,$(TOOLS),$(eval $(call tool,$(t))))

# A unit test may also link the objects of the tool that it names in a line "/* links: cmd-runtime */".
define unit
$(BUILD)/tests/unit/$(1): $(BUILD)/tests/unit/$(1).o $(filter-out %/main.o,$(call objs,$(shell sed -n 's,^/\* links: \(.*\) \*/,\1,p' tests/unit/$(1).c))) $(LIB)
	@echo '  LD $$@'
	$(Q)$(CC) $(hoy_ldflags) $(LDFLAGS) -o $$@ $$^ $$(shell pkg-config --libs yajl libseccomp libcap libcrypto libarchive libisal libzstd libcurl gpgme libsodium yaml-0.1 libmnl) -lpthread
endef
$(foreach u,$(UNITS),$(eval $(call unit,$(u))))
units: $(addprefix $(BUILD)/tests/unit/,$(UNITS)) $(addprefix $(BUILD)/tests/faults/,inject disk) $(BUILD)/tests/compare/probe

$(BUILD)/tests/faults/inject: $(BUILD)/tests/faults/calls.o
$(addprefix $(BUILD)/tests/faults/,inject disk): %: %.o
	@echo '  LD $@'
	$(Q)$(CC) $(hoy_ldflags) $(LDFLAGS) -o $@ $^

# Runs in root directories that hold nothing else: no sanitizer's library either.
$(BUILD)/tests/compare/probe: tests/compare/probe.c
	@mkdir -p $(@D)
	@echo '  LD $@'
	$(Q)$(CC) $(filter-out -fsanitize% --coverage,$(hoy_cflags)) $(CFLAGS) $(CPPFLAGS) -static-pie $(LDFLAGS) -o $@ $<

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  CC $@'
	$(Q)$(CC) $(hoy_cflags) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(PREFIX)/libexec/hoy/podman $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7
	install -m 755 $(addprefix $(BUILD)/,$(TOOLS)) $(DESTDIR)$(BINDIR)
	$(foreach s,1 5 7,$(if $(wildcard man/*.$(s)),install -m 644 $(wildcard man/*.$(s)) $(DESTDIR)$(MANDIR)/man$(s);))
# Without any policy.json no image may come in (containers-policy.json(5)). Distributions bring one that accepts all; it belongs to the admin.
	@f=$(DESTDIR)$(SYSCONFDIR)/containers/policy.json; [ -e $$f ] || { echo "installing $$f, which accepts all images: there was none"; \
		install -D -m 644 common/conf/policy.json $$f; }
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BUILD)/hoy completion bash -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hoy
	$(BUILD)/hoy completion zsh -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hoy
	$(BUILD)/hoy completion fish -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/hoy.fish
	ln -sf $(BINDIR)/hoy-net $(DESTDIR)$(PREFIX)/libexec/hoy/podman/netavark
	ln -sf $(BINDIR)/hoy-conmon $(DESTDIR)$(PREFIX)/libexec/hoy/podman/conmon
	ln -sf $(BINDIR)/hoy-runtime $(DESTDIR)$(PREFIX)/libexec/hoy/podman/crun

# deps: what building needs; test-deps: what the tests need beside that. Debian only; elsewhere the list is the answer.
DEPS      := build-essential pkg-config libyajl-dev libcurl4-openssl-dev libssl-dev libarchive-dev libisal-dev libzstd-dev libgpgme-dev libsodium-dev libyaml-dev \
	libseccomp-dev libcap-dev libmnl-dev uidmap passt nftables iproute2 ca-certificates
TEST_DEPS := bats conmon mmdebstrap docker-registry busybox-static podman runc jq hyperfine curl zstd isal openssl apache2-utils socat strace sudo \
	python3 procps acl attr xfsprogs btrfs-progs clang libclang-rt-14-dev bear nginx-light slirp4netns mandoc binutils qemu-system-x86 qemu-user-static gcc-aarch64-linux-gnu cpio gnupg systemd dbus zsh fish containerd docker.io musl-tools gperf
apt_install = DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; dpkg -s $(1) >/dev/null 2>&1 || \
	{ apt-get update -q && apt-get install -y -q --no-install-recommends $(1); }
deps:
	@$(call apt_install,$(DEPS))
test-deps: deps
	@$(call apt_install,$(TEST_DEPS))

check: test-deps
	@$(MAKE) --no-print-directory all units
	@HOY_BUILD=$(abspath $(BUILD)) tests/run
# The part of it that runs in virtual machines: cgroup v2 with all controllers.
check-vm: test-deps
	@$(MAKE) --no-print-directory all units
	@HOY_BUILD=$(abspath $(BUILD)) tests/run tests/bats/60-cgroup2.bats
asan:
	@$(MAKE) --no-print-directory SAN=address,undefined all units
	@SAN=address,undefined ASAN_OPTIONS=detect_leaks=0 HOY_BUILD=$(abspath build/san-address-undefined) tests/run
# hoy, hoy-conmon and hoy-runtime with musl, and their tests.
musl: test-deps
	@tests/musl test
# Without an arm64 machine: does it compile?
check-arm64:
	@$(call apt_install,gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
	@tests/arm64
bench: all
	@HOY_BUILD=$(abspath $(BUILD)) tests/bench/run
fuzz:
	@tests/fuzz/run
# Some half an hour; interrupted, it goes on where it was.
faults: test-deps
	@$(MAKE) --no-print-directory all units
	@$(MAKE) --no-print-directory -s install PREFIX=$(abspath $(BUILD))/stage
	@HOY_BUILD=$(abspath $(BUILD)) unshare --net sh -c 'ip link set lo up && exec tests/faults/run'
	@HOY_BUILD=$(abspath $(BUILD)) HOY_BIN=$(abspath $(BUILD))/stage/bin tests/run tests/faults/runtime.bats
# hoy and podman at once on one store.
hammer: test-deps
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory -s install PREFIX=$(abspath $(BUILD))/stage
	@HOY_BUILD=$(abspath $(BUILD)) unshare --net sh -c 'ip link set lo up && exec tests/hammer 60'
compile_commands.json:
	bear --output $@ -- $(MAKE) -B all units
format:
	clang-format -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf build compile_commands.json
help:
	@echo 'targets: all install deps check check-vm check-arm64 musl asan bench fuzz faults hammer compile_commands.json format clean'
	@echo 'variables: PREFIX DESTDIR SYSCONFDIR CC CFLAGS SAN=address,undefined COV=1'

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
.PHONY: all units install deps test-deps check check-vm check-arm64 musl asan bench fuzz faults hammer format clean help
.DELETE_ON_ERROR:
.SECONDARY:
