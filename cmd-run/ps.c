/* cmd-run/ps.c: one small state file per container, and for those that may run their live file. No lock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/data/time.h"

struct ps_opts {
	bool all, quiet, no_trunc, latest, noheading, size, external, pod, ns, sync;
	int64_t last;
	const char *format, *sort;
	struct hoy_strv filters;
};
#define O(f) offsetof(struct ps_opts, f)
static const struct hoy_opt opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "show containers that do not run too" },
	{ 0, "external", HOY_OPT_FLAG, O(external), NULL, "show containers that other engines made too" },
	{ 'f', "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "ancestor, before, exited, health, id, label, name, network, since, status, until" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 'n', "last", HOY_OPT_INT, O(last), "N", "show the N containers made last" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "show the container made last" },
	{ 0, "noheading", HOY_OPT_FLAG, O(noheading), NULL, "leave out the heading" },
	{ 0, "no-trunc", HOY_OPT_FLAG, O(no_trunc), NULL, "do not cut the output" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print ids only" },
	{ 0, "sort", HOY_OPT_STRING, O(sort), "KEY", "created (default), command, id, image, names, runningfor, status" },
	HOY_OPTS_END,
};

struct row {
	struct ctr c;
	enum status st;
	int64_t created, started, finished;
	struct hoy_json_doc def; /* loaded only if a filter or field needs it */
	bool external;
	char health[16]; /* "starting", "healthy", ...; empty: nobody checks */
	const struct hoy_json *rec;
};

struct listing {
	struct hoy_store *s;
	struct ps_opts o;
	struct row *rows;
	size_t n;
};

static const struct hoy_json *def_of(struct row *r)
{
	if (!r->c.def.root && !r->external)
		(void)ctr_load_def(&r->c, NULL);
	return r->c.def.root;
}

static bool is(const char *a, const char *b) { return a && b && !strcmp(a, b); }

static const char *state_of(const struct row *r)
{
	return r->external ? "storage" : status_name(r->st);
}

/* name and id match as regular expressions in podman; a plain part of the text is what people use. */
static bool part(const char *have, const char *want)
{
	size_t len = strlen(want);

	if (*want == '^' && want[len - 1] == '$')
		return strlen(have) == len - 2 && !strncmp(have, want + 1, len - 2);
	if (*want == '^')
		return !strncmp(have, want + 1, len - 1);
	return strstr(have, want) != NULL;
}

static const struct row *by_name(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (is(ctr_name(&l->rows[i].c), name) || !strncmp(l->rows[i].c.id, name, strlen(name)))
			return &l->rows[i];
	return NULL;
}

static int filter_one(struct listing *l, struct row *r, const char *f, struct hoy_err *err)
{
	const char *eq = strchr(f, '='), *v = eq ? eq + 1 : "", *img = hoy_json_str(r->c.state.root, "imageName") ?: "";
	size_t len = eq ? (size_t)(eq - f) : 0;
	const struct row *other;
	int64_t t;

	if (!eq)
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"-f, --filter\" flag: it has the form KEY=VALUE", f);
#define IS(k) (len == strlen(k) && !strncmp(f, k, len))
	if (IS("id"))
		return part(r->c.id, v);
	if (IS("name"))
		return part(ctr_name(&r->c), v);
	if (IS("status"))
		return is(state_of(r), v) || (is(v, "stopped") && r->st == ST_EXITED);
	if (IS("exited"))
		return r->st == ST_EXITED && ctr_exit_code(&r->c) == atoi(v);
	if (IS("health"))
		return is(r->health, v) || (is(v, "none") && !r->health[0]);
	if (IS("label"))
		return hoy_label_match(hoy_json_get(def_of(r), "labels"), v);
	if (IS("ancestor"))
		return !strncmp(hoy_json_str(r->c.state.root, "image") ?: "", v, strlen(v)) || strstr(img, v) != NULL;
	if (IS("network"))
		return is(hoy_json_str(r->c.state.root, "network"), v);
	if (IS("before") || IS("since")) {
		other = by_name(l, v);
		if (!other)
			return hoy_fail(err, ENOENT, "no container with name or ID \"%s\" found: no such container", v);
		return f[0] == 'b' ? r->created < other->created : r->created > other->created;
	}
	if (IS("until"))
		return hoy_moment_parse(v, &t) ? r->created < t :
		       hoy_fail(err, EINVAL, "failed to parse value as time or duration: \"%s\"", v);
