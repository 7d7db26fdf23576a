/* cmd-build/confighealth.c: `config --healthcheck`: the check of the image, which docker's form alone has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/configverb.h"
#include "common/base/buf.h"
#include "common/data/time.h"

static int oom(struct config *g) { return hoy_fail_oom(&g->c.b.err); }

static int set_time(struct config *g, struct hoy_json *h, const char *option, const char *key, const char *text, struct hoy_buf *args)
{
	int64_t ns;

	if (!text)
		return 0;
	if (!hoy_duration_parse(text, &ns))
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --healthcheck-%s \"%s\": invalid duration", option, text);
	hoy_buf_printf(args, "--%s=%s ", option, text);
	if (!ns)
		hoy_json_unset(h, key);
	return !ns || hoy_json_set_int(&g->c.d, h, key, ns) ? 0 : oom(g);
}

static int set_retries(struct config *g, struct hoy_json *h, struct hoy_buf *args)
{
	const char *text = g->o.health_retries;
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;

	if (!text)
		return 0;
	if (!*text || *end)
		return hoy_fail(&g->c.b.err, EINVAL, "--healthcheck-retries must be a number, not '%s'", text);
	hoy_buf_printf(args, "--retries=%ld ", n);
	if (!n)
		hoy_json_unset(h, "Retries");
	return !n || hoy_json_set_int(&g->c.d, h, "Retries", n) ? 0 : oom(g);
}

/* What a check has if nobody says more. */
static struct hoy_json *need_health(struct config *g)
{
	struct hoy_json *config = ctr_docker(&g->c), *h = hoy_json_get(config, "Healthcheck"), *test;

	if (hoy_json_is(h, HOY_JSON_OBJECT))
		return h;
	h = config ? hoy_json_put(&g->c.d, config, "Healthcheck", hoy_json_new(&g->c.d, HOY_JSON_OBJECT)) : NULL;
	test = h ? hoy_json_need(&g->c.d, h, "Test", HOY_JSON_ARRAY) : NULL;
	return test && hoy_json_set_string(&g->c.d, test, NULL, "NONE") && hoy_json_set_int(&g->c.d, h, "Interval", 30 * HOY_NS) &&
	       hoy_json_set_int(&g->c.d, h, "Timeout", 30 * HOY_NS) && hoy_json_set_int(&g->c.d, h, "Retries", 3) ? h : NULL;
}

static int set_test(struct config *g, struct hoy_json *h)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct hoy_json *list;

	if (!g->o.health)
		return 0;
	if (shell_words(g->o.health, &words) < 0)
		return hoy_fail(&g->c.b.err, EINVAL, "parsing --healthcheck \"%s\": invalid command line string", g->o.health);
	list = hoy_json_put(&g->c.d, h, "Test", hoy_json_new(&g->c.d, HOY_JSON_ARRAY));
	for (size_t i = 0; list && i < words.n; i++)
		if (!hoy_json_set_string(&g->c.d, list, NULL, words.v[i]))
			list = NULL;
	return list ? 0 : oom(g);
}

/* Its members in the order in which Go writes them. */
static int order_health(struct config *g, const struct hoy_json *h)
{
	static const char *const keys[] = { "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
	struct hoy_json *own = hoy_json_new(&g->c.d, HOY_JSON_OBJECT);

	for (size_t i = 0; own && i < ARRAY_SIZE(keys); i++)
		if (hoy_json_get(h, keys[i]) && !hoy_json_put(&g->c.d, own, keys[i], hoy_json_copy(&g->c.d, hoy_json_get(h, keys[i]))))
			own = NULL;
	return own && hoy_json_put(&g->c.d, ctr_docker(&g->c), "Healthcheck", own) ? 0 : oom(g);
}

int config_health(struct config *g)
{
	const struct config_opts *o = &g->o;
	cleanup_buf struct hoy_buf args = HOY_BUF_INIT(1 << 16);
	struct hoy_json *h;
	int r;

	if (!o->health && !o->health_interval && !o->health_retries && !o->health_start_period && !o->health_timeout && !o->health_start_interval)
		return 0;
	h = need_health(g);
	if (!h)
		return oom(g);
	r = set_test(g, h);
	if (!r)
		r = set_time(g, h, "interval", "Interval", o->health_interval, &args);
	if (!r)
		r = set_retries(g, h, &args);
	if (!r)
		r = set_time(g, h, "start-period", "StartPeriod", o->health_start_period, &args);
	if (!r)
		r = set_time(g, h, "start-interval", "StartInterval", o->health_start_interval, &args);
	if (!r)
		r = set_time(g, h, "timeout", "Timeout", o->health_timeout, &args);
	if (!r)
		r = order_health(g, h);
	if (r < 0)
		return r;
	h = hoy_json_get(ctr_docker(&g->c), "Healthcheck");
	if (!hoy_json_get(h, "Test") || !hoy_json_get(h, "Test")->count) {
		hoy_json_unset(ctr_docker(&g->c), "Healthcheck");
		return config_note(g, "/bin/sh -c #(nop) HEALTHCHECK NONE");
	}
	config_warn_oci(g, "HEALTHCHECK", NULL, "-");
	return config_note(g, "/bin/sh -c #(nop) HEALTHCHECK %s%s", hoy_buf_str(&args), o->health ?: "");
}
