/* cmd-build/builder/copy.c: what COPY and ADD name goes into the root of a working container; the digest that the cache knows it by. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"
#include "common/data/digest.h"

struct copy_opts {
	bool dry, from_image, parents;
	const char *add, *root, *context, *ignore, *docs, *chown, *chmod, *workdir, *what, *checksum, *link, *upper, *timestamp;
	struct hoy_strv exclude, uid_map, gid_map, from_uid_map, from_gid_map;
};
#define O(field) offsetof(struct copy_opts, field)
static const struct hoy_opt copy_opts[] = {
	{ 0, "add", HOY_OPT_OPTARG, O(add), "[=local]", "unpack archives, as ADD does; all: fetched ones, too" },
	{ 0, "checksum", HOY_OPT_STRING, O(checksum), "DIGEST", "what a fetched file must have" },
	{ 0, "chmod", HOY_OPT_STRING, O(chmod), "MODE", "mode of what is copied, as chmod(1) has it" },
	{ 0, "chown", HOY_OPT_STRING, O(chown), "USER[:GROUP]", "owner of what is copied, by the root's own accounts" },
	{ 0, "context", HOY_OPT_STRING, O(context), "DIR", "what sources are beneath" },
	{ 0, "docs", HOY_OPT_STRING, O(docs), "DIR", "the files that sources of the form <<NAME, <@NAME and <+NAME stand for" },
	{ 0, "dry-run", HOY_OPT_FLAG, O(dry), NULL, "write nothing, print the digest" },
	{ 0, "exclude", HOY_OPT_LIST, O(exclude), "PATTERN", "what of the context isn't copied, as in a .containerignore file" },
	{ 0, "from-gid-map", HOY_OPT_COMMAS, O(from_gid_map), "INSIDE:OUTSIDE:SIZE", "what group ids in the context are outside of a container" },
	{ 0, "from-image", HOY_OPT_FLAG, O(from_image), NULL, "the context is a root itself: owners and set-id bits are kept" },
	{ 0, "from-uid-map", HOY_OPT_COMMAS, O(from_uid_map), "INSIDE:OUTSIDE:SIZE", "what user ids in the context are outside of a container" },
	{ 0, "gid-map", HOY_OPT_COMMAS, O(gid_map), "INSIDE:OUTSIDE:SIZE", "what group ids of the root are outside of the container" },
	{ 0, "ignore", HOY_OPT_STRING, O(ignore), "FILE", "a .containerignore file" },
	{ 0, "link", HOY_OPT_STRING, O(link), "DIR", "copy as if the root were empty: to this directory, and (unless it is that of --upper) from there to the root" },
	{ 0, "parents", HOY_OPT_FLAG, O(parents), NULL, "keep the directories above the sources" },
	{ 0, "root", HOY_OPT_STRING, O(root), "DIR", "root of the container" },
	{ 0, "timestamp", HOY_OPT_STRING, O(timestamp), "SECONDS", "time of all that is copied, instead of its own" },
	{ 0, "uid-map", HOY_OPT_COMMAS, O(uid_map), "INSIDE:OUTSIDE:SIZE", "what user ids of the root are outside of the container" },
	{ 0, "upper", HOY_OPT_STRING, O(upper), "DIR", "write to this empty directory, which will be the upper one of an overlay on the root" },
	{ 0, "what", HOY_OPT_STRING, O(what), "TEXT", "what errors begin with: file, line, instruction" },
	{ 0, "workdir", HOY_OPT_STRING, O(workdir), "DIR", "what a relative destination is beneath" },
	HOY_OPTS_END,
};

struct copy {
	const struct copy_opts *o;
	struct putter p;
	struct hoy_idmaps of, to;
	struct ignore ignore;
	int root, context, docs, upper, linked; /* -1: there is none */
	int lookup;	   /* where paths of the destination are looked up; one of these */
	struct spot place; /* what it is copied to; of these */
	struct items items;
	char *dest;		 /* absolute */
	bool dir;		 /* it is to be a directory */
	struct hoy_strv sums;	 /* "file:HEX" of each source */
	char *into;		 /* the directory that the last one went to */
	struct timespec latest;	 /* when the youngest of those that nobody fetched was changed */
};

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

	c->dir = ends(arg, "/") || ends(arg, "/.") || !strcmp(arg, ".") || !*arg || c->items.n > 1;
	c->dest = *arg == '/' ? strdup(arg) : hoy_path_join(c->o->workdir ?: "/", arg);
	if (!c->dest)
		return hoy_fail_oom(err);
	there = hoy_open_beneath(c->lookup, c->dest, O_PATH, 0, HOY_IN_ROOT);
	if (there >= 0 && !fstat(there, &st) && S_ISDIR(st.st_mode))
		c->dir = true;
	/* A link to nowhere is taken for one to a directory, which is made. */
	if (there == -ENOENT) {
		cleanup_fd int link = hoy_open_beneath(c->lookup, c->dest, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);

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

/* What lies in the directory FROM, with the owners that the image knows, goes to the directory TO of the root, over what is there. */
static int merge(struct copy *c, int from, int to, struct hoy_err *err)
{
	struct putter p = { .from = from, .keep_owner = true, .keep_setid = true, .to = &c->to, .forced = c->p.forced, .time = c->p.time, .name = HOY_BUF_INIT(1 << 20), .err = err };
	struct spot at = { openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1 };
	int r = at.to < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", c->o->root) : put_item(&p, "", &at, "", false);

	spot_close(&at);
	hoy_links_release(&p.links);
	hoy_buf_release(&p.name);
	return r;
}

/* The owners that an archive names are others on the disk, or its times aren't wanted: it is unpacked in a place of its own first. */
static int unpack_changed(struct copy *c, int fd, int to, struct hoy_err *err)
{
	cleanup_free char *dir = c->o->docs ? hoy_asprintf("%s/unpack-XXXXXX", c->o->docs) : NULL;
	cleanup_fd int at = -1;
	int r;

	if (!dir || !mkdtemp(dir))
		return hoy_fail_errno(err, dir ? errno : EINVAL, "cannot make a directory to unpack in");
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = at < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", dir) : unpack_archive(fd, at, &c->sums, err);
	if (!r)
		r = merge(c, at, to, err);
	(void)hoy_remove_tree(AT_FDCWD, dir);
	return r;
}

/* 1: it was an archive. */
static int try_unpack(struct copy *c, const char *path, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(c->p.from, path, O_RDONLY | O_NONBLOCK, 0, HOY_IN_ROOT);
	struct spot at;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_archive(fd))
		return 0;
	if (c->place.view >= 0)
		return hoy_fail(err, HOY_EBUSY, "an archive needs the whole root");
	free(c->into);
	c->into = strdup(c->dest);
	r = c->into ? put_parents(&c->p, c->lookup, &c->place, c->dest, &at) : hoy_fail_oom(err);
	if (!r)
		r = at.to < 0 || (hoy_idmaps_empty(c->p.to) && !c->p.forced) ? unpack_archive(fd, at.to, &c->sums, err) : unpack_changed(c, fd, at.to, err);
	spot_close(&at);
	return r < 0 ? r : 1;
}