#undef IS
	return hoy_fail(err, EINVAL, "invalid filter '%.*s'", (int)len, f);
}

/* Values of one key are alternatives, keys must all hold; labels must all hold. */
static int wanted(struct listing *l, struct row *r, struct hoy_err *err)
{
	for (size_t i = 0; i < l->o.filters.n; i++) {
		size_t key = strcspn(l->o.filters.v[i], "=");
		bool any = false;

		for (size_t j = 0; j < l->o.filters.n; j++) {
			int m;

			if (strncmp(l->o.filters.v[j], l->o.filters.v[i], key + 1))
				continue;
			m = filter_one(l, r, l->o.filters.v[j], err);
			if (m < 0)
				return m;
			if (!m && !strncmp(l->o.filters.v[i], "label=", 6))
				return 0;
			any = any || m;
		}
		if (!any)
			return 0;
	}
	return 1;
}

static bool by_status(const struct ps_opts *o)
{
	for (size_t i = 0; i < o->filters.n; i++)
		if (!strncmp(o->filters.v[i], "status=", 7) || !strncmp(o->filters.v[i], "exited=", 7))
			return true;
	return false;
}

static bool lists_all(const struct ps_opts *o)
{
	return o->all || o->latest || o->last > 0 || by_status(o);
}

/* Is every container wanted, if only to be compared with or told from those of others? */
static bool needs_all(const struct ps_opts *o)
{
	return lists_all(o) || o->external || o->filters.n;
}

/* Containers that somebody checks have a second file for it; the others cost nothing. */
static void load_health(struct row *r)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	if (!health_load(&r->c, &doc))
		snprintf(r->health, sizeof(r->health), "%s", hoy_json_str(doc.root, "Status") ?: "");
}

/* False for a container that is being made or removed: it is not there yet, or no longer. */
static bool load_row(struct listing *l, struct row *r, const char *id, bool live)
{
	r->c = (struct ctr)CTR_INIT;
	if (ctr_peek(&r->c, l->s, id) < 0 || (live && ctr_load_live(&r->c, NULL) < 0)) {
		ctr_release(&r->c);
		return false;
	}
	r->st = ctr_status(&r->c);
	r->created = hoy_json_time(r->c.state.root, "created");
	r->started = hoy_json_time(r->c.live.root, "startedAt");
	if (r->started == HOY_TIME_ZERO)
		r->started = hoy_json_time(r->c.state.root, "started");
	r->finished = hoy_json_time(r->c.state.root, "finished");
	if (r->st == ST_RUNNING && health_checked(&r->c))
		load_health(r);
	return true;
}

static int load_ours(struct listing *l, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT, live = HOY_STRV_INIT;
	bool all = needs_all(&l->o);
	size_t n, external = 0;

	/* Those that may run first: one that starts while we look is told as it was before. */
	if (ctr_list_live(l->s, &live) < 0 || (all && ctr_list(l->s, &ids) < 0))
		return hoy_fail_oom(err);
	hoy_strv_sort(&live);
	n = all ? ids.n : live.n;
	for (struct hoy_json *r = hoy_first(l->s->ctrs); r; r = hoy_next(l->s->ctrs, r))
		external++;
	l->rows = calloc(n + external + 1, sizeof(*l->rows));
	if (!l->rows)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < n; i++) {
		const char *id = all ? ids.v[i] : live.v[i];

		l->n += load_row(l, &l->rows[l->n], id, !all || hoy_strv_has_sorted(&live, id));
	}
	return 0;
}

/* What its maker noted, as podman does, or else what the image is called now; "" if it has no name. */
static void set_image_name(const struct hoy_store *s, const struct hoy_json *rec, struct hoy_json_doc *state)
{
	cleanup_json struct hoy_json_doc meta = HOY_JSON_DOC_INIT;
	const char *text = hoy_json_str(rec, "metadata"), *name = NULL, *image = hoy_json_str(rec, "image");
	const struct hoy_json *names;

	if (text && !hoy_json_parse(&meta, text, strlen(text), "metadata", NULL))
		name = hoy_json_str(meta.root, "image-name");
	names = name || !image ? NULL : hoy_json_get(hoy_image_get(s, image), "names");
	if (names && names->child)
		name = hoy_json_text(names->child);
	hoy_json_set_string(state, state->root, "imageName", name ? name : "");
}

