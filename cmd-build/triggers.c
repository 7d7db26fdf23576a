/* cmd-build/triggers.c: ONBUILD of an image for `from`: each trigger is one of our own commands on the new container. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/subst.h"
#include "common/cli/call.h"

/* Instructions that are an option of `config`. */
static const struct {
	const char *word, *option;
} options[] = { { "CMD", "cmd" },	    { "ENTRYPOINT", "entrypoint" }, { "EXPOSE", "port" },	     { "MAINTAINER", "author" }, { "ONBUILD", "onbuild" },
		{ "SHELL", "shell" },   { "STOPSIGNAL", "stop-signal" }, { "USER", "user" },	     { "VOLUME", "volume" },	 { "WORKDIR", "workingdir" } };

static void push_json(const struct hoy_strv *words, const char *option, struct hoy_strv *argv)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(16 << 20);
	struct hoy_jw w = hoy_jw_on(&text, NULL);

	hoy_jw_strings(&w, NULL, words->v, words->n);
	hoy_strv_pushf(argv, "--%s=%s", option, hoy_buf_str(&text));
}

/* WORD without its quotes, with the container's variables put in. In new memory; NULL with a sentence. */
static char *substituted(struct ctr *c, const char *word)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(c), "Env"))
		hoy_strv_push(&env, hoy_json_text(e) ?: "");
	return subst_word(word, '\\', &env, &c->b.err);
}

static int push_config(struct ctr *c, const struct cf_instr *i, struct hoy_strv *argv)
{
	const char *pair = !strcmp(i->word, "ENV") ? "env" : !strcmp(i->word, "LABEL") ? "label" : NULL;

	hoy_strv_push(argv, "config");
	for (size_t k = 0; pair && k + 1 < i->args.n; k += 2) {
		cleanup_free char *value = substituted(c, i->args.v[k + 1]);

		if (!value)
			return -c->b.err.code;
		hoy_strv_pushf(argv, "--%s=%s=%s", pair, i->args.v[k], value);
	}
	for (size_t k = 0; !pair && k < ARRAY_SIZE(options); k++) {
		if (strcmp(options[k].word, i->word))
			continue;
		if (i->json && (*i->word == 'C' || !strcmp(i->word, "ENTRYPOINT")))
			push_json(&i->args, options[k].option, argv);
		else
			hoy_strv_pushf(argv, "--%s=%s", options[k].option, i->rest);
		pair = i->word;
	}
	hoy_strv_push(argv, c->w.id);
	return pair ? 0 : hoy_fail(&c->b.err, HOY_EUNSUPPORTED, "the image's trigger \"%s\" needs a Containerfile (run: hoy-build build)", i->text);
}

static void push_run(struct ctr *c, const struct cf_instr *i, struct hoy_strv *argv)
{
	hoy_strv_push(argv, "run");
	hoy_strv_push(argv, c->w.id);
	hoy_strv_push(argv, "--");
	if (!i->json) {
		hoy_strv_push(argv, "/bin/sh");
		hoy_strv_push(argv, "-c");
		hoy_strv_push(argv, i->rest);
	}
	for (size_t k = 0; i->json && k < i->args.n; k++)
		hoy_strv_push(argv, i->args.v[k]);
}

static int carry_out(struct ctr *c, const struct cf_instr *i)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	bool copies = !strcmp(i->word, "COPY") || !strcmp(i->word, "ADD");
	int r = 0, status;

	if (copies) {
		hoy_strv_push(&argv, *i->word == 'A' ? "add" : "copy");
		hoy_strv_push(&argv, "-q");
		for (size_t k = 0; k < i->flags.n; k++)
			hoy_strv_push(&argv, i->flags.v[k]);
		hoy_strv_push(&argv, c->w.id);
		for (size_t k = 0; k < i->args.n; k++)
			hoy_strv_push(&argv, i->args.v[k]);
	} else if (!strcmp(i->word, "RUN") && !i->n_docs && !i->flags.n) {
		push_run(c, i, &argv);
	} else {
		r = push_config(c, i, &argv);
	}
	if (r < 0 || argv.error)
		return r < 0 ? r : hoy_fail_oom(&c->b.err);
	status = hoy_call_tool("hoy-build", (const char *const *)argv.v, NULL);
	if (status < 0)
		return hoy_fail_errno(&c->b.err, -status, "cannot run hoy-build");
	return status ? hoy_fail(&c->b.err, ECHILD, "the image's trigger \"%s\" has failed", i->text) : 0;
}

int ctr_trigger(struct ctr *c, const struct hoy_json *list)
{
	cleanup_cfile struct cfile f = CFILE_INIT;
	int r = 0;

	f.name = strdup("ONBUILD");
	if (!f.name)
		return hoy_fail_oom(&c->b.err);
	HOY_JSON_EACH(t, list)
		if (!r && hoy_json_text(t))
			r = cfile_append(&f, t->str, &c->b.err);
	for (size_t i = 0; i < f.n && !r; i++) {
		if (!c->o.quiet)
			fprintf(stderr, "STEP %zu: %s\n", i + 1, f.v[i].text);
		r = carry_out(c, &f.v[i]);
	}
	return r;
}
