/* cmd-image/scp.c: `image scp`: an image goes to another user of this machine, or over ssh: `save` at one end, `load` at the other. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/containers.h"
#include "common/conf/dirs.h"
#include "common/proc/sibling.h"

#define ANSWER_MAX ((size_t)1 << 20)

struct scp_opts {
	bool quiet;
};
static const struct hoy_opt opts[] = {
	{ 'q', "quiet", HOY_OPT_FLAG, offsetof(struct scp_opts, quiet), NULL, "no progress" },
	HOY_OPTS_END,
};

struct person {
	uid_t uid;
	gid_t gid;
	char *name, *home;
};

/* One end of the way. */
struct end {
	char *image;	 /* of the source; of the destination the new name; or NULL */
	char *user;	 /* of this machine; NULL: not said */
	char *remote;	 /* the connection's name; NULL: this machine */
	char *host, *port, *identity; /* of a remote; host with its user */
	struct person as;
	bool self, sudo; /* as who we are; as root by sudo */
};

static void end_release(struct end *e)
{
	free(e->image);
	free(e->user);
	free(e->remote);
	free(e->host);
	free(e->port);
	free(e->identity);
	free(e->as.name);
	free(e->as.home);
}

/* ---- who and where ---- */

/* "IMAGE", "HOST::[IMAGE]" or "USER@localhost::[IMAGE]". */
static int parse(struct end *e, const char *arg, struct hoy_err *err)
{
	const char *sep = strstr(arg, "::"), *local = strstr(arg, "@localhost::");

	if (!sep)
		return (e->image = strdup(arg)) ? 0 : hoy_fail_oom(err);
	if (sep[2] && !(e->image = strdup(sep + 2)))
		return hoy_fail_oom(err);
	if (local) /* "uid:gid" stands for the uid */
		e->user = strndup(arg, strcspn(arg, ":@"));
	else
		e->remote = strndup(arg, sep - arg);
	if (!e->user && !e->remote)
		return hoy_fail_oom(err);
	if (e->user ? !*e->user : !*e->remote)
		return hoy_fail(err, EINVAL, "'%s' names no %s", arg, e->user ? "user" : "host");
	return 0;
}

static int set_person(struct person *p, const struct passwd *pw, const char *name, struct hoy_err *err)
{
	if (!pw)
		return hoy_fail(err, ENOENT, "there is no user '%s'", name);
	*p = (struct person){ pw->pw_uid, pw->pw_gid, strdup(pw->pw_name), strdup(pw->pw_dir) };
	return p->name && p->home ? 0 : hoy_fail_oom(err);
}

static int find_person(struct person *p, const char *name, struct hoy_err *err)
{
	char *rest;
	unsigned long uid = strtoul(name, &rest, 10);

	return set_person(p, *name && !*rest ? getpwuid(uid) : getpwnam(name), name, err);
}

/* Between users of this machine. Without a destination: root's images go to who called sudo, and others' to root. */
static int find_users(struct end *src, struct end *dst, struct hoy_err *err)
{
	const char *to = dst->user, *sudoer = getenv("SUDO_USER");
	int r = src->user ? find_person(&src->as, src->user, err) : set_person(&src->as, getpwuid(getuid()), "of this process", err);

	if (r < 0)
		return r;
	if (!to && src->as.uid)
		to = "root";
	else if (!to && !(to = sudoer && *sudoer ? sudoer : NULL))
		return hoy_fail(err, EINVAL, "$SUDO_USER must be defined to find the default rootless user");
	r = find_person(&dst->as, to, err);
	if (r < 0)
		return r;
	src->self = src->as.uid == getuid();
	dst->self = dst->as.uid == getuid();
	if (!getuid())
		return 0;
	if (!src->self)
		return hoy_fail(err, EPERM, "only root may read the images of user '%s'", src->as.name);
	dst->sudo = !dst->self && !dst->as.uid;
	if (!dst->self && !dst->sudo)
		return hoy_fail(err, EPERM, "only root may give images to user '%s' (run it with sudo)", dst->as.name);
	return 0;
}

