/* cmd-build/options.c: the options of a build, and what they say together. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/ctr.h"
#include "cmd-build/remote.h"
#include "cmd-build/runopts.h"
#include "cmd-build/screen.h"
#include "common/data/time.h"

#define O(field) offsetof(struct build_opts, field)
#define RUN_OPT(k, letter, option, arg, help) { letter, option, HOY_OPT_LIST, O(run_opts) + (k) * sizeof(struct hoy_strv), arg, help }
const struct hoy_opt build_options[] = {
	RUN_OPT(0, 0, "add-host", "NAME:IP", "add a line to /etc/hosts"),
	{ 0, "all-platforms", HOY_OPT_FLAG, O(all_platforms), NULL, "an image for each platform that all base images are for" },
	{ 0, "allow", HOY_OPT_LIST, O(allow), "WHAT", "security.insecure: RUN --security=insecure may do all; network.host always may be" },
	{ 0, "annotation", HOY_OPT_LIST, O(annotations), "KEY=VALUE", "add an annotation to the image's manifest" },
	{ 0, "arch", HOY_OPT_STRING, O(arch), "ARCH", "architecture of the image (default: the base's)" },
	{ 0, "attest", HOY_OPT_LIST, O(attest), "type=KIND,disabled=true", "docker's option: attestations are not made" },
	{ 0, "authfile", HOY_OPT_STRING, O(authfile), "FILE", "credentials of registries" },
	{ 0, "build-arg", HOY_OPT_LIST, O(build_args), "KEY=VALUE", "value of an ARG" },
	{ 0, "build-arg-file", HOY_OPT_LIST, O(arg_files), "FILE", "lines KEY=VALUE: values of ARGs, before those of --build-arg" },
	{ 0, "build-context", HOY_OPT_LIST, O(contexts), "NAME=VALUE", "a context for --from and FROM: a directory, URL, or docker-image://IMAGE" },
	{ 0, "cache-from", HOY_OPT_LIST, O(cache_from), "REPOSITORY", "look for steps there, too" },
	{ 0, "cache-to", HOY_OPT_LIST, O(cache_to), "REPOSITORY", "push the image of each step there" },
	{ 0, "cache-ttl", HOY_OPT_STRING, O(cache_ttl), "DURATION", "take nothing from the cache that is older" },
	RUN_OPT(1, 0, "cap-add", "CAP", "give RUN a capability"),
	RUN_OPT(2, 0, "cap-drop", "CAP", "take a capability from RUN"),
	{ 0, "cert-dir", HOY_OPT_STRING, O(cert_dir), "DIR", "certificates of registries" },
	RUN_OPT(3, 0, "cgroup-parent", "PATH", "cgroup to put RUN's into"),
	RUN_OPT(4, 0, "cgroupns", "MODE", "cgroup namespace of RUN: private or host"),
	{ 0, "compat-volumes", HOY_OPT_FLAG, O(compat_volumes), NULL, "undo what RUN does to volumes" },
	{ 0, "compress", HOY_OPT_FLAG, O(compress), NULL, "docker's old option: layers in the store are not compressed" },
	RUN_OPT(5, 0, "cpu-period", "USEC", "length of a CPU period of RUN"),
	RUN_OPT(6, 0, "cpu-quota", "USEC", "CPU time of RUN in a period"),
	RUN_OPT(7, 'c', "cpu-shares", "N", "relative weight of RUN's CPU time"),
	RUN_OPT(8, 0, "cpuset-cpus", "LIST", "CPUs for RUN"),
	RUN_OPT(9, 0, "cpuset-mems", "LIST", "memory nodes for RUN"),
	{ 0, "created-annotation", HOY_OPT_TRI, O(created_note), NULL, "note the image's time in an annotation (default true)" },
	{ 0, "cpp-flag", HOY_OPT_LIST, O(cpp_flags), "FLAG", "for cpp, which preprocesses Containerfile.in" },
	{ 0, "creds", HOY_OPT_STRING, O(creds), "USER[:PASSWORD]", "credentials for the registry" },
	{ 0, "cw", HOY_OPT_STRING, O(cw), "OPTIONS", "not supported" },
	{ 0, "decryption-key", HOY_OPT_COMMAS, O(decryption_keys), "FILE[:PASSWORD]", "private key for encrypted layers of bases" },
	RUN_OPT(10, 0, "device", "DEVICE", "give RUN a device"),
	{ 'D', "disable-compression", HOY_OPT_TRI, O(no_compression), NULL, "layers in the store are not compressed (default true)" },
	{ 0, "disable-content-trust", HOY_OPT_FLAG, O(disable_trust), NULL, "docker's option: policy.json decides" },
	RUN_OPT(11, 0, "dns", "IP", "DNS server for RUN"),
	RUN_OPT(12, 0, "dns-option", "OPTION", "line for /etc/resolv.conf"),
	RUN_OPT(13, 0, "dns-search", "DOMAIN", "search domain for RUN"),
	{ 0, "env", HOY_OPT_LIST, O(envs), "KEY[=VALUE]", "an ENV behind each FROM" },
	{ 0, "explain-cache", HOY_OPT_FLAG, O(explain_cache), NULL, "tell what changed of a step that is not in the cache" },
	{ 'f', "file", HOY_OPT_LIST, O(files), "FILE", "the Containerfile; - is stdin" },
	{ 0, "force-rm", HOY_OPT_TRI, O(force_rm), NULL, "with layers, take the container of a step that fails away (default true; of hoy-build false)" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "oci (default) or docker" },
	{ 0, "from", HOY_OPT_STRING, O(from), "IMAGE", "in place of what the first FROM names" },
	RUN_OPT(14, 0, "group-add", "GROUP", "supplementary group of RUN"),
	{ 0, "hooks-dir", HOY_OPT_LIST, O(hooks_dirs), "DIR", "directory of OCI hooks for RUN" },
	{ 0, "http-proxy", HOY_OPT_TRI, O(http_proxy), NULL, "give RUN the proxy variables (default true)" },
	{ 0, "identity-label", HOY_OPT_TRI, O(identity_label), NULL, "add the label io.buildah.version (default true)" },
	{ 0, "ignorefile", HOY_OPT_STRING, O(ignorefile), "FILE", "instead of .containerignore and .dockerignore" },
	{ 0, "iidfile", HOY_OPT_STRING, O(iidfile), "FILE", "write the image's id to a file" },
	{ 0, "inherit-annotations", HOY_OPT_TRI, O(inherit_notes), NULL, "keep the base's annotations (default true)" },
	{ 0, "inherit-labels", HOY_OPT_TRI, O(inherit_labels), NULL, "keep the base's labels (default true)" },
	RUN_OPT(15, 0, "ipc", "MODE", "IPC namespace of RUN: private or host"),
	{ 0, "isolation", HOY_OPT_STRING, O(isolation), "TYPE", "of RUN: oci, rootless or chroot (default: $BUILDAH_ISOLATION)" },
	{ 0, "jobs", HOY_OPT_INT, O(jobs), "N", "stages at once; 0: any number (default: one per processor)" },
	{ 0, "label", HOY_OPT_LIST, O(labels), "KEY=VALUE", "add a label to the image" },
	{ 0, "layer-label", HOY_OPT_LIST, O(layer_labels), "KEY=VALUE", "label of the images of steps" },
	{ 0, "layers", HOY_OPT_TRI, O(layers), NULL, "an image of each step, from the cache if it is there (default true; of hoy-build false)" },
	{ 0, "load", HOY_OPT_FLAG, O(load), NULL, "docker's option: the image is in the store anyway" },
	{ 0, "logfile", HOY_OPT_STRING, O(logfile), "FILE", "print to a file" },
	{ 0, "logsplit", HOY_OPT_FLAG, O(logsplit), NULL, "with --logfile, one for each of several platforms: FILE_OS_ARCH" },
	{ 0, "manifest", HOY_OPT_STRING, O(manifest), "LIST", "list of images that the image is put into" },
	RUN_OPT(16, 'm', "memory", "SIZE", "limit of memory of RUN"),
	RUN_OPT(17, 0, "memory-swap", "SIZE", "limit of memory and swap of RUN, -1 for none"),
	{ 0, "metadata-file", HOY_OPT_STRING, O(metadata_file), "FILE", "write the image's digests and names as JSON" },
	{ 0, "network", HOY_OPT_STRING, O(network), "MODE", "network of RUN: none, host, NETWORK, ..." },
	{ 0, "no-cache", HOY_OPT_FLAG, O(no_cache), NULL, "carry all steps out" },
	{ 0, "no-cache-filter", HOY_OPT_COMMAS, O(no_cache_stages), "STAGE,...", "carry all steps of these stages out" },
	{ 0, "no-hostname", HOY_OPT_FLAG, O(no_hostname), NULL, "leave /etc/hostname alone" },
	{ 0, "no-hosts", HOY_OPT_FLAG, O(no_hosts), NULL, "leave /etc/hosts alone" },
	{ 0, "omit-history", HOY_OPT_FLAG, O(omit_history), NULL, "leave the history out of the image" },
	{ 0, "os", HOY_OPT_STRING, O(os), "OS", "operating system of the image" },
	{ 0, "os-feature", HOY_OPT_LIST, O(os_features), "FEATURE[-]", "feature that the operating system must have; with - not" },
	{ 0, "os-version", HOY_OPT_STRING, O(os_version), "VERSION", "version of the operating system" },
	{ 'o', "output", HOY_OPT_LIST, O(outputs), "type=KIND,dest=PATH", "the image's files as well (local, tar; - is stdout), an archive of it (oci, docker), or to registries (registry)" },
	RUN_OPT(18, 0, "pid", "MODE", "PID namespace of RUN: private or host"),
	{ 0, "platform", HOY_OPT_COMMAS, O(platforms), "OS/ARCH[/VARIANT],...", "platforms, with an image for each" },
	{ 0, "progress", HOY_OPT_STRING, O(progress), "HOW", "auto (default), plain, tty, quiet, or json: events on stderr" },
	{ 0, "provenance", HOY_OPT_STRING, O(provenance), "false", "docker's option: attestations are not made" },
	{ 0, "pull", HOY_OPT_OPTARG, O(pull), "[=true]", "always, missing (default), never or newer" },
	{ 0, "push", HOY_OPT_FLAG, O(push), NULL, "push the image by its names: --output type=registry" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print the image's id alone" },
	{ 0, "retry", HOY_OPT_INT, O(retry), "N", "attempts after a failed one of a pull or push (default 3)" },
	{ 0, "retry-delay", HOY_OPT_STRING, O(retry_delay), "DURATION", "time between attempts" },
	{ 0, "rewrite-timestamp", HOY_OPT_FLAG, O(rewrite_timestamp), NULL, "no file of the image is younger than --source-date-epoch" },
	{ 0, "rm", HOY_OPT_TRI, O(rm), NULL, "with layers, take the containers of steps away (default true)" },
	{ 0, "runtime", HOY_OPT_STRING, O(runtime), "PATH", "OCI runtime for RUN" },
	{ 0, "runtime-flag", HOY_OPT_LIST, O(runtime_flags), "FLAG", "global flag for the OCI runtime" },
	{ 0, "save-stages", HOY_OPT_FLAG, O(save_stages), NULL, "keep an image of each stage; with --layers, there always is one" },
	SBOM_OPTS(O(sbom)),
	{ 0, "secret", HOY_OPT_LIST, O(secrets), "id=ID[,src=FILE|VARIABLE][,type=file|env]", "a secret for RUN --mount=type=secret" },
	RUN_OPT(19, 0, "security-opt", "OPTION", "of RUN: seccomp=, label=, ..."),
	RUN_OPT(20, 0, "shm-size", "SIZE", "size of /dev/shm of RUN"),
	{ 0, "sign-by", HOY_OPT_STRING, O(sign_by), "FINGERPRINT", "sign the image with this key of gpg" },
	{ 0, "skip-unused-stages", HOY_OPT_TRI, O(skip_unused), NULL, "build only the stages that the target needs (default true)" },
	{ 0, "source-policy-file", HOY_OPT_STRING, O(source_policy), "FILE", "rules about which images and addresses may be used, or what in their place" },
	{ 0, "source-date-epoch", HOY_OPT_STRING, O(epoch), "SECONDS", "time of the image and its history (default: $SOURCE_DATE_EPOCH)" },
	{ 0, "squash", HOY_OPT_FLAG, O(squash), NULL, "one layer for all new steps; hoy-build: one for all there is" },
	{ 0, "squash-all", HOY_OPT_FLAG, O(squash_all), NULL, "one layer for all there is" },
	{ 0, "ssh", HOY_OPT_LIST, O(ssh), "ID[=SOCKET|KEY,...]", "an ssh agent for RUN --mount=type=ssh (default: of $SSH_AUTH_SOCK)" },
	{ 0, "stage-labels", HOY_OPT_FLAG, O(stage_labels), NULL, "label the images of --save-stages with the stage's name and base" },
	{ 0, "stdin", HOY_OPT_FLAG, O(use_stdin), NULL, "RUN reads our stdin" },
	{ 't', "tag", HOY_OPT_LIST, O(tags), "NAME", "name of the image" },
	{ 0, "target", HOY_OPT_STRING, O(target), "STAGE", "the stage that is built (default the last)" },
	{ 0, "timestamp", HOY_OPT_STRING, O(timestamp), "SECONDS", "time of the image, its history and all its new files" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the registry's certificate" },
	RUN_OPT(21, 0, "ulimit", "NAME=SOFT[:HARD]", "resource limit of RUN"),
	{ 0, "unsetannotation", HOY_OPT_COMMAS, O(unset_notes), "KEY", "take an annotation away" },
	{ 0, "unsetenv", HOY_OPT_COMMAS, O(unset_envs), "NAME", "take a variable away" },
	{ 0, "unsetlabel", HOY_OPT_COMMAS, O(unset_labels), "KEY", "take a label away" },
	USERNS_OPTS(O(userns)),
	RUN_OPT(22, 0, "uts", "MODE", "UTS namespace of RUN: private or host"),
	{ 0, "variant", HOY_OPT_STRING, O(variant), "VARIANT", "variant of the architecture" },
	RUN_OPT(23, 'v', "volume", "SOURCE:PATH[:OPTIONS]", "mount a directory for RUN"),
	HOY_OPTS_END,
};

const struct run_option run_options[] = {
	{ "add-host" }, { "cap-add" }, { "cap-drop" }, { "cgroup-parent" }, { "cgroupns" }, { "cpu-period" },
	{ "cpu-quota" }, { "cpu-shares" }, { "cpuset-cpus" }, { "cpuset-mems" }, { "device" }, { "dns" },
	{ "dns-option" }, { "dns-search" }, { "group-add" }, { "ipc" }, { "memory" }, { "memory-swap" }, { "pid" },
	{ "security-opt" }, { "shm-size" }, { "ulimit" }, { "uts" }, { "volume" },
};
const size_t n_run_options = ARRAY_SIZE(run_options);

void options_init(struct build_opts *o)
{
	*o = (struct build_opts){ .jobs = -1, .retry = -1 };
	for (const struct hoy_opt *p = build_options; p->name; p++)
		if (p->kind == HOY_OPT_TRI)
			*(int *)((char *)o + p->at) = -1;
}

void options_release(struct build_opts *o)
{
	for (const struct hoy_opt *p = build_options; p->name; p++)
		if (p->kind == HOY_OPT_LIST || p->kind == HOY_OPT_COMMAS)
			hoy_strv_release((struct hoy_strv *)((char *)o + p->at));
}

/* On a terminal, what runs is seen. */
static int take_view(struct build *b)
{
	static const char *const kinds[] = { "plain", "tty", "json" };
	const char *how = b->o->progress ?: "auto";

	b->o->quiet = b->o->quiet || !strcmp(how, "quiet") || !strcmp(how, "none");
	if (b->o->quiet)
		how = "auto";
	b->view = isatty(1) && screen_able() && !b->o->quiet ? VIEW_TTY : VIEW_PLAIN;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(how, kinds[i])) {
			b->view = i == VIEW_TTY && !screen_able() ? VIEW_PLAIN : i;
			return 0;
		}
	return strcmp(how, "auto") ? hoy_fail(&b->err, EINVAL, "--progress must be auto, plain, tty, json or quiet, not '%s'", how) : 0;
}

