/* cmd-build/stage.c: the instructions of a stage, one after the other: from the cache, or carried out and committed. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "common/base/buf.h"
#include "common/base/msg.h"
#include "common/data/time.h"

/* ---- what the user sees ---- */

static void say(const struct state *s, const char *fmt, ...) HOY_PRINTF(2, 3);
static void say(const struct state *s, const char *fmt, ...)
{
	va_list ap;

	if (s->b->o->quiet)
		return;
	if (s->b->target)
		printf("[%zu/%zu] ", s->st - s->b->stages + 1, s->b->target + 1);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static void say_image(const struct state *s, bool cached)
{
	if (s->b->o->quiet)
		return;
	if (cached)
		printf("--> Using cache %s\n", s->image);
	else
		printf("--> %.12s\n", s->image);
	fflush(stdout);
}

/* The instruction as it stands, and how its here-documents begin. */
static void say_step(const struct state *s, size_t at, size_t of, const struct cf_instr *i)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX);

	for (size_t k = 0; k < i->n_docs; k++) {
		const char *c = i->docs[k].content + strspn(i->docs[k].content, " \t\r\n"), *end = c + strlen(c);

		while (end > c && strchr(" \t\r\n", end[-1]))
			end--;
		hoy_buf_printf(&b, " (%.*s%s)", (int)strcspn(c, "\r\n") < end - c ? (int)strcspn(c, "\r\n") : (int)(end - c), c,
			       c + strcspn(c, "\r\n") < end ? "..." : "");
	}
	say(s, "STEP %zu/%zu: %s%s", at, of, i->text, hoy_buf_str(&b));
}

static void warn_format(struct state *s, const struct cf_instr *i)
{
	if (s->b->docker || (strcmp(i->word, "SHELL") && strcmp(i->word, "HEALTHCHECK") && strcmp(i->word, "ONBUILD")) ||
	    hoy_strv_has(&s->b->warned, i->word))
		return;
	hoy_strv_push(&s->b->warned, i->word);
	hoy_warning("%s is not supported for OCI image format and will be ignored. Must use `docker` format", i->word);
}

/* ---- steps ---- */

static bool adds_layer(const struct cf_instr *i) { return !strcmp(i->word, "RUN") || !strcmp(i->word, "COPY") || !strcmp(i->word, "ADD"); }

/* Carry I out; *RET_BY is what the history says of it. */
static int carry_out(struct state *s, const struct cf_instr *i, char **ret_by)
{
	cleanup_free char *sum = NULL;
	int r;

	if (!strcmp(i->word, "RUN"))
		r = mounts_sums(s, i, &sum) ?: work_run(s, i);
	else if (adds_layer(i))
		r = work_copy(s, i, &sum);
	else
		r = config_apply(s, i);
	/* One container for all: a directory is there for those who look into it from outside. */
	if (!r && !strcmp(i->word, "WORKDIR") && !s->b->layers)
		r = work_mkdir(s, config_str(s, "WorkingDir"));
	if (r < 0)
		return r;
	*ret_by = created_by(s, i, sum);
	return *ret_by ? 0 : hoy_fail_oom(&s->b->err);
}

static const char *first_tag(const struct build *b) { return b->o->tags.n ? b->o->tags.v[0] : NULL; }

static bool is_target(const struct state *s) { return s->st == &s->b->stages[s->b->target]; }

static void say_commit(const struct state *s)
{
	if (is_target(s))
		say(s, "COMMIT%s%s", first_tag(s->b) ? " " : "", first_tag(s->b) ?: "");
}

/* Look for a step in the cache that BY tells of; S stands on it then, and *RET is true. */
static int from_cache(struct state *s, const char *by, bool layer, bool *ret)
{
	char id[HOY_ID_SIZE];
	int r;

	*ret = false;
	if (s->missed || s->b->o->no_cache)
		return 0;
	r = cache_find(s, by, layer, id);
	if (r < 0 || !*id)
		return r;
	*ret = true;
	work_drop(s->work);
	s->work = NULL;
	free(s->name);
	s->name = NULL;
	r = image_use(s, id);
	if (!r)
		say_image(s, true);
	return r;
}