/* Records that are not ours: podman's, buildah's. */
static void load_external(struct listing *l)
{
	size_t ours = l->n;

	for (struct hoy_json *rec = hoy_first(l->s->ctrs); rec; rec = hoy_next(l->s->ctrs, rec)) {
		const char *id = hoy_json_str(rec, "id"), *created = hoy_json_str(rec, "created");
		const struct hoy_json *names = hoy_json_get(rec, "names"), *img;
		struct row *r = &l->rows[l->n];
		bool known = !id;

		for (size_t i = 0; i < ours && !known; i++)
			known = !strcmp(l->rows[i].c.id, id);
		if (known)
			continue;
		r->c = (struct ctr)CTR_INIT;
		r->c.s = l->s;
		r->external = true;
		snprintf(r->c.id, sizeof(r->c.id), "%s", id);
		r->c.state.root = hoy_json_new(&r->c.state, HOY_JSON_OBJECT);
		img = hoy_json_str(rec, "image") ? hoy_json_get(rec, "image") : NULL;
		hoy_json_set_string(&r->c.state, r->c.state.root, "name", names && names->child ? hoy_json_text(names->child) ?: "" : "");
		hoy_json_set_string(&r->c.state, r->c.state.root, "image", img ? img->str : "");
		set_image_name(l->s, rec, &r->c.state);
		hoy_json_set_string(&r->c.state, r->c.state.root, "created", created ? created : "");
		r->created = hoy_json_time(r->c.state.root, "created");
		r->started = r->finished = HOY_TIME_ZERO;
		r->st = ST_UNKNOWN;
		l->n++;
	}
}

static const char *sort_key = "created";

static int by_key(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (!strcmp(sort_key, "id"))
		return strcmp(a->c.id, b->c.id);
	if (!strcmp(sort_key, "names"))
		return strcmp(ctr_name(&a->c), ctr_name(&b->c));
	if (!strcmp(sort_key, "image"))
		return strcmp(hoy_json_str(a->c.state.root, "imageName") ?: "", hoy_json_str(b->c.state.root, "imageName") ?: "");
	if (!strcmp(sort_key, "status"))
		return strcmp(state_of(a), state_of(b));
	if (!strcmp(sort_key, "runningfor"))
		return a->started < b->started ? 1 : a->started > b->started ? -1 : 0;
	return a->created < b->created ? -1 : a->created > b->created;
}

static void command_text(const struct row *r, bool full, struct hoy_buf *b)
{
	hoy_buf_reset(b);
	HOY_JSON_EACH(it, hoy_json_get(r->c.state.root, "command"))
		hoy_buf_printf(b, "%s%s", b->len ? " " : "", it->str);
	if (!full && b->len > 20) {
		b->len = 17;
		b->data[17] = '\0';
		hoy_buf_puts(b, "...");
	}
}

/* "0.0.0.0:8080->80/tcp, 443/tcp" */
static void ports_text(const struct row *r, struct hoy_buf *b)
{
	const struct hoy_json *ports = hoy_json_get(r->c.state.root, "ports");

	hoy_buf_reset(b);
	if (!is(hoy_json_str(r->c.state.root, "network"), "none"))
		HOY_JSON_EACH(p, ports) {
			const char *ip = hoy_json_str(p, "host_ip");
			long long h = hoy_json_int(p, "host_port", 0), c = hoy_json_int(p, "container_port", 0), n = hoy_json_int(p, "range", 1);

			hoy_buf_printf(b, "%s%s:%lld", b->len ? ", " : "", ip && *ip ? ip : "0.0.0.0", h);
			if (n > 1)
				hoy_buf_printf(b, "-%lld", h + n - 1);
			hoy_buf_printf(b, "->%lld", c);
			if (n > 1)
				hoy_buf_printf(b, "-%lld", c + n - 1);
			hoy_buf_printf(b, "/%s", hoy_json_str(p, "protocol") ?: "tcp");
		}
	HOY_JSON_EACH(e, hoy_json_get(r->c.state.root, "expose")) {
		bool published = false;

		HOY_JSON_EACH(p, ports)
			published = published || (atoll(e->key) >= hoy_json_int(p, "container_port", 0) &&
						  atoll(e->key) < hoy_json_int(p, "container_port", 0) + hoy_json_int(p, "range", 1));
		if (!published)
			hoy_buf_printf(b, "%s%s", b->len ? ", " : "", e->key);
	}
}

