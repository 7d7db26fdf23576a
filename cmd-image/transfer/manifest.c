#include "cmd-image/transfer/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cmd-image/transfer/schema1.h"
#include "cmd-image/transfer/stream.h"
#include "common/data/digest.h"
#include "common/data/time.h"

#define MAX_LAYERS 500 /* as many lower layers as the store's overlay driver takes */
#define BAD(err, ...) hoy_fail(err, HOY_EFORMAT, __VA_ARGS__)

static const char *const types[] = { T_OCI, T_V2S2, T_V2S1, T_OCI_INDEX, T_V2S2_LIST };

const char *manifest_type(enum man_kind kind) { return types[kind]; }

static void desc_release(struct desc *d)
{
	free(d->digest);
	free(d->type);
}

void manifest_release(struct manifest *m)
{
	hoy_json_release(&m->doc);
	free(m->data);
	desc_release(&m->config);
	for (size_t i = 0; i < m->n; i++)
		desc_release(&m->v[i]);
	free(m->v);
	memset(m, 0, sizeof(*m));
}

static int parse_desc(struct desc *d, const struct hoy_json *j, const char *what, struct hoy_err *err)
{
	const char *digest = hoy_json_str(j, "digest"), *type = hoy_json_str(j, "mediaType");
	int64_t size;

	if (!hoy_json_is(j, HOY_JSON_OBJECT))
		return BAD(err, "the manifest has no proper %s", what);
	if (!digest || strncmp(digest, "sha256:", 7) || !hoy_is_digest(digest))
		return BAD(err, "the digest '%.80s' of the manifest's %s is not valid", digest ? digest : "", what);
	if (!hoy_json_int64(hoy_json_get(j, "size"), &size) || size < 0)
		return BAD(err, "the size of the manifest's %s is not valid", what);
	d->digest = strdup(digest);
	d->type = type ? strdup(type) : NULL;
	d->size = size;
	d->json = j;
	return d->digest && (d->type || !type) ? 0 : hoy_fail_oom(err);
}

static int parse_descs(struct manifest *m, const char *key, const char *what, struct hoy_err *err)
{
	const struct hoy_json *arr = hoy_json_get(m->doc.root, key);

	if (arr && arr->type == HOY_JSON_NULL)
		return 0;
	if (!hoy_json_is(arr, HOY_JSON_ARRAY))
		return BAD(err, "the manifest has no list of %ss", what);
	if (arr->count > (manifest_is_list(m) ? 10000 : MAX_LAYERS))
		return hoy_fail(err, EFBIG, "the manifest has %u %ss, that is too many", arr->count, what);
	m->v = calloc(arr->count + 1, sizeof(*m->v));
	if (!m->v)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(it, arr) {
		int r = parse_desc(&m->v[m->n], it, what, err);

		m->n++;
		if (r < 0)
			return r;
	}
	return 0;
}

/* What two readers may understand differently is nobody's image. */
static int check_unique(const struct hoy_json *obj, struct hoy_err *err)
{
	HOY_JSON_EACH(a, obj)
		for (const struct hoy_json *b = a->next; b; b = b->next)
			if (!strcmp(a->key, b->key))
				return BAD(err, "the manifest has two members '%s'", a->key);
	return 0;
}

static int find_kind(struct manifest *m, const char *type, struct hoy_err *err)
{
	const struct hoy_json *root = m->doc.root;
	const char *own = hoy_json_str(root, "mediaType");
	bool list = hoy_json_get(root, "manifests"), image = hoy_json_get(root, "layers") || hoy_json_get(root, "config");
	int64_t version = hoy_json_int(root, "schemaVersion", 0);

	if (version == 1) {
		m->kind = MAN_V2S1;
		return list || image ? BAD(err, "the manifest is ambiguous: of schema 1 and 2 at once") : 0;
	}
	if (version != 2)
		return BAD(err, "this is no image manifest (schemaVersion is not 2)");
	if (list && image)
		return BAD(err, "the manifest is ambiguous: an image and a list at once");
	if (!own)
		own = type;
	for (size_t i = 0; own && i < ARRAY_SIZE(types); i++)
		if (!strcmp(own, types[i])) {
			m->kind = i;
			if (list != manifest_is_list(m) && (list || image))
				return BAD(err, "the manifest is not of the type '%s' that it says", own);
			return 0;
		}
	if (own && strncmp(own, "application/json", 16) && strncmp(own, "application/octet", 17) && strncmp(own, "text/plain", 10))
		return hoy_fail(err, HOY_EUNSUPPORTED, "manifests of the type '%.100s' are not supported", own);
	m->kind = list ? MAN_OCI_INDEX : MAN_OCI;
	return list || image ? 0 : BAD(err, "this is no image manifest");
}

