/* cmd-build/main.c: hoy-build: the command line, and what is read before anything is built. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "cmd-build/runopts.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/base/msg.h"

#define O(field) offsetof(struct build_opts, field)
#define RUN_OPT(k, letter, option, arg, help) { letter, option, HOY_OPT_LIST, O(run_opts) + (k) * sizeof(struct hoy_strv), arg, help }
static const struct hoy_opt build_opts[] = {
	RUN_OPT(0, 0, "add-host", "NAME:IP", "add a line to /etc/hosts"),
	{ 0, "allow", HOY_OPT_LIST, O(allow), "WHAT", "security.insecure: RUN --security=insecure may do all; network.host always may be" },
	{ 0, "annotation", HOY_OPT_LIST, O(annotations), "KEY=VALUE", "add an annotation to the image's manifest" },
	{ 0, "arch", HOY_OPT_STRING, O(arch), "ARCH", "architecture of the image: this machine's" },
	{ 0, "authfile", HOY_OPT_STRING, O(authfile), "FILE", "credentials of registries" },
	{ 0, "build-arg", HOY_OPT_LIST, O(build_args), "KEY=VALUE", "value of an ARG" },
	RUN_OPT(1, 0, "cap-add", "CAP", "give RUN a capability"),
	RUN_OPT(2, 0, "cap-drop", "CAP", "take a capability from RUN"),
	{ 0, "cert-dir", HOY_OPT_STRING, O(cert_dir), "DIR", "certificates of registries" },
	{ 0, "creds", HOY_OPT_STRING, O(creds), "USER[:PASSWORD]", "credentials for the registry" },
	RUN_OPT(3, 0, "device", "DEVICE", "give RUN a device"),
	RUN_OPT(4, 0, "dns", "IP", "DNS server for RUN"),
	RUN_OPT(5, 0, "dns-option", "OPTION", "line for /etc/resolv.conf"),
	RUN_OPT(6, 0, "dns-search", "DOMAIN", "search domain for RUN"),
	{ 'f', "file", HOY_OPT_LIST, O(files), "FILE", "the Containerfile; - is stdin" },
	{ 0, "force-rm", HOY_OPT_FLAG, O(force_rm), NULL, "take working containers away if the build fails, too: always done" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "oci (default) or docker" },
	{ 0, "http-proxy", HOY_OPT_TRI, O(http_proxy), NULL, "give RUN the proxy variables (default true)" },
	{ 0, "identity-label", HOY_OPT_TRI, O(identity_label), NULL, "add the label io.buildah.version (default true)" },
	{ 0, "ignorefile", HOY_OPT_STRING, O(ignorefile), "FILE", "instead of .containerignore and .dockerignore" },
	{ 0, "iidfile", HOY_OPT_STRING, O(iidfile), "FILE", "write the image's id to a file" },
	{ 0, "label", HOY_OPT_LIST, O(labels), "KEY=VALUE", "add a label to the image" },
	{ 0, "layers", HOY_OPT_TRI, O(layers), NULL, "an image of each step, from the cache if it is there (default true; of hoy-build false)" },
	RUN_OPT(7, 'm', "memory", "SIZE", "limit of memory of RUN"),
	{ 0, "network", HOY_OPT_STRING, O(network), "MODE", "network of RUN: none, host, NETWORK, ..." },
	{ 0, "no-cache", HOY_OPT_FLAG, O(no_cache), NULL, "carry all steps out" },
	{ 0, "os", HOY_OPT_STRING, O(os), "OS", "operating system of the image: linux" },
	{ 0, "platform", HOY_OPT_STRING, O(platform), "OS/ARCH", "platform of the image: this machine's" },
	{ 0, "pull", HOY_OPT_OPTARG, O(pull), "[=true]", "always, missing (default), never or newer" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print the image's id alone" },
	{ 0, "rm", HOY_OPT_TRI, O(rm), NULL, "take working containers away (default true, nothing else is possible)" },
	{ 0, "secret", HOY_OPT_LIST, O(secrets), "id=ID[,src=FILE|VARIABLE][,type=file|env]", "a secret for RUN --mount=type=secret" },
	RUN_OPT(8, 0, "security-opt", "OPTION", "of RUN: seccomp=, label=, ..."),
	RUN_OPT(9, 0, "shm-size", "SIZE", "size of /dev/shm of RUN"),
	{ 0, "squash", HOY_OPT_FLAG, O(squash), NULL, "one layer for all new steps; hoy-build: one for all there is" },
	{ 0, "squash-all", HOY_OPT_FLAG, O(squash_all), NULL, "one layer for all there is" },
	{ 0, "ssh", HOY_OPT_LIST, O(ssh), "ID[=SOCKET|KEY,...]", "an ssh agent for RUN --mount=type=ssh (default: of $SSH_AUTH_SOCK)" },
	{ 't', "tag", HOY_OPT_LIST, O(tags), "NAME", "name of the image" },
	{ 0, "target", HOY_OPT_STRING, O(target), "STAGE", "the stage that is built (default the last)" },
	{ 0, "timestamp", HOY_OPT_STRING, O(timestamp), "SECONDS", "time of the image and of all its new files" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the registry's certificate" },
	RUN_OPT(10, 0, "ulimit", "NAME=SOFT[:HARD]", "resource limit of RUN"),
	{ 0, "variant", HOY_OPT_STRING, O(variant), "VARIANT", "variant of the architecture" },
	RUN_OPT(11, 'v', "volume", "SOURCE:PATH[:OPTIONS]", "mount a directory for RUN"),
	HOY_OPTS_END,
};

const struct run_option run_options[] = { { "add-host" },   { "cap-add" },    { "cap-drop" },	  { "device" },	  { "dns" },	{ "dns-option" },
					  { "dns-search" }, { "memory" }, { "security-opt" }, { "shm-size" }, { "ulimit" }, { "volume" } };
const size_t n_run_options = ARRAY_SIZE(run_options);

/* ---- what is read ---- */

