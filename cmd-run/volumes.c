/* cmd-run/volumes.c: -v, --mount and --tmpfs become mounts of the definition; named volumes and their first filling. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/data/units.h"

static bool valid_name(const char *s)
{
	if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *s) || !*s)
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(s);
}

/*
 * From looking for a volume until a saved definition names it, so that no prune takes it for unused meanwhile. Shared by
 * those who define containers.
 */
static struct hoy_lock naming = HOY_LOCK_INIT;

int volumes_lock(struct hoy_store *s, struct hoy_lock *l, bool write, struct hoy_err *err)
{
	cleanup_fd int dir = hoy_open_dir_p(s->graphfd, "hoy", 0700);
	int r = dir < 0 ? dir : hoy_lock_open(l, dir, "volumes.lock", false);

	if (!r && !l->held)
		r = hoy_lock_take(l, write);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot lock the volumes of '%s'", s->conf.graphroot) : 0;
}

void volumes_named(void) { hoy_lock_close(&naming); }

/*
 * The directory of volume NAME: a podman volume is used where it is; ours are in graphroot/hoy/volumes, since podman
 * would remove a directory in graphroot/volumes that it doesn't know. *FRESH tells whether it was made now.
 */
static int volume_dir(struct hoy_store *s, const char *name, bool anonymous, char **ret, bool *fresh, struct hoy_err *err)
{
	cleanup_free char *podman = hoy_asprintf("%s/volumes/%s/_data", s->conf.graphroot, name);
	cleanup_free char *dir = hoy_asprintf("%s/hoy/volumes/%s", s->conf.graphroot, name), *data = NULL, *meta = NULL;
	char now[HOY_TIME_SIZE];
	int r;

	*fresh = false;
	r = volumes_lock(s, &naming, false, err);
	if (r < 0)
		return r;
	if (!podman || !dir || !(data = hoy_path_join(dir, "_data")))
		return hoy_fail_oom(err);
	if (hoy_exists(AT_FDCWD, podman)) {
		*ret = steal_ptr(&podman);
		return 0;
	}
	if (!hoy_exists(AT_FDCWD, data)) {
		cleanup_fd int fd = hoy_open_dir_p(AT_FDCWD, dir, 0700);

		meta = hoy_asprintf("{\"name\":\"%s\",\"driver\":\"local\",\"created\":\"%s\",\"anonymous\":%s}", name,
				    hoy_time_format(hoy_now(), now), anonymous ? "true" : "false");
		r = fd < 0 ? fd : !meta ? -ENOMEM : hoy_replace_file(fd, "volume.json", meta, strlen(meta), 0600, true);
		if (!r)
			r = hoy_mkdir_p(data, 0755);
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot make volume '%s'", name);
		*fresh = true;
	}
	*ret = steal_ptr(&data);
	return 0;
}

struct mount_text {
	const char *type;
	char *source, *dest;
	bool anonymous, copy, fresh, no_chown;
	struct hoy_strv options;
};

static void mount_text_release(struct mount_text *m)
{
	free(m->source);
	free(m->dest);
	hoy_strv_release(&m->options);
}

/* "a//b/./c/" to "a/b/c" with one leading slash; ".." is refused, as it would be by the kernel's view of the image. */
static char *clean_path(const char *path)
{
	struct hoy_buf b = HOY_BUF_INIT(PATH_MAX);
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT, out = HOY_STRV_INIT;

	hoy_strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.n; i++) {
		if (!strcmp(parts.v[i], "..")) {
			if (out.n)
				hoy_strv_remove(&out, out.n - 1);
		} else if (*parts.v[i] && strcmp(parts.v[i], ".")) {
			hoy_strv_push(&out, parts.v[i]);
		}
	}
	for (size_t i = 0; i < out.n; i++)
		hoy_buf_printf(&b, "/%s", out.v[i]);
	if (!b.len)
		hoy_buf_putc(&b, '/');
	return hoy_buf_steal(&b);
}

static const char *find_option(const struct mount_text *m, const char *start)
{
	for (size_t i = 0; i < m->options.n; i++)
		if (!strncmp(m->options.v[i], start, strlen(start)))
			return m->options.v[i];
	return NULL;
}

