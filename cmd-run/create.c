/* cmd-run/create.c: the verbs run and create: image, definition, storage, and off it goes. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/options.h"
#include "common/base/fd.h"
#include "common/cli/prompt.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/proc/sibling.h"
#include "common/store/containers.h"
#include "common/store/images.h"
#include "common/store/layers.h"

/* ---- names ---- */

static const char *const adjectives[] = { "amber", "bold", "brisk", "calm", "clever", "cosy", "crisp", "dapper", "eager", "fair", "fleet",
	"gentle", "glad", "hardy", "hale", "jolly", "keen", "kind", "lively", "lucky", "merry", "mild", "neat", "nimble", "plucky", "proud",
	"quick", "quiet", "ready", "sleek", "smart", "snug", "spry", "steady", "stout", "sunny", "swift", "tidy", "trim", "trusty", "vivid",
	"warm", "wise", "witty", "zesty" };
static const char *const boats[] = { "barge", "barque", "brig", "canoe", "caravel", "carrack", "clipper", "cog", "coracle", "corvette",
	"cutter", "dhow", "dinghy", "dory", "ferry", "frigate", "galleon", "galley", "gig", "gondola", "junk", "kayak", "ketch", "knarr",
	"launch", "longship", "lugger", "packet", "pinnace", "pontoon", "proa", "punt", "sampan", "schooner", "scow", "skiff", "sloop",
	"smack", "tender", "trawler", "tug", "umiak", "wherry", "xebec", "yawl" };

static char *random_name(const struct hoy_store *s)
{
	for (int tries = 0;; tries++) {
		unsigned short r[3] = { 0 };
		char *name;
		bool used = false;

		if (getrandom(r, sizeof(r), 0) < 0)
			return NULL;
		name = tries < 8 ? hoy_asprintf("%s_%s", adjectives[r[0] % ARRAY_SIZE(adjectives)], boats[r[1] % ARRAY_SIZE(boats)]) :
				   hoy_asprintf("%s_%s%u", adjectives[r[0] % ARRAY_SIZE(adjectives)], boats[r[1] % ARRAY_SIZE(boats)], r[2]);
		for (struct hoy_json *c = hoy_first(s->ctrs); name && c && !used; c = hoy_next(s->ctrs, c))
			used = hoy_record_has(c, "names", name);
		if (!used)
			return name;
		free(name);
	}
}

static bool valid_name(const char *s)
{
	return isalnum((unsigned char)*s) &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(s);
}

/* ---- the image ---- */

static void flag(struct hoy_strv *argv, const char *name, const char *value)
{
	if (value)
		hoy_strv_pushf(argv, "--%s=%s", name, value);
}

