/* cmd-build/stage.c: the instructions of a stage, one after the other: from the cache, or carried out and committed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/explain.h"
#include "cmd-build/linkstep.h"
#include "cmd-build/mounts.h"
#include "cmd-build/remote.h"
#include "cmd-build/view.h"
#include "common/base/buf.h"
#include "common/base/msg.h"
#include "common/data/time.h"

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

/* A RUN failed: is it that programs of that architecture don't run here? */
static void hint_platform(struct state *s)
{
	struct build *b = s->b;
	char want[PLATFORM_SIZE], have[PLATFORM_SIZE];
	struct platform here, p = s->st->plat;

	platform_here(&here);
	if (!s->st->plat_given && s->base.root)
		platform_of(&p, hoy_json_str(s->base.root, "os"), hoy_json_str(s->base.root, "architecture"), NULL, NULL);
	if (b->err.code == ECHILD && !platform_runs(&p))
		hoy_fail(&b->err, ECHILD, "%s (the image is for %s, this machine is %s: running its programs needs qemu-user-static)",
			 (char *)strdupa(b->err.msg), platform_text(&p, want), platform_text(&here, have));
}

/* Of a stage that is one image, buildah makes the directories of a VOLUME that is the last instruction. */
static int last_volumes(struct state *s, const struct cf_instr *i)
{
	int r = 0;

	if (s->b->layers || strcmp(i->word, "VOLUME") || i != &s->b->f.v[s->st->first + s->st->n - 1])
		return 0;
	for (size_t k = 0; k < i->args.n && !r; k++) {
		cleanup_free char *word = config_word(s, i, i->args.v[k]);

		r = word ? work_volume(s, word) : -s->b->err.code;
	}
	return r;
}

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
		r = work_workdir(s);
	if (!r)
		r = last_volumes(s, i);
	/* As buildah has it: beside what is copied (but not linked), the working directory is there. */
	if (!r && adds_layer(i) && strcmp(i->word, "RUN") && !cf_flag(i, "link"))
		r = work_workdir(s);
	if (r < 0 && !strcmp(i->word, "RUN"))
		hint_platform(s);
	if (r < 0)
		return r;
	*ret_by = created_by(s, i, sum);
	return *ret_by ? 0 : hoy_fail_oom(&s->b->err);
}

bool stage_no_cache(const struct state *s)
{
	const struct build_opts *o = s->b->o;

	return o->no_cache || (s->st->name && hoy_strv_has(&o->no_cache_stages, s->st->name));
}

static bool is_target(const struct state *s) { return s->st == &s->b->stages[s->b->target]; }

/* Behind a step that wasn't in the cache, nothing is; and what histories don't tell of, isn't found by them. */
static bool may_look(const struct state *s)
{
	const struct build_opts *o = s->b->o;
	bool untold = o->unset_envs.n || o->omit_history || o->created_note == 0 || o->os_version || o->os_features.n;

	return (!s->missed || s->waited) && !stage_no_cache(s) && !(s->last && untold);
}

/* S stands on the image ID, which the cache has of the step at hand. */
static int stand_on(struct state *s, const char *id)
{
	int r;

	work_drop(s->work);
	s->work = NULL;
	free(s->name);
	s->name = NULL;
	r = image_use(s, id);
	if (!r)
		say_image(s, true);
	return r;
}

/* Look for the step that BY tells of in the store, where nobody takes it away meanwhile; S stands on it then, and *RET is true. */
static int from_store(struct state *s, const char *by, bool layer, bool *ret)
{
	cleanup_fd int gate = cache_gate(s->b);
	char id[HOY_ID_SIZE] = "";
	int r = gate < 0 ? gate : cache_find(s, by, layer, id);

	if (r < 0 || !*id)
		return r;
	*ret = true;
	return stand_on(s, id);
}

