/* events: what a container uses, and that memory ran out, as JSON in runc's words. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/pidfd.h"

#define TEXT_MAX 16384

struct look {
	struct hoy_cgroups cg;
	struct state st;
	struct hoy_jw w;
};

/* FILE of CONTROLLER's cgroup of the container in TEXT; false if there is none. */
static bool get(struct look *l, const char *controller, const char *file, char *text)
{
	struct hoy_cgroup_hier *h = hoy_cgroups_with(&l->cg, l->cg.unified ? "" : controller);
	cleanup_fd int dir = h ? hoy_cgroup_open(h, l->st.cgroup) : -1;

	return dir >= 0 && hoy_read_small(dir, file, text, TEXT_MAX) >= 0;
}

/* A number; "max" is the largest, what is not there 0. */
static uint64_t number(struct look *l, const char *controller, const char *file)
{
	char text[TEXT_MAX];

	if (!get(l, controller, file, text))
		return 0;
	return !strcmp(text, "max") ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* The number behind KEY in a "flat keyed" file. */
static uint64_t keyed(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		if (!strncmp(text, key, len) && text[len] == ' ')
			return strtoull(text + len, NULL, 10);
	return 0;
}

static void put(struct hoy_jw *w, const char *key, uint64_t v)
{
	if (v)
		hoy_jw_uint(w, key, v);
}

/* Numbers divided by spaces; COLUMN -1: all of the line, else that of each line after the first. */
static void put_list(struct hoy_jw *w, const char *key, const char *text, int column)
{
	cleanup_free char *copy = strdup(text);
	char *lines = NULL, *words = NULL;
	bool first = true;

	if (!copy || !*copy)
		return;
	hoy_jw_array(w, key);
	for (char *line = strtok_r(copy, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines), first = false) {
		int i = 0;

		for (char *word = strtok_r(line, " ", &words); word; word = strtok_r(NULL, " ", &words), i++)
			if (column < 0 || (!first && i == column))
				hoy_jw_uint(w, NULL, strtoull(word, NULL, 10));
	}
	hoy_jw_end_array(w);
}

static void put_psi(struct look *l, const char *file)
{
	char text[TEXT_MAX];

	if (!l->cg.unified || !get(l, "", file, text))
		return;
	hoy_jw_object(&l->w, "psi");
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		char kind[8];
		char a[16], b[16], c[16];
		uint64_t total;

		/* The averages are numbers of JSON as they are. */
		if (sscanf(p, "%7s avg10=%15[0-9.] avg60=%15[0-9.] avg300=%15[0-9.] total=%" SCNu64, kind, a, b, c, &total) != 5)
			continue;
		hoy_jw_object(&l->w, kind);
		hoy_jw_raw(&l->w, "avg10", a);
		hoy_jw_raw(&l->w, "avg60", b);
		hoy_jw_raw(&l->w, "avg300", c);
		hoy_jw_uint(&l->w, "total", total);
		hoy_jw_end_object(&l->w);
	}
	hoy_jw_end_object(&l->w);
}

static void cpu(struct look *l)
{
	char stat[TEXT_MAX] = "", text[TEXT_MAX];
	uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);

	hoy_jw_object(&l->w, "cpu");
	hoy_jw_object(&l->w, "usage");
	(void)get(l, "cpu", "cpu.stat", stat);
	if (l->cg.unified) {
		put(&l->w, "total", keyed(stat, "usage_usec") * 1000);
		hoy_jw_uint(&l->w, "kernel", keyed(stat, "system_usec") * 1000);
		hoy_jw_uint(&l->w, "user", keyed(stat, "user_usec") * 1000);
	} else {
		put(&l->w, "total", number(l, "cpuacct", "cpuacct.usage"));
		put_list(&l->w, "percpu", get(l, "cpuacct", "cpuacct.usage_percpu", text) ? text : "", -1);
		put_list(&l->w, "percpu_kernel", get(l, "cpuacct", "cpuacct.usage_all", text) ? text : "", 2);
		put_list(&l->w, "percpu_user", get(l, "cpuacct", "cpuacct.usage_all", text) ? text : "", 1);
		if (!get(l, "cpuacct", "cpuacct.stat", text))
			*text = '\0';
		hoy_jw_uint(&l->w, "kernel", keyed(text, "system") * tick);
		hoy_jw_uint(&l->w, "user", keyed(text, "user") * tick);
	}
	hoy_jw_end_object(&l->w);
	hoy_jw_object(&l->w, "throttling");
	put(&l->w, "periods", keyed(stat, "nr_periods"));
	put(&l->w, "throttledPeriods", keyed(stat, "nr_throttled"));
	put(&l->w, "throttledTime", l->cg.unified ? keyed(stat, "throttled_usec") * 1000 : keyed(stat, "throttled_time"));
	hoy_jw_end_object(&l->w);
	put_psi(l, "cpu.pressure");
	hoy_jw_end_object(&l->w);
}

