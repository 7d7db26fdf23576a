/*
 * linux.seccomp as a BPF filter. libseccomp needs milliseconds to compile one, so results are kept in ROOT/.seccomp (0700):
 * an entry holds its whole input and is only believed if that is equal byte for byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd-runtime/runtime.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static const struct { const char *name; uint32_t flag; } flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};
static const struct { const char *name; uint32_t action; } actions[] = {
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },	      { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },    { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS }, { "SCMP_ACT_LOG", SCMP_ACT_LOG },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY },	      { "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
};
static const struct { const char *name; enum scmp_compare op; } ops[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};
static const struct { const char *name; uint32_t arch; } arches[] = {
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 }, { "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 }, { "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM }, { "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_MIPS", SCMP_ARCH_MIPS }, { "SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64 },
	{ "SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32 }, { "SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL },
	{ "SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64 }, { "SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32 },
	{ "SCMP_ARCH_PPC", SCMP_ARCH_PPC }, { "SCMP_ARCH_PPC64", SCMP_ARCH_PPC64 }, { "SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE },
	{ "SCMP_ARCH_S390", SCMP_ARCH_S390 }, { "SCMP_ARCH_S390X", SCMP_ARCH_S390X },
	{ "SCMP_ARCH_PARISC", SCMP_ARCH_PARISC }, { "SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64 },
	{ "SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64 },
	/* Of these a library that is old knows nothing; 0: nothing can be filtered for them here, nor run. */
#ifdef SCMP_ARCH_LOONGARCH64
	{ "SCMP_ARCH_LOONGARCH64", SCMP_ARCH_LOONGARCH64 },
#else
	{ "SCMP_ARCH_LOONGARCH64", 0 },
#endif
#ifdef SCMP_ARCH_M68K
	{ "SCMP_ARCH_M68K", SCMP_ARCH_M68K },
#else
	{ "SCMP_ARCH_M68K", 0 },
#endif
#ifdef SCMP_ARCH_SH
	{ "SCMP_ARCH_SH", SCMP_ARCH_SH }, { "SCMP_ARCH_SHEB", SCMP_ARCH_SHEB },
#else
	{ "SCMP_ARCH_SH", 0 }, { "SCMP_ARCH_SHEB", 0 },
#endif
};

static int action_of(const char *name, const struct hoy_json *errno_ret, uint32_t *ret, struct hoy_err *err)
{
	uint64_t data = EPERM;

	if (errno_ret && (!hoy_json_uint64(errno_ret, &data) || data > 0xffff))
		return hoy_fail(err, EINVAL, "linux.seccomp: errnoRet is out of range");
	for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++) {
		if (strcmp(name, actions[i].name))
			continue;
		*ret = actions[i].action;
		if (!strcmp(name, "SCMP_ACT_ERRNO"))
			*ret = SCMP_ACT_ERRNO(data);
		else if (!strcmp(name, "SCMP_ACT_TRACE"))
			*ret = SCMP_ACT_TRACE(data);
		else if (errno_ret)
			return hoy_fail(err, EINVAL, "linux.seccomp: errnoRet is of no use with '%s'", name);
		return 0;
	}
	return hoy_fail(err, EINVAL, "linux.seccomp: unknown action '%s'", name ? name : "");
}