/* A step with a layer needn't be carried out to know what it is; *RET: it's in the cache, and S stands on it. */
static int look_first(struct state *s, const struct cf_instr *i, bool *ret)
{
	bool run = !strcmp(i->word, "RUN");
	cleanup_free char *by = NULL, *sum = NULL;
	int r = 0;

	if (s->missed || s->b->o->no_cache || (!run && !*s->layer))
		return 0;
	r = run ? mounts_sums(s, i, &sum) : work_digest(s, i, &sum);
	if (r < 0)
		return r;
	by = created_by(s, i, sum);
	return by ? from_cache(s, by, true, ret) : hoy_fail_oom(&s->b->err);
}

/* One step, one image. */
static int step_of_layers(struct state *s, const struct cf_instr *i, bool last)
{
	bool layer = adds_layer(i), hit = false;
	cleanup_free char *by = NULL;
	int r = layer ? look_first(s, i, &hit) : 0;

	if (!r && !hit)
		r = carry_out(s, i, &by);
	if (!r && !hit && (!layer || !*s->layer))
		r = from_cache(s, by, layer, &hit);
	/* What is there already and gets no name isn't committed. */
	if (!r && last && (!hit || first_tag(s->b)))
		say_commit(s);
	if (!r && !hit) {
		s->missed = true;
		r = image_commit(s, by, !layer);
		work_drop(s->work);
		s->work = NULL;
	}
	if (!r)
		say_image(s, false);
	return r;
}

/* All steps in one container, which is committed at the end. */
static int step_of_one(struct state *s, const struct cf_instr *i, bool last)
{
	cleanup_free char *by = NULL;
	int r = carry_out(s, i, &by);

	if (r < 0)
		return r;
	if (!last) {
		hoy_strv_pushf(&s->pending, "%lld\n%s", (long long)(s->b->time >= 0 ? s->b->time * HOY_NS : hoy_now()), by);
		return 0;
	}
	if (!is_target(s) && !s->st->is_base)
		return 0;
	say_commit(s);
	r = work_open(s);
	if (!r)
		r = image_commit(s, by, false);
	/* What it wrote is the image's now. */
	work_drop(s->work);
	s->work = NULL;
	if (!r)
		say_image(s, false);
	return r;
}

/* ---- the stage ---- */

static int begin(struct state *s, size_t steps)
{
	struct build *b = s->b;
	const struct cf_instr *from = &b->f.v[s->st->first - 1];
	const struct stage *below = s->st->base_stage >= 0 ? &b->stages[s->st->base_stage] : NULL;
	const char *base = below ? below->image : s->st->base;
	int r;

	say(s, "STEP 1/%zu: FROM %s%s%s", steps, base, from->args.n == 3 ? " AS " : "", from->args.n == 3 ? from->args.v[2] : "");
	for (size_t i = 0; below && i < below->args.n; i++)
		hoy_strv_push(&s->args, below->args.v[i]);
	if (!below && !strcmp(base, "scratch"))
		return config_scratch(s);
	r = image_base(s, base, NULL);
	if (r < 0 && r != -HOY_EREMOTE)
		return cfile_fail(&b->f, from, &b->err, b->err.code ?: EIO, "%s", (char *)strdupa(b->err.msg));
	if (below) {
		/* It has no name but its id. */
		free(s->name);
		s->name = NULL;
	}
	return r;
}

/* The triggers of the base image, and one LABEL for all of --label, beside what the file says. */
static int extras(struct state *s, struct cfile *before, struct cfile *behind)
{
	cleanup_buf struct hoy_buf label = HOY_BUF_INIT(1 << 20);
	const struct hoy_strv *own = &s->b->o->labels;
	int r = 0;

	before->name = hoy_asprintf("%s: ONBUILD of %s", s->b->f.name, s->st->base);
	behind->name = strdup("--label");
	if (!before->name || !behind->name)
		return hoy_fail_oom(&s->b->err);
	HOY_JSON_EACH(t, hoy_json_path(s->base.root, "config", "OnBuild", NULL))
		if (!r && hoy_json_text(t))
			r = cfile_append(before, t->str, &s->b->err);
	if (r < 0 || !own->n || !is_target(s))
		return r;
	hoy_buf_puts(&label, "LABEL");
	for (size_t i = 0; i < own->n; i++) {
		const char *eq = strchr(own->v[i], '=');
		size_t len = eq ? (size_t)(eq - own->v[i]) : strlen(own->v[i]);

		hoy_buf_printf(&label, " \"%.*s\"=\"", (int)len, own->v[i]);
		for (const char *c = eq ? eq + 1 : ""; *c; c++) {
			if (*c == '"' || *c == '\\')
				hoy_buf_putc(&label, '\\');
			hoy_buf_putc(&label, *c);
		}
		hoy_buf_putc(&label, '"');
	}
	return label.error ? hoy_fail_oom(&s->b->err) : cfile_append(behind, label.data, &s->b->err);
}

