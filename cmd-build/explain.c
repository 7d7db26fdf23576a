#include "cmd-build/explain.h"

#include <string.h>

#include "cmd-build/build.h"
#include "common/base/buf.h"
#include "common/data/time.h"
#include "common/store/images.h"

struct candidate {
	int like; /* 0: there is none; 2: of the same instruction; 3: of the same line */
	char *by;
	const char *why; /* a line that is the same doesn't count, because of that */
	int64_t created;
};

/* "RUN" of "|1 A=b /bin/sh -c make", "COPY" of "/bin/sh -c #(nop) COPY file:..." */
static bool same_word(const char *by, const struct cf_instr *i)
{
	const char *nop = strstr(by, "#(nop) ");

	if (!strcmp(i->word, "RUN"))
		return !nop && strstr(by, "/bin/sh -c ");
	return nop && !strncmp(nop + 7, i->word, strlen(i->word));
}

static const char *excuse(const struct state *s, const struct hoy_json *rec, const struct hoy_json *cfg, const struct hoy_json *last)
{
	const struct build *b = s->b;

	if (!cache_fits_platform(s, cfg))
		return "it was built for another platform";
	if (!cache_fits_format(b, rec))
		return "it was built in another format";
	if (b->time >= 0 && hoy_json_time(last, "created") != b->time * HOY_NS)
		return "it was built at another time than --timestamp or --source-date-epoch says";
	return cache_too_old(b, rec) ? "it is older than --cache-ttl allows" : "an option of this build is not told of in histories";
}

static void consider(const struct state *s, const struct cf_instr *i, const char *by, bool layer, const struct hoy_json *rec, struct candidate *c)
{
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
	const struct hoy_json *last = hoy_image_config(s->b->s, rec, &cfg, NULL) < 0 ? NULL : cache_last_step(s, cfg.root, layer);
	const char *old = last ? hoy_json_str(last, "created_by") ?: "" : NULL;
	int64_t created = hoy_json_time(rec, "created");
	int like = !old ? 0 : by && !strcmp(by, old) ? 3 : same_word(old, i) ? 2 : 0;

	if (!like || like < c->like || (like == c->like && created < c->created))
		return;
	free(c->by);
	*c = (struct candidate){ .like = like, .by = strdup(old), .created = created, .why = like == 3 ? excuse(s, rec, cfg.root, last) : NULL };
}

/* The first argument of the RUN line NOW that the line OLD doesn't have so. */
static char *other_argument(const struct state *s, const char *now, const char *old)
{
	for (size_t k = 0; k < s->args.n; k++) {
		size_t len = strcspn(s->args.v[k], "=");
		cleanup_free char *pair = hoy_asprintf(" %s ", s->args.v[k]);

		if (pair && strstr(now, pair) && !strstr(old, pair))
			return hoy_asprintf("the argument %.*s", (int)len, s->args.v[k]);
	}
	return strdup("the arguments");
}

static char *other_run(const struct state *s, const char *now, const char *old)
{
	const char *a = strstr(now, "/bin/sh -c "), *b = strstr(old, "/bin/sh -c ");

	if (a && b && !strcmp(a, b))
		return other_argument(s, now, old);
	return strdup(a && b && !strncmp(a, b, strcspn(a, "\n:|")) ? "here-documents, mounts or options" : "the command");
}

/* "... COPY file:SUM in DEST OPTIONS" */
static char *other_copy(const struct cf_instr *i, const char *now, const char *old)
{
	const char *a = strchr(now, ':'), *b = strchr(old, ':');
	size_t n = a ? strcspn(a, " ") : 0, m = b ? strcspn(b, " ") : 0;
	cleanup_buf struct hoy_buf names = HOY_BUF_INIT(1 << 20);

	for (size_t k = 0; k + 1 < i->args.n; k++)
		hoy_buf_printf(&names, "%s'%s'", k ? ", " : "", i->args.v[k]);
	if (!a || !b || n != m || strncmp(a, b, n))
		return hoy_asprintf("the content of %s", hoy_buf_str(&names));
	return strdup(strncmp(a + n, b + m, strcspn(a + n + 4, " ") + 5) ? "the destination" : "the options of the build");
}

static char *reason(const struct state *s, const struct cf_instr *i, const char *by, const struct candidate *c)
{
	cleanup_free char *what = NULL;

	if (c->like < 2)
		return hoy_asprintf("no %s was built on %.12s yet", i->word, *s->image ? s->image : "scratch");
	if (c->like == 3)
		return strdup(c->why);
	what = !strcmp(i->word, "RUN")			      ? other_run(s, by ?: "", c->by) :
	       !strcmp(i->word, "COPY") || !strcmp(i->word, "ADD") ? other_copy(i, by ?: "", c->by) :
							     strdup("the instruction's text");
	return what ? hoy_asprintf("%s changed", what) : NULL;
}

void explain_miss(const struct state *s, const struct cf_instr *i, const char *by, bool layer)
{
	struct candidate c = { 0 };
	cleanup_free char *why = NULL, *line = NULL;

	if (!s->b->o->explain_cache)
		return;
	for (struct hoy_json *rec = s->missed || stage_no_cache(s) ? NULL : hoy_image_first(s->b->s); rec; rec = hoy_image_next(s->b->s, rec))
		if (cache_on_top(s, rec, layer))
			consider(s, i, by, layer, rec, &c);
	why = stage_no_cache(s) ? strdup("--no-cache") : s->missed ? strdup("the step before it is new") : reason(s, i, by, &c);
	line = hoy_asprintf("--> Not in the cache: %s", why ?: "?");
	say_line(s, "miss", line ?: "");
	free(c.by);
}
