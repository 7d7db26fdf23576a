/* cmd-build/keep.c: working containers that last get a name and settings. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctropts.h"
#include "cmd-build/lease.h"
#include "cmd-build/runopts.h"
#include "common/store/containers.h"

/* "localhost/a/busybox:latest" gives "busybox" (and a registry with a port its host, as buildah has it). */
static char *prefix_of(const char *image)
{
	cleanup_free char *word = strndup(image, strcspn(image, ":"));
	char *slash = word ? strrchr(word, '/') : NULL, *at;

	if (slash)
		memmove(word, slash + 1, strlen(slash));
	at = word ? strchr(word, '@') : NULL;
	if (at)
		*at = '\0';
	return word ? hoy_asprintf("%s-working-container", word) : NULL;
}

static bool is_taken(struct hoy_store *s, const char *name)
{
	for (struct hoy_json *rec = hoy_first(s->ctrs); rec; rec = hoy_next(s->ctrs, rec))
		if (hoy_record_has(rec, "names", name))
			return true;
	return false;
}

/* PREFIX, or PREFIX-N with the first N that nobody has. */
static int free_name(struct ctr *c, const char *prefix)
{
	int r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);

	for (unsigned n = 0; !r; n++) {
		free(c->w.name);
		c->w.name = n ? hoy_asprintf("%s-%u", prefix, n) : strdup(prefix);
		if (!c->w.name)
			return hoy_fail_oom(&c->b.err);
		if (!is_taken(c->b.s, c->w.name))
			break;
	}
	return r;
}

static int settings(struct work *w, struct hoy_buf *ret)
{
	struct ctr *c = (struct ctr *)((char *)w - offsetof(struct ctr, w));
	int r = userns_write(&w->ns, &c->d, &c->b.err);

	if (!r)
		ctr_write(c, ret);
	return r;
}

static int store_it(struct ctr *c, const struct state *s)
{
	if (hoy_random_id(c->w.id) < 0 || hoy_random_id(c->w.layer) < 0)
		return hoy_fail(&c->b.err, EIO, "cannot draw a random number");
	if (!hoy_json_set_string(&c->d, c->d.root, "container-name", c->w.name) || !hoy_json_set_string(&c->d, c->d.root, "container-id", c->w.id))
		return hoy_fail_oom(&c->b.err);
	return work_create(s, &c->w, settings);
}

int ctr_create(struct ctr *c, const struct state *s, const char *name)
{
	const char *image = hoy_json_str(c->d.root, "image");
	cleanup_free char *prefix = image ? prefix_of(image) : strdup("working-container");
	int r;

	if (name) {
		c->w.name = strdup(name);
		r = c->w.name ? store_it(c, s) : hoy_fail_oom(&c->b.err);
		return r < 0 ? hoy_fail_prefix(&c->b.err, "creating container") : 0;
	}
	/* Another `from` may have been faster with the same name. */
	do {
		r = prefix ? free_name(c, prefix) : hoy_fail_oom(&c->b.err);
		if (!r)
			r = store_it(c, s);
	} while (r == -EEXIST);
	return r;
}

/* ---- what a build leaves ---- */