static int parse_args(const struct hoy_json *list, struct scmp_arg_cmp *ret, unsigned *n, bool *repeated, struct hoy_err *err)
{
	unsigned seen[6] = { 0 };

	*n = 0;
	*repeated = false;
	HOY_JSON_EACH(a, list) {
		const char *op = hoy_json_str(a, "op");
		uint64_t index = 9, v1 = 0, v2 = 0;
		size_t i = 0;

		while (i < ARRAY_SIZE(ops) && (!op || strcmp(op, ops[i].name)))
			i++;
		hoy_json_uint64(hoy_json_get(a, "index"), &index);
		hoy_json_uint64(hoy_json_get(a, "value"), &v1);
		hoy_json_uint64(hoy_json_get(a, "valueTwo"), &v2);
		if (i == ARRAY_SIZE(ops) || index > 5 || *n == 6)
			return hoy_fail(err, EINVAL, "linux.seccomp: bad argument filter");
		/* libseccomp's mask comes first; the specification's value is the mask. */
		ret[(*n)++] = (struct scmp_arg_cmp){ (unsigned)index, ops[i].op, v1, v2 };
		*repeated = *repeated || seen[index]++;
	}
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct hoy_json *rule, uint32_t def, bool fail_unknown, struct hoy_err *err)
{
	struct scmp_arg_cmp args[6];
	unsigned n;
	bool repeated;
	uint32_t action;

	if (action_of(hoy_json_str(rule, "action"), hoy_json_get(rule, "errnoRet"), &action, err) < 0 ||
	    parse_args(hoy_json_get(rule, "args"), args, &n, &repeated, err) < 0)
		return -err->code;
	if (action == def)
		return 0;
	HOY_JSON_EACH(name, hoy_json_get(rule, "names")) {
		int nr = hoy_json_text(name) ? seccomp_syscall_resolve_name(name->str) : __NR_SCMP_ERROR, r = 0;

		if (nr == __NR_SCMP_ERROR && fail_unknown)
			return hoy_fail(err, EINVAL, "linux.seccomp: unknown system call '%s'", name->str);
		if (nr == __NR_SCMP_ERROR)
			continue;
		/* Several conditions on one argument cannot be "and": each is a rule. */
		if (repeated)
			for (unsigned i = 0; !r && i < n; i++)
				r = seccomp_rule_add_array(ctx, action, nr, 1, &args[i]);
		else
			r = seccomp_rule_add_array(ctx, action, nr, n, args);
		if (r < 0 && r != -EEXIST)
			return hoy_fail_errno(err, -r, "linux.seccomp: cannot add '%s'", name->str);
	}
	return 0;
}

static int fill(scmp_filter_ctx ctx, const struct hoy_json *sec, uint32_t def, bool fail_unknown, struct hoy_err *err)
{
	HOY_JSON_EACH(a, hoy_json_get(sec, "architectures")) {
		size_t i = 0;
		int r;

		while (i < ARRAY_SIZE(arches) && (!hoy_json_text(a) || strcmp(a->str, arches[i].name)))
			i++;
		if (i == ARRAY_SIZE(arches))
			return hoy_fail(err, EINVAL, "seccomp unknown architecture `%s`", hoy_json_text(a) ? a->str : "");
		r = arches[i].arch ? seccomp_arch_add(ctx, arches[i].arch) : 0;
		if (r < 0 && r != -EEXIST)
			return hoy_fail_errno(err, -r, "linux.seccomp: cannot add architecture '%s'", arches[i].name);
	}
	HOY_JSON_EACH(rule, hoy_json_get(sec, "syscalls"))
		if (add_rule(ctx, rule, def, fail_unknown, err) < 0)
			return -err->code;
	return 0;
}

