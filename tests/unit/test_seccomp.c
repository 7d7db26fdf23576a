/* links: cmd-runtime */
/*
 * The default profile has the effect of podman's: both are compiled, and the filters are run here, in a small
 * interpreter of classic BPF, for every system call, interesting arguments and sets of capabilities.
 */
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"
#include "common/oci/caps.h"
#include "common/oci/seccomp.h"

static uint32_t run_filter(const struct hoy_buf *filter, const struct seccomp_data *d)
{
	const struct sock_filter *v = (const struct sock_filter *)filter->data;
	size_t n = filter->len / sizeof(*v);
	uint32_t a = 0, x = 0, mem[16] = { 0 };

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &v[pc];
		bool yes = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS: memcpy(&a, (const char *)d + i->k, 4); continue;
		case BPF_LD | BPF_IMM: a = i->k; continue;
		case BPF_LD | BPF_MEM: a = mem[i->k & 15]; continue;
		case BPF_ST: mem[i->k & 15] = a; continue;
		case BPF_MISC | BPF_TAX: x = a; continue;
		case BPF_MISC | BPF_TXA: a = x; continue;
		case BPF_ALU | BPF_AND | BPF_K: a &= i->k; continue;
		case BPF_RET | BPF_K: return i->k;
		case BPF_RET | BPF_A: return a;
		case BPF_JMP | BPF_JA: pc += i->k; continue;
		case BPF_JMP | BPF_JEQ | BPF_K: yes = a == i->k; break;
		case BPF_JMP | BPF_JGT | BPF_K: yes = a > i->k; break;
		case BPF_JMP | BPF_JGE | BPF_K: yes = a >= i->k; break;
		case BPF_JMP | BPF_JSET | BPF_K: yes = a & i->k; break;
		default: return 0xdeadbeef;
		}
		pc += yes ? i->jt : i->jf;
	}
	return 0xdeadbeef;
}

static bool compile(const char *json, size_t len, struct hoy_buf *ret)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_err err = HOY_ERR_INIT;

	if (hoy_json_parse(&doc, json, len, "profile", &err) < 0 || seccomp_compile(doc.root, false, ret, &err) < 0) {
		printf("# %s\n", err.msg);
		return false;
	}
	return true;
}

/* The first call that the filters judge differently, or -1. */
static long first_difference(const struct hoy_buf *a, const struct hoy_buf *b, uint32_t arch)
{
	static const uint64_t values[] = { 0, 1, 8, 9, 10, 16, 40, 0x20000, 0x20008, 0x10000000, 0x7e020000, 0xffffffff };

	for (long nr = 0; nr < 600; nr++)
		for (size_t i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
			uint64_t v = values[i % ARRAY_SIZE(values)], u = values[i / ARRAY_SIZE(values)];
			struct seccomp_data d = { .nr = (int)nr, .arch = arch, .args = { v, u, u, v, u, v } };

			if (run_filter(a, &d) != run_filter(b, &d))
				return nr;
		}
	return -1;
}

static void compare(const struct hoy_json *profile, const char *what, uint64_t caps)
{
	struct hoy_seccomp_target t = { NULL, caps };
	cleanup_buf struct hoy_buf ours = HOY_BUF_INIT(1 << 20), theirs = HOY_BUF_INIT(1 << 20);
	cleanup_buf struct hoy_buf fa = HOY_BUF_INIT(1 << 20), fb = HOY_BUF_INIT(1 << 20);
	struct hoy_jw wa = hoy_jw_on(&ours, NULL), wb = hoy_jw_on(&theirs, NULL);
	struct hoy_err err = HOY_ERR_INIT;
	long nr;

	hoy_seccomp_default(&wa, NULL, &t);
	ok(hoy_seccomp_profile(&wb, NULL, profile, &t, &err) == 0, "%s: the profile is read", what);
	if (!ok(compile(ours.data, ours.len, &fa) && compile(theirs.data, theirs.len, &fb), "%s: both compile", what))
		return;
#ifdef __x86_64__
	nr = first_difference(&fa, &fb, AUDIT_ARCH_X86_64);
	ok(nr < 0, "%s: same effect on x86_64 (first difference: %ld)", what, nr);
	nr = first_difference(&fa, &fb, AUDIT_ARCH_I386);
	ok(nr < 0, "%s: same effect on i386 (first difference: %ld)", what, nr);
#else
	nr = first_difference(&fa, &fb, AUDIT_ARCH_AARCH64);
	ok(nr < 0, "%s: same effect on arm64 (first difference: %ld)", what, nr);
#endif
}