/* "0-3,7" as single numbers. */
static void put_set(struct look *l, const char *key, const char *file)
{
	char text[TEXT_MAX];
	const char *p = text;
	int from, to, n;

	if (l->cg.unified || !get(l, "cpuset", file, text) || !*text)
		return;
	hoy_jw_array(&l->w, key);
	for (; sscanf(p, "%d%n", &from, &n) == 1; p += *p == ',') {
		p += n;
		to = from;
		if (sscanf(p, "-%d%n", &to, &n) == 1)
			p += n;
		for (; from <= to && from < 65536; from++)
			hoy_jw_int(&l->w, NULL, from);
	}
	hoy_jw_end_array(&l->w);
}

static void cpuset(struct look *l)
{
	static const char *const flags[] = { "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
					     "memory_spread_slab", "memory_pressure", "sched_load_balance" };
	char file[64], level[TEXT_MAX];

	hoy_jw_object(&l->w, "cpuset");
	put_set(l, "cpus", "cpuset.cpus");
	hoy_jw_uint(&l->w, "cpu_exclusive", number(l, "cpuset", "cpuset.cpu_exclusive"));
	put_set(l, "mems", "cpuset.mems");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		snprintf(file, sizeof(file), "cpuset.%s", flags[i]);
		hoy_jw_uint(&l->w, flags[i], l->cg.unified ? 0 : number(l, "cpuset", file));
	}
	hoy_jw_int(&l->w, "sched_relax_domain_level", get(l, "cpuset", "cpuset.sched_relax_domain_level", level) ? atoi(level) : 0);
	hoy_jw_end_object(&l->w);
}

static void entry(struct look *l, const char *key, uint64_t limit, uint64_t usage, uint64_t max, uint64_t failures)
{
	hoy_jw_object(&l->w, key);
	hoy_jw_uint(&l->w, "limit", limit);
	put(&l->w, "usage", usage);
	put(&l->w, "max", max);
	hoy_jw_uint(&l->w, "failcnt", failures);
	hoy_jw_end_object(&l->w);
}

static void entry_v1(struct look *l, const char *key, const char *prefix)
{
	static const char *const files[] = { "limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt" };
	uint64_t v[4];

	for (size_t i = 0; i < 4; i++) {
		char file[64];

		snprintf(file, sizeof(file), "%s.%s", prefix, files[i]);
		v[i] = number(l, "memory", file);
	}
	entry(l, key, v[0], v[1], v[2], v[3]);
}

/* Of v2, where swap is counted apart, both together, as v1 has it. */
static void entries_v2(struct look *l)
{
	uint64_t limit = number(l, "", "memory.max"), usage = number(l, "", "memory.current"), swap = number(l, "", "memory.swap.max");
	char events[TEXT_MAX];

	entry(l, "usage", limit, usage, number(l, "", "memory.peak"), get(l, "", "memory.events", events) ? keyed(events, "max") : 0);
	entry(l, "swap", swap == UINT64_MAX || limit == UINT64_MAX ? UINT64_MAX : swap + limit, usage + number(l, "", "memory.swap.current"), 0, 0);
	entry(l, "kernel", 0, 0, 0, 0);
	entry(l, "kernelTCP", 0, 0, 0, 0);
}

