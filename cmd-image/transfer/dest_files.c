/* cmd-image/transfer/dest_files.c: oci:, oci-archive:, docker-archive:, dir: as destinations. Blobs are files under temporary names first. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/daemon.h"
#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/oci/layout.h"

enum kind { OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIRECTORY };

struct file_dest {
	struct dest d;
	enum kind kind;
	char *path, *tag, *work; /* work: a directory of our own, for archives */
	struct hoy_strv tags;	 /* names of the image that comes next */
	int dirfd;
	int blobfd;		 /* oci: the directory that shares its blobs; else DIRFD, borrowed */
	struct daemon *daemon;	 /* that takes the docker archive instead of a file; or NULL */
	struct hoy_buf list;	 /* docker-archive: manifest.json */
	struct hoy_strv members; /* docker-archive: "FILE NAME" in order */
	bool committed;
};

struct file_sink {
	struct sink k;
	struct file_dest *d;
	int fd;
	char tmp[64]; /* "": it has its name */
};

static void file_name(const struct file_dest *f, const char *digest, char ret[96])
{
	if (f->kind == OCI || f->kind == OCI_ARCHIVE)
		snprintf(ret, 96, "%ssha256/%s", f->blobfd == f->dirfd ? "blobs/" : "", digest + 7);
	else
		snprintf(ret, 96, "%s", digest + 7);
}

static int fk_write(struct sink *k, const void *data, size_t n, struct hoy_err *err)
{
	struct file_sink *f = (struct file_sink *)k;
	int r = hoy_write_full(f->fd, data, n);

	return r < 0 ? hoy_fail_errno(err, -r, "cannot write to '%s'", f->d->path) : 0;
}

static void fk_free(struct sink *k)
{
	struct file_sink *f = (struct file_sink *)k;

	hoy_close(f->fd);
	if (*f->tmp)
		unlinkat(f->d->blobfd, f->tmp, 0);
	free(f);
}

static int fk_end(struct sink *k, const char *digest, int64_t size, struct hoy_err *err)
{
	struct file_sink *f = (struct file_sink *)k;
	char name[96];

	file_name(f->d, digest, name);
	if (renameat(f->d->blobfd, f->tmp, f->d->blobfd, name) < 0)
		return hoy_fail_errno(err, errno, "cannot write '%s' in '%s'", name, f->d->path);
	*f->tmp = '\0';
	return 0;
}