/* "false" of --provenance, "type=sbom,disabled=true" of --attest. */
static int take_attestations(struct build *b)
{
	const struct build_opts *o = b->o;

	if (o->provenance && strcmp(o->provenance, "false"))
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "--provenance=%s is not supported: attestations are not made", o->provenance);
	for (size_t i = 0; i < o->attest.n; i++)
		if (!strstr(o->attest.v[i], ",disabled=true"))
			return hoy_fail(&b->err, HOY_EUNSUPPORTED, "--attest=%s is not supported: attestations are not made", o->attest.v[i]);
	return 0;
}

static int take_format(struct build *b)
{
	static const char *const policies[] = { "true", "false", "always", "missing", "ifnotpresent", "never", "newer", "ifnewer" };
	const struct build_opts *o = b->o;
	const char *f = o->format ?: getenv("BUILDAH_FORMAT") ?: "oci", *layers = getenv("BUILDAH_LAYERS");
	bool known = !o->pull;

	b->podman = !strcmp(hoy_tool_name, "hoy");
	b->docker = !strcmp(f, "docker");
	if (!b->docker && strcmp(f, "oci"))
		return hoy_fail(&b->err, EINVAL, "unrecognized image type \"%s\"", f);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		known = known || !strcmp(o->pull, policies[i]);
	if (!known)
		return hoy_fail(&b->err, EINVAL, "unrecognized pull policy: '%s'", o->pull);
	b->layers = o->layers >= 0 ? o->layers : layers ? !strcmp(layers, "true") || !strcmp(layers, "1") : b->podman;
	b->squash = o->squash_all || (o->squash && !b->podman);
	if (o->squash || o->squash_all)
		b->layers = false;
	return 0;
}

