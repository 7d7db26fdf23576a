#include "cmd-image/transfer/referrers.h"

#include <errno.h>
#include <string.h>

#include "cmd-image/transfer/store_in.h"
#include "common/base/msg.h"
#include "common/data/digest.h"

void referrers_tag(const char *digest, const char *ending, char ret[REFERRERS_TAG_SIZE])
{
	snprintf(ret, REFERRERS_TAG_SIZE, "sha256-%s%s", digest + 7, ending);
}

bool refers_to(const struct manifest *m, const char *digest)
{
	const char *subject = hoy_json_str(hoy_json_get(m->doc.root, "subject"), "digest");

	return subject && !strcmp(subject, digest);
}

static void put_entry(struct hoy_jw *w, const struct manifest *m)
{
	const struct hoy_json *root = m->doc.root, *notes = hoy_json_get(root, "annotations");
	const char *type = hoy_json_str(root, "artifactType");

	if ((!type || !*type) && !manifest_is_list(m))
		type = m->config.type;
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "mediaType", manifest_type(m->kind));
	hoy_jw_string(w, "digest", m->digest);
	hoy_jw_int(w, "size", (int64_t)m->len);
	if (notes && notes->child)
		hoy_jw_value(w, "annotations", notes);
	if (type && *type)
		hoy_jw_string(w, "artifactType", type);
	hoy_jw_end_object(w);
}

int referrers_add(const struct manifest *list, const struct manifest *m, struct hoy_buf *ret, struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(ret, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI_INDEX);
	hoy_jw_array(&w, "manifests");
	for (size_t i = 0; list && i < list->n; i++) {
		if (!strcmp(list->v[i].digest, m->digest))
			return 1;
		hoy_jw_value(&w, NULL, list->v[i].json);
	}
	put_entry(&w, m);
	hoy_jw_end_array(&w);
	if (list && hoy_json_get(list->doc.root, "annotations"))
		hoy_jw_value(&w, "annotations", hoy_json_get(list->doc.root, "annotations"));
	hoy_jw_end_object(&w);
	return ret->error == EFBIG ? hoy_fail(err, EFBIG, "the list of what refers to %s is too long",
					      hoy_json_str(hoy_json_get(m->doc.root, "subject"), "digest") ?: "an image") :
	       ret->error ? hoy_fail_oom(err) : 0;
}
