/* sources: cmd-image/transfer/manifest.c cmd-image/transfer/schema1.c cmd-image/transfer/stream.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/schema1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What we write of what we have read, we read again. */
static void rewrite(const struct manifest *m, enum man_kind kind)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct manifest again;

	if (manifest_convert(m, kind, NULL, &b, NULL) < 0)
		return;
	if (manifest_parse(&again, hoy_buf_str(&b), b.len, manifest_type(kind), NULL) < 0 || again.n != m->n)
		abort();
	manifest_release(&again);
}

static void choose(const struct manifest *m)
{
	struct platform p = platform_here(NULL);
	const struct desc *d = NULL;
	struct hoy_err err = HOY_ERR_INIT;

	if (!manifest_choose(m, &p, &d, &err) && !d)
		abort();
}

/* Of an image of schema 1 there is a config, whatever stands in its history, and it is JSON. */
static void schema1(const struct manifest *m)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	char digest[SHA_DIGEST_SIZE];

	if (!schema1_digest(m->data, m->len, digest) || strcmp(digest, m->digest) || !m->n)
		abort();
	for (size_t i = 0; i < m->n; i++)
		if (!schema1_throwaway(&m->v[i]))
			hoy_strv_push(&ids, m->v[i].digest);
	if (!schema1_config(m, &ids, &b, NULL) && hoy_json_parse(&doc, hoy_buf_str(&b), b.len, "config", NULL) < 0)
		abort();
}

/* Manifests and lists, as registries and layouts give them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { NULL, T_OCI, T_V2S2, T_OCI_INDEX, T_V2S2_LIST, T_V2S1, "application/json" };
	const char *type = size ? types[data[size - 1] % ARRAY_SIZE(types)] : NULL;
	struct hoy_err err = HOY_ERR_INIT;
	struct manifest m;

	if (!manifest_parse(&m, (const char *)data, size, type, &err)) {
		if (manifest_is_list(&m))
			choose(&m);
		else if (m.kind == MAN_V2S1)
			schema1(&m);
		else if (m.config.digest)
			rewrite(&m, m.kind == MAN_OCI ? MAN_V2S2 : MAN_OCI);
	}
	manifest_release(&m);
	return 0;
}