static void status_text(const struct row *r, char *buf, size_t size)
{
	char t[HOY_TIME_SIZE];

	if (r->external)
		snprintf(buf, size, "Storage");
	else if (r->st == ST_RUNNING && r->health[0])
		snprintf(buf, size, "Up %s (%s)", hoy_time_human(hoy_now() - r->started, t), r->health);
	else if (r->st == ST_RUNNING)
		snprintf(buf, size, "Up %s", hoy_time_human(hoy_now() - r->started, t));
	else if (r->st == ST_PAUSED)
		snprintf(buf, size, "Paused");
	else if (r->st == ST_CREATED)
		snprintf(buf, size, "Created");
	else if (r->st == ST_INITIALIZED)
		snprintf(buf, size, "Initialized");
	else
		snprintf(buf, size, "Exited (%lld) %s ago", (long long)ctr_exit_code(&r->c),
			 r->finished == HOY_TIME_ZERO ? "some time" : hoy_time_human(hoy_now() - r->finished, t));
}

static const char *ago(int64_t t, char buf[HOY_TIME_SIZE])
{
	return strcat((char *)hoy_time_human(hoy_now() - t, buf), " ago");
}

static const char *image_text(const struct row *r)
{
	const char *name = hoy_json_str(r->c.state.root, "imageName");

	return name && *name ? name : hoy_json_str(r->c.state.root, "image") ?: "";
}

static void print_table(struct listing *l)
{
	static const char *const heads[] = { "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES" };
	struct hoy_grid g = { ARRAY_SIZE(heads), HOY_STRV_INIT };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		hoy_grid_add(&g, heads[i]);
	for (size_t i = 0; i < l->n; i++) {
		struct row *r = &l->rows[i];
		char buf[160], id[65];

		snprintf(id, sizeof(id), l->o.no_trunc ? "%s" : "%.12s", r->c.id);
		hoy_grid_add(&g, id);
		hoy_grid_add(&g, image_text(r));
		command_text(r, l->o.no_trunc, &b);
		hoy_grid_add(&g, r->external ? "storage" : hoy_buf_str(&b));
		hoy_grid_add(&g, ago(r->created, buf));
		status_text(r, buf, sizeof(buf));
		hoy_grid_add(&g, buf);
		ports_text(r, &b);
		hoy_grid_add(&g, hoy_buf_str(&b));
		hoy_grid_add(&g, ctr_name(&r->c));
	}
	hoy_grid_print(&g, !l->o.noheading);
	hoy_grid_release(&g);
}

static int64_t unix_time(int64_t t) { return t == HOY_TIME_ZERO ? -62135596800 : t / HOY_NS; }

static void json_ports(struct hoy_jw *w, const struct row *r)
{
	const struct hoy_json *p = hoy_json_get(r->c.state.root, "ports");

	if (p && p->child && !is(hoy_json_str(r->c.state.root, "network"), "none"))
		hoy_jw_value(w, "Ports", p);
	else
		hoy_jw_null(w, "Ports");
}

static void json_expose(struct hoy_jw *w, const struct row *r)
{
	const struct hoy_json *e = hoy_json_get(r->c.state.root, "expose");

	if (!e || !e->child) {
		hoy_jw_null(w, "ExposedPorts");
		return;
	}
	hoy_jw_object(w, "ExposedPorts");
	HOY_JSON_EACH(it, e) {
		cleanup_free char *port = strndup(it->key, strcspn(it->key, "/"));

		hoy_jw_array(w, port ? port : "");
		hoy_jw_string(w, NULL, strchr(it->key, '/') ? strchr(it->key, '/') + 1 : "tcp");
		hoy_jw_end_array(w);
	}
	hoy_jw_end_object(w);
}

