/*
 * The device rules of cgroup v2 are a BPF program that we assemble: the last rule that matches decides, so the
 * comparisons come in reverse order. Also here: the rules that every container gets, and how a rule is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "cmd-runtime/runtime.h"

const struct dev_rule dev_default_rules[] = {
	{ true, 'c', -1, -1, "m" },	 { true, 'b', -1, -1, "m" },	{ true, 'c', 1, 3, "rwm" },
	{ true, 'c', 1, 8, "rwm" },	 { true, 'c', 1, 7, "rwm" },	{ true, 'c', 5, 0, "rwm" },
	{ true, 'c', 1, 5, "rwm" },	 { true, 'c', 1, 9, "rwm" },	{ true, 'c', 5, 1, "rwm" },
	{ true, 'c', 136, -1, "rwm" },	 { true, 'c', 5, 2, "rwm" },	{ true, 'c', 10, 200, "rwm" },
};
const size_t dev_default_rules_n = ARRAY_SIZE(dev_default_rules);

int dev_rule_parse(const struct hoy_json *j, struct dev_rule *ret, struct hoy_err *err)
{
	const char *type = hoy_json_str(j, "type");

	ret->allow = hoy_json_bool(j, "allow", false);
	ret->type = type && *type ? *type : 'a';
	ret->major = hoy_json_int(j, "major", -1);
	ret->minor = hoy_json_int(j, "minor", -1);
	ret->access = hoy_json_str(j, "access");
	if (!ret->access || !*ret->access)
		ret->access = "rwm";
	if (!strchr("abc", ret->type) || (type && *type && type[1]))
		return hoy_fail(err, EINVAL, "linux.resources.devices: unknown type '%s'", type);
	if (strspn(ret->access, "rwm") != strlen(ret->access))
		return hoy_fail(err, EINVAL, "linux.resources.devices: unknown access '%s'", ret->access);
	return 0;
}

struct prog {
	struct bpf_insn *v;
	size_t n, cap;
};

static void emit(struct prog *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (p->n < p->cap)
		p->v[p->n] = (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
	p->n++;
}

/* r2 type, r3 access, r4 major, r5 minor of the request. */
static void emit_prologue(struct prog *p)
{
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	emit(p, BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0);
	emit(p, BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
}

static void emit_return(struct prog *p, bool allow)
{
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int access_bits(const char *a)
{
	return (strchr(a, 'm') ? BPF_DEVCG_ACC_MKNOD : 0) | (strchr(a, 'r') ? BPF_DEVCG_ACC_READ : 0) |
	       (strchr(a, 'w') ? BPF_DEVCG_ACC_WRITE : 0);
}

static void emit_rule(struct prog *p, const struct dev_rule *d)
{
	int bits = access_bits(d->access);
	bool all = bits == (BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE);
	int left = (d->type != 'a') + (all ? 0 : 3) + (d->major >= 0) + (d->minor >= 0);

	/* Every mismatch jumps behind the two instructions of the return. */
	if (d->type != 'a')
		left--, emit(p, BPF_JMP | BPF_JNE | BPF_K, 2, 0, (int16_t)(left + 2),
			     d->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
	if (!all) {
		/* An allowing rule must cover all that is asked, a denying one any of it. */
		emit(p, BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, bits);
		left -= 3;
		if (d->allow)
			emit(p, BPF_JMP | BPF_JNE | BPF_X, 1, 3, (int16_t)(left + 2), 0);
		else
			emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (int16_t)(left + 2), 0);
	}
	if (d->major >= 0)
		left--, emit(p, BPF_JMP | BPF_JNE | BPF_K, 4, 0, (int16_t)(left + 2), (int32_t)d->major);
	if (d->minor >= 0)
		left--, emit(p, BPF_JMP | BPF_JNE | BPF_K, 5, 0, (int16_t)(left + 2), (int32_t)d->minor);
	emit_return(p, d->allow);
}

static int assemble(struct prog *p, const struct hoy_json *rules, struct hoy_err *err)
{
	cleanup_free struct dev_rule *v = calloc(rules->count + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(j, rules)
		if (dev_rule_parse(j, &v[n++], err) < 0)
			return -err->code;
	emit_prologue(p);
	for (size_t i = dev_default_rules_n; i--;)
		emit_rule(p, &dev_default_rules[i]);
	for (; n; n--) {
		emit_rule(p, &v[n - 1]);
		/* All that came before a rule for everything is out of reach, and the verifier refuses dead code. */
		if (v[n - 1].type == 'a' && !strcmp(v[n - 1].access, "rwm") && v[n - 1].major < 0 && v[n - 1].minor < 0)
			return 0;
	}
	emit_return(p, false);
	return 0;
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* What an earlier limit or update attached; 0 of them is usual. */
static void detach(int dir, const uint32_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		union bpf_attr a = { .prog_id = ids[i] };
		cleanup_fd int fd = bpf(BPF_PROG_GET_FD_BY_ID, &a);
		union bpf_attr d = { .target_fd = (uint32_t)dir, .attach_bpf_fd = (uint32_t)fd, .attach_type = BPF_CGROUP_DEVICE };

		if (fd >= 0)
			bpf(BPF_PROG_DETACH, &d);
	}
}

static int load_and_attach(int dir, const struct prog *p, struct hoy_err *err)
{
	uint32_t ids[16];
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = (uint32_t)p->n,
				.insns = (uintptr_t)p->v, .license = (uintptr_t) "GPL" };
	union bpf_attr query = { .query = { .target_fd = (uint32_t)dir, .attach_type = BPF_CGROUP_DEVICE,
					    .prog_ids = (uintptr_t)ids, .prog_cnt = ARRAY_SIZE(ids) } };
	cleanup_fd int fd = bpf(BPF_PROG_LOAD, &load);
	union bpf_attr attach = { .target_fd = (uint32_t)dir, .attach_bpf_fd = (uint32_t)fd,
				  .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI };
	uint32_t before;

	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot load the device filter");
	before = bpf(BPF_PROG_QUERY, &query) < 0 ? 0 : query.query.prog_cnt;
	if (bpf(BPF_PROG_ATTACH, &attach) < 0)
		return hoy_fail_errno(err, errno, "cannot attach the device filter");
	detach(dir, ids, before);
	return 0;
}

int devbpf_attach(int dir, const struct hoy_json *rules, struct hoy_err *err)
{
	cleanup_fd int fd = -1;
	struct prog p = { NULL, 0, 0 };
	int r;

	if (!rules || !rules->count)
		return 0;
	p.cap = (rules->count + dev_default_rules_n) * 10 + 16;
	p.v = calloc(p.cap, sizeof(*p.v));
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = !p.v ? hoy_fail_oom(err) : fd < 0 ? hoy_fail_errno(err, errno, "cannot open the cgroup") : assemble(&p, rules, err);
	if (!r)
		r = load_and_attach(fd, &p, err);
	free(p.v);
	/* An ordinary user may not load it; the kernel lets him make no devices anyway. */
	if ((r == -EPERM || r == -EACCES) && cgroup_ordinary_user()) {
		log_debug("%s, going without", err->msg);
		return 0;
	}
	return r;
}
