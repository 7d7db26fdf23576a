/* cmd-build/builder/copy.c: what COPY and ADD name goes into the root of a working container; the digest that the cache knows it by. */
#include <archive.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"
#include "common/data/digest.h"
#include "common/data/tar_write.h"
#include "common/proc/sibling.h"

struct copy_opts {
	bool add, dry, from_image;
	const char *root, *context, *ignore, *docs, *chown, *chmod, *workdir, *what;
};
#define O(field) offsetof(struct copy_opts, field)
static const struct hoy_opt copy_opts[] = {
	{ 0, "add", HOY_OPT_FLAG, O(add), NULL, "unpack archives, as ADD does" },
	{ 0, "chmod", HOY_OPT_STRING, O(chmod), "MODE", "mode of what is copied, in octal" },
	{ 0, "chown", HOY_OPT_STRING, O(chown), "USER[:GROUP]", "owner of what is copied, by the root's own accounts" },
	{ 0, "context", HOY_OPT_STRING, O(context), "DIR", "what sources are beneath" },
	{ 0, "docs", HOY_OPT_STRING, O(docs), "DIR", "the files that sources of the form <<NAME stand for" },
	{ 0, "dry-run", HOY_OPT_FLAG, O(dry), NULL, "write nothing, print the digest" },
	{ 0, "from-image", HOY_OPT_FLAG, O(from_image), NULL, "the context is a root itself: owners and set-id bits are kept" },
	{ 0, "ignore", HOY_OPT_STRING, O(ignore), "FILE", "a .containerignore file" },
	{ 0, "root", HOY_OPT_STRING, O(root), "DIR", "root of the container" },
	{ 0, "what", HOY_OPT_STRING, O(what), "TEXT", "what errors begin with: file, line, instruction" },
	{ 0, "workdir", HOY_OPT_STRING, O(workdir), "DIR", "what a relative destination is beneath" },
	HOY_OPTS_END,
};

struct copy {
	const struct copy_opts *o;
	struct putter p;
	struct ignore ignore;
	int root, context, docs;
	struct hoy_strv sources; /* paths in the context; "<<NAME" */
	char *dest;		 /* absolute */
	bool dir;		 /* it is to be a directory */
	struct hoy_strv sums;	 /* "file:HEX" of each source */
};

/* ---- sources ---- */

static bool is_glob(const char *s) { return strpbrk(s, "*?[\\") != NULL; }

/* Add what PATTERN, from its component AT on, matches beneath BASE (a path in the context). */
static int expand(struct copy *c, const char *base, const char *at, int depth, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_free char *word = NULL;
	size_t len;
	cleanup_dir DIR *dp = NULL;
	struct dirent *e;
	int fd, r = 0;

	at += strspn(at, "/");
	len = strcspn(at, "/");
	if (!len) {
		fd = hoy_open_beneath(c->context, *base ? base : ".", O_PATH, 0, HOY_IN_ROOT);
		if (fd >= 0)
			hoy_strv_push(&c->sources, base);
		hoy_close(fd);
		return 0;
	}
	if (len == 1 && *at == '.')
		return expand(c, base, at + 1, depth, err);
	word = strndup(at, len);
	if (!word || depth > 100)
		return word ? hoy_fail(err, ELOOP, "'%s' is too deep", base) : hoy_fail_oom(err);
	if (!is_glob(word)) {
		hoy_strv_push(&names, word);
	} else {
		fd = hoy_open_beneath(c->context, *base ? base : ".", O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
		dp = fd < 0 ? NULL : fdopendir(fd);
		while (dp && (e = readdir(dp)))
			if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && !fnmatch(word, e->d_name, FNM_PATHNAME))
				hoy_strv_push(&names, e->d_name);
		hoy_strv_sort(&names);
	}
	for (size_t i = 0; i < names.n && !r; i++) {
		cleanup_free char *next = *base ? hoy_path_join(base, names.v[i]) : strdup(names.v[i]);

		r = next ? expand(c, next, at + len, depth + 1, err) : hoy_fail_oom(err);
	}
	return r;
}

