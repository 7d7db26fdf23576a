/* cmd-build/copystep.c: COPY and ADD: what is copied from where, told to hoy-builder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/source.h"
#include "cmd-build/subst.h"
#include "common/cli/call.h"

/* A here-document among the sources: "<<NAME" for hoy-builder, its text in a file. */
static int push_doc(struct state *s, const struct cf_instr *i, size_t *nth, struct hoy_strv *argv)
{
	const struct cf_doc *d = &i->docs[(*nth)++];
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	cleanup_free char *text = NULL;
	int r;

	config_vars(s, &vars);
	text = d->expand ? subst_text(d->content, '\\', &vars, &s->b->err) : strdup(d->content);
	if (!text)
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "%s", (char *)strdupa(s->b->err.msg));
	r = doc_file(s->b, d->name, text, 0644);
	hoy_strv_pushf(argv, "<<%s", d->name);
	return r;
}

static int push_paths(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	size_t nth = 0;
	int r = 0;

	for (size_t k = 0; k < i->args.n && !r; k++) {
		cleanup_free char *word = NULL;

		if (nth < i->n_docs && k + 1 < i->args.n && !i->json && strstr(i->args.v[k], "<<") == i->args.v[k]) {
			r = push_doc(s, i, &nth, argv);
			continue;
		}
		word = config_word(s, i, i->args.v[k]);
		if (!word)
			return -s->b->err.code;
		if (k + 1 < i->args.n && *i->word == 'A' && strstr(word, "://"))
			return cfile_fail(&s->b->f, i, &s->b->err, HOY_EUNSUPPORTED, "'%s': sources that are fetched are not supported", word);
		hoy_strv_push(argv, word);
	}
	return r;
}

static int push_copy_flags(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, struct hoy_strv *argv)
{
	static const char *const flags[] = { "chown", "chmod" };
	const char *dir = config_str(s, "WorkingDir");

	for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
		const char *flag = cf_flag(i, flags[k]);
		cleanup_free char *word = flag ? config_word(s, i, flag) : NULL;

		if (flag && !word)
			return -s->b->err.code;
		if (word && !*word)
			return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "--%s needs a value", flags[k]);
		if (word)
			hoy_strv_pushf(argv, "--%s=%s", flags[k], word);
	}
	hoy_strv_pushf(argv, "--what=%s:%u: %s", s->b->f.name, i->line, i->word);
	hoy_strv_pushf(argv, "--root=%s", root);
	hoy_strv_pushf(argv, "--context=%s", src->path);
	hoy_strv_pushf(argv, "--workdir=%s", *dir ? dir : "/");
	if (src->image)
		hoy_strv_push(argv, "--from-image");
	else if (s->b->ignore)
		hoy_strv_pushf(argv, "--ignore=%s", s->b->ignore);
	if (*i->word == 'A')
		hoy_strv_push(argv, "--add");
	return 0;
}

static int copy(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, bool dry, char **ret_sum)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, paths = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int status, r = push_paths(s, i, &paths);

	hoy_strv_push(&argv, "copy");
	if (!r)
		r = push_copy_flags(s, i, src, root, &argv);
	if (r < 0)
		return r;
	if (dry)
		hoy_strv_push(&argv, "--dry-run");
	if (i->n_docs && s->b->tmp)
		hoy_strv_pushf(&argv, "--docs=%s", s->b->tmp);
	hoy_strv_push(&argv, "--");
	for (size_t k = 0; k < paths.n; k++)
		hoy_strv_push(&argv, paths.v[k]);
	if (argv.error || paths.error)
		return hoy_fail_oom(&s->b->err);
	status = hoy_call_tool("hoy-builder", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(&s->b->err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	*ret_sum = strndup(hoy_buf_str(&out), strcspn(hoy_buf_str(&out), "\n"));
	return *ret_sum ? 0 : hoy_fail_oom(&s->b->err);
}

static int open_from(struct state *s, const struct cf_instr *i, struct source *src)
{
	const char *flag = cf_flag(i, "from");
	cleanup_free char *from = flag ? config_word(s, i, flag) : NULL;

	return flag && !from ? -s->b->err.code : source_open(s, from, src);
}

int work_copy(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	int r = work_open(s);

	if (!r)
		r = open_from(s, i, &src);
	if (!r)
		r = copy(s, i, &src, s->work->root, false, ret_sum);
	source_close(s, &src);
	return r ? r : stopped(s->b);
}

int work_digest(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	cleanup_free char *root = NULL;
	int r = mount_layer(s->b, s->layer, true, &root);

	if (r < 0)
		return r;
	r = open_from(s, i, &src);
	if (!r)
		r = copy(s, i, &src, root, true, ret_sum);
	source_close(s, &src);
	(void)unmount_layer(s->b, s->layer, NULL);
	return r ? r : stopped(s->b);
}