/* What is known of the connection NAME: podman-connections.json, then containers.conf. New memory; NULL: nothing. */
static int find_connection(const char *name, char **ret_uri, char **ret_identity, struct hoy_err *err)
{
	const char *env = getenv("PODMAN_CONNECTIONS_CONF");
	cleanup_free char *home = hoy_config_home();
	cleanup_free char *path = env && *env ? strdup(env) : home ? hoy_path_join(home, "containers/podman-connections.json") : NULL;
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT, conf = HOY_JSON_DOC_INIT;
	const struct hoy_json *c, *uri;
	int r = path ? hoy_json_load(&doc, AT_FDCWD, path, ANSWER_MAX, err) : hoy_fail_oom(err);

	if (r < 0 && r != -ENOENT)
		return r;
	c = hoy_json_path(doc.root, "Connection", "Connections", name, NULL);
	uri = hoy_json_get(c, "URI");
	r = c ? 0 : hoy_containers_conf_load(&conf, err);
	if (r < 0)
		return r;
	if (!c) {
		c = hoy_json_path(conf.root, "engine", "service_destinations", name, NULL);
		uri = hoy_json_get(c, "uri");
	}
	*ret_uri = hoy_json_text(uri) ? strdup(uri->str) : NULL;
	uri = hoy_json_get(c, "Identity") ?: hoy_json_get(c, "identity");
	*ret_identity = hoy_json_text(uri) && *uri->str ? strdup(uri->str) : NULL;
	return 0;
}

/* "ssh://[USER@]HOST[:PORT][/PATH]": what ssh wants to know of it. */
static int split_uri(struct end *e, const char *uri, struct hoy_err *err)
{
	const char *at = strncmp(uri, "ssh://", 6) ? NULL : uri + 6, *host, *tail;
	size_t len = at ? strcspn(at, "/") : 0;
	cleanup_free char *place = at ? strndup(at, len) : NULL;

	if (!at)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the connection '%s' leads to '%s', and images go over ssh:// alone", e->remote, uri);
	if (!place)
		return hoy_fail_oom(err);
	host = strrchr(place, '@');
	host = host ? host + 1 : place;
	if (memchr(place, ':', host - place))
		return hoy_fail(err, HOY_EUNSUPPORTED, "the connection '%s' has a password in its address, which ssh takes from nobody (use a key)", e->remote);
	tail = *host == '[' ? strchr(host, ']') : NULL;
	tail = strchr(tail ? tail : host, ':');
	if (tail && !(e->port = strdup(tail + 1)))
		return hoy_fail_oom(err);
	if (e->port && (!*e->port || e->port[strspn(e->port, "0123456789")]))
		return hoy_fail(err, EINVAL, "the connection '%s' has no valid port: '%s'", e->remote, uri);
	len = tail ? (size_t)(tail - host) : strlen(host);
	if (*host == '[' && len > 2)
		e->host = hoy_asprintf("%.*s%.*s", (int)(host - place), place, (int)len - 2, host + 1);
	else
		e->host = hoy_asprintf("%.*s%.*s", (int)(host - place), place, (int)len, host);
	if (!e->host)
		return hoy_fail_oom(err);
	return len && *e->host != '-' ? 0 : hoy_fail(err, EINVAL, "the connection '%s' names no host: '%s'", e->remote, uri);
}

static int find_remote(struct end *e, struct hoy_err *err)
{
	cleanup_free char *uri = NULL;
	int r = find_connection(e->remote, &uri, &e->identity, err);

	if (r < 0)
		return r;
	if (!uri) {
		hoy_warning("Unknown connection name given. Please use system connection add to specify the default remote socket location");
		uri = hoy_asprintf("ssh://%s", e->remote);
	}
	return uri ? split_uri(e, uri, err) : hoy_fail_oom(err);
}

/* ---- what is run there ---- */

/* WORD for the shell at the other end. */
static void push_quoted(struct hoy_buf *b, const char *word)
{
	hoy_buf_puts(b, b->len ? " '" : "'");
	for (; *word; word++)
		if (*word == '\'')
			hoy_buf_puts(b, "'\\''");
		else
			hoy_buf_putc(b, *word);
	hoy_buf_putc(b, '\'');
}

