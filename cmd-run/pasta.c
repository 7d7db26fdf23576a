/* cmd-run/pasta.c: an ordinary user's network: pasta between the container's namespace and ours. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/proc/pidfd.h"

/* "-t" or "-u" with IP/HOST:INNER, ranges as they are. */
static void port_words(const struct ctr *c, struct hoy_strv *argv, struct hoy_err *err, int *r)
{
	bool tcp = false, udp = false;

	HOY_JSON_EACH(p, hoy_json_get(c->def.root, "ports")) {
		const char *ip = hoy_json_str(p, "host_ip"), *proto = hoy_json_str(p, "protocol");
		int64_t host = hoy_json_int(p, "host_port", 0), inner = hoy_json_int(p, "container_port", 0), n = hoy_json_int(p, "range", 1);

		if (!strcmp(proto, "sctp")) {
			*r = hoy_fail(err, HOY_EUNSUPPORTED, "pasta cannot publish SCTP ports");
			return;
		}
		tcp = tcp || !strcmp(proto, "tcp");
		udp = udp || !strcmp(proto, "udp");
		hoy_strv_push(argv, !strcmp(proto, "udp") ? "-u" : "-t");
		hoy_strv_pushf(argv, "%s%s%lld-%lld:%lld-%lld", ip, *ip ? "/" : "", (long long)host, (long long)(host + n - 1),
			       (long long)inner, (long long)(inner + n - 1));
	}
	if (!tcp) {
		hoy_strv_push(argv, "-t");
		hoy_strv_push(argv, "none");
	}
	if (!udp) {
		hoy_strv_push(argv, "-u");
		hoy_strv_push(argv, "none");
	}
}

/* Its pid, and since when: a pasta that a crash left must be found, and a reused pid is not ours to kill. */
static int note_pid(struct ctr *c, const char *pidfile, struct hoy_err *err)
{
	char text[32];
	uint64_t since;
	pid_t pid;

	if (hoy_read_small(AT_FDCWD, pidfile, text, sizeof(text)) <= 0 || (pid = (pid_t)atoi(text)) <= 1 ||
	    hoy_pid_start_time(pid, &since, NULL) < 0)
		return hoy_fail(err, HOY_EREMOTE, "pasta ended at once, or left no pid in '%s'", pidfile);
	if (!hoy_json_set_int(&c->live, c->live.root, "pasta", pid) || !hoy_json_set_int(&c->live, c->live.root, "pastaStart", (int64_t)since))
		return hoy_fail_oom(err);
	return ctr_save_live(c, err);
}

int pasta_setup(struct ctr *c, struct hoy_err *err)
{
	cleanup_free char *pid = hoy_path_join(c->rundir, "pasta.pid");
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16), text = HOY_BUF_INIT(1 << 16);
	int r = ctr_save_live(c, err);

	if (!r)
		r = pin_netns(c, err);
	if (r < 0)
		return r;
	hoy_strv_push(&argv, hoy_globals.network_cmd && *hoy_globals.network_cmd ? hoy_globals.network_cmd : "pasta");
	hoy_strv_push(&argv, "--config-net");
	hoy_strv_push(&argv, "--pid");
	hoy_strv_push(&argv, pid ? pid : "");
	port_words(c, &argv, err, &r);
	hoy_strv_push(&argv, "-T");
	hoy_strv_push(&argv, "none");
	hoy_strv_push(&argv, "-U");
	hoy_strv_push(&argv, "none");
	hoy_strv_push(&argv, "--no-map-gw");
	hoy_strv_push(&argv, "--quiet");
	hoy_strv_push(&argv, "--netns");
	hoy_strv_push(&argv, net_path(c));
	if (!r && (argv.error || !pid))
		r = hoy_fail_oom(err);
	if (r < 0)
		return r;
	r = run_tool(argv.v, NULL, 0, &out, &text);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run '%s' (run: apt-get install passt)", argv.v[0]);
	if (r)
		return hoy_fail(err, HOY_EREMOTE, "pasta failed with exit code %d: %s", r, hoy_buf_str(&text));
	return note_pid(c, pid, err);
}

/* It would end by itself some time after its namespace; the ports have to be free when we return. */
void pasta_teardown(struct ctr *c)
{
	pid_t pid = (pid_t)hoy_json_int(c->live.root, "pasta", 0);
	cleanup_fd int fd = pid > 1 ? hoy_pidfd_open(pid, (uint64_t)hoy_json_int(c->live.root, "pastaStart", 0)) : -1;

	if (fd < 0 || hoy_pidfd_kill(fd, SIGTERM) < 0)
		return;
	if (hoy_pidfd_wait(fd, 1000) < 0 && !hoy_pidfd_kill(fd, SIGKILL))
		hoy_pidfd_wait(fd, 1000);
}