static int add_source(struct copy *c, const char *arg, struct hoy_err *err)
{
	size_t before = c->sources.n, kept;
	int r;

	if (!strncmp(arg, "<<", 2)) {
		hoy_strv_push(&c->sources, arg);
		return 0;
	}
	r = expand(c, "", arg, 0, err);
	if (r < 0)
		return r;
	if (c->sources.n == before)
		return hoy_fail_errno(err, ENOENT, "cannot find '%s' beneath '%s'", arg, c->o->context);
	kept = before;
	for (size_t i = before; i < c->sources.n;) {
		if (*c->sources.v[i] && !c->ignore.some_again && ignore_matches(&c->ignore, c->sources.v[i])) {
			hoy_strv_remove(&c->sources, i);
			continue;
		}
		kept = ++i;
	}
	if (kept == before)
		return hoy_fail(err, ENOENT, "all that '%s' matches is left out by '%s'", arg, c->o->ignore);
	return 0;
}

/* ---- destination ---- */

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);

	return n >= k && !strcmp(s + n - k, with);
}

static int destination(struct copy *c, const char *arg, struct hoy_err *err)
{
	cleanup_fd int there = -1;
	struct stat st;

	c->dir = ends(arg, "/") || ends(arg, "/.") || !strcmp(arg, ".") || !*arg || c->sources.n > 1;
	c->dest = *arg == '/' ? strdup(arg) : hoy_path_join(c->o->workdir ?: "/", arg);
	if (!c->dest)
		return hoy_fail_oom(err);
	there = hoy_open_beneath(c->root, c->dest, O_PATH, 0, HOY_IN_ROOT);
	if (there >= 0 && !fstat(there, &st) && S_ISDIR(st.st_mode))
		c->dir = true;
	/* A link to nowhere is taken for one to a directory, which is made. */
	if (there == -ENOENT) {
		cleanup_fd int link = hoy_open_beneath(c->root, c->dest, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);

		c->dir = c->dir || link >= 0;
	}
	return 0;
}

/* ---- digests ---- */

static int sum_begin(struct copy *c, struct hoy_err *err)
{
	hoy_links_release(&c->p.links);
	return EVP_DigestInit_ex(c->p.md, EVP_sha256(), NULL) == 1 ? 0 : hoy_fail_oom(err);
}

static int sum_end(struct copy *c, const char *kind, struct hoy_err *err)
{
	static const char end[2 * TAR_BLOCK];
	unsigned char raw[32];
	char hex[65];

	if (EVP_DigestUpdate(c->p.md, end, sizeof(end)) != 1 || EVP_DigestFinal_ex(c->p.md, raw, NULL) != 1)
		return hoy_fail_oom(err);
	hoy_hex(hex, raw, sizeof(raw));
	hoy_strv_pushf(&c->sums, "%s%s%s", kind, *kind ? ":" : "", hex);
	return 0;
}

static int print_sums(struct copy *c, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(16 << 20);
	unsigned char raw[32];
	char hex[65];

	if (c->sums.error)
		return hoy_fail_oom(err);
	if (c->sums.n == 1) {
		puts(c->sums.v[0]);
		return 0;
	}
	for (size_t i = 0; i < c->sums.n; i++)
		hoy_buf_printf(&all, "%s%s", i ? "," : "", c->sums.v[i]);
	if (all.error || EVP_Digest(all.data, all.len, raw, NULL, EVP_sha256(), NULL) != 1)
		return hoy_fail_oom(err);
	hoy_hex(hex, raw, sizeof(raw));
	printf("multi:%s\n", hex);
	return 0;
}

/* ---- archives ---- */