/* hoy-image pull prints the id; what it has to say goes to our stderr. */
static int pull(const struct create_opts *o, const char *name, const char *policy, char id[65], struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *tool = hoy_sibling("hoy-image");
	int p[2], status;
	ssize_t n;
	pid_t pid;

	hoy_strv_push(&argv, tool ? tool : "hoy-image");
	hoy_globals_argv(&argv);
	hoy_strv_push(&argv, "pull");
	flag(&argv, "policy", policy);
	flag(&argv, "authfile", o->authfile);
	flag(&argv, "creds", o->creds);
	flag(&argv, "platform", o->platform);
	flag(&argv, "arch", o->arch);
	flag(&argv, "os", o->os);
	flag(&argv, "variant", o->variant);
	if (o->tls_verify >= 0)
		flag(&argv, "tls-verify", o->tls_verify ? "true" : "false");
	if (o->quiet)
		hoy_strv_push(&argv, "-q");
	hoy_strv_push(&argv, name);
	if (argv.error || pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_oom(err);
	hoy_prompt_lend(true);
	pid = vfork();
	if (!pid) {
		dup2(p[1], 1);
		execvp(argv.v[0], argv.v);
		_exit(127);
	}
	hoy_prompt_lend(false);
	hoy_close(p[1]);
	n = pid < 0 ? -1 : hoy_read_full(p[0], id, 64);
	id[64] = '\0';
	hoy_close(p[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || status)
		return -HOY_EREMOTE; /* it has told the user why */
	return n == 64 && hoy_is_id(id) ? 0 : hoy_fail(err, HOY_EFORMAT, "hoy-image pull did not print an image id");
}

struct image {
	char id[65], layer[65];
	char *name, *digest;
	struct hoy_json_doc cfg;
};

static void image_release(struct image *i)
{
	free(i->name);
	free(i->digest);
	hoy_json_release(&i->cfg);
}

static bool arch_is(const struct hoy_json *cfg, const char *want)
{
	const char *have = hoy_json_str(cfg, "architecture");

	if (!strcmp(want, "x86_64"))
		want = "amd64";
	if (!strcmp(want, "aarch64"))
		want = "arm64";
	return !have || !strcmp(have, want);
}

static int found_image(struct hoy_store *s, struct hoy_json *rec, const char *arg, const char *matched, struct image *i, struct hoy_err *err)
{
	const char *layer = hoy_json_str(rec, "layer"), *digest = hoy_json_str(rec, "digest");
	const struct hoy_json *names = hoy_json_get(rec, "names");

	snprintf(i->id, sizeof(i->id), "%s", hoy_json_str(rec, "id") ?: "");
	snprintf(i->layer, sizeof(i->layer), "%s", layer ? layer : "");
	i->name = strdup(matched ? matched : names && names->child && hoy_json_text(names->child) ? names->child->str : arg);
	i->digest = strdup(digest ? digest : "");
	return i->name && i->digest ? hoy_image_config(s, rec, &i->cfg, err) : hoy_fail_oom(err);
}

static int get_image(struct hoy_store *s, const struct create_opts *o, const char *arg, struct image *i, struct hoy_err *err)
{
	const char *policy = o->pull ?: hoy_json_str(hoy_json_get(conf(), "engine"), "pull_policy") ?: "missing", *matched = NULL;
	const char *arch = o->platform && strchr(o->platform, '/') ? strchr(o->platform, '/') + 1 : o->arch;
	cleanup_free char *arch_only = arch ? strndup(arch, strcspn(arch, "/")) : NULL;
	struct hoy_json *rec;
	char id[65];
	int r = hoy_store_peek(s, HOY_CONTAINERS | HOY_IMAGES | HOY_LAYERS, err);

	if (r < 0)
		return r;
	if (strcmp(policy, "missing") && strcmp(policy, "always") && strcmp(policy, "newer") && strcmp(policy, "never"))
		return hoy_fail(err, EINVAL, "unsupported pull policy \"%s\"", policy);
	r = hoy_image_find(s, arg, &rec, &matched, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!r && (!strcmp(policy, "missing") || !strcmp(policy, "never") || hoy_is_id(arg))) {
		r = found_image(s, rec, arg, matched, i, err);
		if (r || !arch_only || arch_is(i->cfg.root, arch_only))
			return r;
		image_release(i);
		memset(i, 0, sizeof(*i));
	}
	if (!strcmp(policy, "never"))
		return hoy_fail(err, ENOENT, "%s: image not known", arg);
	r = pull(o, arg, !strcmp(policy, "missing") ? "always" : policy, id, err);
	if (r < 0)
		return r;
	r = hoy_store_peek(s, HOY_CONTAINERS | HOY_IMAGES | HOY_LAYERS, err);
	if (!r && !(rec = hoy_image_get(s, id)))
		r = hoy_fail(err, ENOENT, "image %.12s went away as soon as it was pulled", id);
	if (r < 0)
		return r;
	matched = NULL;
	(void)hoy_image_find(s, arg, &rec, &matched, NULL);
	return found_image(s, hoy_image_get(s, id), arg, matched, i, err);
}

/* ---- storage ---- */

static char *metadata(const struct ctr *c, const struct image *i)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "image-name", i->name);
	hoy_jw_string(&w, "image-id", i->id);
	hoy_jw_string(&w, "name", ctr_name(c));
	hoy_jw_int(&w, "created-at", hoy_now() / HOY_NS);
	hoy_jw_end_object(&w);
	return hoy_buf_steal(&b);
}

/* The ids of its user namespace, and what its layer stands on because of them. */
static int mapped_parent(struct ctr *c, const struct image *i, struct hoy_idmaps *maps, char parent[HOY_ID_SIZE], struct hoy_err *err)
{
	struct hoy_json *rec = hoy_image_get(c->s, i->id);
	int r = ctr_choose_ids(c, rec, maps, err);

	snprintf(parent, HOY_ID_SIZE, "%s", i->layer);
	if (!r && rec && !hoy_idmaps_empty(maps))
		r = hoy_shift_parent(c->s, rec, maps, parent, err);
	return r < 0 ? hoy_fail_prefix(err, "creating container storage") : 0;
}