int manifest_parse(struct manifest *m, const char *data, size_t len, const char *type, struct hoy_err *err)
{
	int r;

	memset(m, 0, sizeof(*m));
	if (len > MANIFEST_MAX)
		return hoy_fail(err, EFBIG, "the manifest has more than %zu bytes", MANIFEST_MAX);
	m->data = malloc(len + 1);
	if (!m->data)
		return hoy_fail_oom(err);
	memcpy(m->data, data, len);
	m->data[len] = '\0';
	m->len = len;
	sha_of(data, len, m->digest);
	r = hoy_json_parse(&m->doc, data, len, "manifest", err);
	if (!r && !hoy_json_is(m->doc.root, HOY_JSON_OBJECT))
		r = BAD(err, "the manifest is no JSON object");
	if (!r)
		r = check_unique(m->doc.root, err);
	if (!r)
		r = find_kind(m, type, err);
	if (!r && m->kind == MAN_V2S1)
		return schema1_parse(m, err);
	if (!r && manifest_is_list(m))
		return parse_descs(m, "manifests", "manifest", err);
	if (!r)
		r = parse_desc(&m->config, hoy_json_get(m->doc.root, "config"), "config", err);
	return r < 0 ? r : parse_descs(m, "layers", "layer", err);
}

bool manifest_is_image(const struct manifest *m)
{
	const char *type = m->config.type;

	/* Old engines and tools say nothing, or nothing of use. */
	return m->config.size && (!type || !*type || !strcmp(type, T_OCI_CONFIG) || !strcmp(type, T_V2S2_CONFIG) || !strcmp(type, "application/octet-stream"));
}

/* ---- platforms ---- */

static const struct { const char *machine, *arch, *variant; } machines[] = {
	{ "x86_64", "amd64", NULL },   { "aarch64", "arm64", "v8" }, { "i686", "386", NULL },	 { "i386", "386", NULL },
	{ "armv7l", "arm", "v7" },     { "armv6l", "arm", "v6" },    { "riscv64", "riscv64", NULL }, { "s390x", "s390x", NULL },
	{ "ppc64le", "ppc64le", NULL }, { "loongarch64", "loong64", NULL },
};

struct platform platform_here(const struct platform *want)
{
	static struct utsname uts;
	struct platform p = { "linux", "amd64", NULL };

	uname(&uts);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (!strcmp(uts.machine, machines[i].machine))
			p = (struct platform){ "linux", machines[i].arch, machines[i].variant };
	if (want && want->arch) {
		const char *a = want->arch;

		for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
			if (!strcmp(a, machines[i].machine))
				a = machines[i].arch;
		if (strcmp(a, p.arch))
			p.variant = NULL;
		p.arch = a;
	}
	if (want && want->os)
		p.os = want->os;
	if (want && want->variant)
		p.variant = want->variant;
	return p;
}

int platform_parse(struct platform *ret, char *text, struct hoy_err *err)
{
	char *arch = strchr(text, '/'), *variant = arch ? strchr(arch + 1, '/') : NULL;

	if (arch)
		*arch++ = '\0';
	if (variant)
		*variant++ = '\0';
	if (!*text || (arch && !*arch))
		return hoy_fail(err, EINVAL, "a platform is OS/ARCH[/VARIANT]");
	/* "arm64" alone is an architecture. */
	if (!arch && strcmp(text, "linux") && strcmp(text, "windows") && strcmp(text, "freebsd") && strcmp(text, "darwin"))
		*ret = (struct platform){ "linux", text, NULL };
	else
		*ret = (struct platform){ text, arch, variant };
	return 0;
}

