/* cmd-build/handover.c: buildah's verbs that hoy-image has: the command line goes on to it, put into its words where they differ. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "cmd-build/ctr.h"
#include "cmd-build/verbs.h"
#include "common/base/msg.h"
#include "common/cli/call.h"
#include "common/cli/template.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/proc/sibling.h"
#include "common/store/images.h"

/* Become hoy-image with WORDS behind our global options. */
static int become(struct hoy_strv *words)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r;

	hoy_strv_push(&argv, "hoy-image");
	hoy_globals_argv(&argv);
	for (size_t i = 0; i < words->n; i++)
		hoy_strv_push(&argv, words->v[i]);
	fflush(stdout);
	r = argv.error || words->error ? -ENOMEM : hoy_exec_sibling("hoy-image", argv.v);
	hoy_error("cannot run hoy-image: %s", hoy_strerror(-r));
	return 125;
}

static char **whole_argv;

void handover_remember(char **argv) { whole_argv = argv; }

/* Completion: hoy-image knows the options. */
static int complete(void)
{
	int r = whole_argv ? hoy_exec_sibling("hoy-image", whole_argv) : -EINVAL;

	hoy_error("cannot run hoy-image: %s", hoy_strerror(-r));
	return 125;
}

/* V's own words, and what stands behind them. */
static void push_words(const struct hoy_verb *v, int argc, char **argv, struct hoy_strv *words)
{
	hoy_strv_split(words, v->name, ' ');
	for (int i = 1; i < argc; i++)
		hoy_strv_push(words, argv[i]);
}

static int hand_over(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	if (!argc)
		return complete();
	push_words(v, argc, argv, &words);
	return become(&words);
}

/* buildah pulls what is missing alone. */
static int run_pull(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	if (!argc)
		return complete();
	hoy_strv_push(&words, "pull");
	hoy_strv_push(&words, "--policy=missing");
	for (int i = 1; i < argc; i++)
		hoy_strv_push(&words, !strcmp(argv[i], "--policy=ifnewer") ? "--policy=newer" : argv[i]);
	return become(&words);
}

#define HANDED(name_, text, synopsis_, run_) \
	{ .name = name_, .summary = text, .synopsis = synopsis_, .run = run_, .flags = HOY_VERB_COMMAND | HOY_VERB_ELSEWHERE }
const struct hoy_verb verbs_over[] = {
	HANDED("tag", "Give an image more names", "IMAGE NAME [NAME...]", hand_over),
	HANDED("pull", "Pull an image from a registry", "[options] IMAGE", run_pull),
	HANDED("push", "Push an image to a registry, or wherever a transport leads", "[options] IMAGE [DESTINATION]", hand_over),
	HANDED("login", "Log in to a registry", "[options] REGISTRY", hand_over),
	HANDED("logout", "Log out of a registry", "[options] [REGISTRY]", hand_over),
	HANDED("manifest add", "Add images to a list", "[options] LIST IMAGE", hand_over),
	HANDED("manifest annotate", "Say more of an image in a list", "[options] LIST IMAGE", hand_over),
	HANDED("manifest create", "Make a list of images", "[options] LIST [IMAGE...]", hand_over),
	HANDED("manifest exists", "Is there such a list? Exit status 0 or 1", "LIST", hand_over),
	HANDED("manifest inspect", "Print a list", "[options] LIST", hand_over),
	HANDED("manifest push", "Push a list and its images", "[options] LIST DESTINATION", hand_over),
	HANDED("manifest remove", "Take an image out of a list", "LIST DIGEST", hand_over),
	HANDED("manifest rm", "Remove lists", "LIST...", hand_over),
};
/* ---- images ---- */