/* Are there directories that IT keeps? */
static bool has_parents(const struct copy *c, const struct item *it)
{
	size_t n = 0;

	for (const char *s = it->path; (s = strchr(s, '/')); s++)
		n++;
	return c->o->parents && it->kind == ITEM_PATH && n > it->skip;
}

/* Of the components of IT's path, all but the last as directories beneath AT, which is replaced by the last of them. */
static int keep_parents(struct copy *c, const struct item *it, struct spot *at)
{
	const char *s = it->path, *slash;
	int r = 0;

	for (size_t n = 0; !r && (slash = strchr(s, '/')); n++, s = slash + 1) {
		cleanup_free char *path = strndup(it->path, slash - it->path), *name = strndup(s, slash - s);
		struct spot next;

		if (n < it->skip)
			continue;
		r = path && name ? put_parent(&c->p, path, at, name, &next) : -ENOMEM;
		if (r < 0)
			break;
		spot_close(at);
		*at = next;
	}
	return r;
}

/* These have the times of what they come from, now that all is in them. TO is where the first of them is. */
static void date_parents(struct copy *c, const struct item *it, int to)
{
	const char *s = it->path, *kept = NULL, *slash;

	for (size_t n = 0; (slash = strchr(s, '/')); n++, s = slash + 1) {
		cleanup_free char *path = strndup(it->path, slash - it->path);
		cleanup_fd int from = path ? hoy_open_beneath(c->p.from, path, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT) : -1, fd = -1;
		struct stat st;

		kept = kept ?: n < it->skip ? NULL : s;
		if (!kept || from < 0 || fstat(from, &st) < 0)
			continue;
		fd = hoy_open_beneath(to, path + (kept - it->path), O_RDONLY | O_DIRECTORY, 0, HOY_BENEATH);
		if (fd >= 0)
			put_time(&c->p, fd, &st);
	}
}

