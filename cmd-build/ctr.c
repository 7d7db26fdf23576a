/* cmd-build/ctr.c: working containers that last: found, their settings read and written. */
#include "cmd-build/ctr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/lease.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

#define STATE_MAX ((size_t)32 << 20) /* a config and a manifest in base64, and the history */

void ctr_init(struct ctr *c)
{
	*c = (struct ctr){ .b = { .f = CFILE_INIT, .err = HOY_ERR_INIT, .time = -1 } };
	options_init(&c->o);
	c->b.o = &c->o;
	c->w.b = &c->b;
}

void ctr_release(struct ctr *c)
{
	hoy_json_release(&c->d);
	hoy_strv_release(&c->w.stubs);
	if (c->b.tmp)
		hoy_remove_tree(AT_FDCWD, c->b.tmp);
	free(c->b.tmp);
	free(c->w.name);
	free(c->w.root);
	hoy_store_free(c->b.s);
}

int ctr_open_store(struct ctr *c)
{
	int r = c->b.s ? 0 : hoy_store_open(&c->b.s, &hoy_globals.storage, 0, &c->b.err);

	if (!r && !c->opened)
		lease_collect(c->b.s);
	c->opened = c->opened || !r;
	return r;
}

const char *ctr_first_name(const struct hoy_json *rec)
{
	const struct hoy_json *names = hoy_json_get(rec, "names");

	return (names && names->child ? hoy_json_text(names->child) : NULL) ?: "";
}

static int take_record(struct ctr *c, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "id") ?: "", *name = ctr_first_name(rec);

	if (!hoy_is_id(id))
		return hoy_fail(&c->b.err, HOY_EFORMAT, "'%s' is no id of a container", id);
	snprintf(c->w.id, sizeof(c->w.id), "%s", id);
	snprintf(c->w.layer, sizeof(c->w.layer), "%s", hoy_json_str(rec, "layer") ?: "");
	free(c->w.name);
	c->w.name = strdup(*name ? name : id);
	return c->w.name ? 0 : hoy_fail_oom(&c->b.err);
}

int ctr_load(struct ctr *c, const struct hoy_json *rec)
{
	char path[HOY_ID_SIZE + 32], *data = NULL;
	size_t len = 0;
	int r = take_record(c, rec);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/userdata/buildah.json", c->w.id);
	if (!hoy_container_builds(c->b.s, c->w.id))
		return -ENOENT;
	r = hoy_read_beneath(c->b.s->ctrsfd, path, STATE_MAX, &data, &len, &c->b.err);
	if (r < 0)
		return r;
	hoy_json_release(&c->d);
	r = hoy_json_adopt(&c->d, data, len, "buildah.json", &c->b.err);
	if (!r && (!hoy_json_is(c->d.root, HOY_JSON_OBJECT) || strcmp(hoy_json_str(c->d.root, "type") ?: "", "buildah 0.0.1")))
		r = hoy_fail(&c->b.err, HOY_EFORMAT, "container \"%s\" is not a buildah container", c->w.name);
	return r ? r : userns_read(&c->w.ns, c->d.root, &c->b.err);
}

int ctr_open(struct ctr *c, const char *name)
{
	struct hoy_json *rec = NULL;
	int r = ctr_open_store(c);

	if (!r)
		r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);
	if (r < 0)
		return r;
	r = hoy_container_find(c->b.s, name, &rec, &c->b.err);
	if (r == -ENOENT)
		return hoy_fail(&c->b.err, ENOENT, "reading build container \"%s\": container not known", name);
	if (!r)
		r = ctr_load(c, rec);
	if (r == -ENOENT)
		return hoy_fail(&c->b.err, ENOENT, "reading build container \"%s\": it is not one of a build", name);
	return r < 0 ? hoy_fail_prefix(&c->b.err, "reading build container \"%s\"", name) : 0;
}

/* What docker's form has twice. */
static void copy_config(struct ctr *c)
{
	struct hoy_json *docker = hoy_json_get(c->d.root, "docker"), *config = hoy_json_get(docker, "config");

	if (config)
		hoy_json_put(&c->d, docker, "container_config", hoy_json_copy(&c->d, config));
}