static bool same(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

/* Better is more: 0 is no match. An older ARM can be run by a newer one. */
static int score(const struct hoy_json *pl, const struct platform *p)
{
	const char *v = hoy_json_str(pl, "variant");

	if (!same(hoy_json_str(pl, "os"), p->os) || !same(hoy_json_str(pl, "architecture"), p->arch))
		return 0;
	if (same(v, p->variant))
		return 100;
	if (!strcmp(p->arch, "arm64") && !p->variant && same(v, "v8"))
		return 99;
	if (!v || !*v)
		return 50;
	if (!strcmp(p->arch, "arm") && v[0] == 'v' && (!p->variant || v[1] <= p->variant[1]))
		return 60 + (v[1] - '0');
	/* amd64 wants a baseline that we do not know of: the first that fits nothing better. */
	return strcmp(p->arch, "amd64") || p->variant ? 0 : 1;
}

int manifest_choose(const struct manifest *list, const struct platform *p, const struct desc **ret, struct hoy_err *err)
{
	int best = 0;

	for (size_t i = 0; i < list->n; i++) {
		int s = score(hoy_json_get(list->v[i].json, "platform"), p);

		if (s > best) {
			best = s;
			*ret = &list->v[i];
		}
	}
	/* A list of one that names no platform. */
	if (!best && list->n == 1 && !hoy_json_get(list->v[0].json, "platform")) {
		*ret = &list->v[0];
		return 0;
	}
	if (!best)
		return hoy_fail(err, ENOENT, "no image for %s/%s%s%s in the list of %zu manifests", p->os, p->arch,
				p->variant ? "/" : "", p->variant ? p->variant : "", list->n);
	return 0;
}

/* ---- configs ---- */

int config_parse(struct config *c, const char *data, size_t len, long n, struct hoy_err *err)
{
	const struct hoy_json *ids;
	const char *created;
	int r = hoy_json_parse(&c->doc, data, len, "image config", err);

	if (r < 0)
		return r;
	if (!hoy_json_is(c->doc.root, HOY_JSON_OBJECT))
		return BAD(err, "the image config is no JSON object");
	c->data = malloc(len + 1);
	if (!c->data)
		return hoy_fail_oom(err);
	memcpy(c->data, data, len);
	c->data[len] = '\0';
	c->len = len;
	ids = hoy_json_path(c->doc.root, "rootfs", "diff_ids", NULL);
	if (ids && ids->type != HOY_JSON_ARRAY && ids->type != HOY_JSON_NULL)
		return BAD(err, "the image config's diff_ids are no list");
	HOY_JSON_EACH(it, ids) {
		const char *id = hoy_json_text(it);

		if (it->type != HOY_JSON_STRING || !id || strncmp(id, "sha256:", 7) || !hoy_is_digest(id))
			return BAD(err, "the image config has a diff_id that is not valid");
		hoy_strv_push(&c->diff_ids, id);
	}
	if (n >= 0 && c->diff_ids.n != (size_t)n)
		return BAD(err, "the image has %ld layers, but its config names %zu", n, c->diff_ids.n);
	created = hoy_json_str(c->doc.root, "created");
	if (!created || !hoy_time_parse(created, &c->created))
		c->created = hoy_now();
	return c->diff_ids.error ? hoy_fail_oom(err) : 0;
}

void config_release(struct config *c)
{
	hoy_json_release(&c->doc);
	hoy_strv_release(&c->diff_ids);
	free(c->data);
	*c = (struct config)CONFIG_INIT;
}

/* ---- writing ---- */

/* "Omit empty": nothing of what Go calls so. */
static bool is_empty(const struct hoy_json *v)
{
	return !v || v->type == HOY_JSON_NULL || (v->type == HOY_JSON_BOOL && !v->boolean) || (v->type == HOY_JSON_STRING && !v->len) ||
	       ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->count);
}

/* Go's time.Time spells a time its own way; what names another zone keeps it. */
static bool put_time(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	char text[HOY_TIME_SIZE];
	int64_t t;

	if (strcmp(key, "created") || v->type != HOY_JSON_STRING || !v->len || v->str[v->len - 1] != 'Z' || !hoy_time_parse(v->str, &t))
		return false;
	hoy_jw_string(w, key, hoy_time_format(t, text));
	return true;
}