static bool is_overlay(const char *o) { return !strcmp(o, "O") || !strncmp(o, "upperdir=", 9) || !strncmp(o, "workdir=", 8); }
static bool is_idmap(const char *o) { return !strncmp(o, "idmap", 5) && strchr("=", o[5]); }

static int check_options(struct mount_text *m, const char *text, struct hoy_err *err)
{
	static const char *const known[] = { "ro", "rw", "dev", "nodev", "exec", "noexec", "suid", "nosuid", "bind", "rbind", "private",
		"rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable", "atime", "noatime", "relatime",
		"tmpcopyup" };
	bool over = hoy_strv_has(&m->options, "O"); /* an overlay on it takes what is written */
	bool propagation = false, bind = false, idmap = false;

	for (size_t i = m->options.n; i-- > 0;) {
		const char *o = m->options.v[i];
		size_t k;

		if (over && (is_overlay(o) || !strcmp(o, "U") || !strcmp(o, "z") || !strcmp(o, "Z"))) {
			if (is_overlay(o))
				continue;
		} else if (over) {
			return hoy_fail(err, EINVAL, "can't use 'O' with other options");
		}
		if (!strcmp(o, "copy") || !strcmp(o, "nocopy")) {
			m->copy = o[0] == 'c';
			hoy_strv_remove(&m->options, i);
			continue;
		}
		/* Relabelling has no effect without SELinux. */
		if (!strcmp(o, "z") || !strcmp(o, "Z") || !*o) {
			if (*o && hoy_exists(AT_FDCWD, "/sys/fs/selinux/enforce"))
				return hoy_fail(err, HOY_EUNSUPPORTED, "volume option '%s' (SELinux) is not supported", o);
			hoy_strv_remove(&m->options, i);
			continue;
		}
		if (is_idmap(o)) {
			if (idmap)
				return hoy_fail(err, EINVAL, "the 'idmap' option can only be set once: duplicate mount option passed");
			idmap = true;
			if (mount_idmap_check(o, err) < 0)
				return -err->code;
			continue;
		}
		for (k = 0; k < ARRAY_SIZE(known) && strcmp(known[k], o); k++)
			;
		if (k == ARRAY_SIZE(known) && strcmp(o, "U"))
			return hoy_fail(err, EINVAL, "invalid mount option \"%s\" in '%s'", o, text);
		bind = bind || strstr(o, "bind") == o || !strcmp(o, "rbind");
		propagation = propagation || strstr(o, "private") || strstr(o, "shared") || strstr(o, "slave");
	}
	if (over && !find_option(m, "upperdir=") != !find_option(m, "workdir="))
		return hoy_fail(err, EINVAL, "must set both `upperdir` and `workdir`");
	if (!propagation)
		hoy_strv_push(&m->options, "rprivate");
	if (!bind)
		hoy_strv_push(&m->options, "rbind");
	return m->options.error ? hoy_fail_oom(err) : 0;
}

static int put_mount(struct hoy_json_doc *d, struct hoy_json *mounts, const struct mount_text *m, const char *name,
		     struct hoy_err *err)
{
	struct hoy_json *o, *opts;

	HOY_JSON_EACH(it, mounts)
		if (!strcmp(hoy_json_str(it, "destination") ?: "", m->dest))
			return hoy_fail(err, EEXIST, "%s: duplicate mount destination", m->dest);
	o = hoy_json_put(d, mounts, NULL, hoy_json_new(d, HOY_JSON_OBJECT));
	if (!o || !hoy_json_set_string(d, o, "type", m->type) || !hoy_json_set_string(d, o, "source", m->source) ||
	    !hoy_json_set_string(d, o, "destination", m->dest) || !(opts = hoy_json_need(d, o, "options", HOY_JSON_ARRAY)))
		return hoy_fail_oom(err);
	for (size_t i = 0; i < m->options.n; i++)
		hoy_json_set_string(d, opts, NULL, m->options.v[i]);
	if (name)
		hoy_json_set_string(d, o, "name", name);
	if (m->anonymous)
		hoy_json_set_bool(d, o, "anonymous", true);
	if (name && m->copy)
		hoy_json_set_bool(d, o, "copy", true);
	return 0;
}

/* A named or anonymous volume at M->dest. */
static int put_volume(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, struct mount_text *m, const char *name,
		      struct hoy_err *err)
{
	char id[65];
	int r;

