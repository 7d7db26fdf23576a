#!/usr/bin/env bats
# alone: it registers an emulator with the kernel
# build: RUN of another architecture's programs, by an emulator (qemu-user-static).

load ../lib/hoy

binfmt=/proc/sys/fs/binfmt_misc

# The emulator for arm64, opened now (F), so that it need not be in the image; what the machine has already, stays.
emulate() {
	[[ -e $binfmt/register ]] || { mount -t binfmt_misc binfmt_misc $binfmt && : >"$T/.hoy/binfmt-mounted"; }
	[[ -e $binfmt/qemu-aarch64 ]] && return
	printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' >$binfmt/register
	: >"$T/.hoy/binfmt-registered"
}

unregister() {
	[[ ! -e $T/.hoy/binfmt-registered ]] || echo -1 >$binfmt/qemu-aarch64
	rm -f "$T/.hoy/binfmt-registered"
	[[ ! -e $T/.hoy/binfmt-mounted ]] || umount $binfmt
	rm -f "$T/.hoy/binfmt-mounted"
}

teardown() {
	unregister
	hoy_teardown
}

@test "--platform linux/arm64: RUN by the emulator; without one, the error says what is missing" {
	mkdir ctx
	aarch64-linux-gnu-gcc -nostdlib -static -ffreestanding -o ctx/program "$HOY_TESTS/fixtures/arm64.c"
	printf 'FROM scratch\nARG TARGETARCH\nCOPY program /\nRUN ["/program"]\nLABEL arch=$TARGETARCH\n' >ctx/Containerfile
	if [[ ! -e $binfmt/qemu-aarch64 ]]; then
		try hoy build --network none --platform linux/arm64 -t arm ctx
		assert_status 1
		assert_stderr_like "Exec format error"
		assert_stderr_like 'the image is for linux/arm64, this machine is linux/amd64: running its programs needs qemu-user-static'
	fi
	emulate
	hoy build --network none --platform linux/arm64 -t arm ctx >out
	grep -qxF 'this is arm64' out
	[[ $(hoy image inspect --format '{{.Architecture}} {{.Config.Labels.arch}}' arm) == 'arm64 arm64' ]]
	[[ -f $(hoy image mount arm)/made ]]
	hoy image umount arm
	try hoy run --rm --network none arm /program
	assert_success
	assert_stdout 'this is arm64'
	# Another isolation, and both platforms side by side.
	hoy build -q --no-cache --network none --isolation chroot --platform linux/arm64 ctx
	printf 'FROM --platform=$BUILDPLATFORM scratch AS native\nCOPY Containerfile /\nFROM scratch\nCOPY program /\nRUN ["/program"]\nCOPY --from=native / /n/\n' >ctx/Containerfile
	hoy build -q --no-cache --network none --platform linux/arm64 --manifest list ctx
	[[ $(hoy manifest inspect list | jq -r '.manifests[].platform.architecture') == arm64 ]]
	unregister
}
