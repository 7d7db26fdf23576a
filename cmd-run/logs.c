/* cmd-run/logs.c: `logs`, from the k8s-file log: "TIME STREAM TAG TEXT", a P tag being a line's first part. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd-run/logs.h"
#include "common/base/fd.h"
#include "common/data/time.h"

#define O(f) offsetof(struct log_opts, f)
static const struct hoy_opt opts[] = {
	{ 'f', "follow", HOY_OPT_FLAG, O(follow), NULL, "go on as the container writes" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 'n', "names", HOY_OPT_FLAG, O(names), NULL, "print the container's name before each line" },
	{ 0, "since", HOY_OPT_STRING, O(since), "TIME", "lines from that time on" },
	{ 0, "tail", HOY_OPT_STRING, O(tail), "N", "the last N lines (default all)" },
	{ 't', "timestamps", HOY_OPT_FLAG, O(times), NULL, "print the time before each line" },
	{ 0, "until", HOY_OPT_STRING, O(until), "TIME", "lines up to that time" },
	HOY_OPTS_END,
};

static bool point_in_time(const char *text, int64_t *ret)
{
	if (!text || hoy_moment_parse(text, ret))
		return true;
	hoy_error("invalid time '%s'", text);
	return false;
}

void log_print_line(struct log_reader *r, const char *line, size_t len)
{
	const char *sp1 = memchr(line, ' ', len), *sp2, *sp3;
	bool err, partial;
	char time[64];
	int64_t t;
	FILE *out;

	sp2 = sp1 ? memchr(sp1 + 1, ' ', len - (sp1 + 1 - line)) : NULL;
	sp3 = sp2 ? memchr(sp2 + 1, ' ', len - (sp2 + 1 - line)) : NULL;
	if (!sp2 || sp1 - line >= (long)sizeof(time))
		return;
	if (!sp3)
		sp3 = line + len;
	memcpy(time, line, sp1 - line);
	time[sp1 - line] = '\0';
	if ((r->since || r->until) && hoy_time_parse(time, &t) && ((r->since && t < r->since) || (r->until && t > r->until)))
		return;
	err = !strncmp(sp1 + 1, "stderr", 6);
	partial = sp2[1] == 'P';
	out = err ? stderr : stdout;
	if (!r->mid[err]) {
		if (r->o->names)
			fprintf(out, "%s ", r->name);
		if (r->o->times)
			fprintf(out, "%s ", time);
	}
	if (sp3 < line + len)
		fwrite(sp3 + 1, 1, line + len - sp3 - 1, out);
	if (!partial)
		fputc('\n', out);
	r->mid[err] = partial;
}

/* What is in the file from here to its end. */
static int print_more(struct log_reader *r)
{
	static char buf[1 << 17];
	ssize_t n;

	while ((n = read(r->fd, buf, sizeof(buf))) > 0) {
		const char *p = buf, *end = buf + n, *nl;

		while ((nl = memchr(p, '\n', end - p))) {
			if (r->rest.len) {
				hoy_buf_add(&r->rest, p, nl - p);
				log_print_line(r, r->rest.data, r->rest.len);
				hoy_buf_reset(&r->rest);
			} else {
				log_print_line(r, p, nl - p);
			}
			p = nl + 1;
		}
		hoy_buf_add(&r->rest, p, end - p);
	}
	fflush(stdout);
	fflush(stderr);
	return n < 0 ? -errno : ferror(stdout) ? -EPIPE : 0;
}

/* The tag ("F" or "P") of the raw log line that begins at LINE. */
static char tag_of(const char *line, const char *end)
{
	const char *sp = memchr(line, ' ', end - line);

	sp = sp ? memchr(sp + 1, ' ', end - sp - 1) : NULL;
	return sp && sp + 1 < end ? sp[1] : 'F';
}