static void put_json_image(struct hoy_jw *w, const struct hoy_json *i)
{
	int64_t at = hoy_json_time(i, "CreatedAt");
	char human[HOY_TIME_SIZE], size[32], ago[HOY_TIME_SIZE + 8];

	snprintf(ago, sizeof(ago), "%s ago", hoy_time_human(hoy_now() - at, human));
	hoy_jw_object(w, NULL);
	hoy_jw_stringn(w, "id", hoy_json_str(i, "Id") ?: "", hoy_json_str(i, "Id") ? 12 : 0);
	hoy_jw_value(w, "names", hoy_json_get(i, "Names"));
	hoy_jw_string(w, "digest", hoy_json_str(i, "Digest"));
	hoy_jw_string(w, "createdat", ago);
	hoy_jw_string(w, "size", hoy_size_human(hoy_json_int(i, "Size", 0), size));
	hoy_jw_int(w, "created", hoy_json_int(i, "Created", 0));
	hoy_jw_string(w, "createdatraw", hoy_json_str(i, "CreatedAt"));
	hoy_jw_bool(w, "readonly", hoy_json_bool(i, "ReadOnly", false));
	hoy_jw_null(w, "history");
	hoy_jw_end_object(w);
}

/* What hoy-image lists as podman's JSON, as buildah's. */
static int print_json(const struct hoy_strv *words)
{
	cleanup_buf struct hoy_buf in = HOY_BUF_INIT(HOY_BUF_OURS), out = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_strv struct hoy_strv seen = HOY_STRV_INIT;
	struct hoy_jw w = hoy_jw_on(&out, "    ");
	int status = words->error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)words->v, &in);

	if (status < 0)
		hoy_error("cannot run hoy-image: %s", hoy_strerror(-status));
	if (status)
		return status < 0 ? 125 : status;
	if (hoy_json_parse(&d, in.data, in.len, "images", &err) < 0)
		return hoy_report(&err, 125);
	hoy_jw_array(&w, NULL);
	/* podman has one for each name. */
	HOY_JSON_EACH(i, d.root) {
		if (hoy_strv_has(&seen, hoy_json_str(i, "Id") ?: ""))
			continue;
		hoy_strv_push(&seen, hoy_json_str(i, "Id") ?: "");
		put_json_image(&w, i);
	}
	hoy_jw_end_array(&w);
	puts(d.root->count ? hoy_buf_str(&out) : "null");
	return 0;
}

static int run_images(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	bool json = false;

	if (!argc)
		return complete();
	hoy_strv_push(&words, "images");
	for (int i = 1; i < argc; i++) {
		bool is = !strcmp(argv[i], "--json");

		json = json || is;
		hoy_strv_push(&words, is ? "--format=json" : argv[i]);
	}
	return json ? print_json(&words) : become(&words);
}
const struct hoy_verb verb_images = HANDED("images", "List images", "[options] [IMAGE]", run_images);

/* ---- rmi, prune ---- */

/* What hoy-image says of each name and image that went, in buildah's words. */
static int call_and_tell(const struct hoy_strv *words)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	int status = words->error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)words->v, &out);

	hoy_strv_split(&lines, hoy_buf_str(&out), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		if (!strncmp(lines.v[i], "Untagged: ", 10))
			printf("untagged: %s\n", lines.v[i] + 10);
		else if (!strncmp(lines.v[i], "Deleted: ", 9))
			puts(lines.v[i] + 9);
		else if (*lines.v[i])
			puts(lines.v[i]);
	}
	if (status < 0)
		hoy_error("cannot run hoy-image: %s", hoy_strerror(-status));
	return status ? 125 : 0;
}

struct rmi_opts {
	bool all, force, prune;
};
static const struct hoy_opt rmi_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct rmi_opts, all), NULL, "remove all images" },
	{ 'f', "force", HOY_OPT_FLAG, offsetof(struct rmi_opts, force), NULL, "remove names and containers that are in the way" },
	{ 'p', "prune", HOY_OPT_FLAG, offsetof(struct rmi_opts, prune), NULL, "remove images without a name" },
	HOY_OPTS_END,
};

static int run_rmi(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct rmi_opts o = { 0 };
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	if (!n && !o.all && !o.prune) {
		hoy_error("image name or ID must be specified");
		return 125;
	}
	if (n && (o.all || o.prune)) {
		hoy_error("when using the --%s switch, you may not pass any images names or IDs", o.all ? "all" : "prune");
		return 125;
	}
	if (o.prune) {
		hoy_strv_push(&words, "image");
		hoy_strv_push(&words, "prune");
		hoy_strv_push(&words, "-f");
		return call_and_tell(&words);
	}
	hoy_strv_push(&words, "rmi");
	if (o.all)
		hoy_strv_push(&words, "--all");
	if (o.force)
		hoy_strv_push(&words, "--force");
	for (int i = 1; i <= n; i++)
		hoy_strv_push(&words, argv[i]);
	return call_and_tell(&words);
}
const struct hoy_verb verb_rmi = { "rmi", "[options] IMAGE...", "Remove images", rmi_opts, run_rmi, HOY_VERB_COMMAND };