/* The same for the step I, in registries, too. */
static int from_cache(struct state *s, const struct cf_instr *i, const char *by, bool layer, bool *ret)
{
	int r = remote_key(s, by, layer);

	*ret = false;
	if (!r && may_look(s))
		r = from_store(s, by, layer, ret);
	if (!r && !*ret && may_look(s))
		r = remote_pull(s, &s->pulled);
	if (!r && s->pulled)
		r = from_store(s, by, layer, ret);
	if (!r && !*ret)
		explain_miss(s, i, by, layer);
	return r;
}

/*
 * A step with a layer needn't be carried out to know what it is; *RET: it's in the cache, and S stands on it. A linked one may have
 * its layer there, which is s->again then, and *RET_BY what the history says.
 */
static int look_first(struct state *s, const struct cf_instr *i, bool *ret, char **ret_by)
{
	bool run = !strcmp(i->word, "RUN");
	cleanup_free char *by = NULL, *sum = NULL;
	int r = run ? mounts_sums(s, i, &sum) : work_digest(s, i, &sum);

	if (r < 0)
		return r;
	by = created_by(s, i, sum);
	r = by ? from_cache(s, i, by, true, ret) : hoy_fail_oom(&s->b->err);
	if (!r && !*ret)
		r = linked_find(s, i, by);
	if (!r && *s->again)
		*ret_by = steal_ptr(&by);
	return r;
}

/* The step I as an image: from the cache, or carried out and committed. *HIT: it was there. */
static int make_image(struct state *s, const struct cf_instr *i, bool last, bool *hit)
{
	bool layer = adds_layer(i), early = layer && (*s->layer || !strcmp(i->word, "RUN")) && (may_look(s) || linked_elsewhere(s, i));
	cleanup_free char *by = NULL;
	int r = early ? look_first(s, i, hit, &by) : 0;

	if (!r && !*hit && !*s->again)
		r = carry_out(s, i, &by);
	if (!r && !*hit && !early)
		r = from_cache(s, i, by, layer, hit);
	/* What is there already and gets no name isn't committed. */
	if (!r && last && (!*hit || s->b->o->tags.n))
		say_commit(s);
	if (r < 0 || *hit)
		return r;
	s->missed = true;
	s->linked = is_linked(s, i);
	if (s->work && s->b->o->rm == 0)
		r = work_keep(s);
	if (!r)
		r = image_commit(s, by, !layer);
	s->linked = false;
	*s->again = '\0';
	work_drop(s->work);
	s->work = NULL;
	return r;
}

/* One step, one image. */
static int step_of_layers(struct state *s, const struct cf_instr *i, bool last)
{
	bool hit = false;
	cleanup_fd int claim = stage_no_cache(s) ? -1 : cache_claim(s, i);
	int r = stage_no_cache(s) || claim >= 0 ? 0 : claim;

	s->pulled = false;
	if (!r)
		r = make_image(s, i, last, &hit);
	if (!r && !(hit && s->pulled))
		r = remote_push(s);
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
	if (!is_target(s) && !s->st->is_base && !s->b->o->save_stages)
		return 0;
	say_commit(s);
	r = work_open(s);
	if (!r)
		r = image_commit(s, by, false);
	s->st->made = !r;
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
	cleanup_free char *text = NULL;
	int r;

	text = hoy_asprintf("FROM %s%s%s", *base ? base : "scratch", from->args.n == 3 ? " AS " : "", from->args.n == 3 ? from->args.v[2] : "");
	if (!text)
		return hoy_fail_oom(&b->err);
	say_from(s, steps, text);
	for (size_t i = 0; below && i < below->args.n; i++)
		hoy_strv_push(&s->args, below->args.v[i]);
	/* (Of a stage that is scratch and no more, there is no image.) */
	if (below ? !*base : !strcmp(base, "scratch"))
		return config_scratch(s);
	r = image_base(s, base);
	if (!r && b->o->inherit_labels == 0)
		hoy_json_unset(s->cfg, "Labels");
	if (r < 0 && r != -HOY_EREMOTE)
		return cfile_fail(&b->f, from, &b->err, b->err.code ?: EIO, "%s", (char *)strdupa(b->err.msg));
	if (below) {
		/* It has no name but its id. */
		free(s->name);
		s->name = NULL;
	}
	return r;
}