/* Not compiled for another machine here, but the rules must be the same set of names. */
static void compare_arm64(const struct hoy_json *profile)
{
	struct hoy_seccomp_target t = { "aarch64", 0 };
	cleanup_buf struct hoy_buf ours = HOY_BUF_INIT(1 << 20), theirs = HOY_BUF_INIT(1 << 20);
	cleanup_buf struct hoy_buf fa = HOY_BUF_INIT(1 << 20), fb = HOY_BUF_INIT(1 << 20);
	struct hoy_jw wa = hoy_jw_on(&ours, NULL), wb = hoy_jw_on(&theirs, NULL);

	hoy_seccomp_default(&wa, NULL, &t);
	hoy_seccomp_profile(&wb, NULL, profile, &t, NULL);
	/* Native and the listed architectures: enough to compare arm64's own part of the filter. */
	if (ok(compile(ours.data, ours.len, &fa) && compile(theirs.data, theirs.len, &fb), "arm64: both compile"))
		ok(first_difference(&fa, &fb, AUDIT_ARCH_AARCH64) < 0, "arm64: same effect");
}

static void test_small_profile(void)
{
	static const char text[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\","
		"\"subArchitectures\":[\"SCMP_ARCH_X86\"]}],\"syscalls\":["
		"{\"name\":\"read\",\"action\":\"SCMP_ACT_ALLOW\",\"args\":[]},"
		"{\"names\":[\"bpf\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_BPF\",\"CAP_SYS_ADMIN\"]}},"
		"{\"names\":[\"a\"],\"action\":\"SCMP_ACT_LOG\",\"excludes\":{\"caps\":[\"CAP_BPF\",\"CAP_KILL\"]}},"
		"{\"names\":[\"b\"],\"action\":\"SCMP_ACT_LOG\",\"includes\":{\"minKernel\":\"99.1\"}},"
		"{\"names\":[\"c\"],\"action\":\"SCMP_ACT_LOG\",\"includes\":{\"arches\":[\"amd64\"]},\"errnoRet\":3}]}";
	static const char want[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],\"syscalls\":["
		"{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"c\"],\"action\":\"SCMP_ACT_LOG\",\"errnoRet\":3}]}";
	struct hoy_seccomp_target t = { "x86_64", 1ULL << CAP_BPF };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	struct hoy_err err = HOY_ERR_INIT;

	hoy_json_parse(&doc, text, strlen(text), "test", &err);
	ok(hoy_seccomp_profile(&w, NULL, doc.root, &t, &err) == 0 && !strcmp(hoy_buf_str(&b), want),
	   "includes, excludes, minKernel and archMap: %s", hoy_buf_str(&b));
	ok(hoy_seccomp_profile(&w, NULL, NULL, &t, &err) == -EINVAL, "a profile without default is refused");
}

int main(void)
{
	const char *oracle = getenv("HOY_ORACLE_DIR") ?: "/var/cache/hoy/oracle";
	cleanup_free char *path = hoy_asprintf("%s/usr/share/containers/seccomp.json", oracle);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	uint64_t standard = 0x800405fb;

	test_small_profile();
	/* Debian 12 has an older profile: the oracle's podman is what we are compared with. */
	if (!path || hoy_json_load(&doc, AT_FDCWD, path, 1 << 20, &err) < 0) {
		ok(false, "podman's profile: %s (run: tests/oracle make)", err.msg);
		return tap_done();
	}
	compare(doc.root, "no capability", 0);
	compare(doc.root, "podman's capabilities", standard);
	compare(doc.root, "all capabilities", ~0ULL);
	for (int c = 0; hoy_cap_name(c); c++)
		compare(doc.root, hoy_cap_name(c), 1ULL << c);
	compare_arm64(doc.root);
	return tap_done();
}