/* --source-date-epoch, or what the build's argument or the environment says in its place; RUN sees it, too. */
static int take_epoch(struct build *b)
{
	const struct build_opts *o = b->o;
	const char *given = hoy_env_get(&b->given, "SOURCE_DATE_EPOCH"), *text = o->epoch ?: given ?: getenv("SOURCE_DATE_EPOCH");
	char *end;

	if (o->timestamp && o->epoch)
		return hoy_fail(&b->err, EINVAL, "timestamp and source-date-epoch would be ambiguous if allowed together");
	if (!text || !*text || o->timestamp)
		return 0;
	b->time = strtoll(text, &end, 10);
	if (*end || b->time < 0)
		return hoy_fail(&b->err, EINVAL, "parsing source-date-epoch value \"%s\": it must be a number of seconds since 1970", text);
	if (o->rewrite_timestamp)
		b->mtime = MTIME_CLAMP;
	if (!given) {
		hoy_env_set(&b->given, "SOURCE_DATE_EPOCH", text);
		hoy_strv_push(&b->used, "SOURCE_DATE_EPOCH");
	}
	return 0;
}

int options_times(struct build *b)
{
	const struct build_opts *o = b->o;
	char *end;

	b->time = -1;
	if (o->timestamp) {
		b->time = strtoll(o->timestamp, &end, 10);
		b->mtime = MTIME_FORCE;
		if (!*o->timestamp || *end || b->time < 0)
			return hoy_fail(&b->err, EINVAL, "--timestamp must be a number of seconds since 1970, not '%s'", o->timestamp);
	}
	return take_epoch(b);
}