/* Does the file FD look like a tar, perhaps compressed? */
static bool is_archive(int fd)
{
	unsigned char b[512];
	ssize_t n = pread(fd, b, sizeof(b), 0);

	if (n >= 265 && !memcmp(b + 257, "ustar", 5))
		return true;
	return (n > 2 && b[0] == 0x1f && b[1] == 0x8b) || (n > 3 && !memcmp(b, "BZh", 3)) || (n > 6 && !memcmp(b, "\xfd" "7zXZ", 6)) ||
	       (n > 4 && !memcmp(b, "\x28\xb5\x2f\xfd", 4));
}

/* The tar that the archive FD is when it's inflated, into OUT; in a process of its own, whose exit status says how it went. */
static int inflate(int fd, int out)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char piece[65536];
	ssize_t n = -1;

	if (!a || archive_read_support_filter_all(a) != ARCHIVE_OK || archive_read_support_format_raw(a) != ARCHIVE_OK ||
	    archive_read_open_fd(a, fd, sizeof(piece)) != ARCHIVE_OK || archive_read_next_header(a, &e) != ARCHIVE_OK)
		return 1;
	while ((n = archive_read_data(a, piece, sizeof(piece))) > 0)
		if (hoy_write_full(out, piece, n) < 0)
			return 1;
	return n < 0;
}

