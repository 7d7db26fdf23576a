/* cmd-build/commitspec.c: what a commit tells hoy-transfer of the image that is to be. */
#include "cmd-build/commit.h"

#include <errno.h>
#include <string.h>

#include "cmd-build/extra.h"
#include "common/base/fd.h"

static int oom(struct commit *m) { return hoy_fail_oom(&m->c.b.err); }

/*
 * An entry of the history, its members in the order of the image's format; the first that is ours tells what the image stands on.
 */
static int add_entry(struct commit *m, struct hoy_json *list, const struct hoy_json *given)
{
	static const char *const orders[2][4] = { { "created", "created_by", "author", "comment" }, { "created", "author", "created_by", "comment" } };
	const char *from = hoy_json_str(m->c.d.root, "image");
	cleanup_free char *comment = from && !list->count ? hoy_asprintf("FROM %s", from) : NULL, *both = NULL;
	struct hoy_json *h = hoy_json_put(&m->d, list, NULL, hoy_json_new(&m->d, HOY_JSON_OBJECT));

	for (size_t i = 0; h && i < ARRAY_SIZE(orders[0]); i++) {
		const char *key = orders[m->docker][i], *value = hoy_json_str(given, key);

		if (!strcmp(key, "created") && m->time >= 0)
			value = m->when;
		if (!strcmp(key, "comment") && comment)
			value = both = value && *value ? hoy_asprintf("%s %s", value, comment) : strdup(comment);
		if (value && *value && !hoy_json_set_string(&m->d, h, key, value))
			h = NULL;
	}
	if (!h || (hoy_json_bool(given, "empty_layer", false) && !hoy_json_set_bool(&m->d, h, "empty_layer", true)))
		return oom(m);
	return 0;
}

/* That of the layer itself. */
static int add_own(struct commit *m, struct hoy_json *list)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	const struct hoy_json *root = m->c.d.root;
	const char *author = hoy_json_str(hoy_json_get(root, "ociv1"), "author"), *comment = hoy_json_str(root, "history-comment"),
		   *by = hoy_json_str(root, "created-by");
	struct hoy_json *h = d.root = hoy_json_new(&d, HOY_JSON_OBJECT);
	cleanup_buf struct hoy_buf shell = HOY_BUF_INIT(1 << 20);

	HOY_JSON_EACH(w, hoy_json_get(ctr_docker(&m->c), "Shell"))
		hoy_buf_printf(&shell, "%s%s", shell.len ? " " : "", hoy_json_text(w) ?: "");
	by = by && *by ? by : shell.len ? shell.data : "/bin/sh";
	if (!h || !hoy_json_set_string(&d, h, "created", m->when) || !hoy_json_set_string(&d, h, "created_by", by) ||
	    (author && *author && !hoy_json_set_string(&d, h, "author", author)) ||
	    (comment && *comment && !hoy_json_set_string(&d, h, "comment", comment)))
		return oom(m);
	return add_entry(m, list, h);
}

static int add_history(struct commit *m)
{
	struct hoy_json *list = hoy_json_need(&m->d, m->build, "history", HOY_JSON_ARRAY);
	int r = list ? 0 : oom(m);

	if (m->o.omit_history)
		return hoy_json_set_bool(&m->d, m->build, "bare", true) ? 0 : oom(m);
	HOY_JSON_EACH(h, hoy_json_get(m->c.d.root, "PrependedEmptyLayers"))
		if (!r && !m->o.squash)
			r = add_entry(m, list, h);
	if (!r)
		r = add_own(m, list);
	HOY_JSON_EACH(h, hoy_json_get(m->c.d.root, "AppendedEmptyLayers"))
		if (!r && !m->o.squash)
			r = add_entry(m, list, h);
	return r;
}