/* The command line for WORDS (podman's) at E. */
static int command(const struct end *e, const char *const *words, struct hoy_strv *argv, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf far = HOY_BUF_INIT(ANSWER_MAX);

	if (e->remote) {
		hoy_strv_push(argv, "ssh");
		if (e->identity) {
			hoy_strv_push(argv, "-i");
			hoy_strv_push(argv, e->identity);
		}
		if (e->port) {
			hoy_strv_push(argv, "-p");
			hoy_strv_push(argv, e->port);
		}
		hoy_strv_push(argv, "--");
		hoy_strv_push(argv, e->host);
		hoy_buf_puts(&far, "podman");
		for (; *words; words++)
			push_quoted(&far, *words);
		hoy_strv_push(argv, hoy_buf_str(&far));
		return far.error || argv->error ? hoy_fail_oom(err) : 0;
	}
	if (e->sudo)
		hoy_strv_push(argv, "sudo");
	hoy_strv_take(argv, hoy_sibling("hoy-image"));
	/* The store that our options name is ours, not another user's. */
	if (e->self)
		hoy_globals_argv(argv);
	for (; *words; words++)
		hoy_strv_push(argv, *words);
	return argv->error ? hoy_fail_oom(err) : 0;
}

/* In the child: be P, with what a new login would have. */
static bool become(const struct person *p)
{
	const char *path = getenv("PATH"), *term = getenv("TERM");
	cleanup_free char *p2 = strdup(path ? path : "/usr/bin:/bin"), *t2 = term ? strdup(term) : NULL;
	cleanup_free char *run = hoy_asprintf("/run/user/%u", (unsigned)p->uid);

	if (!p2 || !run || clearenv() || setenv("PATH", p2, 1) || (t2 && setenv("TERM", t2, 1)) || setenv("HOME", p->home, 1) ||
	    setenv("USER", p->name, 1) || setenv("LOGNAME", p->name, 1) || (!access(run, F_OK) && setenv("XDG_RUNTIME_DIR", run, 1)))
		return false;
	if (initgroups(p->name, p->gid) < 0 || setgid(p->gid) < 0 || setuid(p->uid) < 0)
		return false;
	return !chdir(p->home) || !chdir("/");
}

/* Start WORDS at E with IN (-1: ours) as stdin and OUT as stdout. The pid, or an error. */
static pid_t start(const struct end *e, const char *const *words, int in, int out, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r = command(e, words, &argv, err);
	pid_t pid = r < 0 ? r : fork();

	if (r < 0)
		return r;
	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot start '%s'", argv.v[0]);
	if (pid)
		return pid;
	if ((in >= 0 && dup2(in, 0) < 0) || dup2(out, 1) < 0 || (!e->remote && !e->self && !e->sudo && !become(&e->as)))
		hoy_error("cannot become user '%s': %s", e->as.name ? e->as.name : "", strerror(errno));
	else if (execvp(argv.v[0], argv.v) < 0)
		hoy_error("cannot run '%s': %s", argv.v[0], strerror(errno));
	_exit(127);
}

static int finish(pid_t pid, const char *what, struct hoy_err *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hoy_fail_errno(err, errno, "cannot wait for a process");
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return hoy_fail(err, HOY_EREMOTE, "%s failed: %s %d", what, WIFEXITED(status) ? "exit status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static int read_all(int fd, struct hoy_buf *b)
{
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR))
		hoy_buf_add(b, part, n > 0 ? n : 0);
	return n < 0 ? -errno : b->error ? -b->error : 0;
}