/* Layer and record, under one lock. The image may have gone since we looked. */
static int make_storage(struct ctr *c, const struct image *i, bool vol, struct hoy_err *err)
{
	cleanup_free char *lname = hoy_asprintf("%s-layer", ctr_name(c)), *meta = metadata(c, i);
	const char *layer = hoy_json_str(c->def.root, "layer");
	bool userns = ctr_has_userns(c);
	struct hoy_idmaps maps = { 0 };
	struct hoy_layer_rw rw = { .id = layer, .parent = *i->layer ? i->layer : NULL, .name = lname, .vol = vol };
	struct hoy_container_new n = { .id = c->id, .name = ctr_name(c), .image = i->id, .layer = layer, .metadata = meta, .vol = vol };
	struct hoy_lock one = HOY_LOCK_INIT;
	char parent[HOY_ID_SIZE];
	int r;

	if (!lname || !meta)
		return hoy_fail_oom(err);
	r = userns ? hoy_shift_lock(c->s, &one, err) : 0;
	if (!r)
		r = hoy_store_lock(c->s, userns ? 0 : HOY_IMAGES, HOY_LAYERS | HOY_CONTAINERS | (userns ? HOY_IMAGES : 0), err);
	if (r < 0) {
		hoy_lock_close(&one);
		return r;
	}
	for (struct hoy_json *k = hoy_first(c->s->ctrs); k && !r; k = hoy_next(c->s->ctrs, k))
		if (hoy_record_has(k, "names", ctr_name(c)))
			r = hoy_fail(err, EEXIST,
				     "creating container storage: the container name \"%s\" is already in use by %s. You have to remove that "
				     "container to be able to reuse that name: that name is already in use, or use --replace to instruct hoy "
				     "to do so.", ctr_name(c), hoy_json_str(k, "id"));
	if (!r && *i->id && !hoy_image_get(c->s, i->id))
		r = hoy_fail(err, ENOENT, "image %.12s was removed meanwhile: image not known", i->id);
	if (!r && userns) {
		r = mapped_parent(c, i, &maps, parent, err);
		rw.parent = *parent ? parent : NULL;
		rw.maps = n.maps = hoy_idmaps_empty(&maps) ? NULL : &maps;
	}
	if (!r)
		r = hoy_layer_create_rw(c->s, &rw, err);
	if (!r) {
		r = hoy_container_create(c->s, &n, err);
		if (r < 0)
			(void)hoy_layer_delete(c->s, layer, NULL);
	}
	hoy_store_unlock(c->s);
	hoy_lock_close(&one);
	return !r && userns ? ctr_save_def(c, err) : r; /* its ids may have been chosen now */
}

/* The words that made it, as the user typed them: of this process, or of the door that it was. */
static void create_command(struct ctr *c)
{
	struct hoy_json *arr = hoy_json_need(&c->def, c->def.root, "createCommand", HOY_JSON_ARRAY);
	cleanup_free char *data = NULL;
	size_t len = 0;

	if (hoy_read_file(AT_FDCWD, "/proc/self/cmdline", 1 << 20, &data, &len, NULL) < 0)
		return;
	for (const char *p = data; p < data + len; p += strlen(p) + 1)
		hoy_json_set_string(&c->def, arr, NULL, p == data && getenv("_HOY_DOOR") ? "hoy" : p);
}

/* What ps shows, at most 1 KiB: longer words are cut, which only a template for the full command can see. */
static void fill_state(struct ctr *c, const struct image *i, const char *now)
{
	struct hoy_json *list;

	hoy_json_set_string(&c->state, c->state.root, "id", c->id);
	hoy_json_set_string(&c->state, c->state.root, "image", i->id);
	hoy_json_set_string(&c->state, c->state.root, "imageName", i->name ? i->name : "");
	hoy_json_set_string(&c->state, c->state.root, "created", now);
	hoy_json_set_string(&c->state, c->state.root, "status", "created");
	hoy_json_set_int(&c->state, c->state.root, "exitCode", 0);
	if (hoy_json_bool(c->def.root, "rm", false))
		hoy_json_set_bool(&c->state, c->state.root, "rm", true);
	list = hoy_json_need(&c->state, c->state.root, "command", HOY_JSON_ARRAY);
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "args")) {
		cleanup_free char *cut = strndup(it->str, 64);

		if (list && cut && list->count < 8)
			hoy_json_set_string(&c->state, list, NULL, cut);
	}
	if (hoy_json_get(c->def.root, "ports"))
		hoy_json_put(&c->state, c->state.root, "ports", hoy_json_copy(&c->state, hoy_json_get(c->def.root, "ports")));
	if (hoy_json_get(c->def.root, "expose") && hoy_json_get(c->def.root, "expose")->child)
		hoy_json_put(&c->state, c->state.root, "expose", hoy_json_copy(&c->state, hoy_json_get(c->def.root, "expose")));
	hoy_json_set_string(&c->state, c->state.root, "network", hoy_json_str(c->def.root, "network") ?: "");
}