static void put_members(struct hoy_jw *w, const struct hoy_json *obj, const char *const *keys)
{
	for (; *keys; keys++) {
		const struct hoy_json *v = hoy_json_get(obj, *keys);

		if (is_empty(v) || put_time(w, *keys, v))
			continue;
		if (v->type == HOY_JSON_OBJECT)
			hoy_jw_sorted(w, *keys, v);
		else
			hoy_jw_value(w, *keys, v);
	}
}

void config_write(struct hoy_jw *w, const struct hoy_json *root)
{
	static const char *const head[] = { "created", "author", NULL }, *const place[] = { "os.version", "os.features", "variant", NULL };
	static const char *const members[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
					       "ArgsEscaped", NULL };
	static const char *const step[] = { "created", "created_by", "author", "comment", "empty_layer", NULL };
	const struct hoy_json *history = hoy_json_get(root, "history"), *ids = hoy_json_path(root, "rootfs", "diff_ids", NULL);

	hoy_jw_object(w, NULL);
	put_members(w, root, head);
	hoy_jw_string(w, "architecture", hoy_json_str(root, "architecture"));
	hoy_jw_string(w, "os", hoy_json_str(root, "os"));
	put_members(w, root, place);
	hoy_jw_object(w, "config");
	put_members(w, hoy_json_get(root, "config"), members);
	hoy_jw_end_object(w);
	hoy_jw_object(w, "rootfs");
	hoy_jw_string(w, "type", hoy_json_str(hoy_json_get(root, "rootfs"), "type"));
	if (ids)
		hoy_jw_value(w, "diff_ids", ids);
	else
		hoy_jw_null(w, "diff_ids");
	hoy_jw_end_object(w);
	if (!is_empty(history)) {
		hoy_jw_array(w, "history");
		HOY_JSON_EACH(h, history) {
			hoy_jw_object(w, NULL);
			put_members(w, h, step);
			hoy_jw_end_object(w);
		}
		hoy_jw_end_array(w);
	}
	hoy_jw_end_object(w);
}

const char *desc_url(const struct desc *d)
{
	HOY_JSON_EACH(it, hoy_json_get(d->json, "urls"))
		if (hoy_json_text(it) && (!strncmp(it->str, "https://", 8) || !strncmp(it->str, "http://", 7)))
			return it->str;
	return NULL;
}

const char *layer_suffix(const char *type)
{
	static const char *const ends[] = { "+zstd", "+gzip", ".gzip", "" };

	if (!type || (strncmp(type, T_OCI_LAYER, strlen(T_OCI_LAYER)) && strncmp(type, T_V2S2_LAYER, strlen(T_V2S2_LAYER)) &&
		      !strstr(type, ".layer.nondistributable.v1.tar") && !strstr(type, "rootfs.foreign.diff.tar")))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t n = strlen(ends[i]), len = strlen(type);

		if (len >= n + 4 && !strcmp(type + len - n, ends[i]) && !strncmp(type + len - n - 4, ".tar", 4))
			return *ends[i] == '.' ? "+gzip" : ends[i];
	}
	return NULL;
}

const char *layer_type_like(enum man_kind kind, const char *suffix, const char *like)
{
	/* Plain, gzip, zstd; the second row is of layers that were not to be distributed. */
	static const char *const oci[2][3] = { { T_OCI_LAYER, T_OCI_LAYER "+gzip", T_OCI_LAYER "+zstd" },
					       { T_OCI_FOREIGN, T_OCI_FOREIGN "+gzip", T_OCI_FOREIGN "+zstd" } };
	static const char *const docker[2][3] = { { T_V2S2_LAYER, T_V2S2_LAYER ".gzip", NULL }, { T_V2S2_FOREIGN, T_V2S2_FOREIGN ".gzip", NULL } };
	int foreign = like && (!strncmp(like, T_OCI_FOREIGN, strlen(T_OCI_FOREIGN)) || !strncmp(like, T_V2S2_FOREIGN, strlen(T_V2S2_FOREIGN)));
	int packed = !*suffix ? 0 : !strcmp(suffix, "+gzip") ? 1 : 2;

	return kind == MAN_V2S2 ? docker[foreign][packed] : oci[foreign][packed];
}

