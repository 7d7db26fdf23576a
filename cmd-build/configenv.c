/* cmd-build/configenv.c: `config --env`: variables, in whose values those that are there count. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/configverb.h"
#include "cmd-build/subst.h"
#include "common/base/buf.h"
#include "common/base/msg.h"

static int oom(struct config *g) { return hoy_fail_oom(&g->c.b.err); }

/* "VALUE" with $NAME and ${NAME} replaced by what the container's environment has. */
static int expand(struct config *g, const char *value, struct hoy_buf *ret)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;

	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(&g->c), "Env"))
		hoy_strv_push(&env, hoy_json_text(e) ?: "");
	for (const char *s = value; *s;) {
		const char *name = s + 1 + (s[1] == '{');
		size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
		cleanup_free char *key = NULL;
		const char *got;

		if (*s != '$' || !len || (s[1] == '{' && name[len] != '}')) {
			hoy_buf_putc(ret, *s++);
			continue;
		}
		key = strndup(name, len);
		got = key ? hoy_env_get(&env, key) : NULL;
		if (key && !got)
			hoy_error("error expanding variable \"%s\": no value set in configuration", key);
		hoy_buf_puts(ret, got ?: key ?: "");
		s = name + len + (s[1] == '{');
	}
	return ret->error || env.error ? oom(g) : 0;
}

static int change_env(struct config *g, const char *spec)
{
	cleanup_buf struct hoy_buf value = HOY_BUF_INIT(1 << 20);
	cleanup_strv struct hoy_strv none = HOY_STRV_INIT;
	const char *eq = strchr(spec, '=');
	size_t len = eq ? (size_t)(eq - spec) : strlen(spec);
	bool off = !eq && len && spec[len - 1] == '-';
	cleanup_free char *key = strndup(spec, len - off);
	int r;

	if (!key)
		return oom(g);
	if (off)
		return *key ? ctr_set_env(&g->c, key, NULL) : ctr_set_list(&g->c, "Env", &none);
	if (!eq && (!getenv(key) || !*getenv(key)))
		return hoy_fail(&g->c.b.err, EINVAL, "setting env \"%s\": no value given", key);
	if (!eq)
		return ctr_set_env(&g->c, key, getenv(key));
	r = expand(g, eq + 1, &value);
	return r ? r : ctr_set_env(&g->c, key, hoy_buf_str(&value));
}

int config_env(struct config *g)
{
	int r = 0;

	for (size_t i = 0; i < g->o.env.n && !r; i++)
		r = change_env(g, g->o.env.v[i]);
	/* (buildah notes an empty ENV where none was given.) */
	return r ? r : config_note_list(g, "ENV", &g->o.env);
}