static int read_stdin(char **ret, size_t *len, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX);
	char piece[65536];
	ssize_t n;

	while ((n = read(0, piece, sizeof(piece))) > 0)
		hoy_buf_add(&b, piece, n);
	if (n < 0 || b.error)
		return hoy_fail_errno(err, n < 0 ? errno : b.error, "cannot read the Containerfile from stdin");
	*len = b.len;
	hoy_buf_puts(&b, "");
	*ret = hoy_buf_steal(&b);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* The path of the Containerfile: as given, else in the context. */
static char *find_file(struct build *b)
{
	static const char *const names[] = { "Containerfile", "Dockerfile" };
	char *path = NULL;

	if (b->o->files.n) {
		path = strdup(b->o->files.v[0]);
		/* As podman has it, a name that isn't here may be one in the context. */
		if (path && strcmp(path, "-") && !hoy_exists(AT_FDCWD, path)) {
			free(path);
			path = hoy_path_join(b->context, b->o->files.v[0]);
		}
		return path;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		free(path);
		path = hoy_path_join(b->context, names[i]);
		if (!path || hoy_exists(AT_FDCWD, path))
			return path;
	}
	free(path);
	hoy_fail(&b->err, ENOENT, "no Containerfile or Dockerfile specified or found in context directory, %s", b->context);
	return NULL;
}

static int read_file(struct build *b)
{
	cleanup_free char *path = find_file(b), *text = NULL;
	size_t len = 0;
	int r;

	if (!path)
		return b->err.code ? -b->err.code : hoy_fail_oom(&b->err);
	r = strcmp(path, "-") ? hoy_read_file(AT_FDCWD, path, CFILE_MAX, &text, &len, &b->err) : read_stdin(&text, &len, &b->err);
	if (!r)
		r = cfile_parse(&b->f, b->o->files.n ? b->o->files.v[0] : strrchr(path, '/') + 1, text, len, &b->err);
	return r;
}