/* Go to the last N lines as the container wrote them: P pieces belong to the F that ends their line. */
static int seek_tail(int fd, long n)
{
	off_t size = lseek(fd, 0, SEEK_END), from = 0;
	const char *map, *end, *line;
	long ends = 0;

	if (size <= 0)
		return size < 0 ? -errno : 0;
	map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	for (end = map + size; end > map; end = line) {
		const char *nl = end - 1 > map ? memrchr(map, '\n', end - 1 - map) : NULL;

		line = nl ? nl + 1 : map;
		if (tag_of(line, end) == 'F' && ++ends > n) {
			from = end - map;
			break;
		}
	}
	munmap((void *)map, (size_t)size);
	return lseek(fd, from, SEEK_SET) < 0 ? -errno : 0;
}

/* Until the container has ended and all is printed. */
static int follow(struct ctr *c, struct log_reader *r, const char *path)
{
	cleanup_fd int in = inotify_init1(IN_CLOEXEC), pid = -1;
	char waste[4096];
	int e;

	if (in < 0 || inotify_add_watch(in, path, IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF) < 0)
		return -errno;
	if (ctr_pid(c))
		pid = (int)syscall(SYS_pidfd_open, (pid_t)hoy_json_int(c->live.root, "monitor", 0), 0);
	for (;;) {
		struct pollfd p[2] = { { in, POLLIN, 0 }, { pid, POLLIN, 0 } };

		e = print_more(r);
		if (e < 0 || pid < 0)
			return e;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return print_more(r);
		if (p[0].revents)
			(void)!read(in, waste, sizeof(waste));
	}
}

static int logs_one(struct hoy_store *s, const char *name, const struct log_opts *o)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	struct log_reader r = { .o = o, .rest = HOY_BUF_INIT(64 << 20) };
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -1;
	const char *driver;
	int e = ctr_open(&c, s, name, &err);

	if (!e)
		e = ctr_load_def(&c, &err);
	if (!e)
		e = ctr_load_live(&c, &err);
	if (e < 0)
		return hoy_report(&err, 125);
	driver = hoy_json_str(c.def.root, "logDriver") ?: "k8s-file";
	r.name = ctr_name(&c);
	r.tail = o->tail && strcmp(o->tail, "all") ? atol(o->tail) : -1;
	if (!point_in_time(o->since, &r.since) || !point_in_time(o->until, &r.until))
		return 125;
	if (!strcmp(driver, "journald"))
		return hoy_finish_stdout(log_print_journal(&c, &r, &err) < 0 ? hoy_report(&err, 125) : 0);
	if (strcmp(driver, "k8s-file") && strcmp(driver, "json-file")) {
		hoy_error("this container is using the '%s' log driver, cannot read logs: this container is not logging output", driver);
		return 125;
	}
	path = hoy_json_str(c.def.root, "logPath") ? strdup(hoy_json_str(c.def.root, "logPath")) : hoy_path_join(c.dir, "ctr.log");
	r.fd = fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 && errno == ENOENT)
		return 0; /* never started */
	if (fd >= 0 && r.tail >= 0)
		e = seek_tail(fd, r.tail);
	if (fd >= 0 && !e)
		e = o->follow ? follow(&c, &r, path) : print_more(&r);
	if (fd < 0 || e < 0)
		hoy_error("cannot read the log of container %s: %s", name, strerror(fd < 0 ? errno : -e));
	hoy_buf_release(&r.rest);
	return fd < 0 || e < 0 ? 125 : 0;
}

static int run_logs(const struct hoy_verb *v, int argc, char **argv)
{
	struct log_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, worst = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	if (pick(s, n, argv + 1, false, o.latest, &ids, &err) < 0)
		return hoy_report(&err, 125);
	for (size_t i = 0; i < ids.n; i++) {
		status = logs_one(s, ids.v[i], &o);
		worst = status > worst ? status : worst;
	}
	return worst;
}
const struct hoy_verb verb_logs = { "logs", "[options] CONTAINER [CONTAINER...]", "Print the output of a container", opts, run_logs, false };