static int fd_has(struct dest *d, const struct desc *blob, const struct source *src, struct hoy_err *err)
{
	struct file_dest *f = (struct file_dest *)d;
	struct stat st;
	char name[96];

	file_name(f, blob->digest, name);
	return !fstatat(f->blobfd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && st.st_size == blob->size;
}

static int fd_put(struct dest *d, const char *digest, int64_t size, struct sink **ret, struct hoy_err *err)
{
	static _Atomic unsigned count;
	struct file_dest *f = (struct file_dest *)d;
	struct file_sink *k = calloc(1, sizeof(*k));

	if (!k)
		return hoy_fail_oom(err);
	k->k = (struct sink){ .write = fk_write, .end = fk_end, .free = fk_free };
	k->d = f;
	snprintf(k->tmp, sizeof(k->tmp), ".tmp-%d-%u", getpid(), count++);
	k->fd = openat(f->blobfd, k->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (k->fd < 0) {
		free(k);
		return hoy_fail_errno(err, errno, "cannot write to '%s'", f->path);
	}
	*ret = &k->k;
	return 0;
}

static int put_file(struct file_dest *f, int at, const char *name, const void *data, size_t len, struct hoy_err *err)
{
	cleanup_free char *dir = strdup(name);
	cleanup_fd int fd = -1;
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int r;

	if (!slash)
		r = hoy_replace_file(at, name, data, len, 0644, false);
	else {
		*slash = '\0';
		fd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = fd < 0 ? -errno : hoy_replace_file(fd, slash + 1, data, len, 0644, false);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s' in '%s'", name, f->path) : 0;
}

/* index.json with this image in it, in place of one of the same name. */
static int add_index(struct file_dest *f, const struct manifest *m, const char *tag, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r = hoy_json_load(&doc, f->dirfd, "index.json", MANIFEST_MAX, err);

	if (r < 0 && r != -ENOENT)
		return r;
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI_INDEX);
	hoy_jw_array(&w, "manifests");
	HOY_JSON_EACH(it, hoy_json_get(doc.root, "manifests")) {
		const char *name = hoy_json_str(hoy_json_get(it, "annotations"), HOY_REF_NAME);

		if (tag ? !name || strcmp(name, tag) : name || strcmp(hoy_json_str(it, "digest") ?: "", m->digest))
			hoy_jw_value(&w, NULL, it);
	}
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "mediaType", manifest_type(m->kind));
	hoy_jw_string(&w, "digest", m->digest);
	hoy_jw_int(&w, "size", m->len);
	if (tag) {
		hoy_jw_object(&w, "annotations");
		hoy_jw_string(&w, HOY_REF_NAME, tag);
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_object(&w);
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	return b.error ? hoy_fail_oom(err) : put_file(f, f->dirfd, "index.json", b.data, b.len, err);
}

static void add_member(struct file_dest *f, const char *hex, const char *ending)
{
	cleanup_free char *line = hoy_asprintf("%s %s%s", hex, hex, ending);

	if (line && !hoy_strv_has(&f->members, line))
		hoy_strv_push(&f->members, line);
}

static int add_docker(struct file_dest *f, const struct manifest *m, struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(&f->list, NULL);

	if (f->list.len)
		hoy_buf_putc(&f->list, ',');
	hoy_jw_object(&w, NULL);
	{
		cleanup_free char *config = hoy_asprintf("%s.json", m->config.digest + 7);

		hoy_jw_string(&w, "Config", config);
	}
	if (f->tags.n)
		hoy_jw_strings(&w, "RepoTags", f->tags.v, f->tags.n);
	else
		hoy_jw_null(&w, "RepoTags");
	hoy_jw_array(&w, "Layers");
	for (size_t i = 0; i < m->n; i++) {
		cleanup_free char *name = hoy_asprintf("%s.tar", m->v[i].digest + 7);

		hoy_jw_string(&w, NULL, name);
		add_member(f, m->v[i].digest + 7, ".tar");
	}
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	add_member(f, m->config.digest + 7, ".json");
	return f->list.error || f->members.error ? hoy_fail_oom(err) : 0;
}

static int fd_manifest(struct dest *d, const struct manifest *m, bool top, struct hoy_err *err)
{
	struct file_dest *f = (struct file_dest *)d;
	char name[128];
	int r;

	if (f->kind == DOCKER_ARCHIVE)
		return add_docker(f, m, err);
	if (f->kind == DIRECTORY) {
		snprintf(name, sizeof(name), "%s%smanifest.json", top ? "" : m->digest + 7, top ? "" : ".");
		return put_file(f, f->dirfd, name, m->data, m->len, err);
	}
	file_name(f, m->digest, name);
	r = put_file(f, f->blobfd, name, m->data, m->len, err);
	if (r < 0 || !top)
		return r;
	if (f->tag || !f->tags.n)
		return add_index(f, m, f->tag, err);
	for (size_t i = 0; !r && i < f->tags.n; i++)
		r = add_index(f, m, f->tags.v[i], err);
	return r;
}

/* ---- tar ---- */

static int tar_header(int fd, const char *name, int64_t size, mode_t mode)
{
	unsigned char h[512] = "";
	unsigned sum = 0;

	snprintf((char *)h, 100, "%s", name);
	snprintf((char *)h + 100, 8, "%07o", mode);
	memcpy(h + 108, "0000000\0" "0000000", 16);
	if (size < (int64_t)1 << 33) {
		char text[16];

		snprintf(text, sizeof(text), "%011llo", (unsigned long long)size);
		memcpy(h + 124, text, 12);
	} else {
		h[124] = 0x80;
		for (int i = 0; i < 8; i++)
			h[135 - i] = size >> (8 * i);
	}
	memcpy(h + 136, "00000000000", 12);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257, "ustar\0" "00", 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	return hoy_write_full(fd, h, 512);
}

static int tar_bytes(int fd, const char *name, const void *data, size_t len)
{
	static const char zero[512];
	int r = tar_header(fd, name, len, 0644);

	if (!r)
		r = hoy_write_full(fd, data, len);
	return r ? r : hoy_write_full(fd, zero, -len & 511);
}

static int tar_file(int fd, const char *name, int dirfd, const char *from)
{
	static const char zero[512];
	cleanup_fd int in = openat(dirfd, from, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	int r;

	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	r = tar_header(fd, name, st.st_size, 0644);
	if (r < 0)
		return r;
	n = hoy_copy_fd(in, fd);
	return n < 0 ? n : hoy_write_full(fd, zero, -st.st_size & 511);
}

static int write_docker(struct file_dest *f, int fd)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->members.n; i++) {
		char *sp = strchr(f->members.v[i], ' ');

		*sp = '\0';
		r = tar_file(fd, sp + 1, f->dirfd, f->members.v[i]);
	}
	hoy_buf_putc(&f->list, ']');
	if (!r) {
		cleanup_free char *all = hoy_asprintf("[%s", hoy_buf_str(&f->list));

		r = all ? tar_bytes(fd, "manifest.json", all, strlen(all)) : -ENOMEM;
	}
	return r;
}

static int write_oci(struct file_dest *f, int fd)
{
	cleanup_fd int sub = openat(f->dirfd, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = sub < 0 ? NULL : fdopendir(dup(sub));
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	struct dirent *e;
	int r = d ? 0 : -errno;

	while (d && (e = readdir(d)))
		if (*e->d_name != '.')
			hoy_strv_push(&names, e->d_name);
	hoy_strv_sort(&names);
	for (size_t i = 0; !r && i < names.n; i++) {
		char name[300];

		snprintf(name, sizeof(name), "blobs/sha256/%s", names.v[i]);
		r = tar_file(fd, name, sub, names.v[i]);
	}
	if (!r)
		r = tar_file(fd, "index.json", f->dirfd, "index.json");
	return r ? r : tar_file(fd, "oci-layout", f->dirfd, "oci-layout");
}

static int write_archive(struct file_dest *f, struct hoy_err *err)
{
	static const char zero[1024];
	bool out = !strcmp(f->path, "-") || !strncmp(f->path, "/dev/", 5);
	cleanup_free char *tmp = out ? NULL : hoy_asprintf("%s.tmp-%d", f->path, getpid());
	cleanup_fd int fd = out ? strcmp(f->path, "-") ? open(f->path, O_WRONLY | O_CLOEXEC) : fcntl(1, F_DUPFD_CLOEXEC, 3) :
				  open(tmp ? tmp : "", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : f->kind == DOCKER_ARCHIVE ? write_docker(f, fd) : write_oci(f, fd);

	if (!r)
		r = hoy_write_full(fd, zero, sizeof(zero));
	if (!r && !out && rename(tmp, f->path) < 0)
		r = -errno;
	if (r < 0 && tmp)
		unlink(tmp);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", f->path) : 0;
}

static int give_daemon(struct file_dest *f, struct hoy_err *err)
{
	static const char zero[1024];
	cleanup_fd int fd = temp_file();
	int r = fd < 0 ? fd : write_docker(f, fd);

	if (!r)
		r = hoy_write_full(fd, zero, sizeof(zero));
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write a temporary file") : daemon_load(f->daemon, fd, err);
}

static int fd_commit(struct dest *d, struct hoy_err *err)
{
	struct file_dest *f = (struct file_dest *)d;

	if (f->daemon)
		return give_daemon(f, err);
	return f->kind == OCI_ARCHIVE || f->kind == DOCKER_ARCHIVE ? write_archive(f, err) : 0;
}

static void fd_free(struct dest *d)
{
	struct file_dest *f = (struct file_dest *)d;

	if (f->blobfd != f->dirfd)
		hoy_close(f->blobfd);
	hoy_close(f->dirfd);
	daemon_free(f->daemon);
	if (f->work)
		hoy_remove_tree(AT_FDCWD, f->work);
	free(f->work);
	free(f->path);
	free(f->tag);
	hoy_strv_release(&f->tags);
	hoy_strv_release(&f->members);
	hoy_buf_release(&f->list);
}

static void fd_name(struct dest *d, const struct hoy_strv *names)
{
	struct file_dest *f = (struct file_dest *)d;

	hoy_strv_release(&f->tags);
	for (size_t i = 0; i < names->n; i++)
		hoy_strv_push(&f->tags, names->v[i]);
}

static int dir_signatures(struct dest *d, const struct manifest *m, bool top, const struct sigs *sigs, struct hoy_err *err)
{
	struct file_dest *f = (struct file_dest *)d;
	char name[HOY_ID_SIZE + 32];
	int r = 0;

	for (size_t i = 0; i < sigs->n && !r; i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(3 * SIG_MAX);

		sig_blob(&sigs->v[i], &b);
		snprintf(name, sizeof(name), "%s%ssignature-%zu", top ? "" : m->digest + 7, top ? "" : ".", i + 1);
		r = b.error ? hoy_fail_oom(err) : put_file(f, f->dirfd, name, b.data, b.len, err);
	}
	return r;
}

static int oci_refer(struct dest *d, const struct manifest *m, const char *subject, struct hoy_err *err)
{
	(void)subject;
	return add_index((struct file_dest *)d, m, NULL, err);
}

static int oci_tag(struct dest *d, const struct manifest *m, const char *tag, struct hoy_err *err)
{
	return add_index((struct file_dest *)d, m, tag, err);
}

static const struct dest_ops oci_ops = { .has = fd_has, .put = fd_put, .manifest = fd_manifest, .commit = fd_commit, .free = fd_free, .name = fd_name,
					 .refer = oci_refer, .tag = oci_tag };
static const struct dest_ops ops = { .has = fd_has, .put = fd_put, .manifest = fd_manifest, .commit = fd_commit, .free = fd_free, .name = fd_name };
static const struct dest_ops dir_ops = { .has = fd_has, .put = fd_put, .manifest = fd_manifest, .commit = fd_commit, .free = fd_free, .name = fd_name,
					 .signatures = dir_signatures };

static int open_shared(struct file_dest *f, const char *dir, struct hoy_err *err)
{
	cleanup_fd int sub = -1;

	f->blobfd = hoy_open_dir_p(AT_FDCWD, dir, 0755);
	if (f->blobfd >= 0)
		sub = hoy_open_dir_p(f->blobfd, "sha256", 0755);
	if (f->blobfd >= 0 && sub >= 0)
		return 0;
	return hoy_fail_errno(err, f->blobfd < 0 ? -f->blobfd : -sub, "cannot make 'sha256' in '%s'", dir);
}

static int make_layout(struct file_dest *f, const char *shared, struct hoy_err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}", version[] = "Directory Transport Version: 1.1\n";
	bool oci = f->kind == OCI || f->kind == OCI_ARCHIVE;
	const char *dir = f->path, *tmp = getenv("TMPDIR");
	int r = 0;

	if (f->kind == OCI_ARCHIVE || f->kind == DOCKER_ARCHIVE) {
		f->work = hoy_asprintf("%s/hoy-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
		if (!f->work || !mkdtemp(f->work)) {
			r = -errno;
			free(f->work);
			f->work = NULL;
			return hoy_fail_errno(err, -r, "cannot make a temporary directory");
		}
		dir = f->work;
	}
	f->dirfd = hoy_open_dir_p(AT_FDCWD, dir, 0755);
	if (f->dirfd < 0)
		return hoy_fail_errno(err, -f->dirfd, "cannot make '%s'", dir);
	f->blobfd = f->dirfd;
	if (f->kind == OCI && shared)
		r = open_shared(f, shared, err);
	if (r < 0)
		return r;
	if (oci) {
		cleanup_fd int sub = hoy_open_dir_p(f->dirfd, "blobs/sha256", 0755);

		r = sub < 0 ? hoy_fail_errno(err, -sub, "cannot make 'blobs/sha256' in '%s'", dir) :
			      put_file(f, f->dirfd, "oci-layout", layout, sizeof(layout) - 1, err);
	} else if (f->kind == DIRECTORY) {
		r = put_file(f, f->dirfd, "version", version, sizeof(version) - 1, err);
	}
	return r;
}

/* The names that the image in a docker archive has: the reference's and those given beside. */
static int docker_names(struct file_dest *f, const struct hoy_strv *more, struct hoy_err *err)
{
	for (size_t i = 0; i < (f->tag ? 1 : 0) + (more ? more->n : 0); i++) {
		const char *given = f->tag && !i ? f->tag : more->v[i - (f->tag ? 1 : 0)];
		cleanup_free char *full = full_name(given);
		const char *slash = strrchr(given, '/');

		if (given != f->tag && !strchr(slash ? slash : given, ':'))
			return hoy_fail(err, EINVAL, "additional-tag '%s' must be a tagged reference", given);
		if (!full || strchr(full, '@'))
			return hoy_fail(err, EINVAL, "'%s' is no name with a tag", given);
		if (!hoy_strv_has(&f->tags, full))
			hoy_strv_push(&f->tags, full);
	}
	return f->tags.error ? hoy_fail_oom(err) : 0;
}

/* Into an archive that exists nothing is added, and it is not written over. */
static int check_absent(const char *path, struct hoy_err *err)
{
	struct stat st;

	if (strcmp(path, "-") && !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size)
		return hoy_fail(err, EEXIST, "'%s' exists: docker-archive doesn't support modifying existing images", path);
	return 0;
}

/* PATH and TAG (may be NULL) are given away. */
static int make_dest(struct dest **ret, enum kind kind, const char *name, char *path, char *tag, const struct reg_opts *o, struct hoy_err *err)
{
	struct file_dest *f = calloc(1, sizeof(*f));
	int r;

	if (!f || !path) {
		free(f);
		free(path);
		free(tag);
		return hoy_fail_oom(err);
	}
	f->d.ops = kind == DIRECTORY ? &dir_ops : kind == DOCKER_ARCHIVE ? &ops : &oci_ops;
	f->d.name = strdup(name);
	f->kind = kind;
	f->dirfd = f->blobfd = -1;
	f->list.max = MANIFEST_MAX;
	f->path = path;
	f->tag = tag;
	f->d.layers = kind == DOCKER_ARCHIVE ? LAYERS_PLAIN : kind == DIRECTORY || (o && o->accept_plain && (kind == OCI || kind == OCI_ARCHIVE)) ? LAYERS_KEEP : LAYERS_PACKED;
	f->d.takes_urls = kind == OCI || kind == OCI_ARCHIVE;
	for (int i = 0; i < MAN_KINDS; i++)
		f->d.takes[i] = kind == DIRECTORY || (kind == DOCKER_ARCHIVE ? i == MAN_V2S2 : i == MAN_OCI || i == MAN_OCI_INDEX);
	r = kind == DOCKER_ARCHIVE ? docker_names(f, o->more_names, err) : 0;
	if (!r && kind == OCI && f->tag && *f->tag == '@')
		r = hoy_fail(err, EINVAL, "'%s': an index names an image that is there, not one to be written", name);
	if (!r && kind == DOCKER_ARCHIVE)
		r = check_absent(f->path, err);
	if (!r)
		r = make_layout(f, o ? o->shared_blobs : NULL, err);
	if (r < 0)
		dest_free(&f->d);
	else
		*ret = &f->d;
	return r;
}

static int open_dest(struct dest **ret, enum kind kind, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	const char *colon = kind == DIRECTORY ? NULL : strchr(rest, ':');

	return make_dest(ret, kind, rest, colon ? strndup(rest, colon - rest) : strdup(rest), colon && colon[1] ? strdup(colon + 1) : NULL, o, err);
}

int dest_layout(struct dest **ret, const char *path, const char *tag, struct hoy_err *err)
{
	return make_dest(ret, OCI, path, strdup(path), strdup(tag), NULL, err);
}

int dest_oci(struct dest **ret, const char *rest, bool archive, const struct reg_opts *o, struct hoy_err *err)
{
	return open_dest(ret, archive ? OCI_ARCHIVE : OCI, rest, o, err);
}

int dest_docker_archive(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	return open_dest(ret, DOCKER_ARCHIVE, rest, o, err);
}

int dest_dir(struct dest **ret, const char *rest, struct hoy_err *err) { return open_dest(ret, DIRECTORY, rest, NULL, err); }

/* A docker archive that is handed over when it is complete. */
int dest_daemon(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_free char *name = NULL, *as_archive = NULL;
	struct daemon *daemon = NULL;
	int r = daemon_name(rest, true, &name, err);

	if (!r)
		r = daemon_new(&daemon, o, err);
	as_archive = r ? NULL : hoy_asprintf("-:%s", name);
	if (!r && !as_archive)
		r = hoy_fail_oom(err);
	if (!r)
		r = dest_docker_archive(ret, as_archive, o, err);
	if (r < 0)
		daemon_free(daemon);
	else
		((struct file_dest *)*ret)->daemon = daemon;
	return r;
}