static int find_ignore(struct build *b)
{
	static const char *const names[] = { ".containerignore", ".dockerignore" };

	if (b->o->ignorefile) {
		b->ignore = strdup(b->o->ignorefile);
		if (b->ignore && !hoy_exists(AT_FDCWD, b->ignore))
			return hoy_fail_errno(&b->err, ENOENT, "cannot open '%s'", b->ignore);
		return b->ignore ? 0 : hoy_fail_oom(&b->err);
	}
	for (size_t k = 0; k < ARRAY_SIZE(names) * 2; k++) {
		cleanup_free char *path = NULL;

		/* FILE.containerignore first. */
		if (k < 2 && (!b->o->files.n || !strcmp(b->o->files.v[0], "-")))
			continue;
		path = k < 2 ? hoy_asprintf("%s%s", b->o->files.v[0], names[k]) : hoy_path_join(b->context, names[k - 2]);
		if (!path)
			return hoy_fail_oom(&b->err);
		if (hoy_exists(AT_FDCWD, path)) {
			b->ignore = steal_ptr(&path);
			return 0;
		}
	}
	return 0;
}

/* ---- what is asked for ---- */

static int take_build_args(struct build *b)
{
	for (size_t i = 0; i < b->o->build_args.n; i++) {
		const char *arg = b->o->build_args.v[i], *eq = strchr(arg, '=');
		cleanup_free char *key = strndup(arg, eq ? (size_t)(eq - arg) : strlen(arg));
		const char *value = eq ? eq + 1 : key ? getenv(key) : NULL;

		if (!key)
			return hoy_fail_oom(&b->err);
		if (value)
			hoy_env_set(&b->given, key, value);
	}
	return b->given.error ? hoy_fail_oom(&b->err) : 0;
}

static int check_platform(struct build *b)
{
	const struct build_opts *o = b->o;
	struct utsname u;
	const char *arch, *slash = o->platform ? strchr(o->platform, '/') : NULL;

	uname(&u);
	arch = !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine;
	if ((o->os && strcmp(o->os, "linux")) || (o->arch && strcmp(o->arch, arch) && strcmp(o->arch, u.machine)) ||
	    (o->variant && *o->variant) ||
	    (o->platform && strcmp(o->platform, "local") && (!slash || strncmp(o->platform, "linux/", 6) || strcmp(slash + 1, arch))))
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "only images for linux/%s can be built here", arch);
	return 0;
}

static int take_settings(struct build *b)
{
	static const char *const policies[] = { "true", "false", "always", "missing", "ifnotpresent", "never", "newer", "ifnewer" };
	const struct build_opts *o = b->o;
	const char *f = o->format ?: getenv("BUILDAH_FORMAT") ?: "oci", *layers = getenv("BUILDAH_LAYERS");
	bool known = !o->pull;
	char *end;

	b->podman = !strcmp(hoy_tool_name, "hoy");
	b->docker = !strcmp(f, "docker");
	if (!b->docker && strcmp(f, "oci"))
		return hoy_fail(&b->err, EINVAL, "unrecognized image type \"%s\"", f);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		known = known || !strcmp(o->pull, policies[i]);
	if (!known)
		return hoy_fail(&b->err, EINVAL, "unrecognized pull policy: '%s'", o->pull);
	if (o->rm == 0)
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "working containers cannot be kept: --rm=false");
	if (o->files.n > 1)
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "more than one --file is not supported");
	b->layers = o->layers >= 0 ? o->layers : layers ? !strcmp(layers, "true") || !strcmp(layers, "1") : b->podman;
	b->squash = o->squash_all || (o->squash && !b->podman);
	if (o->squash || o->squash_all)
		b->layers = false;
	b->time = -1;
	if (o->timestamp) {
		b->time = strtoll(o->timestamp, &end, 10);
		if (!*o->timestamp || *end || b->time < 0)
			return hoy_fail(&b->err, EINVAL, "--timestamp must be a number of seconds since 1970, not '%s'", o->timestamp);
	}
	for (size_t i = 0; i < o->allow.n; i++)
		if (strcmp(o->allow.v[i], "security.insecure") && strcmp(o->allow.v[i], "network.host"))
			return hoy_fail(&b->err, EINVAL, "--allow must be security.insecure or network.host, not '%s'", o->allow.v[i]);
	for (size_t i = 0; i < o->tags.n; i++) {
		cleanup_free char *name = full_name(o->tags.v[i], &b->err);

		if (!name)
			return -b->err.code;
	}
	return 0;
}

