/* cmd-build/mountsums.c: what a RUN sees by its bind mounts is part of what the cache knows it by. */
#include <errno.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "cmd-build/source.h"
#include "common/cli/call.h"
#include "common/store/images.h"

static int sum_tree(struct state *s, const struct cf_instr *i, const char *root, const char *path, struct hoy_buf *ret)
{
	cleanup_free char *what = hoy_asprintf("--what=%s:%u: %s", cf_name(&s->b->f, i), i->line, i->word);
	const char *words[] = { "checksum", what ?: "--", "--", root, path, NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(4096);
	int status = hoy_call_tool("hoy-builder", words, &out);

	if (status < 0)
		return hoy_fail_errno(&s->b->err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	hoy_buf_printf(ret, ":%.*s", (int)strcspn(hoy_buf_str(&out), "\n"), hoy_buf_str(&out));
	return 0;
}

/* An image is known by its digest, as buildah has it; all of a stage by its layer; part of a stage or context by what it holds. */
static int sum_one(struct state *s, const struct cf_instr *i, const struct mount_spec *spec, struct hoy_buf *ret)
{
	struct source src = { .path = NULL };
	bool stage = spec->from && find_stage(s->b, spec->from, s->st - s->b->stages) >= 0;
	int r = source_open(s, spec->from, &src);

	if (r < 0 && s->b->err.code)
		return cfile_fail(&s->b->f, i, &s->b->err, s->b->err.code, "%s", (char *)strdupa(s->b->err.msg));
	if (!r && *src.id && !stage)
		hoy_buf_printf(ret, ":%s", hoy_json_str(hoy_image_get(s->b->s, src.id), "digest") ?: src.id);
	else if (!r && *src.layer && !spec->source)
		hoy_buf_printf(ret, ":%s", src.layer);
	else if (!r)
		r = sum_tree(s, i, src.path, spec->source ?: ".", ret);
	source_close(s, &src);
	return r;
}

int mounts_sums(struct state *s, const struct cf_instr *i, char **ret)
{
	const char *dir = config_str(s, "WorkingDir");
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	char *text;
	int r = 0;

	for (size_t n = 0; !r && (text = mount_text(s, i, n)); n++) {
		struct mount_spec spec = { .options = HOY_STRV_INIT };

		r = mount_spec_parse(&spec, text, *dir ? dir : "/", &s->b->err);
		if (r < 0)
			r = cfile_fail(&s->b->f, i, &s->b->err, -r, "%s", (char *)strdupa(s->b->err.msg));
		else if (spec.type == MOUNT_BIND)
			r = sum_one(s, i, &spec, &b);
		mount_spec_release(&spec);
		free(text);
	}
	if (!r && (s->b->err.code || b.error))
		return s->b->err.code ? -s->b->err.code : hoy_fail_oom(&s->b->err);
	*ret = !r && b.len ? hoy_buf_steal(&b) : NULL;
	return r;
}