static void memory(struct look *l)
{
	char stat[TEXT_MAX] = "";

	hoy_jw_object(&l->w, "memory");
	(void)get(l, "memory", "memory.stat", stat);
	put(&l->w, "cache", keyed(stat, l->cg.unified ? "file" : "cache"));
	if (l->cg.unified) {
		entries_v2(l);
	} else {
		entry_v1(l, "usage", "memory");
		entry_v1(l, "swap", "memory.memsw");
		entry_v1(l, "kernel", "memory.kmem");
		entry_v1(l, "kernelTCP", "memory.kmem.tcp");
	}
	if (*stat) {
		hoy_jw_object(&l->w, "raw");
		for (char *save = NULL, *line = strtok_r(stat, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			char *space = strchr(line, ' ');

			if (!space)
				continue;
			*space = '\0';
			hoy_jw_uint(&l->w, line, strtoull(space + 1, NULL, 10));
		}
		hoy_jw_end_object(&l->w);
	}
	put_psi(l, "memory.pressure");
	hoy_jw_end_object(&l->w);
}

/* io.stat's "8:0 rbytes=1 wbytes=2 rios=3 ..." and v1's "8:0 Read 1". */
static void io_list(struct look *l, const char *key, const char *text, const char *const fields[2])
{
	static const char *const ops[] = { "Read", "Write" };
	bool open = false;

	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		unsigned major, minor;
		char op[32], *end = strndup(p, strcspn(p, "\n"));
		cleanup_free char *line = end;
		uint64_t v = 0;

		for (size_t i = 0; line && i < 2; i++) {
			const char *at = fields ? strstr(line, fields[i]) : NULL;
			int n = sscanf(line, "%u:%u %31s %" SCNu64, &major, &minor, op, &v);

			if (fields ? !at || n < 2 : i || n != 4)
				continue;
			if (!open)
				hoy_jw_array(&l->w, key);
			open = true;
			hoy_jw_object(&l->w, NULL);
			put(&l->w, "major", major);
			put(&l->w, "minor", minor);
			hoy_jw_string(&l->w, "op", fields ? ops[i] : op);
			put(&l->w, "value", fields ? strtoull(at + strlen(fields[i]), NULL, 10) : v);
			hoy_jw_end_object(&l->w);
		}
	}
	if (open)
		hoy_jw_end_array(&l->w);
}

static void blkio(struct look *l)
{
	static const char *const bytes[] = { " rbytes=", " wbytes=" }, *const ios[] = { " rios=", " wios=" };
	char text[TEXT_MAX];

	hoy_jw_object(&l->w, "blkio");
	if (l->cg.unified && get(l, "", "io.stat", text)) {
		io_list(l, "ioServiceBytesRecursive", text, bytes);
		io_list(l, "ioServicedRecursive", text, ios);
	} else if (!l->cg.unified) {
		if (get(l, "blkio", "blkio.throttle.io_service_bytes_recursive", text))
			io_list(l, "ioServiceBytesRecursive", text, NULL);
		if (get(l, "blkio", "blkio.throttle.io_serviced_recursive", text))
			io_list(l, "ioServicedRecursive", text, NULL);
	}
	put_psi(l, "io.pressure");
	hoy_jw_end_object(&l->w);
}

static void pids(struct look *l)
{
	uint64_t limit = number(l, "pids", "pids.max");

	hoy_jw_object(&l->w, "pids");
	put(&l->w, "current", number(l, "pids", "pids.current"));
	put(&l->w, "limit", limit == UINT64_MAX ? 0 : limit);
	hoy_jw_end_object(&l->w);
}

/* One entry for each size of huge pages that there is a limit for. */
static void hugetlb(struct look *l)
{
	cleanup_dir DIR *d = opendir("/sys/kernel/mm/hugepages");
	struct dirent *e;

	hoy_jw_object(&l->w, "hugetlb");
	while (d && (e = readdir(d))) {
		unsigned long kb = strncmp(e->d_name, "hugepages-", 10) ? 0 : strtoul(e->d_name + 10, NULL, 10);
		char size[32], file[64], text[TEXT_MAX];

		snprintf(size, sizeof(size), "%lu%s", kb >> 20 ? kb >> 20 : kb >> 10 ? kb >> 10 : kb, kb >> 20 ? "GB" : kb >> 10 ? "MB" : "KB");
		snprintf(file, sizeof(file), "hugetlb.%s.%s", size, l->cg.unified ? "current" : "usage_in_bytes");
		if (!kb || !get(l, "hugetlb", file, text))
			continue;
		hoy_jw_object(&l->w, size);
		put(&l->w, "usage", strtoull(text, NULL, 10));
		snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", size);
		put(&l->w, "max", l->cg.unified ? 0 : number(l, "hugetlb", file));
		snprintf(file, sizeof(file), "hugetlb.%s.%s", size, l->cg.unified ? "events" : "failcnt");
		hoy_jw_uint(&l->w, "failcnt", !get(l, "hugetlb", file, text) ? 0 : l->cg.unified ? keyed(text, "max") : strtoull(text, NULL, 10));
		hoy_jw_end_object(&l->w);
	}
	hoy_jw_end_object(&l->w);
}