static int take_context(struct build *b, const char *arg)
{
	struct stat st;

	b->context = arg ?: ".";
	if (strstr(b->context, "://") || !strncmp(b->context, "git@", 4) || !strcmp(b->context, "-"))
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "'%s': a context that is not a directory here is not supported", b->context);
	if (stat(b->context, &st) < 0)
		return hoy_fail_errno(&b->err, errno, "cannot use the context '%s'", b->context);
	return S_ISDIR(st.st_mode) ? 0 : hoy_fail(&b->err, ENOTDIR, "context must be a directory: '%s'", b->context);
}

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

static int finish(struct build *b, const char *id)
{
	cleanup_free char *text = hoy_asprintf("sha256:%s", id);
	int r = 0;

	warn_unused(b);
	if (b->o->iidfile)
		r = text ? hoy_replace_file(AT_FDCWD, b->o->iidfile, text, strlen(text), 0644, false) : -ENOMEM;
	if (r < 0)
		return hoy_fail_errno(&b->err, -r, "cannot write '%s'", b->o->iidfile);
	puts(id);
	return 0;
}

static void build_release(struct build *b)
{
	struct build_opts *o = b->o;
	struct hoy_strv *lists[] = { &o->files, &o->tags, &o->build_args, &o->labels, &o->annotations, &b->heading, &b->given, &b->used, &b->warned,
				      &o->secrets, &o->ssh, &o->allow };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	for (size_t i = 0; i < ARRAY_SIZE(o->run_opts); i++)
		hoy_strv_release(&o->run_opts[i]);
	if (b->tmp)
		hoy_remove_tree(AT_FDCWD, b->tmp);
	free(b->tmp);
	free(b->ignore);
	cfile_release(&b->f);
	hoy_store_free(b->s);
}

static int run_build(const struct hoy_verb *v, int argc, char **argv)
{
	struct build_opts o = { .layers = -1, .rm = -1, .tls_verify = -1, .identity_label = -1, .http_proxy = -1 };
	struct build b = { .o = &o, .f = CFILE_INIT, .err = HOY_ERR_INIT };
	char id[HOY_ID_SIZE];
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	r = take_settings(&b);
	if (!r)
		r = check_platform(&b);
	if (!r)
		r = take_context(&b, n ? argv[1] : NULL);
	if (!r)
		r = take_build_args(&b);
	if (!r)
		r = secrets_check(&b);
	if (!r)
		r = read_file(&b);
	if (!r)
		r = find_ignore(&b);
	if (!r)
		r = hoy_store_open(&b.s, &hoy_globals.storage, 0, &b.err);
	catch_signals();
	if (!r)
		r = build_all(&b, id);
	if (!r)
		r = finish(&b, id);
	fflush(stdout);
	/* Without a sentence of ours, the tool that failed has said it. */
	if (r < 0 && b.err.code)
		hoy_report(&b.err, 0);
	build_release(&b);
	return hoy_finish_stdout(!r ? 0 : b.status ?: 125);
}
const struct hoy_verb verb_build = { "build", "[options] [CONTEXT]", "Build an image from a Containerfile", build_opts, run_build, 0 };
const struct hoy_verb verb_bud = { "bud", "[options] [CONTEXT]", NULL, build_opts, run_build, 0 };

int main(int argc, char **argv)
{
	static const struct hoy_verb *const verbs[] = { &verb_build, &verb_bud, BUILDAH_VERBS NULL };

	/* (Parsing moves the words of argv about, but nobody parses behind this one.) */
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		handover_remember(argv);
	return hoy_tool_main("hoy-build", "Images from Containerfiles", verbs, argc, argv);
}