static int add_config(struct commit *m)
{
	struct hoy_json *config = hoy_json_put(&m->d, m->root, "config", hoy_json_copy(&m->d, m->docker ? ctr_docker(&m->c) : ctr_oci(&m->c))), *labels;
	bool label = m->o.identity_label > 0 || (m->o.identity_label < 0 && m->time < 0);

	if (!config)
		return oom(m);
	/* With a time given, the bits are to be the same whoever builds them. */
	if (m->docker && m->time >= 0 &&
	    (!hoy_json_set_string(&m->d, config, "Hostname", "sandbox") || !hoy_json_set_string(&m->d, config, "Domainname", "")))
		return oom(m);
	labels = label ? hoy_json_need(&m->d, config, "Labels", HOY_JSON_OBJECT) : NULL;
	if (label && (!labels || !hoy_json_set_string(&m->d, labels, "io.buildah.version", LIKE_BUILDAH)))
		return oom(m);
	for (size_t i = 0; i < m->o.unset_env.n; i++) {
		struct hoy_json *env = hoy_json_get(config, "Env"), *next;
		size_t len = strlen(m->o.unset_env.v[i]);

		for (struct hoy_json *e = env ? env->child : NULL; e; e = next) {
			next = e->next;
			if (hoy_json_text(e) && !strncmp(e->str, m->o.unset_env.v[i], len) && e->str[len] == '=')
				hoy_json_remove(env, e);
		}
	}
	return 0;
}

static int add_notes(struct commit *m)
{
	struct hoy_json *notes = hoy_json_put(&m->d, m->root, "annotations", hoy_json_copy(&m->d, hoy_json_get(m->c.d.root, "annotations")));

	if (!notes)
		notes = hoy_json_need(&m->d, m->root, "annotations", HOY_JSON_OBJECT);
	for (size_t i = 0; notes && i < m->o.unset_annotation.n; i++)
		hoy_json_unset(notes, m->o.unset_annotation.v[i]);
	for (size_t i = 0; notes && i < m->o.annotation.n; i++) {
		const char *word = m->o.annotation.v[i], *eq = strchr(word, '=');
		cleanup_free char *key = strndup(word, eq ? (size_t)(eq - word) : strlen(word));

		if (!key || !hoy_json_set_string(&m->d, notes, key, eq ? eq + 1 : ""))
			return oom(m);
	}
	return notes ? 0 : oom(m);
}

static int add_platform(struct commit *m)
{
	static const char *const keys[] = { "os", "architecture", "variant", "os.version", "os.features" };
	const struct hoy_json *form = hoy_json_get(m->c.d.root, m->docker ? "docker" : "ociv1");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (hoy_json_get(form, keys[i]) && !hoy_json_put(&m->d, m->build, keys[i], hoy_json_copy(&m->d, hoy_json_get(form, keys[i]))))
			return oom(m);
	return 0;
}

int commit_spec(struct commit *m)
{
	/* Nobody needs the container's files afterwards: they become the layer's. */
	bool clamp = commit_clamps(m), take = m->o.rm && !m->place && !work_mounted(&m->c.w);
	int r;

	m->root = m->d.root = hoy_json_new(&m->d, HOY_JSON_OBJECT);
	m->build = m->root ? hoy_json_need(&m->d, m->root, "build", HOY_JSON_OBJECT) : NULL;
	hoy_time_format(m->time >= 0 ? m->time * HOY_NS : hoy_now(), m->when);
	if (!m->build || !hoy_json_set_string(&m->d, m->root, "container", m->time < 0 ? m->c.w.id : "") ||
	    !hoy_json_set_string(&m->d, m->root, "layer", m->c.w.layer) ||
	    !hoy_json_set_string(&m->d, m->root, "image", hoy_json_str(m->c.d.root, "image-id") ?: "") ||
	    !hoy_json_set_string(&m->d, m->build, "created", m->when) ||
	    ((m->o.timestamp || clamp) && !hoy_json_set_int(&m->d, m->build, "mtime", m->time)) ||
	    (clamp && !hoy_json_set_bool(&m->d, m->build, "clamp", true)) ||
	    (take && !hoy_json_set_bool(&m->d, m->build, "take", true)) || (!m->o.created_annotation && !hoy_json_set_bool(&m->d, m->build, "undated", true)))
		return oom(m);
	r = m->o.squash && m->files.n && extra_write(&m->d, m->build, &m->files) < 0 ? oom(m) : add_config(m);
	if (!r)
		r = add_notes(m);
	if (!r)
		r = add_platform(m);
	return r ? r : add_history(m);
}