static int step(struct state *s, const struct cf_instr *i, size_t at, size_t of)
{
	int r = stopped(s->b);

	if (r < 0)
		return r;
	s->last = at == of && is_target(s);
	say_step(s, at, of, i);
	warn_format(s, i);
	return s->b->layers ? step_of_layers(s, i, at == of) : step_of_one(s, i, at == of);
}

/* A stage with FROM alone is what it stands on. */
static int nothing_to_do(struct state *s)
{
	int r = 0;

	if (!is_target(s))
		return 0;
	say_commit(s);
	if (s->b->squash || !*s->image) {
		r = *s->image ? work_open(s) : 0;
		if (!r)
			r = image_commit(s, "/bin/sh", !s->work);
	}
	if (!r)
		say_image(s, false);
	return r;
}

static int run_steps(struct state *s, const struct cfile *before, const struct cfile *behind)
{
	const struct cfile *parts[] = { before, NULL, behind };
	size_t of = 1 + before->n + s->st->n + behind->n, at = 1;
	int r = 0;

	for (size_t k = 0; k < ARRAY_SIZE(parts) && !r; k++) {
		const struct cf_instr *v = parts[k] ? parts[k]->v : s->b->f.v + s->st->first;
		size_t n = parts[k] ? parts[k]->n : s->st->n;

		for (size_t i = 0; i < n && !r; i++)
			r = step(s, &v[i], ++at, of);
	}
	return !r && of == 1 ? nothing_to_do(s) : r;
}

static int build_stage(struct build *b, struct stage *st)
{
	cleanup_cfile struct cfile before = CFILE_INIT, behind = CFILE_INIT;
	struct state s = { .b = b, .st = st };
	size_t own = st->n + 1 + (st == &b->stages[b->target] && b->o->labels.n);
	int r = begin(&s, own);

	if (!r)
		r = extras(&s, &before, &behind);
	if (!r)
		r = run_steps(&s, &before, &behind);
	if (!r)
		snprintf(st->image, sizeof(st->image), "%s", s.image);
	/* Nobody committed it, but somebody copies from it. */
	if (!r && !b->layers && st->is_source && s.work) {
		st->work = s.work;
		s.work = NULL;
		if (!st->is_base)
			*st->image = '\0';
	}
	st->args = s.args;
	s.args = (struct hoy_strv)HOY_STRV_INIT;
	state_release(&s);
	return r;
}

/* All names that the image then has are told. */
static int name_it(struct build *b, const char *id)
{
	int r = 0;

	for (size_t i = b->o->tags.n; i && !r; i--) {
		cleanup_free char *name = full_name(b->o->tags.v[i - 1], &b->err);

		r = name ? image_tag(b, id, name) : -b->err.code;
	}
	if (!r)
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	if (!r && !b->o->quiet && b->o->tags.n)
		HOY_JSON_EACH(n, hoy_json_get(hoy_image_get(b->s, id), "names"))
			printf("Successfully tagged %s\n", hoy_json_text(n) ?: "");
	return r;
}

int build_all(struct build *b, char id[HOY_ID_SIZE])
{
	int r = plan(b);

	for (size_t i = 0; i <= b->target && i < b->n && !r; i++)
		if (b->stages[i].needed)
			r = build_stage(b, &b->stages[i]);
	if (!r)
		r = name_it(b, b->stages[b->target].image);
	if (!r)
		snprintf(id, HOY_ID_SIZE, "%s", b->stages[b->target].image);
	for (size_t i = 0; i < b->n; i++) {
		work_drop(b->stages[i].work);
		hoy_strv_release(&b->stages[i].args);
		free(b->stages[i].name);
		free(b->stages[i].base);
	}
	free(b->stages);
	return r;
}
