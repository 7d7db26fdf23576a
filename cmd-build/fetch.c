#include "cmd-build/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/cli/call.h"

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static bool is_web(const char *s) { return starts(s, "http://") || starts(s, "https://"); }

bool is_git(const char *s)
{
	size_t len = strcspn(s, "#?");

	if (starts(s, "git://") || starts(s, "ssh://") || starts(s, "git@") || starts(s, "github.com/"))
		return true;
	return is_web(s) && len > 4 && !strncmp(s + len - 4, ".git", 4);
}

bool is_remote(const char *s) { return is_web(s) || is_git(s); }

/* ---- git ---- */

struct repo {
	char *url, *ref, *dir; /* ref, dir: "" if not said */
};

static void repo_release(struct repo *g)
{
	free(g->url);
	free(g->ref);
	free(g->dir);
}

/* "URL[#[REF][:DIR]]" */
static int repo_parse(struct repo *g, const char *text, struct hoy_err *err)
{
	const char *hash = strchr(text, '#'), *ref = hash ? hash + 1 : "", *colon = strchr(ref, ':');

	g->url = hoy_asprintf("%s%.*s", starts(text, "github.com/") ? "https://" : "", (int)(hash ? hash - text : (long)strlen(text)), text);
	g->ref = strndup(ref, colon ? (size_t)(colon - ref) : strlen(ref));
	g->dir = strdup(colon ? colon + 1 : "");
	if (!g->url || !g->ref || !g->dir)
		return hoy_fail_oom(err);
	/* What begins with a dash would be an option of git's. */
	return *g->ref == '-' || *g->url == '-' ? hoy_fail(err, EINVAL, "'%s' is no address of a repository", text) : 0;
}

/* git with WORDS in DIR; its exit status or an error. */
static int git(const char *dir, bool quiet, const char *const *words)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	posix_spawn_file_actions_t fa;
	int status, r;
	pid_t pid;

	/* Nobody is asked anything, and no helper is run that an address could name. */
	for (const char *const *w = (const char *const[]){ "env", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https:git:ssh", "git", "-C", dir, "-c",
							  "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null", NULL };
	     *w; w++)
		hoy_strv_push(&argv, *w);
	for (; *words; words++)
		hoy_strv_push(&argv, *words);
	if (argv.error)
		return -ENOMEM;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	if (quiet)
		posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, "env", &fa, NULL, argv.v, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
#define GIT(dir, quiet, ...) git(dir, quiet, (const char *const[]){ __VA_ARGS__, NULL })

static int clone_repo(struct build *b, const struct repo *g, const char *dir, bool keep)
{
	cleanup_fd int fd = -1;
	bool shallow = false;
	int r = GIT(dir, false, "init", "-q");

	if (!r)
		r = GIT(dir, false, "remote", "add", "origin", g->url);
	/* One commit is enough; a server that doesn't give away every commit by its name gives all. */
	if (!r && GIT(dir, true, "fetch", "-q", "-u", "--depth=1", "origin", "--", *g->ref ? g->ref : "HEAD"))
		r = *g->ref ? GIT(dir, false, "fetch", "-q", "-u", "--tags", "origin") : GIT(dir, false, "fetch", "-q", "-u", "origin", "HEAD");
	else
		shallow = true;
	if (!r)
		r = GIT(dir, false, "checkout", "-q", shallow || !*g->ref ? "FETCH_HEAD" : g->ref, "--");
	fd = r ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!r && hoy_exists(fd, ".gitmodules"))
		r = GIT(dir, false, "submodule", "-q", "update", "--init", "--recursive", "--depth=1");
	if (r == 127 || r == -ENOENT)
		return hoy_fail(&b->err, ENOENT, "cloning \"%s\": there is no git here", g->url);
	if (r)
		return hoy_fail(&b->err, HOY_EREMOTE, "cloning \"%s\"%s%s failed", g->url, *g->ref ? " at " : "", g->ref);
	return keep ? 0 : hoy_remove_tree(fd, ".git");
}

