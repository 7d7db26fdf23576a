/* cmd-image/transfer/fetch.c: a file from a web server, for ADD of a Containerfile and for contexts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd-image/transfer/certs.h"
#include "cmd-image/transfer/http.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"

struct fetch_opts {
	int tls_verify;
	const char *cert_dir, *retry_delay, *what;
	int64_t retry, delay; /* delay: ns; 0: growing */
};
#define O(field) offsetof(struct fetch_opts, field)
static const struct hoy_opt fetch_opts[] = {
	{ 0, "cert-dir", HOY_OPT_STRING, O(cert_dir), "DIR", "directory of certificates whose authorities are trusted, and of our own" },
	{ 0, "retry", HOY_OPT_INT, O(retry), "N", "attempts after a failed one (default 3)" },
	{ 0, "retry-delay", HOY_OPT_STRING, O(retry_delay), "DURATION", "time between attempts (default: growing)" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the server's certificate (default true)" },
	{ 0, "what", HOY_OPT_STRING, O(what), "TEXT", "what errors begin with" },
	HOY_OPTS_END,
};

struct fetched {
	int fd, error;
};

static size_t on_data(char *data, size_t one, size_t n, void *arg)
{
	struct fetched *s = arg;

	s->error = hoy_write_full(s->fd, data, n);
	return s->error ? 0 : n;
}

static void prepare(CURL *c, const char *url, struct fetched *s, const struct tls *tls, char *why)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_FILETIME, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "hoy/" HOY_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
	http_trust(c, tls);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
}

/* One attempt. *AGAIN: another one may do better. */
static int try_fetch(const char *url, int fd, const struct tls *tls, bool *again, struct hoy_err *err)
{
	char why[CURL_ERROR_SIZE] = "";
	struct fetched s = { fd, 0 };
	struct timespec times[2] = { { 0 } };
	curl_off_t when = -1;
	long status = 0;
	CURLcode code;
	CURL *c = curl_easy_init();

	if (!c)
		return http_no_handle(err);
	prepare(c, url, &s, tls, why);
	code = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(c, CURLINFO_FILETIME_T, &when);
	curl_easy_cleanup(c);
	*again = !s.error && http_worth_again(code, status);
	if (s.error)
		return hoy_fail_errno(err, -s.error, "cannot write what comes from '%s'", url);
	if (code == CURLE_HTTP_RETURNED_ERROR)
		return hoy_fail(err, HOY_EREMOTE, "reading \"%s\": invalid response status %ld", url, status);
	if (code != CURLE_OK)
		return hoy_fail(err, HOY_EREMOTE, "reading \"%s\": %s", url, *why ? why : curl_easy_strerror(code));
	/* A server that doesn't know the time of a file: as buildah, the first second of all. */
	times[0].tv_sec = times[1].tv_sec = when > 0 ? when : 0;
	return futimens(fd, times) < 0 ? hoy_fail_errno(err, errno, "cannot set a time") : 0;
}

static int fetch(const char *url, int fd, const struct fetch_opts *o, struct hoy_err *err)
{
	struct tls tls = { .verify = o->tls_verify != 0 };
	bool again = false;
	int r = tls_load(&tls, "", o->cert_dir, err);

	if (!r)
		r = try_fetch(url, fd, &tls, &again, err);
	for (int try = 0; r < 0 && again && try < o->retry; try++) {
		int64_t ns = o->delay ?: HOY_NS / 2 << (try < 5 ? try : 5);
		struct timespec ts = { ns / HOY_NS, ns % HOY_NS };

		hoy_warning("%s, trying again in %.1f s", err->msg, ns / 1e9);
		nanosleep(&ts, NULL);
		*err = (struct hoy_err)HOY_ERR_INIT;
		r = ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 ? hoy_fail_errno(err, errno, "cannot begin again") :
									 try_fetch(url, fd, &tls, &again, err);
	}
	tls_release(&tls);
	return r;
}

static int check(struct fetch_opts *o, struct hoy_err *err)
{
	if (o->retry < 0)
		return hoy_fail(err, EINVAL, "the number of attempts, %lld, is negative", (long long)o->retry);
	if (o->retry_delay && !hoy_duration_parse(o->retry_delay, &o->delay))
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--retry-delay\" flag: no duration", o->retry_delay);
	return 0;
}

static int run_fetch(const struct hoy_verb *v, int argc, char **argv)
{
	struct fetch_opts o = { .tls_verify = -1, .retry = 3 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_fd int fd = -1;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	r = check(&o, &err);
	fd = r < 0 ? -1 : open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!r)
		r = fd < 0 ? hoy_fail_errno(&err, errno, "cannot create '%s'", argv[2]) : fetch(argv[1], fd, &o, &err);
	if (r < 0 && fd >= 0)
		(void)unlink(argv[2]);
	if (r < 0 && o.what)
		hoy_fail_prefix(&err, "%s", o.what);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_fetch = { "fetch", "[options] URL FILE", "Write what a web server has to a new file, with its time", fetch_opts, run_fetch, 0 };