/* Has the file PATH of p->from the digest that is wanted? */
static int check_sum(struct copy *c, const char *path, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(c->p.from, path, O_RDONLY, 0, HOY_IN_ROOT);
	unsigned char raw[32];
	char piece[65536], hex[65];
	ssize_t n;

	if (fd < 0 || EVP_DigestInit_ex(c->p.md, EVP_sha256(), NULL) != 1)
		return hoy_fail_errno(err, fd < 0 ? -fd : ENOMEM, "cannot open '%s'", path);
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		EVP_DigestUpdate(c->p.md, piece, n);
	if (n < 0 || EVP_DigestFinal_ex(c->p.md, raw, NULL) != 1)
		return hoy_fail_errno(err, errno, "cannot read '%s'", path);
	hoy_hex(hex, raw, sizeof(raw));
	if (!strncmp(c->o->checksum, "sha256:", 7) && !strcmp(c->o->checksum + 7, hex))
		return 0;
	return hoy_fail(err, HOY_EDIGEST, "unexpected response digest for \"%s\": sha256:%s, want %s", base_name(path), hex, c->o->checksum);
}

static int put_one(struct copy *c, const struct item *it, const char *kind, struct hoy_err *err)
{
	bool dir = is_dir(c->p.from, it->path), parents = has_parents(c, it);
	const char *name = base_name(it->path);
	cleanup_fd int to = -1;
	struct spot at;
	int r;

	if (!dir && !c->dir && !parents)
		name = base_name(c->dest);
	free(c->into);
	c->into = dir || c->dir || parents ? strdup(c->dest) : strndup(c->dest, name - c->dest);
	if (!c->into)
		return hoy_fail_oom(err);
	r = put_parents(&c->p, c->lookup, &c->place, c->into, &at);
	if (!r)
		r = sum_begin(c, err);
	hoy_buf_reset(&c->p.name);
	to = r || !parents || c->o->dry ? -1 : fcntl(at.to, F_DUPFD_CLOEXEC, 3);
	if (!r && parents)
		r = keep_parents(c, it, &at);
	if (!r)
		r = put_item(&c->p, it->path, &at, name, dir && c->o->parents && it->kind == ITEM_PATH && *it->path);
	spot_close(&at);
	if (!r && to >= 0)
		date_parents(c, it, to);
	return r ? r : sum_end(c, kind ?: dir ? "dir" : "file", err);
}

/* (Of a link among the sources it's its own time, as buildah has it.) */
static void note_time(struct copy *c, const char *path)
{
	cleanup_fd int fd = hoy_open_beneath(c->p.from, *path ? path : ".", O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (st.st_mtim.tv_sec > c->latest.tv_sec || (st.st_mtim.tv_sec == c->latest.tv_sec && st.st_mtim.tv_nsec > c->latest.tv_nsec))
		c->latest = st.st_mtim;
}

static int copy_one(struct copy *c, const struct item *it, struct hoy_err *err)
{
	bool fetched = it->kind == ITEM_FETCHED;
	int r = 0;

	c->p.from = it->kind == ITEM_PATH ? c->context : c->docs;
	c->p.ignore = it->kind == ITEM_PATH && c->ignore.n ? &c->ignore : NULL;
	c->p.times = fetched;
	if (it->kind == ITEM_PATH || it->kind == ITEM_DOC)
		note_time(c, it->path);
	if (fetched && c->o->checksum)
		r = check_sum(c, it->path, err);
	if (!r && c->o->add && (it->kind == ITEM_PATH || (fetched && !strcmp(c->o->add, "all"))) && (r = try_unpack(c, it->path, err)))
		return r < 0 ? r : 0;
	/* As buildah has it, what was fetched has no word in front of its digest. */
	return r ? r : put_one(c, it, fetched ? "" : NULL, err);
}

/* As buildah has it: the directories that lead to DIR in the directory ROOT, it too, are as old as the youngest that is linked there. */
static void date_dirs(int root, const char *dir, const struct timespec *at)
{
	struct timespec times[2] = { { .tv_sec = at->tv_sec }, { .tv_sec = at->tv_sec } };

	for (const char *end = dir + strspn(dir, "/"); *end; end += strspn(end, "/")) {
		cleanup_free char *path = NULL;
		cleanup_fd int fd = -1;

		end += strcspn(end, "/");
		path = strndup(dir, end - dir);
		fd = path ? hoy_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT) : -1;
		if (fd >= 0)
			(void)futimens(fd, times);
	}
}

/* ---- options ---- */