struct prune_opts {
	bool all, force;
	struct hoy_strv filters;
	const char *max_used, *reserved, *min_free;
};
static const struct hoy_opt prune_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, offsetof(struct prune_opts, all), NULL, "remove all images that no container uses" },
	{ 0, "filter", HOY_OPT_LIST, offsetof(struct prune_opts, filters), "KEY=VALUE", "with a size: what builds have used since until=TIME stays" },
	{ 'f', "force", HOY_OPT_FLAG, offsetof(struct prune_opts, force), NULL, "remove working containers, too, that use them" },
	{ 0, "keep-storage", HOY_OPT_STRING, offsetof(struct prune_opts, reserved), "SIZE", "--reserved-space" },
	{ 0, "max-used-space", HOY_OPT_STRING, offsetof(struct prune_opts, max_used), "SIZE", "remove what builds have not used for longest, until their cache takes no more" },
	{ 0, "min-free-space", HOY_OPT_STRING, offsetof(struct prune_opts, min_free), "SIZE", "the same, until so much of the disk is free" },
	{ 0, "reserved-space", HOY_OPT_STRING, offsetof(struct prune_opts, reserved), "SIZE", "leave the cache so much in any case" },
	HOY_OPTS_END,
};

static void push_pair(struct hoy_strv *words, const char *option, const char *value)
{
	if (value)
		hoy_strv_pushf(words, "--%s=%s", option, value);
}

static int run_prune(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct prune_opts o = { .filters = HOY_STRV_INIT };
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);
	bool bounded = o.max_used || o.reserved || o.min_free;

	if (n < 0)
		return status;
	hoy_strv_push(&words, "image");
	hoy_strv_push(&words, "prune");
	hoy_strv_push(&words, "-f");
	if (o.all)
		hoy_strv_push(&words, "-a");
	if (!bounded)
		hoy_strv_push(&words, "--build-cache");
	if (o.force && !bounded)
		hoy_strv_push(&words, "--external");
	push_pair(&words, "max-used-space", o.max_used);
	push_pair(&words, "reserved-space", o.reserved);
	push_pair(&words, "min-free-space", o.min_free);
	for (size_t i = 0; i < o.filters.n; i++)
		push_pair(&words, "filter", o.filters.v[i]);
	hoy_strv_release(&o.filters);
	return call_and_tell(&words);
}
const struct hoy_verb verb_prune = { "prune", "[options]", "Remove images that nobody needs", prune_opts, run_prune, 0 };

/* ---- version ---- */

struct version_opts {
	bool json;
};
static const struct hoy_opt version_opts[] = {
	{ 0, "json", HOY_OPT_FLAG, offsetof(struct version_opts, json), NULL, "print JSON" },
	HOY_OPTS_END,
};

static const char *arch_here(void)
{
	static struct utsname u;

	uname(&u);
	return !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine;
}

static int run_version(const struct hoy_verb *v, int argc, char **argv)
{
	struct version_opts o = { 0 };
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	if (o.json)
		printf("{\n    \"version\": \"%s\",\n    \"imageSpec\": \"1.1.1\",\n    \"runtimeSpec\": \"1.2.1\",\n    \"osArch\": \"linux/%s\"\n}\n",
		       LIKE_BUILDAH, arch_here());
	else
		printf("Version:         %s\nImage Spec:      1.1.1\nRuntime Spec:    1.2.1\nhoy Version:     %s\nOS/Arch:         linux/%s\n", LIKE_BUILDAH,
		       HOY_VERSION, arch_here());
	return 0;
}
const struct hoy_verb verb_version = { "version", "[options]", "Print the version", version_opts, run_version, HOY_VERB_OUTSIDE };