/* --env NAME is what we have of it. */
static int take_envs(struct build *b)
{
	struct build_opts *o = b->o;
	cleanup_strv struct hoy_strv got = HOY_STRV_INIT;

	for (size_t i = 0; i < o->envs.n; i++) {
		const char *value = strchr(o->envs.v[i], '=') ? NULL : getenv(o->envs.v[i]);

		if (strchr(o->envs.v[i], '='))
			hoy_strv_push(&got, o->envs.v[i]);
		else if (value)
			hoy_strv_pushf(&got, "%s=%s", o->envs.v[i], value);
	}
	hoy_strv_release(&o->envs);
	o->envs = got;
	got = (struct hoy_strv)HOY_STRV_INIT;
	return o->envs.error ? hoy_fail_oom(&b->err) : 0;
}

/* What is said of RUN and is no option of hoy-run's by that name or value. */
static int take_run(struct build *b)
{
	struct build_opts *o = b->o;
	int isolation = isolation_parse(o->isolation, &b->err), r;

	if (isolation < 0)
		return isolation;
	b->chroot = isolation == ISOLATION_CHROOT;
	r = userns_take(&b->ns, &o->userns, &b->err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < o->hooks_dirs.n; i++)
		hoy_strv_push(&hoy_globals.hooks_dirs, o->hooks_dirs.v[i]);
	if (o->runtime)
		hoy_globals.runtime = o->runtime;
	for (size_t i = 0; i < o->runtime_flags.n; i++)
		hoy_strv_push(&hoy_globals.runtime_flags, o->runtime_flags.v[i]);
	/* buildah's word for a namespace of one's own. */
	for (size_t k = 0; k < n_run_options; k++)
		for (size_t i = 0; i < o->run_opts[k].n; i++)
			if (!strcmp(o->run_opts[k].v[i], "container") && strstr("ipc pid uts cgroupns", run_options[k].name)) {
				free(o->run_opts[k].v[i]);
				o->run_opts[k].v[i] = strdup("private");
				if (!o->run_opts[k].v[i])
					return hoy_fail_oom(&b->err);
			}
	return 0;
}