static int open_dirs(struct copy *c, struct hoy_err *err)
{
	const struct { const char *path; int *fd, flags; } dirs[] = {
		{ c->o->root, &c->root, O_PATH },	  { c->o->context, &c->context, O_RDONLY }, { c->o->docs, &c->docs, O_RDONLY },
		{ c->o->upper, &c->upper, O_RDONLY }, { c->o->link, &c->linked, O_RDONLY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (!dirs[i].path)
			continue;
		*dirs[i].fd = open(dirs[i].path, dirs[i].flags | O_DIRECTORY | O_CLOEXEC);
		if (*dirs[i].fd < 0)
			return hoy_fail_errno(err, errno, "cannot open '%s'", dirs[i].path);
	}
	if (c->root < 0 || c->context < 0)
		return hoy_fail(err, EINVAL, "--root and --context are needed");
	/* What is copied as if nothing was there looks at nothing. */
	if (c->linked >= 0)
		c->place = (struct spot){ c->linked, -1 };
	else
		c->place = (struct spot){ c->upper >= 0 ? c->upper : c->root, c->upper >= 0 ? c->root : -1 };
	c->lookup = c->linked >= 0 ? c->linked : c->root;
	return 0;
}

static int read_ignored(struct copy *c, struct hoy_err *err)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = 0;

	if (c->o->ignore) {
		r = hoy_read_file(AT_FDCWD, c->o->ignore, 1 << 20, &text, &len, err);
		if (!r)
			r = ignore_parse(&c->ignore, text, c->o->ignore, err);
	}
	for (size_t i = 0; i < c->o->exclude.n && !r; i++)
		r = ignore_parse(&c->ignore, c->o->exclude.v[i], "--exclude", err);
	return r;
}

static int settings(struct copy *c, struct hoy_err *err)
{
	const struct copy_opts *o = c->o;
	int r = open_dirs(c, err);

	c->items = (struct items){ .context = c->context, .ignore = &c->ignore, .where = o->context, .ignored_by = o->ignore };
	c->p.keep_owner = c->p.keep_setid = o->from_image;
	c->p.dry = o->dry;
	c->p.chown = o->chown != NULL;
	c->p.chmod = o->chmod;
	c->p.forced = o->timestamp != NULL;
	c->p.time = o->timestamp ? strtoll(o->timestamp, NULL, 10) : 0;
	c->p.of = &c->of;
	/* In the directory of --link, owners are what they are to the image. */
	c->p.to = o->link ? NULL : &c->to;
	if (!r)
		r = maps_parse(&o->from_uid_map, &o->from_gid_map, &c->of, err);
	if (!r)
		r = maps_parse(&o->uid_map, &o->gid_map, &c->to, err);
	if (!r && o->chown)
		r = owner_parse(c->root, o->chown, &c->p.uid, &c->p.gid, err);
	if (!r && o->chmod)
		r = chmod_check(o->chmod, err);
	return r ? r : read_ignored(c, err);
}

static void copy_release(struct copy *c)
{
	EVP_MD_CTX_free(c->p.md);
	ignore_release(&c->ignore);
	hoy_links_release(&c->p.links);
	hoy_buf_release(&c->p.name);
	items_release(&c->items);
	hoy_strv_release(&c->sums);
	free(c->dest);
	free(c->into);
	hoy_close(c->root);
	hoy_close(c->context);
	hoy_close(c->docs);
	hoy_close(c->upper);
	hoy_close(c->linked);
}

static int run_copy(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct copy_opts o = { .dry = false };
	struct hoy_strv *lists[] = { &o.exclude, &o.uid_map, &o.gid_map, &o.from_uid_map, &o.from_gid_map };
	struct copy c = { .o = &o, .root = -1, .context = -1, .docs = -1, .upper = -1, .linked = -1, .p = { .name = HOY_BUF_INIT(1 << 20), .err = &err } };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, INT32_MAX, &status);

	if (n < 0)
		return status;
	c.p.md = EVP_MD_CTX_new();
	r = c.p.md ? settings(&c, &err) : hoy_fail_oom(&err);
	for (int i = 1; i < n && !r; i++)
		r = items_add(&c.items, argv[i], &err);
	if (!r)
		r = destination(&c, argv[n], &err);
	for (size_t i = 0; i < c.items.n && !r; i++)
		r = copy_one(&c, &c.items.v[i], &err);
	if (!r && o.link && !o.dry && c.latest.tv_sec)
		date_dirs(c.linked, c.into, &c.latest);
	if (!r && o.link && !o.dry && strcmp(o.link, o.upper ?: ""))
		r = merge(&c, c.linked, c.root, &err);
	if (!r)
		r = print_sums(&c, &err);
	if (!r && o.link)
		printf("%lld\n", (long long)c.latest.tv_sec * 1000000000 + c.latest.tv_nsec);
	if (r < 0 && o.what)
		hoy_fail_prefix(&err, "%s", o.what);
	copy_release(&c);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	return hoy_finish_stdout(r < 0 ? hoy_report(&err, 125) : 0);
}
const struct hoy_verb verb_copy = { "copy", "--root DIR --context DIR [options] SOURCE... DEST", "Put files into the root of a container",
					   copy_opts, run_copy, 0 };
