/* cmd-build/plan.c: the stages of a Containerfile, and which of them are needed. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/input.h"
#include "cmd-build/subst.h"

static int set_var(struct hoy_strv *vars, const char *key, const char *value)
{
	hoy_env_set(vars, key, value);
	return vars->error ? -ENOMEM : 0;
}

/* ARG before the first FROM: one --build-arg counts more than what the file says. */
static int heading_arg(struct build *b, const struct cf_instr *i)
{
	for (size_t k = 0; k < i->args.n; k++) {
		const char *eq = strchr(i->args.v[k], '=');
		cleanup_free char *key = strndup(i->args.v[k], eq ? (size_t)(eq - i->args.v[k]) : strlen(i->args.v[k]));
		const char *given = key ? hoy_env_get(&b->given, key) : NULL;
		cleanup_free char *value = NULL;

		if (given)
			hoy_strv_push(&b->used, key);
		if (!given && eq && !(value = subst_word(eq + 1, '\\', &b->heading, &b->err)))
			return cfile_fail(&b->f, i, &b->err, b->err.code, "%s", (char *)strdupa(b->err.msg));
		if ((given || value) && set_var(&b->heading, key, given ?: value) < 0)
			return hoy_fail_oom(&b->err);
	}
	return 0;
}

long find_stage(const struct build *b, const char *word, size_t at)
{
	char *end;
	unsigned long n = strtoul(word, &end, 10);
	bool image;

	if (input_named(b, word, &image))
		return -1; /* --build-context counts more */

	/* The last of that name; a name that is a number is one. */
	for (size_t k = at; k; k--)
		if (!strcmp(b->stages[k - 1].name, word))
			return (long)k - 1;
	return isdigit((unsigned char)*word) && !*end && n < at ? (long)n : -1;
}

/* FROM a name of --build-context: the image that it stands for. */
static int named_base(struct build *b, const struct cf_instr *i, struct stage *st)
{
	bool image;
	const char *value = input_named(b, st->base, &image);
	char *copy;

	if (!value)
		return 0;
	if (!image)
		return cfile_fail(&b->f, i, &b->err, EINVAL, "the build context \"%s\" is a directory: FROM needs an image (docker-image://NAME)", st->base);
	copy = strdup(value);
	if (!copy)
		return hoy_fail_oom(&b->err);
	free(st->base);
	st->base = copy;
	return 0;
}

/* What the image of ST is for: FROM --platform, or what the build is for. */
static int stage_platform(struct build *b, const struct cf_instr *i, struct stage *st)
{
	const char *flag = cf_flag(i, "platform");
	cleanup_free char *word = flag ? subst_word(flag, '\\', &b->heading, &b->err) : NULL;

	st->plat = st->base_stage >= 0 ? b->stages[st->base_stage].plat : b->plat;
	st->plat_given = st->base_stage >= 0 ? b->stages[st->base_stage].plat_given : b->plat_given;
	if (flag && !word)
		return cfile_fail(&b->f, i, &b->err, EINVAL, "%s", (char *)strdupa(b->err.msg));
	if (word && platform_parse(&st->plat, word, &b->err) < 0)
		return cfile_fail(&b->f, i, &b->err, EINVAL, "%s", (char *)strdupa(b->err.msg));
	st->plat_given = st->plat_given || word;
	return 0;
}

static int add_stage(struct build *b, size_t from)
{
	const struct cf_instr *i = &b->f.v[from];
	struct stage *v = realloc(b->stages, (b->n + 1) * sizeof(*v)), *st;

	if (!v)
		return hoy_fail_oom(&b->err);
	b->stages = v;
	st = &v[b->n];
	*st = (struct stage){ .first = from + 1, .base_stage = -1 };
	st->name = i->args.n == 3 ? strdup(i->args.v[2]) : hoy_asprintf("%zu", b->n);
	if (!st->name)
		return hoy_fail_oom(&b->err);
	b->n++;
	st->base = b->n == 1 && b->o->from ? strdup(b->o->from) : subst_word(i->args.v[0], '\\', &b->heading, &b->err);
	if (!st->base)
		return cfile_fail(&b->f, i, &b->err, EINVAL, "%s", (char *)strdupa(b->err.msg));
	if (named_base(b, i, st) < 0)
		return -b->err.code;
	st->base_stage = find_stage(b, st->base, b->n - 1);
	return stage_platform(b, i, st);
}