static int take_sbom(struct build *b)
{
	struct build_opts *o = b->o;

	if ((o->squash || o->squash_all) && (o->sbom.image_output || o->sbom.image_purl_output))
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "--sbom-image-output makes a layer of its own: not with --squash");
	return sbom_check(&o->sbom, &b->err);
}

int options_take(struct build *b)
{
	struct build_opts *o = b->o;
	int64_t ns;
	int r = o->cw ? hoy_fail(&b->err, HOY_EUNSUPPORTED, "--cw is not supported: no images for confidential workloads are made") : 0;

	if (!r && o->stage_labels && !o->save_stages)
		r = hoy_fail(&b->err, EINVAL, "--stage-labels requires --save-stages");
	if (o->push)
		hoy_strv_push(&o->outputs, "type=registry");
	if (o->outputs.error)
		return hoy_fail_oom(&b->err);
	if (!r)
		r = take_format(b);
	if (!r)
		r = take_view(b);
	if (!r)
		r = take_attestations(b);
	if (!r)
		r = take_sbom(b);
	if (!r)
		r = take_envs(b);
	if (!r)
		r = take_run(b);
	if (!r)
		r = outputs_check(b);
	if (!r)
		r = remote_check(b);
	if (!r && o->cache_ttl && !hoy_duration_parse(o->cache_ttl, &b->cache_ttl))
		r = hoy_fail(&b->err, EINVAL, "unable to parse value provided \"%s\" as --cache-ttl: time: invalid duration \"%s\"", o->cache_ttl, o->cache_ttl);
	if (!r && o->retry_delay && !hoy_duration_parse(o->retry_delay, &ns))
		r = hoy_fail(&b->err, EINVAL, "unable to parse value provided \"%s\" as --retry-delay: time: invalid duration \"%s\"", o->retry_delay, o->retry_delay);
	if (!r && o->jobs < -1)
		r = hoy_fail(&b->err, EINVAL, "building: invalid value for jobs.  It must be a positive integer");
	for (size_t i = 0; i < o->allow.n && !r; i++)
		if (strcmp(o->allow.v[i], "security.insecure") && strcmp(o->allow.v[i], "network.host"))
			r = hoy_fail(&b->err, EINVAL, "--allow must be security.insecure or network.host, not '%s'", o->allow.v[i]);
	for (size_t i = 0; i < o->tags.n && !r; i++) {
		cleanup_free char *name = full_name(o->tags.v[i], &b->err);

		r = name ? 0 : -b->err.code;
	}
	return r;
}