/* Start that; *RET is where the tar comes from. */
static pid_t start_inflate(int fd, int *ret, struct hoy_err *err)
{
	int p[2];
	pid_t pid;

	if (lseek(fd, 0, SEEK_SET) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot read the archive");
	pid = fork();
	if (!pid) {
		hoy_close(p[0]);
		_exit(inflate(fd, p[1]));
	}
	hoy_close(p[1]);
	if (pid < 0) {
		hoy_close(p[0]);
		return hoy_fail_errno(err, errno, "cannot start a process");
	}
	*ret = p[0];
	return pid;
}

/*
 * hoy-transfer unpacks the tar IN into the directory TO, with the same care as for layers; -1: it only digests it. OUT is what it
 * prints.
 */
static int unpack_tar(int in, int to, struct hoy_buf *out, struct hoy_err *err)
{
	char dir[40];
	char *unpack[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"unpack", (char *)"--keep-whiteouts", dir, NULL };
	char *digest[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"digest", NULL };
	cleanup_fd int own = fcntl(0, F_DUPFD_CLOEXEC, 3);
	int status;

	if (to >= 0)
		hoy_set_cloexec(to, false);
	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", to);
	if (own < 0 || dup2(in, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot read the archive");
	status = hoy_sibling_run("hoy-transfer", to < 0 ? digest : unpack, out);
	if (dup2(own, 0) < 0 || status)
		return hoy_fail(err, HOY_EREMOTE, "cannot unpack the archive");
	return out->len >= 71 && !strncmp(out->data, "sha256:", 7) ? 0 : hoy_fail(err, HOY_EFORMAT, "hoy-transfer printed no digest");
}

static int unpack(struct copy *c, int fd, int to, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	cleanup_fd int in = -1;
	int status, r;
	pid_t pid = start_inflate(fd, &in, err);

	if (pid < 0)
		return pid;
	r = unpack_tar(in, to, &out, err);
	hoy_close(steal_fd(&in));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!r && (!WIFEXITED(status) || WEXITSTATUS(status)))
		r = hoy_fail(err, HOY_EFORMAT, "the archive is damaged");
	if (!r)
		hoy_strv_pushf(&c->sums, "file:%.64s", out.data + 7);
	return r;
}

static int try_unpack(struct copy *c, const char *path, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(c->context, path, O_RDONLY | O_NONBLOCK, 0, HOY_IN_ROOT), to = -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_archive(fd))
		return 0;
	to = c->o->dry ? -1 : put_parents(&c->p, c->root, c->dest);
	if (to < 0 && !c->o->dry)
		return to;
	return unpack(c, fd, to, err) < 0 ? -err->code : 1;
}

/* ---- copying ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_dir(int at, const char *path)
{
	cleanup_fd int fd = hoy_open_beneath(at, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);

	return fd >= 0;
}

static int copy_one(struct copy *c, const char *source, struct hoy_err *err)
{
	bool doc = !strncmp(source, "<<", 2), dir;
	const char *path = doc ? source + 2 : source, *name = base_name(path);
	cleanup_free char *parent = NULL;
	cleanup_fd int to = -1;
	int r;

	if (c->o->add && !doc && (r = try_unpack(c, path, err)))
		return r < 0 ? r : 0;
	c->p.from = doc ? c->docs : c->context;
	c->p.ignore = doc || !c->ignore.n ? NULL : &c->ignore;
	dir = is_dir(c->p.from, path);
	if (!dir && !c->dir)
		name = base_name(c->dest);
	parent = dir || c->dir ? strdup(c->dest) : strndup(c->dest, name - c->dest);
	if (!parent)
		return hoy_fail_oom(err);
	to = c->o->dry ? -1 : put_parents(&c->p, c->root, parent);
	if (to < 0 && !c->o->dry)
		return to;
	r = sum_begin(c, err);
	if (!r)
		r = put_item(&c->p, path, to, name);
	return r ? r : sum_end(c, dir ? "dir" : "file", err);
}

static int settings(struct copy *c, struct hoy_err *err)
{
	const struct copy_opts *o = c->o;
	char *end;
	int r = 0;

	if (!o->root || !o->context)
		return hoy_fail(err, EINVAL, "--root and --context are needed");
	c->root = open(o->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	c->context = open(o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c->docs = o->docs ? open(o->docs, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (c->root < 0 || c->context < 0 || (o->docs && c->docs < 0))
		return hoy_fail_errno(err, errno, "cannot open '%s'", c->root < 0 ? o->root : c->context < 0 ? o->context : o->docs);
	c->p.keep_owner = c->p.keep_setid = o->from_image;
	c->p.dry = o->dry;
	if (o->chown) {
		c->p.chown = true;
		r = owner_parse(c->root, o->chown, &c->p.uid, &c->p.gid, err);
	}
	if (!r && o->chmod) {
		c->p.chmod = true;
		c->p.mode = strtoul(o->chmod, &end, 8);
		if (!*o->chmod || *end || c->p.mode > 07777)
			return hoy_fail(err, EINVAL, "parsing chmod \"%s\": it is not an octal number", o->chmod);
	}
	if (!r && o->ignore) {
		cleanup_free char *text = NULL;
		size_t len;

		r = hoy_read_file(AT_FDCWD, o->ignore, 1 << 20, &text, &len, err);
		if (!r)
			r = ignore_parse(&c->ignore, text, o->ignore, err);
	}
	return r;
}

static int run_copy(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct copy_opts o = { 0 };
	struct copy c = { .o = &o, .root = -1, .context = -1, .docs = -1, .p = { .name = HOY_BUF_INIT(1 << 20), .err = &err } };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, INT32_MAX, &status);

	if (n < 0)
		return status;
	c.p.md = EVP_MD_CTX_new();
	r = c.p.md ? settings(&c, &err) : hoy_fail_oom(&err);
	for (int i = 1; i < n && !r; i++)
		r = add_source(&c, argv[i], &err);
	if (!r)
		r = destination(&c, argv[n], &err);
	for (size_t i = 0; i < c.sources.n && !r; i++)
		r = copy_one(&c, c.sources.v[i], &err);
	if (!r)
		r = print_sums(&c, &err);
	EVP_MD_CTX_free(c.p.md);
	ignore_release(&c.ignore);
	hoy_links_release(&c.p.links);
	hoy_buf_release(&c.p.name);
	hoy_strv_release(&c.sources);
	hoy_strv_release(&c.sums);
	free(c.dest);
	hoy_close(c.root);
	hoy_close(c.context);
	hoy_close(c.docs);
	if (r < 0 && o.what)
		hoy_fail_prefix(&err, "%s", o.what);
	return hoy_finish_stdout(r < 0 ? hoy_report(&err, 125) : 0);
}
const struct hoy_verb verb_copy = { "copy", "--root DIR --context DIR [options] SOURCE... DEST", "Put files into the root of a container",
					   copy_opts, run_copy, 0 };