static int cut_stages(struct build *b)
{
	int r = 0;

	platform_vars(&b->heading, &b->plat);
	if (b->heading.error)
		return hoy_fail_oom(&b->err);
	for (size_t k = 0; k < b->f.n && !r; k++) {
		const struct cf_instr *i = &b->f.v[k];

		if (!strcmp(i->word, "FROM"))
			r = add_stage(b, k);
		else if (b->n)
			b->stages[b->n - 1].n++;
		else if (!strcmp(i->word, "ARG"))
			r = heading_arg(b, i);
		else
			r = cfile_fail(&b->f, i, &b->err, EINVAL, "no build stage in current context: only ARG may stand before the first FROM");
	}
	return !r && !b->n ? hoy_fail(&b->err, EINVAL, "%s: there is no FROM", b->f.name) : r;
}

static void need(struct build *b, size_t at);

/* Stage AT takes something from stage SOURCE. */
static void need_stage(struct build *b, size_t at, size_t source)
{
	b->stages[source].is_source = true;
	b->deps[at * b->n + source] = true;
	need(b, source);
}

/* Stage AT takes files from what FROM names. */
static void need_source(struct build *b, size_t at, const char *from)
{
	/* (The arguments of the stage are not known yet; those of the heading are.) */
	cleanup_free char *word = subst_word(from, '\\', &b->heading, NULL);
	long source = word ? find_stage(b, word, at) : -1;

	if (strchr(from, '$') && source < 0)
		for (size_t all = 0; all < at; all++)
			need_stage(b, at, all);
	if (source >= 0)
		need_stage(b, at, source);
}

/* Mark what stage AT stands on and copies from. Only stages before it can be meant, so there are no circles. */
static void need(struct build *b, size_t at)
{
	struct stage *st = &b->stages[at];

	if (st->needed)
		return;
	st->needed = true;
	if (st->base_stage >= 0) {
		b->stages[st->base_stage].is_base = true;
		b->deps[at * b->n + st->base_stage] = true;
		need(b, st->base_stage);
	}
	for (size_t k = 0; k < st->n; k++) {
		cleanup_strv struct hoy_strv from = HOY_STRV_INIT;

		cf_sources(&b->f.v[st->first + k], &from);
		for (size_t m = 0; m < from.n; m++)
			need_source(b, at, from.v[m]);
	}
}

/* Only what is needed needs a base. */
static int check_bases(struct build *b)
{
	for (size_t at = 0; at < b->n; at++) {
		const struct cf_instr *i = &b->f.v[b->stages[at].first - 1];

		if (b->stages[at].needed && !*b->stages[at].base)
			return cfile_fail(&b->f, i, &b->err, EINVAL, "base name (%s) should not be blank", i->args.v[0]);
	}
	return 0;
}

/* --skip-unused-stages=false: what nobody needs is built, too. */
static void need_all(struct build *b)
{
	for (size_t at = 0; at < b->target; at++)
		need(b, at);
}

int plan(struct build *b)
{
	int r = cut_stages(b);
	long at;

	if (r < 0)
		return r;
	b->target = b->n - 1;
	if (b->o->target) {
		at = find_stage(b, b->o->target, b->n);
		if (at < 0)
			return hoy_fail(&b->err, ENOENT, "the target \"%s\" was not found in the provided Dockerfile", b->o->target);
		b->target = at;
	}
	b->deps = calloc(b->n * b->n, sizeof(*b->deps));
	if (!b->deps)
		return hoy_fail_oom(&b->err);
	need(b, b->target);
	if (b->o->skip_unused == 0)
		need_all(b);
	return check_bases(b);
}