static int export(scmp_filter_ctx ctx, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_fd int fd = memfd_create("filter", MFD_CLOEXEC);
	struct stat st;
	char *p;
	int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (r < 0 || fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return hoy_fail_errno(err, r < 0 ? -r : errno, "cannot compile the seccomp filter");
	p = hoy_buf_reserve(ret, st.st_size);
	if (!p || hoy_read_full(fd, p, st.st_size) != st.st_size)
		return hoy_fail(err, EIO, "cannot read the seccomp filter");
	ret->len += st.st_size;
	return 0;
}

int seccomp_compile(const struct hoy_json *sec, bool fail_unknown, struct hoy_buf *ret, struct hoy_err *err)
{
	scmp_filter_ctx ctx;
	uint32_t def;
	int r;

	if (action_of(hoy_json_str(sec, "defaultAction"), hoy_json_get(sec, "defaultErrnoRet"), &def, err) < 0)
		return -err->code;
	ctx = seccomp_init(def);
	if (!ctx)
		return hoy_fail(err, EINVAL, "cannot set up a seccomp filter");
	/* A binary tree: what is executed on every system call of the container. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = fill(ctx, sec, def, fail_unknown, err);
	if (!r)
		r = export(ctx, ret, err);
	seccomp_release(ctx);
	return r;
}

static int parse_flags(const struct hoy_json *sec, uint32_t *ret, struct hoy_err *err)
{
	*ret = 0;
	HOY_JSON_EACH(f, hoy_json_get(sec, "flags")) {
		size_t i = 0;

		while (i < ARRAY_SIZE(flags) && (!hoy_json_text(f) || strcmp(f->str, flags[i].name)))
			i++;
		if (i == ARRAY_SIZE(flags))
			return hoy_fail(err, EINVAL, "linux.seccomp: unknown flag '%s'", f->str ? f->str : "");
		*ret |= flags[i].flag;
	}
	return 0;
}

/* Everything that the result depends on. */
static void canonical(const struct hoy_json *sec, bool fail_unknown, struct hoy_buf *b)
{
	const struct scmp_version *v = seccomp_version();
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_buf_printf(b, "hoy 1 libseccomp %u.%u.%u arch %x unknown %d\n", v->major, v->minor, v->micro,
		       seccomp_arch_native(), fail_unknown);
	hoy_jw_value(&w, NULL, sec);
}

struct entry { /* head of a cache file; input and filter follow */
	char magic[8];
	uint32_t input, filter;
};

static int open_cache(const struct rt *rt)
{
	char path[4096];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof(path), "%s/.seccomp", rt->root) >= (int)sizeof(path))
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && !mkdir(path, 0700))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 077)) {
		hoy_close(fd);
		return -1;
	}
	return fd;
}