static int replace_old(struct hoy_store *s, const char *name, struct hoy_err *err)
{
	cleanup_ctr struct ctr old = CTR_INIT;
	int r = ctr_open(&old, s, name, err);

	if (r == -ENOENT)
		return 0;
	if (!r)
		r = ctr_lock(&old, err);
	if (!r && ctr_pid(&old))
		r = ctr_stop(&old, 0, err);
	if (!r)
		r = ctr_cleanup(&old, err);
	return r ? r : ctr_remove(&old, true, err);
}

static int check_cidfile(const char *path, struct hoy_err *err)
{
	return path && hoy_exists(AT_FDCWD, path) ? hoy_fail(err, EEXIST, "container id file exists. Ensure another container is not using it or "
							     "delete %s", path) : 0;
}

static int set_name(struct ctr *c, const char *name)
{
	return name && hoy_json_set_string(&c->state, c->state.root, "name", name) && hoy_json_set_string(&c->def, c->def.root, "name", name) ?
	       0 : -ENOMEM;
}

static int name_and_id(struct ctr *c, struct hoy_store *s, const struct create_opts *o, struct hoy_err *err)
{
	char id[65], layer[65];
	cleanup_free char *name = NULL;
	int r;

	if (o->name && !valid_name(o->name))
		return hoy_fail(err, EINVAL, "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument");
	name = o->name ? strdup(o->name) : random_name(s);
	if (!name || hoy_random_id(id) < 0 || hoy_random_id(layer) < 0)
		return hoy_fail_oom(err);
	r = ctr_new(c, s, id, err);
	if (r < 0)
		return r;
	if (set_name(c, name) < 0 || !hoy_json_set_string(&c->def, c->def.root, "layer", layer))
		return hoy_fail_oom(err);
	return 0;
}

static int define_all(struct ctr *c, const struct create_opts *o, const struct image *i, char **words, struct hoy_err *err)
{
	cleanup_free char *runtime = hoy_globals.runtime ? runtime_path(hoy_globals.runtime) : NULL;
	char now[HOY_TIME_SIZE];

	hoy_time_format(hoy_now(), now);
	hoy_json_set_string(&c->def, c->def.root, "id", c->id);
	hoy_json_set_string(&c->def, c->def.root, "created", now);
	hoy_json_set_string(&c->def, c->def.root, "image", i->id);
	hoy_json_set_string(&c->def, c->def.root, "imageName", i->name ? i->name : "");
	hoy_json_set_string(&c->def, c->def.root, "imageDigest", i->digest ? i->digest : "");
	if (runtime)
		hoy_json_set_string(&c->def, c->def.root, "runtime", runtime);
	create_command(c);
	if (define(c, o, words, hoy_json_get(i->cfg.root, "config"), err) < 0)
		return -err->code;
	fill_state(c, i, now);
	return o->once && o->rm && !hoy_json_set_bool(&c->state, c->state.root, "once", true) ? hoy_fail_oom(err) : 0;
}

/* The container of --rootfs: its record has no image and a layer on nothing, so that its name is taken. */
static int rootfs_image(struct ctr *c, struct image *i, const char *path, struct hoy_err *err)
{
	cleanup_free char *real = realpath(path, NULL);

	if (!real)
		return hoy_fail_errno(err, errno, "cannot use the root file system '%s'", path);
	i->name = strdup("");
	i->digest = strdup("");
	return hoy_json_set_string(&c->def, c->def.root, "rootfs", real) ? 0 : hoy_fail_oom(err);
}

/* Our files, then the store's. A name of our own choice that somebody took meanwhile is drawn again. */
static int make_files(struct ctr *c, const struct image *i, const struct create_opts *o, struct hoy_err *err)
{
	for (int tries = 0;; tries++) {
		cleanup_free char *name = NULL;
		int r = ctr_save_def(c, err);

		if (!r)
			r = ctr_save_state(c, err);
		volumes_named();
		if (!r)
			r = make_storage(c, i, o->rm, err);
		if (r != -EEXIST || tries == (o->name ? 1 : 16))
			return r;
		if (o->name) { /* perhaps one has it that should be gone */
			reconcile(c->s);
			continue;
		}
		name = random_name(c->s);
		if (set_name(c, name) < 0)
			return hoy_fail_oom(err);
	}
}

/* On a full disk the layer of what could not be made may be there to stay; its definition leads reconcile() to it. */
static bool layer_stays(struct ctr *c)
{
	const char *layer = hoy_json_str(c->def.root, "layer");

	return layer && !hoy_store_peek(c->s, HOY_LAYERS, NULL) && hoy_layer_get(c->s, layer);
}