void ctr_write(struct ctr *c, struct hoy_buf *ret)
{
	struct hoy_jw w = hoy_jw_on(ret, NULL);

	copy_config(c);
	hoy_jw_value(&w, NULL, c->d.root);
}

int ctr_save(struct ctr *c)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(STATE_MAX);
	char path[HOY_ID_SIZE + 16];
	cleanup_fd int dir = -1;
	int r;

	ctr_write(c, &text);
	snprintf(path, sizeof(path), "%s/userdata", c->w.id);
	dir = text.error ? -text.error : hoy_open_beneath(c->b.s->ctrsfd, path, O_RDONLY | O_DIRECTORY, 0, HOY_BENEATH);
	r = dir < 0 ? dir : hoy_replace_file(dir, "buildah.json", text.data, text.len, 0600, false);
	return r < 0 ? hoy_fail_errno(&c->b.err, -r, "cannot write the settings of '%s'", c->w.name) : 0;
}

/* ---- what buildah's mounts have left ---- */

/* The file or directory PATH of UPPER, if it's empty and as old as WHEN says: a mount point that nobody has used. */
static void drop_left(int upper, const char *path, int64_t when)
{
	cleanup_free char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	const char *name = slash ? slash + 1 : dir;
	cleanup_fd int parent = -1;
	struct stat st;

	if (slash)
		*slash = '\0';
	parent = !dir ? -1 : hoy_open_beneath(upper, slash ? dir : ".", O_PATH | O_DIRECTORY, 0, HOY_BENEATH);
	if (parent < 0 || !*name || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_mtim.tv_sec * HOY_NS + st.st_mtim.tv_nsec != when)
		return;
	if (S_ISDIR(st.st_mode))
		(void)unlinkat(parent, name, AT_REMOVEDIR);
	else if (S_ISREG(st.st_mode) && !st.st_size)
		(void)unlinkat(parent, name, 0);
}

static void drop_list(int upper, const struct hoy_json *list)
{
	/* What is in a directory stands behind it. */
	cleanup_free const struct hoy_json **v = calloc((list ? list->count : 0) + 1, sizeof(*v));
	size_t n = 0;

	HOY_JSON_EACH(e, v ? list : NULL)
		v[n++] = e;
	while (n--)
		if (hoy_json_str(v[n], "Path"))
			drop_left(upper, hoy_json_str(v[n], "Path"), hoy_json_time(v[n], "ModTime"));
}

void ctr_tidy(struct ctr *c)
{
	static const char *const dirs[] = { "commit-excludes", "commit-pulled-up" };
	cleanup_fd int upper = c->b.s->vfs ? -1 : hoy_layer_open_diff(c->b.s, c->w.layer);

	for (size_t i = 0; upper >= 0 && i < ARRAY_SIZE(dirs); i++) {
		char path[HOY_ID_SIZE + 48];
		cleanup_dir DIR *d = NULL;
		struct dirent *e;
		int fd;

		snprintf(path, sizeof(path), "%s/userdata/%s", c->w.id, dirs[i]);
		fd = hoy_open_beneath(c->b.s->ctrsfd, path, O_RDONLY | O_DIRECTORY, 0, HOY_BENEATH);
		d = fd < 0 ? NULL : fdopendir(fd);
		while (d && (e = readdir(d))) {
			cleanup_json struct hoy_json_doc list = HOY_JSON_DOC_INIT;

			if (*e->d_name != '.' && !hoy_json_load(&list, dirfd(d), e->d_name, 1 << 20, NULL))
				drop_list(upper, list.root);
		}
	}
	work_tidy(&c->w);
}

/* ---- settings ---- */

static struct hoy_json *config_of(struct ctr *c, const char *form)
{
	struct hoy_json *image = hoy_json_need(&c->d, c->d.root, form, HOY_JSON_OBJECT);

	return image ? hoy_json_need(&c->d, image, "config", HOY_JSON_OBJECT) : NULL;
}