static void entry_name(const struct hoy_buf *in, char name[20])
{
	uint64_t h = 0xcbf29ce484222325;
	size_t i = 0;

	for (; i + 8 <= in->len; i += 8) {
		uint64_t w;

		memcpy(&w, in->data + i, 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	for (; i < in->len; i++)
		h = (h ^ (unsigned char)in->data[i]) * 0x100000001b3;
	snprintf(name, 20, "%016llx", (unsigned long long)h);
}

static bool cache_get(int dir, const char *name, const struct hoy_buf *in, struct hoy_buf *ret)
{
	cleanup_free char *data = NULL;
	struct entry e;
	size_t len;

	if (hoy_read_file(dir, name, 4 << 20, &data, &len, NULL) < 0 || len < sizeof(e))
		return false;
	memcpy(&e, data, sizeof(e));
	if (memcmp(e.magic, "hoybpf1", 8) || e.input != in->len || (size_t)e.filter + e.input + sizeof(e) != len ||
	    e.filter % sizeof(struct sock_filter) || !e.filter || memcmp(data + sizeof(e), in->data, in->len))
		return false;
	hoy_buf_add(ret, data + sizeof(e) + e.input, e.filter);
	return !ret->error;
}

/* It has no name until it is whole: who is killed while it writes leaves nothing. Not every file system has such files. */
static int put_nameless(int dir, const char *name, const struct hoy_buf *b)
{
	cleanup_fd int fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char path[32];
	int r;

	if (fd < 0)
		return errno == EISDIR ? -EOPNOTSUPP : -errno;
	r = hoy_write_full(fd, b->data, b->len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* What has the name is no use, or another runtime's work of this moment, as good as ours. */
	if (!r && (unlinkat(dir, name, 0) == 0 || errno == ENOENT) && linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0)
		r = -errno;
	return r;
}

static void cache_put(int dir, const char *name, const struct hoy_buf *in, const struct hoy_buf *filter)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20);
	struct entry e = { "hoybpf1", (uint32_t)in->len, (uint32_t)filter->len };

	hoy_buf_add(&b, &e, sizeof(e));
	hoy_buf_add(&b, in->data, in->len);
	hoy_buf_add(&b, filter->data, filter->len);
	if (!b.error && put_nameless(dir, name, &b) == -EOPNOTSUPP)
		(void)hoy_replace_file(dir, name, b.data, b.len, 0600, false);
}

/* Annotation run.oci.seccomp_bpf_data: the filter itself, in place of linux.seccomp. */
static int filter_from_base64(const char *text, struct hoy_buf *ret, struct hoy_err *err)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned n = 0;

	for (const char *p = text; *p && *p != '='; p++) {
		const char *d = strchr(digits, *p);

		if (!d)
			return hoy_fail(err, EINVAL, "annotation run.oci.seccomp_bpf_data is no base64");
		bits = bits << 6 | (uint32_t)(d - digits);
		n += 6;
		if (n >= 8)
			hoy_buf_putc(ret, (char)(bits >> (n -= 8)));
	}
	if (ret->error)
		return hoy_fail_oom(err);
	if (!ret->len || ret->len % sizeof(struct sock_filter) || ret->len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return hoy_fail(err, EINVAL, "annotation run.oci.seccomp_bpf_data is no filter");
	return 0;
}

int seccomp_build(const struct rt *rt, const struct spec *s, struct hoy_buf *ret, uint32_t *ret_flags, struct hoy_err *err)
{
	const struct hoy_json *sec = hoy_json_get(s->linux_, "seccomp");
	bool fail_unknown = spec_annotation(s, "run.oci.seccomp_fail_unknown_syscall") != NULL;
	cleanup_buf struct hoy_buf in = HOY_BUF_INIT(2 << 20);
	cleanup_fd int cache = -1;
	char name[20];

	if (spec_annotation(s, "run.oci.seccomp_bpf_data"))
		return filter_from_base64(spec_annotation(s, "run.oci.seccomp_bpf_data"), ret, err);
	if (!hoy_json_is(sec, HOY_JSON_OBJECT) || !s->process.json)
		return 0;
	if (parse_flags(sec, ret_flags, err) < 0)
		return -err->code;
	canonical(sec, fail_unknown, &in);
	if (in.error)
		return seccomp_compile(sec, fail_unknown, ret, err);
	entry_name(&in, name);
	cache = open_cache(rt);
	if (cache >= 0 && cache_get(cache, name, &in, ret))
		return 0;
	hoy_buf_reset(ret);
	if (seccomp_compile(sec, fail_unknown, ret, err) < 0)
		return -err->code;
	if (cache >= 0)
		cache_put(cache, name, &in, ret);
	return 0;
}

static bool notifies(const struct hoy_json *action)
{
	return hoy_json_text(action) && !strcmp(action->str, "SCMP_ACT_NOTIFY");
}

/* Who listens must be able to answer before the filter is complete: not by what sends him the descriptor. */
static int check_notify(const struct hoy_json *sec, bool *any, struct hoy_err *err)
{
	*any = false;
	if (notifies(hoy_json_get(sec, "defaultAction")))
		return hoy_fail(err, EINVAL, "linux.seccomp: SCMP_ACT_NOTIFY cannot be the default action");
	HOY_JSON_EACH(rule, hoy_json_get(sec, "syscalls")) {
		if (!notifies(hoy_json_get(rule, "action")))
			continue;
		*any = true;
		HOY_JSON_EACH(name, hoy_json_get(rule, "names"))
			if (hoy_json_text(name) && (!strcmp(name->str, "write") || !strcmp(name->str, "sendmsg")))
				return hoy_fail(err, EINVAL, "linux.seccomp: SCMP_ACT_NOTIFY cannot be used for '%s'", name->str);
	}
	return 0;
}

int seccomp_connect(const struct spec *s, int *ret, struct hoy_err *err)
{
	const struct hoy_json *sec = hoy_json_get(s->linux_, "seccomp");
	const char *path = hoy_json_str(sec, "listenerPath");
	bool any;

	if (!path)
		path = spec_annotation(s, "run.oci.seccomp.receiver");
	if (!path)
		path = getenv("RUN_OCI_SECCOMP_RECEIVER");
	if (!hoy_json_is(sec, HOY_JSON_OBJECT))
		return 0;
	if (check_notify(sec, &any, err) < 0)
		return -err->code;
	if (any && !path)
		return hoy_fail(err, EINVAL, "linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath");
	if (path && path[0] != '/')
		return hoy_fail(err, EINVAL, "the seccomp receiver '%s' is no absolute path", path);
	*ret = path ? tty_connect(path, err) : -1;
	return path && *ret < 0 ? *ret : 0;
}

/* What a listener gets along with the notification descriptor. */
static int send_listener(const struct final *f, int fd, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "ociVersion", OCI_VERSION);
	hoy_jw_array(&w, "fds");
	hoy_jw_string(&w, NULL, "seccompFd");
	hoy_jw_end_array(&w);
	hoy_jw_int(&w, "pid", f->pid);
	hoy_jw_string(&w, "metadata", hoy_json_str(hoy_json_get(f->spec->linux_, "seccomp"), "listenerMetadata"));
	state_write_oci(&w, "state", f->state, f->spec, f->pid == f->state->pid ? "creating" : "running");
	hoy_jw_end_object(&w);
	r = b.error ? -b.error : tty_send(f->seccomp_socket, fd, b.data, b.len);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot send the seccomp listener") : 0;
}

