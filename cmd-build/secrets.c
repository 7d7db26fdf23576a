/* cmd-build/secrets.c: --secret and --ssh of a build, and where a RUN sees them. No secret is written to a disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "common/base/fd.h"
#include "common/cli/call.h"

#define SECRET_MAX ((size_t)16 << 20)

struct secret {
	char *id, *src;
	bool env;
};

static void secret_release(struct secret *x)
{
	free(x->id);
	free(x->src);
	*x = (struct secret){ .id = NULL };
}

/* ---- --secret ---- */

static int secret_word(struct secret *x, const char *word, const char **type, struct hoy_err *err)
{
	char **field = NULL;

	if (!strncmp(word, "id=", 3))
		field = &x->id;
	else if (!strncmp(word, "src=", 4) || !strncmp(word, "source=", 7) || !strncmp(word, "env=", 4))
		field = &x->src;
	else if (!strncmp(word, "type=", 5))
		*type = word + 5;
	else
		return hoy_fail(err, EINVAL, "incorrect secret flag format: should be --secret id=foo,src=bar[,env=ENV][,type=file|env]");
	if (!strncmp(word, "env=", 4))
		*type = "env";
	if (field) {
		free(*field);
		*field = strdup(strchr(word, '=') + 1);
		if (!*field)
			return hoy_fail_oom(err);
	}
	return 0;
}

/* "id=NAME[,src=FILE|VARIABLE][,env=VARIABLE][,type=file|env]" */
static int secret_parse(struct secret *x, const char *text, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	const char *type = NULL;
	int r = 0;

	hoy_strv_split(&words, text, ',');
	for (size_t i = 0; i < words.n && !r; i++)
		r = secret_word(x, words.v[i], &type, err);
	if (r < 0)
		return r;
	if (!x->id || !*x->id)
		return hoy_fail(err, EINVAL, "incorrect secret flag format: should be --secret id=foo,src=bar[,env=ENV][,type=file|env]");
	if (type && strcmp(type, "file") && strcmp(type, "env"))
		return hoy_fail(err, EINVAL, "invalid secret type, must be file or env");
	x->env = type ? *type == 'e' : getenv(x->id) != NULL;
	if ((!x->src || !*x->src) && (free(x->src), !(x->src = strdup(x->id))))
		return hoy_fail_oom(err);
	if (!x->env && !hoy_exists(AT_FDCWD, x->src))
		return hoy_fail_errno(err, ENOENT, "could not parse secrets: stat %s", x->src);
	return words.error ? hoy_fail_oom(err) : 0;
}

/* The last --secret with ID; *RET->id stays NULL if there is none. */
static int secret_find(const struct build *b, const char *id, struct secret *ret, struct hoy_err *err)
{
	int r = 0;

	for (size_t i = b->o->secrets.n; i && !r; i--) {
		struct secret x = { .id = NULL };

		r = secret_parse(&x, b->o->secrets.v[i - 1], err);
		if (!r && !strcmp(x.id, id)) {
			*ret = x;
			return 0;
		}
		secret_release(&x);
	}
	return r;
}

static int secret_read(struct state *s, const struct secret *x, char **ret, size_t *len)
{
	const char *value = x->env ? getenv(x->src) ?: "" : NULL;

	if (!x->env)
		return hoy_read_file(AT_FDCWD, x->src, SECRET_MAX, ret, len, &s->b->err);
	*ret = strdup(value);
	*len = strlen(value);
	return *ret ? 0 : hoy_fail_oom(&s->b->err);
}