/* *RET is the directory in the repository that was asked for, beneath DIR. */
static int sub_directory(struct build *b, const struct repo *g, const char *dir, char **ret)
{
	cleanup_fd int top = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int sub = top < 0 ? -errno : hoy_open_beneath(top, *g->dir ? g->dir : ".", O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);
	char self[40], path[PATH_MAX];
	ssize_t n;

	if (sub < 0)
		return hoy_fail_errno(&b->err, -sub, "cannot find the directory '%s' in \"%s\"", g->dir, g->url);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", sub);
	n = readlink(self, path, sizeof(path) - 1);
	if (n < 0)
		return hoy_fail_errno(&b->err, errno, "cannot find '%s'", g->dir);
	path[n] = '\0';
	*ret = strdup(path);
	return *ret ? 0 : hoy_fail_oom(&b->err);
}

static int fetch_git(struct build *b, const char *url, const char *path, bool keep, char **ret)
{
	struct repo g = { NULL };
	int r = repo_parse(&g, url, &b->err);

	if (!r && mkdir(path, 0755) < 0)
		r = hoy_fail_errno(&b->err, errno, "cannot create '%s'", path);
	if (!r)
		r = clone_repo(b, &g, path, keep);
	if (!r)
		r = sub_directory(b, &g, path, ret);
	repo_release(&g);
	return r;
}

/* ---- the web ---- */

static int fetch_web(struct build *b, const char *url, const char *what, const char *path)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int status;

	hoy_strv_push(&argv, "fetch");
	hoy_strv_pushf(&argv, "--tls-verify=%s", b->o->tls_verify == 0 ? "false" : "true");
	if (b->o->cert_dir)
		hoy_strv_pushf(&argv, "--cert-dir=%s", b->o->cert_dir);
	if (b->o->retry >= 0)
		hoy_strv_pushf(&argv, "--retry=%lld", (long long)b->o->retry);
	if (b->o->retry_delay)
		hoy_strv_pushf(&argv, "--retry-delay=%s", b->o->retry_delay);
	if (what)
		hoy_strv_pushf(&argv, "--what=%s", what);
	hoy_strv_push(&argv, "--");
	hoy_strv_push(&argv, url);
	hoy_strv_push(&argv, path);
	status = argv.error ? -ENOMEM : hoy_call_tool("hoy-transfer", (const char *const *)argv.v, NULL);
	if (status < 0)
		return hoy_fail_errno(&b->err, -status, "cannot run hoy-transfer");
	return status ? -HOY_EREMOTE : 0; /* it has told the user why */
}

int fetch_to(struct build *b, const char *url, bool keep, const char *what, const char *path, char **ret)
{
	return is_git(url) ? fetch_git(b, url, path, keep, ret) : fetch_web(b, url, what, path);
}

int fetch(struct build *b, const char *url, bool keep, const char *what, const char **ret)
{
	cleanup_free char *key = hoy_asprintf("%c%s", keep ? '+' : '-', url), *path = NULL, *sub = NULL;
	int r = key ? need_tmp(b) : hoy_fail_oom(&b->err);

	for (size_t i = 0; !r && i + 1 < b->fetched.n; i += 2)
		if (!strcmp(b->fetched.v[i], key)) {
			*ret = b->fetched.v[i + 1];
			return 0;
		}
	path = r ? NULL : hoy_asprintf("%s/fetched-%zu", b->tmp, b->fetched.n / 2);
	if (!path)
		return r ?: hoy_fail_oom(&b->err);
	r = fetch_to(b, url, keep, what, path, &sub);
	if (r < 0)
		return r;
	hoy_strv_push(&b->fetched, key);
	hoy_strv_push(&b->fetched, sub ?: path);
	if (b->fetched.error)
		return hoy_fail_oom(&b->err);
	*ret = b->fetched.v[b->fetched.n - 1];
	return 0;
}

int fetch_name(struct build *b, const char *url, const char *path, char **ret)
{
	const char *end = url + strcspn(url, "?#"), *name = end;
	cleanup_free char *dir = hoy_asprintf("%s-dir", path), *file = NULL;

	while (name > url && name[-1] != '/')
		name--;
	if (name == end || strstr(url, "://") + 3 == name)
		return hoy_fail(&b->err, EINVAL, "\"%s\" names no file", url);
	file = dir ? hoy_asprintf("%s/%.*s", dir, (int)(end - name), name) : NULL;
	if (!file)
		return hoy_fail_oom(&b->err);
	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || (link(path, file) < 0 && errno != EEXIST))
		return hoy_fail_errno(&b->err, errno, "cannot name what came from \"%s\"", url);
	*ret = steal_ptr(&file);
	return 0;
}