/* What the options of a build say of each RUN, as those of `from`. */
static void take_run_options(const struct build *b, struct ctr_opts *o)
{
#define LIST(name, field) { name, offsetof(struct ctr_opts, field), 'l' }
#define TEXT(name, field) { name, offsetof(struct ctr_opts, field), 't' }
#define NUMBER(name, field) { name, offsetof(struct ctr_opts, field), 'n' }
	static const struct {
		const char *name;
		size_t at;
		char kind;
	} of[] = { LIST("add-host", add_host), LIST("cap-add", cap_add), LIST("cap-drop", cap_drop), LIST("device", device), LIST("dns", dns),
		   LIST("dns-option", dns_option), LIST("dns-search", dns_search), LIST("group-add", group_add), LIST("security-opt", security_opt),
		   LIST("ulimit", ulimit), LIST("volume", volume), TEXT("cgroup-parent", cgroup_parent), TEXT("cgroupns", cgroupns),
		   TEXT("cpuset-cpus", cpuset_cpus), TEXT("cpuset-mems", cpuset_mems), TEXT("ipc", ipc), TEXT("memory", memory),
		   TEXT("memory-swap", memory_swap), TEXT("pid", pid), TEXT("shm-size", shm_size), TEXT("uts", uts), NUMBER("cpu-period", cpu_period),
		   NUMBER("cpu-quota", cpu_quota), NUMBER("cpu-shares", cpu_shares) };

	for (size_t k = 0; k < n_run_options; k++) {
		const struct hoy_strv *v = &b->o->run_opts[k];

		for (size_t i = 0; i < ARRAY_SIZE(of) && v->n; i++) {
			char *at = (char *)o + of[i].at;

			if (strcmp(of[i].name, run_options[k].name))
				continue;
			if (of[i].kind == 'l')
				*(struct hoy_strv *)at = *v; /* borrowed */
			else if (of[i].kind == 't')
				*(const char **)at = v->v[v->n - 1];
			else
				*(int64_t *)at = strtoll(v->v[v->n - 1], NULL, 10);
		}
	}
	o->network = b->o->network;
	o->http_proxy = b->o->http_proxy;
	o->isolation = b->chroot ? "chroot" : b->o->isolation;
}

/* The settings of S's working container as it is now. */
static int describe_kept(struct ctr *c, const struct state *s)
{
	struct ctr_opts o = CTR_OPTS_INIT;
	int r = ctr_describe(c, s, s->b->docker ? FORMAT_DOCKER : FORMAT_OCI);

	take_run_options(s->b, &o);
	if (!r)
		r = ctr_set_options(c, &o);
	for (size_t i = 0; i < s->b->o->hooks_dirs.n && !r; i++)
		if (!hoy_json_set_string(&c->d, hoy_json_path(c->d.root, "CommonBuildOpts", "OCIHooksDir", NULL), NULL, s->b->o->hooks_dirs.v[i]))
			r = hoy_fail_oom(&c->b.err);
	c->w.ns = s->work->ns;
	return r ? r : ctr_put_config(c, s->cfg);
}

/* It gets a name that nobody has. */
static int name_kept(struct ctr *c)
{
	const char *image = hoy_json_str(c->d.root, "image");
	cleanup_free char *prefix = image && *image ? prefix_of(hoy_is_id(image) ? strndupa(image, 12) : image) : strdup("working-container");
	int r;

	do {
		r = prefix ? free_name(c, prefix) : hoy_fail_oom(&c->b.err);
		if (!r)
			r = hoy_store_lock(c->b.s, 0, HOY_LAYERS | HOY_CONTAINERS, &c->b.err);
		if (r < 0)
			return r;
		r = hoy_container_rename(c->b.s, c->w.id, c->w.name, &c->b.err);
		hoy_store_unlock(c->b.s);
	} while (r == -EEXIST);
	return r;
}

int work_keep(struct state *s)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(32 << 20);
	struct work *w = s->work;
	struct ctr c;
	int r;

	ctr_init(&c);
	c.b.s = s->b->s;
	memcpy(c.w.id, w->id, sizeof(c.w.id));
	memcpy(c.w.layer, w->layer, sizeof(c.w.layer));
	r = describe_kept(&c, s);
	if (!r)
		r = name_kept(&c);
	if (!r && (!hoy_json_set_string(&c.d, c.d.root, "container-name", c.w.name) || !hoy_json_set_string(&c.d, c.d.root, "container-id", w->id)))
		r = hoy_fail_oom(&c.b.err);
	if (!r)
		r = settings(&c.w, &text);
	if (!r)
		r = work_settings(&c.b, w->id, &text);
	if (!r) {
		lease_drop(LEASE_CONTAINER, w->id);
		w->kept = true;
	} else {
		s->b->err = c.b.err;
	}
	c.b.s = NULL;
	ctr_release(&c);
	return r;
}