int seccomp_install(const struct final *f, struct hoy_err *err)
{
	struct sock_fprog prog = { .len = (unsigned short)(f->filter->len / sizeof(struct sock_filter)),
				   .filter = (struct sock_filter *)f->filter->data };
	uint32_t fl = f->filter_flags;
	cleanup_fd int fd = -1;
	long r;

	if (!f->filter->len)
		return 0;
	if (f->seccomp_socket >= 0)
		fl |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	if (fl & SECCOMP_FILTER_FLAG_NEW_LISTENER && fl & SECCOMP_FILTER_FLAG_TSYNC)
		fl &= ~(uint32_t)SECCOMP_FILTER_FLAG_TSYNC; /* we are one thread anyway */
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, fl, &prog);
	if (r < 0)
		return hoy_fail_errno(err, errno, "cannot load the seccomp filter");
	if (f->seccomp_socket < 0)
		return 0;
	fd = (int)r;
	return send_listener(f, fd, err);
}

void seccomp_features(struct hoy_jw *w)
{
	hoy_jw_object(w, "seccomp");
	hoy_jw_bool(w, "enabled", true);
	hoy_jw_array(w, "actions");
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		hoy_jw_string(w, NULL, actions[i].name);
	hoy_jw_end_array(w);
	hoy_jw_array(w, "operators");
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		hoy_jw_string(w, NULL, ops[i].name);
	hoy_jw_end_array(w);
	hoy_jw_array(w, "archs");
	for (size_t i = 0; i < ARRAY_SIZE(arches); i++)
		hoy_jw_string(w, NULL, arches[i].name);
	hoy_jw_end_array(w);
	for (int k = 0; k < 2; k++) {
		hoy_jw_array(w, k ? "supportedFlags" : "knownFlags");
		for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
			hoy_jw_string(w, NULL, flags[i].name);
		hoy_jw_end_array(w);
	}
	hoy_jw_end_object(w);
}

void seccomp_annotation(struct hoy_jw *w)
{
	const struct scmp_version *v = seccomp_version();
	char text[64];

	snprintf(text, sizeof(text), "%u.%u.%u", v->major, v->minor, v->micro);
	hoy_jw_string(w, "io.github.seccomp.libseccomp.version", text);
}
