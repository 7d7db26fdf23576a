/* cmd-build/main.c: hoy-build: the command line, and what is read before anything is built. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/input.h"
#include "cmd-build/lease.h"
#include "cmd-build/limit.h"
#include "cmd-build/mounts.h"
#include "cmd-build/srcpolicy.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/base/msg.h"

/* Those of --build-arg that no ARG asked for. */
static void warn_unused(const struct build *b)
{
	cleanup_buf struct hoy_buf list = HOY_BUF_INIT(1 << 16);

	for (size_t i = 0; i < b->given.n; i++) {
		size_t len = strcspn(b->given.v[i], "=");
		cleanup_free char *key = strndup(b->given.v[i], len);

		if (key && !hoy_strv_has(&b->used, key) && !(len > 6 && !strcasecmp(key + len - 6, "_proxy")))
			hoy_buf_printf(&list, "%s%s", list.len ? " " : "", key);
	}
	if (list.len)
		hoy_warning("one or more build args were not consumed: [%s]", list.data);
}

static void build_release(struct build *b)
{
	options_release(b->o);
	hoy_strv_release(&b->given);
	hoy_strv_release(&b->used);
	hoy_strv_release(&b->cache_from);
	hoy_strv_release(&b->cache_to);
	free(b->ignore);
	free(b->pushed);
	hoy_json_release(&b->policy);
	input_release(b);
	cfile_release(&b->f);
	hoy_store_free(b->s);
}

static int run_build(const struct hoy_verb *v, int argc, char **argv)
{
	struct build_opts o;
	struct build b = { .o = &o, .f = CFILE_INIT, .out = -1, .told = { -1, -1 }, .err = HOY_ERR_INIT };
	int status, r, n;

	options_init(&o);
	n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);
	if (n < 0)
		return status;
	r = options_take(&b);
	if (!r)
		r = input_context(&b, n ? argv[1] : NULL);
	if (!r)
		r = input_args(&b);
	if (!r)
		r = input_contexts(&b);
	if (!r)
		r = options_times(&b);
	if (!r)
		r = secrets_check(&b);
	if (!r)
		r = srcpolicy_load(&b);
	if (!r)
		r = input_file(&b);
	if (!r)
		r = input_ignore(&b);
	if (!r)
		r = hoy_store_open(&b.s, &hoy_globals.storage, 0, &b.err);
	if (!r)
		lease_collect(b.s);
	if (!r && b.inputs)
		r = lease_take(b.s, LEASE_DIR, b.inputs, &b.err);
	/* What is made for an image has the same mode whoever makes it. */
	umask(022);
	catch_signals();
	if (!r)
		r = log_begin(&b);
	if (!r)
		r = build_all(&b);
	if (!r)
		warn_unused(&b);
	log_end(&b);
	/* Without a sentence of ours, the tool that failed has said it. */
	if (r < 0 && b.err.code)
		hoy_report(&b.err, 0);
	build_release(&b);
	fflush(stdout);
	if (!r)
		limit_cache();
	return hoy_finish_stdout(!r ? 0 : b.status ?: 125);
}
const struct hoy_verb verb_build = { "build", "[options] [CONTEXT]", "Build an image from a Containerfile", build_options, run_build, 0 };
const struct hoy_verb verb_bud = { "bud", "[options] [CONTEXT]", NULL, build_options, run_build, 0 };
static const struct hoy_verb verb_long = { "build-using-dockerfile", "[options] [CONTEXT]", NULL, build_options, run_build, 0 };

int main(int argc, char **argv)
{
	static const struct hoy_verb *const verbs[] = { &verb_build, &verb_bud, &verb_long, BUILDAH_VERBS NULL };

	/* (Parsing moves the words of argv about, but nobody parses behind this one.) */
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		handover_remember(argv);
	hoy_own_globals = userns_globals;
	return hoy_tool_main("hoy-build", "Images from Containerfiles", verbs, argc, argv);
}