struct hoy_json *ctr_oci(struct ctr *c) { return config_of(c, "ociv1"); }
struct hoy_json *ctr_docker(struct ctr *c) { return config_of(c, "docker"); }
bool ctr_is_docker(const struct ctr *c) { return !strcmp(hoy_json_str(c->d.root, "Format") ?: "", FORMAT_DOCKER); }

int ctr_note(struct ctr *c, int given, const char *by)
{
	const char *env = getenv("BUILDAH_HISTORY");
	bool wanted = given >= 0 ? given : env && (!strcmp(env, "1") || !strcasecmp(env, "true"));
	struct hoy_json *list, *h;
	char when[HOY_TIME_SIZE];

	if (!wanted)
		return 0;
	list = hoy_json_need(&c->d, c->d.root, "PrependedEmptyLayers", HOY_JSON_ARRAY);
	h = list ? hoy_json_put(&c->d, list, NULL, hoy_json_new(&c->d, HOY_JSON_OBJECT)) : NULL;
	hoy_time_format(hoy_now(), when);
	return h && hoy_json_set_string(&c->d, h, "created", when) && hoy_json_set_string(&c->d, h, "created_by", by) &&
	       hoy_json_set_bool(&c->d, h, "empty_layer", true) ? 0 : hoy_fail_oom(&c->b.err);
}

int ctr_set(struct ctr *c, const char *key, const char *value)
{
	struct hoy_json *forms[] = { ctr_oci(c), ctr_docker(c) };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (!forms[i])
			return hoy_fail_oom(&c->b.err);
		if (!value)
			hoy_json_unset(forms[i], key);
		else if (!hoy_json_set_string(&c->d, forms[i], key, value))
			return hoy_fail_oom(&c->b.err);
	}
	return 0;
}

int ctr_set_list(struct ctr *c, const char *key, const struct hoy_strv *v)
{
	struct hoy_json *forms[] = { ctr_oci(c), ctr_docker(c) };

	if (v->error)
		return hoy_fail_oom(&c->b.err);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct hoy_json *list = forms[i] ? hoy_json_put(&c->d, forms[i], key, hoy_json_new(&c->d, HOY_JSON_ARRAY)) : NULL;

		for (size_t k = 0; list && k < v->n; k++)
			if (!hoy_json_set_string(&c->d, list, NULL, v->v[k]))
				list = NULL;
		if (!list)
			return hoy_fail_oom(&c->b.err);
	}
	return 0;
}

/* The last one set stands last, as buildah has it. */
int ctr_set_env(struct ctr *c, const char *key, const char *value)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(c), "Env"))
		if (hoy_json_text(e))
			hoy_strv_push(&env, e->str);
	hoy_env_unset(&env, key);
	if (value)
		hoy_strv_pushf(&env, "%s=%s", key, value);
	return ctr_set_list(c, "Env", &env);
}

/* ---- what the verbs share ---- */

int isolation_parse(const char *text, struct hoy_err *err)
{
	static const char *const names[] = { "", "oci", "chroot", "rootless" };

	if (text && !strcasecmp(text, "default"))
		return ISOLATION_OCI;

	if (!text || !*text)
		text = getenv("BUILDAH_ISOLATION") ?: "";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(text, names[i]))
			return (int)i;
	return hoy_fail(err, EINVAL, "unrecognized isolation type \"%s\"", text);
}

bool no_pivot_asked(void)
{
	const char *v = getenv("BUILDAH_NOPIVOT");

	return v && *v;
}

int options_first(int n, char **argv, const char *noun, struct hoy_err *err)
{
	for (int i = 1; i <= n; i++)
		if (argv[i][0] == '-' && argv[i][1])
			return hoy_fail(err, EINVAL, "no options (%s) can be specified after the %s", argv[i], noun);
	return 0;
}

int ctr_finish(struct ctr *c, int r)
{
	int status = !r ? 0 : c->b.status ?: 125;

	fflush(stdout);
	/* Without a sentence of ours, the tool that failed has said it. */
	if (r < 0 && c->b.err.code)
		hoy_report(&c->b.err, 0);
	ctr_release(c);
	return status;
}