static void json_row(struct hoy_jw *w, struct row *r)
{
	const struct hoy_json *labels = hoy_json_get(def_of(r), "labels"), *net = hoy_json_get(r->c.live.root, "netName");
	char buf[160];

	hoy_jw_object(w, NULL);
	hoy_jw_bool(w, "AutoRemove", hoy_json_bool(r->c.state.root, "rm", false));
	hoy_jw_value(w, "Command", hoy_json_get(r->c.state.root, "command"));
	hoy_jw_string(w, "CreatedAt", ago(r->created, buf));
	hoy_jw_string(w, "CIDFile", hoy_json_str(def_of(r), "cidFile"));
	hoy_jw_bool(w, "Exited", r->st == ST_EXITED);
	hoy_jw_int(w, "ExitedAt", unix_time(r->finished));
	hoy_jw_int(w, "ExitCode", ctr_exit_code(&r->c));
	json_expose(w, r);
	hoy_jw_string(w, "Id", r->c.id);
	hoy_jw_string(w, "Image", image_text(r));
	hoy_jw_string(w, "ImageID", hoy_json_str(r->c.state.root, "image"));
	hoy_jw_bool(w, "IsInfra", false);
	hoy_jw_value(w, "Labels", labels && labels->child ? labels : NULL);
	hoy_jw_array(w, "Mounts");
	HOY_JSON_EACH(m, hoy_json_get(def_of(r), "mounts"))
		hoy_jw_string(w, NULL, hoy_json_str(m, "destination"));
	hoy_jw_end_array(w);
	hoy_jw_array(w, "Names");
	hoy_jw_string(w, NULL, ctr_name(&r->c));
	hoy_jw_end_array(w);
	hoy_jw_object(w, "Namespaces");
	hoy_jw_end_object(w);
	hoy_jw_array(w, "Networks");
	if (net)
		hoy_jw_value(w, NULL, net);
	hoy_jw_end_array(w);
	hoy_jw_int(w, "Pid", ctr_pid(&r->c));
	hoy_jw_string(w, "Pod", "");
	hoy_jw_string(w, "PodName", "");
	json_ports(w, r);
	hoy_jw_int(w, "Restarts", hoy_json_int(r->c.state.root, "restarts", 0));
	hoy_jw_null(w, "Size");
	hoy_jw_int(w, "StartedAt", unix_time(r->started));
	hoy_jw_string(w, "State", state_of(r));
	status_text(r, buf, sizeof(buf));
	hoy_jw_string(w, "Status", buf);
	hoy_jw_int(w, "Created", unix_time(r->created));
	hoy_jw_end_object(w);
}

static int print_json(struct listing *l)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < l->n; i++)
		json_row(&w, &l->rows[i]);
	hoy_jw_end_array(&w);
	puts(hoy_buf_str(&b));
	return b.error ? -b.error : 0;
}

static void set(struct hoy_json_doc *d, struct hoy_json *o, const char *key, const char *v)
{
	hoy_json_set_string(d, o, key, v ? v : "");
}

static void template_row(struct hoy_json_doc *d, struct hoy_json *o, struct row *r, const struct ps_opts *op)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	bool def = strstr(op->format, "Label") || strstr(op->format, "Mounts") || strstr(op->format, "CIDFile");
	const struct hoy_json *labels = def ? hoy_json_get(def_of(r), "labels") : NULL;
	char buf[160], id[65];
	struct hoy_json *arr;

	snprintf(id, sizeof(id), op->no_trunc ? "%s" : "%.12s", r->c.id);
	set(d, o, "ID", id);
	set(d, o, "Id", r->c.id);
	set(d, o, "Image", image_text(r));
	set(d, o, "ImageID", hoy_json_str(r->c.state.root, "image"));
	command_text(r, op->no_trunc, &b);
	set(d, o, "Command", hoy_buf_str(&b));
	set(d, o, "Created", ago(r->created, buf));
	set(d, o, "CreatedAt", hoy_time_string(r->created, buf));
	set(d, o, "CreatedHuman", ago(r->created, buf));
	set(d, o, "RunningFor", ago(r->created, buf));
	status_text(r, buf, sizeof(buf));
	set(d, o, "Status", buf);
	set(d, o, "State", state_of(r));
	ports_text(r, &b);
	set(d, o, "Ports", hoy_buf_str(&b));
	set(d, o, "Names", ctr_name(&r->c));
	set(d, o, "Pod", "");
	set(d, o, "PodName", "");
	set(d, o, "Networks", hoy_json_str(r->c.live.root, "netName"));
	set(d, o, "CIDFile", def ? hoy_json_str(def_of(r), "cidFile") : "");
	hoy_json_set_int(d, o, "Pid", ctr_pid(&r->c));
	hoy_json_set_int(d, o, "ExitCode", ctr_exit_code(&r->c));
	hoy_json_set_int(d, o, "Restarts", hoy_json_int(r->c.state.root, "restarts", 0));
	hoy_json_set_bool(d, o, "Exited", r->st == ST_EXITED);
	hoy_json_set_int(d, o, "StartedAt", unix_time(r->started));
	hoy_json_set_int(d, o, "ExitedAt", unix_time(r->finished));
	hoy_json_set_bool(d, o, "AutoRemove", hoy_json_bool(r->c.state.root, "rm", false));
	hoy_json_set_bool(d, o, "IsInfra", false);
	if (labels)
		hoy_json_put(d, o, "Labels", hoy_json_copy(d, labels));
	else
		hoy_json_need(d, o, "Labels", HOY_JSON_OBJECT);
	arr = hoy_json_need(d, o, "Mounts", HOY_JSON_ARRAY);
	if (def && arr)
		HOY_JSON_EACH(m, hoy_json_get(def_of(r), "mounts"))
			hoy_json_set_string(d, arr, NULL, hoy_json_str(m, "destination") ?: "");
}

