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

void source_free(struct source *s)
{
	if (!s)
		return;
	s->ops->free(s);
	free(s->name);
	free(s->repo_host);
	free(s->repo);
	free(s->title);
	hoy_ref_release(&s->ref);
	sigs_release(&s->sigs);
	hoy_strv_release(&s->scopes);
	free(s->repository);
	hoy_strv_release(&s->names);
	free(s);
}

void dest_free(struct dest *d)
{
	if (!d)
		return;
	d->ops->free(d);
	hoy_ref_release(&d->ref);
	free(d->name);
	free(d);
}

int source_manifest(struct source *src, const char *digest, struct manifest *ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL, *type = NULL;
	size_t len;
	int r = src->ops->manifest(src, digest, &data, &len, &type, err);

	if (!r)
		r = manifest_parse(ret, data, len, type, err);
	if (!r && digest && strcmp(ret->digest, digest))
		r = hoy_fail(err, HOY_EDIGEST, "manifest %s of '%s' is not what its digest says: it has %s", digest, src->name, ret->digest);
	return r;
}

int source_image(struct source *src, const struct platform *p, struct manifest *m, struct manifest *list, struct hoy_err *err)
{
	struct platform here = platform_here(p);
	const struct desc *d;
	int r = source_manifest(src, NULL, m, err);

	/* A list in a list is not taken. */
	if (r < 0 || !manifest_is_list(m))
		return r;
	*list = *m;
	memset(m, 0, sizeof(*m));
	r = manifest_choose(list, &here, &d, err);
	if (!r)
		r = source_manifest(src, d->digest, m, err);
	if (!r && d->size != (int64_t)m->len)
		return hoy_fail(err, HOY_EDIGEST, "manifest %s of '%s' has not the size that its list says", d->digest, src->name);
	if (!r && manifest_is_list(m))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is a list of lists", src->name);
	return r;
}

int source_signatures(struct source *src, const struct manifest *m, bool instance, const struct sigs **ret, struct hoy_err *err)
{
	int r = 0;

	if (strcmp(src->sigs_of, m->digest)) {
		sigs_release(&src->sigs);
		src->sigs_of[0] = '\0';
		r = src->ops->signatures ? src->ops->signatures(src, m, instance, &src->sigs, err) : 0;
		if (r < 0)
			return hoy_fail_prefix(err, "reading signatures");
		memcpy(src->sigs_of, m->digest, sizeof(src->sigs_of));
	}
	*ret = &src->sigs;
	return r;
}

int source_config(struct source *src, const struct manifest *m, struct config *ret, struct hoy_err *err)
{
	cleanup_stream struct stream *in = NULL;
	cleanup_free char *buf = NULL;
	char digest[SHA_DIGEST_SIZE];
	ssize_t n;

	if (m->config.size > (int64_t)MANIFEST_MAX)
		return hoy_fail(err, EFBIG, "the config of '%s' has more than %zu bytes", src->name, MANIFEST_MAX);
	buf = malloc(m->config.size + 2);
	if (!buf)
		return hoy_fail_oom(err);
	n = src->ops->blob(src, &m->config, -1, &in, err);
	if (!n)
		n = stream_read(in, buf, m->config.size + 1, err);
	if (n < 0)
		return n;
	sha_of(buf, n, digest);
	if (n != m->config.size || strcmp(digest, m->config.digest))
		return hoy_fail(err, HOY_EDIGEST, "config %s of '%s' is not what its digest says", m->config.digest, src->name);
	return config_parse(ret, buf, n, m->n, err);
}