	if (!name || !*name) {
		r = hoy_random_id(id);
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot name a volume");
		name = id;
		m->anonymous = true;
	} else if (!valid_name(name)) {
		return hoy_fail(err, EINVAL, "invalid volume name \"%s\": names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument", name);
	}
	free(m->source);
	m->source = NULL;
	r = volume_dir(s, name, m->anonymous, &m->source, &m->fresh, err);
	return r ? r : put_mount(d, mounts, m, name, err);
}

static int put_bind(struct hoy_json_doc *d, struct hoy_json *mounts, struct mount_text *m, struct hoy_err *err)
{
	struct stat st;

	if (stat(m->source, &st) < 0)
		return hoy_fail_errno(err, errno, "statfs %s", m->source);
	if (hoy_strv_has(&m->options, "O") && (!S_ISDIR(st.st_mode) || strchr(m->source, ',')))
		return hoy_fail(err, EINVAL, "volume option 'O' needs a directory without a comma in its name: '%s'", m->source);
	return put_mount(d, mounts, m, NULL, err);
}

int parse_volume(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
	struct mount_text m = { .type = "bind", .copy = true };
	const char *src, *dst, *opts;
	int r;

	hoy_strv_split(&parts, text, ':');
	if (!parts.n || parts.n > 3)
		return hoy_fail(err, EINVAL, "incorrect volume format, should be [host-dir:]ctr-dir[:option]: '%s'", text);
	src = parts.n > 1 ? parts.v[0] : "";
	dst = parts.v[parts.n > 1];
	opts = parts.n > 2 ? parts.v[2] : "";
	if (dst[0] != '/')
		return hoy_fail(err, EINVAL, "invalid container path \"%s\", must be an absolute path", dst);
	m.dest = clean_path(dst);
	hoy_strv_split(&m.options, opts, ',');
	r = check_options(&m, text, err);
	if (!r && (src[0] == '/' || src[0] == '.')) {
		m.source = src[0] == '/' ? clean_path(src) : realpath(src, NULL);
		r = m.source ? put_bind(d, mounts, &m, err) : hoy_fail_errno(err, errno, "statfs %s", src);
	} else if (!r) {
		m.type = "volume";
		r = put_volume(s, d, mounts, &m, src, err);
	}
	mount_text_release(&m);
	return r;
}

int parse_tmpfs(struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err)
{
	const char *colon = strchr(text, ':');
	cleanup_free char *path = colon ? strndup(text, colon - text) : strdup(text);
	struct mount_text m = { .type = "tmpfs" };
	static const char *const defaults[] = { "rprivate", "nosuid", "nodev", "tmpcopyup" };
	int r;

	if (!path || path[0] != '/')
		return hoy_fail(err, EINVAL, "tmpfs path '%s' is not absolute", text);
	m.dest = clean_path(path);
	m.source = strdup("tmpfs");
	if (colon)
		hoy_strv_split(&m.options, colon + 1, ',');
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (!hoy_strv_has(&m.options, defaults[i]) && !hoy_strv_has(&m.options, defaults[i] + 2) &&
		    !(*defaults[i] == 't' && hoy_strv_has(&m.options, "notmpcopyup")))
			hoy_strv_push(&m.options, defaults[i]);
	for (size_t i = m.options.n; i-- > 0;)
		if (!strcmp(m.options.v[i], "notmpcopyup"))
			hoy_strv_remove(&m.options, i);
	r = m.dest && m.source && !m.options.error ? put_mount(d, mounts, &m, NULL, err) : hoy_fail_oom(err);
	mount_text_release(&m);
	return r;
}