/* WORD with all of LIST ("KEY=VALUE") as one instruction behind those of F; nothing if there is nothing in it. */
static int append_pairs(struct state *s, struct cfile *f, const char *word, const struct hoy_strv *list)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 20);

	hoy_buf_puts(&text, word);
	for (size_t i = 0; i < list->n; i++) {
		const char *eq = strchr(list->v[i], '=');
		size_t len = eq ? (size_t)(eq - list->v[i]) : strlen(list->v[i]);

		hoy_buf_printf(&text, " \"%.*s\"=\"", (int)len, list->v[i]);
		for (const char *c = eq ? eq + 1 : ""; *c; c++) {
			if (*c == '"' || *c == '\\')
				hoy_buf_putc(&text, '\\');
			hoy_buf_putc(&text, *c);
		}
		hoy_buf_putc(&text, '"');
	}
	if (text.error)
		return hoy_fail_oom(&s->b->err);
	return list->n ? cfile_append(f, text.data, &s->b->err) : 0;
}

/* --stage-labels, as one instruction: whose image that is. What is its base and no more, has that one's. */
static int append_stage(struct state *s, struct cfile *f)
{
	const struct stage *below = s->st->base_stage >= 0 ? &s->b->stages[s->st->base_stage] : NULL;
	cleanup_strv struct hoy_strv labels = HOY_STRV_INIT;

	if (!s->b->o->stage_labels || !s->st->n)
		return 0;
	hoy_strv_pushf(&labels, "io.buildah.stage.name=%s", s->st->name);
	hoy_strv_pushf(&labels, "io.buildah.stage.base=%s", below ? below->image : s->name ?: s->st->base);
	return labels.error ? hoy_fail_oom(&s->b->err) : append_pairs(s, f, "LABEL", &labels);
}

/* Beside what the file says: --env, the triggers of the base image, --stage-labels and --label. */
static int extras(struct state *s, struct cfile *before, struct cfile *behind)
{
	int r;

	before->name = hoy_asprintf("%s: ONBUILD of %s", s->b->f.name, s->st->base);
	behind->name = strdup("--label");
	if (!before->name || !behind->name)
		return hoy_fail_oom(&s->b->err);
	r = append_pairs(s, before, "ENV", &s->b->o->envs);
	HOY_JSON_EACH(t, hoy_json_path(s->base.root, "config", "OnBuild", NULL))
		if (!r && hoy_json_text(t))
			r = cfile_append(before, t->str, &s->b->err);
	if (!r)
		r = append_stage(s, behind);
	return r || !is_target(s) ? r : append_pairs(s, behind, "LABEL", &s->b->o->labels);
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
	s->last = true;
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

/* With layers, the container of a step that failed stays for whoever wants to look at it. (Not for whoever has ended the build.) */
static bool keeps_failed(const struct build *b, int r)
{
	return b->layers && r != -ECANCELED && (b->o->force_rm >= 0 ? !b->o->force_rm : !b->podman);
}

/* What has failed is told, whatever comes of this. */
static void keep_failed(struct state *s)
{
	struct hoy_err failed = s->b->err;

	(void)work_keep(s);
	s->b->err = failed;
}

int build_stage(struct build *b, struct stage *st)
{
	cleanup_cfile struct cfile before = CFILE_INIT, behind = CFILE_INIT;
	struct state s = { .b = b, .st = st };
	size_t own = st->n + 1 + (st == &b->stages[b->target] && b->o->labels.n) + !!b->o->envs.n + (b->o->stage_labels && st->n);
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
	if (r < 0 && s.work && keeps_failed(b, r))
		keep_failed(&s);
	st->args = s.args;
	s.args = (struct hoy_strv)HOY_STRV_INIT;
	state_release(&s);
	return r;
}