/* save at SRC | load at DST; what load says into SAID. */
static int transfer(const struct end *src, const struct end *dst, bool quiet, struct hoy_buf *said, struct hoy_err *err)
{
	const char *load[] = { "image", "load", quiet && !dst->remote ? "-q" : NULL, NULL };
	/* A remote podman keeps digests so; locally its default, as podman has it. */
	const char *save[] = { "image", "save", src->remote ? "--format" : src->image, src->remote ? "oci-archive" : NULL, src->image, NULL };
	cleanup_fd int rd = -1, wr = -1, answers = -1, answer = -1;
	int between[2], back[2], r, r2;
	struct hoy_err second = HOY_ERR_INIT;
	pid_t from, to;

	if (pipe2(between, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	rd = between[0];
	wr = between[1];
	if (pipe2(back, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	answers = back[0];
	answer = back[1];
	from = start(src, save, -1, wr, err);
	to = from < 0 ? from : start(dst, load, rd, answer, err);
	hoy_close(steal_fd(&wr));
	hoy_close(steal_fd(&rd));
	hoy_close(steal_fd(&answer));
	r = to < 0 ? to : read_all(answers, said);
	if (r < 0 && to >= 0)
		hoy_fail_errno(err, -r, "cannot read from a pipe");
	r2 = from < 0 ? 0 : finish(from, "saving the image", to < 0 ? &second : err);
	r = r < 0 ? r : r2;
	/* Who saves is the cause, if both failed; unless it was told to stop. */
	if (to >= 0) {
		r2 = finish(to, "loading the image", r < 0 ? &second : err);
		if (r2 < 0 && r < 0 && strstr(err->msg, "signal 13"))
			*err = second;
		r = r < 0 ? r : r2;
	}
	return r;
}

/* What was loaded, "Loaded image: NAME", becomes NEW too. */
static int tag(const struct end *dst, const char *said, const char *new_name, struct hoy_err *err)
{
	cleanup_free char *line = strdup(said);
	char *last = line;
	pid_t pid;

	if (!line)
		return hoy_fail_oom(err);
	line[strcspn(line, "\n")] = '\0';
	last = strrchr(line, ' ');
	if (!last || !last[1])
		return hoy_fail(err, HOY_EREMOTE, "it was not said what was loaded, which was to be called '%s'", new_name);
	pid = start(dst, (const char *const[]){ "image", "tag", last + 1, new_name, NULL }, -1, 2, err);
	return pid < 0 ? pid : finish(pid, "naming the image", err);
}

/* ---- the command ---- */

static int check(const struct end *src, const struct end *dst, int n, struct hoy_err *err)
{
	if (n == 1 && !src->image)
		return hoy_fail(err, EINVAL, "no source image specified: invalid argument");
	if (n == 1 && !src->remote && !src->user)
		return hoy_fail(err, EINVAL, "must specify a destination: invalid argument");
	if (!src->image)
		return hoy_fail(err, EINVAL, "a source image must be specified: invalid argument");
	if (*src->image == '-' || (dst->image && *dst->image == '-'))
		return hoy_fail(err, EINVAL, "'%s' is no image name", *src->image == '-' ? src->image : dst->image);
	return 0;
}

static int scp(struct end *src, struct end *dst, bool quiet, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf said = HOY_BUF_INIT(ANSWER_MAX);
	int r = 0;

	if (src->remote || dst->remote) {
		/* The local end is ours, whatever user it names: podman has it so. */
		src->self = dst->self = true;
		if (src->remote)
			r = find_remote(src, err);
		if (!r && dst->remote)
			r = find_remote(dst, err);
	} else {
		r = find_users(src, dst, err);
	}
	if (!r)
		r = transfer(src, dst, quiet, &said, err);
	fputs(hoy_buf_str(&said), stdout);
	fflush(stdout);
	return r || !dst->image ? r : tag(dst, hoy_buf_str(&said), dst->image, err);
}

static int run_scp(const struct hoy_verb *v, int argc, char **argv)
{
	struct scp_opts o = { false };
	struct hoy_err err = HOY_ERR_INIT;
	struct end src = { NULL }, dst = { NULL };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	r = parse(&src, argv[1], &err);
	if (!r && n == 2)
		r = parse(&dst, argv[2], &err);
	if (!r)
		r = check(&src, &dst, n, &err);
	if (!r)
		r = scp(&src, &dst, o.quiet, &err);
	end_release(&src);
	end_release(&dst);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_image_scp = { "image scp", "[options] [HOST::|USER@localhost::]IMAGE [[HOST::|USER@localhost::][NAME]]",
					 "Copy an image to or from another machine or user", opts, run_scp, HOY_VERB_OUTSIDE };