/* type=bind,source=,target=,...: one key of --mount. */
static int mount_key(struct mount_text *m, const char *word, const char **src, const char **dst, struct hoy_strv *fs_opts,
		     const char **type, struct hoy_err *err)
{
	const char *eq = strchr(word, '='), *v = eq ? eq + 1 : "true";
	size_t len = eq ? (size_t)(eq - word) : strlen(word);

#define IS(s) (len == strlen(s) && !strncmp(word, s, len))
	if (IS("type"))
		*type = v;
	else if (IS("source") || IS("src"))
		*src = v;
	else if (IS("target") || IS("destination") || IS("dst"))
		*dst = v;
	else if (IS("ro") || IS("readonly"))
		hoy_strv_push(&m->options, strcmp(v, "false") ? "ro" : "rw");
	else if (IS("rw"))
		hoy_strv_push(&m->options, strcmp(v, "false") ? "rw" : "ro");
	else if (IS("bind-propagation"))
		hoy_strv_push(&m->options, v);
	else if (IS("bind-nonrecursive"))
		hoy_strv_push(&m->options, strcmp(v, "false") ? "bind" : "rbind");
	else if (IS("tmpfs-size"))
		hoy_strv_pushf(fs_opts, "size=%s", v);
	else if (IS("tmpfs-mode"))
		hoy_strv_pushf(fs_opts, "mode=%s", v);
	else if (IS("U") || IS("chown")) {
		if (hoy_strv_has(&m->options, "U") || m->no_chown)
			return hoy_fail(err, EINVAL, "cannot pass 'U' or 'chown' option more than once: must provide an argument for option");
		m->no_chown = !strcmp(v, "false");
		if (!m->no_chown)
			hoy_strv_push(&m->options, "U");
	} else if (IS("idmap"))
		hoy_strv_push(&m->options, word);
	else if (IS("volume-nocopy") || IS("nocopy"))
		m->copy = false;
	else if (IS("O"))
		return hoy_fail(err, EINVAL, "O: invalid mount option");
	else if (!eq)
		hoy_strv_push(&m->options, word);
	else
		return hoy_fail(err, HOY_EUNSUPPORTED, "--mount key '%.*s' is not supported", (int)len, word);
#undef IS
	return 0;
}

int parse_mount(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const char *text, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT, fs_opts = HOY_STRV_INIT;
	const char *src = NULL, *dst = NULL, *type = "volume";
	struct mount_text m = { .copy = true };
	int r = 0;

	hoy_strv_split(&words, text, ',');
	for (size_t i = 0; i < words.n && !r; i++)
		r = mount_key(&m, words.v[i], &src, &dst, &fs_opts, &type, err);
	if (!r && (!dst || dst[0] != '/'))
		r = hoy_fail(err, EINVAL, "must set volume destination: '%s'", text);
	if (!r)
		m.dest = clean_path(dst);
	m.type = type;
	if (!r && !strcmp(type, "tmpfs")) {
		m.source = strdup("tmpfs");
		for (size_t i = 0; i < fs_opts.n; i++)
			hoy_strv_push(&m.options, fs_opts.v[i]);
		hoy_strv_push(&m.options, "rprivate");
		hoy_strv_push(&m.options, "nosuid");
		hoy_strv_push(&m.options, "nodev");
		r = put_mount(d, mounts, &m, NULL, err);
	} else if (!r && (!strcmp(type, "bind") || !strcmp(type, "volume"))) {
		r = check_options(&m, text, err);
		if (!r && !strcmp(type, "bind")) {
			m.source = src ? (src[0] == '/' ? clean_path(src) : realpath(src, NULL)) : NULL;
			r = m.source ? put_bind(d, mounts, &m, err) : hoy_fail(err, ENOENT, "statfs %s: no such file or directory", src ? src : "''");
		} else if (!r) {
			r = put_volume(s, d, mounts, &m, src, err);
		}
	} else if (!r) {
		r = hoy_fail(err, HOY_EUNSUPPORTED, "mount type '%s' is not supported (bind, volume, tmpfs)", type);
	}
	mount_text_release(&m);
	return r;
}

int image_volumes(struct hoy_store *s, struct hoy_json_doc *d, struct hoy_json *mounts, const struct hoy_json *volumes,
		  struct hoy_err *err)
{
	int r = 0;

	HOY_JSON_EACH(it, volumes) {
		struct mount_text m = { .type = "volume", .copy = true, .dest = clean_path(it->key) };
		bool taken = false;

		HOY_JSON_EACH(have, mounts)
			taken = taken || !strcmp(hoy_json_str(have, "destination") ?: "", m.dest ?: "");
		if (!taken && it->key[0] == '/') {
			hoy_strv_push(&m.options, "rprivate");
			hoy_strv_push(&m.options, "rbind");
			r = put_volume(s, d, mounts, &m, NULL, err);
		}
		mount_text_release(&m);
		if (r < 0)
			return r;
	}
	return 0;
}