const char *layer_type(enum man_kind kind, const char *suffix) { return layer_type_like(kind, suffix, NULL); }

static void put_desc(struct hoy_jw *w, const char *key, enum man_kind kind, const struct desc *d)
{
	static const char *const done[] = { "mediaType", "size", "digest" };
	bool docker = kind == MAN_V2S2 || kind == MAN_V2S2_LIST;

	hoy_jw_object(w, key);
	hoy_jw_string(w, "mediaType", d->type);
	/* The order of the members in Go's structs differs between the two formats. */
	if (docker)
		hoy_jw_int(w, "size", d->size);
	hoy_jw_string(w, "digest", d->digest);
	if (!docker)
		hoy_jw_int(w, "size", d->size);
	HOY_JSON_EACH(it, d->json) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_SIZE(done); i++)
			known = known || !strcmp(it->key, done[i]);
		if (!known && (!docker || !strcmp(it->key, "urls") || !strcmp(it->key, "platform")))
			hoy_jw_value(w, it->key, it);
	}
	hoy_jw_end_object(w);
}

static void put_beside(struct hoy_jw *w, const struct hoy_json *like, const char *key)
{
	if (!is_empty(hoy_json_get(like, key)))
		hoy_jw_value(w, key, hoy_json_get(like, key));
}

int manifest_write(struct hoy_buf *b, enum man_kind kind, const struct desc *config, const struct desc *layers, size_t n,
		   const struct hoy_json *like)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	if (kind != MAN_OCI)
		like = NULL;
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", manifest_type(kind));
	put_beside(&w, like, "artifactType");
	put_desc(&w, "config", kind, config);
	hoy_jw_array(&w, "layers");
	for (size_t i = 0; i < n; i++)
		put_desc(&w, NULL, kind, &layers[i]);
	hoy_jw_end_array(&w);
	put_beside(&w, like, "subject");
	if (!is_empty(hoy_json_get(like, "annotations")))
		hoy_jw_sorted(&w, "annotations", hoy_json_get(like, "annotations"));
	hoy_jw_end_object(&w);
	return b->error ? -b->error : 0;
}

int manifest_write_list(struct hoy_buf *b, enum man_kind kind, const struct desc *v, size_t n, const struct hoy_json *like)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	if (kind != MAN_OCI_INDEX)
		like = NULL;
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", manifest_type(kind));
	put_beside(&w, like, "artifactType");
	hoy_jw_array(&w, "manifests");
	for (size_t i = 0; i < n; i++)
		put_desc(&w, NULL, kind, &v[i]);
	hoy_jw_end_array(&w);
	put_beside(&w, like, "subject");
	put_beside(&w, like, "annotations");
	hoy_jw_end_object(&w);
	return b->error ? -b->error : 0;
}

int manifest_convert(const struct manifest *m, enum man_kind kind, const struct desc *config_or, struct hoy_buf *ret, struct hoy_err *err)
{
	struct desc config = config_or ? *config_or : m->config, *layers = calloc(m->n + 1, sizeof(*layers));
	int r = layers ? 0 : hoy_fail_oom(err);

	config.type = (char *)(kind == MAN_V2S2 ? T_V2S2_CONFIG : T_OCI_CONFIG);
	for (size_t i = 0; !r && i < m->n; i++) {
		const char *suffix = layer_suffix(m->v[i].type);

		layers[i] = m->v[i];
		layers[i].type = (char *)(suffix ? layer_type_like(kind, suffix, m->v[i].type) : NULL);
		if (!layers[i].type)
			r = hoy_fail(err, HOY_EUNSUPPORTED, "layers of the type '%.100s' cannot be in a manifest of the type '%s'",
				     m->v[i].type ? m->v[i].type : "", manifest_type(kind));
	}
	if (!r && manifest_write(ret, kind, &config, layers, m->n, m->doc.root) < 0)
		r = hoy_fail_oom(err);
	free(layers);
	return r;
}