static int print(struct look *l, const char *type)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	bool stats = !strcmp(type, "stats");

	l->w = hoy_jw_on(&b, NULL);
	hoy_jw_object(&l->w, NULL);
	hoy_jw_string(&l->w, "type", type);
	hoy_jw_string(&l->w, "id", l->st.id);
	if (stats) {
		hoy_jw_object(&l->w, "data");
		cpu(l);
		cpuset(l);
		memory(l);
		pids(l);
		blkio(l);
		hugetlb(l);
		hoy_jw_raw(&l->w, "intel_rdt", "{}");
		hoy_jw_null(&l->w, "network_interfaces");
		hoy_jw_end_object(&l->w);
	}
	hoy_jw_end_object(&l->w);
	puts(hoy_buf_str(&b));
	return hoy_finish_stdout(0);
}

/* A descriptor that says when memory ran out: on v1 an eventfd, on v2 memory.events itself. -1: nothing does. */
static int watch_memory(struct look *l)
{
	struct hoy_cgroup_hier *h = hoy_cgroups_with(&l->cg, l->cg.unified ? "" : "memory");
	cleanup_fd int dir = h ? hoy_cgroup_open(h, l->st.cgroup) : -1, control = -1, event = -1;
	char text[64];

	if (dir < 0 || l->cg.unified)
		return dir < 0 ? -1 : openat(dir, "memory.events", O_RDONLY | O_CLOEXEC);
	control = openat(dir, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(text, sizeof(text), "%d %d", event, control);
	return control < 0 || event < 0 || hoy_write_small(dir, "cgroup.event_control", text) < 0 ? -1 : steal_fd(&event);
}

/* How often it has run out so far. */
static uint64_t times_out(const struct look *l, int fd)
{
	char text[1024];
	uint64_t v = 0;
	ssize_t n;

	if (!l->cg.unified)
		return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	return keyed(text, "oom_kill");
}

static int follow(struct look *l, int interval, int pidfd)
{
	cleanup_fd int out = watch_memory(l);
	struct pollfd p[] = { { pidfd, POLLIN, 0 }, { out, l->cg.unified ? POLLPRI : POLLIN, 0 } };
	uint64_t seen = out >= 0 && l->cg.unified ? times_out(l, out) : 0, now;
	int r = 0;

	while (!r) {
		int n = poll(p, 2, interval);

		if (n < 0 && errno != EINTR)
			return 1;
		if (n > 0 && p[1].revents && (now = times_out(l, out)) > (l->cg.unified ? seen : 0)) {
			seen = now;
			r = print(l, "oom");
		}
		if (n > 0 && p[0].revents)
			return r;
		if (!n)
			r = print(l, "stats");
	}
	return r;
}

/* "5s", "1m", "1.5s", "250ms": milliseconds, 0 if it is none. */
static int duration(const char *s)
{
	char *unit;
	double v = strtod(s, &unit), ms;

	ms = !strcmp(unit, "ms") ? v : !strcmp(unit, "s") ? v * 1e3 : !strcmp(unit, "m") ? v * 6e4 : !strcmp(unit, "h") ? v * 36e5 : 0;
	return unit != s && ms >= 1 && ms < 1e9 ? (int)ms : 0;
}

int cmd_events(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *interval = "5s";
	bool stats = false;
	const struct cli_opt opts[] = {
		{ "interval", 0, CLI_STR, &interval, "DURATION", "how often to show what is used (default: 5s)" },
		{ "stats", 0, CLI_FLAG, &stats, NULL, "show it once, and end" },
	};
	const struct cli cli = { "events [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, 1, false };
	struct look l = { .cg = HOY_CGROUPS_INIT, .st = STATE_INIT };
	cleanup_fd int pidfd = -1;
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0 && !duration(interval))
		return hoy_fail(err, EINVAL, "option '--interval': '%s' is no duration greater than 0", interval);
	if (r >= 0)
		r = state_open(&l.st, rt, argv[0], false, err);
	if (r >= 0)
		r = hoy_cgroups_find(&l.cg, err);
	if (r >= 0) {
		pidfd = strcmp(l.st.status, "stopped") ? hoy_pidfd_open(l.st.pid, l.st.ticks) : -ESRCH;
		if (pidfd < 0)
			r = hoy_fail(err, ESRCH, "container '%s' is not running", l.st.id);
		else if (l.st.no_cgroup || !*l.st.cgroup)
			r = hoy_fail(err, ENOENT, "container '%s' has no cgroup to look at", l.st.id);
	}
	if (r >= 0)
		r = stats ? print(&l, "stats") : follow(&l, duration(interval), pidfd);
	state_release(&l.st);
	hoy_cgroups_release(&l.cg);
	return r;
}