static int print_template(struct listing *l, struct hoy_err *err)
{
	static const char *const headers[] = { "ID", "CONTAINER ID", "RunningFor", "CREATED", "CreatedHuman", "CREATED", "CreatedAt",
					       "CREATED AT", "ImageID", "IMAGE ID", NULL };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *rows = hoy_json_new(&doc, HOY_JSON_ARRAY);

	for (size_t i = 0; rows && i < l->n; i++) {
		struct hoy_json *o = hoy_json_put(&doc, rows, NULL, hoy_json_new(&doc, HOY_JSON_OBJECT));

		if (!o)
			return hoy_fail_oom(err);
		template_row(&doc, o, &l->rows[i], &l->o);
	}
	return rows ? hoy_format_rows(l->o.format, rows, headers, l->o.noheading, err) : hoy_fail_oom(err);
}

static void drop(struct listing *l, size_t i)
{
	ctr_release(&l->rows[i].c);
	memmove(&l->rows[i], &l->rows[i + 1], (l->n - i - 1) * sizeof(*l->rows));
	l->n--;
}

static int select_rows(struct listing *l, struct hoy_err *err)
{
	bool all = lists_all(&l->o);

	for (size_t i = l->n; i-- > 0;) {
		struct row *r = &l->rows[i];
		int w = all || r->st == ST_RUNNING || r->st == ST_PAUSED || r->external ? wanted(l, r, err) : 0;

		if (w < 0)
			return w;
		if (!w)
			drop(l, i);
	}
	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), by_key);
	while (l->o.latest && l->n > 1)
		drop(l, 0);
	while (l->o.last > 0 && l->n > (size_t)l->o.last)
		drop(l, 0);
	return 0;
}

static int output(struct listing *l, struct hoy_err *err)
{
	if (l->o.quiet) {
		for (size_t i = 0; i < l->n; i++)
			printf(l->o.no_trunc ? "%s\n" : "%.12s\n", l->rows[i].c.id);
		return 0;
	}
	if (is(l->o.format, "json"))
		return print_json(l) < 0 ? hoy_fail_oom(err) : 0;
	if (l->o.format)
		return print_template(l, err);
	print_table(l);
	return 0;
}

/* Has a container lost its storage record? */
static bool lost_one(const struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (!hoy_container_get(l->s, l->rows[i].c.id))
			return true;
	return false;
}

static void release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		ctr_release(&l->rows[i].c);
	free(l->rows);
	l->rows = NULL;
	l->n = 0;
}

static int run_ps(const struct hoy_verb *v, int argc, char **argv)
{
	struct listing l = { .o = { .last = -1 } };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r;

	if (hoy_verb_args(v, argc, argv, &l.o, 0, 0, &status) < 0)
		return status;
	s = l.s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	r = hoy_store_peek(s, HOY_CONTAINERS | (l.o.external ? HOY_IMAGES : 0), &err);
	if (!r)
		r = load_ours(&l, &err);
	if (!r && lost_one(&l)) {
		cleanup_store struct hoy_store *w = open_store(0);

		if (w)
			reconcile(w);
		release(&l);
		r = load_ours(&l, &err);
	}
	if (!r && l.o.external)
		load_external(&l);
	if (l.o.sort)
		sort_key = l.o.sort;
	if (!r)
		r = select_rows(&l, &err);
	if (!r)
		r = output(&l, &err);
	release(&l);
	hoy_strv_release(&l.o.filters);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_ps = { "ps", "[options]", "List containers", opts, run_ps, false };
