#include "cmd-build/limit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/conf/containers.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/proc/sibling.h"

/* As buildkitd.toml's gcpolicy has them, in the spelling of containers.conf. */
static const struct {
	const char *key, *option;
} sizes[] = {
	{ "max_used_space", "--max-used-space" },
	{ "reserved_space", "--reserved-space" },
	{ "min_free_space", "--min-free-space" },
};

/* *RET_LIMIT: there is one. Words for `image prune`. */
static void read_sizes(const struct hoy_json *table, struct hoy_strv *words, bool *ret_limit)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *text = hoy_json_str(table, sizes[i].key);
		int64_t bytes;

		if (!hoy_json_get(table, sizes[i].key))
			continue;
		if (!hoy_size_parse(text, &bytes)) {
			hoy_warning("containers.conf: build_cache.%s: '%s' is no size, ignoring", sizes[i].key, text ?: "");
			continue;
		}
		hoy_strv_pushf(words, "%s=%s", sizes[i].option, text);
		*ret_limit = true;
	}
}

static void read_duration(const struct hoy_json *table, struct hoy_strv *words)
{
	const char *text = hoy_json_str(table, "keep_duration");
	int64_t ns;

	if (!hoy_json_get(table, "keep_duration"))
		return;
	if (!hoy_duration_parse(text, &ns))
		hoy_warning("containers.conf: build_cache.keep_duration: '%s' is no duration, ignoring", text ?: "");
	else
		hoy_strv_pushf(words, "--filter=until=%s", text);
}

/* No terminal, no pipe that somebody reads to its end, no session that ends. */
static void become(char **argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(125);
	hoy_exec_sibling("hoy-image", argv);
	_exit(125);
}

void limit_cache(void)
{
	cleanup_json struct hoy_json_doc conf = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	const struct hoy_json *table;
	bool limit = false;

	if (hoy_containers_conf_load(&conf, &err) < 0) {
		hoy_warning("%s, ignoring", err.msg);
		return;
	}
	table = hoy_json_get(conf.root, "build_cache");
	if (!table)
		return;
	hoy_strv_push(&words, "hoy-image");
	hoy_globals_argv(&words);
	hoy_strv_push(&words, "image");
	hoy_strv_push(&words, "prune");
	hoy_strv_push(&words, "-f");
	read_sizes(table, &words, &limit);
	read_duration(table, &words);
	if (limit && !words.error && !fork())
		become(words.v);
}
