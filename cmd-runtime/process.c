/* The "process" object of config.json and of exec --process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"

static const struct { const char *name; int resource; } rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS }, { "RLIMIT_CORE", RLIMIT_CORE }, { "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA }, { "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK }, { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE }, { "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE }, { "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO }, { "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "RLIMIT_STACK", RLIMIT_STACK },
};

static int parse_strings(const struct hoy_json *list, struct hoy_strv *ret, const char *what, struct hoy_err *err)
{
	HOY_JSON_EACH(s, list) {
		const char *text = hoy_json_text(s);

		if (!text)
			return hoy_fail(err, EINVAL, "%s: not a string", what);
		hoy_strv_push(ret, text);
	}
	return ret->error ? hoy_fail_oom(err) : 0;
}

static int parse_id(const struct hoy_json *obj, const char *key, uint32_t *ret, struct hoy_err *err)
{
	int64_t v = hoy_json_int(obj, key, 0);

	if (v < 0 || v >= UINT32_MAX)
		return hoy_fail(err, EINVAL, "process.user.%s: out of range", key);
	*ret = (uint32_t)v;
	return 0;
}

static int parse_user(struct process *p, const struct hoy_json *user, struct hoy_err *err)
{
	const struct hoy_json *groups = hoy_json_get(user, "additionalGids");

	if (parse_id(user, "uid", &p->uid, err) < 0 || parse_id(user, "gid", &p->gid, err) < 0)
		return -err->code;
	p->umask = (int)hoy_json_int(user, "umask", -1);
	if (!groups || !groups->count)
		return 0;
	p->gids = calloc(groups->count, sizeof(*p->gids));
	if (!p->gids)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(g, groups) {
		uint64_t v;

		if (!hoy_json_uint64(g, &v) || v >= UINT32_MAX)
			return hoy_fail(err, EINVAL, "process.user.additionalGids: out of range");
		p->gids[p->ngids++] = (gid_t)v;
	}
	return 0;
}

static int parse_limit(struct process *p, const struct hoy_json *l, struct hoy_err *err)
{
	const char *type = hoy_json_str(l, "type");
	uint64_t hard = 0, soft = 0;

	for (size_t i = 0; type && i < ARRAY_SIZE(rlimits); i++) {
		if (strcmp(rlimits[i].name, type))
			continue;
		for (size_t k = 0; k < p->nlimits; k++)
			if (p->limits[k].resource == rlimits[i].resource)
				return hoy_fail(err, EINVAL, "process.rlimits: '%s' is there twice", type);
		if (!hoy_json_uint64(hoy_json_get(l, "hard"), &hard) || !hoy_json_uint64(hoy_json_get(l, "soft"), &soft))
			return hoy_fail(err, EINVAL, "process.rlimits: '%s' needs a hard and a soft limit", type);
		p->limits[p->nlimits++] = (struct limit){ rlimits[i].resource, { .rlim_cur = soft, .rlim_max = hard } };
		return 0;
	}
	return hoy_fail(err, EINVAL, "process.rlimits: unknown type '%s'", type ? type : "");
}

static int parse_caps(struct process *p, const struct hoy_json *caps, struct hoy_err *err)
{
	static const char *const sets[] = { "bounding", "effective", "inheritable", "permitted", "ambient" };

	for (int i = 0; i < CAPS_COUNT; i++)
		if (caps_parse(hoy_json_get(caps, sets[i]), &p->caps[i], err) < 0)
			return -err->code;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const char *x = **(char ***)(uintptr_t)a, *y = **(char ***)(uintptr_t)b;
	size_t nx = strcspn(x, "="), ny = strcspn(y, "=");
	int r = memcmp(x, y, nx < ny ? nx : ny);

	return r ? r : nx != ny ? (nx > ny) - (nx < ny) : *(char ***)(uintptr_t)a > *(char ***)(uintptr_t)b ? 1 : -1;
}

/* Of several values the last one counts; what has none is no variable. */
static int tidy_env(struct hoy_strv *env, struct hoy_err *err)
{
	cleanup_free char ***order = calloc(env->n + 1, sizeof(*order));
	size_t kept = 0;

	if (!order)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < env->n; i++)
		order[i] = &env->v[i];
	qsort(order, env->n, sizeof(*order), by_key);
	for (size_t i = 0; i < env->n; i++) {
		const char *s = *order[i], *next = i + 1 < env->n ? *order[i + 1] : "";
		size_t len = strcspn(s, "=") + 1;

		if (!s[len - 1] || !strncmp(s, next, len)) {
			free(*order[i]);
			*order[i] = NULL;
		}
	}
	for (size_t i = 0; i < env->n; i++)
		if (env->v[i])
			env->v[kept++] = env->v[i];
	env->n = kept;
	if (env->v)
		env->v[kept] = NULL;
	return 0;
}

int process_parse(struct process *p, const struct hoy_json *json, struct hoy_err *err)
{
	const struct hoy_json *size = hoy_json_get(json, "consoleSize"), *caps = hoy_json_get(json, "capabilities");
	const struct hoy_json *adj = hoy_json_get(json, "oomScoreAdj");

	p->json = json;
	p->umask = -1;
	p->terminal = hoy_json_bool(json, "terminal", false);
	p->rows = (unsigned)hoy_json_int(size, "height", 0);
	p->cols = (unsigned)hoy_json_int(size, "width", 0);
	p->no_new_privs = hoy_json_bool(json, "noNewPrivileges", false);
	p->cwd = hoy_json_str(json, "cwd");
	p->apparmor = hoy_json_str(json, "apparmorProfile");
	p->selinux = hoy_json_str(json, "selinuxLabel");
	p->scheduler = hoy_json_get(json, "scheduler");
	p->ioprio = hoy_json_get(json, "ioPriority");
	p->cpus_initial = hoy_json_str(hoy_json_get(json, "execCPUAffinity"), "initial");
	p->cpus_final = hoy_json_str(hoy_json_get(json, "execCPUAffinity"), "final");
	p->has_caps = true; /* without any: none */
	p->has_oom = hoy_json_is(adj, HOY_JSON_NUMBER);
	p->oom = (int)hoy_json_int(json, "oomScoreAdj", 0);
	if (!p->cwd || p->cwd[0] != '/')
		return hoy_fail(err, EINVAL, "process.cwd must be an absolute path");
	if (parse_user(p, hoy_json_get(json, "user"), err) < 0 ||
	    parse_strings(hoy_json_get(json, "args"), &p->args, "process.args", err) < 0 ||
	    parse_strings(hoy_json_get(json, "env"), &p->env, "process.env", err) < 0 || tidy_env(&p->env, err) < 0)
		return -err->code;
	HOY_JSON_EACH(l, hoy_json_get(json, "rlimits"))
		if (parse_limit(p, l, err) < 0)
			return -err->code;
	if (hoy_json_is(caps, HOY_JSON_OBJECT) && parse_caps(p, caps, err) < 0)
		return -err->code;
	return 0;
}

void process_release(struct process *p)
{
	hoy_strv_release(&p->args);
	hoy_strv_release(&p->env);
	free(p->gids);
	p->gids = NULL;
}
