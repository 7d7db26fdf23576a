/* cmd-conmon/child.c: the runtime makes the container; its streams or its terminal come to us. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cmd-conmon/conmon.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/proc/sys.h"

extern char **environ;

int console_open(struct console *k, struct hoy_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strcpy(k->dir, "/tmp/hoy-term-XXXXXX");
	if (!mkdtemp(k->dir))
		return hoy_fail_errno(err, errno, "cannot make a directory for the console socket");
	snprintf(k->path, sizeof(k->path), "%s/s", k->dir);
	strcpy(sa.sun_path, k->path);
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (k->fd < 0 || bind(k->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(k->path, 0700) < 0 || listen(k->fd, 4) < 0)
		return hoy_fail_errno(err, errno, "cannot make the console socket");
	return 0;
}

void console_close(struct console *k)
{
	hoy_close(k->fd);
	k->fd = -1;
	if (k->path[0])
		unlink(k->path);
	if (k->dir[0])
		rmdir(k->dir);
}

/* The runtime sends it as SCM_RIGHTS; its line discipline must not turn our "\n" into "\r\n" twice. */
int console_receive(struct console *k)
{
	cleanup_fd int s = accept4(k->fd, NULL, NULL, SOCK_CLOEXEC);
	char name[256], ctl[CMSG_SPACE(sizeof(int))];
	struct iovec v = { name, sizeof(name) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl) };
	struct cmsghdr *h;
	struct termios t;
	int fd;

	if (s < 0 || recvmsg(s, &m, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	if (!tcgetattr(fd, &t)) {
		t.c_oflag |= ONLCR;
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static void create_argv(struct hoy_strv *a)
{
	hoy_strv_push(a, opt.restore ? "restore" : "create");
	hoy_strv_push(a, "--bundle");
	hoy_strv_push(a, opt.bundle);
	hoy_strv_push(a, "--pid-file");
	hoy_strv_push(a, opt.pidfile);
	if (opt.no_pivot)
		hoy_strv_push(a, "--no-pivot");
	if (opt.no_new_keyring)
		hoy_strv_push(a, "--no-new-keyring");
	if (!opt.restore)
		return;
	/* A restored container runs at once: the runtime must not wait for its end. CRIU's logs go into the bundle. */
	hoy_strv_push(a, "--detach");
	hoy_strv_push(a, "--image-path");
	hoy_strv_push(a, opt.restore);
	hoy_strv_push(a, "--work-path");
	hoy_strv_push(a, opt.bundle);
}

static void exec_argv(struct hoy_strv *a)
{
	hoy_strv_push(a, "exec");
	hoy_strv_push(a, "--pid-file");
	hoy_strv_push(a, opt.pidfile);
	hoy_strv_push(a, "--process");
	hoy_strv_push(a, opt.process_spec);
	hoy_strv_push(a, "--detach");
}

static void runtime_argv(struct hoy_strv *a, const struct console *k)
{
	hoy_strv_push(a, opt.runtime);
	if (opt.systemd_cgroup && !opt.exec)
		hoy_strv_push(a, "--systemd-cgroup");
	for (size_t i = 0; i < opt.runtime_args.n; i++)
		hoy_strv_push(a, opt.runtime_args.v[i]);
	if (opt.exec)
		exec_argv(a);
	else
		create_argv(a);
	for (size_t i = 0; i < opt.runtime_opts.n; i++)
		hoy_strv_push(a, opt.runtime_opts.v[i]);
	if (k->path[0]) {
		hoy_strv_push(a, "--console-socket");
		hoy_strv_push(a, k->path);
	}
	hoy_strv_push(a, opt.cid);
}

struct pipes {
	int in[2], out[2], err[2];
};

/*
 * hoy-runtime executes itself again from a read-only clone of its mount, so that no container can overwrite it. Started
 * from one it need not. Where the kernel or our rights do not allow this, nothing is lost.
 */
static void exec_readonly(char *const *argv)
{
	const char *base = strrchr(argv[0], '/');
	struct sys_mount_attr ro = { .set = MOUNT_ATTR_RDONLY };
	int fd;

	if (!base || strcmp(base, "/hoy-runtime"))
		return;
	fd = sys_open_tree(AT_FDCWD, argv[0], OPEN_TREE_CLONE);
	if (fd >= 0 && !sys_mount_setattr(fd, 0, &ro))
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	hoy_close(fd);
}

static char listen_pid[32] = "LISTEN_PID=";
static char **listen_entry; /* in environ; NULL: it is none of ours */

/* Sockets that were passed to us, or with --replace-listen-pid to anybody, are meant for the runtime. */
static int find_listen_pid(struct hoy_err *err)
{
	for (char **e = environ; *e; e++) {
		if (strncmp(*e, listen_pid, 11))
			continue;
		if (atoi(*e + 11) <= 0)
			return hoy_fail(err, EINVAL, "Invalid LISTEN_PID %.10s", *e + 11);
		if (opt.replace_listen_pid || atoi(*e + 11) == getpid())
			listen_entry = e;
	}
	return 0;
}

static void set_listen_pid(void)
{
	char digits[16];
	int n = 0, at = 11;

	for (int pid = getpid(); pid; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n)
		listen_pid[at++] = digits[--n];
	listen_pid[at] = '\0';
	*listen_entry = listen_pid;
}

/* Between vfork and exec: system calls only. */
static void become_runtime(char *const *argv, const struct pipes *p)
{
	static sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (!log_passthrough()) {
		dup2(p->in[0] >= 0 ? p->in[0] : null, 0);
		dup2(p->out[1] >= 0 ? p->out[1] : null, 1);
		dup2(p->err[1] >= 0 ? p->err[1] : null, 2);
	}
	if (listen_entry)
		set_listen_pid();
	exec_readonly(argv);
	execv(argv[0], argv);
	_exit(127);
}

static int make_pipes(struct pipes *p)
{
	if (log_passthrough())
		return 0;
	/* With a terminal, stderr alone, for the runtime's own complaints. */
	if (!opt.terminal && (pipe2(p->out, O_CLOEXEC) < 0 || (opt.stdin_open && pipe2(p->in, O_CLOEXEC) < 0)))
		return -errno;
	return pipe2(p->err, O_CLOEXEC) < 0 ? -errno : 0;
}

/* The runtime ended badly: what it said goes to whoever asked. */
static int failed(const struct child *c, int status, struct hoy_err *err)
{
	static char text[8192];
	struct pollfd p = { c->err, POLLIN, 0 };
	ssize_t n = c->err >= 0 && poll(&p, 1, 0) > 0 ? read(c->err, text, sizeof(text) - 1) : 0;

	text[n > 0 ? n : 0] = '\0';
	if (*text) {
		/* Its own words to the byte: engines look for some of them. */
		sync_send(-1, text);
		return hoy_fail(err, HOY_EREMOTE, "the runtime said: %.400s", text);
	}
	if (WIFSIGNALED(status))
		return hoy_fail(err, HOY_EREMOTE, "the runtime '%s' was killed by signal %d", opt.runtime, WTERMSIG(status));
	return hoy_fail(err, HOY_EREMOTE, "the runtime '%s' ended with exit status %d and said nothing", opt.runtime, WEXITSTATUS(status));
}

/* Wait for the runtime and, with a terminal, for the pty that it sends before it ends. */
static int wait_runtime(struct child *c, struct console *k, struct hoy_err *err)
{
	int status, fd;

	while (k->fd >= 0 && c->tty < 0) {
		struct pollfd p = { k->fd, POLLIN, 0 };
		int r = poll(&p, 1, 50);

		if (r > 0) {
			fd = console_receive(k);
			if (fd < 0)
				return hoy_fail_errno(err, -fd, "cannot receive the container's terminal");
			c->tty = fd;
		} else if (waitpid(c->runtime, &status, WNOHANG) == c->runtime) {
			c->runtime = -1;
			return WIFEXITED(status) && !WEXITSTATUS(status) ?
			       hoy_fail(err, HOY_EREMOTE, "the runtime sent no terminal") : failed(c, status, err);
		}
	}
	while (waitpid(c->runtime, &status, 0) < 0)
		if (errno != EINTR)
			return hoy_fail_errno(err, errno, "cannot wait for the runtime");
	c->runtime = -1;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : failed(c, status, err);
}

static int read_pid(struct child *c, struct hoy_err *err)
{
	char text[32];
	ssize_t n = hoy_read_small(AT_FDCWD, opt.pidfile, text, sizeof(text));

	c->pid = n > 0 ? (pid_t)atoi(text) : 0;
	return c->pid > 0 ? 0 : hoy_fail(err, HOY_EREMOTE, "the runtime left no pid in '%s'", opt.pidfile);
}

int child_start(struct child *c, struct hoy_err *err)
{
	struct console k = { .fd = -1 };
	struct pipes p = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r = make_pipes(&p);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot make pipes");
	if (opt.terminal)
		r = console_open(&k, err);
	runtime_argv(&argv, &k);
	if (!r && argv.error)
		r = hoy_fail_oom(err);
	if (!r)
		r = find_listen_pid(err);
	if (!r) {
		c->runtime = vfork();
		if (!c->runtime)
			become_runtime(argv.v, &p);
		if (c->runtime < 0)
			r = hoy_fail_errno(err, errno, "cannot start the runtime");
	}
	hoy_close(p.in[0]);
	hoy_close(p.out[1]);
	hoy_close(p.err[1]);
	c->in = p.in[1];
	c->out = p.out[0];
	c->err = p.err[0];
	if (!r)
		r = wait_runtime(c, &k, err);
	console_close(&k);
	return r ? r : read_pid(c, err);
}
