/* cmd-build/builder/checksum.c: the digest that the cache knows a tree by which a RUN mounts, and digests of names. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/tar_write.h"

#define MAX_DEPTH 1000

struct sum {
	EVP_MD_CTX *md;
	struct hoy_buf name; /* in the tar that the tree would be */
	struct hoy_err *err;
	/* The names of the last owner: most files have the same. */
	uid_t uid;
	gid_t gid;
	char user[32], group[32];
	bool known;
};

static int update(struct sum *s, const void *data, size_t len)
{
	return EVP_DigestUpdate(s->md, data, len) == 1 ? 0 : hoy_fail_oom(s->err);
}

static int fail(struct sum *s, const char *what) { return hoy_fail_errno(s->err, errno, "cannot %s '%s'", what, hoy_buf_str(&s->name)); }

static void name_owner(struct sum *s, const struct stat *st)
{
	const struct passwd *u;
	const struct group *g;

	if (s->known && s->uid == st->st_uid && s->gid == st->st_gid)
		return;
	u = getpwuid(st->st_uid);
	g = getgrgid(st->st_gid);
	snprintf(s->user, sizeof(s->user), "%s", u ? u->pw_name : "");
	snprintf(s->group, sizeof(s->group), "%s", g ? g->gr_name : "");
	s->uid = st->st_uid;
	s->gid = st->st_gid;
	s->known = true;
}

/* As buildah has it: no time, no attributes, but names of owners. */
static int header(struct sum *s, const struct stat *st, const char *link)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20);
	bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
	struct tar_item i = { .name = hoy_buf_str(&s->name), .link = link, .mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid };

	name_owner(s, st);
	i.user = s->user;
	i.group = s->group;
	i.type = S_ISDIR(st->st_mode) ? '5' : S_ISLNK(st->st_mode) ? '2' : S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' :
		 S_ISFIFO(st->st_mode) ? '6' : '0';
	i.size = i.type == '0' ? st->st_size : 0;
	i.major = device ? major(st->st_rdev) : 0;
	i.minor = device ? minor(st->st_rdev) : 0;
	tar_put_header(&out, &i);
	return out.error ? hoy_fail_oom(s->err) : update(s, out.data, out.len);
}

static int content(struct sum *s, int fd, int64_t left)
{
	static const char zeros[TAR_BLOCK];
	size_t pad = tar_padding(left);
	char piece[65536];

	while (left) {
		ssize_t n = read(fd, piece, left < (int64_t)sizeof(piece) ? (size_t)left : sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : EIO;
			return fail(s, "read");
		}
		if (update(s, piece, n) < 0)
			return -ENOMEM;
		left -= n;
	}
	return pad ? update(s, zeros, pad) : 0;
}

static int tree(struct sum *s, int dir, const char *name, int depth);

static int children(struct sum *s, int dir, int depth)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	bool top = !strcmp(hoy_buf_str(&s->name), ".");
	size_t before = s->name.len;
	int r = depth > MAX_DEPTH ? -ELOOP : list_names(dir, &names);

	if (r < 0)
		return hoy_fail_errno(s->err, -r, "cannot read '%s'", hoy_buf_str(&s->name));
	for (size_t i = 0; i < names.n && !r; i++) {
		if (top)
			hoy_buf_reset(&s->name);
		hoy_buf_printf(&s->name, "%s%s", top ? "" : "/", names.v[i]);
		r = s->name.error ? hoy_fail_oom(s->err) : tree(s, dir, names.v[i], depth + 1);
		hoy_buf_cut(&s->name, top ? 0 : before);
	}
	return r;
}

/* The open file FD, then what is beneath it. */
static int one(struct sum *s, int fd, const struct stat *st, int depth)
{
	int r = header(s, st, NULL);

	if (!r && S_ISREG(st->st_mode))
		r = content(s, fd, st->st_size);
	return r || !S_ISDIR(st->st_mode) ? r : children(s, fd, depth);
}

static int tree(struct sum *s, int dir, const char *name, int depth)
{
	char target[PATH_MAX] = "";
	cleanup_fd int fd = -1;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(s, "look at");
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (S_ISLNK(st.st_mode))
		return readlinkat(dir, name, target, sizeof(target) - 1) < 0 ? fail(s, "read the link") : header(s, &st, target);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return header(s, &st, NULL);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(s, "open");
	return one(s, fd, &st, depth);
}

static int finish(struct sum *s)
{
	static const char end[2 * TAR_BLOCK];
	unsigned char raw[32];
	char hex[65];

	if (update(s, end, sizeof(end)) < 0 || EVP_DigestFinal_ex(s->md, raw, NULL) != 1)
		return hoy_fail_oom(s->err);
	hoy_hex(hex, raw, sizeof(raw));
	printf("sha256:%s\n", hex);
	return 0;
}

static int sum_path(struct sum *s, const char *root, const char *path)
{
	cleanup_fd int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = dir < 0 ? -errno : hoy_open_beneath(dir, *path ? path : ".", O_RDONLY | O_NONBLOCK, 0, HOY_IN_ROOT);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return hoy_fail_errno(s->err, fd < 0 ? -fd : errno, "cannot open '%s' beneath '%s'", path, root);
	hoy_buf_puts(&s->name, ".");
	if (EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1)
		return hoy_fail_oom(s->err);
	return one(s, fd, &st, 0) ?: finish(s);
}

struct sum_opts {
	const char *what;
};
static const struct hoy_opt sum_opts[] = {
	{ 0, "what", HOY_OPT_STRING, offsetof(struct sum_opts, what), "TEXT", "what errors begin with: file, line, instruction" },
	HOY_OPTS_END,
};
static const struct hoy_opt none[] = { HOY_OPTS_END };

static int run_checksum(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct sum s = { .md = EVP_MD_CTX_new(), .name = HOY_BUF_INIT(1 << 20), .err = &err };
	struct sum_opts o = { NULL };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, 2, &status);

	r = n < 0 ? 0 : !s.md ? hoy_fail_oom(&err) : sum_path(&s, argv[1], argv[2]);
	if (r < 0 && o.what)
		hoy_fail_prefix(&err, "%s", o.what);
	EVP_MD_CTX_free(s.md);
	hoy_buf_release(&s.name);
	return n < 0 ? status : hoy_finish_stdout(r < 0 ? hoy_report(&err, 125) : 0);
}
const struct hoy_verb verb_checksum = { "checksum", "[options] DIR PATH", "Print the digest of what PATH beneath DIR holds", sum_opts, run_checksum, 0 };

static int run_name(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	unsigned char raw[32];
	char hex[65];
	int status, n = hoy_verb_args(v, argc, argv, NULL, 1, 1, &status);

	if (n < 0)
		return status;
	if (EVP_Digest(argv[1], strlen(argv[1]), raw, NULL, EVP_sha256(), NULL) != 1)
		return hoy_report((hoy_fail_oom(&err), &err), 125);
	hoy_hex(hex, raw, sizeof(raw));
	printf("%.16s\n", hex);
	return hoy_finish_stdout(0);
}
const struct hoy_verb verb_name = { "name", "TEXT", "Print the name of the directory that a cache mount with the id TEXT has", none, run_name, 0 };