/* A file on a file system that is memory alone, which is there for this RUN. */
static char *secret_file(struct state *s, struct run_mounts *m, const struct mount_spec *spec, const char *data, size_t len)
{
	cleanup_free char *dir = mounts_path(s, m, "secret"), *path = dir ? hoy_path_join(dir, "secret") : NULL;
	cleanup_fd int fd = -1;
	int r;

	if (!path)
		return NULL;
	if (mkdir(dir, 0700) < 0 || mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0) {
		hoy_fail_errno(&s->b->err, errno, "cannot mount a place for secrets");
		return NULL;
	}
	hoy_strv_push(&m->mounted, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : hoy_write_full(fd, data, len);
	if (!r && (fchown(fd, spec->uid, spec->gid) < 0 || fchmod(fd, spec->has_mode ? spec->mode : 0400) < 0))
		r = -errno;
	if (r < 0) {
		hoy_fail_errno(&s->b->err, -r, "cannot hand out the secret '%s'", spec->id);
		return NULL;
	}
	return steal_ptr(&path);
}

static int secret_put(struct state *s, const struct mount_spec *spec, struct run_mounts *m, const char *data, size_t len)
{
	cleanup_free char *target = spec->target ? strdup(spec->target) : hoy_asprintf("/run/secrets/%s", spec->id), *path = NULL;

	if (spec->env) {
		if (strlen(data) != len)
			return hoy_fail(&s->b->err, EINVAL, "the secret '%s' has a NUL byte: it cannot be a variable", spec->id);
		hoy_env_set(&m->env, spec->env, data);
	}
	/* With a variable, the file is there if one is named. */
	if (spec->env && !spec->target)
		return m->env.error ? hoy_fail_oom(&s->b->err) : 0;
	path = target ? secret_file(s, m, spec, data, len) : NULL;
	return path && mounts_add(m, path, target, true) ? 0 : s->b->err.code ? -s->b->err.code : hoy_fail_oom(&s->b->err);
}

int mount_secret(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	struct secret x = { .id = NULL };
	cleanup_free char *data = NULL;
	size_t len = 0;
	int r = secret_find(s->b, spec->id, &x, &s->b->err);

	if (r < 0)
		return r;
	if (!x.id)
		return spec->required ? hoy_fail(&s->b->err, ENOENT, "secret required but no secret with id \"%s\" found", spec->id) : 0;
	r = secret_read(s, &x, &data, &len);
	if (!r)
		r = secret_put(s, spec, m, data, len);
	if (data)
		explicit_bzero(data, len);
	secret_release(&x);
	return r;
}

/* ---- --ssh ---- */

/* The value of the last --ssh ID[=SOCKET|KEY[,KEY...]]: "" without one, NULL if there is none. */
static const char *ssh_find(const struct build *b, const char *id)
{
	size_t len = strlen(id);

	for (size_t i = b->o->ssh.n; i; i--) {
		const char *text = b->o->ssh.v[i - 1];

		if (!strncmp(text, id, len) && (!text[len] || text[len] == '='))
			return text[len] ? text + len + 1 : "";
	}
	return NULL;
}

static int add_agent(struct state *s, struct run_mounts *m, pid_t pid)
{
	if (pid < 0)
		return pid;
	if (m->n_agents == ARRAY_SIZE(m->agents)) {
		agent_stop(pid);
		return hoy_fail(&s->b->err, E2BIG, "a RUN cannot have more ssh agents");
	}
	m->agents[m->n_agents++] = pid;
	return 0;
}

/* The socket of the agent that VALUE stands for, in new memory: the user's own, or a new one that knows the keys. */
static int agent_socket(struct state *s, struct run_mounts *m, const char *value, char **ret)
{
	cleanup_strv struct hoy_strv paths = HOY_STRV_INIT;
	struct stat st;
	int r;

	hoy_strv_split(&paths, *value ? value : getenv("SSH_AUTH_SOCK") ?: "", ',');
	if (!paths.n)
		return hoy_fail(&s->b->err, ENOENT, "$SSH_AUTH_SOCK is not set: --ssh needs an agent's socket or keys");
	for (size_t i = 0; i < paths.n; i++)
		if (stat(paths.v[i], &st) < 0)
			return hoy_fail_errno(&s->b->err, errno, "cannot use '%s' for --ssh", paths.v[i]);
		else if (S_ISSOCK(st.st_mode) && paths.n > 1)
			return hoy_fail(&s->b->err, EINVAL, "only one socket is allowed, and no keys beside it: '%s'", value);
	if (S_ISSOCK(st.st_mode)) {
		*ret = strdup(paths.v[0]);
		return *ret ? 0 : hoy_fail_oom(&s->b->err);
	}
	*ret = mounts_path(s, m, "keys");
	r = *ret ? add_agent(s, m, agent_with_keys(*ret, &paths, &s->b->err)) : -s->b->err.code;
	return r;
}

int mount_ssh(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	const char *id = spec->id ?: "default", *value = ssh_find(s->b, id);
	cleanup_free char *from = NULL, *path = NULL, *target = spec->target ? strdup(spec->target) : hoy_asprintf("/run/buildkit/ssh_agent.%zu", m->n_ssh);
	int r;

	if (!value)
		return spec->required ? hoy_fail(&s->b->err, ENOENT, "ssh required but no ssh with id %s found", id) : 0;
	r = agent_socket(s, m, value, &from);
	path = r ? NULL : mounts_path(s, m, "agent");
	if (!r && path)
		r = add_agent(s, m, agent_start(path, from, spec->uid, spec->gid, spec->has_mode ? spec->mode : 0600, &s->b->err));
	if (!r && (!path || !target || !mounts_add(m, path, target, true)))
		r = s->b->err.code ? -s->b->err.code : hoy_fail_oom(&s->b->err);
	/* As everywhere, the first one is the default. */
	if (!r && !m->n_ssh++)
		hoy_env_set(&m->env, "SSH_AUTH_SOCK", target);
	return r;
}

int secrets_check(struct build *b)
{
	int r = 0;

	for (size_t i = 0; i < b->o->secrets.n && !r; i++) {
		struct secret x = { .id = NULL };

		r = secret_parse(&x, b->o->secrets.v[i], &b->err);
		secret_release(&x);
	}
	for (size_t i = 0; i < b->o->ssh.n && !r; i++)
		if (!*b->o->ssh.v[i] || *b->o->ssh.v[i] == '=')
			r = hoy_fail(&b->err, EINVAL, "--ssh must be default or ID=SOCKET|KEY[,KEY...], not '%s'", b->o->ssh.v[i]);
	return r;
}