/* ---- info ---- */

struct info_opts {
	const char *format;
	bool debug;
};
static const struct hoy_opt info_opts[] = {
	{ 'd', "debug", HOY_OPT_FLAG, offsetof(struct info_opts, debug), NULL, "more, of the tool itself" },
	{ 0, "format", HOY_OPT_STRING, offsetof(struct info_opts, format), "TEMPLATE", "a Go template" },
	HOY_OPTS_END,
};

static void put_host(struct hoy_jw *w, bool rootless)
{
	struct sysinfo si;
	struct utsname u;

	uname(&u);
	sysinfo(&si);
	hoy_jw_object(w, "host");
	hoy_jw_int(w, "MemFree", (int64_t)si.freeram * si.mem_unit);
	hoy_jw_int(w, "MemTotal", (int64_t)si.totalram * si.mem_unit);
	hoy_jw_string(w, "OCIRuntime", hoy_globals.runtime ?: "hoy-runtime");
	hoy_jw_int(w, "SwapFree", (int64_t)si.freeswap * si.mem_unit);
	hoy_jw_int(w, "SwapTotal", (int64_t)si.totalswap * si.mem_unit);
	hoy_jw_string(w, "arch", arch_here());
	hoy_jw_int(w, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
	hoy_jw_string(w, "hostname", u.nodename);
	hoy_jw_string(w, "kernel", u.release);
	hoy_jw_string(w, "os", "linux");
	hoy_jw_bool(w, "rootless", rootless);
	hoy_jw_end_object(w);
}

static void put_count(struct hoy_jw *w, const char *key, int64_t n)
{
	hoy_jw_object(w, key);
	hoy_jw_int(w, "number", n);
	hoy_jw_end_object(w);
}

static void put_store(struct hoy_jw *w, const struct hoy_store *s)
{
	int64_t ctrs = 0, images = 0;

	for (struct hoy_json *r = hoy_first(s->ctrs); r; r = hoy_next(s->ctrs, r))
		ctrs++;
	for (struct hoy_json *r = hoy_image_first(s); r; r = hoy_image_next(s, r))
		images++;
	hoy_jw_object(w, "store");
	put_count(w, "ContainerStore", ctrs);
	hoy_jw_string(w, "GraphDriverName", s->conf.driver);
	hoy_jw_string(w, "GraphRoot", s->conf.graphroot);
	hoy_jw_bool(w, "GraphTransientStore", s->conf.transient);
	put_count(w, "ImageStore", images);
	hoy_jw_string(w, "RunRoot", s->conf.runroot);
	hoy_jw_end_object(w);
}

static int print_info(struct ctr *c, const struct info_opts *o)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20), text = HOY_BUF_INIT(1 << 20);
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	struct hoy_jw w = hoy_jw_on(&out, "    ");
	struct hoy_template *t = NULL;
	int r = 0;

	hoy_jw_object(&w, NULL);
	if (o->debug) {
		hoy_jw_object(&w, "debug");
		hoy_jw_string(&w, "buildah version", LIKE_BUILDAH);
		hoy_jw_string(&w, "hoy version", HOY_VERSION);
		hoy_jw_end_object(&w);
	}
	put_host(&w, c->b.s->rootless);
	put_store(&w, c->b.s);
	hoy_jw_end_object(&w);
	if (!o->format) {
		puts(hoy_buf_str(&out));
		return 0;
	}
	r = hoy_json_parse(&d, out.data, out.len, "info", &c->b.err);
	if (!r)
		r = hoy_template_new(&t, o->format, &c->b.err);
	if (!r)
		r = hoy_template_eval(t, d.root, &text, &c->b.err);
	hoy_template_free(t);
	if (!r)
		puts(hoy_buf_str(&text));
	return r;
}

static int run_info(const struct hoy_verb *v, int argc, char **argv)
{
	struct info_opts o = { 0 };
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	r = ctr_open_store(&c);
	if (!r)
		r = hoy_store_peek(c.b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c.b.err);
	if (!r)
		r = print_info(&c, &o);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_info = { "info", "[options]", "Show what is worked with here", info_opts, run_info, 0 };
