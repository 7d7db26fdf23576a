#include "cmd-image/transfer/skopeo.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "common/base/msg.h"
#include "common/data/time.h"

static volatile sig_atomic_t timed_out;

/* All parts of the work look at transfer_cancelled and end; what waits in a system call is woken up by the signal. */
static void on_alarm(int sig)
{
	(void)sig;
	timed_out = 1;
	transfer_cancelled = true;
}

static int set_timeout(const char *text, struct hoy_err *err)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval t = { 0 };
	int64_t ns;

	if (!hoy_duration_parse(text, &ns) || ns < 0)
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--command-timeout\" flag: no duration", text);
	if (!ns)
		return 0;
	t.it_value.tv_sec = ns / HOY_NS;
	t.it_value.tv_usec = ns % HOY_NS / 1000;
	if (!t.it_value.tv_sec && !t.it_value.tv_usec)
		t.it_value.tv_usec = 1;
	if (sigaction(SIGALRM, &sa, NULL) < 0 || setitimer(ITIMER_REAL, &t, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot set a timer");
	return 0;
}

static int begin(struct hoy_err *err)
{
	/* Behind `hoy`, --tmpdir is podman's: a place for the engine's state. */
	if (hoy_globals.tmpdir && !getenv("_HOY_DOOR") && setenv("TMPDIR", hoy_globals.tmpdir, 1) < 0)
		return hoy_fail_oom(err);
	return hoy_globals.command_timeout ? set_timeout(hoy_globals.command_timeout, err) : 0;
}

static int status_of(int code)
{
	return getenv("_HOY_DOOR") ? 125 : code == HOY_ENOIMAGE ? 2 : 1;
}

bool skopeo_timed_out(void) { return timed_out; }

int skopeo_failed(struct hoy_err *err)
{
	if (timed_out)
		hoy_fail(err, ETIMEDOUT, "the time that --command-timeout allows (%s) is over", hoy_globals.command_timeout);
	return hoy_report(err, status_of(err->code));
}

int skopeo_args(const struct hoy_verb *v, int argc, char **argv, void *opts, int least, int most, int *status)
{
	struct hoy_err err = HOY_ERR_INIT;
	int n = hoy_verb_args(v, argc, argv, opts, least, most, status);

	if (n < 0 && *status)
		*status = status_of(EINVAL);
	if (n >= 0 && begin(&err) < 0) {
		*status = skopeo_failed(&err);
		return -1;
	}
	return n;
}

struct platform skopeo_platform(void)
{
	return (struct platform){ hoy_globals.os, hoy_globals.arch, hoy_globals.variant };
}

struct trust skopeo_trust(void)
{
	return (struct trust){ hoy_globals.policy, hoy_globals.insecure_policy };
}
