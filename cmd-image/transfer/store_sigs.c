#include "cmd-image/transfer/store_sigs.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/data/json.h"

void stored_sigs_release(struct stored_sigs *s)
{
	hoy_buf_release(&s->data);
	hoy_buf_release(&s->metadata);
}

int stored_sigs_make(struct stored_sigs *s, const struct sigs *sigs, const char *digest, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf sizes = HOY_BUF_INIT(64 << 10);
	struct hoy_jw w = hoy_jw_on(&s->metadata, NULL);

	for (size_t i = 0; i < sigs->n; i++) {
		size_t before = s->data.len;

		sig_blob(&sigs->v[i], &s->data);
		hoy_buf_printf(&sizes, "%c%zu", i ? ',' : '[', s->data.len - before);
	}
	hoy_buf_putc(&sizes, ']');
	hoy_jw_object(&w, NULL);
	hoy_jw_raw(&w, "signature-sizes", hoy_buf_str(&sizes));
	hoy_jw_object(&w, "signatures-sizes");
	hoy_jw_raw(&w, digest, hoy_buf_str(&sizes));
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	snprintf(s->key, sizeof(s->key), "signature-%s", digest + 7);
	sha_of(s->data.data, s->data.len, s->sum);
	return s->data.error || s->metadata.error ? hoy_fail_oom(err) : 0;
}

int stored_sigs_split(const char *data, size_t len, const struct hoy_json *sizes, struct sigs *ret, struct hoy_err *err)
{
	size_t at = 0;

	HOY_JSON_EACH(s, sizes) {
		int64_t n;

		if (!hoy_json_int64(s, &n) || n < 0 || (uint64_t)n > len - at)
			return hoy_fail(err, HOY_EFORMAT, "the signatures of the image have not the sizes that its record says");
		if (sigs_add_blob(ret, data + at, n, err) < 0)
			return -err->code;
		at += n;
	}
	return at == len ? 0 : hoy_fail(err, HOY_EFORMAT, "the signatures of the image have not the sizes that its record says");
}