static int create(struct ctr *c, struct hoy_store *s, const struct create_opts *o, char **args, struct hoy_err *err)
{
	struct image img = { .cfg = HOY_JSON_DOC_INIT };
	int r = check_cidfile(o->cidfile, err);

	if (!r && o->replace && !o->name)
		r = hoy_fail(err, EINVAL, "cannot replace container without --name being set");
	if (!r && o->replace)
		r = replace_old(s, o->name, err);
	if (!r && !o->rootfs)
		r = get_image(s, o, args[0], &img, err);
	if (!r)
		r = name_and_id(c, s, o, err);
	if (!r && o->rootfs)
		r = rootfs_image(c, &img, args[0], err);
	if (!r)
		r = define_all(c, o, &img, args + 1, err);
	if (!r)
		r = make_files(c, &img, o, err);
	if (!r && o->cidfile && (r = hoy_replace_file(AT_FDCWD, o->cidfile, c->id, 64, 0644, false)) < 0)
		hoy_fail_errno(err, -r, "cannot write '%s'", o->cidfile);
	if (r < 0 && c->dir && !layer_stays(c)) {
		hoy_remove_tree(AT_FDCWD, c->dir);
	} else if (!r) {
		event(c, "create", -1);
	}
	image_release(&img);
	return r;
}

static void report_unless_told(int r, const struct hoy_err *err)
{
	if (r == -HOY_EREMOTE && !err->msg[0])
		return; /* the pull has said it all */
	hoy_report(err, 125);
}

static int parse(const struct hoy_verb *v, int argc, char **argv, struct create_opts *o, struct hoy_store **s, int *status)
{
	int n;

	o->sig_proxy = o->read_only_tmpfs = o->http_proxy = o->tls_verify = o->passwd = -1;
	n = hoy_verb_args(v, argc, argv, o, 1, -1, status);
	if (n < 0)
		return n;
	*s = open_store(0);
	*status = 125;
	return *s ? n : -1;
}

static int run_create(const struct hoy_verb *v, int argc, char **argv)
{
	struct create_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	int status = 125, r = parse(v, argc, argv, &o, &s, &status);

	if (r >= 0) {
		r = create(&c, s, &o, argv + 1, &err);
		status = r < 0 ? 125 : 0;
		if (r < 0)
			report_unless_told(r, &err);
		else
			puts(c.id);
	}
	create_opts_release(&o);
	return status;
}

/* -a chooses what we are attached to; nothing given means output, and input with -i. */
static void streams(const struct create_opts *o, struct start_how *how)
{
	bool any = o->attach.n > 0;

	how->attach = !o->detach;
	how->stdin_open = o->interactive && (!any || hoy_strv_has(&o->attach, "stdin"));
}

/* Who gets a terminal of ours could type into it. */
static int check_passthrough(const struct create_opts *o, struct hoy_err *err)
{
	if (o->log_driver && !strcmp(o->log_driver, "passthrough") && (isatty(0) || isatty(1) || isatty(2)))
		return hoy_fail(err, EINVAL, "the '--log-driver passthrough' option cannot be used on a TTY.  If you really want it, use '--log-driver "
				"passthrough-tty'");
	return 0;
}

static int run_run(const struct hoy_verb *v, int argc, char **argv)
{
	struct create_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct start_how how = { 0 };
	int status = 125, code, r;

	r = parse(v, argc, argv, &o, &s, &status);
	if (r >= 0) {
		streams(&o, &how);
		o.once = true;
		how.detach_keys = o.detach_keys;
		how.sig_proxy = o.sig_proxy != 0 && !o.tty;
		how.preserve_fds = (int)o.preserve_fds;
		r = check_passthrough(&o, &err);
		if (!r)
			r = create(&c, s, &o, argv + 1, &err);
		if (r < 0) {
			report_unless_told(r, &err);
			status = 125;
		} else {
			r = ctr_start(&c, &how, &code, &err);
			status = code;
			if (r < 0) {
				hoy_report(&err, status);
				status = status ? status : 125;
				if (o.rm && c.lock.held)
					(void)ctr_remove(&c, true, &err);
			} else if (o.detach) {
				puts(c.id);
			}
		}
	}
	create_opts_release(&o);
	return status;
}

const struct hoy_verb verb_run = { "run", "[options] IMAGE [COMMAND [ARG...]]", "Run a command in a new container", run_options, run_run, true };
/* The table's first entries are about being attached: create has none of them. */
const struct hoy_verb verb_create = { "create", "[options] IMAGE [COMMAND [ARG...]]", "Create a container without starting it",
				      run_options + 5, run_create, true };
