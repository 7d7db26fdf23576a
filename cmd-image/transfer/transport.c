#include "cmd-image/transfer/transport.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/policy.h"

static const char *const names[] = { "docker://", "oci:", "oci-archive:", "docker-archive:", "dir:", "containers-storage:", "docker-daemon:",
				     "tarball:", "sif:" };
enum { DOCKER, OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR_, STORAGE, DAEMON, TARBALL, SIF };

static int which(const char *name, const char **rest)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(name, names[i], strlen(names[i]))) {
			*rest = name + strlen(names[i]);
			return i;
		}
	return -1;
}

static int not_that(int transport, const char *name, struct hoy_err *err)
{
	if (transport == SIF)
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s': images of the format SIF are not supported", name);
	if (transport >= 0)
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' can only be copied from", name);
	return hoy_fail(err, EINVAL,
			"'%s' names no transport (docker://, oci:, oci-archive:, docker-archive:, docker-daemon:, dir:, tarball:, containers-storage:)",
			name);
}

static int open_source(struct source **ret, int kind, const char *name, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	switch (kind) {
	case DOCKER:
		return source_registry(ret, rest, o, err);
	case OCI:
		return source_oci(ret, rest, false, o, err);
	case OCI_ARCHIVE:
		return source_oci(ret, rest, true, o, err);
	case DOCKER_ARCHIVE:
		return source_docker_archive(ret, rest, err);
	case DIR_:
		return source_dir(ret, rest, err);
	case STORAGE:
		return source_store(ret, rest, err);
	case DAEMON:
		return source_daemon(ret, rest, o, err);
	case TARBALL:
		return source_tarball(ret, rest, err);
	}
	return not_that(kind, name, err);
}

/* What policy.json may say of an image in files: the real path and what it lies in. */
static int name_files(struct source *s, int kind, const char *rest)
{
	cleanup_free char *path = strdup(rest);
	char real[PATH_MAX];

	if (!path)
		return -ENOMEM;
	if (kind != DIR_ && access(path, F_OK) < 0)
		path[strcspn(path, ":")] = '\0';
	return !realpath(path, real) ? 0 : hoy_policy_paths(real, &s->scopes);
}

int source_open(struct source **ret, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	static const char *const transports[] = { "docker", "oci", "oci-archive", "docker-archive", "dir", "containers-storage", "docker-daemon", "tarball",
						   "sif" };
	const char *rest = name;
	int kind = which(name, &rest), r = reg_opts_check(o, err);

	if (r < 0)
		return r;

	r = open_source(ret, kind, name, rest, o, err);
	if (r < 0 || kind == DOCKER)
		return r;
	(*ret)->transport = transports[kind];
	/* Where a layout's tag may stand there is a colon, as skopeo says it. */
	(*ret)->title = hoy_asprintf("%s%s", name, (kind == OCI || kind == OCI_ARCHIVE) && !strchr(rest, ':') ? ":" : "");
	if (!(*ret)->title || ((kind == OCI || kind == OCI_ARCHIVE || kind == DIR_) && name_files(*ret, kind, rest) < 0)) {
		source_free(*ret);
		*ret = NULL;
		return hoy_fail_oom(err);
	}
	return 0;
}

int dest_open(struct dest **ret, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	const char *rest = name;
	int transport = which(name, &rest), r = reg_opts_check(o, err);

	if (r < 0)
		return r;
	if (o->more_names && o->more_names->n && transport != DOCKER_ARCHIVE)
		return hoy_fail(err, EINVAL, "'%s' takes no additional tags (docker-archive: does)", name);
	switch (transport) {
	case DOCKER:
		return dest_registry(ret, rest, o, err);
	case OCI:
		return dest_oci(ret, rest, false, o, err);
	case OCI_ARCHIVE:
		return dest_oci(ret, rest, true, o, err);
	case DOCKER_ARCHIVE:
		return dest_docker_archive(ret, rest, o, err);
	case DIR_:
		return dest_dir(ret, rest, err);
	case DAEMON:
		return dest_daemon(ret, rest, o, err);
	}
	return not_that(transport, name, err);
}
